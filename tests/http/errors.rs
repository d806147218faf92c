//! The gateway's own errors: each code in each era, through `execute_tool` and in ordinary calls, and that none of
//! them tells what is the operator's.

use std::sync::Arc;
use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::gateway::policy::{Agent, Pattern, Policy, Rules, Side};
use ringgate::gateway::principal::{Principal, Principals};
use ringgate::gateway::settings::{EraPin, Target};
use ringgate::gateway::tools::Expose;
use ringgate::gateway::{Event, Settings};
use serde_json::{Value, json};

use crate::house::{House, upstream};

const SECRET: &str = "cannot run /opt/secret/server";

/// `reader` may use all of `up` but what begins with `drop`; `stranger` has no rules. The second upstream gives both
/// their prefixes.
fn house() -> (House, LinkId, [Principal; 2]) {
    let tcp = |port: u16| Target::Tcp { address: ([127, 0, 0, 1], port).into() };
    let upstreams = vec![
        upstream("up", "up", tcp(1), EraPin::Legacy),
        upstream("own", "own", Target::Builtin { folder: None }, EraPin::Auto),
    ];
    let patterns =
        |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>();
    let side = |servers: &[&str], tools: &[&str]| Side {
        servers: patterns(servers),
        tools: if tools.is_empty() {
            Vec::new()
        } else {
            vec![(Pattern::parse("*").unwrap(), patterns(tools))]
        },
        ..Side::default()
    };
    let agents = vec![Agent {
        name: "reader".to_owned(),
        allow: side(&["*"], &[]),
        deny: side(&[], &["drop*"]),
    }];
    let rules = Rules { deny_on_missing_agent: true, agents };
    let policy = Some(Arc::new(Policy::compile(&rules, ["up", "own"])));
    let mut principals = Principals::default();
    let all = ["reader", "stranger"].map(|agent| principals.acting_as(agent));
    let expose = Expose::Both;
    let mut house =
        House::with(1, Settings { upstreams, policy, principals, expose, ..Settings::default() });
    let lane = house.greet_legacy();
    house.principal = all[0];
    (house, lane, all)
}

/// How a call is made: in which era, and whether through `execute_tool`.
const WAYS: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

fn call(house: &mut House, (is_modern, is_inside): (bool, bool), tool: &str) -> LinkId {
    let (server, name) = tool.split_once("__").unwrap();
    let params = if is_inside {
        format!(r#"{{"name":"execute_tool","arguments":{{"server":"{server}","tool":"{name}"}}}}"#)
    } else {
        format!(r#"{{"name":"{tool}","arguments":{{}}}}"#)
    };
    if is_modern {
        return house.modern(0, 7, "tools/call", &params, "{}");
    }
    let session = house.session(0, "2025-11-25", "{}");
    let call = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
    house.in_session(0, &session, &call)
}

/// What the gateway's own errors are to clients of 2026-07-28: none of their numbers.
const INVALID: i64 = -32602;
const INTERNAL: i64 = -32603;

fn error(house: &House, link: LinkId) -> Value {
    let answer = house.answer(link);
    let text = if answer.is_stream { answer.data().pop().unwrap() } else { answer.body.clone() };
    assert!(!text.contains("secret"), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["error"].clone()
}

#[test]
fn denied_by_policy() {
    let (mut house, _, _) = house();
    for way in WAYS {
        let link = call(&mut house, way, "up__drop_all");
        let error = error(&house, link);
        assert_eq!(error["code"], if way.0 { INVALID } else { -32000 });
        assert_eq!(
            error["data"],
            json!({"code": "DENIED_BY_POLICY", "agent": "reader", "server": "up", "tool": "drop_all",
                   "rule": "agents.reader.deny.tools.*: drop*"})
        );
    }
}

#[test]
fn invalid_agent_id() {
    let (mut house, _, [_, stranger]) = house();
    house.principal = stranger;
    for way in WAYS {
        let link = call(&mut house, way, "up__echo");
        let error = error(&house, link);
        assert_eq!(error["code"], if way.0 { INVALID } else { -32003 });
        assert_eq!(
            (&error["data"]["code"], &error["data"]["agent"]),
            (&json!("INVALID_AGENT_ID"), &json!("stranger"))
        );
    }
}

#[test]
fn server_unavailable() {
    let (mut house, lane, _) = house();
    let expected = |is_inside: bool| {
        let mut data = json!({"upstream": "up", "code": "SERVER_UNAVAILABLE", "agent": "reader", "server": "up"});
        if is_inside {
            data["tool"] = json!("echo");
        }
        data
    };
    // Lost on its way, and not there at all.
    let lost: Vec<LinkId> = WAYS.into_iter().map(|way| call(&mut house, way, "up__echo")).collect();
    house.event(0, Event::Closed { link: lane, why: SECRET });
    let refused: Vec<LinkId> =
        WAYS.into_iter().map(|way| call(&mut house, way, "up__echo")).collect();
    for links in [lost, refused] {
        for ((is_modern, is_inside), link) in WAYS.into_iter().zip(links) {
            let error = error(&house, link);
            assert_eq!(error["code"], if is_modern { INTERNAL } else { -32001 });
            assert_eq!(error["data"], expected(is_inside));
        }
    }
}

#[test]
fn tool_not_found() {
    let (mut house, lane, _) = house();
    for way in WAYS {
        let (is_modern, is_inside) = way;
        let link = call(&mut house, way, "up__nothing");
        let (id, _) = house.heard(lane, "tools/call").unwrap();
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"Unknown tool: nothing"}}}}"#));
        let error = error(&house, link);
        // -32602 is what every revision has for it, and 2026-07-28 forbids the other.
        assert_eq!(error["code"], if is_inside && !is_modern { -32002 } else { -32602 }, "{error}");
        if is_inside {
            assert_eq!(
                error["data"],
                json!({"code": "TOOL_NOT_FOUND", "agent": "reader", "server": "up", "tool": "nothing"})
            );
        }
        let link = call(&mut house, way, "own__nothing");
        let code = self::error(&house, link)["code"].clone();
        assert_eq!(code, if is_inside && !is_modern { -32002 } else { -32602 });
    }
}

#[test]
fn timeout() {
    let (mut house, _, _) = house();
    for way in WAYS {
        let link = call(&mut house, way, "up__slow");
        house.wait(Duration::from_millis(30_001));
        let error = error(&house, link);
        assert_eq!(error["code"], if way.0 { INTERNAL } else { -32004 });
        let mut data = json!({"upstream": "up", "code": "TIMEOUT", "timeoutMs": 30_000, "timeout_ms": 30_000,
                              "agent": "reader", "server": "up"});
        if way.1 {
            data["tool"] = json!("slow");
        }
        assert_eq!(error["data"], data);
    }
}
