//! What a row of a suite found against its bar. Bars stand with the rows, in `suite`; how they are measured, too.

use serde::Serialize;

use crate::report::Report;
use crate::table::{align, count, micros};

/// A floor that leaves its core idle for more than this was held up by the load: then CPU a message decides.
const SATURATED_CORES: f64 = 0.85;
/// Others that use more of the machine than this spoil a figure.
const FOREIGN_CORES: f64 = 0.10;
/// The slowest connection gets at least this part of the mean.
const FAIR: f64 = 0.5;
/// p99.9 stays under this many times p50.
const TAIL: f64 = 5.0;

/// What stands in place of a figure when the row could not be run.
pub const NOT_MEASURED: &str = "not measured";

/// A row of a suite.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What was measured.
    pub what: String,
    /// The floor's figure, where there is a floor.
    pub floor: String,
    /// The gateway's figure.
    pub gateway: String,
    /// Gateway over floor: 1 is as good as the floor.
    pub ratio: Option<f64>,
    /// The same by CPU a message.
    pub cpu_ratio: Option<f64>,
    /// What must be reached.
    pub bar: String,
    /// Whether it is; absent without a bar.
    pub reached: Option<bool>,
    /// What else a reader must know.
    pub note: String,
}

impl Verdict {
    /// A gateway beside the floor, with the least ratio that is good.
    pub fn speed(what: String, floor: &Report, gateway: &Report, bar: Option<f64>) -> Self {
        let ratio = gateway.messages_per_s / floor.messages_per_s;
        let servers = floor.server.zip(gateway.server);
        let cpu_ratio =
            servers.map(|(floor, gateway)| floor.cpu_ns_per_message / gateway.cpu_ns_per_message);
        let held_up = servers.filter(|(floor, _)| floor.cores < SATURATED_CORES).and(cpu_ratio);
        let mut note = notes(gateway);
        note.extend(crowd([floor, gateway]));
        if held_up.is_some() {
            note.push(format!(
                "floor held up by the load{}",
                if bar.is_some() { ": judged by CPU" } else { "" }
            ));
        }
        let figure = |report: &Report| {
            let cpu = report
                .server
                .map_or(String::new(), |server| format!(" {:.0} ns", server.cpu_ns_per_message));
            format!("{}/s{cpu}", count(report.messages_per_s))
        };
        Self {
            what,
            floor: figure(floor),
            gateway: figure(gateway),
            ratio: Some(ratio),
            cpu_ratio,
            bar: bar.map_or_else(|| "–".to_owned(), |bar| format!("≥ {bar:.2} × floor")),
            reached: bar.map(|bar| gateway.is_right() && held_up.unwrap_or(ratio) >= bar),
            note: note.join("; "),
        }
    }

    /// Fairness and tail of a pipelined run.
    pub fn even(what: String, gateway: &Report) -> Self {
        let tail = gateway.latency_us.p99_9 / gateway.latency_us.p50;
        let fair = gateway.fairness.slowest_to_mean;
        Self {
            what,
            floor: "–".to_owned(),
            gateway: format!("slowest {fair:.2}, p99.9 {tail:.1} × p50"),
            ratio: None,
            cpu_ratio: None,
            bar: format!("≥ {FAIR:.2}, < {TAIL:.0} ×"),
            reached: Some(gateway.is_right() && fair >= FAIR && tail < TAIL),
            note: notes(gateway).join("; "),
        }
    }

    /// A throughput that must be reached as such.
    pub fn throughput(what: String, gateway: &Report, bar: f64) -> Self {
        Self {
            what,
            floor: "–".to_owned(),
            gateway: format!("{}/s", count(gateway.messages_per_s)),
            ratio: None,
            cpu_ratio: None,
            bar: format!("≥ {}/s", count(bar)),
            reached: Some(gateway.is_right() && gateway.messages_per_s >= bar),
            note: notes(gateway).join("; "),
        }
    }

    /// Events to streams: what a whole core of the server would deliver, with what it must.
    pub fn events(what: String, floor: &Report, gateway: &Report, bar: Option<f64>) -> Self {
        let per_core =
            |report: &Report| report.server.map_or(0.0, |server| 1e9 / server.cpu_ns_per_message);
        let figure = |report: &Report| {
            let cores = report.server.map_or(0.0, |server| server.cores);
            format!("{}/s a core, {cores:.2} cores", count(per_core(report)))
        };
        let mut note = notes(gateway);
        note.extend(crowd([floor, gateway]));
        Self {
            what,
            floor: figure(floor),
            gateway: figure(gateway),
            ratio: Some(gateway.messages_per_s / floor.messages_per_s),
            cpu_ratio: Some(per_core(gateway) / per_core(floor)),
            bar: bar.map_or_else(|| "–".to_owned(), |bar| format!("≥ {}/s a core", count(bar))),
            reached: bar.map(|bar| gateway.is_right() && per_core(gateway) >= bar),
            note: note.join("; "),
        }
    }

    /// CPU that the gateway spends on a message, in microseconds, with what it may be at most. Cores that others used are not
    /// judged: the upstream is among them.
    pub fn cost(what: String, floor: &Report, gateway: &Report, bar_us: Option<f64>) -> Self {
        let cpu_us = |report: &Report| {
            report.server.map_or(f64::NAN, |server| server.cpu_ns_per_message / 1e3)
        };
        let figure = |report: &Report| {
            format!("{}/s {:.1} µs", count(report.messages_per_s), cpu_us(report))
        };
        Self {
            what,
            floor: figure(floor),
            gateway: figure(gateway),
            ratio: Some(gateway.messages_per_s / floor.messages_per_s),
            cpu_ratio: Some(cpu_us(floor) / cpu_us(gateway)),
            bar: bar_us.map_or_else(|| "–".to_owned(), |bar_us| format!("≤ {bar_us:.0} µs of CPU")),
            reached: bar_us.map(|bar_us| gateway.is_right() && cpu_us(gateway) <= bar_us),
            note: notes(gateway).join("; "),
        }
    }

    /// What the median call takes longer through the gateway than without it, in microseconds.
    pub fn added(what: String, direct: &Report, through: &Report, bar_us: f64) -> Self {
        let added_us = through.latency_us.p50 - direct.latency_us.p50;
        Self {
            what,
            floor: format!("p50 {} without", micros(direct.latency_us.p50)),
            gateway: format!("p50 {} with", micros(through.latency_us.p50)),
            ratio: None,
            cpu_ratio: None,
            bar: format!("≤ {bar_us:.0} µs more"),
            reached: Some(direct.is_right() && through.is_right() && added_us <= bar_us),
            note: notes(through).join("; "),
        }
    }

    /// Memory for each idle connection, in bytes.
    pub fn memory(what: String, bytes: f64, bar: f64) -> Self {
        Self {
            what,
            floor: "–".to_owned(),
            gateway: format!("{bytes:.0} B"),
            ratio: None,
            cpu_ratio: None,
            bar: format!("≤ {bar:.0} B"),
            reached: Some(bytes <= bar),
            note: String::new(),
        }
    }

    /// p99 of a load beside idle connections, against p99 without them; `bar` is what noise may add.
    pub fn calm(what: String, without: &Report, with: &Report, bar: f64) -> Self {
        let ratio = with.latency_us.p99 / without.latency_us.p99;
        Self {
            what,
            floor: format!("p99 {} without", micros(without.latency_us.p99)),
            gateway: format!("p99 {} with", micros(with.latency_us.p99)),
            ratio: Some(ratio),
            cpu_ratio: None,
            bar: format!("≤ {bar:.2} ×"),
            reached: Some(with.is_right() && without.is_right() && ratio <= bar),
            note: notes(with).join("; "),
        }
    }

    /// A row that could not be measured.
    pub fn failed(what: String, why: String) -> Self {
        Self {
            what,
            floor: "–".to_owned(),
            gateway: NOT_MEASURED.to_owned(),
            ratio: None,
            cpu_ratio: None,
            bar: "–".to_owned(),
            reached: Some(false),
            note: why,
        }
    }
}

/// Wrong answers come before any figure.
fn notes(report: &Report) -> Vec<String> {
    if report.is_right() {
        return Vec::new();
    }
    let faults = report
        .faults
        .iter()
        .filter(|(_, count)| **count != 0)
        .map(|(name, count)| format!("{name} {count}"));
    vec![format!("WRONG ANSWERS: {}", faults.collect::<Vec<_>>().join(", "))]
}

/// Whether somebody else had so much of the machine that figures cannot be trusted.
fn crowd(reports: [&Report; 2]) -> Option<String> {
    let foreign = reports.iter().filter_map(|report| report.foreign_cores).fold(0.0, f64::max);
    (foreign > FOREIGN_CORES).then(|| format!("others used {foreign:.2} cores: not to be trusted"))
}

/// The rows as a table.
pub fn table(verdicts: &[Verdict]) -> String {
    let head =
        ["what", "floor", "gateway", "ratio", "by CPU", "bar", "", ""].map(str::to_owned).to_vec();
    let ratio = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let mut rows = vec![head];
    rows.extend(verdicts.iter().map(|verdict| {
        let reached = match verdict.reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "–",
        };
        vec![
            verdict.what.clone(),
            verdict.floor.clone(),
            verdict.gateway.clone(),
            ratio(verdict.ratio),
            ratio(verdict.cpu_ratio),
            verdict.bar.clone(),
            reached.to_owned(),
            verdict.note.clone(),
        ]
    }));
    align(&rows)
}
