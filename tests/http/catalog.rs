//! Lists of upstreams are asked for once and kept for as long as they are good, for whom they are for.

use std::sync::Arc;
use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::policy::{Agent, Pattern, Policy, Rules, Side};
use ringgate::gateway::principal::{Principal, Principals};
use ringgate::gateway::settings::{EraPin, Target};
use ringgate::gateway::tools::Expose;
use ringgate::gateway::{Event, Settings};
use serde_json::{Value, json};

use crate::house::{CAPS, House, upstream};

fn tcp(port: u16) -> Target {
    Target::Tcp { address: ([127, 0, 0, 1], port).into() }
}

/// Upstreams that the test plays; of several each has its prefix.
fn settings(eras: &[EraPin]) -> Settings {
    let prefix = |name: &str| if eras.len() > 1 { name.to_owned() } else { String::new() };
    let upstreams = eras
        .iter()
        .enumerate()
        .map(|(at, era)| {
            let name = format!("up{at}");
            upstream(&name, &prefix(&name), tcp(u16::try_from(at + 1).unwrap()), *era)
        })
        .collect();
    Settings { upstreams, ..Settings::default() }
}

fn body(house: &House, link: LinkId) -> Value {
    serde_json::from_str(&house.answer(link).body)
        .unwrap_or_else(|_| panic!("{:?}", house.answer(link)))
}

fn names(list: &Value) -> Vec<&str> {
    list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

/// A greeted upstream whose tools were learnt, as they are for headers; nothing of that is kept.
fn greet(house: &mut House, is_modern: bool) -> LinkId {
    let lane = if is_modern { house.greet_modern() } else { house.greet_legacy() };
    let (id, _) = house.heard(lane, "tools/list").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]}}}}"#));
    lane
}

fn asked(house: &House, lane: LinkId) -> usize {
    house.lanes[&lane].iter().filter(|line| line.contains("\"tools/list\"")).count()
}

/// Answers the last request for tools: with these, and what else the result says.
fn give(house: &mut House, lane: LinkId, tools: &[&str], more: &str) {
    let (id, _) = house.heard(lane, "tools/list").unwrap();
    let tools: Vec<Value> =
        tools.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    let tools = Value::from(tools);
    house.says(
        lane,
        &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":{tools}{more}}}}}"#),
    );
}

const PUBLIC: &str = r#","resultType":"complete","ttlMs":5000,"cacheScope":"public""#;
const PRIVATE: &str = r#","resultType":"complete","ttlMs":5000,"cacheScope":"private""#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn list(house: &mut House) -> LinkId {
    house.modern(0, 1, "tools/list", "{}", "{}")
}

#[test]
fn a_list_is_asked_for_once_and_good_for_a_minute_where_nothing_is_said() {
    for count in [1, 2] {
        let mut house = House::with(1, settings(&[EraPin::Legacy, EraPin::Legacy][..count]));
        let lanes: Vec<LinkId> = (0..count).map(|_| greet(&mut house, false)).collect();
        let session = house.session(0, "2025-11-25", "{}");
        let before = house.footprint();
        // All who ask while it is on its way wait for the one.
        let waiting = [list(&mut house), list(&mut house), house.in_session(0, &session, LIST)];
        for &lane in &lanes {
            assert_eq!(asked(&house, lane), 2);
            give(&mut house, lane, &["a"], "");
        }
        for link in waiting {
            assert_eq!(names(&body(&house, link)["result"]).len(), count);
        }
        assert_eq!(house.footprint(), before);
        house.wait(Duration::from_secs(59));
        let link = list(&mut house);
        let result = body(&house, link)["result"].clone();
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(1_000), &json!("private")));
        // A legacy client reads the same bytes as ever.
        let link = house.in_session(0, &session, LIST);
        assert!(body(&house, link)["result"].get("ttlMs").is_none());
        assert!(lanes.iter().all(|&lane| asked(&house, lane) == 2));
        house.wait(Duration::from_secs(1));
        list(&mut house);
        assert!(lanes.iter().all(|&lane| asked(&house, lane) == 3));
    }
}

#[test]
fn an_upstreams_own_word_counts_and_the_shortest_of_several() {
    let mut house = House::with(1, settings(&[EraPin::Modern]));
    let lane = greet(&mut house, true);
    let link = list(&mut house);
    give(&mut house, lane, &["a"], PUBLIC);
    let result = body(&house, link)["result"].clone();
    assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(5_000), &json!("public")));
    house.wait(Duration::from_secs(4));
    let link = list(&mut house);
    assert_eq!(body(&house, link)["result"]["ttlMs"], 1_000);
    house.wait(Duration::from_secs(1));
    list(&mut house);
    assert_eq!(asked(&house, lane), 3);
    // What is stale at once is not kept.
    give(&mut house, lane, &["a"], r#","resultType":"complete","ttlMs":0,"cacheScope":"public""#);
    list(&mut house);
    assert_eq!(asked(&house, lane), 4);

    let mut house = House::with(1, settings(&[EraPin::Modern, EraPin::Modern]));
    let lanes = [greet(&mut house, true), greet(&mut house, true)];
    for (more, scope) in [(PUBLIC, "public"), (PRIVATE, "private")] {
        let link = list(&mut house);
        give(&mut house, lanes[0], &["a"], &PUBLIC.replace("5000", "90000"));
        give(&mut house, lanes[1], &["b"], more);
        let result = body(&house, link)["result"].clone();
        assert_eq!(names(&result), ["up0__a", "up1__b"]);
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(5_000), &json!(scope)));
        house.wait(Duration::from_secs(91));
    }
}

#[test]
fn a_private_list_is_its_principals_and_a_filtered_one_is_private() {
    let mut principals = Principals::default();
    let [first, second] = ["a", "b"].map(|agent| principals.acting_as(agent));
    let pattern = |text: &str| Pattern::parse(text).unwrap();
    let agent = |name: &str, tool: &str| Agent {
        name: name.to_owned(),
        allow: Side {
            servers: vec![pattern("*")],
            tools: vec![(pattern("*"), vec![pattern(tool)])],
            ..Side::default()
        },
        deny: Side::default(),
    };
    let rules =
        Rules { deny_on_missing_agent: true, agents: vec![agent("a", "x"), agent("b", "*")] };
    for count in [1, 2] {
        let plain = settings(&[EraPin::Modern, EraPin::Modern][..count]);
        let names_of = plain.upstreams.iter().map(|upstream| upstream.name.as_str());
        let policy = Some(Arc::new(Policy::compile(&rules, names_of)));
        let mut house =
            House::with(1, Settings { principals: principals.clone(), policy, ..plain.clone() });
        let lanes: Vec<LinkId> = (0..count).map(|_| greet(&mut house, true)).collect();
        let ask = |house: &mut House, principal: Principal| {
            house.principal = principal;
            list(house)
        };
        // Two who wait for one that turns out to be private: the second is asked for itself.
        let links = [ask(&mut house, first), ask(&mut house, second)];
        for &lane in &lanes {
            assert_eq!(asked(&house, lane), 2);
            give(&mut house, lane, &["x", "y"], PRIVATE);
            assert_eq!(asked(&house, lane), 3);
            give(&mut house, lane, &["x", "y"], PRIVATE);
        }
        for (link, seen) in links.into_iter().zip([1, 2]) {
            let result = body(&house, link)["result"].clone();
            assert_eq!(names(&result).len(), seen * count, "{result}");
            assert_eq!(result["cacheScope"], "private");
        }
        // Each has its own from now on.
        for principal in [first, second] {
            ask(&mut house, principal);
        }
        assert!(lanes.iter().all(|&lane| asked(&house, lane) == 3));
        // One that may go to anybody is kept once, and what each may see of it is its own.
        house.wait(Duration::from_secs(6));
        ask(&mut house, first);
        for &lane in &lanes {
            give(&mut house, lane, &["x", "y"], PUBLIC);
        }
        let link = ask(&mut house, second);
        let result = body(&house, link)["result"].clone();
        assert_eq!((names(&result).len(), &result["cacheScope"]), (2 * count, &json!("private")));
        let link = ask(&mut house, first);
        assert_eq!(names(&body(&house, link)["result"]).len(), count);
        assert!(lanes.iter().all(|&lane| asked(&house, lane) == 4));
    }
}

#[test]
fn what_has_changed_is_asked_for_anew_also_when_it_changes_on_its_way() {
    let mut house = House::with(1, settings(&[EraPin::Legacy]));
    let lane = greet(&mut house, false);
    list(&mut house);
    give(&mut house, lane, &["a"], "");
    list(&mut house);
    assert_eq!(asked(&house, lane), 2);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    house.says(lane, &changed.replace("tools/", "prompts/"));
    list(&mut house);
    assert_eq!(asked(&house, lane), 2, "another list changed");
    house.says(lane, changed);
    // What is learnt for headers, and what a client asks for.
    let (learning, _) = house.heard(lane, "tools/list").unwrap();
    let before = list(&mut house);
    let (first, _) = house.heard(lane, "tools/list").unwrap();
    assert_ne!(first, learning);
    house.says(lane, changed);
    let after = list(&mut house);
    let (second, _) = house.heard(lane, "tools/list").unwrap();
    assert_ne!(second, first, "it is not the one that was begun before the change");
    let answer = |id: &str, name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"{name}","inputSchema":{{}}}}]}}}}"#
        )
    };
    house.says(lane, &answer(&second, "new"));
    house.says(lane, &answer(&first, "old"));
    assert_eq!(names(&body(&house, before)["result"]), ["old"]);
    assert_eq!(names(&body(&house, after)["result"]), ["new"]);
    let link = list(&mut house);
    assert_eq!(names(&body(&house, link)["result"]), ["new"], "the old one was not kept");
}

#[test]
fn an_upstream_that_has_gone_takes_its_lists_along_and_is_shown_again_when_it_is_back() {
    let mut house = House::with(1, settings(&[EraPin::Legacy, EraPin::Legacy]));
    let lanes = [greet(&mut house, false), greet(&mut house, false)];
    list(&mut house);
    for &lane in &lanes {
        give(&mut house, lane, &["a"], "");
    }
    house.event(0, Event::Closed { link: lanes[0], why: "gone" });
    let link = list(&mut house);
    let result = body(&house, link)["result"].clone();
    assert_eq!(names(&result), ["up1__a"]);
    assert_eq!(result["ttlMs"], 0, "it may be back at any time");
    house.wait(Duration::from_secs(1));
    let back = greet(&mut house, false);
    let link = list(&mut house);
    give(&mut house, back, &["b"], "");
    assert_eq!(names(&body(&house, link)["result"]), ["up0__b", "up1__a"]);
    assert_eq!(asked(&house, lanes[1]), 2, "the other was asked once");
}

#[test]
fn who_gives_up_leaves_the_others_waiting_and_who_fails_fails_for_all() {
    let mut house = House::with(1, settings(&[EraPin::Legacy]));
    let lane = greet(&mut house, false);
    let before = house.footprint();
    let (gone, stays) = (list(&mut house), list(&mut house));
    house.leave(gone);
    give(&mut house, lane, &["a"], "");
    assert_eq!(names(&body(&house, stays)["result"]), ["a"]);
    assert_eq!(house.footprint(), before);
    house.wait(Duration::from_mins(1));
    // An error is each one's, and nobody's later.
    let links = [list(&mut house), list(&mut house)];
    let (id, _) = house.heard(lane, "tools/list").unwrap();
    house.says(
        lane,
        &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"not now"}}}}"#),
    );
    for link in links {
        assert_eq!(body(&house, link)["error"]["message"], "not now");
    }
    let late = [list(&mut house), list(&mut house)];
    house.wait(Limits::DEFAULT.request + Duration::from_millis(1));
    for link in late {
        assert!(house.answer(link).body.contains("TIMEOUT"), "{:?}", house.answer(link));
    }
    let lost = list(&mut house);
    house.event(0, Event::Closed { link: lane, why: "gone" });
    assert!(house.answer(lost).body.contains("SERVER_UNAVAILABLE"), "{:?}", house.answer(lost));
    assert_eq!(house.footprint(), before);
}

#[test]
fn what_comes_before_its_upstream_is_ready_is_asked_for_once_as_well() {
    let mut house = House::with(1, settings(&[EraPin::Auto]));
    let links = [list(&mut house), list(&mut house)];
    // Found to be modern by the probe, which becomes the lane.
    let lane = house.greet_modern();
    assert_eq!(asked(&house, lane), 2, "one for headers, one for both");
    let line = house.lanes[&lane].iter().rfind(|line| line.contains("clientCapabilities")).unwrap();
    assert!(line.contains("\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\""), "{line}");
    let ids: Vec<Value> = house.lanes[&lane]
        .iter()
        .filter(|line| line.contains("\"tools/list\""))
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    for id in ids {
        house.says(
            lane,
            &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]{PUBLIC}}}}}"#),
        );
    }
    for link in links {
        assert_eq!(body(&house, link)["result"]["ttlMs"], 5_000);
    }
}

#[test]
fn a_client_with_a_lane_of_its_own_has_lists_of_its_own() {
    let mut house = House::with(1, settings(&[EraPin::Legacy]));
    let shared = greet(&mut house, false);
    list(&mut house);
    give(&mut house, shared, &["a"], "");
    let link = house.modern(0, 1, "tools/list", "{}", CAPS);
    let own = house.greet_legacy();
    give(&mut house, own, &["roots"], "");
    let result = body(&house, link)["result"].clone();
    assert_eq!(names(&result), ["roots"]);
    assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
    let link = list(&mut house);
    assert_eq!(names(&body(&house, link)["result"]), ["a"]);
}

#[test]
fn what_a_modern_upstream_is_told_of_its_client_parts_the_lists() {
    let mut house = House::with(1, settings(&[EraPin::Modern]));
    let lane = greet(&mut house, true);
    list(&mut house);
    give(&mut house, lane, &["a"], PUBLIC);
    let link = house.modern(0, 1, "tools/list", "{}", r#"{"extensions":{"x/ui":{}}}"#);
    assert!(house.heard(lane, "tools/list").unwrap().1.contains("x/ui"));
    give(&mut house, lane, &["a", "ui"], PUBLIC);
    assert_eq!(names(&body(&house, link)["result"]), ["a", "ui"]);
    let link = list(&mut house);
    assert_eq!(names(&body(&house, link)["result"]), ["a"]);
}

#[test]
fn a_list_that_has_no_room_is_not_kept_and_with_no_time_none_is() {
    for limits in [
        Limits { lists_bytes_max: 100, ..Limits::DEFAULT },
        Limits { list_ttl: Duration::ZERO, ..Limits::DEFAULT },
    ] {
        let mut house = House::with(1, Settings { limits, ..settings(&[EraPin::Modern]) });
        let lane = greet(&mut house, true);
        for times in 2..5 {
            let link = list(&mut house);
            assert_eq!(asked(&house, lane), times);
            give(&mut house, lane, &["a"], PUBLIC);
            assert_eq!(names(&body(&house, link)["result"]), ["a"]);
        }
    }
}

#[test]
fn pages_of_an_only_upstream_stay_pages() {
    let mut house = House::with(1, settings(&[EraPin::Legacy]));
    let lane = greet(&mut house, false);
    list(&mut house);
    give(&mut house, lane, &["a"], r#","nextCursor":"2""#);
    let link = list(&mut house);
    assert_eq!(body(&house, link)["result"]["nextCursor"], "2");
    assert_eq!(asked(&house, lane), 2);
    for times in [3, 4] {
        let link = house.modern(0, 1, "tools/list", r#"{"cursor":"2"}"#, "{}");
        assert_eq!(asked(&house, lane), times, "whose list a cursor is of is not known");
        give(&mut house, lane, &["b"], "");
        assert_eq!(names(&body(&house, link)["result"]), ["b"]);
    }
}

#[test]
fn an_offer_of_a_servers_tools_comes_from_what_is_kept() {
    let expose = Expose::Both;
    let mut house =
        House::with(1, Settings { expose, ..settings(&[EraPin::Legacy, EraPin::Legacy]) });
    let lanes = [greet(&mut house, false), greet(&mut house, false)];
    list(&mut house);
    for &lane in &lanes {
        give(&mut house, lane, &["a", "b"], "");
    }
    let offer = r#"{"name":"get_server_tools","arguments":{"server":"up1","names":["b"]}}"#;
    let link = house.modern(0, 1, "tools/call", offer, "{}");
    let found = body(&house, link)["result"]["structuredContent"].clone();
    assert_eq!(names(&found), ["b"]);
    assert_eq!(found["total_available"], 2);
    assert!(lanes.iter().all(|&lane| asked(&house, lane) == 2));
}

#[test]
fn other_settings_end_what_is_kept_and_hold_at_once() {
    let mut house = House::with(1, settings(&[EraPin::Legacy, EraPin::Legacy]));
    let lanes = [greet(&mut house, false), greet(&mut house, false)];
    list(&mut house);
    for &lane in &lanes {
        give(&mut house, lane, &["a"], "");
    }
    house.renew(|settings| settings.separator = "-".to_owned());
    let link = list(&mut house);
    for &lane in &lanes {
        assert_eq!(asked(&house, lane), 3, "names in what was kept had another separator");
        give(&mut house, lane, &["a"], "");
    }
    assert_eq!(names(&body(&house, link)["result"]), ["up0-a", "up1-a"]);
    house.renew(|settings| settings.expose = Expose::GatewayTools);
    let link = list(&mut house);
    let tools = body(&house, link)["result"].clone();
    assert_eq!(names(&tools), ["list_servers", "get_server_tools", "execute_tool"]);
    // A server that is used no more is not there for these either.
    house.renew(|settings| settings.order = Some([1].into()));
    let servers = r#"{"name":"list_servers","arguments":{}}"#;
    let link = house.modern(0, 1, "tools/call", servers, "{}");
    let servers = body(&house, link)["result"]["structuredContent"]["servers"].clone();
    assert_eq!(servers, json!([{"name": "up1", "transport": "tcp", "status": "ready"}]));
    let gone = r#"{"name":"execute_tool","arguments":{"server":"up0","tool":"a"}}"#;
    let link = house.modern(0, 1, "tools/call", gone, "{}");
    assert_eq!(body(&house, link)["error"]["data"]["reason"], "unknown");
}
