//! Whose things are whose: sessions, streams, held calls and a server's memory belong to the principal that
//! began them, and to nobody else, on every shard.

use ringgate::base::limits::Limits;
use ringgate::gateway::Settings;
use ringgate::gateway::http::Verb;
use ringgate::gateway::principal::{Principal, Principals, Subject};
use ringgate::gateway::settings::{EraPin, Target};

use crate::house::{CAPS, House, upstream};
use crate::modern::{held, retry};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn two() -> (Principal, Principal) {
    let mut all = Principals::default();
    (all.acting_as("alice"), all.acting_as("bob"))
}

#[test]
fn a_session_is_its_principals_on_every_shard() {
    let (alice, bob) = two();
    let mut house = House::builtin(3);
    house.principal = alice;
    let session = house.session(1, "2025-11-25", "{}");
    for shard in 0..3 {
        for (principal, status) in [(alice, 200), (bob, 404), (Principal::ANONYMOUS, 404)] {
            house.principal = principal;
            let ping = house.in_session(shard, &session, PING);
            assert_eq!(house.answer(ping).status, Some(status), "{principal:?} at {shard}");
        }
        house.principal = bob;
        let stream = house.get(shard, &session, None);
        assert_eq!(house.answer(stream).status, Some(404));
        let headers = [("mcp-session-id", session.as_str())];
        let end = house.send(shard, Verb::Delete, "/mcp", &headers, "");
        assert_eq!(house.answer(end).status, Some(404));
    }
    house.principal = alice;
    let ping = house.in_session(0, &session, PING);
    assert_eq!(house.answer(ping).status, Some(200), "nobody else could end it");
}

#[test]
fn an_event_stream_of_2024_is_posted_to_by_its_principal_alone() {
    let (alice, bob) = two();
    let mut house = House::builtin(2);
    house.principal = alice;
    let stream = house.send(0, Verb::Get, "/sse", &[("accept", "text/event-stream")], "");
    let endpoint = house.answer(stream).data()[0].clone();
    let json = [("content-type", "application/json")];
    for shard in 0..2 {
        for (principal, status) in [(bob, 404), (alice, 202)] {
            house.principal = principal;
            let post = house.send(shard, Verb::Post, &endpoint, &json, PING);
            assert_eq!(house.answer(post).status, Some(status), "{principal:?} at {shard}");
        }
    }
}

#[test]
fn a_held_call_goes_on_for_its_principal_alone() {
    let (alice, bob) = two();
    for shard in 0..2 {
        let mut house = House::scripted(2, EraPin::Legacy);
        house.principal = alice;
        house.greet_legacy();
        house.greet_legacy();
        let (_, _, state) = held(&mut house, 0);
        house.principal = bob;
        let link = retry(&mut house, shard, &state);
        let answer = house.answer(link);
        assert!(answer.body.contains("belongs to another call or client"), "{answer:?}");
        house.principal = alice;
        let link = retry(&mut house, shard, &state);
        assert_eq!(house.answer(link).status, None, "it is under way: {:?}", house.answer(link));
    }
}

#[test]
fn a_connection_that_remembers_one_principal_serves_no_other() {
    let (alice, bob) = two();
    let call = r#"{"name":"ask","arguments":{}}"#;
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    house.principal = alice;
    house.modern(0, 1, "tools/call", call, CAPS);
    let lane = house.greet_legacy();
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    house.principal = bob;
    house.modern(0, 2, "tools/call", call, CAPS);
    assert_eq!(house.dials(), 1, "a connection of its own is made");
    house.principal = alice;
    house.modern(0, 3, "tools/call", call, CAPS);
    assert_eq!(house.dials(), 1);
    assert_ne!(house.heard(lane, "tools/call").unwrap().0, id, "hers waited for her");
}

#[test]
fn one_principal_alone_does_not_take_all_places() {
    let mut principals = Principals::default();
    let (alice, bob) = (principals.acting_as("alice"), principals.acting_as("bob"));
    let upstreams = vec![upstream("up", "", Target::Builtin { folder: None }, EraPin::Auto)];
    let limits = Limits { clients_max: 5, ..Limits::DEFAULT };
    let mut house =
        House::with(1, Settings { upstreams, principals, limits, ..Settings::default() });
    house.principal = alice;
    let sessions: Vec<String> = (0..3).map(|_| house.session(0, "2025-11-25", "{}")).collect();
    let stream = |house: &mut House| {
        let link = house.send(0, Verb::Get, "/sse", &[("accept", "text/event-stream")], "");
        house.answer(link).body.contains("clients_max")
    };
    assert!(stream(&mut house));
    let ping = house.modern(0, 1, "server/discover", "{}", "{}");
    assert!(house.answer(ping).body.contains("clients_max"), "{:?}", house.answer(ping));
    house.principal = bob;
    house.session(0, "2025-11-25", "{}");
    assert!(!stream(&mut house), "there is room for others");
    assert!(stream(&mut house), "until all is taken");
    // What is given back can be had again, however it went.
    house.principal = alice;
    for session in sessions {
        let headers = [("mcp-session-id", session.as_str())];
        house.send(0, Verb::Delete, "/mcp", &headers, "");
    }
    for _ in 0..10 {
        let ping = house.modern(0, 1, "server/discover", "{}", "{}");
        assert_eq!(house.answer(ping).status, Some(200));
    }
}

/// Three that are told apart by their subjects alone: two that act as one agent, and that agent itself.
fn subjects() -> [Principal; 3] {
    let agent = Principals::default().acting_as("alice");
    let of = |name: &str| agent.with(Subject::of("https://as.test", name));
    [of("a"), of("b"), agent]
}

#[test]
fn the_subjects_of_one_agent_are_strangers_to_each_other() {
    let [a, b, agent] = subjects();
    let mut house = House::builtin(2);
    for owner in [a, b, agent] {
        house.principal = owner;
        let session = house.session(0, "2025-11-25", "{}");
        for shard in 0..2 {
            for other in [a, b, agent, Principal::ANONYMOUS] {
                house.principal = other;
                let ping = house.in_session(shard, &session, PING);
                let status = if other == owner { 200 } else { 404 };
                assert_eq!(house.answer(ping).status, Some(status), "{other:?} at {shard}");
            }
        }
    }
    let mut house = House::scripted(2, EraPin::Legacy);
    house.principal = a;
    house.greet_legacy();
    house.greet_legacy();
    let (_, _, state) = held(&mut house, 0);
    for other in [b, agent] {
        house.principal = other;
        let link = retry(&mut house, 1, &state);
        let answer = house.answer(link);
        assert!(answer.body.contains("belongs to another call or client"), "{answer:?}");
    }
}

#[test]
fn one_subject_alone_does_not_take_all_places() {
    let [a, b, _] = subjects();
    let upstreams = vec![upstream("up", "", Target::Builtin { folder: None }, EraPin::Auto)];
    let limits = Limits { clients_max: 4, ..Limits::DEFAULT };
    let mut principals = Principals::default();
    principals.acting_as("alice");
    principals.has_subjects = true;
    let settings = Settings { upstreams, principals, limits, ..Settings::default() };
    let mut house = House::with(1, settings);
    let discover = |house: &mut House, principal| {
        house.principal = principal;
        let link = house.modern(0, 1, "server/discover", "{}", "{}");
        house.answer(link).status
    };
    house.principal = a;
    let sessions: Vec<String> = (0..2).map(|_| house.session(0, "2025-11-25", "{}")).collect();
    assert_eq!(discover(&mut house, a), Some(503));
    assert_eq!(discover(&mut house, b), Some(200));
    for session in sessions {
        house.principal = a;
        let headers = [("mcp-session-id", session.as_str())];
        house.send(0, Verb::Delete, "/mcp", &headers, "");
    }
    for _ in 0..10 {
        assert_eq!(discover(&mut house, a), Some(200), "what is given back can be had again");
    }
}
