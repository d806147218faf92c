//! The simulator: the real gateway on a virtual clock, from a seed. Proves that each request gets
//! exactly one answer, that no answer reaches the wrong asker, that limits hold and that nothing is
//! left behind, in worlds whose links, clients and servers do what links, clients and servers do.
//!
//! `RINGGATE_SEEDS=FROM..TO` says which worlds are lived through (default `0..1000`, with HTTP and with several
//! endpoints `0..400`);
//! `RINGGATE_TRACE=1` prints all that happens, for one seed.
#![allow(
    unreachable_pub,
    clippy::struct_excessive_bools,
    clippy::unused_self,
    clippy::cmp_owned,
    clippy::needless_for_each,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    reason = "a simulator tells what it found; its modules are one program, and its records are flat"
)]

mod call;
mod client;
mod dice;
mod eras;
mod expect;
mod health;
mod http;
mod judge;
mod marks;
mod pipe;
mod pools;
mod quorum;
mod reader;
mod seed;
mod server;
mod several;
mod shape;
mod spread;
mod stage;
mod trace;
mod trouble;
mod world;

use std::panic::AssertUnwindSafe;

use seed::Outcome;
use trace::Trace;

/// `FROM..TO` of the environment.
fn seeds(unless_asked: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let asked = std::env::var("RINGGATE_SEEDS").unwrap_or_default();
    let parts =
        asked.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    parts.map_or(unless_asked, |(from, to)| from..to)
}

/// How the world of a seed is lived through.
type Live = fn(u64, Trace) -> Outcome;

/// One world; a panic in it is a fault like others.
fn live(live: Live, seed: u64, keeps: bool, prints: bool) -> Result<Outcome, String> {
    std::panic::catch_unwind(AssertUnwindSafe(|| live(seed, Trace::new(keeps, prints)))).map_err(
        |panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            text.unwrap_or_else(|| "a panic without words".to_owned())
        },
    )
}

#[test]
fn every_seed_keeps_every_promise() {
    live_through(seed::live, "every_seed", 0..1_000);
}

#[test]
fn every_http_seed_keeps_every_promise() {
    live_through(http::seed::live, "every_http_seed", 0..400);
}

#[test]
fn every_seed_with_several_endpoints_keeps_every_promise() {
    live_through(spread::live, "every_seed_with_several", 0..400);
}

fn live_through(world: Live, test: &str, unless_asked: std::ops::Range<u64>) {
    let seeds = seeds(unless_asked);
    let prints = std::env::var("RINGGATE_TRACE").is_ok_and(|trace| trace == "1");
    let (mut passed, mut failed) = (0u64, 0u64);
    let (mut events, mut answered, mut succeeded, mut cancelled) = (0, 0, 0, 0);
    let (mut resumed, mut forgotten, mut repeated) = (0, 0, 0);
    let mut readers = reader::Readers::default();
    for seed in seeds {
        match live(world, seed, prints, prints) {
            Ok(outcome) if outcome.wrongs.is_empty() => {
                passed += 1;
                events += outcome.events;
                answered += outcome.answered;
                succeeded += outcome.succeeded;
                cancelled += outcome.cancelled;
                resumed += outcome.resumed;
                forgotten += outcome.forgotten;
                repeated += outcome.repeated;
                readers.add(outcome.readers);
            }
            outcome => {
                failed += 1;
                println!("world: seed {seed} failed; replay it with");
                println!(
                    "  RINGGATE_SEEDS={seed}..{} RINGGATE_TRACE=1 cargo test --test world {test} -- --nocapture",
                    seed + 1
                );
                match outcome {
                    Err(panic) => println!("  it panicked: {panic}"),
                    Ok(outcome) => {
                        for (check, what) in &outcome.wrongs {
                            println!("  {check}: {what}");
                        }
                        if failed <= 3
                            && !prints
                            && let Ok(again) = live(world, seed, true, false)
                        {
                            for line in again.trace.tail(40) {
                                println!("    {line}");
                            }
                        }
                    }
                }
            }
        }
    }
    println!(
        "world: {events} events; {answered} answers, {succeeded} of them results; {cancelled} requests cancelled"
    );
    if resumed > 0 {
        println!("world: {resumed} times a stream was resumed, {forgotten} of them too late");
    }
    if readers.blocked > 0 {
        println!("world: {readers:?}");
    }
    if repeated > 0 {
        println!("world: {repeated} times a call was made again");
    }
    println!("world: {passed} seeds passed, {failed} failed");
    assert_eq!(failed, 0, "worlds failed; each is named above");
}

#[test]
fn a_seed_is_the_whole_world() {
    for seed in 0..20 {
        for world in [seed::live, http::seed::live, spread::live] {
            let first =
                live(world, seed, false, false).map(|outcome| (outcome.hash, outcome.events));
            let again =
                live(world, seed, true, false).map(|outcome| (outcome.hash, outcome.events));
            assert_eq!(first, again, "seed {seed} was lived through in two ways");
        }
    }
}
