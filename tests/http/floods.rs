//! Who asks on and on, of a client or of the gateway: so much waits, the rest is answered at once.

use ringgate::base::{LinkId, ShardId};
use ringgate::gateway::Event;
use ringgate::gateway::door::Transport;
use ringgate::gateway::principal::Principal;
use ringgate::gateway::settings::EraPin;

use crate::house::{CAPS, House};

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"work","arguments":{}}}"#;
const FORM: &str = r#"{"message":"?","requestedSchema":{"type":"object","properties":{}}}"#;

fn asks(house: &mut House, lane: LinkId, from: u32, count: u32) {
    for n in from..from + count {
        let method = "elicitation/create";
        house.says(
            lane,
            &format!(r#"{{"jsonrpc":"2.0","id":"q{n}","method":"{method}","params":{FORM}}}"#),
        );
    }
}

fn refused(house: &House, lane: LinkId) -> usize {
    house.lanes[&lane].iter().filter(|line| line.contains("too many questions at once")).count()
}

#[test]
fn an_upstream_that_asks_a_session_on_and_on_has_so_many_questions_open() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", CAPS);
    let call = house.in_session(0, &session, CALL);
    let own = house.greet_legacy();
    let before = house.footprint();
    asks(&mut house, own, 0, 1_000);
    let put = house.answer(call).data();
    assert_eq!(put.len(), 64, "{}", put.len());
    assert_eq!(refused(&house, own), 1_000 - 64);
    assert!(house.footprint() <= before + 64, "{} to {}", before, house.footprint());
    // Each answer makes room for one.
    let id = put[0].split_once("\"id\":").unwrap().1.split(',').next().unwrap();
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#);
    house.in_session(0, &session, &answer);
    asks(&mut house, own, 1_000, 2);
    assert_eq!(house.answer(call).data().len(), 65);
    assert_eq!(refused(&house, own), 1_000 - 64 + 1);
    // What it takes back makes room, too.
    house.says(
        own,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q7"}}"#,
    );
    asks(&mut house, own, 2_000, 2);
    assert_eq!(refused(&house, own), 1_000 - 64 + 2);
}

#[test]
fn an_upstream_that_asks_a_held_call_on_and_on_has_so_many_questions_open() {
    let mut house = House::scripted(1, EraPin::Legacy);
    house.greet_legacy();
    let params = r#"{"name":"work","arguments":{}}"#;
    house.modern(0, 4, "tools/call", params, CAPS);
    let own = house.greet_legacy();
    asks(&mut house, own, 0, 1_000);
    assert_eq!(refused(&house, own), 1_000 - 64);
}

#[test]
fn a_modern_upstream_that_asks_too_much_at_once_ends_its_call() {
    let mut house = House::scripted(1, EraPin::Modern);
    let lane = house.greet_modern();
    let session = house.session(0, "2025-11-25", CAPS);
    let call = house.in_session(0, &session, CALL);
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    let one = format!(r#"{{"method":"elicitation/create","params":{FORM}}}"#);
    let many: Vec<String> = (0..65).map(|n| format!("\"q{n}\":{one}")).collect();
    house.says(
        lane,
        &format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","inputRequests":{{{}}},"requestState":"s"}}}}"#,
            many.join(",")
        ),
    );
    let answer = house.answer(call).body.clone();
    assert!(answer.contains("too many questions at once"), "{answer}");
}

#[test]
fn a_client_that_greets_on_and_on_while_an_upstream_starts_is_answered_beyond_some() {
    let mut house = House::scripted(1, EraPin::Legacy);
    let link = LinkId::new(ShardId(0), 4_000, 0);
    house.lanes.insert(link, Vec::new());
    house.event(
        0,
        Event::ClientOpened { link, transport: Transport::Tcp, principal: Principal::ANONYMOUS },
    );
    let greet = |house: &mut House, n: u32| {
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":{n},"method":"server/discover","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"t","version":"1"}}}}}}}}"#
        );
        house.says(link, &line);
    };
    let before = house.footprint();
    (0..100).for_each(|n| greet(&mut house, n));
    assert_eq!(house.lanes[&link].len(), 100 - 16, "{:?}", house.lanes[&link].first());
    assert!(house.footprint() <= before + 16, "{before} to {}", house.footprint());
    house.greet_legacy();
    assert_eq!(house.lanes[&link].len(), 100, "those that wait are answered when it is known");
    (100..200).for_each(|n| greet(&mut house, n));
    assert_eq!(house.lanes[&link].len(), 200);
}
