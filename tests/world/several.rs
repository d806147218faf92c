//! Several endpoints of one upstream: who gets which call, what becomes of calls when an endpoint dies, and what
//! stays together. Led step by step; times are virtual and therefore exact.

use std::time::Duration;

use ringgate::gateway::policy::Pattern;
use ringgate::gateway::settings::{Endpoint, Rank, Select};
use ringgate::gateway::{Report, Settings};
use serde_json::json;

use crate::marks;
use crate::server::Server;
use crate::stage::{self, Kind, world};
use crate::world::World;

const UNAVAILABLE: &str = "SERVER_UNAVAILABLE";

/// One upstream with endpoints of these kinds, of these priorities.
pub fn several(kinds: &[(Kind, u32)]) -> Settings {
    let of: Vec<Kind> = kinds.iter().map(|(kind, _)| *kind).collect();
    let mut settings = stage::settings(&of);
    let ranks: Vec<Rank> =
        kinds.iter().map(|(_, priority)| Rank { priority: *priority, weight: 1 }).collect();
    let others = settings.upstreams.drain(1..).zip(&ranks[1..]);
    let others = others.map(|(other, &rank)| Endpoint { target: other.target, rank }).collect();
    let upstream = &mut settings.upstreams[0];
    upstream.prefix.clear();
    upstream.spread.others = others;
    upstream.spread.rank = ranks[0];
    settings
}

/// The same on TCP, with servers of this era.
pub fn behind_tcp(priorities: &[u32], is_modern: bool) -> World {
    let kinds: Vec<_> = priorities.iter().map(|&priority| (Kind::Tcp, priority)).collect();
    world(several(&kinds), vec![Server::new(is_modern); priorities.len()])
}

/// How many calls a server has begun, on all its connections.
pub fn begun(world: &World, server: usize) -> u64 {
    let conns = world.conns.iter().filter(|conn| conn.server == server);
    conns.map(|conn| conn.calls_made).sum()
}

/// Makes `count` calls of nothing, one after the other; all succeed. What each server got of them.
pub fn calls(world: &mut World, client: usize, from: u64, count: u64) -> Vec<u64> {
    let before: Vec<u64> = (0..world.servers.len()).map(|server| begun(world, server)).collect();
    for id in from..from + count {
        world.call(client, id, "work", "");
        world.run_for_ms(10);
        let answer = world.answer_of(client, id);
        assert!(answer["result"].is_object(), "call {id}: {answer}");
    }
    (0..world.servers.len()).map(|server| begun(world, server) - before[server]).collect()
}

pub fn succeeded(world: &World, client: usize, id: u64) -> bool {
    world.answer_of(client, id)["result"].is_object()
}

#[test]
fn calls_go_to_each_endpoint_of_a_priority_in_turn() {
    for (is_modern, server) in stage::ERAS {
        let mut world = behind_tcp(&[1, 1, 2, 1], server);
        let client = world.join(is_modern, json!({}));
        assert_eq!(calls(&mut world, client, 0, 30), [10, 10, 0, 10]);
        world.finish();
    }
}

#[test]
fn every_way_to_select_uses_all_that_are_equal() {
    for select in [Select::LeastLoaded, Select::LeastLatency, Select::Weighted, Select::Adaptive] {
        let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 1)]);
        settings.upstreams[0].spread.select = select;
        let mut world = world(settings, vec![Server::new(true); 2]);
        let client = world.join(false, json!({}));
        let got = calls(&mut world, client, 0, 60);
        assert!(got.iter().all(|&got| got >= 10), "{select:?}: {got:?}");
        world.finish();
    }
}

#[test]
fn the_next_priority_serves_while_the_first_cannot_and_no_longer() {
    for (is_modern, server) in stage::ERAS {
        let mut world = behind_tcp(&[1, 2], server);
        let client = world.join(is_modern, json!({}));
        assert_eq!(calls(&mut world, client, 0, 5), [5, 0]);
        world.server_up(0, false);
        world.run_for_ms(5);
        assert_eq!(calls(&mut world, client, 10, 5), [0, 5]);
        world.server_up(0, true);
        world.run_for_ms(100);
        assert_eq!(calls(&mut world, client, 20, 5), [5, 0]);
        world.finish();
    }
}

#[test]
fn an_endpoint_that_is_not_there_at_the_start_costs_nothing_and_gets_its_share_later() {
    let settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 1)]);
    let mut servers = vec![Server::new(false); 2];
    servers[0].up = false;
    let mut world = world(settings, servers);
    let client = world.join(true, json!({}));
    assert_eq!(calls(&mut world, client, 0, 6), [0, 6]);
    world.server_up(0, true);
    world.run_for_ms(100);
    assert_eq!(calls(&mut world, client, 10, 6), [3, 3]);
    world.finish();
}

#[test]
fn when_all_are_gone_it_is_said_and_each_one_alone_brings_it_back() {
    let mut world = behind_tcp(&[1, 2], true);
    let client = world.join(false, json!({}));
    for server in [0, 1] {
        world.server_up(server, false);
    }
    world.run_for_ms(20);
    world.call(client, 1, "work", "");
    world.run_for_ms(10);
    assert_eq!(world.answer_of(client, 1)["error"]["data"]["code"], UNAVAILABLE);
    world.server_up(1, true);
    world.run_for_ms(100);
    assert_eq!(calls(&mut world, client, 10, 2), [0, 2]);
    world.finish();
}

#[test]
fn a_read_that_is_lost_is_made_again_and_a_call_only_if_it_does_no_harm() {
    for (is_modern, server) in stage::ERAS {
        for does_no_harm in [false, true] {
            let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 2)]);
            if does_no_harm {
                let pattern = Pattern::parse("wo*").expect("a pattern");
                settings.upstreams[0].spread.idempotent = vec![pattern];
            }
            let mut world = world(settings, vec![Server::new(server); 2]);
            let client = world.join(is_modern, json!({}));
            world.call(client, 1, "work", "w w");
            let uri = format!("res://do/{}/w+w", marks::token(client, 2));
            world.ask_for(client, 2, "resources/read", json!({"uri": uri}));
            world.run_for_ms(10);
            assert_eq!((begun(&world, 0), begun(&world, 1)), (2, 0));
            world.server_up(0, false);
            world.run_for_ms(2_000);
            assert!(succeeded(&world, client, 2), "{}", world.answer_of(client, 2));
            if does_no_harm {
                assert!(succeeded(&world, client, 1), "{}", world.answer_of(client, 1));
            } else {
                assert_eq!(world.answer_of(client, 1)["error"]["data"]["code"], UNAVAILABLE);
            }
            assert_eq!(begun(&world, 1), 1 + u64::from(does_no_harm));
            world.finish();
        }
    }
}

#[test]
fn a_server_is_believed_about_its_tools_only_where_that_was_said() {
    for (is_modern, server) in stage::ERAS {
        for is_believed in [false, true] {
            let mut settings = several(&[(Kind::Child, 1), (Kind::Child, 2)]);
            settings.upstreams[0].spread.trusts_annotations = is_believed;
            settings.shards = 2;
            let mut servers = vec![Server::new(server); 2];
            servers[0].annotates = true;
            let mut world = world(settings, servers);
            let client = world.join(is_modern, json!({}));
            world.call(client, 1, "work", "w w");
            world.run_for_ms(10);
            let conn = world.open_conns(0)[0];
            world.conn_ends(conn, true);
            world.run_for_ms(2_000);
            assert_eq!(succeeded(&world, client, 1), is_believed, "{}", world.answer_of(client, 1));
            world.finish();
        }
    }
}

#[test]
fn what_is_lost_again_is_made_no_third_time() {
    let mut world = behind_tcp(&[1, 2, 3], true);
    let client = world.join(true, json!({}));
    let uri = format!("res://do/{}/w+w", marks::token(client, 1));
    world.ask_for(client, 1, "resources/read", json!({"uri": uri}));
    for server in [0, 1] {
        world.run_for_ms(10);
        world.server_up(server, false);
    }
    world.run_for_ms(2_000);
    assert_eq!(world.answer_of(client, 1)["error"]["data"]["code"], UNAVAILABLE);
    assert_eq!(begun(&world, 2), 0, "limits.retries is 1");
    world.finish();
}

#[test]
fn a_call_that_does_no_harm_leaves_an_endpoint_that_does_not_answer_in_time_for_another() {
    for (is_modern, server) in stage::ERAS {
        for (does_no_harm, is_alone) in [(true, false), (false, false), (true, true)] {
            let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 2)]);
            assert_eq!(settings.limits.attempt, Duration::from_secs(10));
            if does_no_harm {
                let pattern = Pattern::parse("wo*").expect("a pattern");
                settings.upstreams[0].spread.idempotent = vec![pattern];
            }
            let mut world = world(settings, vec![Server::new(server); 2]);
            let client = world.join(is_modern, json!({}));
            if is_alone {
                world.server_up(1, false);
                world.run_for_ms(10);
            }
            world.servers[0].is_frozen = true;
            world.call(client, 1, "work", "");
            world.run_for_ms(9_900);
            assert!(world.answer_of(client, 1).is_null());
            world.run_for_ms(200);
            let goes_on = does_no_harm && !is_alone;
            assert_eq!(begun(&world, 1), u64::from(goes_on));
            assert_eq!(succeeded(&world, client, 1), goes_on, "{}", world.answer_of(client, 1));
            world.run_for_ms(20_000);
            // Where nobody else could serve it, it had its whole time here.
            let answer = world.answer_of(client, 1);
            assert_eq!(succeeded(&world, client, 1), goes_on, "{answer}");
            assert!(goes_on || answer["error"]["data"]["code"] == "TIMEOUT", "{answer}");
            world.servers[0].is_frozen = false;
            world.run_for_ms(60_000);
            world.finish();
        }
    }
}

#[test]
fn two_endpoints_that_do_not_answer_have_no_more_time_together_than_one() {
    let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 1)]);
    settings.upstreams[0].spread.idempotent = vec![Pattern::parse("*").expect("a pattern")];
    let mut world = world(settings, vec![Server::new(false); 2]);
    let client = world.join(false, json!({}));
    world.call(client, 1, "work", "hang");
    world.run_for_ms(29_900);
    assert_eq!(begun(&world, 0) + begun(&world, 1), 2);
    assert!(world.answer_of(client, 1).is_null());
    world.run_for_ms(200);
    assert_eq!(world.answer_of(client, 1)["error"]["code"], -32004);
    world.finish();
}

#[test]
fn who_reports_progress_is_not_left() {
    let mut settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 1)]);
    settings.upstreams[0].spread.idempotent = vec![Pattern::parse("*").expect("a pattern")];
    let mut world = world(settings, vec![Server::new(false); 2]);
    let client = world.join(false, json!({}));
    world.call(client, 1, "work", "p hang");
    world.run_for_ms(25_000);
    assert_eq!(begun(&world, 0) + begun(&world, 1), 1);
    world.run_for_ms(10_000);
    world.finish();
}

#[test]
fn a_client_with_a_connection_of_its_own_stays_at_its_endpoint() {
    for is_modern in [false, true] {
        let mut world = behind_tcp(&[1, 1], false);
        let client = world.join(is_modern, json!({"sampling": {}}));
        let got = calls(&mut world, client, 0, 10);
        let its = got.iter().position(|&got| got == 10);
        let its = its.unwrap_or_else(|| panic!("all at one endpoint: {got:?}"));
        world.server_up(its, false);
        world.run_for_ms(10);
        let got = calls(&mut world, client, 20, 10);
        assert_eq!(got[1 - its], 10);
        world.server_up(its, true);
        world.run_for_ms(100);
        assert_eq!(calls(&mut world, client, 40, 10)[1 - its], 10, "it stays where it is now");
        world.finish();
    }
}

#[test]
fn watchers_hear_each_update_once_from_one_endpoint_and_from_the_next_when_that_is_gone() {
    for (is_modern, server) in stage::ERAS {
        let mut world = behind_tcp(&[1, 1], server);
        let client = world.join(is_modern, json!({}));
        let uri = "res://sub/1";
        if is_modern {
            let wants = json!({"notifications": {"resourceSubscriptions": [uri]}});
            world.ask_for(client, 1, "subscriptions/listen", wants);
        } else {
            world.ask_for(client, 1, "resources/subscribe", json!({"uri": uri}));
        }
        world.run_for_ms(20);
        let told = |world: &World| world.heard(client, "notifications/resources/updated").len();
        world.server_updates(0, uri);
        world.server_updates(1, uri);
        world.run_for_ms(20);
        assert_eq!(told(&world), 1);
        world.server_up(0, false);
        world.run_for_ms(20);
        world.server_updates(1, uri);
        world.run_for_ms(20);
        assert_eq!(told(&world), 2);
        world.server_up(0, true);
        world.run_for_ms(100);
        world.server_updates(0, uri);
        world.server_updates(1, uri);
        world.run_for_ms(20);
        assert_eq!(told(&world), 3);
        world.finish();
    }
}

#[test]
fn a_changed_list_is_told_once_however_many_endpoints_say_so() {
    for server in [false, true] {
        let mut world = behind_tcp(&[1, 1, 1], server);
        let client = world.join(false, json!({}));
        for server in 0..3 {
            world.server_changes(server, "tools");
        }
        world.run_for_ms(20);
        assert_eq!(world.heard(client, "notifications/tools/list_changed").len(), 1);
        world.finish();
    }
}

#[test]
fn an_endpoint_that_is_another_server_is_reported() {
    let settings = several(&[(Kind::Tcp, 1), (Kind::Tcp, 1)]);
    let mut servers = vec![Server::new(true); 2];
    servers[1].subscribe = false;
    let world = world(settings, servers);
    let differs = world.reports.iter().filter_map(|report| match report {
        Report::EndpointDiffers { upstream, what } => Some((upstream.as_str(), *what)),
        _ => None,
    });
    let differs: Vec<_> = differs.collect();
    assert_eq!(differs.len(), 1, "{differs:?}");
    assert!(differs[0].0.starts_with("up0, endpoint ") && differs[0].1.contains("capabilities"));
    world.finish();
}

#[test]
fn children_of_one_upstream_on_several_shards_are_one_upstream() {
    for server in [false, true] {
        let mut settings = several(&[(Kind::Child, 1), (Kind::Child, 1), (Kind::Tcp, 2)]);
        settings.shards = 2;
        let mut world = world(settings, vec![Server::new(server); 3]);
        let client = world.join(false, json!({}));
        assert_eq!(calls(&mut world, client, 0, 10), [5, 5, 0]);
        let uri = format!("res://do/{}/w+w", marks::token(client, 50));
        world.ask_for(client, 50, "resources/read", json!({"uri": uri}));
        world.run_for_ms(10);
        // Whichever it went to, it comes from the other.
        let at = usize::from(begun(&world, 1) > 5);
        let conn = world.open_conns(at)[0];
        world.conn_ends(conn, true);
        world.run_for_ms(2_000);
        assert!(succeeded(&world, client, 50), "{}", world.answer_of(client, 50));
        world.finish();
    }
}
