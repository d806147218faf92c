//! What clients watch costs its upstreams, and us, no more than it must: one message for many URIs, a bounded
//! number of requests under way, and news no oftener than anybody can use them.

use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::settings::EraPin;

use crate::house::House;

const RESOURCES: &str = r#""resources":{"subscribe":true,"listChanged":true}"#;

fn listen(uris: impl Iterator<Item = String>) -> String {
    let uris: Vec<String> = uris.map(|uri| format!("\"{uri}\"")).collect();
    format!(r#"{{"notifications":{{"resourceSubscriptions":[{}]}}}}"#, uris.join(","))
}

/// How many messages of a method an upstream got.
fn got(house: &House, lane: LinkId, method: &str) -> usize {
    let wanted = format!("\"method\":\"{method}\"");
    house.lanes[&lane].iter().filter(|line| line.contains(&wanted)).count()
}

fn subscribe(house: &mut House, session: &str, method: &str, uri: &str) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"resources/{method}","params":{{"uri":"{uri}"}}}}"#
    );
    let link = house.in_session(0, session, &body);
    assert!(house.answer(link).body.contains("\"result\""), "{:?}", house.answer(link));
}

fn level(house: &mut House, session: &str, level: &str) {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#
    );
    let link = house.in_session(0, session, &body);
    assert!(house.answer(link).body.contains("\"result\""), "{:?}", house.answer(link));
}

/// Answers what an upstream was asked from its `from`th message on; how many messages it has got then.
fn answer_all(house: &mut House, lane: LinkId, from: usize) -> usize {
    let lines = house.lanes[&lane].clone();
    for line in &lines[from..] {
        let id = line.split_once("\"id\":").and_then(|(_, rest)| rest.split_once(','));
        if let Some((id, _)) = id {
            house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        }
    }
    lines.len()
}

#[test]
fn many_uris_of_one_request_are_watched_by_one_and_left_by_one() {
    let mut house = House::scripted(1, EraPin::Modern);
    let lane = house.greet_modern_with(RESOURCES);
    let before = got(&house, lane, "subscriptions/listen");
    let wanted = listen((0..100).map(|n| format!("a:{n}")));
    let link = house.modern(0, 1, "subscriptions/listen", &wanted, "{}");
    assert_eq!(got(&house, lane, "subscriptions/listen"), before + 1);
    let (_, said) = house.heard(lane, "subscriptions/listen").expect("it listens");
    assert!(said.contains("\"a:0\"") && said.contains("\"a:99\""), "{said}");
    house.leave(link);
    assert_eq!(got(&house, lane, "subscriptions/listen"), before + 2);
    let (_, said) = house.heard(lane, "subscriptions/listen").expect("it listens");
    assert!(!said.contains("\"a:"), "{said}");
}

#[test]
fn a_session_that_ends_leaves_a_modern_upstream_by_one_message() {
    let mut house = House::scripted(1, EraPin::Modern);
    let lane = house.greet_modern_with(RESOURCES);
    let session = house.session(0, "2025-11-25", "{}");
    for n in 0..20 {
        subscribe(&mut house, &session, "subscribe", &format!("a:{n}"));
    }
    let before = got(&house, lane, "subscriptions/listen");
    let headers = [("mcp-session-id", session.as_str())];
    house.send(0, ringgate::gateway::http::Verb::Delete, "/mcp", &headers, "");
    assert_eq!(got(&house, lane, "subscriptions/listen"), before + 1);
}

#[test]
fn a_uri_that_is_named_twice_is_watched_once() {
    let mut house = House::scripted(1, EraPin::Modern);
    house.greet_modern_with(RESOURCES);
    let wanted = listen((0..1_200).map(|n| format!("a:{}", n % 2)));
    let link = house.modern(0, 1, "subscriptions/listen", &wanted, "{}");
    let told = house.answer(link).data();
    assert!(told[0].contains(r#""resourceSubscriptions":["a:0","a:1"]"#), "{told:?}");
}

#[test]
fn what_one_client_watches_is_bounded_in_bytes() {
    let limits = Limits { subscription_bytes_max: 100, ..Limits::DEFAULT };
    let mut house = House::limited(limits);
    house.greet_watched();
    let long = |n: u32| format!("a:{n}{}", "x".repeat(47));
    let session = house.session(0, "2025-11-25", "{}");
    subscribe(&mut house, &session, "subscribe", &long(0));
    subscribe(&mut house, &session, "subscribe", &long(1));
    subscribe(&mut house, &session, "subscribe", &long(1));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}"#;
    let link = house.in_session(0, &session, body);
    assert!(house.answer(link).body.contains("subscription_bytes_max"), "{:?}", house.answer(link));
    subscribe(&mut house, &session, "unsubscribe", &long(0));
    subscribe(&mut house, &session, "subscribe", "a:b");
    for (uris, is_refused) in [(2, false), (3, true)] {
        let wanted = listen((0..uris).map(long));
        let link = house.modern(0, 1, "subscriptions/listen", &wanted, "{}");
        let answer = house.answer(link);
        assert_eq!(answer.body.contains("subscription_bytes_max"), is_refused, "{answer:?}");
    }
}

#[test]
fn a_level_that_changes_often_waits_for_an_upstream_that_does_not_answer() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_watched();
    let session = house.session(0, "2025-11-25", "{}");
    level(&mut house, &session, "error");
    let own = if house.dials() > 0 { Some(house.greet_watched()) } else { None };
    subscribe(&mut house, &session, "subscribe", "a:b");
    let own = own.unwrap_or_else(|| house.greet_watched());
    let before = house.footprint();
    for n in 0..1_000 {
        level(&mut house, &session, ["debug", "info"][n % 2]);
    }
    assert!(house.footprint() - before <= 64, "{} entries", house.footprint() - before);
    level(&mut house, &session, "critical");
    let mut answered = 0;
    while answered < house.lanes[&own].len() {
        answered = answer_all(&mut house, own, answered);
    }
    let (_, last) = house.heard(own, "logging/setLevel").expect("the level is set");
    assert!(last.contains("critical"), "{last}");
    assert!(house.footprint() <= before, "nothing waits any more");
}

#[test]
fn subscriptions_that_come_and_go_wait_for_an_upstream_that_does_not_answer() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_watched();
    let session = house.session(0, "2025-11-25", "{}");
    let before = house.footprint();
    for _ in 0..500 {
        subscribe(&mut house, &session, "subscribe", "a:b");
        subscribe(&mut house, &session, "unsubscribe", "a:b");
    }
    for n in 0..200 {
        subscribe(&mut house, &session, "subscribe", &format!("a:{n}"));
    }
    assert!(house.footprint() - before <= 64, "{} entries", house.footprint() - before);
    let mut answered = 0;
    while answered < house.lanes[&lane].len() {
        answered = answer_all(&mut house, lane, answered);
    }
    for n in 0..200 {
        let uri = format!("\"a:{n}\"");
        assert!(house.lanes[&lane].iter().any(|line| line.contains(&uri)), "{uri} is watched");
    }
    assert_eq!(house.footprint(), before, "nothing waits any more");
    // One that never answers holds the others up no longer than any request may take.
    for n in 200..400 {
        subscribe(&mut house, &session, "subscribe", &format!("a:{n}"));
    }
    for _ in 0..8 {
        house.wait(Duration::from_secs(31));
    }
    assert!(house.lanes[&lane].iter().any(|line| line.contains("\"a:399\"")));
}

#[test]
fn a_flood_of_the_same_news_is_told_at_once_and_once_more() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_with(RESOURCES);
    let wanted = r#"{"notifications":{"resourcesListChanged":true,"toolsListChanged":true}}"#;
    let link = house.modern(0, 3, "subscriptions/listen", wanted, "{}");
    let told = |house: &House| house.answer(link).data().len() - 1;
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#;
    house.says(lane, changed);
    assert_eq!(told(&house), 1, "the first at once");
    for _ in 0..100 {
        house.says(lane, changed);
    }
    assert_eq!(told(&house), 1);
    house.says(lane, &changed.replace("resources", "tools"));
    assert_eq!(told(&house), 2, "other news are other news");
    house.wait(Duration::from_millis(200));
    assert_eq!(told(&house), 3, "and the last always");
    house.wait(Duration::from_secs(1));
    assert_eq!(told(&house), 3);
    house.says(lane, changed);
    assert_eq!(told(&house), 4);
}
