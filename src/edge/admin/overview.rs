//! What the dashboard shows: how it goes now, which is how the figures have changed. Rates are those of the last look,
//! quantiles those of the last ten, so that a quiet gateway has some. The page only draws it.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::families::seconds;
use super::gather::{Gathered, Gatherer, Whole};
use super::metrics::{failed, links, message_count};
use super::process::Process;
use crate::base::Histogram;
use crate::gateway::Transport;
use crate::gateway::census::Guarded;
use crate::gateway::tally::{End, RATES};
use crate::shard::KINDS;

/// Looks that quantiles are of.
const LOOKS: usize = 10;

/// One who looks, second by second.
pub(super) struct Watch<'a> {
    gatherer: &'a Gatherer,
    seen: VecDeque<Gathered>,
    /// Seconds of processor time at the last look.
    cpu: Option<f64>,
}

impl<'a> Watch<'a> {
    pub(super) const fn new(gatherer: &'a Gatherer) -> Self {
        Self { gatherer, seen: VecDeque::new(), cpu: None }
    }

    /// Looks once more: a line of JSON.
    pub(super) fn look(&mut self) -> String {
        let now = self.gatherer.gather();
        let process = Process::read();
        let mut overview = {
            let last = self.seen.back().unwrap_or(&now);
            let first = self.seen.front().unwrap_or(&now);
            overview(&now, last, first, &process)
        };
        let elapsed =
            self.seen.back().map(|last| seconds(now.micros().saturating_sub(last.micros())));
        let used = process.cpu_seconds.zip(self.cpu).map(|(now, before)| now - before);
        // In percent of one core.
        let cpu =
            used.zip(elapsed.filter(|it| *it > 0.0)).map(|(used, elapsed)| used / elapsed * 100.0);
        overview["cpu"] = cpu.into();
        self.cpu = process.cpu_seconds;
        if self.seen.len() >= LOOKS {
            self.seen.pop_front();
        }
        self.seen.push_back(now);
        overview.to_string()
    }
}

/// How it goes `now`, after the `last` look and the `first` that counts.
fn overview(now: &Gathered, last: &Gathered, first: &Gathered, process: &Process) -> Value {
    let elapsed = seconds(now.micros().saturating_sub(last.micros()));
    let rate = |of: &dyn Fn(&Gathered) -> u64| per_second(of(now), of(last), elapsed);
    let messages =
        |of: &Gathered| Transport::ALL.into_iter().map(|it| message_count(of, it)).sum::<u64>();
    let (before, start) = (last.upstreams(), first.upstreams());
    let upstreams = now.upstreams();
    let mut calls = Histogram::default();
    let upstreams_told: Vec<Value> = upstreams
        .iter()
        .map(|whole| {
            let find = |all: &[Whole]| {
                all.iter()
                    .find(|it| it.census.name == whole.census.name)
                    .map(|it| it.census.clone())
            };
            let is_same = find(&start).map(|it| it.traffic.answer_time).unwrap_or_default();
            let since = whole.census.traffic.answer_time.since(&is_same);
            calls.add(&since);
            let traffic = find(&before).map(|it| it.traffic).unwrap_or_default();
            let ended =
                |it: &crate::gateway::tally::Traffic| it.ends.of(End::Answered) + failed(&it.ends);
            let census = &whole.census;
            json!({
                "name": census.name,
                "standing": census.standing.name(),
                "waiting": census.waiting,
                "ownLanes": census.own_lanes,
                "perSecond": per_second(ended(&census.traffic), ended(&traffic), elapsed),
                "failed": failed(&census.traffic.ends),
                "p50": quantile(&since, 0.5),
                "p99": quantile(&since, 0.99),
                "endpoints": census.endpoints.iter().map(|way| json!({
                    "standing": way.standing.name(),
                    "breaker": breaker(way.guarded),
                    "lanes": way.lanes,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let connections: Vec<Value> = KINDS
        .into_iter()
        .filter(|kind| !matches!(*kind, "upstream" | "http2_stream" | "other"))
        .map(|kind| json!({"transport": kind, "open": links(now, kind)}))
        .collect();
    let mut limits: Vec<Value> = RATES
        .into_iter()
        .zip(now.over())
        .map(|(name, count)| json!({"name": format!("rate: {name}"), "count": count}))
        .collect();
    let denied: u64 = upstreams.iter().map(|whole| whole.census.traffic.ends.of(End::Denied)).sum();
    limits.extend(
        [
            ("rate: connections", now.meter("shut_out")),
            ("denied by policy", denied),
            ("no good key", now.meter("unauthorized")),
            ("too many connections", now.meter("refused")),
            ("read too slowly", now.meter("closed_slow")),
            ("faulty requests", now.meter("faults")),
            ("audit lines lost", now.meter("audit_lost")),
            ("log lines left out", now.meter("log_left_out")),
        ]
        .map(|(name, count)| json!({"name": name, "count": count})),
    );
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": seconds(now.micros()),
        "draining": now.is_draining(),
        "perSecond": {
            "messages": rate(&messages),
            "bytesIn": rate(&|of: &Gathered| of.meter("bytes_in")),
            "bytesOut": rate(&|of: &Gathered| of.meter("bytes_out")),
        },
        "messages": messages(now),
        "latency": {"p50": quantile(&calls, 0.5), "p99": quantile(&calls, 0.99), "count": calls.count()},
        "connections": connections,
        "sessions": now.sum(|gateway| gateway.sessions),
        "clients": now.sum(|gateway| gateway.clients),
        "flights": now.sum(|gateway| gateway.flights),
        "waiting": now.sum(|gateway| gateway.waiting),
        "upstreams": upstreams_told,
        "limits": limits,
        "certificates": certificates(now),
        "shards": shards(now, last, first, elapsed),
        "memory": process.resident_bytes,
        "files": process.open_fds,
        "filesMax": process.fds_max,
    })
}

fn certificates(now: &Gathered) -> Vec<Value> {
    let all = now.certificates().iter();
    all.map(|(name, days)| json!({"name": name, "days": days})).collect()
}

fn shards(now: &Gathered, last: &Gathered, first: &Gathered, elapsed: f64) -> Vec<Value> {
    let each = now.shards.iter().enumerate().map(|(number, census)| {
        let Some(census) = census else { return json!({"number": number, "up": false}) };
        let before = |of: &Gathered| of.shards.get(number)?.as_ref().map(|it| it.turns.clone());
        let turns = before(last).unwrap_or_default();
        let since = census.turns.since(&before(first).unwrap_or_default());
        json!({
            "number": number,
            "up": true,
            "links": census.links.iter().sum::<u64>(),
            "turns": per_second(census.turns.count(), turns.count(), elapsed),
            "turnP99": quantile(&since, 0.99),
            "outbox": census.outbox_bytes,
            "blocked": census.blocked,
            "backingUp": census.backing_up,
        })
    });
    each.collect()
}

const fn breaker(guarded: Guarded) -> &'static str {
    match guarded {
        Guarded::Closed => "closed",
        Guarded::HalfOpen => "half open",
        Guarded::Open => "open",
    }
}

/// Microseconds, in which an eighth is as good as it gets; `null` of nothing.
fn quantile(times: &Histogram, share: f64) -> Option<f64> {
    times.quantile(share).map(f64::round)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(now: u64, before: u64, elapsed: f64) -> f64 {
    if elapsed <= 0.0 {
        0.0
    } else {
        (now.saturating_sub(before) as f64 / elapsed * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(bytes_in: u64) -> Gathered {
        Gathered { shards: vec![None], meters: vec![vec![("bytes_in", bytes_in)]], spans: None }
    }

    #[test]
    fn the_first_look_has_no_rates_and_a_missing_shard_is_told() {
        let now = gathered(5);
        let told = overview(&now, &now, &now, &Process::default());
        assert_eq!(told["perSecond"]["bytesIn"], 0.0);
        assert_eq!(told["latency"]["p50"], Value::Null);
        assert_eq!(told["shards"][0]["up"], false);
        assert_eq!(told["connections"].as_array().map(Vec::len), Some(6));
    }

    #[test]
    fn a_rate_is_what_came_in_the_time_that_passed() {
        assert_eq!(per_second(30, 10, 2.0).to_bits(), 10.0_f64.to_bits());
        assert_eq!(per_second(30, 10, 0.0).to_bits(), 0.0_f64.to_bits());
        assert_eq!(per_second(1, 5, 1.0).to_bits(), 0.0_f64.to_bits(), "never less than nothing");
    }
}
