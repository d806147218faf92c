//! What an agent may not use it neither sees nor reaches, whichever way it asks; and one agent's lists are
//! not another's.

use std::sync::Arc;
use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::gateway::Settings;
use ringgate::gateway::http::Verb;
use ringgate::gateway::policy::{Agent, Lists, Pattern, Policy, Rules, Side};
use ringgate::gateway::principal::{Principal, Principals};
use ringgate::gateway::rate::Rates;
use ringgate::gateway::settings::{EraPin, Target, Upstream};
use serde_json::{Value, json};

use crate::house::{House, upstream};

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn lists(lists: &[(&str, &[&str])]) -> Lists {
    lists.iter().map(|(server, texts)| (Pattern::parse(server).unwrap(), patterns(texts))).collect()
}

/// `reader` may read of `up`; `admin` may use everything; `stranger` has no rules.
fn settings(upstreams: Vec<Upstream>) -> (Settings, [Principal; 3]) {
    let agent = |name: &str, allow, deny| Agent { name: name.to_owned(), allow, deny };
    let reader = Side {
        servers: patterns(&["up"]),
        tools: lists(&[("up", &["echo", "get_*"])]),
        prompts: lists(&[("up", &["greet*"])]),
        resources: lists(&[("up", &["doc://public/*"])]),
    };
    let rules = Rules {
        deny_on_missing_agent: true,
        agents: vec![
            agent(
                "reader",
                reader,
                Side { tools: lists(&[("*", &["*_secret"])]), ..Side::default() },
            ),
            agent("admin", Side { servers: patterns(&["*"]), ..Side::default() }, Side::default()),
        ],
    };
    let names = upstreams.iter().map(|upstream| upstream.name.as_str());
    let policy = Some(Arc::new(Policy::compile(&rules, names)));
    let mut principals = Principals::default();
    let all = ["reader", "admin", "stranger"].map(|agent| principals.acting_as(agent));
    (Settings { upstreams, policy, principals, ..Settings::default() }, all)
}

fn tcp(port: u16) -> Target {
    Target::Tcp { address: ([127, 0, 0, 1], port).into() }
}

fn builtin() -> (House, [Principal; 3]) {
    let target = Target::Builtin { folder: None };
    let (settings, all) = settings(vec![upstream("up", "", target, EraPin::Auto)]);
    (House::with(1, settings), all)
}

fn scripted(era: EraPin) -> (House, [Principal; 3]) {
    let (settings, all) = settings(vec![upstream("up", "", tcp(1), era)]);
    (House::with(1, settings), all)
}

fn body(house: &House, link: LinkId) -> Value {
    serde_json::from_str(&house.answer(link).body)
        .unwrap_or_else(|_| panic!("{:?}", house.answer(link)))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[test]
fn a_list_holds_what_its_agent_may_use_in_either_era_and_over_rest() {
    let (mut house, [reader, admin, _]) = builtin();
    // One agent after the other, twice: nothing of a list is kept for the next.
    for _ in 0..2 {
        for (principal, is_all) in [(reader, false), (admin, true)] {
            house.principal = principal;
            let modern = house.modern(0, 1, "tools/list", "{}", "{}");
            let modern = body(&house, modern)["result"]["tools"].clone();
            let session = house.session(0, "2025-11-25", "{}");
            let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
            let legacy = house.in_session(0, &session, list);
            assert_eq!(body(&house, legacy)["result"]["tools"], modern);
            let rest = house.send(0, Verb::Get, "/tools", &[], "");
            assert_eq!(body(&house, rest)["tools"], modern);
            if is_all {
                assert!(names(&modern).len() > 3, "{modern}");
            } else {
                assert_eq!(names(&modern), ["echo"]);
            }
        }
    }
}

#[test]
fn a_call_outside_of_the_rules_is_refused_with_the_rule() {
    let (mut house, [reader, admin, stranger]) = builtin();
    let add = r#"{"name":"add","arguments":{"a":1,"b":2}}"#;
    house.principal = reader;
    let link = house.modern(0, 7, "tools/call", add, "{}");
    assert_eq!(
        body(&house, link),
        json!({"jsonrpc": "2.0", "id": 7, "error": {
            "code": -32602,
            "message": "agent reader may not use the tool add of up",
            "data": {
                "code": "DENIED_BY_POLICY",
                "agent": "reader",
                "server": "up",
                "tool": "add",
                "rule": "agents.reader.allow.tools.up: does not name it",
            },
        }})
    );
    // A name that there is not is told no differently from one that there is.
    let link = house.modern(0, 7, "tools/call", &add.replace("\"add\"", "\"nothing\""), "{}");
    assert_eq!(body(&house, link)["error"]["data"]["code"], "DENIED_BY_POLICY");
    let link = house.modern(0, 7, "tools/call", &add.replace("\"add\"", "\"get_secret\""), "{}");
    assert_eq!(body(&house, link)["error"]["data"]["rule"], "agents.reader.deny.tools.*: *_secret");
    let json = [("content-type", "application/json")];
    let rest = house.send(0, Verb::Post, "/tools/add", &json, r#"{"a":1,"b":2}"#);
    assert_eq!(house.answer(rest).status, Some(403));
    let link =
        house.modern(0, 7, "tools/call", r#"{"name":"echo","arguments":{"message":"x"}}"#, "{}");
    assert!(body(&house, link)["result"].is_object());
    house.principal = admin;
    let link = house.modern(0, 7, "tools/call", add, "{}");
    assert_eq!(body(&house, link)["result"]["structuredContent"]["sum"], 3);
    for (principal, agent) in [(stranger, json!("stranger")), (Principal::ANONYMOUS, json!(null))] {
        house.principal = principal;
        let link = house.modern(0, 7, "tools/call", add, "{}");
        let error = &body(&house, link)["error"];
        assert_eq!(error["code"], -32602);
        assert_eq!(
            error["data"],
            json!({"code": "INVALID_AGENT_ID", "agent": agent,
                   "rule": "defaults.deny_on_missing_agent: there are no rules for this agent"})
        );
        let link = house.modern(0, 7, "tools/list", "{}", "{}");
        assert_eq!(body(&house, link)["result"]["tools"], json!([]));
    }
}

#[test]
fn prompts_resources_and_completions_are_held_to_the_rules_as_well() {
    let (mut house, [reader, ..]) = scripted(EraPin::Legacy);
    let lane = house.greet_legacy();
    house.principal = reader;
    let argument = r#""argument":{"name":"a","value":""}"#;
    for (method, params, noun) in [
        ("prompts/get", r#"{"name":"other"}"#.to_owned(), "prompt"),
        (
            "completion/complete",
            format!(r#"{{"ref":{{"type":"ref/prompt","name":"other"}},{argument}}}"#),
            "prompt",
        ),
        (
            "completion/complete",
            format!(r#"{{"ref":{{"type":"ref/resource","uri":"doc://private/a"}},{argument}}}"#),
            "resource",
        ),
    ] {
        let session = house.session(0, "2025-11-25", "{}");
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let link = house.in_session(0, &session, &request);
        let error = &body(&house, link)["error"];
        assert_eq!(error["code"], -32000, "{method}");
        assert!(error["data"][noun].is_string(), "{error}");
        assert!(house.heard(lane, method).is_none(), "{method} reached the server");
    }
    let session = house.session(0, "2025-11-25", "{}");
    // Judged by its name, it might be completed by its URI.
    let both = r#"{"type":"ref/resource","name":"greet","uri":"doc://private/a"}"#;
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{"ref":{both},{argument}}}}}"#
    );
    let link = house.in_session(0, &session, &request);
    assert_eq!(body(&house, link)["error"]["code"], -32602);
    assert!(house.heard(lane, "completion/complete").is_none());
    for (uri, is_read) in [
        ("doc://public/a", true),
        ("doc://private/a", false),
        ("doc://public/../private/a", false),
        ("doc://public/%2e%2e/private/a", false),
        ("doc:\\u002f/private/a", false),
    ] {
        for method in ["resources/read", "resources/subscribe"] {
            let request = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"uri":"{uri}"}}}}"#
            );
            let link = house.in_session(0, &session, &request);
            let is_denied = house.answer(link).body.contains("DENIED_BY_POLICY");
            assert_eq!(is_denied, !is_read, "{method} {uri}");
        }
    }
    assert!(house.heard(lane, "resources/read").unwrap().1.contains("doc://public/a"));
    assert_eq!(house.lanes[&lane].iter().filter(|line| line.contains("private")).count(), 0);
}

#[test]
fn a_request_that_servers_may_read_otherwise_than_it_was_judged_is_refused() {
    let (mut house, [reader, ..]) = scripted(EraPin::Legacy);
    let lane = house.greet_legacy();
    house.principal = reader;
    let argument = r#""argument":{"name":"a","value":""}"#;
    let session = house.session(0, "2025-11-25", "{}");
    for (method, params) in [
        // Go's own reader of JSON takes a key in any case, and the last.
        ("tools/call", r#"{"name":"echo","Name":"drop"}"#.to_owned()),
        ("tools/call", r#"{"NAM\u0045":"drop","name":"echo"}"#.to_owned()),
        ("prompts/get", r#"{"name":"greet","nAme":"other"}"#.to_owned()),
        ("resources/read", r#"{"uri":"doc://public/a","URI":"doc://private/a"}"#.to_owned()),
        (
            "completion/complete",
            format!(
                r#"{{"ref":{{"type":"ref/prompt","name":"greet"}},"Ref":{{"type":"ref/prompt","name":"x"}},{argument}}}"#
            ),
        ),
        (
            "completion/complete",
            format!(r#"{{"ref":{{"type":"ref/prompt","name":"greet","Name":"x"}},{argument}}}"#),
        ),
        // Judged by the name, done by the type.
        (
            "completion/complete",
            format!(
                r#"{{"ref":{{"type":"ref/resource","name":"greet","uri":"doc://private/a"}},{argument}}}"#
            ),
        ),
    ] {
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let link = house.in_session(0, &session, &request);
        assert_eq!(body(&house, link)["error"]["code"], -32602, "{params}");
        assert!(house.heard(lane, method).is_none(), "{params} reached the server");
    }
    let uri = format!("doc://public/{}", "%2e/".repeat(4_000));
    let read = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"{uri}"}}}}"#
    );
    let link = house.in_session(0, &session, &read);
    assert!(house.answer(link).body.contains("uri_bytes_max"));
    // A tool's own arguments are its own affair.
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"name":"a","Name":"b"}}}"#;
    house.in_session(0, &session, call);
    assert!(house.heard(lane, "tools/call").is_some());
}

#[test]
fn pages_of_an_only_upstream_are_shortened_and_otherwise_as_they_were() {
    let (mut house, [reader, admin, _]) = scripted(EraPin::Modern);
    let lane = house.greet_modern();
    let page = r#"{"resultType":"complete", "tools":[{"name":"get_a","x":1.0},{"name":"set_a"}, {"name":"get_b"},{"name":"get_c","name":"set_c"},{"title":"nameless"}],"nextCursor":"2","ttlMs":5,"cacheScope":"public","k":[ ]}"#;
    let mut list = |principal| {
        house.principal = principal;
        let link = house.modern(0, 1, "tools/list", r#"{"cursor":"1"}"#, "{}");
        let (id, _) = house.heard(lane, "tools/list").unwrap();
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{page}}}"#));
        house.answer(link).body.clone()
    };
    assert_eq!(
        list(reader),
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete", "tools":[{"name":"get_a","x":1.0},{"name":"get_b"}],"nextCursor":"2","ttlMs":5,"cacheScope":"private","k":[ ]}}"#
    );
    // All of it but what nobody could name; and to be kept for nobody else.
    let all = list(admin);
    assert!(all.contains("set_a") && all.contains(r#""cacheScope":"private""#), "{all}");
}

#[test]
fn an_upstream_that_an_agent_may_use_nothing_of_is_not_there_for_it() {
    let upstreams = vec![
        upstream("up", "up", tcp(1), EraPin::Legacy),
        upstream("other", "other", tcp(2), EraPin::Legacy),
    ];
    let (settings, [reader, admin, _]) = settings(upstreams);
    let mut house = House::with(1, settings);
    let mut lanes = Vec::new();
    for number in 0..2 {
        let lane = house.connect();
        let (id, _) = house.heard(lane, "initialize").unwrap();
        house.says(
            lane,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{"listChanged":true}},"prompts":{{}}}},"serverInfo":{{"name":"s{number}","version":"1"}},"instructions":"use me{number}"}}}}"#
            ),
        );
        // What the gateway asks for itself.
        if let Some((id, _)) = house.heard(lane, "tools/list") {
            house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]}}}}"#));
        }
        lanes.push(lane);
    }
    let asked = |house: &House, lane: LinkId| {
        house.lanes[&lane].iter().filter(|line| line.contains("tools/list")).count()
    };
    let before = asked(&house, lanes[1]);
    for (principal, count) in [(reader, 1), (admin, 2)] {
        house.principal = principal;
        let link = house.modern(0, 1, "server/discover", "{}", "{}");
        let said = house.answer(link).body.clone();
        assert!(said.contains("use me0"), "{said}");
        assert_eq!(said.contains("use me1"), count == 2, "{said}");
        let link = house.modern(0, 1, "tools/list", "{}", "{}");
        for &lane in &lanes[..count] {
            let (id, _) = house.heard(lane, "tools/list").unwrap();
            house.says(
                lane,
                &format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"get_a"}},{{"name":"set_a"}}]}}}}"#
                ),
            );
        }
        let tools = body(&house, link)["result"]["tools"].clone();
        let all = ["up__get_a", "up__set_a", "other__get_a", "other__set_a"];
        assert_eq!(names(&tools), if count == 2 { &all[..] } else { &all[..1] });
        assert_eq!(asked(&house, lanes[1]), before + count - 1);
    }
    // News of it are told to who may know of it.
    let mut streams = Vec::new();
    for principal in [reader, admin] {
        house.principal = principal;
        let session = house.session(0, "2025-11-25", "{}");
        streams.push(house.get(0, &session, None));
    }
    house.says(lanes[1], r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert_eq!(house.answer(streams[0]).data(), [""; 0]);
    assert_eq!(house.answer(streams[1]).data().len(), 1);
    house.says(lanes[0], r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert_eq!(house.answer(streams[0]).data().len(), 1);
}

#[test]
fn a_subscription_is_honoured_as_far_as_its_agent_may_read() {
    let (mut house, [reader, ..]) = scripted(EraPin::Modern);
    house.principal = reader;
    let wanted =
        r#"{"notifications":{"resourceSubscriptions":["doc://public/a","doc://private/a"]}}"#;
    let link = house.modern(0, 1, "subscriptions/listen", wanted, "{}");
    let said = house.answer(link).data().concat();
    assert!(said.contains("doc://public/a") && !said.contains("private"), "{said}");
}

#[test]
fn each_use_is_written_down_once_with_its_rule_and_its_time() {
    let (settings, [reader, ..]) = settings(vec![upstream("up", "", tcp(1), EraPin::Legacy)]);
    let policy = settings.policy.clone().unwrap();
    let mut house = House::with(1, Settings { audits: true, ..settings });
    let lane = house.greet_legacy();
    house.principal = reader;
    let call = |name: &str| format!(r#"{{"name":"{name}","arguments":{{}}}}"#);
    house.modern(0, 1, "tools/call", &call("set_a"), "{}");
    let link = house.modern(0, 2, "tools/call", &call("get_a"), "{}");
    house.wait(Duration::from_millis(70));
    assert_eq!(house.audit.len(), 1, "what is under way is written down at its end");
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(house.answer(link).body.contains("result"));
    // The client leaves before the answer; the upstream is never answered for.
    let link = house.modern(0, 3, "tools/call", &call("get_b"), "{}");
    house.leave(link);
    // A list is no use.
    house.modern(0, 4, "tools/list", "{}", "{}");
    let told: Vec<_> = house
        .audit
        .iter()
        .map(|record| {
            let decision = record.decision.unwrap();
            let rule = policy.text(decision.reason).into_owned();
            assert_eq!((record.principal, record.upstream), (reader, 0));
            assert_eq!(policy.agent_name(record.agent), Some("reader"));
            (&*record.name, decision.is_allowed, rule, record.took.as_millis())
        })
        .collect();
    let allows = |rule: &str| format!("agents.reader.allow.tools.up: {rule}");
    assert_eq!(
        told,
        [
            ("set_a", false, allows("does not name it"), 0),
            ("get_a", true, allows("get_*"), 70),
            ("get_b", true, allows("get_*"), 0),
        ]
    );
}

#[test]
fn without_a_policy_uses_are_written_down_as_well_and_of_the_builtin_tools_too() {
    let target = Target::Builtin { folder: None };
    let upstreams = vec![upstream("up", "", target, EraPin::Auto)];
    let mut house = House::with(1, Settings { audits: true, upstreams, ..Settings::default() });
    house.modern(0, 1, "tools/call", r#"{"name":"echo","arguments":{"message":"x"}}"#, "{}");
    house.modern(0, 2, "tools/call", r#"{"name":"sleep","arguments":{"ms":50}}"#, "{}");
    house.wait(Duration::from_secs(1));
    let names: Vec<_> = house.audit.iter().map(|it| (&*it.name, it.decision)).collect();
    assert_eq!(names, [("echo", None), ("sleep", None)]);
}

#[test]
fn what_comes_too_fast_is_429_with_the_time_to_wait_and_costs_others_nothing() {
    let target = Target::Builtin { folder: None };
    let (settings, [reader, admin, _]) = settings(vec![upstream("up", "", target, EraPin::Auto)]);
    let rates = Some(Rates { messages: 10, calls: 4, subscriptions: 1, all: 0, ..Rates::DEFAULT });
    let mut house = House::with(2, Settings { rates, ..settings });
    // The shard on which the budget lives, so that nothing is on credit.
    let shard = usize::try_from(reader.number() % 2).unwrap();
    house.principal = reader;
    let echo = r#"{"name":"echo","arguments":{"message":"x"}}"#;
    for _ in 0..4 {
        let link = house.modern(shard, 1, "tools/call", echo, "{}");
        assert_eq!(house.answer(link).status, Some(200));
    }
    let link = house.modern(shard, 9, "tools/call", echo, "{}");
    let answer = house.answer(link);
    assert_eq!((answer.status, answer.header("retry-after")), (Some(429), Some("1")));
    let error = &body(&house, link)["error"];
    assert_eq!(error["code"], -32603);
    assert_eq!(
        error["data"],
        json!({"code": "RATE_LIMITED", "limit": "calls", "retryAfterMs": 250})
    );
    // What is no call is another budget; another principal's is its own.
    let link = house.modern(shard, 1, "tools/list", "{}", "{}");
    assert_eq!(house.answer(link).status, Some(200));
    house.principal = admin;
    let link = house.modern(shard, 1, "tools/call", echo, "{}");
    assert_eq!(house.answer(link).status, Some(200));
    house.principal = reader;
    house.wait(Duration::from_millis(250));
    let link = house.modern(shard, 1, "tools/call", echo, "{}");
    assert_eq!(house.answer(link).status, Some(200));
    // In a session as well, and over REST.
    let session = house.session(shard, "2025-11-25", "{}");
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{echo}}}"#);
    let link = house.in_session(shard, &session, &call);
    assert_eq!(house.answer(link).status, Some(429));
    let json = [("content-type", "application/json")];
    let link = house.send(shard, Verb::Post, "/tools/echo", &json, r#"{"message":"x"}"#);
    let answer = house.answer(link);
    assert_eq!((answer.status, answer.header("retry-after")), (Some(429), Some("1")));
}

#[test]
fn of_a_long_name_the_beginning_is_written_down() {
    let (settings, [reader, ..]) = settings(vec![upstream("up", "", tcp(1), EraPin::Legacy)]);
    let mut house = House::with(1, Settings { audits: true, ..settings });
    house.greet_legacy();
    house.principal = reader;
    let session = house.session(0, "2025-11-25", "{}");
    let name = "ä".repeat(1 << 20);
    let call =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
    house.in_session(0, &session, &call);
    assert_eq!(&*house.audit[0].name, format!("{}…", "ä".repeat(128)));
}
