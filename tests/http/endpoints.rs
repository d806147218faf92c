//! Several endpoints of one upstream, where each frame matters: requests that never left, and an upstream that a new
//! configuration has no place for.

use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::gateway::policy::Pattern;
use ringgate::gateway::settings::{Endpoint, EraPin, Rank, Spread, Target, Upstream};
use ringgate::gateway::tally::End;
use ringgate::gateway::{Event, Settings};
use serde_json::Value;

use crate::house::{House, upstream};

/// Longer than it takes to see that an upstream has nothing under way any more.
const A_WHILE: Duration = Duration::from_millis(150);
const CALL: &str = r#"{"name":"x","arguments":{}}"#;

fn tcp(port: u16) -> Target {
    Target::Tcp { address: ([127, 0, 0, 1], port).into() }
}

/// An upstream with endpoints at these ports, the first of which is used first.
fn several(name: &str, ports: &[u16]) -> Upstream {
    let others = ports[1..].iter().map(|&port| Endpoint {
        target: tcp(port),
        rank: Rank { priority: u32::from(port), weight: 1 },
    });
    let spread = Spread { others: others.collect(), ..Spread::default() };
    Upstream { spread, ..upstream(name, "", tcp(ports[0]), EraPin::Legacy) }
}

fn house(upstreams: Vec<Upstream>) -> (House, Vec<LinkId>) {
    let mut house = House::with(1, Settings { upstreams, ..Settings::default() });
    let lanes = (0..house.dials()).map(|_| house.greet_legacy()).collect();
    (house, lanes)
}

/// The id under which a lane got the call.
fn called(house: &House, lane: LinkId) -> Option<String> {
    house.heard(lane, "tools/call").map(|(id, _)| id)
}

fn answers(house: &mut House, lane: LinkId, text: &str) {
    let id = called(house, lane).expect("it was called");
    house.says(
        lane,
        &format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
        ),
    );
}

fn body(house: &House, link: LinkId) -> Value {
    serde_json::from_str(&house.answer(link).body).expect("one JSON document")
}

#[test]
fn a_frame_that_never_left_goes_to_another_endpoint_and_one_that_did_does_not() {
    for is_unsent in [true, false] {
        let (mut house, lanes) = house(vec![several("a", &[1, 2])]);
        let link = house.modern(0, 1, "tools/call", CALL, "{}");
        let id = called(&house, lanes[0]).expect("the first priority");
        let why = "the connection was refused";
        house.event(0, Event::Undelivered { link: lanes[0], id: &id, is_unsent, why });
        if is_unsent {
            answers(&mut house, lanes[1], "from the other");
            assert!(house.answer(link).body.contains("from the other"), "{:?}", house.answer(link));
        } else {
            assert_eq!(called(&house, lanes[1]), None, "it may have been begun");
            assert_eq!(body(&house, link)["error"]["data"]["code"], "SERVER_UNAVAILABLE");
        }
        // The lane goes on: it was one exchange that was lost.
        let link = house.modern(0, 2, "tools/call", CALL, "{}");
        answers(&mut house, lanes[0], "from the first");
        assert!(house.answer(link).body.contains("from the first"), "{:?}", house.answer(link));
    }
}

#[test]
fn frames_that_wait_on_a_connection_that_breaks_are_undelivered_too() {
    let (mut house, lanes) = house(vec![several("a", &[1, 2])]);
    let links = [1, 2].map(|id| house.modern(0, id, "tools/call", CALL, "{}"));
    let frames = house.lanes[&lanes[0]].last().cloned().expect("the second call");
    // Of the first nothing is known, the second is whole in what was not written.
    let frames = format!("{frames}\n");
    house.event(0, Event::Unsent { link: lanes[0], frames: frames.as_bytes() });
    house.event(0, Event::Closed { link: lanes[0], why: "gone" });
    assert_eq!(body(&house, links[0])["error"]["data"]["code"], "SERVER_UNAVAILABLE");
    answers(&mut house, lanes[1], "from the other");
    assert!(house.answer(links[1]).body.contains("from the other"));
}

#[test]
fn an_endpoint_that_cannot_be_told_of_a_multiplexed_call_has_not_answered_it() {
    let mut spread = several("a", &[1, 2, 3]);
    spread.spread.idempotent = vec![Pattern::parse("*").unwrap()];
    spread.spread.multiplex.clone_from(&spread.spread.idempotent);
    let (mut house, lanes) = house(vec![spread]);
    let link = house.modern(0, 1, "tools/call", CALL, "{}");
    let id = called(&house, lanes[0]).expect("all are asked");
    house.event(0, Event::Undelivered { link: lanes[0], id: &id, is_unsent: true, why: "refused" });
    answers(&mut house, lanes[1], "the same");
    assert_eq!(house.answer(link).status, None, "one of three is no quorum");
    answers(&mut house, lanes[2], "the same");
    assert!(house.answer(link).body.contains("the same"));
    assert_eq!(house.lanes[&lanes[1]].iter().filter(|it| it.contains("tools/call")).count(), 1);
    // Two of three that cannot be told are too many; the call is counted once, whatever became of its parts.
    let link = house.modern(0, 2, "tools/call", CALL, "{}");
    for lane in [lanes[0], lanes[1]] {
        let id = called(&house, lane).expect("all are asked");
        house.event(0, Event::Undelivered { link: lane, id: &id, is_unsent: true, why: "refused" });
    }
    assert_eq!(body(&house, link)["error"]["data"]["code"], "SERVER_UNAVAILABLE");
    let census = house.census(0);
    let calls = &census.upstreams[0].traffic.calls;
    assert_eq!((calls.of(End::Answered), calls.of(End::Unavailable)), (1, 1));
}

#[test]
fn an_upstream_with_several_endpoints_that_is_used_no_more_ends_with_its_last_flight() {
    let (mut house, lanes) = house(vec![several("a", &[1, 2, 3])]);
    // One call at each of two endpoints: the first was lost where it went first.
    let moved = house.modern(0, 1, "tools/call", CALL, "{}");
    let id = called(&house, lanes[0]).expect("the first priority");
    house.event(0, Event::Undelivered { link: lanes[0], id: &id, is_unsent: true, why: "full" });
    let stayed = house.modern(0, 2, "tools/call", CALL, "{}");
    house.renew(|settings| {
        settings.upstreams.push(several("a", &[4, 5]));
        settings.order = Some([1].into());
    });
    let new: Vec<LinkId> = (0..house.dials()).map(|_| house.greet_legacy()).collect();
    assert_eq!(new.len(), 2, "the endpoints of the one that comes");
    house.wait(A_WHILE);
    assert!(house.closed.is_empty(), "calls are under way at two endpoints");
    let next = house.modern(0, 3, "tools/call", CALL, "{}");
    answers(&mut house, new[0], "new");
    assert!(house.answer(next).body.contains("new"), "{:?}", house.answer(next));
    answers(&mut house, lanes[1], "moved");
    house.wait(A_WHILE);
    assert!(house.closed.is_empty(), "one call is still under way: {:?}", house.closed);
    answers(&mut house, lanes[0], "stayed");
    house.wait(A_WHILE);
    for lane in &lanes {
        assert!(house.closed.contains(lane), "an endpoint of it is still there");
    }
    assert!(!new.iter().any(|lane| house.closed.contains(lane)));
    assert!(
        house.answer(moved).body.contains("moved") && house.answer(stayed).body.contains("stayed")
    );
    // What is lost now has nowhere to go, and nobody dials again.
    house.wait(Duration::from_secs(10));
    assert_eq!(house.dials(), 0);
}

#[test]
fn a_call_that_is_lost_while_its_upstream_goes_is_made_again_at_its_other_endpoint() {
    let (mut house, lanes) = house(vec![several("a", &[1, 2])]);
    let link = house.modern(0, 1, "tools/call", CALL, "{}");
    house.renew(|settings| {
        settings.upstreams.push(several("a", &[4, 5]));
        settings.order = Some([1].into());
    });
    let id = called(&house, lanes[0]).expect("the first priority");
    house.event(0, Event::Undelivered { link: lanes[0], id: &id, is_unsent: true, why: "refused" });
    answers(&mut house, lanes[1], "it ends where it began");
    assert!(house.answer(link).body.contains("it ends where it began"), "{:?}", house.answer(link));
}
