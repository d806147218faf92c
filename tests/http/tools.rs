//! The gateway tools: what they list, what they refuse, and that a call through `execute_tool` is in nothing less
//! than one by name.

use std::sync::Arc;
use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::Settings;
use ringgate::gateway::http::Verb;
use ringgate::gateway::policy::{Agent, Lists, Pattern, Policy, Rules, Side};
use ringgate::gateway::principal::{Principal, Principals};
use ringgate::gateway::rate::Rates;
use ringgate::gateway::settings::{EraPin, Target, Upstream};
use ringgate::gateway::tools::Expose;
use serde_json::{Value, json};

use crate::house::{CAPS, House, upstream};

const NAMES: [&str; 3] = ["list_servers", "get_server_tools", "execute_tool"];

fn tcp(port: u16) -> Target {
    Target::Tcp { address: ([127, 0, 0, 1], port).into() }
}

fn settings(upstreams: Vec<Upstream>) -> Settings {
    Settings { upstreams, expose: Expose::GatewayTools, ..Settings::default() }
}

fn builtin() -> House {
    House::with(
        1,
        settings(vec![upstream("up", "", Target::Builtin { folder: None }, EraPin::Auto)]),
    )
}

/// An upstream that the test plays and the built-in one; both have prefixes.
fn two(shards: u16, era: EraPin) -> House {
    let upstreams = vec![
        upstream("up", "up", tcp(1), era),
        upstream("own", "own", Target::Builtin { folder: None }, EraPin::Auto),
    ];
    House::with(shards, settings(upstreams))
}

/// `reader` may use `echo` and what begins with `get_` of `up`; `stranger` has no rules.
fn ruled(upstreams: Vec<Upstream>) -> (Settings, [Principal; 2]) {
    let patterns =
        |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>();
    let tools: Lists = vec![(Pattern::parse("up").unwrap(), patterns(&["echo", "get_*"]))];
    let allow = Side { servers: patterns(&["up"]), tools, ..Side::default() };
    let agents = vec![Agent { name: "reader".to_owned(), allow, deny: Side::default() }];
    let rules = Rules { deny_on_missing_agent: true, agents };
    let names = upstreams.iter().map(|upstream| upstream.name.as_str());
    let policy = Some(Arc::new(Policy::compile(&rules, names)));
    let mut principals = Principals::default();
    let all = ["reader", "stranger"].map(|agent| principals.acting_as(agent));
    (Settings { policy, principals, audits: true, ..settings(upstreams) }, all)
}

fn body(house: &House, link: LinkId) -> Value {
    let answer = house.answer(link);
    let text = if answer.is_stream { answer.data().pop().unwrap() } else { answer.body.clone() };
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{answer:?}"))
}

fn params(tool: &str, arguments: &Value) -> String {
    json!({"name": tool, "arguments": arguments}).to_string()
}

/// A call of a gateway tool in the modern era.
fn modern(house: &mut House, shard: usize, tool: &str, arguments: Value) -> LinkId {
    modern_able(house, shard, tool, arguments, "{}")
}

#[expect(clippy::needless_pass_by_value, reason = "made for the one call")]
fn modern_able(
    house: &mut House,
    shard: usize,
    tool: &str,
    arguments: Value,
    caps: &str,
) -> LinkId {
    // The house reads the first name that it finds.
    let params = format!("{{\"name\":\"{tool}\",\"arguments\":{arguments}}}");
    house.modern(shard, 7, "tools/call", &params, caps)
}

#[expect(clippy::needless_pass_by_value, reason = "made for the one call")]
fn legacy(house: &mut House, session: &str, tool: &str, arguments: Value) -> LinkId {
    let params = params(tool, &arguments);
    let call = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
    house.in_session(0, session, &call)
}

fn found(house: &House, link: LinkId) -> Value {
    let answer = body(house, link);
    let result = &answer["result"];
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let structured = &result["structuredContent"];
    assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), structured, "both say the same");
    structured.clone()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

#[test]
fn a_client_sees_three_tools_or_these_before_all_others() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let link = house.modern(0, 1, "tools/list", "{}", "{}");
    let list = body(&house, link)["result"].clone();
    assert_eq!(names(&list["tools"]), NAMES);
    assert_eq!(list["cacheScope"], "public");
    assert!(house.heard(lane, "tools/list").is_none_or(|(_, line)| !line.contains("cursor")));
    let session = house.session(0, "2025-06-18", "{}");
    let link = house.in_session(0, &session, LIST);
    assert_eq!(names(&body(&house, link)["result"]["tools"]), NAMES);
    // Not even a name that there is can be called.
    let echo = r#"{"name":"own__echo","arguments":{"message":"x"}}"#;
    let link = house.modern(0, 1, "tools/call", echo, "{}");
    assert_eq!(body(&house, link)["error"]["code"], -32602);

    let upstreams = vec![upstream("own", "", Target::Builtin { folder: None }, EraPin::Auto)];
    let mut house = House::with(1, Settings { expose: Expose::Both, ..settings(upstreams) });
    let link = house.modern(0, 1, "tools/list", "{}", "{}");
    let list = body(&house, link)["result"]["tools"].clone();
    assert_eq!(names(&list)[..4], ["list_servers", "get_server_tools", "execute_tool", "echo"]);
    let echo = r#"{"name":"echo","arguments":{"message":"x"}}"#;
    let link = house.modern(0, 1, "tools/call", echo, "{}");
    assert_eq!(body(&house, link)["result"]["content"][0]["text"], "x");
}

#[test]
fn servers_are_listed_with_what_they_say_of_themselves_and_not_with_where_they_are() {
    let mut house = two(1, EraPin::Legacy);
    let link = modern(&mut house, 0, "list_servers", json!({"agent_id": "researcher"}));
    assert_eq!(
        found(&house, link),
        json!({"servers": [
            {"name": "up", "transport": "tcp", "status": "starting"},
            {"name": "own", "transport": "builtin", "status": "ready"},
        ]})
    );
    house.greet_legacy();
    let link = modern(&mut house, 0, "list_servers", json!({"include_metadata": true}));
    let servers = found(&house, link)["servers"].clone();
    assert_eq!(servers[0]["status"], "ready");
    assert_eq!(servers[0]["version"], "1");
    assert!(servers[1]["instructions"].as_str().unwrap().contains("echo"));
    assert!(!servers.to_string().contains("127.0.0.1"));
    // Structured content came with 2025-06-18.
    let session = house.session(0, "2024-11-05", "{}");
    let link = legacy(&mut house, &session, "list_servers", json!({}));
    let result = body(&house, link)["result"].clone();
    assert!(result.get("structuredContent").is_none() && result.get("resultType").is_none());
    assert!(result["content"][0]["text"].as_str().unwrap().contains("\"up\""));
}

#[test]
fn a_servers_tools_are_given_by_name_by_pattern_and_within_a_budget() {
    let mut house = builtin();
    let mut ask = |arguments: Value| {
        let link = modern(&mut house, 0, "get_server_tools", arguments);
        found(&house, link)
    };
    let all = ask(json!({"server": "up"}));
    assert_eq!(names(&all["tools"])[..2], ["echo", "add"]);
    assert_eq!(all["total_available"], all["returned"]);
    assert!(all["tools"][0]["inputSchema"].is_object() && all.get("omitted").is_none());
    let some = ask(json!({"server": "up", "names": ["add", "clock", "nothing"]}));
    assert_eq!(names(&some["tools"]), ["add", "clock"]);
    assert_eq!(
        names(&ask(json!({"server": "up", "names": "add, clock"}))["tools"]),
        ["add", "clock"]
    );
    let some = ask(json!({"server": "up", "pattern": "ask_*"}));
    assert_eq!(names(&some["tools"]), ["ask_name", "ask_model"]);
    let few = ask(json!({"server": "up", "max_tokens": 100}));
    let used = few["tokens_used"].as_u64().unwrap();
    assert!(used <= 100 && !few["tools"].as_array().unwrap().is_empty(), "{few}");
    let said: usize = few["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool.to_string().len().div_ceil(4))
        .sum();
    assert_eq!(used, u64::try_from(said).unwrap(), "the rule is the one that is told");
    let omitted = few["omitted"].as_array().unwrap().len() as u64;
    assert_eq!(few["returned"].as_u64().unwrap() + omitted, all["returned"].as_u64().unwrap());
    assert!(few["note"].as_str().unwrap().contains("max_tokens"));
}

#[test]
fn pages_of_an_upstream_become_one_offer_under_its_own_names() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    // What was asked for to learn headers.
    let learning = house.heard(lane, "tools/list").unwrap().0;
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{learning},"result":{{"tools":[]}}}}"#));
    let link = modern(&mut house, 0, "get_server_tools", json!({"server": "up"}));
    for (name, next) in [("a", r#","nextCursor":"2""#), ("b", "")] {
        let (id, line) = house.heard(lane, "tools/list").unwrap();
        assert!(!line.contains("get_server_tools") && !line.contains("arguments"), "{line}");
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"{name}","inputSchema":{{}}}}]{next}}}}}"#));
    }
    assert_eq!(names(&found(&house, link)["tools"]), ["a", "b"]);
}

#[test]
fn a_tool_is_executed_under_its_own_name_and_answers_as_itself() {
    for (era, is_modern) in [(EraPin::Legacy, false), (EraPin::Modern, true)] {
        let mut house = two(1, era);
        let lane = if is_modern { house.greet_modern() } else { house.greet_legacy() };
        let before = house.footprint();
        let session = house.session(0, "2025-11-25", "{}");
        let arguments = json!({"server": "up", "tool": "own__x", "args": {"n": 1}});
        let links = [
            modern(&mut house, 0, "execute_tool", arguments.clone()),
            legacy(&mut house, &session, "execute_tool", arguments),
        ];
        let calls: Vec<String> = house.lanes[&lane]
            .iter()
            .filter(|line| line.contains("\"tools/call\""))
            .cloned()
            .collect();
        assert_eq!(calls.len(), 2);
        for (line, link) in calls.iter().zip(links) {
            let call: Value = serde_json::from_str(line).unwrap();
            // Although another upstream's prefix is `own__`.
            assert_eq!(call["params"]["name"], "own__x");
            assert_eq!(call["params"]["arguments"], json!({"n": 1}));
            let kind = if is_modern { r#""resultType":"complete","# } else { "" };
            house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{{kind}"content":[{{"type":"text","text":"done"}}],"structuredContent":{{"k":1}}}}}}"#, call["id"]));
            let result = body(&house, link)["result"].clone();
            assert_eq!(result["structuredContent"], json!({"k": 1}), "{result}");
            assert_eq!(result["content"][0]["text"], "done");
        }
        let link = house.send(0, Verb::Delete, "/mcp", &[("mcp-session-id", &session)], "");
        assert_eq!(house.answer(link).status, Some(200));
        assert_eq!(house.footprint(), before);
    }
}

#[test]
fn progress_and_cancellation_reach_a_call_that_is_inside_of_another() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let before = house.footprint();
    let call = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p"},"name":"execute_tool","arguments":{"server":"up","tool":"slow"}}}"#;
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "execute_tool"),
    ];
    let link = house.post(0, &headers, call);
    let (id, line) = house.heard(lane, "tools/call").unwrap();
    assert!(line.contains(&format!("\"progressToken\":{id}")), "{line}");
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#));
    assert!(house.answer(link).data()[0].contains("\"progressToken\":\"p\""));
    house.leave(link);
    let (_, cancelled) = house.heard(lane, "notifications/cancelled").unwrap();
    assert!(cancelled.contains(&format!("\"requestId\":{id}")), "{cancelled}");
    assert_eq!(house.footprint(), before);
}

/// Asks a modern client back, in a call through `execute_tool`; gives the lane, the call's id and the state.
fn held(house: &mut House, shard: usize) -> (LinkId, String, String) {
    let ask = json!({"server": "up", "tool": "ask"});
    let link = modern_able(house, shard, "execute_tool", ask, CAPS);
    let lane = house.greet_legacy();
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object","properties":{}}}}"#);
    house.wait(Duration::from_millis(20));
    let result = body(house, link)["result"].clone();
    assert_eq!(result["resultType"], "input_required", "{result}");
    (lane, id, result["requestState"].as_str().unwrap().to_owned())
}

fn retry(house: &mut House, shard: usize, tool: &str, state: &str) -> LinkId {
    let call = format!(
        r#"{{"name":"execute_tool","arguments":{{"server":"up","tool":"{tool}"}},"inputResponses":{{"q":{{"action":"accept","content":{{}}}}}},"requestState":"{state}"}}"#
    );
    house.modern(shard, 10, "tools/call", &call, CAPS)
}

#[test]
fn a_legacy_upstream_asks_a_modern_client_back_also_from_another_shard() {
    for (begun, goes_on) in [(0, 0), (0, 1), (1, 0)] {
        let mut house = two(2, EraPin::Legacy);
        house.greet_legacy();
        house.greet_legacy();
        let before = house.footprint();
        let (lane, id, state) = held(&mut house, begun);
        let other = retry(&mut house, goes_on, "other", &state);
        assert_eq!(body(&house, other)["error"]["code"], -32602, "the state is another call's");
        let link = retry(&mut house, goes_on, "ask", &state);
        assert!(house.lanes[&lane].iter().any(|line| line.contains("\"id\":\"q\",\"result\"")));
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
        assert!(
            house.answer(link).body.contains("\"id\":10,\"result\""),
            "{:?}",
            house.answer(link)
        );
        assert_eq!(house.footprint(), before);
    }
}

#[test]
fn a_modern_upstream_asks_a_legacy_client_back() {
    let mut house = two(1, EraPin::Modern);
    let lane = house.greet_modern();
    let session = house.session(0, "2025-11-25", r#"{"elicitation":{}}"#);
    let link = legacy(&mut house, &session, "execute_tool", json!({"server": "up", "tool": "ask"}));
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","requestState":"s","inputRequests":{{"k":{{"method":"elicitation/create","params":{{"message":"?","requestedSchema":{{"type":"object","properties":{{}}}}}}}}}}}}}}"#));
    let asked: Value = house
        .answer(link)
        .data()
        .iter()
        .map(|data| serde_json::from_str::<Value>(data).unwrap())
        .find(|message| message["method"] == "elicitation/create")
        .unwrap();
    let answer =
        json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {}}});
    house.in_session(0, &session, &answer.to_string());
    let (again, line) = house.heard(lane, "tools/call").unwrap();
    assert_ne!(again, id);
    let call: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(call["params"]["name"], "ask");
    assert_eq!(call["params"]["requestState"], "s");
    assert_eq!(call["params"]["inputResponses"]["k"]["action"], "accept");
    house.says(
        lane,
        &format!(
            r#"{{"jsonrpc":"2.0","id":{again},"result":{{"resultType":"complete","content":[]}}}}"#
        ),
    );
    assert!(body(&house, link)["result"]["content"].is_array());
}

#[test]
fn an_upstream_on_another_shard_is_reached() {
    let (command, args) = ("server".to_owned(), Vec::new());
    let target = Target::Stdio { command, args, env: std::collections::BTreeMap::new(), cwd: None };
    let mut house = House::with(2, settings(vec![upstream("up", "", target, EraPin::Legacy)]));
    let lane = house.greet_legacy();
    assert_eq!(lane.shard().0, 0);
    let link = modern(&mut house, 1, "execute_tool", json!({"server": "up", "tool": "far"}));
    let (id, line) = house.heard(lane, "tools/call").unwrap();
    assert!(line.contains("\"name\":\"far\""), "{line}");
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(body(&house, link)["result"]["content"].is_array());
}

#[test]
fn a_call_takes_as_long_as_its_caller_says_and_never_longer_than_the_limit() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let slow = |ms: u64| json!({"server": "up", "tool": "slow", "timeout_ms": ms});
    let link = modern(&mut house, 0, "execute_tool", slow(500));
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.wait(Duration::from_millis(499));
    // It is the caller's time: what the upstream does does not make it longer.
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#));
    assert_eq!(house.answer(link).status, None);
    house.wait(Duration::from_millis(2));
    let error = body(&house, link)["error"].clone();
    assert_eq!(error["code"], -32603);
    assert_eq!(
        error["data"],
        json!({"upstream": "up", "code": "TIMEOUT", "timeoutMs": 500, "agent": null,
               "server": "up", "tool": "slow", "timeout_ms": 500})
    );
    assert!(house.heard(lane, "notifications/cancelled").unwrap().1.contains(&id));
    let limit = u64::try_from(Limits::DEFAULT.request.as_millis()).unwrap();
    let link = modern(&mut house, 0, "execute_tool", slow(limit * 10));
    house.wait(Limits::DEFAULT.request + Duration::from_millis(1));
    assert_eq!(body(&house, link)["error"]["data"]["timeout_ms"], limit);
    // The built-in tools are held to it too, at whatever step they are.
    let sleep = json!({"server": "own", "tool": "sleep", "args": {"ms": 5000}, "timeout_ms": 300});
    let link = modern(&mut house, 0, "execute_tool", sleep);
    for _ in 0..10 {
        house.wait(Duration::from_millis(50));
    }
    let data = &body(&house, link)["error"]["data"];
    assert_eq!(data["code"], "TIMEOUT", "{:?}", house.answer(link));
}

#[test]
fn impatient_callers_do_not_open_an_upstreams_breaker() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    for _ in 0..20 {
        let slow = json!({"server": "up", "tool": "slow", "timeout_ms": 1});
        modern(&mut house, 0, "execute_tool", slow);
        house.wait(Duration::from_millis(2));
    }
    let link = modern(&mut house, 0, "execute_tool", json!({"server": "up", "tool": "slow"}));
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(body(&house, link)["result"].is_object());
}

#[test]
fn what_policy_denies_is_neither_listed_nor_executed_and_is_written_down_once() {
    let (settings, [reader, stranger]) = ruled(vec![
        upstream("up", "up", tcp(1), EraPin::Legacy),
        upstream("own", "own", Target::Builtin { folder: None }, EraPin::Auto),
    ]);
    let mut house = House::with(1, settings);
    let lane = house.greet_legacy();
    let learning = house.heard(lane, "tools/list").unwrap().0;
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{learning},"result":{{"tools":[]}}}}"#));
    house.principal = reader;
    let link = modern(&mut house, 0, "list_servers", json!({}));
    assert_eq!(names(&found(&house, link)["servers"]), ["up"]);
    let link = modern(&mut house, 0, "get_server_tools", json!({"server": "up"}));
    let (id, _) = house.heard(lane, "tools/list").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"echo","inputSchema":{{}}}},{{"name":"drop","inputSchema":{{}}}},{{"name":"get_a","inputSchema":{{}}}}]}}}}"#));
    let offer = found(&house, link);
    assert_eq!(names(&offer["tools"]), ["echo", "get_a"]);
    assert_eq!(offer["total_available"], 2, "how many there are besides is not told");
    assert_eq!(house.audit.len(), 0, "lists are no use of anything");

    let link = modern(&mut house, 0, "get_server_tools", json!({"server": "own"}));
    let error = body(&house, link)["error"].clone();
    assert_eq!((&error["code"], &error["data"]["server"]), (&json!(-32602), &json!("own")));
    let link = modern(&mut house, 0, "execute_tool", json!({"server": "up", "tool": "drop"}));
    assert_eq!(
        body(&house, link)["error"]["data"],
        json!({"code": "DENIED_BY_POLICY", "agent": "reader", "server": "up", "tool": "drop",
               "rule": "agents.reader.allow.tools.up: does not name it"})
    );
    assert!(house.heard(lane, "tools/call").is_none(), "it never reached its server");
    let link = modern(&mut house, 0, "execute_tool", json!({"server": "up", "tool": "echo"}));
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(body(&house, link)["result"].is_object());
    let written: Vec<(&str, bool)> =
        house.audit.iter().map(|it| (&*it.name, it.decision.unwrap().is_allowed)).collect();
    assert_eq!(written, [("drop", false), ("echo", true)]);
    house.principal = stranger;
    let link = modern(&mut house, 0, "execute_tool", json!({"server": "up", "tool": "echo"}));
    assert_eq!(body(&house, link)["error"]["data"]["code"], "INVALID_AGENT_ID");
}

#[test]
fn nobody_assumes_another_agent_by_naming_it() {
    let own = Target::Builtin { folder: None };
    let (settings, [reader, stranger]) = ruled(vec![upstream("up", "", own, EraPin::Auto)]);
    let mut house = House::with(1, settings);
    let call = |agent: &str| json!({"agent_id": agent, "server": "up", "tool": "echo", "args": {"message": "x"}});
    for (principal, agent, is_let) in [
        (reader, "reader", true),
        (reader, "stranger", false),
        (stranger, "reader", false),
        (Principal::ANONYMOUS, "reader", false),
    ] {
        house.principal = principal;
        for (tool, arguments) in [
            ("execute_tool", call(agent)),
            ("get_server_tools", json!({"agent_id": agent, "server": "up"})),
            ("list_servers", json!({"agent_id": agent})),
        ] {
            let link = modern(&mut house, 0, tool, arguments);
            let answer = body(&house, link);
            assert_eq!(answer["result"].is_object(), is_let, "{tool} {answer}");
            if !is_let {
                assert_eq!(answer["error"]["code"], -32602);
                assert_eq!(answer["error"]["data"]["code"], "INVALID_AGENT_ID");
                assert_eq!(answer["error"]["data"]["agent_id"], agent);
            }
        }
    }
    house.principal = reader;
    let link = modern(
        &mut house,
        0,
        "execute_tool",
        json!({"server": "up", "tool": "echo", "args": {"message": "x"}}),
    );
    assert!(body(&house, link)["result"].is_object(), "its link names it");
}

#[test]
fn an_agent_that_is_believed_is_judged_by_its_own_rules_for_that_call_only() {
    let (mut settings, [reader, _]) = ruled(vec![
        upstream("up", "up", tcp(1), EraPin::Legacy),
        upstream("own", "own", Target::Builtin { folder: None }, EraPin::Auto),
    ]);
    settings.trusts_agent_id = true;
    let mut house = House::with(1, settings);
    let lane = house.greet_legacy();
    let learning = house.heard(lane, "tools/list").unwrap().0;
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{learning},"result":{{"tools":[]}}}}"#));
    house.principal = Principal::ANONYMOUS;
    let servers = |house: &mut House, arguments: Value| {
        let link = modern(house, 0, "list_servers", arguments);
        let servers = &found(house, link)["servers"];
        names(servers).into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(servers(&mut house, json!({"agent_id": "reader"})), ["up"]);
    assert!(servers(&mut house, json!({"agent_id": "nobody"})).is_empty());
    assert!(servers(&mut house, json!({})).is_empty(), "the call before is over");

    // The list comes later than the question, and is the agent's.
    let link =
        modern(&mut house, 0, "get_server_tools", json!({"agent_id": "reader", "server": "up"}));
    let (id, _) = house.heard(lane, "tools/list").unwrap();
    assert!(servers(&mut house, json!({})).is_empty());
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"echo","inputSchema":{{}}}},{{"name":"drop","inputSchema":{{}}}}]}}}}"#));
    assert_eq!(names(&found(&house, link)["tools"]), ["echo"]);

    for (agent, tool, code) in [
        (Some("reader"), "drop", "DENIED_BY_POLICY"),
        (Some("nobody"), "echo", "INVALID_AGENT_ID"),
        (None, "echo", "INVALID_AGENT_ID"),
    ] {
        let arguments = json!({"agent_id": agent, "server": "up", "tool": tool});
        let arguments = match agent {
            Some(_) => arguments,
            None => json!({"server": "up", "tool": tool}),
        };
        let link = modern(&mut house, 0, "execute_tool", arguments);
        let data = body(&house, link)["error"]["data"].clone();
        assert_eq!((&data["code"], &data["agent"]), (&json!(code), &json!(agent)), "{data}");
        assert!(house.heard(lane, "tools/call").is_none(), "it reached its server");
    }
    let call = json!({"agent_id": "reader", "server": "up", "tool": "echo"});
    let link = modern(&mut house, 0, "execute_tool", call);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(body(&house, link)["result"].is_object());
    // Whoever has proved to be somebody is that one still.
    house.principal = reader;
    let link = modern(&mut house, 0, "list_servers", json!({"agent_id": "stranger"}));
    assert_eq!(body(&house, link)["error"]["data"]["code"], "INVALID_AGENT_ID");
}

#[test]
fn a_tool_that_there_is_not_is_told_in_each_eras_own_code() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    for server in ["up", "own"] {
        let arguments = json!({"server": server, "tool": "no\"thing"});
        for (is_modern, code) in [(false, -32002), (true, -32602)] {
            let link = if is_modern {
                modern(&mut house, 0, "execute_tool", arguments.clone())
            } else {
                legacy(&mut house, &session, "execute_tool", arguments.clone())
            };
            if server == "up" {
                let (id, _) = house.heard(lane, "tools/call").unwrap();
                house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"Unknown tool: no\"thing"}}}}"#));
            }
            let error = body(&house, link)["error"].clone();
            assert_eq!(error["code"], code, "{error}");
            assert_eq!(
                error["data"],
                json!({"code": "TOOL_NOT_FOUND", "agent": null, "server": server, "tool": "no\"thing"})
            );
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_told_so() {
    let mut house = two(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    house.event(0, ringgate::gateway::Event::Closed { link: lane, why: "secret address" });
    for tool in ["execute_tool", "get_server_tools"] {
        for (server, is_known) in [("up", true), ("nowhere", false)] {
            let mut arguments = json!({"server": server});
            if tool == "execute_tool" {
                arguments["tool"] = json!("x");
            }
            let links = [
                modern(&mut house, 0, tool, arguments.clone()),
                legacy(&mut house, &session, tool, arguments),
            ];
            for (link, code) in links.into_iter().zip([-32603, -32001]) {
                let error = body(&house, link)["error"].clone();
                assert_eq!(error["code"], code, "{error}");
                assert_eq!(error["data"]["code"], "SERVER_UNAVAILABLE");
                assert_eq!(error["data"]["server"], server);
                assert_eq!(error["data"]["reason"] == "unknown", !is_known);
            }
        }
    }
}

#[test]
fn wrong_arguments_are_told_where_a_model_reads_them() {
    let mut house = builtin();
    let session = house.session(0, "2025-11-25", "{}");
    for (tool, arguments, what) in [
        ("execute_tool", json!({"tool": "echo"}), "server is needed"),
        ("execute_tool", json!({"server": "up"}), "tool is needed"),
        (
            "execute_tool",
            json!({"server": "up", "tool": "echo", "arguments": {}}),
            "no argument arguments",
        ),
        (
            "execute_tool",
            json!({"server": "up", "tool": "echo", "args": []}),
            "args must be an object",
        ),
        (
            "execute_tool",
            json!({"server": "up", "tool": "echo", "timeout_ms": 0}),
            "timeout_ms must be",
        ),
        ("get_server_tools", json!({"server": 7}), "server must be a string"),
        ("get_server_tools", json!({"server": "up", "max_tokens": -1}), "max_tokens must be"),
        (
            "get_server_tools",
            json!({"server": "up", "pattern": "x".repeat(300)}),
            "pattern may have",
        ),
        ("list_servers", json!({"server": "up"}), "no argument server"),
    ] {
        let links = [
            modern(&mut house, 0, tool, arguments.clone()),
            legacy(&mut house, &session, tool, arguments),
        ];
        for link in links {
            let result = body(&house, link)["result"].clone();
            assert_eq!(result["isError"], true, "{result}");
            assert!(result["content"][0]["text"].as_str().unwrap().contains(what), "{result}");
        }
    }
    // What stands twice is told by the gateway alone: no other reader sees it.
    let twice = r#"{"name":"execute_tool","arguments":{"server":"up","tool":"echo","tool":"add"}}"#;
    let link = house.modern(0, 7, "tools/call", twice, "{}");
    assert_eq!(body(&house, link)["result"]["isError"], true);
}

#[test]
fn a_call_counts_once_against_a_rate() {
    let upstreams = vec![upstream("up", "", Target::Builtin { folder: None }, EraPin::Auto)];
    let rates = Some(Rates { messages: 0, calls: 3, subscriptions: 0, all: 0, ..Rates::DEFAULT });
    let mut house = House::with(1, Settings { rates, ..settings(upstreams) });
    let echo = json!({"server": "up", "tool": "echo", "args": {"message": "x"}});
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let link = modern(&mut house, 0, "execute_tool", echo.clone());
        statuses.push(house.answer(link).status.unwrap());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[test]
fn people_use_them_over_rest_too() {
    let mut house = builtin();
    let json = [("content-type", "application/json")];
    let link = house.send(
        0,
        Verb::Post,
        "/tools/execute_tool",
        &json,
        r#"{"server":"up","tool":"add","args":{"a":2,"b":3}}"#,
    );
    let answer = house.answer(link);
    assert_eq!(answer.status, Some(200));
    assert!(answer.body.contains("\"sum\":5"), "{}", answer.body);
    let link = house.send(
        0,
        Verb::Post,
        "/tools/execute_tool",
        &json,
        r#"{"server":"up","tool":"nothing"}"#,
    );
    assert_eq!(house.answer(link).status, Some(404));
    let link = house.send(
        0,
        Verb::Post,
        "/tools/execute_tool",
        &json,
        r#"{"server":"x","tool":"nothing"}"#,
    );
    assert_eq!(house.answer(link).status, Some(502));
}
