//! Modern clients: each exchange is a client of its own, and its end is the cancellation.

use std::time::Duration;

use ringgate::gateway::settings::{EraPin, Settings, Target};

use crate::house::{CAPS, House, upstream};

const ECHO: &str = r#"{"name":"echo","arguments":{"message":"hi"}}"#;

#[test]
fn a_call_is_answered_as_json_and_nothing_stays() {
    let mut house = House::builtin(1);
    let before = house.footprint();
    let link = house.modern(0, 5, "tools/call", ECHO, "{}");
    let answer = house.answer(link);
    assert_eq!((answer.status, answer.is_stream), (Some(200), false));
    assert!(answer.body.starts_with(r#"{"jsonrpc":"2.0","id":5,"result":"#), "{}", answer.body);
    assert!(answer.body.contains("\"hi\"") && answer.body.contains("\"resultType\":\"complete\""));
    assert_eq!(house.footprint(), before);
}

#[test]
fn progress_makes_a_stream_that_ends_with_the_answer() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let before = house.footprint();
    let params = r#"{"name":"slow","arguments":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"progressToken":"p"}},{}"#,
        &params[1..]
    ) + "}";
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "slow"),
    ];
    let link = house.post(0, &headers, &body);
    assert_eq!(house.answer(link).status, None, "nothing is said before there is something to say");
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#));
    assert!(house.answer(link).is_stream && !house.answer(link).is_closed);
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    let answer = house.answer(link);
    assert!(answer.is_closed);
    let events = answer.events();
    assert_eq!(events.len(), 2, "{}", answer.body);
    assert!(events[0].1.contains("\"progressToken\":\"p\"") && events[0].0.is_empty());
    assert!(events[1].1.contains("\"id\":9,\"result\""));
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_quiet_call_becomes_a_stream_so_that_nobody_between_gives_up() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let link = house.modern(0, 9, "tools/call", r#"{"name":"slow","arguments":{}}"#, "{}");
    house.wait(Duration::from_secs(16));
    assert!(house.answer(link).is_stream);
    house.wait(Duration::from_secs(13));
    assert!(house.answer(link).body.contains(":\n\n"), "{}", house.answer(link).body);
}

#[test]
fn leaving_is_cancelling() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let before = house.footprint();
    let link = house.modern(0, 9, "tools/call", r#"{"name":"slow","arguments":{}}"#, "{}");
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.leave(link);
    let (_, cancelled) = house.heard(lane, "notifications/cancelled").unwrap();
    assert!(cancelled.contains(&format!("\"requestId\":{id}")), "{cancelled}");
    assert_eq!(house.footprint(), before);
}

/// Asks a client on its own lane; gives the lane, the call's id there and the `requestState`.
pub(crate) fn held(house: &mut House, shard: usize) -> (ringgate::base::LinkId, String, String) {
    let call = r#"{"name":"ask","arguments":{}}"#;
    let link = house.modern(shard, 9, "tools/call", call, CAPS);
    let lane = house.greet_legacy();
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(lane, r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object","properties":{}}}}"#);
    house.wait(Duration::from_millis(20));
    let answer = house.answer(link);
    assert_eq!(answer.status, Some(200), "{answer:?}");
    assert!(answer.body.contains("\"resultType\":\"input_required\""), "{}", answer.body);
    let state = answer.body.split_once("\"requestState\":\"").unwrap().1;
    let state = state.split_once('"').unwrap().0.to_owned();
    (lane, id, state)
}

pub(crate) fn retry(house: &mut House, shard: usize, state: &str) -> ringgate::base::LinkId {
    let call = format!(
        r#"{{"name":"ask","arguments":{{}},"inputResponses":{{"q":{{"action":"accept","content":{{}}}}}},"requestState":"{state}"}}"#
    );
    house.modern(shard, 10, "tools/call", &call, CAPS)
}

#[test]
fn a_held_call_goes_on_in_another_exchange_and_its_connection_serves_the_next_client() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let before = house.footprint();
    let (lane, id, state) = held(&mut house, 0);
    let link = retry(&mut house, 0, &state);
    assert!(house.lanes[&lane].iter().any(|line| line.contains("\"id\":\"q\",\"result\"")));
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    let answer = house.answer(link);
    assert!(answer.body.contains("\"id\":10,\"result\""), "{answer:?}");
    assert_eq!(house.footprint(), before);
    // The connection that was the client's own waits, and the next of its kind gets it.
    let dials = house.dials();
    house.modern(0, 11, "tools/call", r#"{"name":"ask","arguments":{}}"#, CAPS);
    assert_eq!(house.dials(), dials, "no other connection was made");
    let (next, _) = house.heard(lane, "tools/call").unwrap();
    assert_ne!(next, id);
}

/// Behind a balancer, or after a restart: what the key opens may be of another process, whose calls are not ours.
#[test]
fn a_call_that_another_process_with_the_same_key_holds_is_not_one_of_ours() {
    let upstreams = || {
        vec![upstream(
            "up",
            "",
            Target::Tcp { address: ([127, 0, 0, 1], 1).into() },
            EraPin::Legacy,
        )]
    };
    let process = |number| Settings {
        upstreams: upstreams(),
        nonce_seed: [number; 12],
        ..Settings::default()
    };
    let (mut one, mut other) = (House::with(1, process(1)), House::with(1, process(2)));
    for house in [&mut one, &mut other] {
        house.greet_legacy();
    }
    let (_, _, state) = held(&mut one, 0);
    let (lane, _, own) = held(&mut other, 0);
    let link = retry(&mut other, 0, &state);
    let body = &other.answer(link).body;
    assert!(body.contains("has ended, or another gateway holds it"), "{body}");
    assert!(!other.lanes[&lane].iter().any(|line| line.contains("\"id\":\"q\",\"result\"")));
    retry(&mut other, 0, &own);
    assert!(other.lanes[&lane].iter().any(|line| line.contains("\"id\":\"q\",\"result\"")));
}

#[test]
fn questions_that_come_together_are_asked_together_and_by_the_names_they_bring() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let link = house.modern(0, 9, "tools/call", r#"{"name":"ask","arguments":{}}"#, CAPS);
    let lane = house.greet_legacy();
    house.says(lane, r#"{"jsonrpc":"2.0","id":"user_name","method":"elicitation/create","params":{"message":"?","requestedSchema":{"type":"object","properties":{}}}}"#);
    house.says(lane, r#"{"jsonrpc":"2.0","id":2,"method":"roots/list"}"#);
    assert_eq!(house.answer(link).status, None, "the first waits for the second");
    house.wait(Duration::from_millis(20));
    let body = &house.answer(link).body;
    assert!(body.contains("\"user_name\":{\"method\":\"elicitation/create\""), "{body}");
    assert!(body.contains("\"ask-2\":{\"method\":\"roots/list\""), "{body}");
}

#[test]
fn the_next_server_is_started_before_it_is_needed() {
    let mut house = House::stdio(1, EraPin::Legacy);
    house.greet_legacy();
    let call = r#"{"name":"ask","arguments":{}}"#;
    house.modern(0, 1, "tools/call", call, CAPS);
    let first = house.connect();
    let spare = house.connect();
    assert!(house.heard(first, "initialize").is_some());
    assert!(house.lanes[&spare].is_empty(), "nobody knows yet what to say to it");
    house.modern(0, 2, "tools/call", call, "{\"roots\":{}}");
    assert!(
        house.heard(spare, "initialize").unwrap().1.contains("\"capabilities\":{\"roots\":{}}")
    );
}

#[test]
fn two_calls_at_once_do_not_share_a_connection_that_asks() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let call = r#"{"name":"ask","arguments":{}}"#;
    house.modern(0, 1, "tools/call", call, CAPS);
    house.modern(0, 2, "tools/call", call, CAPS);
    assert_eq!(house.dials(), 2);
}

#[test]
fn a_burst_of_calls_starts_a_few_servers_and_all_are_answered() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let before = house.footprint();
    let call = r#"{"name":"ask","arguments":{}}"#;
    let links: Vec<_> = (0..20).map(|id| house.modern(0, id, "tools/call", call, CAPS)).collect();
    assert_eq!(house.dials(), 4);
    let lane = house.greet_legacy();
    for _ in 0..20 {
        let Some((id, _)) = house.heard(lane, "tools/call") else { break };
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    }
    // Four wait for servers that are still being started, one of them since the first was there; all others
    // were one server's.
    let answered = links.iter().filter(|&&link| house.answer(link).status.is_some()).count();
    assert_eq!(answered, 16);
    for _ in 0..4 {
        let lane = house.greet_legacy();
        let (id, _) = house.heard(lane, "tools/call").unwrap();
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    }
    assert!(links.iter().all(|&link| house.answer(link).status == Some(200)));
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_held_call_is_found_from_any_shard() {
    let mut house = House::scripted(3, EraPin::Legacy);
    for _ in 0..3 {
        house.greet_legacy();
    }
    let before = house.footprint();
    let (lane, id, state) = held(&mut house, 0);
    let link = retry(&mut house, 2, &state);
    assert!(house.lanes[&lane].iter().any(|line| line.contains("\"id\":\"q\",\"result\"")));
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#));
    assert!(house.answer(link).body.contains("\"id\":10,\"result\""), "{:?}", house.answer(link));
    assert_eq!(house.footprint(), before);
}

#[test]
fn a_changed_state_is_refused_and_an_old_one_too() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let before = house.footprint();
    let (_, _, state) = held(&mut house, 0);
    let mut changed = state.clone();
    changed.pop();
    changed.push(if state.ends_with('0') { '1' } else { '0' });
    let link = retry(&mut house, 0, &changed);
    assert!(house.answer(link).body.contains("-32602"), "{:?}", house.answer(link));
    house.wait(Duration::from_mins(11));
    assert_eq!(house.footprint(), before, "a form that nobody fills in is forgotten");
    let link = retry(&mut house, 0, &state);
    assert!(house.answer(link).body.contains("-32602"), "{:?}", house.answer(link));
}

#[test]
fn a_subscription_is_a_stream_until_the_client_goes() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let lane = house.greet_legacy();
    let wanted = r#"{"notifications":{"toolsListChanged":true}}"#;
    let link = house.modern(0, 3, "subscriptions/listen", wanted, "{}");
    assert!(house.answer(link).is_stream);
    assert!(house.answer(link).data()[0].contains("notifications/subscriptions/acknowledged"));
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert!(house.answer(link).data()[1].contains("notifications/tools/list_changed"));
    house.leave(link);
    let all = house.footprint();
    house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert_eq!(house.footprint(), all, "nobody listens any more");
}

#[test]
fn tools_are_learnt_anew_when_they_change_but_not_faster_than_they_are_told() {
    let mut house = House::scripted(1, EraPin::Modern);
    let lane = house.greet_modern();
    let asked = |house: &House| {
        house.lanes[&lane].iter().filter(|line| line.contains("tools/list\"")).count()
    };
    assert_eq!(asked(&house), 1);
    for _ in 0..100 {
        house.says(lane, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    }
    assert_eq!(asked(&house), 1);
    let (id, _) = house.heard(lane, "tools/list").unwrap();
    house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","tools":[],"ttlMs":0,"cacheScope":"private"}}}}"#));
    assert_eq!(asked(&house), 2);
}

#[test]
fn a_tools_mirrored_parameter_must_stand_in_its_header() {
    let mut house = House::scripted(2, EraPin::Legacy);
    for _ in 0..2 {
        let lane = house.greet_legacy();
        let (id, _) = house.heard(lane, "tools/list").expect("its tools are learnt");
        house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"where","inputSchema":{{"type":"object","properties":{{"region":{{"type":"string","x-mcp-header":"Region"}}}}}}}}]}}}}"#));
    }
    let link =
        house.modern(1, 3, "tools/call", r#"{"name":"where","arguments":{"region":"eu"}}"#, "{}");
    let answer = house.answer(link);
    assert_eq!(answer.status, Some(400), "{answer:?}");
    assert!(answer.body.contains("-32020") && answer.body.contains("Region"), "{}", answer.body);
}
