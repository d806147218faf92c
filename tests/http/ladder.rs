//! What is wrong with a POST, and which status and code says so.

use ringgate::gateway::http::Verb;

use crate::house::House;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const BOTH: &str = "application/json, text/event-stream";

fn judged(headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut house = House::builtin(1);
    let link = house.send(0, Verb::Post, "/mcp", headers, body);
    let answer = house.answer(link);
    (answer.status.unwrap(), answer.body.clone())
}

fn modern(version: &str, method: &str, rest: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}","io.modelcontextprotocol/clientCapabilities":{{}}}}{rest}}}}}"#
    )
}

fn judged_modern(headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut all = vec![("accept", BOTH), ("content-type", "application/json")];
    all.extend_from_slice(headers);
    judged(&all, body)
}

#[test]
fn both_types_must_be_accepted_and_the_body_be_json() {
    for accept in ["application/json", "text/event-stream", "*/*"] {
        let (status, body) =
            judged(&[("accept", accept), ("content-type", "application/json")], PING);
        assert_eq!(status, 406, "{accept}");
        assert!(body.contains("text/event-stream"), "{body}");
    }
    assert_eq!(judged(&[("content-type", "application/json")], PING).0, 406);
    assert_eq!(judged(&[("accept", BOTH), ("content-type", "text/plain")], PING).0, 415);
    assert_eq!(judged(&[("accept", BOTH)], PING).0, 415);
}

#[test]
fn what_is_no_message_is_400_with_its_code() {
    for (body, code) in [
        ("{", "-32700"),
        ("", "-32700"),
        ("[]", "-32600"),
        ("{}", "-32600"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "-32600"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "-32600"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "-32600"),
    ] {
        let mut house = House::builtin(1);
        let session = house.session(0, "2025-11-25", "{}");
        let link = house.in_session(0, &session, body);
        let answer = house.answer(link);
        assert_eq!(answer.status, Some(400), "{body}");
        assert!(answer.body.contains(code), "{body}: {}", answer.body);
    }
}

#[test]
fn a_modern_request_is_judged_by_its_body_first() {
    let list = modern("2026-07-28", "tools/list", "");
    let version = ("mcp-protocol-version", "2026-07-28");
    let method = ("mcp-method", "tools/list");
    assert_eq!(judged_modern(&[version, method], &list).0, 200);
    // Absent, wrong and doubled headers are mismatches.
    for headers in [
        vec![],
        vec![version],
        vec![method],
        vec![("mcp-protocol-version", "2025-11-25"), method],
        vec![version, ("mcp-method", "tools/call")],
        vec![version, ("mcp-method", "Tools/List")],
        vec![version, method, method],
    ] {
        let (status, body) = judged_modern(&headers, &list);
        assert_eq!(status, 400, "{headers:?}");
        assert!(body.contains("-32020") && body.contains("\"id\":7"), "{headers:?}: {body}");
    }
}

#[test]
fn the_name_must_stand_in_the_header_as_well() {
    let call = modern("2026-07-28", "tools/call", r#","name":"echo","arguments":{"message":"x"}"#);
    let of = |name: Option<&str>| {
        let mut headers =
            vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call")];
        headers.extend(name.map(|name| ("mcp-name", name)));
        judged_modern(&headers, &call)
    };
    assert_eq!(of(Some("echo")).0, 200);
    assert_eq!(of(Some("=?base64?ZWNobw==?=")).0, 200);
    for name in [None, Some("Echo"), Some("=?base64?%?=")] {
        let (status, body) = of(name);
        assert!(status == 400 && body.contains("-32020"), "{name:?}: {status} {body}");
    }
}

#[test]
fn missing_metadata_and_unknown_versions_have_their_own_codes() {
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    for body in [
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
    ] {
        let (status, answer) = judged_modern(&headers, body);
        assert!(status == 400 && answer.contains("-32602"), "{body}: {answer}");
    }
    let later = [("mcp-protocol-version", "2199-01-01"), ("mcp-method", "tools/list")];
    let (status, answer) = judged_modern(&later, &modern("2199-01-01", "tools/list", ""));
    assert!(
        status == 400 && answer.contains("-32022") && answer.contains("\"supported\""),
        "{answer}"
    );
    // The mismatch is told before the version.
    let (_, answer) = judged_modern(&headers, &modern("2199-01-01", "tools/list", ""));
    assert!(answer.contains("-32020"), "{answer}");
}

#[test]
fn removed_and_unknown_methods_are_404_in_the_modern_era_and_200_in_a_session() {
    for method in ["ping", "initialize", "logging/setLevel", "no/such"] {
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        let (status, answer) = judged_modern(&headers, &modern("2026-07-28", method, ""));
        assert!(status == 404 && answer.contains("-32601"), "{method}: {status} {answer}");
    }
    let mut house = House::builtin(1);
    let session = house.session(0, "2025-11-25", "{}");
    let link = house.in_session(0, &session, r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#);
    assert_eq!(house.answer(link).status, Some(200));
    assert!(house.answer(link).body.contains("-32601"));
}

#[test]
fn modern_clients_post_one_request_or_notification() {
    let header = [("mcp-protocol-version", "2026-07-28")];
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert_eq!(judged_modern(&header, notice), (202, String::new()));
    for body in [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &format!("[{PING}]")] {
        let (status, answer) = judged_modern(&header, body);
        assert!(status == 400 && answer.contains("-32600"), "{answer}");
    }
}

#[test]
fn paths_and_methods_that_are_not_served_say_what_is() {
    let mut house = House::builtin(1);
    let link = house.send(0, Verb::Other, "/mcp", &[], "");
    assert_eq!(house.answer(link).status, Some(405));
    assert_eq!(house.answer(link).header("allow"), Some("GET, POST, DELETE"));
    let link = house.send(0, Verb::Get, "/nowhere", &[], "");
    assert_eq!(house.answer(link).status, Some(404));
    for verb in [Verb::Get, Verb::Delete] {
        let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2026-07-28")];
        let link = house.send(0, verb, "/mcp", &headers, "");
        assert_eq!(house.answer(link).status, Some(405));
        assert_eq!(house.answer(link).header("allow"), Some("POST"));
    }
    let link = house.send(0, Verb::Get, "/health", &[], "");
    assert_eq!(house.answer(link).status, Some(200));
    let link = house.send(0, Verb::Get, "/ready", &[], "");
    assert_eq!(house.answer(link).status, Some(200));
}
