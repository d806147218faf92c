//! What `connect` carries: one child on stdin and stdout.

use std::path::Path;

use super::{Findings, RunLoad, Suite, median, throughput};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::report::Report;
use crate::request::Era;
use crate::server::Server;
use crate::target::Target;
use crate::verdict::Verdict;

/// What `connect` must carry, in messages a second.
const BAR: f64 = 500_000.0;
/// Requests outstanding.
const OUTSTANDING: u32 = 128;

/// Both eras.
pub(super) fn run(
    suite: &Suite,
    folder: &Path,
    load: RunLoad<'_>,
    found: &mut Findings,
) -> Result<(), Failure> {
    if !suite.wants("stdio") {
        return Ok(());
    }
    let gateway = suite.start_gateway(folder, &[])?;
    for era in [Era::Legacy, Era::Modern] {
        let name = format!("stdio × {OUTSTANDING} {}", era.name());
        match carried(suite, era, &name, &gateway, load) {
            Ok(report) => {
                found.rows.push(Verdict::throughput(name.clone(), &report, BAR));
                found.reports.push((format!("gateway {name}"), report));
            }
            Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
        }
    }
    Ok(())
}

/// Child and load share what the gateway's core leaves: they are not pinned.
fn carried(
    suite: &Suite,
    era: Era,
    name: &str,
    gateway: &Server,
    load: RunLoad<'_>,
) -> Result<Report, Failure> {
    let command =
        [suite.gateway.display().to_string(), "connect".to_owned(), gateway.targets[0].to_string()];
    let plan = Plan {
        outstanding: OUTSTANDING,
        ..suite.plan(Target::Stdio(command.to_vec()), era, gateway.pid())
    };
    let reports: Result<Vec<Report>, Failure> =
        (0..suite.repeats).map(|_| load(&plan, name)).collect();
    median(reports?, throughput)
}
