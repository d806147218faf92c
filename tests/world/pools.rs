//! Pools of shared connections: when there is one more, when one fewer, and that nobody notices. Led step by step.

use ringgate::gateway::Settings;
use ringgate::gateway::settings::Pool;
use serde_json::json;

use crate::server::Server;
use crate::several::succeeded;
use crate::stage::{self, Kind, world};
use crate::world::World;

/// An upstream with a pool whose lanes hold ten calls each.
fn pooled(kind: Kind, min: usize, max: usize) -> Settings {
    let mut settings = stage::settings(&[kind]);
    settings.upstreams[0].spread.pool = Pool { min, max };
    settings.limits.lane_flights = 10;
    settings
}

/// Begins calls that take a second, one after the other.
fn begin(world: &mut World, client: usize, ids: std::ops::Range<u64>) {
    for id in ids {
        world.call(client, id, "work", "w w");
        world.run_for_ms(5);
    }
}

fn all_succeed(world: &World, client: usize, ids: std::ops::Range<u64>) {
    for id in ids {
        assert!(succeeded(world, client, id), "call {id}: {}", world.answer_of(client, id));
    }
}

#[test]
fn above_four_fifths_there_is_one_more_and_never_more_than_the_most() {
    for (is_modern, server) in stage::ERAS {
        let mut world = world(pooled(Kind::Tcp, 1, 3), vec![Server::new(server)]);
        let client = world.join(is_modern, json!({}));
        begin(&mut world, client, 0..8);
        assert_eq!(world.open_conns(0).len(), 1, "8 of 10 are not above 0.8");
        begin(&mut world, client, 8..16);
        assert_eq!(world.open_conns(0).len(), 2);
        begin(&mut world, client, 16..60);
        assert_eq!(world.open_conns(0).len(), 3);
        world.run_for_ms(2_000);
        all_succeed(&world, client, 0..60);
        world.finish();
    }
}

#[test]
fn calls_go_to_the_connection_with_the_fewest() {
    let mut world = world(pooled(Kind::Tcp, 2, 2), vec![Server::new(true)]);
    let client = world.join(false, json!({}));
    begin(&mut world, client, 0..10);
    let conns = world.open_conns(0);
    let begun: Vec<u64> = conns.iter().map(|&conn| world.conns[conn].calls_made).collect();
    assert_eq!(begun, [5, 5]);
    world.run_for_ms(2_000);
    world.finish();
}

#[test]
fn what_is_not_needed_is_closed_after_a_while_and_dialled_again_when_it_is() {
    for kind in [Kind::Tcp, Kind::Child] {
        let mut world = world(pooled(kind, 1, 3), vec![Server::new(true)]);
        let client = world.join(false, json!({}));
        for round in 0..2 {
            let ids = round * 100..round * 100 + 30;
            begin(&mut world, client, ids.clone());
            assert_eq!(world.open_conns(0).len(), 3, "round {round}");
            world.run_for_ms(2_000);
            all_succeed(&world, client, ids);
            assert_eq!(world.open_conns(0).len(), 3, "round {round}: not at once");
            world.run_for_ms(30 * 60_000);
            assert_eq!(world.open_conns(0).len(), 1, "round {round}");
        }
        world.finish();
    }
}

#[test]
fn a_pool_keeps_its_least_and_a_connection_of_it_that_is_lost_comes_back() {
    for (is_modern, server) in stage::ERAS {
        let mut world = world(pooled(Kind::Tcp, 2, 2), vec![Server::new(server)]);
        let client = world.join(is_modern, json!({}));
        world.run_for_ms(30 * 60_000);
        assert_eq!(world.open_conns(0).len(), 2);
        for at in [0, 1] {
            let conn = world.open_conns(0)[at];
            world.conn_ends(conn, true);
            world.run_for_ms(5);
            world.call(client, at as u64, "work", "");
            world.run_for_ms(100);
            assert!(succeeded(&world, client, at as u64), "the other serves meanwhile");
            assert_eq!(world.open_conns(0).len(), 2);
        }
        world.finish();
    }
}

#[test]
fn another_shards_calls_make_a_pool_of_children_grow_and_it_shrinks_when_both_have_left() {
    for server in [false, true] {
        let mut settings = pooled(Kind::Child, 1, 2);
        settings.shards = 2;
        let mut world = world(settings, vec![Server::new(server)]);
        // The child lives on shard 0.
        let client = world.join_at(1, true, json!({}));
        let here = world.join_at(0, false, json!({}));
        begin(&mut world, client, 0..10);
        assert_eq!(world.open_conns(0).len(), 2);
        world.run_for_ms(2_000);
        all_succeed(&world, client, 0..10);
        begin(&mut world, here, 0..2);
        world.run_for_ms(30 * 60_000);
        assert_eq!(world.open_conns(0).len(), 1);
        begin(&mut world, client, 20..22);
        world.run_for_ms(2_000);
        all_succeed(&world, client, 20..22);
        world.finish();
    }
}
