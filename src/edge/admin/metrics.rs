//! Which metrics there are: what was gathered, as families. Labels are what the configuration names or what stands in
//! a list of ours, so that no stranger can make a series.

use super::families::{Family, Kind, Value, seconds};
use super::gather::{Gathered, Whole};
use super::process::Process;
use crate::base::Histogram;
use crate::gateway::Transport;
use crate::gateway::census::{Guarded, Standing};
use crate::gateway::tally::{End, Ends, RATES};
use crate::shard::{Census, KINDS, PACKS, Slow, is_gauge};

use Kind::{Counter, Gauge};

/// Everything.
pub(super) fn families(gathered: &Gathered, process: &Process) -> Vec<Family> {
    let upstreams = gathered.upstreams();
    let mut all = of_http(gathered);
    all.extend(of_tools(&upstreams));
    all.extend(of_gateway(gathered));
    all.extend(of_upstreams(&upstreams));
    all.extend(of_shards(gathered));
    all.extend(of_packing(gathered));
    all.extend(of_meters(gathered));
    all.extend(of_certificates(gathered));
    all.extend(of_process(gathered, process));
    all
}

fn of_http(gathered: &Gathered) -> Vec<Family> {
    let http = gathered.http();
    let mut requests = Family::new(
        "http_requests_total",
        Counter,
        "HTTP requests that were answered, streams at their beginning.",
    );
    for (endpoint, method, status, count) in http.each() {
        let status = if status == 0 { "other".to_owned() } else { status.to_string() };
        requests.push(&[("method", method), ("endpoint", endpoint), ("status", &status)], count);
    }
    let mut times = Family::new(
        "http_request_duration_seconds",
        Kind::Histogram,
        "From a whole request to its answer, or to the head of its stream. What ends in the turn of the loop in which it came took no time.",
    );
    for (endpoint, of) in http.times().filter(|(_, of)| of.count() > 0) {
        times.push(&[("endpoint", endpoint)], of);
    }
    let mut turned_away = Family::new(
        "http_auth_failure_total",
        Counter,
        "HTTP requests without a good key or token, by what was wrong.",
    );
    for (reason, count) in &http.turned_away {
        turned_away.push(&[("reason", reason)], *count);
    }
    let mut over = Family::new(
        "http_rate_limit_exceeded_total",
        Counter,
        "Messages and connections that went over a rate, on any transport.",
    );
    for (rate, count) in RATES.into_iter().zip(gathered.over()) {
        over.push(&[("limit", rate)], count);
    }
    over.push(&[("limit", "connections")], gathered.meter("shut_out"));
    let (requested, answered) = (
        Value::Sum { sum: http.request_bytes, count: http.request_bodies },
        Value::Sum { sum: http.response_bytes, count: http.response_bodies },
    );
    let within = gathered.gateways().map(|gateway| gateway.within).sum::<u64>();
    let connections = ["http", "http2", "websocket"].map(|kind| links(gathered, kind));
    vec![
        requests,
        times,
        Family::new(
            "http_request_size_bytes",
            Kind::Summary,
            "Bodies of requests that were let in.",
        )
        .with(&[], requested),
        Family::new(
            "http_response_size_bytes",
            Kind::Summary,
            "Bodies of answers that are no streams.",
        )
        .with(&[], answered),
        Family::new("http_auth_success_total", Counter, "HTTP requests with a good key or token.")
            .with(&[], http.let_in),
        turned_away,
        Family::new(
            "http_rate_limit_hit_total",
            Counter,
            "Messages that were held against the rates and within them.",
        )
        .with(&[], within),
        over,
        Family::new(
            "http_active_connections",
            Gauge,
            "Open connections of clients over HTTP and WebSocket.",
        )
        .with(&[], connections.iter().sum::<u64>()),
        Family::new(
            "http_request_queue_size",
            Gauge,
            "Requests that wait to be sent to an upstream.",
        )
        .with(&[], gathered.sum(|gateway| gateway.waiting)),
    ]
}

/// What compression came to: plain over packed is the ratio.
fn of_packing(gathered: &Gathered) -> Vec<Family> {
    let ledger = gathered.packed();
    let mut count = Family::new(
        "ringgate_compressed_total",
        Counter,
        "Messages and bodies that came or left compressed.",
    );
    let mut plain = Family::new(
        "ringgate_compressed_plain_bytes_total",
        Counter,
        "Their bytes before they were compressed.",
    );
    let mut packed =
        Family::new("ringgate_compressed_bytes_total", Counter, "Their bytes as they were sent.");
    let mut ratio = Family::new(
        "ringgate_compression_ratio",
        Gauge,
        "Bytes before over bytes as sent, since the start.",
    );
    for (direction, of) in [("in", &ledger.came), ("out", &ledger.left)] {
        for (coding, of) in PACKS.into_iter().zip(of) {
            let labels = [("coding", coding), ("direction", direction)];
            count.push(&labels, of.count);
            plain.push(&labels, of.plain_bytes);
            packed.push(&labels, of.packed_bytes);
            if let Some(value) = of.ratio() {
                ratio.push(&labels, Value::Real(value));
            }
        }
    }
    vec![count, plain, packed, ratio]
}

fn of_tools(upstreams: &[Whole]) -> Vec<Family> {
    let mut calls = Family::new(
        "http_tool_execution_total",
        Counter,
        "Calls of tools, on any transport. An answer with isError is a success: the tool has answered.",
    );
    let mut errors = Family::new(
        "http_tool_execution_errors_total",
        Counter,
        "Calls of tools that were not answered with a result.",
    );
    let mut times = Family::new(
        "http_tool_execution_duration_seconds",
        Kind::Histogram,
        "From a call of a tool to its end.",
    );
    for Whole { census } in upstreams {
        let (name, traffic) = (census.name.as_str(), &census.traffic);
        let good = traffic.calls.of(End::Answered);
        calls.push(&[("upstream", name), ("status", "success")], good);
        calls.push(&[("upstream", name), ("status", "error")], failed(&traffic.calls));
        for end in End::ALL.into_iter().filter(|end| *end != End::Answered) {
            errors.push(&[("upstream", name), ("type", end.name())], traffic.calls.of(end));
        }
        times.push(&[("upstream", name)], &traffic.call_time);
    }
    vec![calls, errors, times]
}

/// How many ended otherwise than with a result.
pub(super) fn failed(ends: &Ends) -> u64 {
    End::ALL.into_iter().filter(|end| *end != End::Answered).map(|end| ends.of(end)).sum()
}

fn of_gateway(gathered: &Gathered) -> Vec<Family> {
    let mut connections = Family::new(
        "ringgate_connections",
        Gauge,
        "Open connections of clients, by how they came.",
    );
    for kind in
        KINDS.into_iter().filter(|kind| !matches!(*kind, "upstream" | "http2_stream" | "other"))
    {
        connections.push(&[("transport", kind)], links(gathered, kind));
    }
    let mut messages = Family::new(
        "ringgate_messages_total",
        Counter,
        "Lines and messages of clients, by transport; over HTTP, requests.",
    );
    for transport in Transport::ALL.into_iter().filter(|it| *it != Transport::Sse) {
        messages.push(&[("transport", transport.name())], message_count(gathered, transport));
    }
    let sum = |name, help, of: fn(&crate::gateway::census::Census) -> usize| {
        Family::new(name, Gauge, help).with(&[], gathered.sum(of))
    };
    let mut all = vec![
        connections,
        messages,
        sum(
            "ringgate_clients",
            "Clients that are served; over HTTP, sessions and exchanges.",
            |it| it.clients,
        ),
        sum("ringgate_sessions", "Sessions of clients before 2026-07-28.", |it| it.sessions),
        sum("ringgate_flights", "Requests under way.", |it| it.flights),
        sum("ringgate_exchanges", "HTTP exchanges that are not over, streams among them.", |it| {
            it.exchanges
        }),
        sum("ringgate_lists_bytes", "Bytes of upstreams' lists that are kept.", |it| {
            it.lists_bytes
        }),
        Family::new("ringgate_draining", Gauge, "1 from the notice before a drain on.")
            .with(&[], gathered.is_draining()),
    ];
    if let Some((taken, lost)) = gathered.spans {
        all.push(
            Family::new(
                "ringgate_spans_exported_total",
                Counter,
                "Requests whose spans the collector took, or did not.",
            )
            .with(&[("outcome", "taken")], taken)
            .with(&[("outcome", "lost")], lost),
        );
    }
    all
}

/// Messages that came by a transport.
pub(super) fn message_count(gathered: &Gathered, transport: Transport) -> u64 {
    if transport == Transport::Http {
        return gathered.meter("requests");
    }
    let of = |census: &Census| census.frames.get(transport as usize).copied().unwrap_or_default();
    gathered.answered().map(of).sum()
}

/// Links of a kind on all shards.
pub(super) fn links(gathered: &Gathered, kind: &str) -> u64 {
    let Some(at) = KINDS.iter().position(|known| *known == kind) else { return 0 };
    gathered.answered().filter_map(|census| census.links.get(at)).sum()
}

fn of_upstreams(upstreams: &[Whole]) -> Vec<Family> {
    let gauge = |name, help| Family::new(name, Gauge, help);
    let mut requests = Family::new(
        "ringgate_upstream_requests_total",
        Counter,
        "Requests of clients by upstream, and how they ended.",
    );
    let mut times = Family::new(
        "ringgate_upstream_answer_seconds",
        Kind::Histogram,
        "From when a request left for an upstream until its answer came; lists that were fetched are in it.",
    );
    let mut ready =
        gauge("ringgate_upstream_ready", "1 if every shard can reach it by one of its endpoints.");
    let mut waiting = gauge("ringgate_upstream_waiting", "Requests that wait to be sent to it.");
    let mut own = gauge(
        "ringgate_upstream_own_lanes",
        "Its connections or children that serve one client each.",
    );
    let mut parked =
        gauge("ringgate_upstream_parked_lanes", "Of those, such as wait for the next client.");
    let mut way_ready = gauge("ringgate_endpoint_ready", "1 if every shard can use it.");
    let mut breaker = gauge(
        "ringgate_endpoint_breaker",
        "0 closed, 1 half open, 2 open: on the shard where it fares worst.",
    );
    let mut lanes = gauge(
        "ringgate_endpoint_lanes",
        "Connections or children that clients share, of all shards.",
    );
    for Whole { census } in upstreams {
        let name = census.name.as_str();
        let label = &[("upstream", name)];
        for end in End::ALL {
            requests.push(&[("upstream", name), ("end", end.name())], census.traffic.ends.of(end));
        }
        times.push(label, &census.traffic.answer_time);
        ready.push(label, census.standing == Standing::Ready);
        waiting.push(label, census.waiting);
        own.push(label, census.own_lanes);
        parked.push(label, census.parked_lanes);
        for (number, way) in census.endpoints.iter().enumerate() {
            let number = number.to_string();
            let label = &[("upstream", name), ("endpoint", number.as_str())];
            way_ready.push(label, way.standing == Standing::Ready);
            let state = match way.guarded {
                Guarded::Closed => 0_u64,
                Guarded::HalfOpen => 1,
                Guarded::Open => 2,
            };
            breaker.push(label, state);
            lanes.push(label, way.lanes);
        }
    }
    vec![requests, times, ready, waiting, own, parked, way_ready, breaker, lanes]
}

fn of_shards(gathered: &Gathered) -> Vec<Family> {
    let gauge = |name, help| Family::new(name, Gauge, help);
    let mut up =
        gauge("ringgate_shard_up", "1 if the shard answered when it was asked for these figures.");
    let mut links = gauge("ringgate_shard_links", "Open links by kind.");
    let mut blocked =
        gauge("ringgate_shard_blocked_links", "Links that do not read what waits for them.");
    let mut backing_up = gauge(
        "ringgate_shard_backing_up_links",
        "Links that are slowed down, because they read too little of what waits for them.",
    );
    let mut given_up = Family::new(
        "ringgate_slow_closed_total",
        Counter,
        "Links that were closed because they did not read, by kind and by the limit that did it.",
    );
    let mut outbox = gauge("ringgate_shard_outbox_bytes", "Bytes that wait to be written.");
    let mut look =
        gauge("ringgate_shard_census_seconds", "How long the shard took to tell these figures.");
    let mut turns = Family::new(
        "ringgate_shard_turn_seconds",
        Kind::Histogram,
        "How long turns of the loop took.",
    );
    for (number, census) in gathered.shards.iter().enumerate() {
        let number = number.to_string();
        let label = &[("shard", number.as_str())];
        up.push(label, census.is_some());
        let Some(census) = census else { continue };
        for (kind, count) in KINDS.into_iter().zip(census.links) {
            links.push(&[("shard", &number), ("kind", kind)], count);
        }
        blocked.push(label, census.blocked);
        backing_up.push(label, census.backing_up);
        for (kind, counts) in KINDS.into_iter().zip(census.given_up) {
            for (slow, count) in Slow::ALL.into_iter().zip(counts) {
                let of = &[("shard", number.as_str()), ("kind", kind), ("limit", slow.name())];
                given_up.push(of, count);
            }
        }
        outbox.push(label, census.outbox_bytes);
        look.push(label, census.took.as_secs_f64());
        turns.push(label, &*census.turns as &Histogram);
    }
    vec![up, links, blocked, backing_up, given_up, outbox, look, turns]
}

/// What each shard's thread shares, as it is called there.
fn of_meters(gathered: &Gathered) -> Vec<Family> {
    let names = gathered.meters.first().into_iter().flatten().map(|(name, _)| *name);
    names
        .enumerate()
        .map(|(at, name)| {
            let mut family = if is_gauge(name) {
                Family::new(
                    format!("ringgate_{name}"),
                    Gauge,
                    "A figure of the shard's meter, see src/shard/meter.rs.",
                )
            } else {
                Family::new(
                    format!("ringgate_{name}_total"),
                    Counter,
                    "A counter of the shard's meter, see src/shard/meter.rs.",
                )
            };
            for (shard, counts) in gathered.meters.iter().enumerate() {
                let count = counts.get(at).map_or(0, |(_, count)| *count);
                family.push(&[("shard", &shard.to_string())], count);
            }
            family
        })
        .collect()
}

/// Nothing where no listener speaks TLS.
fn of_certificates(gathered: &Gathered) -> Option<Family> {
    let mut days = Family::new(
        "ringgate_tls_certificate_days_left",
        Gauge,
        "Whole days until a certificate of a listener expires, or one of its chain; negative when it has.",
    );
    for (name, left) in gathered.certificates() {
        days.push(&[("name", name)], f64::from(i32::try_from(*left).unwrap_or(i32::MAX)));
    }
    (!gathered.certificates().is_empty()).then_some(days)
}

fn of_process(gathered: &Gathered, process: &Process) -> Vec<Family> {
    let mut all = vec![
        Family::new("ringgate_build_info", Gauge, "What this is.").with(
            &[("version", env!("CARGO_PKG_VERSION")), ("target", std::env::consts::ARCH)],
            1_u64,
        ),
        Family::new("ringgate_uptime_seconds", Gauge, "Since the process began.")
            .with(&[], seconds(gathered.micros())),
    ];
    let mut put = |name, kind, help, value: Option<Value>| {
        if let Some(value) = value {
            all.push(Family::new(name, kind, help).with(&[], value));
        }
    };
    put(
        "process_resident_memory_bytes",
        Gauge,
        "Memory in use.",
        process.resident_bytes.map(Value::from),
    );
    put(
        "process_virtual_memory_bytes",
        Gauge,
        "Address space in use.",
        process.virtual_bytes.map(Value::from),
    );
    put("process_open_fds", Gauge, "Open file descriptors.", process.open_fds.map(Value::from));
    put(
        "process_max_fds",
        Gauge,
        "File descriptors that there may be.",
        process.fds_max.map(Value::from),
    );
    put("process_threads", Gauge, "Threads.", process.threads.map(Value::from));
    put(
        "process_cpu_seconds_total",
        Counter,
        "Processor time.",
        process.cpu_seconds.map(Value::from),
    );
    put(
        "process_start_time_seconds",
        Gauge,
        "Start, since 1970-01-01 UTC.",
        process.started.map(Value::from),
    );
    all
}

#[cfg(test)]
mod tests {
    use super::super::families::text;
    use super::*;

    #[test]
    fn a_gateway_whose_shards_do_not_answer_is_told_of_all_the_same() {
        let gathered = Gathered {
            shards: vec![None, None],
            meters: vec![
                vec![("accepted", 3), ("links_open", 1)],
                vec![("accepted", 4), ("links_open", 0)],
            ],
            spans: None,
        };
        let text = text(&families(&gathered, &Process::default()));
        for line in [
            "ringgate_shard_up{shard=\"0\"} 0",
            "ringgate_shard_up{shard=\"1\"} 0",
            "ringgate_accepted_total{shard=\"1\"} 4",
            "ringgate_links_open{shard=\"0\"} 1",
            "http_active_connections 0",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let gathered = Gathered { shards: vec![None], meters: Vec::new(), spans: Some((0, 0)) };
        let text = text(&families(&gathered, &Process::read()));
        let mut names: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
