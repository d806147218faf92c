//! Trouble: servers that die and come back, and who notices; limits, and what they must not break.
//! Times are virtual and therefore exact.

use serde_json::{Value, json};

use crate::server::{AtDiscover, Server};
use crate::stage::{Kind, one, settings, world};

const UNAVAILABLE: &str = "SERVER_UNAVAILABLE";

#[test]
fn a_dying_server_costs_only_its_own_flights_one_error_each() {
    for is_modern in [false, true] {
        let servers = vec![Server::new(is_modern), Server::new(is_modern)];
        let mut world = world(settings(&[Kind::Tcp, Kind::Child]), servers);
        let client = world.join(false, json!({}));
        for id in 1..=5 {
            world.call(client, id, "u0__work", "w w");
            world.call(client, id + 10, "u1__work", "w w");
        }
        world.run_for_ms(20);
        world.server_up(0, false);
        world.run_for_ms(20);
        for id in 1..=5 {
            assert_eq!(world.answer_of(client, id)["error"]["data"]["code"], UNAVAILABLE);
            assert!(world.answer_of(client, id + 10).is_null());
        }
        world.run_for_ms(2_000);
        for id in 11..=15 {
            assert!(world.answer_of(client, id)["result"].is_object());
        }
        world.server_up(0, true);
        world.run_for_ms(200);
        world.finish();
    }
}

#[test]
fn a_server_behind_tcp_is_ready_within_100_ms_of_being_able_to() {
    for is_modern in [false, true] {
        let mut world = one(Server::new(is_modern));
        let client = world.join(true, json!({}));
        for round in 0..20 {
            world.server_up(0, false);
            // Whatever the phase of the redial is when it comes back.
            world.run_for_ms(1_000 + 7 * round);
            world.server_up(0, true);
            world.run_for_ms(100);
            world.call(client, round, "work", "");
            world.run_for_ms(20);
            let answer = world.answer_of(client, round);
            assert!(answer["result"].is_object(), "round {round}: {answer}");
        }
        world.finish();
    }
}

#[test]
fn a_child_that_dies_is_started_again_at_once_and_one_that_keeps_dying_ever_more_slowly() {
    let mut world = world(settings(&[Kind::Child]), vec![Server::new(true)]);
    world.run_for_ms(5_000);
    let conn = world.open_conns(0)[0];
    let died = world.now;
    world.conn_ends(conn, true);
    world.run_for_ms(50);
    let again = *world.servers[0].dialled_at.last().unwrap_or(&0);
    assert!(again >= died && again - died < 3_000, "{} us later", again - died);
    world.run_for_ms(5_000);
    world.servers[0].dies_at_once = true;
    world.servers[0].dialled_at.clear();
    let conn = world.open_conns(0)[0];
    world.conn_ends(conn, true);
    world.run_for_ms(120_000);
    let starts = world.servers[0].dialled_at.clone();
    assert!((8..=60).contains(&starts.len()), "started {} times in two minutes", starts.len());
    let last = starts[starts.len() - 1] - starts[starts.len() - 2];
    assert!(last >= 2_000_000, "the last pause was {last} us");
    world.servers[0].dies_at_once = false;
    world.run_for_ms(20_000);
    let client = world.join(true, json!({}));
    world.call(client, 1, "work", "");
    world.run_for_ms(50);
    assert!(world.answer_of(client, 1)["result"].is_object());
    world.finish();
}

#[test]
fn a_legacy_server_is_found_out_however_it_takes_the_probe() {
    for at_discover in [AtDiscover::Refuses, AtDiscover::Dies, AtDiscover::Ignores] {
        let mut server = Server::new(false);
        server.at_discover = at_discover;
        let mut world = one(server);
        world.run_for_ms(11_000);
        let client = world.join(true, json!({}));
        world.call(client, 1, "work", "");
        world.run_for_ms(50);
        assert!(world.answer_of(client, 1)["result"].is_object(), "{at_discover:?}");
        world.finish();
    }
}

#[test]
fn a_modern_server_that_dies_while_it_is_probed_is_not_taken_for_legacy() {
    let mut server = Server::new(true);
    server.dies_at_once = true;
    let mut world = one(server);
    world.servers[0].dies_at_once = false;
    world.run_for_ms(300);
    let client = world.join(true, json!({}));
    world.call(client, 1, "work", "");
    world.run_for_ms(50);
    let answer = world.answer_of(client, 1);
    assert!(answer["result"].is_object(), "{answer}");
    world.finish();
}

/// A client watches, and then gets a connection of its own to the server, or loses it.
fn watches(caps: Value, and_then: impl Fn(&mut crate::world::World, usize)) {
    for is_modern in [false, true] {
        let mut world = one(Server::new(is_modern));
        let client = world.join(false, caps.clone());
        world.ask_for(client, 1, "resources/subscribe", json!({"uri": "res://sub/1"}));
        world.run_for_ms(50);
        and_then(&mut world, client);
        world.run_for_ms(500);
        let before = world.heard(client, "notifications/resources/updated").len();
        world.server_updates(0, "res://sub/1");
        world.run_for_ms(50);
        let updates = world.heard(client, "notifications/resources/updated").len();
        assert_eq!(updates, before + 1, "modern server: {is_modern}");
        world.finish();
    }
}

#[test]
fn a_subscription_outlives_the_change_to_an_own_connection() {
    watches(json!({}), |world, client| {
        world.ask_for(client, 2, "logging/setLevel", json!({"level": "info"}));
        world.call(client, 3, "work", "");
    });
}

#[test]
fn a_subscription_outlives_the_death_of_an_own_connection() {
    watches(json!({"roots": {}}), |world, _| {
        for conn in world.open_conns(0) {
            if world.conns[conn].owner.is_some() {
                world.conn_ends(conn, true);
            }
        }
    });
}

#[test]
fn a_subscription_outlives_its_server() {
    watches(json!({}), |world, _| {
        world.server_up(0, false);
        world.run_for_ms(300);
        world.server_up(0, true);
    });
}

#[test]
fn a_listen_stream_that_the_upstream_ends_is_opened_again() {
    let mut world = one(Server::new(true));
    let conn = world.open_conns(0)[0];
    let (id, _) = world.conns[conn].listens.pop().expect("the gateway listens");
    world.conns[conn].errands -= 1;
    world.conn_answers(conn, &id, &json!({"resultType": "complete"}));
    world.run_for_ms(500);
    assert!(world.conns[conn].listens.is_empty(), "not so soon");
    world.run_for_ms(1_000);
    assert_eq!(world.conns[conn].listens.len(), 1);
    world.finish();
}

#[test]
fn a_client_with_all_its_flights_used_up_can_still_answer() {
    for is_modern in [false, true] {
        let mut settings = settings(&[Kind::Tcp]);
        settings.limits.flights_per_link_max = 2;
        let mut world = world(settings, vec![Server::new(is_modern)]);
        let client = world.join(false, json!({"roots": {}}));
        world.call(client, 1, "work", "ar");
        world.call(client, 2, "work", "ar");
        world.run_for_ms(100);
        let questions = world.heard(client, "roots/list");
        questions.iter().for_each(|question| world.reply(client, question));
        world.run_for_ms(100);
        for id in 1..=2 {
            assert!(world.answer_of(client, id)["result"].is_object(), "modern: {is_modern}, {id}");
        }
        world.finish();
    }
}

#[test]
fn built_in_calls_count_as_flights() {
    let mut settings = settings(&[Kind::Builtin]);
    settings.limits.flights_per_link_max = 3;
    let mut world = world(settings, vec![Server::new(true)]);
    let client = world.join(true, json!({}));
    for id in 0..10 {
        world.ask_for(client, id, "tools/call", json!({"name": "sleep", "arguments": {"ms": 500}}));
    }
    world.run_for_ms(100);
    assert_eq!(world.shards[0].gateway.flights(), 3);
    world.run_for_ms(5_000);
    for id in 0..10 {
        assert!(world.answer_of(client, id)["result"].is_object());
    }
    world.finish();
}

#[test]
fn a_listen_in_a_batch_does_not_hold_the_others_back() {
    let mut world = one(Server::new(true));
    let client = world.join_as(false, "2025-03-26", json!({}));
    let listen = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
    "notifications": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    world.client_writes(client, &json!([listen, ping]).to_string());
    world.run_for_ms(50);
    let batch = world.clients[client].heard.last().cloned().unwrap_or_default();
    assert_eq!(batch.as_array().map(Vec::len), Some(2), "{batch}");
    world.finish();
}

#[test]
fn a_gateway_behind_a_gateway_gets_its_own_state_back() {
    let mut server = Server::new(true);
    server.state_prefix = "rg1.";
    let mut world = one(server);
    let client = world.join(true, json!({"roots": {}}));
    let params = world.call_params(client, 1, "work", "ar");
    world.call(client, 1, "work", "ar");
    world.run_for_ms(50);
    world.call_again(client, 1, 2, params);
    world.run_for_ms(50);
    let answer = world.answer_of(client, 2);
    assert!(answer["result"]["content"].is_array(), "{answer}");
    world.finish();
}

#[test]
fn a_server_that_comes_back_is_found_by_other_shards_too() {
    let mut settings = settings(&[Kind::Child]);
    settings.shards = 2;
    let mut world = world(settings, vec![Server::new(false)]);
    let client = world.join(false, json!({}));
    world.clients[client].shard = 0;
    world.run_for_ms(2_000);
    for round in 0..5 {
        let conn = world.open_conns(0)[0];
        world.conn_ends(conn, true);
        world.run_for_ms(2_000);
        world.call(client, round, "work", "");
        world.run_for_ms(50);
        assert!(world.answer_of(client, round)["result"].is_object());
    }
    world.finish();
}

#[test]
fn a_server_that_answers_no_call_is_asked_no_more_until_it_is_tried_again() {
    for is_modern in [false, true] {
        let mut world = one(Server::new(is_modern));
        let client = world.join(true, json!({}));
        for id in 1..=5 {
            world.call(client, id, "work", "hang");
        }
        // All five are given up at once, after the limit `request`.
        world.run_for_ms(30_100);
        for id in 1..=5 {
            assert_eq!(world.answer_of(client, id)["error"]["data"]["code"], "TIMEOUT");
        }
        world.call(client, 6, "work", "");
        world.run_for_ms(20);
        let refused = world.answer_of(client, 6);
        assert_eq!(refused["error"]["data"]["code"], UNAVAILABLE, "{refused}");
        let wait = refused["error"]["data"]["retryAfterMs"].as_u64().unwrap_or_default();
        assert!((29_000..=30_000).contains(&wait), "{refused}");
        world.run_for_ms(wait);
        // Half open: one a second.
        world.call(client, 7, "work", "");
        world.call(client, 8, "work", "");
        world.run_for_ms(20);
        assert!(world.answer_of(client, 7)["result"].is_object());
        assert_eq!(world.answer_of(client, 8)["error"]["data"]["code"], UNAVAILABLE);
        world.run_for_ms(1_000);
        world.call(client, 9, "work", "");
        world.run_for_ms(20);
        // The second answer has closed it.
        for id in 10..=20 {
            world.call(client, id, "work", "");
        }
        world.run_for_ms(20);
        for id in 9..=20 {
            assert!(world.answer_of(client, id)["result"].is_object(), "call {id}");
        }
        world.finish();
    }
}

#[test]
fn a_server_that_refuses_calls_is_there() {
    let mut world = one(Server::new(true));
    let client = world.join(true, json!({}));
    for id in 1..=10 {
        world.call(client, id, "work", "err");
        world.run_for_ms(20);
        let answer = world.answer_of(client, id);
        assert!(answer["error"]["data"]["code"].is_null(), "call {id}: {answer}");
    }
    world.finish();
}
