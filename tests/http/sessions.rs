//! Sessions of legacy clients: opened, found from any shard, bound to their id, ended, forgotten.

use std::time::Duration;

use ringgate::gateway::http::Verb;

use crate::house::House;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[test]
fn a_session_is_found_from_every_shard() {
    let mut house = House::builtin(4);
    let session = house.session(1, "2025-11-25", "{}");
    assert!(session.bytes().all(|byte| (0x21..=0x7E).contains(&byte)), "visible ASCII: {session}");
    for shard in 0..4 {
        let link = house.in_session(shard, &session, PING);
        let answer = house.answer(link);
        assert_eq!(answer.body, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "{shard}: {answer:?}");
    }
}

#[test]
fn a_request_without_a_session_is_400_and_of_an_unknown_one_404() {
    let mut house = House::builtin(2);
    let session = house.session(0, "2025-06-18", "{}");
    let link = house.post(0, &[], PING);
    assert_eq!(house.answer(link).status, Some(400));
    let mut other = session.clone();
    other.pop();
    other.push(if session.ends_with('0') { '1' } else { '0' });
    for id in ["", "x", "00000000000000.rg1.00", "0004000000000000.x", &other] {
        for shard in 0..2 {
            let link = house.in_session(shard, id, PING);
            assert_eq!(house.answer(link).status, Some(404), "{id}");
        }
    }
    let ping = house.in_session(0, &session, PING);
    assert_eq!(house.answer(ping).status, Some(200), "the session is as it was");
}

#[test]
fn delete_ends_a_session_once() {
    let mut house = House::builtin(2);
    let before = house.footprint();
    let session = house.session(0, "2025-11-25", "{}");
    // TypeScript clients say Accept: */* here.
    let headers = [("accept", "*/*"), ("mcp-session-id", session.as_str())];
    let first = house.send(1, Verb::Delete, "/mcp", &headers, "");
    assert_eq!(house.answer(first).status, Some(200));
    let again = house.send(0, Verb::Delete, "/mcp", &headers, "");
    assert_eq!(house.answer(again).status, Some(404));
    let ping = house.in_session(0, &session, PING);
    assert_eq!(house.answer(ping).status, Some(404));
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_session_that_nobody_uses_is_forgotten() {
    let mut house = House::builtin(1);
    let before = house.footprint();
    let session = house.session(0, "2025-11-25", "{}");
    house.wait(Duration::from_mins(59));
    let ping = house.in_session(0, &session, PING);
    assert_eq!(house.answer(ping).status, Some(200));
    house.wait(Duration::from_mins(59));
    let ping = house.in_session(0, &session, PING);
    assert_eq!(house.answer(ping).status, Some(200), "use makes it young");
    house.wait(Duration::from_mins(61));
    let ping = house.in_session(0, &session, PING);
    assert_eq!(house.answer(ping).status, Some(404));
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_handshake_that_fails_leaves_nothing() {
    let mut house = House::builtin(1);
    let before = house.footprint();
    let link = house.post(0, &[], r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#);
    assert!(house.answer(link).body.contains("-32602"));
    assert_eq!(house.footprint(), before);
}

#[test]
fn initialize_never_answers_with_a_modern_version() {
    for asked in ["2026-07-28", "1999-01-01", "2025-11-25"] {
        let mut house = House::builtin(1);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{asked}","capabilities":{{}},"clientInfo":{{"name":"t","version":"1"}}}}}}"#
        );
        let link = house.post(0, &[], &body);
        assert!(house.answer(link).body.contains("\"protocolVersion\":\"2025-11-25\""));
    }
}

#[test]
fn a_second_initialize_in_a_session_is_refused() {
    let mut house = House::builtin(1);
    let session = house.session(0, "2025-11-25", "{}");
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let link = house.in_session(0, &session, body);
    assert_eq!(house.answer(link).status, Some(400));
}

#[test]
fn an_unknown_version_in_the_header_is_400() {
    let mut house = House::builtin(1);
    let session = house.session(0, "2025-11-25", "{}");
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "1999-01-01")];
    let link = house.post(0, &headers, PING);
    assert_eq!(house.answer(link).status, Some(400));
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let link = house.post(0, &headers, PING);
    assert_eq!(house.answer(link).status, Some(200));
}

#[test]
fn notifications_and_responses_are_accepted_with_202() {
    let mut house = House::builtin(1);
    let session = house.session(0, "2025-11-25", "{}");
    for body in [
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#,
        r#"{"jsonrpc":"2.0","id":5,"result":{}}"#,
    ] {
        let link = house.in_session(0, &session, body);
        assert_eq!(house.answer(link).status, Some(202));
        assert_eq!(house.answer(link).body, "");
    }
}

#[test]
fn batches_are_for_2025_03_26() {
    let two = format!("[{PING},{}]", PING.replace("\"id\":1", "\"id\":\"b\""));
    let mut house = House::builtin(2);
    let session = house.session(0, "2025-03-26", "{}");
    for shard in 0..2 {
        let link = house.in_session(shard, &session, &two);
        assert_eq!(
            house.answer(link).body,
            r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"b","result":{}}]"#
        );
    }
    let link = house.in_session(0, &session, r#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#);
    assert_eq!(house.answer(link).status, Some(202));
    let session = house.session(0, "2025-06-18", "{}");
    let link = house.in_session(0, &session, &two);
    assert_eq!(house.answer(link).status, Some(400));
    assert!(house.answer(link).body.contains("-32600"));
}

#[test]
fn a_body_of_many_lines_is_one_message() {
    let mut house = House::builtin(1);
    let session = house.session(0, "2025-11-25", "{}");
    let body = "{\r\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,\n  \"method\": \"ping\"\n}\n";
    let link = house.in_session(0, &session, body);
    assert_eq!(house.answer(link).status, Some(200));
    let raw = "{\"jsonrpc\":\"2.0\",\"id\":\"a\nb\",\"method\":\"ping\"}";
    let link = house.in_session(0, &session, raw);
    assert_eq!(house.answer(link).status, Some(400), "a line break cannot stand in a string");
}
