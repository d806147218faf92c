//! A call that the gateway passes on, HTTP to HTTP: what it costs the gateway, and what it adds to the call. Behind the
//! gateway stands `raw --mode mcp`, which is no part of what is measured: on the load's core where the gateway's CPU is,
//! and on the gateway's where the time of one call is, so that with and without the gateway a call crosses cores once.

use std::ffi::OsString;
use std::path::Path;

use super::speed::path;
use super::{Findings, RunLoad, Suite, median, start_raw};
use crate::args::RawMode;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::report::Report;
use crate::request::Era;
use crate::server::Server;
use crate::target::{Protocol, Target};
use crate::verdict::Verdict;

/// CPU of the gateway for a call of its own era, in microseconds.
const CPU_BAR_US: f64 = 13.0;
/// The load of that bar.
const CONNECTIONS: u32 = 50;
/// What the median call may take longer than without the gateway, in microseconds.
const ADDED_BAR_US: f64 = 30.0;

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// Every client's era against every upstream's; what a bridge costs has no bar.
pub(super) fn run(
    suite: &Suite,
    folder: &Path,
    load: RunLoad<'_>,
    found: &mut Findings,
) -> Result<(), Failure> {
    if !suite.wants("proxied") {
        return Ok(());
    }
    for behind in ERAS {
        let upstream = start_raw(RawMode::Mcp, suite.load_core, folder)?;
        let gateway = before(suite, &upstream, behind, folder)?;
        for era in ERAS {
            let way = format!("{} → {}", era.name(), behind.name());
            let name = format!("proxied {way}, {CONNECTIONS} connections");
            let bar = (era == behind).then_some(CPU_BAR_US);
            match cost(suite, era, &gateway, &name, load) {
                Ok(report) => {
                    found.rows.push(Verdict::cost(name.clone(), &report, bar));
                    found.reports.push((name, report));
                }
                Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
            }
            if era != behind {
                continue;
            }
            let name = format!("proxied {way}, added to one call");
            match added(suite, era, folder, &name, load) {
                Ok((direct, through)) => {
                    let verdict = Verdict::added(name.clone(), &direct, &through, ADDED_BAR_US);
                    found.rows.push(verdict);
                    found.reports.push((format!("{name}: direct"), direct));
                    found.reports.push((format!("{name}: through"), through));
                }
                Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
            }
        }
    }
    Ok(())
}

fn cost(
    suite: &Suite,
    era: Era,
    gateway: &Server,
    name: &str,
    load: RunLoad<'_>,
) -> Result<Report, Failure> {
    let plan = Plan {
        connections: CONNECTIONS,
        cores: vec![suite.load_core],
        ..suite.plan(through(gateway), era, gateway.pid())
    };
    let runs: Result<Vec<Report>, Failure> =
        (0..suite.repeats).map(|_| load(&plan, name)).collect();
    median(runs?, |report| report.server.map_or(f64::MAX, |server| server.cpu_ns_per_message))
}

/// One connection, one call at a time, without the gateway and through it in turn.
fn added(
    suite: &Suite,
    era: Era,
    folder: &Path,
    name: &str,
    load: RunLoad<'_>,
) -> Result<(Report, Report), Failure> {
    let upstream = start_raw(RawMode::Mcp, suite.server_core, folder)?;
    let gateway = before(suite, &upstream, era, folder)?;
    let cores = vec![suite.load_core];
    let plans = [
        Plan { cores: cores.clone(), ..suite.plan(url(&upstream), era, upstream.pid()) },
        Plan { cores, ..suite.plan(through(&gateway), era, gateway.pid()) },
    ];
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..suite.repeats {
        for (plan, runs) in plans.iter().zip(&mut runs) {
            runs.push(load(plan, name)?);
        }
    }
    let p50 = |report: &Report| report.latency_us.p50;
    let [direct, through] = runs;
    Ok((median(direct, p50)?, median(through, p50)?))
}

/// A gateway before `upstream`, which speaks `era`.
fn before(suite: &Suite, upstream: &Server, era: Era, folder: &Path) -> Result<Server, Failure> {
    let environment = [
        ("RINGGATE_UPSTREAMS__BENCH__URL", url(upstream).to_string()),
        ("RINGGATE_UPSTREAMS__BENCH__ERA", era.name().to_owned()),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), OsString::from(value)));
    suite.start_gateway(folder, &environment)
}

fn url(upstream: &Server) -> Target {
    upstream.targets[0].over(Protocol::Http1, path(Protocol::Http1))
}

fn through(gateway: &Server) -> Target {
    gateway.targets[2].over(Protocol::Http1, path(Protocol::Http1))
}
