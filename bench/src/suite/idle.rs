//! What connections cost that do nothing, and whether busy ones notice them.

use std::path::Path;

use super::speed::path;
use super::{Findings, RunLoad, Suite, median};
use crate::failure::Failure;
use crate::idle::{Beginning, Idle, IdleReport, run as run_idle};
use crate::plan::Plan;
use crate::report::Report;
use crate::request::Era;
use crate::server::free_port;
use crate::target::Protocol;
use crate::verdict::Verdict;

/// What idles, and what each may take of the server's memory.
struct Row {
    name: &'static str,
    /// Not over HTTP: over TCP.
    protocol: Option<Protocol>,
    beginning: Beginning,
    bar_bytes: f64,
}

const fn row(name: &'static str, protocol: Option<Protocol>, beginning: Beginning) -> Row {
    Row { name, protocol, beginning, bar_bytes: 2560.0 }
}

const HTTP: Option<Protocol> = Some(Protocol::Http1);
const WEBSOCKET: Option<Protocol> = Some(Protocol::WebSocket);

const ROWS: [Row; 6] = [
    row("bare", None, Beginning::Bare),
    row("legacy session", None, Beginning::Session),
    row("keep-alive", HTTP, Beginning::Exchange),
    row("websocket", WEBSOCKET, Beginning::Bare),
    row("websocket, legacy session", WEBSOCKET, Beginning::Session),
    Row { bar_bytes: 4096.0, ..row("event stream", HTTP, Beginning::Stream) },
];

/// Beside what busy connections are calm.
const CALM: Row = row("calm", None, Beginning::Session);
/// Idle connections must not change p99; two runs of the same differ by this much.
const CALM_BAR: f64 = 1.10;
/// The load beside which connections idle: busy, not queueing.
const CALM_CONNECTIONS: u32 = 64;

/// All rows that are wanted.
pub(super) fn run(suite: &Suite, folder: &Path, load: RunLoad<'_>, found: &mut Findings) {
    for row in ROWS {
        let name = format!("idle memory, {}", row.name);
        if suite.wants(&name) {
            match held(suite, &row, None, folder, load) {
                Ok(report) => {
                    let bytes = report.rss_bytes_per_connection;
                    found.rows.push(Verdict::memory(name, bytes, row.bar_bytes));
                    found.idles.push(report);
                }
                Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
            }
        }
    }
    let name = format!("calm beside {} idle", suite.idle);
    if suite.wants(&name) {
        match calm(suite, folder, load) {
            Ok((without, with, runs)) => {
                found.rows.push(Verdict::calm(name.clone(), &without, &with, CALM_BAR));
                found.reports.push((format!("{name}: without"), without));
                found.reports.push((format!("{name}: with"), with));
                found.idles.extend(runs);
            }
            Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
        }
    }
}

/// On a gateway of its own: memory that an earlier load has left behind would hide what a connection takes.
fn held(
    suite: &Suite,
    row: &Row,
    busy: Option<Plan>,
    folder: &Path,
    load: RunLoad<'_>,
) -> Result<IdleReport, Failure> {
    let gateway = suite.start_gateway(folder, &[])?;
    let target = match row.protocol {
        None => gateway.targets[0].clone(),
        Some(protocol) => gateway.targets[2].over(protocol, path(protocol)),
    };
    let busy =
        busy.map(|plan| Plan { target: target.clone(), server_pid: Some(gateway.pid()), ..plan });
    let (beginning, server_pid) = (row.beginning, gateway.pid());
    run_idle(&Idle { target, connections: suite.idle, beginning, server_pid, busy }, load)
}

fn calm(
    suite: &Suite,
    folder: &Path,
    load: RunLoad<'_>,
) -> Result<(Report, Report, Vec<IdleReport>), Failure> {
    let busy = Plan {
        connections: CALM_CONNECTIONS,
        cores: vec![suite.load_core],
        ..suite.plan(free_port()?, Era::Legacy, 0)
    };
    let runs: Result<Vec<IdleReport>, Failure> =
        (0..suite.repeats).map(|_| held(suite, &CALM, Some(busy.clone()), folder, load)).collect();
    let runs = runs?;
    let p99 = |report: &Report| report.latency_us.p99;
    let without = median(runs.iter().filter_map(|run| run.without.clone()).collect(), p99)?;
    let with = median(runs.iter().filter_map(|run| run.with.clone()).collect(), p99)?;
    Ok((without, with, runs))
}
