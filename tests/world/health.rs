//! Who nobody calls is asked whether it is there, and who does not say so is dialled anew. Led step by step; times are
//! virtual and therefore exact.

use std::time::Duration;

use ringgate::gateway::{Report, Settings};
use serde_json::json;

use crate::server::Server;
use crate::several::{begun, behind_tcp, calls, several, succeeded};
use crate::stage::{self, Kind, world};
use crate::world::World;

const UNAVAILABLE: &str = "SERVER_UNAVAILABLE";

/// One endpoint, with a breaker that opens after a second's wait.
fn one(kind: Kind) -> Settings {
    let mut settings = stage::settings(&[kind]);
    settings.limits.request = Duration::from_secs(1);
    settings
}

fn is_closed_again(world: &World) -> bool {
    world.reports.iter().any(|report| matches!(report, Report::BreakerClosed { .. }))
}

/// Five calls that are never answered.
fn hang_five(world: &mut World, client: usize) {
    for id in 900..905 {
        world.call(client, id, "work", "hang");
    }
    world.run_for_ms(1_100);
    for id in 900..905 {
        assert!(world.answer_of(client, id)["error"].is_object());
    }
}

#[test]
fn an_idle_server_is_asked_every_30_s_and_a_busy_one_is_not() {
    for server in [false, true] {
        let mut world = world(stage::settings(&[Kind::Tcp]), vec![Server::new(server)]);
        let client = world.join(false, json!({}));
        world.run_for_ms(1_000);
        let before = world.servers[0].pings;
        world.run_for_ms(95_000);
        assert_eq!(world.servers[0].pings - before, 3);
        for id in 0..12 {
            world.call(client, id, "work", "");
            world.run_for_ms(10_000);
        }
        assert_eq!(world.servers[0].pings - before, 3);
        world.finish();
    }
}

#[test]
fn who_works_on_a_call_for_long_is_left_in_peace() {
    let mut settings = stage::settings(&[Kind::Child]);
    settings.limits.request = Duration::from_mins(10);
    let mut world = world(settings, vec![Server::new(false)]);
    let client = world.join(true, json!({}));
    world.call(client, 1, "work", "hang");
    world.run_for_ms(5_000);
    let (before, starts) = (world.servers[0].pings, world.servers[0].dialled_at.len());
    world.run_for_ms(200_000);
    assert_eq!((world.servers[0].pings, world.servers[0].dialled_at.len()), (before, starts));
    world.finish();
}

#[test]
fn an_idle_endpoint_that_hangs_is_found_out_before_anybody_calls() {
    for (is_modern, server) in stage::ERAS {
        let mut world = behind_tcp(&[1, 1], server);
        let client = world.join(is_modern, json!({}));
        world.servers[0].is_frozen = true;
        world.run_for_ms(36_000);
        assert_eq!(calls(&mut world, client, 0, 10), [0, 10]);
        world.servers[0].is_frozen = false;
        // A dial that hangs must end first: its handshake has the time of the limit connect.
        world.run_for_ms(31_000);
        assert_eq!(calls(&mut world, client, 20, 10), [5, 5]);
        world.finish();
    }
}

#[test]
fn a_child_that_hangs_is_started_again() {
    for server in [false, true] {
        let mut world = world(one(Kind::Child), vec![Server::new(server)]);
        let client = world.join(false, json!({}));
        let starts = world.servers[0].dialled_at.len();
        world.servers[0].is_frozen = true;
        world.run_for_ms(34_000);
        assert_eq!(world.servers[0].dialled_at.len(), starts);
        world.servers[0].is_frozen = false;
        world.run_for_ms(2_000);
        assert!(world.servers[0].dialled_at.len() > starts);
        world.call(client, 1, "work", "");
        world.run_for_ms(20);
        assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
        world.finish();
    }
}

#[test]
fn when_calls_hang_a_dead_connection_is_reset_and_the_next_closes_the_breaker() {
    for server in [false, true] {
        let mut world = world(one(Kind::Tcp), vec![Server::new(server)]);
        let client = world.join(true, json!({}));
        world.servers[0].is_frozen = true;
        hang_five(&mut world, client);
        world.call(client, 1, "work", "");
        world.run_for_ms(1);
        assert_eq!(world.answer_of(client, 1)["error"]["data"]["code"], UNAVAILABLE, "it is open");
        // As if it had been started again while nobody looked.
        world.servers[0].is_frozen = false;
        world.run_for_ms(5_100);
        assert!(is_closed_again(&world), "{:?}", world.reports);
        world.call(client, 2, "work", "");
        world.run_for_ms(20);
        assert!(succeeded(&world, client, 2), "{}", world.answer_of(client, 2));
        world.finish();
    }
}

#[test]
fn a_breaker_that_no_call_tries_is_closed_by_the_health_check() {
    for server in [false, true] {
        let mut world = world(one(Kind::Tcp), vec![Server::new(server)]);
        let client = world.join(true, json!({}));
        hang_five(&mut world, client);
        world.run_for_ms(29_000);
        assert!(!is_closed_again(&world));
        world.run_for_ms(5_000);
        assert!(is_closed_again(&world), "{:?}", world.reports);
        world.finish();
    }
}

#[test]
fn an_endpoint_whose_calls_hang_gets_none_while_its_breaker_is_open_and_its_share_after() {
    let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 2)]);
    settings.limits.request = Duration::from_secs(1);
    let mut world = world(settings, vec![Server::new(true); 2]);
    let client = world.join(false, json!({}));
    hang_five(&mut world, client);
    assert_eq!(begun(&world, 0), 5);
    assert_eq!(calls(&mut world, client, 0, 5), [0, 5], "no call is spent on trying");
    world.run_for_ms(34_000);
    assert_eq!(calls(&mut world, client, 10, 5), [5, 0]);
    world.finish();
}
