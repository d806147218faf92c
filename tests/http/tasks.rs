//! Tasks through the gateway, of clients and upstreams of both eras: whose they are, where they go, what each era is
//! shown of the other's, and what is kept of them.

use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::principal::{Principal, Principals};
use ringgate::gateway::settings::EraPin;
use serde_json::{Value, json};

use crate::house::House;

pub(crate) const OLD: &str =
    r#""tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;
pub(crate) const NEW: &str = r#""tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}"#;
pub(crate) const TAKES: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
pub(crate) const TAKES_AND_ASKED: &str =
    r#"{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
pub(crate) const TOOLS: &str = r#"{"tools":[{"name":"may","inputSchema":{},"execution":{"taskSupport":"optional"}},{"name":"must","inputSchema":{},"execution":{"taskSupport":"required"}},{"name":"never","inputSchema":{}}]}"#;
const WORKING: &str = r#""status":"working","createdAt":"a","lastUpdatedAt":"b","#;

pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What an exchange was answered with, whether as JSON or at the end of a stream.
pub(crate) fn answered(house: &House, link: LinkId) -> Value {
    let answer = house.answer(link);
    assert!(answer.status.is_some(), "no answer yet");
    match answer.data().last() {
        Some(last) if answer.is_stream => parse(last),
        _ => parse(&answer.body),
    }
}

fn is_open(house: &House, link: LinkId) -> bool {
    let answer = house.answer(link);
    answer.status.is_none() || (answer.is_stream && !answer.is_closed)
}

/// The upstream answers the last request of a method; gives that request's `params`.
pub(crate) fn replies(house: &mut House, lane: LinkId, method: &str, result: &str) -> Value {
    let (id, line) = house.heard(lane, method).unwrap_or_else(|| panic!("no {method} came"));
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    parse(&line)["params"].clone()
}

fn refuses(house: &mut House, lane: LinkId, method: &str, code: i32, more: &str) {
    let (id, _) = house.heard(lane, method).unwrap_or_else(|| panic!("no {method} came"));
    house.says(
        lane,
        &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"{more}}}}}"#),
    );
}

pub(crate) fn times(house: &House, lane: LinkId, method: &str) -> usize {
    let wanted = format!("\"method\":\"{method}\"");
    house.lanes[&lane].iter().filter(|line| line.contains(&wanted)).count()
}

pub(crate) fn old_house(shards: u16) -> (House, LinkId) {
    let mut house = House::scripted(shards, EraPin::Legacy);
    let lane = house.greet_with(OLD);
    replies(&mut house, lane, "tools/list", TOOLS);
    for _ in 1..shards {
        let lane = house.greet_with(OLD);
        replies(&mut house, lane, "tools/list", TOOLS);
    }
    (house, lane)
}

pub(crate) fn new_house(shards: u16) -> (House, LinkId) {
    let mut house = House::scripted(shards, EraPin::Modern);
    let lane = house.greet_modern_with(NEW);
    for _ in 1..shards {
        house.greet_modern_with(NEW);
    }
    (house, lane)
}

/// A request of a legacy session.
pub(crate) fn old(house: &mut House, session: &str, method: &str, params: &str) -> LinkId {
    let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
    house.in_session(0, session, &body)
}

/// A request of a modern client, about a tool or a task.
pub(crate) fn new(
    house: &mut House,
    shard: usize,
    method: &str,
    params: &str,
    caps: &str,
) -> LinkId {
    let value = parse(params);
    let name = value["taskId"].as_str().or(value["name"].as_str()).unwrap_or_default().to_owned();
    let inner = params.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap();
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{caps}}},{inner}}}}}"#
    );
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
        ("mcp-name", name.as_str()),
    ];
    house.post(shard, &headers, &body)
}

pub(crate) fn about(token: &str) -> String {
    format!(r#"{{"taskId":"{token}"}}"#)
}

/// A task that a legacy client has begun at a legacy upstream: the client's id of it.
pub(crate) fn begun_old(house: &mut House, lane: LinkId, session: &str, own: &str) -> String {
    let call = r#"{"name":"may","arguments":{},"task":{"ttl":60000}}"#;
    let link = old(house, session, "tools/call", call);
    let made = format!(r#"{{"task":{{"taskId":"{own}",{WORKING}"ttl":60000}}}}"#);
    let params = replies(house, lane, "tools/call", &made);
    assert_eq!(params["task"], json!({"ttl": 60000}), "it is passed on as it is");
    let answer = answered(house, link);
    answer["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// The same of modern ones.
pub(crate) fn begun_new(house: &mut House, lane: LinkId, own: &str) -> String {
    let call = r#"{"name":"may","arguments":{}}"#;
    let link = new(house, 0, "tools/call", call, TAKES);
    let made = format!(r#"{{"resultType":"task","taskId":"{own}",{WORKING}"ttlMs":60000}}"#);
    replies(house, lane, "tools/call", &made);
    let answer = answered(house, link);
    assert_eq!(answer["result"]["resultType"], "task", "{answer}");
    answer["result"]["taskId"].as_str().unwrap().to_owned()
}

/// A modern client's task at a legacy upstream that can ask it: its id of it, and its connection.
pub(crate) fn begun_across(house: &mut House, own: &str) -> (String, LinkId) {
    let call = r#"{"name":"must","arguments":{}}"#;
    let link = new(house, 0, "tools/call", call, TAKES_AND_ASKED);
    let lane = house.greet_with(OLD);
    let made = format!(r#"{{"task":{{"taskId":"{own}",{WORKING}"ttl":null,"pollInterval":500}}}}"#);
    let params = replies(house, lane, "tools/call", &made);
    assert_eq!(params["task"], json!({}), "the upstream is asked for a task");
    let result = answered(house, link)["result"].clone();
    assert_eq!(
        (&result["resultType"], &result["status"], &result["ttlMs"], &result["pollIntervalMs"]),
        (&json!("task"), &json!("working"), &Value::Null, &json!(500)),
        "{result}"
    );
    assert!(result["ttl"].is_null() && result["task"].is_null(), "{result}");
    (result["taskId"].as_str().unwrap().to_owned(), lane)
}

#[test]
fn tasks_are_advertised_where_an_upstream_makes_them_in_the_way_of_the_clients_era() {
    for (mut house, _) in [old_house(1), new_house(1)] {
        let link = house.modern(0, 1, "server/discover", "{}", "{}");
        let offered = answered(&house, link)["result"]["capabilities"].clone();
        assert_eq!(offered["extensions"]["io.modelcontextprotocol/tasks"], json!({}), "{offered}");
        assert!(offered.get("tasks").is_none());
        for (version, has_them) in [("2025-11-25", true), ("2025-06-18", false)] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}}}}}}"#
            );
            let link = house.post(0, &[], &body);
            let offered = answered(&house, link)["result"]["capabilities"].clone();
            let calls = &offered["tasks"]["requests"]["tools"]["call"];
            assert_eq!(calls.is_object(), has_them, "{version}: {offered}");
            assert!(offered.get("extensions").is_none());
        }
    }
    let mut house = House::scripted(1, EraPin::Modern);
    house.greet_modern();
    let link = house.modern(0, 1, "server/discover", "{}", "{}");
    assert!(answered(&house, link)["result"]["capabilities"].get("extensions").is_none());
}

#[test]
fn a_legacy_task_goes_to_its_server_by_the_clients_own_id_and_comes_back_under_it() {
    let (mut house, lane) = old_house(1);
    let session = house.session(0, "2025-11-25", "{}");
    let token = begun_old(&mut house, lane, &session, "t1");
    assert!(token.starts_with("rg1.") && !token.contains("t1"));
    let link = old(&mut house, &session, "tasks/get", &about(&token));
    let task = format!(r#"{{"taskId":"t1",{WORKING}"ttl":60000}}"#);
    let params = replies(&mut house, lane, "tasks/get", &task);
    assert_eq!(params["taskId"], "t1");
    assert_eq!(answered(&house, link)["result"]["taskId"], *token);
    let link = old(&mut house, &session, "tasks/cancel", &about(&token));
    replies(&mut house, lane, "tasks/cancel", r#"{"taskId":"t1","status":"cancelled","ttl":1}"#);
    assert_eq!(answered(&house, link)["result"]["taskId"], *token);
    // It takes as long as the task does, not as long as a request.
    let link = old(&mut house, &session, "tasks/result", &about(&token));
    house.wait(Duration::from_mins(10));
    let result =
        r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"},"k":1}}"#;
    replies(&mut house, lane, "tasks/result", result);
    let meta = answered(&house, link)["result"]["_meta"].clone();
    assert_eq!(meta, json!({"io.modelcontextprotocol/related-task": {"taskId": token}, "k": 1}));
}

#[test]
fn the_result_of_a_task_is_not_waited_for_longer_than_the_limit() {
    let limits = Limits { task: Duration::from_mins(1), ..Limits::DEFAULT };
    let mut house = House::limited(limits);
    let lane = house.greet_with(OLD);
    replies(&mut house, lane, "tools/list", TOOLS);
    let session = house.session(0, "2025-11-25", "{}");
    let token = begun_old(&mut house, lane, &session, "t1");
    let link = old(&mut house, &session, "tasks/result", &about(&token));
    house.wait(Duration::from_secs(59));
    assert!(is_open(&house, link));
    house.wait(Duration::from_secs(2));
    let error = answered(&house, link)["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("limit task"), "{error}");
    assert!(house.heard(lane, "notifications/cancelled").is_some());
}

pub(crate) fn two() -> (Principal, Principal) {
    let mut all = Principals::default();
    (all.acting_as("alice"), all.acting_as("bob"))
}

#[test]
fn to_anybody_else_a_task_is_unknown() {
    let (alice, bob) = two();
    let (mut house, lane) = old_house(1);
    house.principal = alice;
    let session = house.session(0, "2025-11-25", "{}");
    let token = begun_old(&mut house, lane, &session, "t1");
    house.principal = bob;
    let others = house.session(0, "2025-11-25", "{}");
    let before = house.lanes[&lane].len();
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let tampered = token.replace(&token[60..61], if &token[60..61] == "0" { "1" } else { "0" });
        for token in [token.as_str(), "t1", "rg1.00", "", &tampered] {
            let link = old(&mut house, &others, method, &about(token));
            assert_eq!(answered(&house, link)["error"]["code"], -32602, "{method} {token}");
        }
    }
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = format!(r#"{{"taskId":"{token}","inputResponses":{{}}}}"#);
        let link = new(&mut house, 0, method, &params, TAKES);
        assert_eq!(answered(&house, link)["error"]["code"], -32602, "{method}");
    }
    let link = old(&mut house, &others, "tasks/list", "{}");
    assert_eq!(answered(&house, link)["result"]["tasks"], json!([]));
    assert_eq!(house.lanes[&lane].len(), before, "the upstream hears nothing of it");
    // Another connection of hers has it.
    house.principal = alice;
    let again = house.session(0, "2025-11-25", "{}");
    let link = old(&mut house, &again, "tasks/get", &about(&token));
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t1","status":"working","ttl":1}"#);
    assert_eq!(answered(&house, link)["result"]["taskId"], *token);
}

#[test]
fn a_list_has_the_clients_own_tasks_page_by_page_as_they_are_now() {
    let (mut house, lane) = old_house(1);
    let session = house.session(0, "2025-11-25", "{}");
    let other = house.session(0, "2025-11-25", "{}");
    let tokens: Vec<String> =
        (0..21).map(|n| begun_old(&mut house, lane, &session, &format!("t{n}"))).collect();
    begun_old(&mut house, lane, &other, "theirs");
    let link = old(&mut house, &session, "tasks/list", "{}");
    for n in 0..20 {
        if n == 3 {
            refuses(&mut house, lane, "tasks/get", -32602, "");
            continue;
        }
        let task = format!(r#"{{"taskId":"t{n}","status":"completed","ttl":1}}"#);
        let params = replies(&mut house, lane, "tasks/get", &task);
        assert_eq!(params["taskId"], format!("t{n}"));
    }
    let page = answered(&house, link)["result"].clone();
    let listed: Vec<&str> =
        page["tasks"].as_array().unwrap().iter().map(|t| t["taskId"].as_str().unwrap()).collect();
    let wanted: Vec<&str> =
        tokens[..20].iter().enumerate().filter(|(n, _)| *n != 3).map(|(_, t)| &**t).collect();
    assert_eq!(listed, wanted, "what is not there any more is left out");
    assert_eq!(page["tasks"][0]["status"], "completed");
    let next = format!(r#"{{"cursor":{}}}"#, page["nextCursor"]);
    let link = old(&mut house, &session, "tasks/list", &next);
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t20","status":"working","ttl":1}"#);
    let page = answered(&house, link)["result"].clone();
    assert_eq!(page["tasks"].as_array().unwrap().len(), 1);
    assert!(page.get("nextCursor").is_none());
    let link = old(&mut house, &session, "tasks/list", r#"{"cursor":"x"}"#);
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
}

#[test]
fn news_and_progress_of_a_legacy_task_reach_its_client_under_its_own_names() {
    let (mut house, lane) = old_house(1);
    let session = house.session(0, "2025-11-25", "{}");
    let stream = house.get(0, &session, None);
    let call = r#"{"name":"may","arguments":{},"task":{},"_meta":{"progressToken":"p"}}"#;
    let link = old(&mut house, &session, "tools/call", call);
    let (wire, _) = house.heard(lane, "tools/call").unwrap();
    let made = format!(r#"{{"task":{{"taskId":"t1",{WORKING}"ttl":60000}}}}"#);
    replies(&mut house, lane, "tools/call", &made);
    let token = answered(&house, link)["result"]["task"]["taskId"].clone();
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t1","status":"working","statusMessage":"half","ttl":1}}"#);
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t2","status":"working","ttl":1}}"#);
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{wire},"progress":1,"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"t1"}}}}}}}}"#));
    let said: Vec<Value> = house.answer(stream).data().iter().map(|text| parse(text)).collect();
    assert_eq!(said.len(), 2, "nobody hears of a task that nobody began: {said:?}");
    assert_eq!(said[0]["method"], "notifications/tasks/status");
    assert_eq!(said[0]["params"]["taskId"], token);
    assert_eq!(said[1]["params"]["progressToken"], "p");
    let related = &said[1]["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
    assert_eq!(*related, token);
}

#[test]
fn what_a_legacy_server_asks_about_a_task_names_it_as_the_client_does() {
    let (mut house, _) = old_house(1);
    let session = house.session(0, "2025-11-25", r#"{"elicitation":{}}"#);
    let call = r#"{"name":"may","arguments":{},"task":{}}"#;
    let link = old(&mut house, &session, "tools/call", call);
    let lane = house.greet_with(OLD);
    let made = format!(r#"{{"task":{{"taskId":"t1",{WORKING}"ttl":60000}}}}"#);
    replies(&mut house, lane, "tools/call", &made);
    let token = answered(&house, link)["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    let link = old(&mut house, &session, "tasks/result", &about(&token));
    house.says(lane, r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{"message":"?","requestedSchema":{},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}}"#);
    let asked = parse(house.answer(link).data().last().unwrap());
    let related = &asked["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
    assert_eq!(*related, *token);
    let reply =
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"decline"}}}}"#, asked["id"]);
    house.in_session(0, &session, &reply);
    assert!(house.lanes[&lane].last().unwrap().contains("\"decline\""));
    replies(&mut house, lane, "tasks/result", r#"{"content":[]}"#);
    assert_eq!(answered(&house, link)["result"]["content"], json!([]));
}

#[test]
fn a_modern_task_goes_to_its_server_by_the_clients_own_id_and_comes_back_under_it() {
    let (mut house, lane) = new_house(1);
    let token = begun_new(&mut house, lane, "t1");
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES);
    let task = r#"{"resultType":"complete","taskId":"t1","status":"input_required","ttlMs":1,"inputRequests":{"k":{"method":"elicitation/create","params":{}}},"x":1}"#;
    let params = replies(&mut house, lane, "tasks/get", task);
    assert_eq!(params["taskId"], "t1");
    let mut wanted = parse(task);
    wanted["taskId"] = json!(token);
    assert_eq!(answered(&house, link)["result"], wanted);
    let update =
        format!(r#"{{"taskId":"{token}","inputResponses":{{"k":{{"action":"accept"}}}}}}"#);
    let link = new(&mut house, 0, "tasks/update", &update, TAKES);
    let params = replies(&mut house, lane, "tasks/update", r#"{"resultType":"complete"}"#);
    assert_eq!(params["inputResponses"], json!({"k": {"action": "accept"}}));
    assert_eq!(answered(&house, link)["result"], json!({"resultType": "complete"}));
    let link = new(&mut house, 0, "tasks/cancel", &about(&token), TAKES);
    replies(&mut house, lane, "tasks/cancel", r#"{"resultType":"complete"}"#);
    assert_eq!(answered(&house, link)["result"], json!({"resultType": "complete"}));
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES);
    refuses(&mut house, lane, "tasks/get", -32602, "");
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
}

#[test]
fn the_modern_ladder_holds_for_tasks() {
    let (mut house, lane) = new_house(1);
    let token = begun_new(&mut house, lane, "t1");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let link = new(&mut house, 0, method, &about(&token), "{}");
        let answer = house.answer(link);
        assert_eq!(answer.status, Some(400), "{answer:?}");
        let error = answered(&house, link)["error"].clone();
        assert_eq!(error["code"], -32021);
        let wanted = &error["data"]["requiredCapabilities"]["extensions"];
        assert!(wanted["io.modelcontextprotocol/tasks"].is_object(), "{error}");
    }
    for method in ["tasks/list", "tasks/result"] {
        let link = new(&mut house, 0, method, &about(&token), TAKES);
        assert_eq!(answered(&house, link)["error"]["code"], -32601, "{method}");
    }
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tasks/get","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{TAKES}}},"taskId":"{token}"}}}}"#
    );
    for name in ["t1", "other"] {
        let headers = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tasks/get"),
            ("mcp-name", name),
        ];
        let link = house.post(0, &headers, &body);
        assert_eq!(answered(&house, link)["error"]["code"], -32020);
    }
    let mut house = House::scripted(1, EraPin::Modern);
    house.greet_modern();
    let link = new(&mut house, 0, "tasks/get", &about("x"), TAKES);
    assert_eq!(answered(&house, link)["error"]["code"], -32601, "nobody makes tasks here");
}

#[test]
fn a_modern_client_sees_a_legacy_task_with_its_result_inside() {
    let (mut house, _) = old_house(1);
    let (token, lane) = begun_across(&mut house, "t1");
    assert_eq!(times(&house, lane, "tasks/result"), 1, "what it asks, it asks meanwhile");
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
    let task = format!(r#"{{"taskId":"t1",{WORKING}"ttl":null}}"#);
    replies(&mut house, lane, "tasks/get", &task);
    let shown = answered(&house, link)["result"].clone();
    assert_eq!((&shown["resultType"], &shown["status"]), (&json!("complete"), &json!("working")));
    assert_eq!(shown["taskId"], *token);
    for (result, status) in [
        (
            Ok(
                r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}"#,
            ),
            "completed",
        ),
        (Ok(r#"{"content":[],"isError":true}"#), "completed"),
        (Err(()), "failed"),
    ] {
        let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
        let ended = if status == "failed" { "failed" } else { "completed" };
        let task = format!(r#"{{"taskId":"t1","status":"{ended}","ttl":null}}"#);
        replies(&mut house, lane, "tasks/get", &task);
        match result {
            Ok(result) => drop(replies(&mut house, lane, "tasks/result", result)),
            Err(()) => refuses(&mut house, lane, "tasks/result", -32603, ""),
        }
        let shown = answered(&house, link)["result"].clone();
        assert_eq!(shown["status"], status, "{shown}");
        assert_eq!(
            shown["error"]["code"],
            if result.is_err() { json!(-32603) } else { Value::Null }
        );
        assert_eq!(shown["result"]["content"].is_array(), result.is_ok());
        assert!(!shown["result"].to_string().contains("related-task"), "{shown}");
    }
}

#[test]
fn what_a_legacy_server_asks_about_a_modern_clients_task_waits_for_its_update() {
    let (mut house, _) = old_house(1);
    let (token, lane) = begun_across(&mut house, "t1");
    let ask = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create","params":{{"message":"?","requestedSchema":{{}},"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"t1"}}}}}}}}"#
        )
    };
    house.says(lane, &ask(5));
    house.says(lane, &ask(6));
    let get = |house: &mut House| {
        let link = new(house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
        let task = r#"{"taskId":"t1","status":"input_required","ttl":null}"#;
        replies(house, lane, "tasks/get", task);
        answered(house, link)["result"].clone()
    };
    let shown = get(&mut house);
    assert_eq!(shown["status"], "input_required");
    let asks = shown["inputRequests"].as_object().unwrap();
    assert_eq!(asks.len(), 2);
    let (first, question) = asks.iter().next().unwrap();
    assert_eq!(question["method"], "elicitation/create");
    assert!(!question.to_string().contains("t1"), "{question}");
    let update = |key: &str| {
        format!(
            r#"{{"taskId":"{token}","inputResponses":{{"{key}":{{"action":"accept"}},"unknown":{{}}}}}}"#
        )
    };
    let link = new(&mut house, 0, "tasks/update", &update(first), TAKES_AND_ASKED);
    assert_eq!(answered(&house, link)["result"], json!({"resultType": "complete"}));
    assert!(
        house.lanes[&lane]
            .iter()
            .any(|line| line.contains(r#""id":5,"result":{"action":"accept"}"#))
    );
    let shown = get(&mut house);
    assert_eq!(shown["inputRequests"].as_object().unwrap().len(), 1, "{shown}");
    let last = shown["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    new(&mut house, 0, "tasks/update", &update(&last), TAKES_AND_ASKED);
    assert_eq!(get(&mut house)["status"], "working", "it is on its way");
    // The connection stays as long as the task does, although nobody uses it.
    house.wait(Duration::from_mins(20));
    assert!(!house.closed.contains(&lane));
    house.wait(Duration::from_mins(50));
    house.wait(Duration::from_mins(5));
    assert!(house.closed.contains(&lane), "the task has been forgotten by now");
    let link = new(&mut house, 0, "tasks/get", &about(&token), TAKES_AND_ASKED);
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
}

#[test]
fn a_modern_client_cancels_a_legacy_task_and_one_that_has_ended_as_well() {
    let (mut house, _) = old_house(1);
    let (token, lane) = begun_across(&mut house, "t1");
    let cancel = |house: &mut House| new(house, 0, "tasks/cancel", &about(&token), TAKES_AND_ASKED);
    let link = cancel(&mut house);
    replies(&mut house, lane, "tasks/cancel", r#"{"taskId":"t1","status":"cancelled","ttl":1}"#);
    assert_eq!(answered(&house, link)["result"], json!({"resultType": "complete"}));
    let link = cancel(&mut house);
    refuses(&mut house, lane, "tasks/cancel", -32602, "");
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t1","status":"cancelled","ttl":1}"#);
    assert_eq!(answered(&house, link)["result"], json!({"resultType": "complete"}));
    let link = cancel(&mut house);
    refuses(&mut house, lane, "tasks/cancel", -32602, "");
    refuses(&mut house, lane, "tasks/get", -32602, "");
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
}

#[test]
fn a_tool_that_must_be_a_task_is_waited_for_where_the_client_takes_none() {
    let (mut house, lane) = old_house(1);
    let session = house.session(0, "2025-11-25", "{}");
    let call = r#"{"name":"must","arguments":{}}"#;
    for link in [
        old(&mut house, &session, "tools/call", call),
        new(&mut house, 0, "tools/call", call, "{}"),
    ] {
        let lines = house.lanes[&lane].clone();
        let calls: Vec<&String> = lines.iter().filter(|l| l.contains("tools/call")).collect();
        assert!(calls.iter().all(|call| call.contains(r#""task":{}"#)), "{calls:?}");
        let is_first = calls.len() == 2 && times(&house, lane, "tasks/result") == 0;
        let at = usize::from(!is_first);
        let id = parse(calls[at])["id"].clone();
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"task":{{"taskId":"t{at}",{WORKING}"ttl":1}}}}}}"#));
        assert!(is_open(&house, link));
        let params = replies(
            &mut house,
            lane,
            "tasks/result",
            r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#,
        );
        assert_eq!(params["taskId"], format!("t{at}"));
        let result = answered(&house, link)["result"].clone();
        assert_eq!(result["content"], json!([]));
        assert!(result.get("_meta").is_none(), "{result}");
    }
    // One that may be one is called as ever.
    new(&mut house, 0, "tools/call", r#"{"name":"may","arguments":{}}"#, "{}");
    assert!(!house.heard(lane, "tools/call").unwrap().1.contains("\"task\""));
    new(&mut house, 0, "tools/call", r#"{"name":"may","arguments":{}}"#, TAKES);
    assert!(house.heard(lane, "tools/call").unwrap().1.contains("\"task\":{}"));
    new(&mut house, 0, "tools/call", r#"{"name":"never","arguments":{},"task":{"ttl":1}}"#, TAKES);
    assert!(!house.heard(lane, "tools/call").unwrap().1.contains("\"task\""));
}

#[test]
fn a_task_that_is_waited_for_asks_as_the_call_would() {
    let (mut house, _) = old_house(1);
    let call = r#"{"name":"must","arguments":{}}"#;
    let link = new(&mut house, 0, "tools/call", call, r#"{"elicitation":{}}"#);
    let lane = house.greet_with(OLD);
    let made = format!(r#"{{"task":{{"taskId":"t1",{WORKING}"ttl":1}}}}"#);
    replies(&mut house, lane, "tools/call", &made);
    house.says(lane, r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?","requestedSchema":{},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}}"#);
    house.wait(Duration::from_millis(20));
    let asked = answered(&house, link)["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let retry = format!(
        r#"{{"name":"must","arguments":{{}},"inputResponses":{{"q":{{"action":"accept"}}}},"requestState":{}}}"#,
        asked["requestState"]
    );
    house.wait(Duration::from_mins(5));
    let link = new(&mut house, 0, "tools/call", &retry, r#"{"elicitation":{}}"#);
    assert!(house.lanes[&lane].iter().any(|line| line.contains(r#""id":"q","result""#)));
    replies(&mut house, lane, "tasks/result", r#"{"content":[]}"#);
    assert_eq!(answered(&house, link)["result"]["content"], json!([]));
    // A legacy client's call, of a modern upstream.
    let (mut house, lane) = new_house(1);
    let session = house.session(0, "2025-11-25", r#"{"elicitation":{},"tasks":{"list":{}}}"#);
    let link = old(&mut house, &session, "tools/call", r#"{"name":"t"}"#);
    let said = house.heard(lane, "tools/call").unwrap().1;
    assert!(!said.contains("\"list\""), "what it can do as a task, nobody is told: {said}");
    let data =
        r#","data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    refuses(&mut house, lane, "tools/call", -32021, data);
    let made = format!(r#"{{"resultType":"task","taskId":"t1",{WORKING}"ttlMs":1}}"#);
    replies(&mut house, lane, "tools/call", &made);
    house.wait(Duration::from_secs(1));
    let asks = r#"{"taskId":"t1","status":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{}}}}}"#;
    replies(&mut house, lane, "tasks/get", asks);
    let asked = parse(house.answer(link).data().last().unwrap());
    house.wait(Duration::from_mins(5));
    let reply =
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#, asked["id"]);
    house.in_session(0, &session, &reply);
    replies(&mut house, lane, "tasks/update", r#"{"resultType":"complete"}"#);
    house.wait(Duration::from_millis(1));
    let done = r#"{"taskId":"t1","status":"completed","result":{"content":[]}}"#;
    replies(&mut house, lane, "tasks/get", done);
    assert_eq!(answered(&house, link)["result"], json!({"content": []}));
}

#[test]
fn a_task_that_nobody_waits_for_any_more_is_cancelled() {
    let (mut house, lane) = old_house(1);
    let call = r#"{"name":"must","arguments":{}}"#;
    let made = format!(r#"{{"task":{{"taskId":"t1",{WORKING}"ttl":1}}}}"#);
    let before = house.footprint();
    let link = new(&mut house, 0, "tools/call", call, "{}");
    replies(&mut house, lane, "tools/call", &made);
    house.wait(Duration::from_secs(31));
    assert_eq!(answered(&house, link)["error"]["data"]["code"], "TIMEOUT");
    let params = replies(&mut house, lane, "tasks/cancel", "{}");
    assert_eq!(params["taskId"], "t1");
    let link = new(&mut house, 0, "tools/call", call, "{}");
    replies(&mut house, lane, "tools/call", &made);
    house.leave(link);
    assert_eq!(times(&house, lane, "tasks/cancel"), 2);
    replies(&mut house, lane, "tasks/cancel", "{}");
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_legacy_client_begins_and_follows_a_task_of_a_modern_upstream() {
    let (mut house, lane) = new_house(1);
    let session = house.session(0, "2025-11-25", r#"{"elicitation":{}}"#);
    let call = r#"{"name":"t","arguments":{},"task":{"ttl":5}}"#;
    let link = old(&mut house, &session, "tools/call", call);
    let made = format!(
        r#"{{"resultType":"task","taskId":"t1",{WORKING}"ttlMs":60000,"pollIntervalMs":500}}"#
    );
    let params = replies(&mut house, lane, "tools/call", &made);
    let said = &params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    assert!(said["extensions"]["io.modelcontextprotocol/tasks"].is_object(), "{params}");
    assert!(said["elicitation"].is_object());
    let task = answered(&house, link)["result"]["task"].clone();
    assert_eq!((&task["ttl"], &task["pollInterval"]), (&json!(60000), &json!(500)));
    let token = task["taskId"].as_str().unwrap().to_owned();
    let link = old(&mut house, &session, "tasks/get", &about(&token));
    let shown = r#"{"resultType":"complete","taskId":"t1","status":"completed","ttlMs":1,"result":{"content":[]}}"#;
    let params = replies(&mut house, lane, "tasks/get", shown);
    let said = &params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    assert!(said["extensions"]["io.modelcontextprotocol/tasks"].is_object(), "{params}");
    assert_eq!(
        answered(&house, link)["result"],
        json!({"taskId": token, "status": "completed", "ttl": 1})
    );
    // Cancelled it is only while it has not ended, and is said to be.
    let link = old(&mut house, &session, "tasks/cancel", &about(&token));
    replies(&mut house, lane, "tasks/get", shown);
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
    let link = old(&mut house, &session, "tasks/cancel", &about(&token));
    replies(&mut house, lane, "tasks/get", r#"{"taskId":"t1","status":"working","ttlMs":1}"#);
    replies(&mut house, lane, "tasks/cancel", r#"{"resultType":"complete"}"#);
    assert_eq!(answered(&house, link)["result"]["status"], "cancelled");
    let link = old(&mut house, &session, "tasks/list", "{}");
    replies(&mut house, lane, "tasks/get", shown);
    assert_eq!(answered(&house, link)["result"]["tasks"][0]["taskId"], *token);
}

#[test]
fn the_result_of_a_modern_task_is_looked_for_until_it_is_there_and_what_it_asks_is_asked() {
    let (mut house, lane) = new_house(1);
    let session = house.session(0, "2025-11-25", r#"{"elicitation":{}}"#);
    let link = old(&mut house, &session, "tools/call", r#"{"name":"t","task":{}}"#);
    let made = format!(r#"{{"resultType":"task","taskId":"t1",{WORKING}"ttlMs":1}}"#);
    replies(&mut house, lane, "tools/call", &made);
    let token = answered(&house, link)["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    let link = old(&mut house, &session, "tasks/result", &about(&token));
    let working = r#"{"taskId":"t1","status":"working","pollIntervalMs":2000}"#;
    replies(&mut house, lane, "tasks/get", working);
    house.wait(Duration::from_millis(1_900));
    assert_eq!(times(&house, lane, "tasks/get"), 1, "not before its time");
    house.wait(Duration::from_millis(200));
    assert_eq!(times(&house, lane, "tasks/get"), 2);
    let asks = r#"{"taskId":"t1","status":"input_required","pollIntervalMs":2000,"inputRequests":{"k":{"method":"elicitation/create","params":{"message":"?","requestedSchema":{}}}}}"#;
    replies(&mut house, lane, "tasks/get", asks);
    let asked = parse(house.answer(link).data().last().unwrap());
    assert_eq!(asked["method"], "elicitation/create");
    let reply =
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#, asked["id"]);
    house.in_session(0, &session, &reply);
    let params = replies(&mut house, lane, "tasks/update", r#"{"resultType":"complete"}"#);
    assert_eq!(params["inputResponses"], json!({"k": {"action": "accept"}}));
    house.wait(Duration::from_millis(1));
    // What has been answered it may show for a while.
    replies(&mut house, lane, "tasks/get", asks);
    assert_eq!(house.answer(link).data().len(), 1, "{}", house.answer(link).body);
    house.wait(Duration::from_secs(3));
    let done = r#"{"taskId":"t1","status":"completed","result":{"content":[],"x":1}}"#;
    replies(&mut house, lane, "tasks/get", done);
    let result = answered(&house, link)["result"].clone();
    assert_eq!(result["x"], 1);
    let related = &result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
    assert_eq!(*related, *token);
    for (end, code) in [
        (r#""status":"failed","error":{"code":-32050,"message":"broke"}"#, -32050),
        (r#""status":"cancelled""#, -32603),
    ] {
        let link = old(&mut house, &session, "tasks/result", &about(&token));
        replies(&mut house, lane, "tasks/get", &format!(r#"{{"taskId":"t1",{end}}}"#));
        assert_eq!(answered(&house, link)["error"]["code"], code);
    }
}

#[test]
fn what_a_modern_upstream_answers_at_once_is_a_task_that_has_ended() {
    let (mut house, lane) = new_house(1);
    let session = house.session(0, "2025-11-25", "{}");
    let begin = |house: &mut House, text: &str| {
        let link = old(house, &session, "tools/call", r#"{"name":"t","task":{}}"#);
        let result = format!(r#"{{"resultType":"complete","content":["{text}"]}}"#);
        replies(house, lane, "tools/call", &result);
        let task = answered(house, link)["result"]["task"].clone();
        assert_eq!(task["status"], "completed", "{task}");
        task["taskId"].as_str().unwrap().to_owned()
    };
    let token = begin(&mut house, "a");
    let before = house.lanes[&lane].len();
    let link = old(&mut house, &session, "tasks/get", &about(&token));
    assert_eq!(answered(&house, link)["result"]["taskId"], *token);
    let link = old(&mut house, &session, "tasks/result", &about(&token));
    let result = answered(&house, link)["result"].clone();
    assert_eq!(result["content"], json!(["a"]));
    assert!(result.get("resultType").is_none() && result["_meta"].is_object());
    let link = old(&mut house, &session, "tasks/cancel", &about(&token));
    assert_eq!(answered(&house, link)["error"]["code"], -32602);
    let link = old(&mut house, &session, "tasks/list", "{}");
    assert_eq!(answered(&house, link)["result"]["tasks"][0]["taskId"], *token);
    assert_eq!(house.lanes[&lane].len(), before, "there is nothing upstream");
    house.wait(Duration::from_mins(61));
    let link = old(&mut house, &session, "tasks/get", &about(&token));
    assert_ne!(house.answer(link).status, None);
    assert!(!house.answer(link).body.contains("\"result\""), "{}", house.answer(link).body);
}

#[test]
fn a_legacy_call_that_a_modern_upstream_does_as_a_task_only_is_waited_for() {
    let (mut house, lane) = new_house(1);
    let session = house.session(0, "2025-11-25", "{}");
    let link = old(&mut house, &session, "tools/call", r#"{"name":"t","arguments":{"a":1}}"#);
    assert!(!house.heard(lane, "tools/call").unwrap().1.contains("extensions"));
    let data =
        r#","data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    refuses(&mut house, lane, "tools/call", -32021, data);
    let made = format!(r#"{{"resultType":"task","taskId":"t1",{WORKING}"ttlMs":1}}"#);
    let params = replies(&mut house, lane, "tools/call", &made);
    assert_eq!(params["arguments"], json!({"a": 1}));
    house.wait(Duration::from_millis(1_100));
    let done =
        r#"{"taskId":"t1","status":"completed","result":{"resultType":"complete","content":[]}}"#;
    replies(&mut house, lane, "tasks/get", done);
    assert_eq!(answered(&house, link)["result"], json!({"content": []}));
    // A modern client is told what it lacks.
    let link = new(&mut house, 0, "tools/call", r#"{"name":"t"}"#, "{}");
    refuses(&mut house, lane, "tools/call", -32021, data);
    assert_eq!(answered(&house, link)["error"]["code"], -32021);
}
