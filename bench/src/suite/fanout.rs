//! Events to many streams: the gateway tells each of thousands of sessions what one upstream says.

use std::ffi::OsString;
use std::path::Path;

use super::speed::path;
use super::{Findings, Suite, median};
use crate::args::RawMode;
use crate::failure::Failure;
use crate::news::News;
use crate::plan::Plan;
use crate::report::Report;
use crate::request::Era;
use crate::target::Protocol;
use crate::terminal;
use crate::verdict::Verdict;

/// Events a second of a core's time.
const BAR: f64 = 300_000.0;
const STREAMS: u32 = 2000;
/// Events under way at once.
const OUTSTANDING: [u32; 2] = [1, 16];

/// All rows that are wanted; the bar is on the ones that share system calls, as a stream of events does.
pub(super) fn run(suite: &Suite, folder: &Path, found: &mut Findings) {
    for outstanding in OUTSTANDING {
        for era in [Era::Legacy, Era::Modern] {
            let name = format!("sse {STREAMS} × {outstanding} {}", era.name());
            if !suite.wants(&name) {
                continue;
            }
            let bar = (outstanding > 1).then_some(BAR);
            match both(suite, era, outstanding, &name, folder) {
                Ok((floor, gateway)) => {
                    found.rows.push(Verdict::events(name.clone(), &floor, &gateway, bar));
                    found.reports.push((format!("floor {name}"), floor));
                    found.reports.push((format!("gateway {name}"), gateway));
                }
                Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
            }
        }
    }
}

/// Floor and gateway in turn, each with its own source; the median of each.
fn both(
    suite: &Suite,
    era: Era,
    outstanding: u32,
    name: &str,
    folder: &Path,
) -> Result<(Report, Report), Failure> {
    let news = News::listen()?;
    let environment = [
        ("RINGGATE_UPSTREAMS__NEWS__URL", news.target.to_string()),
        ("RINGGATE_UPSTREAMS__NEWS__ERA", Era::Legacy.name().to_owned()),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), OsString::from(value)));
    let gateway = suite.start_gateway(folder, &environment)?;
    let floor = suite.start_floor(RawMode::Events, folder)?;
    let old_news = News::of_floor(&floor.targets[0])?;
    let (mut floors, mut gateways) = (Vec::new(), Vec::new());
    let plan = |target, pid, raw| Plan {
        connections: STREAMS,
        outstanding,
        raw,
        cores: vec![suite.load_core],
        ..suite.plan(target, era, pid)
    };
    let http = |target: &crate::target::Target| target.over(Protocol::Http1, path(Protocol::Http1));
    for _ in 0..suite.repeats {
        let run = |plan: &Plan, news: &News, who: &str| {
            let name = format!("{who} {name}");
            terminal::note(&name);
            terminal::behind_a_bar(&name, |tell| crate::fanout::run(plan, news, tell))
        };
        floors.push(run(&plan(http(&floor.targets[0]), floor.pid(), true), &old_news, "floor")?);
        gateways.push(run(
            &plan(http(&gateway.targets[2]), gateway.pid(), false),
            &news,
            "gateway",
        )?);
    }
    let per_core =
        |report: &Report| report.server.map_or(0.0, |server| 1e9 / server.cpu_ns_per_message);
    Ok((median(floors, per_core)?, median(gateways, per_core)?))
}
