//! What connections cost that do nothing, and whether busy ones notice them.

use std::path::Path;

use super::{Findings, RunLoad, Suite, median};
use crate::failure::Failure;
use crate::idle::{Idle, IdleReport, run as run_idle};
use crate::plan::Plan;
use crate::report::Report;
use crate::request::Era;
use crate::server::free_port;
use crate::verdict::Verdict;

/// Memory of an idle connection, in bytes.
const BAR_BYTES: f64 = 2560.0;
/// Idle connections must not change p99; two runs of the same differ by this much.
const CALM_BAR: f64 = 1.10;
/// The load beside which connections idle: busy, not queueing.
const CALM_CONNECTIONS: u32 = 64;

/// All rows that are wanted.
pub(super) fn run(suite: &Suite, folder: &Path, load: RunLoad<'_>, found: &mut Findings) {
    for introduced in [false, true] {
        let name = format!("idle memory, {}", if introduced { "legacy session" } else { "bare" });
        if suite.wants(&name) {
            match held(suite, introduced, None, folder, load) {
                Ok(report) => {
                    let bytes = report.rss_bytes_per_connection;
                    found.rows.push(Verdict::memory(name, bytes, BAR_BYTES));
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
    introduced: bool,
    busy: Option<Plan>,
    folder: &Path,
    load: RunLoad<'_>,
) -> Result<IdleReport, Failure> {
    let gateway = suite.start_gateway(folder, &[])?;
    let target = gateway.targets[0].clone();
    let busy =
        busy.map(|plan| Plan { target: target.clone(), server_pid: Some(gateway.pid()), ..plan });
    run_idle(
        &Idle { target, connections: suite.idle, introduced, server_pid: gateway.pid(), busy },
        load,
    )
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
        (0..suite.repeats).map(|_| held(suite, true, Some(busy.clone()), folder, load)).collect();
    let runs = runs?;
    let p99 = |report: &Report| report.latency_us.p99;
    let without = median(runs.iter().filter_map(|run| run.without.clone()).collect(), p99)?;
    let with = median(runs.iter().filter_map(|run| run.with.clone()).collect(), p99)?;
    Ok((without, with, runs))
}
