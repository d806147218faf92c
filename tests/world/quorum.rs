//! Calls that go to all endpoints of an upstream at once: what most of them say is the answer, and one that is slow,
//! wrong or away changes neither that nor when it comes. Led step by step; times are virtual.

use ringgate::gateway::Report;
use ringgate::gateway::policy::Pattern;
use ringgate::gateway::tools::Expose;
use serde_json::{Value, json};

use crate::marks;
use crate::server::Server;
use crate::several::{begun, several, succeeded};
use crate::stage::{self, Kind, world};
use crate::world::World;

const UNAVAILABLE: &str = "SERVER_UNAVAILABLE";

/// An upstream with three endpoints, all of which are asked for `work`.
fn three(kind: Kind, is_modern: bool) -> World {
    changed(kind, is_modern, |_| {})
}

fn changed(kind: Kind, is_modern: bool, change: impl FnOnce(&mut Vec<Server>)) -> World {
    let mut settings = several(&[(kind, 1), (kind, 1), (kind, 2)]);
    let spread = &mut settings.upstreams[0].spread;
    spread.idempotent = vec![Pattern::parse("work").expect("a pattern")];
    spread.multiplex.clone_from(&spread.idempotent);
    settings.expose = Expose::Both;
    settings.shards = 2;
    let mut servers = vec![Server::new(is_modern); 3];
    change(&mut servers);
    world(settings, servers)
}

fn all_begun(world: &World) -> [u64; 3] {
    [0, 1, 2].map(|server| begun(world, server))
}

/// How many calls a server was told are no longer waited for.
fn cancelled(world: &World, server: usize) -> u64 {
    let conns = world.conns.iter().filter(|conn| conn.server == server);
    conns.map(|conn| conn.cancelled).sum()
}

/// What the error without a quorum counts: asked, answered, agreed, needed.
fn counts(answer: &Value) -> [u64; 4] {
    let error = &answer["error"];
    assert_eq!(error["data"]["code"], "SERVER_UNAVAILABLE", "{answer}");
    ["asked", "answered", "agreed", "needed"]
        .map(|key| error["data"][key].as_u64().unwrap_or_else(|| panic!("{key}: {answer}")))
}

#[test]
fn a_call_goes_to_all_endpoints_whatever_their_priority_and_has_one_answer() {
    for kind in [Kind::Tcp, Kind::Child] {
        for (is_modern, server) in stage::ERAS {
            let mut world = three(kind, server);
            let client = world.join(is_modern, json!({}));
            world.call(client, 1, "work", "w");
            world.run_for_ms(600);
            assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
            assert_eq!(all_begun(&world), [1, 1, 1]);
            world.call(client, 2, "other", "");
            world.run_for_ms(20);
            assert_eq!(all_begun(&world).iter().sum::<u64>(), 4, "others go to one");
            world.finish();
        }
    }
}

#[test]
fn a_slow_endpoint_delays_nothing_and_is_told_that_nobody_waits() {
    for (is_modern, server) in stage::ERAS {
        for slow in 0..3 {
            let mut world = three(Kind::Tcp, server);
            let client = world.join(is_modern, json!({}));
            world.servers[slow].is_frozen = true;
            world.call(client, 1, "work", "");
            world.run_for_ms(20);
            assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
            assert_eq!(cancelled(&world, slow), 1);
            world.servers[slow].is_frozen = false;
            world.finish();
        }
    }
}

#[test]
fn one_that_says_something_else_is_outvoted_and_reported() {
    for (is_modern, server) in stage::ERAS {
        let mut world = changed(Kind::Tcp, server, |servers| servers[0].opinion = " or so");
        let client = world.join(is_modern, json!({}));
        for id in 1..20 {
            world.call(client, id, "work", "");
            world.run_for_ms(20);
            let text = &world.answer_of(client, id)["result"]["content"][0]["text"];
            assert_eq!(*text, marks::token(client, id));
        }
        let told = world.reports.iter().filter(|report| {
            matches!(report, Report::EndpointDiffers { upstream, what }
                if upstream == "up0, endpoint 1" && what.contains("not that of the others"))
        });
        assert_eq!(told.count(), 1, "once a minute, and it was among the first two");
        world.finish();
    }
}

#[test]
fn the_same_from_servers_of_both_eras_is_the_same() {
    let mut world = changed(Kind::Tcp, true, |servers| {
        servers[0].is_modern = false;
        servers[1].up = false;
    });
    for is_modern in [false, true] {
        let client = world.join(is_modern, json!({}));
        world.call(client, 1, "work", "");
        world.run_for_ms(20);
        assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
    }
    world.finish();
}

#[test]
fn an_error_that_most_give_is_the_answer() {
    let mut world = three(Kind::Tcp, true);
    let client = world.join(true, json!({}));
    world.call(client, 1, "work", "err");
    world.run_for_ms(20);
    assert_eq!(world.answer_of(client, 1)["error"]["code"], -32050);
    world.finish();
}

#[test]
fn without_a_quorum_it_is_said_how_many_answered_and_agreed_as_soon_as_that_is_sure() {
    // One is away and one says something else.
    let mut world = changed(Kind::Tcp, false, |servers| {
        servers[1].opinion = " or so";
        servers[2].up = false;
    });
    let client = world.join(false, json!({}));
    world.call(client, 1, "work", "");
    world.run_for_ms(20);
    let answer = world.answer_of(client, 1);
    assert_eq!(answer["error"]["data"]["code"], UNAVAILABLE);
    assert_eq!(counts(&answer), [2, 2, 1, 2], "{answer}");
    // All three are there, and each says something else.
    world.server_up(2, true);
    world.run_for_ms(100);
    world.servers[2].opinion = " if at all";
    world.call(client, 2, "work", "");
    world.run_for_ms(20);
    assert_eq!(counts(&world.answer_of(client, 2)), [3, 3, 1, 2]);
    world.finish();
}

#[test]
fn where_too_few_are_in_service_none_is_asked() {
    let mut world = changed(Kind::Tcp, true, |servers| {
        servers[0].up = false;
        servers[1].up = false;
    });
    let client = world.join(false, json!({}));
    world.call(client, 1, "work", "");
    world.run_for_ms(5);
    let answer = world.answer_of(client, 1);
    assert_eq!(answer["error"]["data"]["code"], UNAVAILABLE);
    assert_eq!(counts(&answer), [1, 0, 0, 2], "{answer}");
    assert_eq!(all_begun(&world), [0, 0, 0]);
    world.server_up(0, true);
    world.run_for_ms(100);
    world.call(client, 2, "work", "");
    world.run_for_ms(20);
    assert!(succeeded(&world, client, 2), "{}", world.answer_of(client, 2));
    world.finish();
}

#[test]
fn an_endpoint_that_is_still_being_connected_is_waited_for_where_it_decides() {
    // Old servers: what is silent is taken for one, so that it is connected at the first attempt.
    for is_modern in [false, true] {
        let mut world = changed(Kind::Tcp, false, |servers| {
            servers[1].opinion = " or so";
            servers[2].is_frozen = true;
        });
        let client = world.join(is_modern, json!({}));
        world.call(client, 1, "work", "");
        world.run_for_ms(50);
        assert_eq!(world.answer_of(client, 1), Value::Null, "it may be the second that says so");
        world.servers[2].is_frozen = false;
        // As long as silence is waited out, until it counts as a server's answer.
        world.run_for_ms(25_000);
        assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
        world.finish();
    }
}

#[test]
fn a_call_for_which_there_is_no_room_at_all_endpoints_is_asked_of_none() {
    let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 1), (Kind::Tcp, 1)]);
    let spread = &mut settings.upstreams[0].spread;
    spread.idempotent = vec![Pattern::parse("work").expect("a pattern")];
    spread.multiplex.clone_from(&spread.idempotent);
    settings.limits.flights_per_link_max = 5;
    settings.limits.flights_max = 5;
    let mut world = world(settings, vec![Server::new(false); 3]);
    let client = world.join(true, json!({}));
    world.call(client, 1, "work", "w");
    world.call(client, 2, "work", "w");
    world.run_for_ms(600);
    assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
    let message = &world.answer_of(client, 2)["error"]["message"];
    assert!(message.as_str().is_some_and(|it| it.contains("flights_max")), "{message}");
    assert_eq!(all_begun(&world), [1, 1, 1]);
    world.finish();
}

#[test]
fn endpoints_that_die_meanwhile_count_as_silent_and_nothing_is_made_again() {
    let mut world = three(Kind::Tcp, true);
    let client = world.join(true, json!({}));
    world.call(client, 1, "work", "w");
    world.run_for_ms(1);
    world.server_up(0, false);
    world.run_for_ms(600);
    assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
    world.call(client, 2, "work", "w w w");
    world.run_for_ms(1);
    world.server_up(1, false);
    world.run_for_ms(20);
    let answer = world.answer_of(client, 2);
    assert_eq!(counts(&answer)[3], 2, "{answer}");
    assert_eq!(cancelled(&world, 2), 1, "the one that is left cannot make it");
    assert_eq!(all_begun(&world), [1, 2, 2]);
    world.finish();
}

#[test]
fn what_does_not_answer_in_time_counts_as_silent() {
    let mut world = three(Kind::Tcp, false);
    let client = world.join(true, json!({}));
    world.servers[0].is_frozen = true;
    world.servers[1].is_frozen = true;
    world.call(client, 1, "work", "");
    let limit = u64::try_from(world.settings.limits.request.as_millis()).expect("a limit");
    world.run_for_ms(limit - 10);
    assert_eq!(world.answer_of(client, 1), Value::Null);
    world.run_for_ms(20);
    assert_eq!(counts(&world.answer_of(client, 1))[1..], [1, 1, 2]);
    world.servers.iter_mut().for_each(|server| server.is_frozen = false);
    world.finish();
}

#[test]
fn nobody_is_asked_back_n_times() {
    for (is_modern, server) in stage::ERAS {
        let mut world = three(Kind::Tcp, server);
        let caps = json!({"sampling": {}, "elicitation": {}, "roots": {}});
        let client = world.join(is_modern, caps);
        // Servers that go by what they are told do without.
        world.call(client, 1, "work", "as ae ar l");
        world.run_for_ms(50);
        let answer = world.answer_of(client, 1);
        assert!(answer["result"]["content"].is_array(), "{answer}");
        // Those that ask all the same are refused: an old one goes on, a modern one's answer is none.
        if !(is_modern && server) {
            world.call(client, 2, "work", "rude");
            world.run_for_ms(50);
            let answer = world.answer_of(client, 2);
            if server {
                assert_eq!(counts(&answer)[1..], [0, 0, 2], "{answer}");
            } else {
                assert!(answer["result"].is_object(), "{answer}");
            }
        }
        for question in ["sampling/createMessage", "elicitation/create", "roots/list"] {
            assert!(world.heard(client, question).is_empty(), "{question}");
        }
        world.finish();
    }
}

#[test]
fn progress_is_told_of_one_endpoint_and_never_goes_back() {
    for (is_modern, server) in stage::ERAS {
        let mut world = three(Kind::Tcp, server);
        let client = world.join(is_modern, json!({}));
        world.call(client, 1, "work", "p p p w w");
        world.run_for_ms(2_000);
        assert!(succeeded(&world, client, 1));
        let told = world.heard(client, "notifications/progress");
        let steps: Vec<u64> =
            told.iter().filter_map(|it| it["params"]["progress"].as_u64()).collect();
        assert_eq!(steps, [1, 2, 3]);
        assert!(told.iter().all(|it| it["params"]["progressToken"] == 1));
        world.finish();
    }
}

#[test]
fn a_cancelled_call_is_cancelled_everywhere_and_not_answered() {
    for (is_modern, server) in stage::ERAS {
        let mut world = three(Kind::Child, server);
        let client = world.join(is_modern, json!({}));
        world.call(client, 1, "work", "w w w w");
        world.run_for_ms(10);
        world.cancel(client, 1);
        world.run_for_ms(20);
        assert_eq!([0, 1, 2].map(|server| cancelled(&world, server)), [1, 1, 1]);
        world.run_for_ms(5_000);
        assert_eq!(world.answer_of(client, 1), Value::Null);
        // Who leaves takes its calls along; `finish` sees whether anything stays.
        world.call(client, 2, "work", "w w w w");
        world.run_for_ms(10);
        world.finish();
    }
}

#[test]
fn execute_tool_is_such_a_call_too_and_its_time_is_the_callers() {
    for (is_modern, server) in stage::ERAS {
        let mut world = three(Kind::Tcp, server);
        let client = world.join(is_modern, json!({}));
        let execute = |world: &mut World, id: u64| {
            let args = json!({"token": marks::token(client, id), "do": "w"});
            let arguments =
                json!({"server": "up0", "tool": "work", "args": args, "timeout_ms": 2_000});
            world.ask_for(
                client,
                id,
                "tools/call",
                json!({"name": "execute_tool", "arguments": arguments}),
            );
        };
        execute(&mut world, 1);
        world.run_for_ms(600);
        assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
        assert_eq!(all_begun(&world), [1, 1, 1]);
        world.servers.iter_mut().for_each(|server| server.is_frozen = true);
        execute(&mut world, 2);
        world.run_for_ms(2_100);
        let answer = world.answer_of(client, 2);
        assert_eq!(counts(&answer), [3, 0, 0, 2], "{answer}");
        assert_eq!(answer["error"]["data"]["tool"], "work");
        world.servers.iter_mut().for_each(|server| server.is_frozen = false);
        world.finish();
    }
}

#[test]
fn a_call_that_should_be_a_task_is_refused() {
    let mut world = three(Kind::Tcp, false);
    let client = world.join(false, json!({}));
    let mut params = world.call_params(client, 1, "work", "");
    params["task"] = json!({"ttl": 1000});
    world.ask_for(client, 1, "tools/call", params);
    world.run_for_ms(20);
    assert_eq!(world.answer_of(client, 1)["error"]["code"], -32602);
    assert_eq!(all_begun(&world), [0, 0, 0]);
    world.finish();
}
