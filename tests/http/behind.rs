//! Clients that do not read what waits for them: changes wait for them, each once; what is theirs alone is held up with
//! them; nobody else notices, and nothing of it stays.

use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::Event;
use ringgate::gateway::settings::EraPin;

use crate::house::{CAPS, House};
use crate::modern::{held, retry};

const CALL: &str = r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"work","arguments":{},"_meta":{"progressToken":"t"}}}"#;

fn watch(uri: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{{"uri":"{uri}"}}}}"#
    )
}

fn updated(uri: &str, n: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}","_meta":{{"n":{n}}}}}}}"#
    )
}

const TOOLS: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// A session that watches two resources, and its stream.
fn watcher(house: &mut House, shard: usize) -> (String, LinkId) {
    let session = house.session(shard, "2025-11-25", "{}");
    let stream = house.get(shard, &session, None);
    for uri in ["a:1", "a:2"] {
        house.in_session(shard, &session, &watch(uri));
    }
    (session, stream)
}

#[test]
fn what_changes_while_a_client_does_not_read_is_told_once_when_it_does() {
    let mut house = House::limited(Limits::DEFAULT);
    let lane = house.greet_watched();
    let (_, good) = watcher(&mut house, 0);
    let (_, stuck) = watcher(&mut house, 0);
    house.event(0, Event::Blocked { link: stuck });
    for n in 0..500 {
        house.says(lane, &updated("a:1", n));
        house.says(lane, &updated("a:2", n));
        house.says(lane, TOOLS);
    }
    assert!(house.answer(stuck).data().is_empty(), "{:?}", house.answer(stuck).data());
    let told = house.answer(good).data();
    let (lists, told): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|line| line.contains("list_changed"));
    assert_eq!(lists.len(), 1, "of lists all are told at most ten times a second");
    assert_eq!(told.len(), 1_000, "who reads is told of each");
    for (n, two) in told.chunks(2).enumerate() {
        assert!(two[0].contains("a:1") && two[0].contains(&format!("\"n\":{n}}}")), "{n}");
    }
    house.event(0, Event::Unblocked { link: stuck });
    let told = house.answer(stuck).data();
    assert_eq!(told.len(), 3, "{told:?}");
    for (uri, line) in ["a:1", "a:2"].into_iter().zip(&told) {
        assert!(line.contains(uri) && line.contains("\"n\":499}"), "as it was said last: {line}");
    }
    assert!(told[2].contains("tools/list_changed"), "{told:?}");
    house.says(lane, &updated("a:1", 500));
    assert_eq!(house.answer(stuck).data().len(), 4, "from then on it is told at once");
}

#[test]
fn who_breaks_off_while_it_is_behind_and_resumes_is_told_of_what_changed() {
    for shards in [1, 2] {
        let mut house = House::scripted(shards, EraPin::Legacy);
        let lane = house.greet_watched();
        // With two shards the session lives on the first, and its stream comes to the second.
        let session = house.session(0, "2025-11-25", "{}");
        let stream = house.get(usize::from(shards) - 1, &session, None);
        house.in_session(0, &session, &watch("a:1"));
        house.says(lane, &updated("a:1", 0));
        let (last, _) = house.answer(stream).events().pop().expect("an event");
        house.event(usize::from(shards) - 1, Event::Blocked { link: stream });
        for n in 1..100 {
            house.says(lane, &updated("a:1", n));
        }
        assert_eq!(house.answer(stream).data().len(), 1, "{shards}");
        house.leave(stream);
        let again = house.get(0, &session, Some(&last));
        let told = house.answer(again).data();
        assert_eq!(told.len(), 1, "{shards}: {told:?}");
        assert!(told[0].contains("\"n\":99}"), "{told:?}");
        house.says(lane, &updated("a:1", 100));
        assert_eq!(house.answer(again).data().len(), 2, "and is not behind any more");
    }
}

#[test]
fn who_has_too_much_of_it_coming_is_closed() {
    let limits =
        Limits { subscriptions_max: 10_000, subscription_bytes_max: 2 << 20, ..Limits::DEFAULT };
    let mut house = House::limited(limits);
    let lane = house.greet_watched();
    let (session, stuck) = watcher(&mut house, 0);
    let uri = |n: u32| format!("a:{n}{}", "x".repeat(4_000));
    for n in 0..300 {
        house.in_session(0, &session, &watch(&uri(n)));
    }
    house.event(0, Event::Blocked { link: stuck });
    for n in 0..300 {
        house.says(lane, &updated(&uri(n), 0));
    }
    assert!(house.answer(stuck).is_closed);
}

#[test]
fn what_is_a_clients_own_is_held_up_with_it_and_goes_on_with_it() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let shared = house.greet_legacy();
    let params = r#"{"name":"work","arguments":{}}"#;
    let link = house.modern(0, 4, "tools/call", params, CAPS);
    let own = house.greet_legacy();
    house.event(0, Event::Blocked { link });
    assert_eq!(house.held_up, [own]);
    house.event(0, Event::Unblocked { link });
    assert!(house.held_up.is_empty());
    // Its end lets go of it as well: it may be another's from then on.
    house.event(0, Event::Blocked { link });
    let (id, _) = house.heard(own, "tools/call").expect("it was called");
    house.says(own, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(house.held_up.is_empty(), "{:?}", house.held_up);
    assert_ne!(shared, own);
}

#[test]
fn what_is_a_clients_own_on_another_shard_is_held_up_with_it_too() {
    for leaves in [false, true] {
        let mut house = House::scripted(2, EraPin::Legacy);
        house.greet_legacy();
        house.greet_legacy();
        // The call is held on the second shard, and goes on in an exchange that came to the first.
        let (own, id, state) = held(&mut house, 1);
        let link = retry(&mut house, 0, &state);
        house.event(0, Event::Blocked { link });
        assert_eq!(house.held_up, [own], "what others share is read on");
        house.event(0, Event::Unblocked { link });
        assert!(house.held_up.is_empty());
        house.event(0, Event::Blocked { link });
        assert_eq!(house.held_up, [own]);
        if leaves {
            house.leave(link);
        } else {
            house.says(own, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
            assert!(house.answer(link).body.contains("\"id\":10,\"result\""));
        }
        assert!(house.held_up.is_empty(), "its end lets go of it");
    }
}

#[test]
fn a_session_whose_stream_stands_still_is_answered_on_others() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", CAPS);
    let stream = house.get(0, &session, None);
    house.event(0, Event::Blocked { link: stream });
    let call = house.in_session(0, &session, CALL);
    let own = house.greet_legacy();
    assert!(house.held_up.is_empty(), "others of its streams are read");
    let (id, _) = house.heard(own, "tools/call").expect("it was called");
    house.says(own, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(house.answer(call).body.contains("\"id\":4"), "{:?}", house.answer(call));
}

#[test]
fn progress_for_who_does_not_read_ends_after_a_while_and_the_answer_comes() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    let call = house.in_session(0, &session, CALL);
    let lane = house.lanes.keys().copied().find(|&lane| house.heard(lane, "tools/call").is_some());
    let lane = lane.expect("it was called");
    let (id, line) = house.heard(lane, "tools/call").expect("it was called");
    let token = line.split_once("\"progressToken\":").expect("a token").1;
    let token = token.split(['}', ',']).next().expect("a token").to_owned();
    let says = |house: &mut House, n: u32| {
        let message = "x".repeat(10_000);
        house.says(
            lane,
            &format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n},"message":"{message}"}}}}"#
            ),
        );
    };
    says(&mut house, 0);
    house.event(0, Event::Blocked { link: call });
    for n in 1..1_000 {
        says(&mut house, n);
    }
    let bytes = house.answer(call).body.len();
    assert!((1 << 20..(1 << 20) + 50_000).contains(&bytes), "{bytes}");
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(house.answer(call).data().last().expect("an answer").contains("\"id\":4"));
}
