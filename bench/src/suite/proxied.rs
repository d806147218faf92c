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
        let upstream = start_raw(RawMode::Mcp, suite.load_core, folder, None)?;
        let gateway = before(suite, &upstream, behind, folder)?;
        let relay = start_raw(RawMode::Relay, suite.server_core, folder, Some(&upstream))?;
        for era in ERAS {
            let way = format!("{} → {}", era.name(), behind.name());
            let name = format!("proxied {way}, {CONNECTIONS} connections");
            let bar = (era == behind).then_some(CPU_BAR_US);
            match cost(suite, era, (&relay, &gateway), &name, load) {
                Ok((floor, gateway)) => {
                    found.rows.push(Verdict::cost(name.clone(), &floor, &gateway, bar));
                    found.reports.push((format!("floor {name}"), floor));
                    found.reports.push((format!("gateway {name}"), gateway));
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

/// Floor and gateway in turn; the median of each by CPU.
fn cost(
    suite: &Suite,
    era: Era,
    (relay, gateway): (&Server, &Server),
    name: &str,
    load: RunLoad<'_>,
) -> Result<(Report, Report), Failure> {
    let plan = |target: Target, pid| Plan {
        connections: CONNECTIONS,
        cores: vec![suite.load_core],
        ..suite.plan(target, era, pid)
    };
    let plans = [plan(url(relay), relay.pid()), plan(through(gateway), gateway.pid())];
    let cpu = |report: &Report| report.server.map_or(f64::MAX, |server| server.cpu_ns_per_message);
    in_turn(suite, &plans, name, load, cpu)
}

/// Runs both plans in turn; the median of each by `key`.
fn in_turn(
    suite: &Suite,
    plans: &[Plan; 2],
    name: &str,
    load: RunLoad<'_>,
    key: fn(&Report) -> f64,
) -> Result<(Report, Report), Failure> {
    let mut runs = [Vec::new(), Vec::new()];
    for _ in 0..suite.repeats {
        for (plan, runs) in plans.iter().zip(&mut runs) {
            runs.push(load(plan, name)?);
        }
    }
    let [first, second] = runs;
    Ok((median(first, key)?, median(second, key)?))
}

/// One connection, one call at a time, without the gateway and through it in turn.
fn added(
    suite: &Suite,
    era: Era,
    folder: &Path,
    name: &str,
    load: RunLoad<'_>,
) -> Result<(Report, Report), Failure> {
    let upstream = start_raw(RawMode::Mcp, suite.server_core, folder, None)?;
    let gateway = before(suite, &upstream, era, folder)?;
    let cores = vec![suite.load_core];
    let plans = [
        Plan { cores: cores.clone(), ..suite.plan(url(&upstream), era, upstream.pid()) },
        Plan { cores, ..suite.plan(through(&gateway), era, gateway.pid()) },
    ];
    in_turn(suite, &plans, name, load, |report| report.latency_us.p50)
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
