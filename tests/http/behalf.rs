//! Upstreams that are asked on behalf of their callers: nothing before there is one, each subject on connections of
//! its own that bear its token, and what is refused for one says nothing of another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringgate::base::LinkId;
use ringgate::base::limits::Limits;
use ringgate::gateway::principal::{Principal, Principals, Subject};
use ringgate::gateway::settings::{EraPin, Share, Target, Upstream};
use ringgate::gateway::{Event, Settings, Transport};

use crate::house::{CAPS, House, upstream};

const CALL: &str = r#"{"name":"see","arguments":{}}"#;

/// Somebody with a token, which is the `serial`th that they have.
fn caller(name: &str, serial: u32) -> (Principal, String) {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = format!(r#"{{"sub":"{name}","jti":{serial},"exp":1790000000}}"#);
    let token = format!("{}.{}.{}", part(r#"{"alg":"ES256"}"#), part(&claims), part("signature"));
    (Principal::ANONYMOUS.with(Subject::of("https://as.test", name)), token)
}

fn guarded(era: EraPin) -> Upstream {
    let target = Target::Tcp { address: ([127, 0, 0, 1], 1).into() };
    Upstream { share: Share::Never, ..upstream("up", "", target, era) }
}

fn house(shards: u16, era: EraPin, limits: Limits) -> House {
    let mut principals = Principals::default();
    principals.has_subjects = true;
    let upstreams = vec![guarded(era)];
    House::with(shards, Settings { upstreams, principals, limits, ..Settings::default() })
}

impl House {
    /// From now on it is this one who asks.
    fn is(&mut self, name: &str, serial: u32) {
        let (principal, token) = caller(name, serial);
        (self.principal, self.token) = (principal, Some(token));
    }

    /// An upstream answers a call on a lane.
    fn sees(&mut self, lane: LinkId, text: &str) {
        let (id, _) = self.heard(lane, "tools/call").expect("it is called");
        let content =
            format!(r#"{{"resultType":"complete","content":[{{"type":"text","text":"{text}"}}]}}"#);
        self.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{content}}}"#));
    }

    /// The transport says that the last request of a method is not made.
    fn not_for(&mut self, lane: LinkId, method: &str, why: &str) {
        let (id, _) = self.heard(lane, method).expect("it was asked");
        let shard = usize::from(lane.shard().0);
        self.event(shard, Event::Unauthorized { link: lane, id: &id, why });
    }

    fn bears(&self, lane: LinkId) -> Vec<&str> {
        self.borne.get(&lane).into_iter().flatten().map(String::as_str).collect()
    }
}

#[test]
fn nothing_is_asked_before_there_is_somebody_to_ask_for() {
    for era in [EraPin::Auto, EraPin::Legacy, EraPin::Modern] {
        let mut house = house(2, era, Limits::DEFAULT);
        assert_eq!(house.dials(), 0);
        let greeting = house.modern(0, 1, "server/discover", "{}", "{}");
        assert_eq!(house.answer(greeting).status, Some(200), "it does not wait for the upstream");
        house.is("alice", 1);
        house.session(1, "2025-11-25", "{}");
        assert_eq!(house.dials(), 0, "a session alone needs nothing");
        house.modern(0, 1, "tools/call", CALL, "{}");
        assert_eq!(house.dials(), 1);
    }
}

#[test]
fn who_has_no_token_is_told_what_to_bring() {
    let mut house = house(1, EraPin::Legacy, Limits::DEFAULT);
    let key = Principals::default().acting_as("agent");
    for principal in [Principal::ANONYMOUS, key] {
        house.principal = principal;
        // What an API key brings is no token.
        house.token = Some("rgk_x".to_owned());
        for (method, params) in [("tools/call", CALL), ("tools/list", "{}")] {
            let link = house.modern(0, 1, method, params, CAPS);
            let answer = house.answer(link);
            assert!(answer.body.contains("access token of the issuer of auth.jwt"), "{answer:?}");
            assert!(
                answer.body.contains("CALLER_REFUSED") && answer.body.contains("-32603"),
                "{answer:?}"
            );
        }
        let session = house.session(0, "2025-11-25", "{}");
        let subscribe =
            r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"x:y"}}"#;
        let link = house.in_session(0, &session, subscribe);
        assert!(house.answer(link).body.contains("-32006"), "{:?}", house.answer(link));
    }
    assert_eq!(house.dials(), 0);
}

#[test]
fn two_subjects_share_neither_connections_nor_answers_nor_lists() {
    for era in [EraPin::Legacy, EraPin::Modern] {
        let mut house = house(1, era, Limits::DEFAULT);
        let mut lanes = Vec::new();
        for name in ["alice", "bob"] {
            house.is(name, 1);
            let link = house.modern(0, 1, "tools/call", CALL, CAPS);
            let lane =
                if era == EraPin::Legacy { house.greet_legacy() } else { house.greet_modern() };
            assert_eq!(house.bears(lane), [caller(name, 1).1], "before anything is sent");
            house.sees(lane, name);
            assert!(house.answer(link).body.contains(name));
            lanes.push(lane);
        }
        let [alice, bob] = lanes[..] else { panic!("each has one") };
        assert_ne!(alice, bob);
        // What is listed for one is asked anew for the other, and for the same one too: it may be granted more.
        for (name, lane) in [("alice", alice), ("bob", bob), ("alice", alice)] {
            house.is(name, 1);
            let before = house.lanes[&lane].len();
            let link = house.modern(0, 2, "tools/list", "{}", CAPS);
            let (id, _) = house.heard(lane, "tools/list").expect("it is asked");
            assert_eq!(house.lanes[&lane].len(), before + 1);
            let tools = format!(
                r#"{{"tools":[{{"name":"of-{name}","inputSchema":{{"type":"object"}}}}]}}"#
            );
            house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{tools}}}"#));
            assert!(house.answer(link).body.contains(&format!("of-{name}")));
        }
        assert_eq!(house.dials(), 0);
    }
}

#[test]
fn a_connection_that_waits_is_its_subjects_and_bears_the_token_of_the_next_call() {
    for era in [EraPin::Legacy, EraPin::Modern] {
        let mut house = house(1, era, Limits::DEFAULT);
        house.is("alice", 1);
        house.modern(0, 1, "tools/call", CALL, CAPS);
        let lane = if era == EraPin::Legacy { house.greet_legacy() } else { house.greet_modern() };
        house.sees(lane, "1");
        house.is("bob", 1);
        house.modern(0, 2, "tools/call", CALL, CAPS);
        assert_eq!(house.dials(), 1, "hers is not his");
        house.is("alice", 2);
        let link = house.modern(0, 3, "tools/call", CALL, CAPS);
        assert_eq!(house.dials(), 1);
        assert_eq!(house.bears(lane), [caller("alice", 1).1, caller("alice", 2).1]);
        house.sees(lane, "2");
        assert_eq!(house.answer(link).status, Some(200));
    }
}

#[test]
fn a_session_bears_the_newest_token_that_was_shown_on_any_shard() {
    let mut house = house(2, EraPin::Legacy, Limits::DEFAULT);
    house.is("alice", 1);
    let session = house.session(0, "2025-11-25", "{}");
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{CALL}}}"#);
    house.in_session(0, &session, &call);
    let lane = house.greet_legacy();
    house.sees(lane, "1");
    // It came by mail.
    house.is("alice", 2);
    let link = house.in_session(1, &session, &call);
    house.sees(lane, "2");
    assert_eq!(house.answer(link).status, Some(200));
    assert_eq!(house.bears(lane), [caller("alice", 1).1, caller("alice", 2).1]);
    house.in_session(1, &session, &call);
    assert_eq!(house.bears(lane).len(), 2, "the same is not told again");
    assert_eq!(house.dials(), 0, "it is one session there as here");
}

#[test]
fn a_link_bears_what_its_client_has_shown_when_it_came() {
    let mut house = house(1, EraPin::Legacy, Limits::DEFAULT);
    let (principal, token) = caller("alice", 1);
    let link = LinkId::new(ringgate::base::ShardId(0), 900, 0);
    house.lanes.insert(link, Vec::new());
    house.event(0, Event::ClientOpened { link, transport: Transport::WebSocket, principal });
    house.event(0, Event::Shown { link, token: token.as_bytes() });
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{CALL}}}"#);
    house.event(0, Event::Frame { link, frame: hello.as_bytes() });
    house.event(0, Event::Frame { link, frame: call.as_bytes() });
    let lane = house.greet_legacy();
    assert_eq!(house.bears(lane), [token]);
}

#[test]
fn the_first_caller_finds_out_which_era_it_is() {
    let mut house = house(1, EraPin::Auto, Limits::DEFAULT);
    house.is("alice", 1);
    let link = house.modern(0, 1, "tools/call", CALL, CAPS);
    let probe = house.connect();
    let (id, _) = house.heard(probe, "server/discover").expect("it is asked who it is");
    assert_eq!(house.bears(probe), [caller("alice", 1).1]);
    house.says(
        probe,
        &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no"}}}}"#),
    );
    let lane = house.greet_legacy();
    house.sees(lane, "old");
    assert!(house.answer(link).body.contains("old"));
    house.is("bob", 1);
    house.modern(0, 1, "tools/call", CALL, CAPS);
    let lane = house.greet_legacy();
    assert_eq!(house.bears(lane), [caller("bob", 1).1], "he need not ask");
}

#[test]
fn who_is_refused_is_told_why_and_nobody_else_hears_of_it() {
    let why = "the authorization server does not exchange its caller's token: invalid_target";
    for (era, method) in [(EraPin::Auto, "server/discover"), (EraPin::Legacy, "initialize")] {
        let limits = Limits { breaker_failures: 1, ..Limits::DEFAULT };
        let mut house = house(1, era, limits);
        for serial in 0..3 {
            house.is("alice", serial);
            let link = house.modern(0, 1, "tools/call", CALL, CAPS);
            let lane = house.connect();
            house.not_for(lane, method, why);
            let answer = house.answer(link);
            assert!(
                answer.body.contains(why) && answer.body.contains("CALLER_REFUSED"),
                "{answer:?}"
            );
            assert!(house.closed.contains(&lane));
        }
        // Neither is the breaker open nor the server taken for an old one.
        house.is("bob", 1);
        let link = house.modern(0, 1, "tools/call", CALL, CAPS);
        let lane = if era == EraPin::Auto { house.greet_modern() } else { house.greet_legacy() };
        house.not_for(lane, "tools/call", why);
        assert!(house.answer(link).body.contains(why), "{:?}", house.answer(link));
        let link = house.modern(0, 1, "tools/call", CALL, CAPS);
        house.sees(lane, "bob");
        assert!(house.answer(link).body.contains("bob"), "the connection goes on");
    }
}

#[test]
fn one_caller_has_half_of_the_connections_and_its_other_calls_wait_for_those() {
    let limits = Limits { lanes_max: 4, ..Limits::DEFAULT };
    for era in [EraPin::Legacy, EraPin::Modern] {
        let greet = |house: &mut House| match era {
            EraPin::Legacy => house.greet_legacy(),
            _ => house.greet_modern(),
        };
        let mut house = house(1, era, limits.clone());
        house.is("alice", 1);
        let links: Vec<LinkId> =
            (0..4).map(|id| house.modern(0, id, "tools/call", CALL, CAPS)).collect();
        assert_eq!(house.dials(), 2);
        let lanes = [greet(&mut house), greet(&mut house)];
        // All of hers are busy, and some of her calls wait: he does not.
        house.is("bob", 1);
        let his = house.modern(0, 9, "tools/call", CALL, CAPS);
        let lane = greet(&mut house);
        assert_eq!(house.bears(lane), [caller("bob", 1).1]);
        house.sees(lane, "y");
        assert_eq!(house.answer(his).status, Some(200));
        for round in 0..2 {
            for (at, lane) in lanes.into_iter().enumerate() {
                house.sees(lane, "x");
                assert_eq!(house.answer(links[2 * round + at]).status, Some(200), "{round} {at}");
            }
        }
        assert_eq!((house.dials(), house.closed.len()), (0, 0));
    }
}

#[test]
fn a_session_beyond_its_callers_share_is_told_so() {
    let limits = Limits { lanes_max: 2, ..Limits::DEFAULT };
    let mut house = house(1, EraPin::Legacy, limits);
    house.is("alice", 1);
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{CALL}}}"#);
    let [first, second] = [(); 2].map(|()| house.session(0, "2025-11-25", "{}"));
    house.in_session(0, &first, &call);
    let lane = house.greet_legacy();
    house.sees(lane, "1");
    let link = house.in_session(0, &second, &call);
    assert!(house.answer(link).body.contains("half of the limit lanes_max"));
    house.is("bob", 1);
    house.modern(0, 9, "tools/call", CALL, CAPS);
    assert_eq!(house.dials(), 1);
}

#[test]
fn who_comes_takes_the_place_of_the_connection_that_waits_longest_of_whoever_has_most() {
    let limits = Limits { lanes_max: 4, ..Limits::DEFAULT };
    let mut house = house(1, EraPin::Modern, limits);
    let call = |house: &mut House, name: &str| {
        house.is(name, 1);
        house.modern(0, 1, "tools/call", CALL, CAPS)
    };
    call(&mut house, "bob");
    let his = house.greet_modern();
    house.sees(his, "bob");
    call(&mut house, "alice");
    call(&mut house, "alice");
    let hers = [house.greet_modern(), house.greet_modern()];
    for lane in hers {
        house.sees(lane, "alice");
    }
    call(&mut house, "carol");
    let lane = house.greet_modern();
    house.sees(lane, "carol");
    assert!(house.closed.is_empty(), "there is room for four");
    // His has waited for longest, and it is all he has.
    let link = call(&mut house, "dave");
    assert_eq!(house.closed, [hers[0]]);
    let lane = house.greet_modern();
    house.sees(lane, "dave");
    assert!(house.answer(link).body.contains("dave"));
}

#[test]
fn where_all_connections_are_busy_calls_wait_and_none_waits_behind_a_caller_who_has_its_share() {
    let limits = Limits { lanes_max: 4, ..Limits::DEFAULT };
    let mut house = house(1, EraPin::Modern, limits);
    let mut lanes = Vec::new();
    for name in ["alice", "alice", "bob", "bob"] {
        house.is(name, 1);
        house.modern(0, 1, "tools/call", CALL, CAPS);
        lanes.push(house.greet_modern());
    }
    house.is("alice", 1);
    let waiting = house.modern(0, 2, "tools/call", CALL, CAPS);
    house.is("carol", 1);
    let link = house.modern(0, 3, "tools/call", CALL, CAPS);
    assert_eq!(house.dials(), 0);
    house.sees(lanes[2], "bob");
    assert_eq!(house.closed, [lanes[2]], "it makes room");
    let lane = house.greet_modern();
    assert_eq!(house.bears(lane), [caller("carol", 1).1]);
    house.sees(lane, "carol");
    assert!(house.answer(link).body.contains("carol"));
    house.sees(lanes[0], "1");
    house.sees(lanes[0], "2");
    assert!(house.answer(waiting).body.contains('2'), "{:?}", house.answer(waiting));
}
