//! What a load found, as plain numbers: the JSON of a record. Not its looks: see `table` and `html`.

use serde::Serialize;

use crate::clock::Window;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::process::Usage;
use crate::tally::{SLICE_NS, Tally};

/// The result of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whom it loaded.
    pub target: String,
    /// Connections.
    pub connections: u32,
    /// Requests outstanding on each.
    pub outstanding: u32,
    /// The mix, as on the command line.
    pub mix: String,
    /// `legacy`, `modern` or `raw`.
    pub era: String,
    /// Length of the longest request, newline included.
    pub request_bytes: usize,
    /// Requests a second that were meant; absent in a closed loop.
    pub rate: Option<f64>,
    /// Seconds measured.
    pub seconds: f64,
    /// Right answers in that time.
    pub answers: u64,
    /// Right answers a second.
    pub messages_per_s: f64,
    /// Latencies in microseconds.
    pub latency_us: Latency,
    /// How evenly connections were served.
    pub fairness: Fairness,
    /// What the server used; absent when no process was named.
    pub server: Option<Server>,
    /// Part of its threads' time that the load generator worked, 0 to 1: near 1 it was the limit itself.
    pub generator_busy: f64,
    /// Cores that neither server nor load generator used but somebody did: near 0, or the figures are not to be trusted.
    /// Absent when no server process was named.
    pub foreign_cores: Option<f64>,
    /// Answers that were parsed, because they equalled none seen before.
    pub parsed: u64,
    /// Notifications received.
    pub notifications: u64,
    /// Requests that fell due and found no free slot to the end.
    pub unsent: u64,
    /// Faults by name; all zero in a good run.
    pub faults: serde_json::Map<String, serde_json::Value>,
    /// The first faults.
    pub samples: Vec<String>,
    /// Latency over percentile: (percentile, microseconds).
    pub curve: Vec<(f64, f64)>,
    /// Answers a second over time, one value for each `slice_ms`, warm-up included.
    pub throughput: Vec<u64>,
    /// Milliseconds of a slice.
    pub slice_ms: u64,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Worst.
    pub max: f64,
    /// Mean.
    pub mean: f64,
}

/// Throughput by connection, in answers inside the window.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Fairness {
    /// The slowest connection.
    pub slowest: u64,
    /// The mean.
    pub mean: f64,
    /// Slowest over mean: 1 is perfectly fair.
    pub slowest_to_mean: f64,
}

/// What the server used.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Server {
    /// CPU nanoseconds a right answer.
    pub cpu_ns_per_message: f64,
    /// Part of one core that it used, 1 is a whole core.
    pub cores: f64,
    /// Resident memory before the first connection, where the process was there before.
    pub rss_before_bytes: Option<u64>,
    /// Resident memory at the end of the window.
    pub rss_bytes: u64,
    /// Growth by connection.
    pub rss_bytes_per_connection: Option<f64>,
}

/// Everybody's use of the machine at a moment.
#[derive(Debug)]
pub struct Look {
    /// The server's.
    pub server: Option<Usage>,
    /// The load generator's.
    pub own: Usage,
    /// All processes' together, in nanoseconds.
    pub machine_ns: u64,
}

/// What was measured from outside.
#[derive(Debug)]
pub struct Measured {
    /// The server before the first connection.
    pub before: Option<Usage>,
    /// When measuring began.
    pub open: Look,
    /// When it ended.
    pub close: Look,
}

#[expect(clippy::cast_precision_loss, reason = "a report shows three digits")]
impl Report {
    /// Adds up a run.
    pub fn new(plan: &Plan, tally: &Tally, window: Window, measured: &Measured) -> Self {
        let seconds = window.seconds();
        let at = |percent: f64| tally.latency.value_at_percentile(percent) as f64 / 1e3;
        let server = measured.open.server.zip(measured.close.server).map(|(open, close)| {
            let cpu_ns = close.cpu_ns.saturating_sub(open.cpu_ns) as f64;
            let growth = |before: Usage| {
                (close.rss_bytes as f64 - before.rss_bytes as f64) / f64::from(plan.connections)
            };
            Server {
                cpu_ns_per_message: cpu_ns / (tally.answers.max(1) as f64),
                cores: cpu_ns / 1e9 / seconds,
                rss_before_bytes: measured.before.map(|before| before.rss_bytes),
                rss_bytes: close.rss_bytes,
                rss_bytes_per_connection: measured.before.map(growth),
            }
        });
        let own_ns = measured.close.own.cpu_ns.saturating_sub(measured.open.own.cpu_ns) as f64;
        let foreign_ns =
            measured.close.machine_ns.saturating_sub(measured.open.machine_ns) as f64 - own_ns;
        let mean = tally.answers as f64 / f64::from(plan.connections);
        let slowest = tally.by_connection.iter().copied().min().unwrap_or(0);
        Self {
            target: plan.target.to_string(),
            connections: plan.connections,
            outstanding: plan.outstanding,
            mix: plan.mix.to_string(),
            era: if plan.raw { "raw".to_owned() } else { plan.era.name().to_owned() },
            request_bytes: plan
                .requests()
                .iter()
                .map(|request| request.bytes.len())
                .max()
                .unwrap_or(0),
            rate: plan.rate,
            seconds,
            answers: tally.answers,
            messages_per_s: tally.answers as f64 / seconds,
            latency_us: Latency {
                p50: at(50.0),
                p90: at(90.0),
                p99: at(99.0),
                p99_9: at(99.9),
                max: tally.latency.max() as f64 / 1e3,
                mean: tally.latency.mean() / 1e3,
            },
            fairness: Fairness {
                slowest,
                mean,
                slowest_to_mean: if mean > 0.0 { slowest as f64 / mean } else { 0.0 },
            },
            server,
            generator_busy: own_ns / 1e9 / seconds / (plan.cores.len().max(1) as f64),
            foreign_cores: server
                .map(|server| foreign_ns / 1e9 / seconds - server.cores)
                .map(|cores| cores.max(0.0)),
            parsed: tally.parsed,
            notifications: tally.notifications,
            unsent: tally.unsent,
            faults: Fault::ALL
                .iter()
                .map(|fault| (fault.name().to_owned(), tally.faults[*fault as usize].into()))
                .collect(),
            samples: tally.samples.clone(),
            curve: curve(tally),
            throughput: tally
                .slices
                .iter()
                .map(|count| count * (1_000_000_000 / SLICE_NS))
                .collect(),
            slice_ms: SLICE_NS / 1_000_000,
        }
    }

    /// All faults together.
    pub fn faults_sum(&self) -> u64 {
        self.faults.values().filter_map(serde_json::Value::as_u64).sum()
    }

    /// Whether every answer was right, and there was one.
    pub fn is_right(&self) -> bool {
        self.faults_sum() == 0 && self.answers > 0
    }
}

/// Latency by percentile, denser where it rises.
#[expect(clippy::cast_precision_loss, reason = "a curve shows three digits")]
fn curve(tally: &Tally) -> Vec<(f64, f64)> {
    let mut curve: Vec<(f64, f64)> = tally
        .latency
        .iter_quantiles(5)
        .map(|value| (value.quantile_iterated_to() * 100.0, value.value_iterated_to() as f64 / 1e3))
        .collect();
    curve.dedup_by(|next, last| (next.0 - last.0).abs() < f64::EPSILON);
    curve
}
