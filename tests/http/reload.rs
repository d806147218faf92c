//! Other settings while requests are under way: what has begun ends as it began, what comes goes by the new
//! ones, and nothing that anybody waits for is lost in between.

use std::sync::Arc;
use std::time::Duration;

use ringgate::base::LinkId;
use ringgate::gateway::Settings;
use ringgate::gateway::policy::{Agent, Pattern, Policy, Rules, Side};
use ringgate::gateway::principal::Principals;
use ringgate::gateway::rate::Rates;
use ringgate::gateway::settings::{EraPin, Target, Upstream};

use crate::house::{House, upstream};

/// Longer than it takes to see that an upstream has nothing under way any more.
const A_WHILE: Duration = Duration::from_millis(150);
const CALL: &str = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"a__x"}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":6,"method":"tools/list"}"#;
const WATCH: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"resources/subscribe","params":{"uri":"a+doc:1"}}"#;

fn tcp(name: &str, port: u16) -> Upstream {
    let target = Target::Tcp { address: ([127, 0, 0, 1], port).into() };
    upstream(name, name, target, EraPin::Legacy)
}

fn stdio(name: &str, command: &str) -> Upstream {
    let (command, args) = (command.to_owned(), Vec::new());
    let target = Target::Stdio { command, args, env: std::collections::BTreeMap::new(), cwd: None };
    upstream(name, name, target, EraPin::Legacy)
}

fn house(shards: u16, upstreams: Vec<Upstream>) -> House {
    House::with(shards, Settings { upstreams, ..Settings::default() })
}

/// The same as a configuration has it that is read again: the place of another is one that is free.
fn reload_first(house: &mut House, with: Upstream) {
    reload_at(house, 0, with);
}

fn reload_at(house: &mut House, at: usize, with: Upstream) {
    house.renew(|settings| {
        let mut wanted: Vec<Upstream> =
            settings.order().into_iter().map(|at| settings.upstreams[at].clone()).collect();
        wanted[at] = with;
        *settings = std::mem::take(settings).with_upstreams(&wanted);
    });
}

/// In place of the first upstream comes another of the same name.
fn replace_first(settings: &mut Settings, with: Upstream) {
    let mut order = settings.order();
    settings.upstreams.push(with);
    order[0] = settings.upstreams.len() - 1;
    settings.order = Some(order.into());
}

fn answer_call(house: &mut House, lane: LinkId, text: &str) {
    let (id, _) = house.heard(lane, "tools/call").unwrap();
    house.says(
        lane,
        &format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
        ),
    );
}

#[test]
fn a_call_under_way_is_answered_by_the_upstream_that_goes_and_the_next_by_the_one_that_comes() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    let (old, other) = (house.greet_legacy(), house.greet_legacy());
    let session = house.session(0, "2025-11-25", "{}");
    let first = house.in_session(0, &session, CALL);
    house.renew(|settings| replace_first(settings, tcp("a", 3)));
    let new = house.greet_legacy();
    let second = house.in_session(0, &session, CALL);
    house.wait(A_WHILE);
    assert!(house.closed.is_empty(), "its call is under way");
    answer_call(&mut house, new, "new");
    answer_call(&mut house, old, "old");
    assert!(house.answer(first).body.contains("old"), "{:?}", house.answer(first));
    assert!(house.answer(second).body.contains("new"), "{:?}", house.answer(second));
    house.wait(A_WHILE);
    assert_eq!(house.closed, [old], "and nothing is left to wait for");
    house.wait(Duration::from_mins(1));
    assert_eq!((house.closed.len(), house.dials()), (1, 0), "it is not dialled again");
    let third = house.in_session(0, &session, CALL);
    answer_call(&mut house, new, "still");
    assert!(house.answer(third).body.contains("still"));
    assert!(house.heard(other, "tools/call").is_none());
}

#[test]
fn a_child_ends_when_no_shard_has_a_call_of_it() {
    let mut house = house(2, vec![stdio("a", "one"), tcp("b", 2)]);
    let child = house.greet_legacy();
    house.greet_legacy();
    house.greet_legacy();
    // The child lives on shard 0; this session does not.
    let session = house.session(1, "2025-11-25", "{}");
    let call = house.in_session(1, &session, CALL);
    assert_eq!(house.answer(call).status, None);
    house.renew(|settings| settings.order = Some([1].into()));
    house.wait(A_WHILE);
    assert!(house.closed.is_empty(), "the other shard's call is under way");
    let refused = house.in_session(1, &session, CALL);
    assert!(house.answer(refused).body.contains("-32602"), "{:?}", house.answer(refused));
    answer_call(&mut house, child, "done");
    assert!(house.answer(call).body.contains("done"));
    // One look at the shard that had it, one at the child's home.
    house.wait(A_WHILE);
    house.wait(A_WHILE);
    assert_eq!(house.closed, [child]);
}

#[test]
fn a_call_that_its_upstream_never_answers_ends_by_its_time_and_the_upstream_with_it() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    let old = house.greet_legacy();
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    let call = house.in_session(0, &session, CALL);
    house.renew(|settings| {
        settings.order = Some([1].into());
        // It began with thirty seconds, and has them.
        settings.limits.request = Duration::from_secs(1);
    });
    house.wait(Duration::from_secs(29));
    assert!(!house.answer(call).body.contains("error"), "{:?}", house.answer(call));
    house.wait(Duration::from_secs(2));
    assert!(house.answer(call).body.contains("error"), "{:?}", house.answer(call));
    house.wait(A_WHILE);
    assert!(house.closed.contains(&old));
}

#[test]
fn a_list_that_is_being_read_is_that_of_the_upstreams_it_began_with() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    let (old, other) = (house.greet_legacy(), house.greet_legacy());
    let session = house.session(0, "2025-11-25", "{}");
    let list = house.in_session(0, &session, LIST);
    house.renew(|settings| replace_first(settings, tcp("c", 3)));
    for (lane, name) in [(old, "x"), (other, "y")] {
        let (id, _) = house.heard(lane, "tools/list").unwrap();
        house.says(
            lane,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"{name}","inputSchema":{{}}}}]}}}}"#
            ),
        );
    }
    let body = &house.answer(list).body;
    assert!(body.contains(r#""a__x""#) && body.contains(r#""b__y""#), "{body}");
}

#[test]
fn what_is_watched_is_watched_at_the_upstream_that_follows() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    let old = house.greet_watched();
    house.greet_watched();
    let session = house.session(0, "2025-11-25", "{}");
    let stream = house.get(0, &session, None);
    let watch = house.in_session(0, &session, WATCH);
    assert!(house.answer(watch).body.contains("result"), "{:?}", house.answer(watch));
    house.renew(|settings| replace_first(settings, tcp("a", 3)));
    let new = house.greet_watched();
    let (_, line) = house.heard(new, "resources/subscribe").unwrap();
    assert!(line.contains(r#""uri":"doc:1""#), "{line}");
    house.wait(A_WHILE);
    assert_eq!(house.closed, [old]);
    house.says(
        new,
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"doc:1"}}"#,
    );
    let told = house.answer(stream).data();
    assert!(told.iter().any(|line| line.contains(r#""uri":"a+doc:1""#)), "{told:?}");
    for list in ["tools", "prompts", "resources"] {
        let changed = format!("notifications/{list}/list_changed");
        assert!(told.iter().any(|line| line.contains(&changed)), "{list}: {told:?}");
    }
}

#[test]
fn a_thousand_reloads_of_one_upstream_leave_the_tables_as_large_as_one() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    let (mut old, _) = (house.greet_legacy(), house.greet_legacy());
    let session = house.session(0, "2025-11-25", "{}");
    for round in 0..1_000 {
        reload_first(&mut house, tcp("a", 10 + round));
        let new = house.greet_legacy();
        let call = house.in_session(0, &session, CALL);
        answer_call(&mut house, new, &format!("round {round}."));
        assert!(house.answer(call).body.contains(&format!("round {round}.")), "{round}");
        house.wait(A_WHILE);
        assert_eq!(house.closed.last(), Some(&old), "{round}");
        old = new;
    }
    assert_eq!(house.settings.upstreams.len(), 3, "those that are used, and one that is free");
    assert_eq!(house.places(), (3, 3));
    let told = house.census(0);
    let calls = told.upstreams[0].traffic.calls.of(ringgate::gateway::tally::End::Answered);
    assert_eq!(calls, 1, "what is counted of it began with it");
}

#[test]
fn the_place_of_a_child_is_free_when_every_shard_has_heard_that_it_has_ended() {
    let mut house = house(2, vec![stdio("a", "one"), tcp("b", 2)]);
    for _ in 0..3 {
        house.greet_legacy();
    }
    let session = house.session(1, "2025-11-25", "{}");
    for round in 0..100 {
        reload_first(&mut house, stdio("a", &format!("child {round}")));
        let child = house.greet_legacy();
        let call = house.in_session(1, &session, CALL);
        answer_call(&mut house, child, &format!("round {round}."));
        assert!(house.answer(call).body.contains(&format!("round {round}.")), "{round}");
        for _ in 0..3 {
            house.wait(A_WHILE);
        }
    }
    assert_eq!(house.settings.upstreams.len(), 3);
}

#[test]
fn who_learns_of_settings_first_is_not_told_of_whose_place_it_was() {
    let mut house = house(2, vec![stdio("a", "one"), stdio("b", "two")]);
    house.greet_legacy();
    house.greet_legacy();
    let session = house.session(0, "2025-11-25", "{}");
    for round in 0..8 {
        // Children live on both shards in turn, and the first shard is always the first to know.
        reload_at(&mut house, 1, stdio("b", &format!("child {round}")));
        let call = CALL.replace("a__", "b__");
        let call = house.in_session(0, &session, &call);
        assert_eq!(house.answer(call).status, None, "{round}: {:?}", house.answer(call));
        let child = house.greet_legacy();
        answer_call(&mut house, child, &format!("round {round}."));
        assert!(house.answer(call).body.contains(&format!("round {round}.")), "{round}");
        for _ in 0..3 {
            house.wait(A_WHILE);
        }
    }
    assert!(house.settings.upstreams.len() < 8, "places were used again");
}

#[test]
fn a_place_that_a_call_names_is_nobody_elses() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    let (old, _) = (house.greet_legacy(), house.greet_legacy());
    let session = house.session(0, "2025-11-25", "{}");
    let call = house.in_session(0, &session, CALL);
    for port in 3..6 {
        reload_first(&mut house, tcp("a", port));
        house.greet_legacy();
        house.wait(A_WHILE);
    }
    assert_eq!(house.settings.upstreams.len(), 4, "the second of them was free for the third");
    answer_call(&mut house, old, "the first");
    assert!(house.answer(call).body.contains("the first"), "{:?}", house.answer(call));
    house.wait(A_WHILE);
    reload_first(&mut house, tcp("a", 6));
    assert_eq!((house.settings.order(), house.settings.upstreams.len()), (vec![0, 1], 4));
}

fn policy(settings: &mut Settings, allows: &[&str]) {
    let patterns = allows.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    let allow = Side { servers: patterns, ..Side::default() };
    let rules = Rules {
        deny_on_missing_agent: true,
        agents: vec![Agent { name: "reader".to_owned(), allow, deny: Side::default() }],
    };
    let names = settings.upstreams.iter().map(|upstream| upstream.name.as_str());
    settings.policy = Some(Arc::new(Policy::compile(&rules, names)));
}

#[test]
fn rules_that_change_hold_for_the_next_call_and_for_what_is_watched() {
    let mut principals = Principals::default();
    let reader = principals.acting_as("reader");
    let upstreams = vec![tcp("a", 1), tcp("b", 2)];
    let mut settings = Settings { upstreams, principals, ..Settings::default() };
    policy(&mut settings, &["*"]);
    let mut house = House::with(1, settings);
    house.principal = reader;
    let lane = house.greet_watched();
    house.greet_watched();
    let session = house.session(0, "2025-11-25", "{}");
    let stream = house.get(0, &session, None);
    house.in_session(0, &session, WATCH);
    let first = house.in_session(0, &session, CALL);
    house.renew(|settings| policy(settings, &["b"]));
    assert!(house.heard(lane, "resources/unsubscribe").is_some());
    house.says(
        lane,
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"doc:1"}}"#,
    );
    let told = house.answer(stream).data();
    assert!(!told.iter().any(|line| line.contains("updated")), "{told:?}");
    let second = house.in_session(0, &session, CALL);
    assert!(house.answer(second).body.contains("-32000"), "{:?}", house.answer(second));
    answer_call(&mut house, lane, "begun before");
    assert!(house.answer(first).body.contains("begun before"), "{:?}", house.answer(first));
    house.renew(|settings| policy(settings, &["*"]));
    let third = house.in_session(0, &session, CALL);
    answer_call(&mut house, lane, "again");
    assert!(house.answer(third).body.contains("again"), "{:?}", house.answer(third));
}

#[test]
fn principals_keep_their_places_and_others_follow() {
    let mut principals = Principals::default();
    let first = principals.acting_as("first");
    let target = Target::Builtin { folder: None };
    let upstreams = vec![upstream("up", "", target, EraPin::Auto)];
    let mut house =
        House::with(2, Settings { upstreams, principals, audits: true, ..Settings::default() });
    house.principal = first;
    let session = house.session(0, "2025-11-25", "{}");
    let mut second = first;
    house.renew(|settings| second = settings.principals.acting_as("second"));
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let pinged = house.in_session(1, &session, ping);
    assert_eq!(house.answer(pinged).status, Some(200));
    house.principal = second;
    let stranger = house.in_session(1, &session, ping);
    assert_eq!(house.answer(stranger).status, Some(404), "it is not the second's session");
    house.modern(1, 3, "tools/call", r#"{"name":"echo","arguments":{"message":"hi"}}"#, "{}");
    let record = house.audit.last().unwrap();
    assert_eq!((record.principal, record.generation), (second, 1));
}

#[test]
fn rates_that_change_count_what_was_used_before() {
    let target = Target::Builtin { folder: None };
    let upstreams = vec![upstream("up", "", target, EraPin::Auto)];
    let rates = Some(Rates { messages: 0, calls: 2, subscriptions: 0, all: 0, ..Rates::DEFAULT });
    let mut house = House::with(1, Settings { upstreams, rates, ..Settings::default() });
    let call = |house: &mut House| {
        let params = r#"{"name":"echo","arguments":{"message":"hi"}}"#;
        let link = house.modern(0, 1, "tools/call", params, "{}");
        house.answer(link).status
    };
    assert_eq!([call(&mut house), call(&mut house)], [Some(200); 2]);
    house.renew(|settings| settings.rates.as_mut().unwrap().calls = 1);
    assert_eq!(call(&mut house), Some(429), "a reload is no new budget");
    house.renew(|settings| settings.rates = None);
    assert_eq!(call(&mut house), Some(200));
}

#[test]
fn a_greeting_waits_for_upstreams_that_are_used_and_for_no_others() {
    let mut house = house(1, vec![tcp("a", 1), tcp("b", 2)]);
    house.greet_legacy();
    let greeting = house.post(
        0,
        &[],
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
    );
    assert_eq!(house.answer(greeting).status, None, "the second has not been heard");
    house.renew(|settings| settings.order = Some([0].into()));
    assert_eq!(house.answer(greeting).status, Some(200));
}
