//! Addresses: how many connections each may open, and that who goes over the rates too often is shut out of every
//! shard for a while, and nobody else.

use std::net::IpAddr;
use std::time::Duration;

use ringgate::gateway::Settings;
use ringgate::gateway::address::Network;
use ringgate::gateway::rate::Rates;
use ringgate::gateway::settings::{EraPin, Target};

use crate::house::{House, upstream};

const RATES: Rates = Rates { messages: 0, all: 0, calls: 5, violations: 20, ..Rates::DEFAULT };

fn house(shards: u16, rates: Rates) -> House {
    let upstreams = vec![upstream("up", "", Target::Builtin { folder: None }, EraPin::Auto)];
    let trusted = vec![Network::parse("10.9.0.0/16").expect("is one")];
    House::with(shards, Settings { upstreams, trusted, rates: Some(rates), ..Settings::default() })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("is one")
}

/// One call of a tool, on a shard; whether it was let through.
fn call(house: &mut House, shard: usize) -> bool {
    let params = r#"{"name":"add","arguments":{"a":1,"b":2}}"#;
    let link = house.modern(shard, 1, "tools/call", params, "{}");
    let answer = house.answer(link);
    if answer.status == Some(429) {
        assert_eq!(answer.header("ratelimit-policy"), Some("\"calls\";q=5;w=1"));
        assert_eq!(answer.header("ratelimit"), Some("\"calls\";r=0;t=1"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    answer.status == Some(200)
}

#[test]
fn an_address_opens_as_many_connections_as_it_may_wherever_they_come_in() {
    for shards in [1, 2, 3_u16] {
        let mut house = house(shards, Rates { violations: 0, ..RATES });
        for _ in 0..3 {
            let ours = [address("192.0.2.1"), address("2001:db8::1"), address("2001:db8::2")];
            let mut open = [0; 3];
            // Twice as many as it may, spread over a second and all shards.
            for n in 0..60 {
                let shard = n % usize::from(shards);
                open[n % 3] += usize::from(house.admit(shard, ours[n % 3]).is_ok());
                house.wait(Duration::from_millis(16));
            }
            let [v4, v6, other] = open;
            assert!((18..=20).contains(&v4), "a full budget, and a second's worth: {v4}");
            assert!((18..=20).contains(&(v6 + other)), "a network of 64 bits is one: {v6} {other}");
            house.wait(Duration::from_secs(2));
        }
        assert!((0..100).all(|_| house.admit(0, address("10.9.1.2")).is_ok()), "a balancer's");
    }
}

#[test]
fn who_goes_over_a_rate_too_often_is_shut_out_of_every_shard_for_a_while() {
    for shards in [1, 3_u16] {
        let mut house = house(shards, RATES);
        let (bad, good) = (address("192.0.2.1"), address("192.0.2.2"));
        house.address = Some(bad);
        let mut refused = 0;
        while house.expelled.is_empty() {
            refused += u32::from(!call(&mut house, refused as usize % usize::from(shards)));
            assert!(refused <= RATES.violations, "it is not shut out");
        }
        assert_eq!(refused, RATES.violations);
        let mut expelled = std::mem::take(&mut house.expelled);
        expelled.sort_unstable();
        assert_eq!(expelled, (0..shards).map(|n| (n.into(), bad)).collect::<Vec<_>>());
        for shard in 0..usize::from(shards) {
            assert_eq!(house.admit(shard, bad), Err(RATES.block));
            assert_eq!(house.admit(shard, good), Ok(()));
        }
        // What it goes on doing on links that are closing does not count again.
        for _ in 0..50 {
            call(&mut house, 0);
        }
        assert_eq!(house.expelled, []);
        house.wait(RATES.block);
        for shard in 0..usize::from(shards) {
            assert_eq!(house.admit(shard, bad), Ok(()));
        }
    }
}

#[test]
fn who_is_refused_now_and_then_is_not_shut_out() {
    let mut house = house(2, RATES);
    house.address = Some(address("192.0.2.1"));
    for _ in 0..20 {
        let mut refused = 0;
        while refused < RATES.violations - 1 {
            refused += u32::from(!call(&mut house, 1));
        }
        house.wait(Duration::from_mins(1));
    }
    assert_eq!(house.expelled, []);
    // Nor is a balancer, whoever is behind it.
    house.address = Some(address("10.9.1.2"));
    for _ in 0..200 {
        call(&mut house, 0);
    }
    assert_eq!(house.expelled, []);
}
