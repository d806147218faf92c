//! Event streams of legacy clients: what goes on which, what is resumed, and HTTP+SSE.

use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::Event;
use ringgate::gateway::http::Verb;
use ringgate::gateway::settings::EraPin;

use crate::house::{CAPS, House};

const CALL: &str = r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"slow","arguments":{},"_meta":{"progressToken":"p"}}}"#;

fn progress(house: &mut House, lane: LinkId, id: &str, n: u32) {
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":{n}}}}}"#));
}

fn answer(house: &mut House, lane: LinkId, id: &str) {
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
}

#[test]
fn a_stream_that_broke_is_resumed_each_event_once_in_order() {
    for shards in [1, 3] {
        let mut house = House::scripted(shards, EraPin::Legacy);
        let lanes: Vec<LinkId> = (0..shards).map(|_| house.greet_legacy()).collect();
        let other = usize::from(shards) - 1;
        let session = house.session(0, "2025-11-25", "{}");
        let link = house.in_session(other, &session, CALL);
        let lane = lanes[0];
        let (id, _) = house.heard(lane, "tools/call").unwrap();
        progress(&mut house, lane, &id, 1);
        progress(&mut house, lane, &id, 2);
        let events = house.answer(link).events();
        assert_eq!(events.len(), 3, "primed, and twice progress: {events:?}");
        assert!(events[0].1.is_empty());
        // The peer has seen the first progress only; nobody has noticed that it is gone.
        let seen = events[1].0.clone();
        let again = house.get(0, &session, Some(&seen));
        assert!(house.answer(again).data()[0].contains("\"progress\":2"));
        house.leave(link);
        progress(&mut house, lane, &id, 3);
        house.leave(again);
        progress(&mut house, lane, &id, 4);
        answer(&mut house, lane, &id);
        let seen = house.answer(again).events().last().unwrap().0.clone();
        let last = house.get(other, &session, Some(&seen));
        let data = house.answer(last).data();
        assert_eq!(data.len(), 2, "{data:?}");
        assert!(data[0].contains("\"progress\":4") && data[1].contains("\"id\":4,\"result\""));
        assert!(house.answer(last).is_closed, "all was said");
    }
}

#[test]
fn disconnecting_cancels_nothing_in_a_session() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    let link = house.in_session(0, &session, CALL);
    house.leave(link);
    assert!(house.heard(lane, "notifications/cancelled").is_none());
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#;
    house.in_session(0, &session, cancel);
    assert!(house.heard(lane, "notifications/cancelled").is_some());
}

#[test]
fn older_clients_are_not_primed() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let session = house.session(0, "2025-06-18", "{}");
    let link = house.in_session(0, &session, CALL);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    progress(&mut house, lane, &id, 1);
    assert!(house.answer(link).events()[0].1.contains("progress"));
}

#[test]
fn a_cancelled_request_ends_its_exchange_without_an_answer() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    let link = house.in_session(0, &session, CALL);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#;
    house.in_session(0, &session, cancel);
    let answer = house.answer(link);
    assert!(answer.is_closed && answer.data().is_empty(), "{answer:?}");
}

#[test]
fn news_wait_for_the_sessions_stream_and_only_one_is_open() {
    let mut house = House::scripted(2, EraPin::Legacy);
    let lane = house.greet_legacy();
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let stream = house.get(1, &session, None);
    assert!(house.answer(stream).data()[0].contains("list_changed"), "it waited");
    let second = house.get(0, &session, None);
    assert_eq!(house.answer(second).status, Some(409));
    house.wait(Duration::from_millis(200));
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert_eq!(house.answer(stream).data().len(), 2);
    house.leave(stream);
    let third = house.get(0, &session, None);
    assert_eq!(house.answer(third).status, Some(200));
    assert!(house.answer(third).data().is_empty(), "nothing comes twice");
}

#[test]
fn an_event_that_is_not_kept_is_told() {
    let mut house = House::builtin(1);
    let session = house.session(0, "2025-11-25", "{}");
    let other = house.session(0, "2025-11-25", "{}");
    let stream = house.get(0, &session, None);
    assert_eq!(house.answer(stream).status, Some(200));
    for id in ["", "x", "0-1", "ffffffffff-1", "1-18446744073709551615"] {
        let link = house.get(0, &other, Some(id));
        assert_eq!(house.answer(link).status, Some(410), "{id}");
    }
}

#[test]
fn a_question_comes_on_the_calls_own_stream() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", CAPS);
    let link = house.in_session(0, &session, CALL);
    let lane = house.greet_legacy();
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object","properties":{}}}}"#);
    let asked = house.answer(link).data()[0].clone();
    assert!(asked.contains("elicitation/create"), "{asked}");
    let ask = asked.split_once("\"id\":").unwrap().1.split_once(',').unwrap().0;
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{ask},"result":{{"action":"decline"}}}}"#);
    let accepted = house.in_session(0, &session, &reply);
    assert_eq!(house.answer(accepted).status, Some(202));
    assert!(house.lanes[&lane].iter().any(|line| line.contains("\"id\":\"q\",\"result\"")));
    answer(&mut house, lane, &id);
    assert!(house.answer(link).is_closed);
    assert!(house.answer(link).data()[1].contains("\"id\":4,\"result\""));
}

#[test]
fn a_question_goes_where_the_client_listens_and_is_withdrawn_there() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", CAPS);
    let first = house.in_session(0, &session, CALL);
    let lane = house.greet_legacy();
    let second = house.in_session(0, &session, &CALL.replace("\"id\":4", "\"id\":5"));
    let stream = house.get(0, &session, None);
    house.leave(first);
    house.says(lane, r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    assert!(house.answer(second).data()[0].contains("roots/list"), "the first broke");
    let cancel =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}"#;
    house.says(lane, cancel);
    // On another stream it could come before the question.
    assert!(house.answer(second).data()[1].contains("notifications/cancelled"));
    assert!(house.answer(stream).data().is_empty());
}

#[test]
fn a_question_is_withdrawn_before_the_answer_of_its_call() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", CAPS);
    let link = house.in_session(0, &session, CALL);
    let lane = house.greet_legacy();
    house.says(lane, r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    house.leave(lane);
    let data = house.answer(link).data();
    assert!(data[0].contains("roots/list"), "{data:?}");
    assert!(data[1].contains("notifications/cancelled"), "{data:?}");
    assert!(data[2].contains("-32001"), "{data:?}");
}

#[test]
fn what_is_watched_twice_is_told_once() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let shared = house.greet_watched();
    let session = house.session(0, "2025-11-25", "{}");
    let stream = house.get(0, &session, None);
    let watch = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b"}}"#;
    house.in_session(0, &session, watch);
    // From here on the session needs a connection of its own.
    let level = r#"{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"info"}}"#;
    house.in_session(0, &session, level);
    house.in_session(0, &session, &watch.replace("\"id\":1", "\"id\":3"));
    let own = house.greet_watched();
    let updated =
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#;
    house.says(shared, updated);
    house.says(own, updated);
    assert_eq!(house.answer(stream).data().len(), 1, "{:?}", house.answer(stream).data());
}

#[test]
fn a_limit_in_a_session_is_told_in_an_answer_with_200() {
    let mut house = House::limited(Limits { subscriptions_max: 2, ..Limits::DEFAULT });
    house.greet_watched();
    let session = house.session(0, "2025-11-25", "{}");
    for n in 0..=2 {
        let watch = format!(
            r#"{{"jsonrpc":"2.0","id":{n},"method":"resources/subscribe","params":{{"uri":"a:{n}"}}}}"#
        );
        let link = house.in_session(0, &session, &watch);
        let answer = house.answer(link);
        assert_eq!(answer.status, Some(200), "{answer:?}");
        let is_refused = answer.body.contains("subscriptions_max");
        assert_eq!(is_refused, n == 2, "{answer:?}");
    }
}

#[test]
fn what_a_session_has_kept_of_it_is_bounded() {
    let limits = Limits { uri_bytes_max: 20, session_bytes_max: 100, ..Limits::DEFAULT };
    let mut house = House::limited(limits);
    house.greet_watched();
    let before = house.footprint();
    let open = |name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{"experimental":{{}}}},"clientInfo":{{"name":"{name}","version":"1"}}}}}}"#
        )
    };
    let link = house.post(0, &[], &open(&"x".repeat(100)));
    assert!(house.answer(link).body.contains("session_bytes_max"), "{:?}", house.answer(link));
    assert_eq!(house.footprint(), before, "nothing of it stays");
    let link = house.post(0, &[], &open("x"));
    let session = house.answer(link).header("mcp-session-id").unwrap().to_owned();
    for (uri, is_refused) in [("note:short", false), ("note:longer-than-twenty", true)] {
        let watch = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{{"uri":"{uri}"}}}}"#
        );
        let link = house.in_session(0, &session, &watch);
        assert_eq!(house.answer(link).body.contains("uri_bytes_max"), is_refused, "{uri}");
        let listen = format!(r#"{{"notifications":{{"resourceSubscriptions":["{uri}"]}}}}"#);
        let link = house.modern(0, 1, "subscriptions/listen", &listen, "{}");
        assert_eq!(house.answer(link).body.contains("uri_bytes_max"), is_refused, "{uri}");
    }
}

#[test]
fn an_answer_and_a_heartbeat_at_one_moment_are_one_answer() {
    let limits = Limits::DEFAULT;
    let mut house = House::limited(Limits { request: limits.sse_beat, ..limits });
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    let link = house.in_session(0, &session, CALL);
    house.beat();
    let answer = house.answer(link);
    assert!(!answer.is_stream && answer.body.contains("-32004"), "{answer:?}");
}

#[test]
fn older_clients_are_not_primed_while_they_are_greeted() {
    for (version, empty) in [("2025-06-18", 0), ("2025-11-25", 1)] {
        let mut house = House::scripted(1, EraPin::Legacy);
        house.connect();
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"t","version":"1"}}}}}}"#
        );
        let link = house.post(0, &[], &body);
        house.beat();
        assert!(house.answer(link).is_stream, "it takes its time");
        let events = house.answer(link).events();
        let without = events.iter().filter(|(_, data)| data.is_empty()).count();
        assert_eq!(without, empty, "{version}: {events:?}");
    }
}

#[test]
fn the_end_of_a_session_answers_each_exchange_once() {
    let mut house = House::scripted(2, EraPin::Legacy);
    house.greet_legacy();
    house.greet_legacy();
    let before = house.footprint();
    let session = house.session(0, "2025-11-25", "{}");
    let calls: Vec<LinkId> = (0..2).map(|shard| house.in_session(shard, &session, CALL)).collect();
    let stream = house.get(1, &session, None);
    let headers = [("mcp-session-id", session.as_str())];
    house.send(1, Verb::Delete, "/mcp", &headers, "");
    for call in calls {
        assert_eq!(house.answer(call).status, Some(404), "{:?}", house.answer(call));
    }
    assert_eq!(house.closed.iter().filter(|&&link| link == stream).count(), 1);
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_drained_shard_says_nothing_more_on_streams_of_others() {
    let mut house = House::builtin(2);
    let session = house.session(0, "2025-11-25", "{}");
    let stream = house.get(1, &session, None);
    house.event(0, Event::Drain);
    assert!(house.answer(stream).is_closed);
    assert!(house.answer(stream).body.ends_with("retry: 1000\n\n"), "{:?}", house.answer(stream));
    house.leave(stream);
    // A heart that went on beating would be heard here.
    house.beat();
}

#[test]
fn a_child_that_is_shared_outlives_the_drain_of_its_own_shard() {
    let mut house = House::stdio(2, EraPin::Legacy);
    let lane = house.greet_legacy();
    let session = house.session(1, "2025-11-25", "{}");
    let call = house.in_session(1, &session, CALL);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.event(0, Event::Drain);
    house.event(1, Event::Drain);
    assert!(!house.closed.contains(&lane), "a call of the other shard is under way there");
    answer(&mut house, lane, &id);
    assert!(house.answer(call).body.contains("\"result\""), "{:?}", house.answer(call));
    assert!(house.closed.contains(&lane), "nobody needs it any more");
}

#[test]
fn a_shared_child_does_not_outlive_the_limit_of_the_drain() {
    let mut house = House::stdio(2, EraPin::Legacy);
    let lane = house.greet_legacy();
    house.event(0, Event::Drain);
    assert!(!house.closed.contains(&lane), "the other shard does not drain");
    house.wait(Limits::DEFAULT.drain);
    assert!(house.closed.contains(&lane));
}

#[test]
fn who_asks_hears_of_a_drain_before_it_begins() {
    let mut house = House::builtin(1);
    house.event(0, Event::Leave);
    let ready = house.send(0, Verb::Get, "/ready", &[], "");
    assert_eq!(house.answer(ready).status, Some(503));
    let session = house.session(0, "2025-11-25", "{}");
    let call = house.in_session(0, &session, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    assert_eq!(house.answer(call).status, Some(200), "everything else goes on");
}

#[test]
fn a_drained_shard_takes_nothing_for_its_sessions_from_others() {
    let mut house = House::scripted(2, EraPin::Legacy);
    house.greet_legacy();
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    house.event(0, Event::Drain);
    let before = house.footprint();
    let call = house.in_session(1, &session, CALL);
    assert_eq!(house.answer(call).status, Some(503), "{:?}", house.answer(call));
    let stream = house.get(1, &session, None);
    assert_eq!(house.answer(stream).status, Some(503), "{:?}", house.answer(stream));
    assert_eq!(house.footprint(), before);
}

#[test]
fn what_comes_after_a_drain_has_nobody_to_be_told_to() {
    let mut house = House::limited(Limits { drain: Duration::from_secs(3), ..Limits::DEFAULT });
    let lane = house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    let link = house.in_session(0, &session, CALL);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    progress(&mut house, lane, &id, 1);
    house.event(0, Event::Drain);
    house.wait(Duration::from_secs(3));
    assert!(house.answer(link).is_closed, "the drain has taken too long");
    assert!(house.answer(link).body.ends_with("retry: 1000\n\n"), "it says when to come back");
    progress(&mut house, lane, &id, 2);
    assert_eq!(house.closed.iter().filter(|&&closed| closed == link).count(), 1);
}

#[test]
fn the_old_transport_answers_on_its_stream() {
    let mut house = House::builtin(2);
    let before = house.footprint();
    let stream = house.send(0, Verb::Get, "/sse", &[("accept", "text/event-stream")], "");
    let body = &house.answer(stream).body;
    assert!(body.starts_with("event: endpoint\ndata: /message?sessionId="), "{body}");
    let endpoint = house.answer(stream).data()[0].clone();
    let json = [("content-type", "application/json")];
    for (shard, body) in [
        (
            1,
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        ),
        (0, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        (
            1,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}}}"#,
        ),
    ] {
        let link = house.send(shard, Verb::Post, &endpoint, &json, body);
        assert_eq!(house.answer(link).status, Some(202));
    }
    let data = house.answer(stream).data();
    assert!(data[1].contains("\"protocolVersion\":\"2024-11-05\"") && data[2].contains("\"hi\""));
    house.leave(stream);
    assert_eq!(house.footprint(), before, "its end is the session's");
    let link = house.send(0, Verb::Post, &endpoint, &json, "{}");
    assert_eq!(house.answer(link).status, Some(404));
}

#[test]
fn the_answers_of_a_batch_are_bounded_together() {
    let mut house = House::limited(Limits::DEFAULT);
    let lane = house.greet_legacy();
    let session = house.session(0, "2025-03-26", "{}");
    let calls: Vec<String> = (0..20)
        .map(|id| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t"}}}}"#
            )
        })
        .collect();
    let batch = house.in_session(0, &session, &format!("[{}]", calls.join(",")));
    let ids: Vec<String> = house.lanes[&lane]
        .iter()
        .filter(|line| line.contains("tools/call"))
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["id"].to_string()
        })
        .collect();
    let text = "x".repeat(1 << 20);
    for id in &ids {
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"t":"{text}"}}}}"#));
    }
    let answer = house.answer(batch);
    assert!(answer.body.len() < 17 << 20, "{}", answer.body.len());
    let all: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let all = all.as_array().unwrap();
    let told: Vec<u64> = all.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(told, (0..20).collect::<Vec<_>>(), "each has its answer");
    assert!(all[0]["result"].is_object());
    assert!(all[19]["error"]["message"].as_str().unwrap().contains("batch_bytes_max"));
}

#[test]
fn a_stream_of_news_that_breaks_is_asked_for_again() {
    let mut house = House::stdio(1, EraPin::Modern);
    let lane = house.greet_modern_with(r#""tools":{"listChanged":true}"#);
    let asked = |house: &House| house.heard(lane, "subscriptions/listen").expect("it listens").0;
    let first = asked(&house);
    house.event(0, Event::Undelivered { link: lane, id: &first, is_unsent: false, why: "broken" });
    house.wait(Duration::from_millis(500));
    assert_eq!(asked(&house), first, "not so soon");
    house.wait(Duration::from_secs(1));
    assert_ne!(asked(&house), first);
}
