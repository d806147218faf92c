//! Rows that compare with a floor: the gateway and a server that does as good as nothing take turns on the same core.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use super::{Findings, RunLoad, Suite, median, throughput};
use crate::args::RawMode;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::report::Report;
use crate::request::Era;
use crate::server::Server;
use crate::target::{Protocol, Target};
use crate::verdict::Verdict;

/// How a row reaches the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Tcp,
    Unix,
    Web(Protocol),
}

/// A row.
#[derive(Debug)]
struct Speed {
    name: &'static str,
    way: Way,
    connections: u32,
    outstanding: u32,
    bar: Option<f64>,
    /// Fairness and tail have bars too.
    even: bool,
}

const fn row(name: &'static str, way: Way, connections: u32, outstanding: u32) -> Speed {
    Speed { name, way, connections, outstanding, bar: None, even: false }
}

const HTTP: Way = Way::Web(Protocol::Http1);
const HTTP2: Way = Way::Web(Protocol::Http2);
const WEBSOCKET: Way = Way::Web(Protocol::WebSocket);

const SPEEDS: [Speed; 10] = [
    Speed { bar: Some(0.90), ..row("tcp 1000 × 1", Way::Tcp, 1000, 1) },
    Speed { bar: Some(0.60), even: true, ..row("tcp 1000 × 16", Way::Tcp, 1000, 16) },
    Speed { even: true, ..row("tcp 1000 × 128", Way::Tcp, 1000, 128) },
    row("unix 1000 × 1", Way::Unix, 1000, 1),
    row("unix 1000 × 16", Way::Unix, 1000, 16),
    Speed { bar: Some(0.75), ..row("http 64 × 1", HTTP, 64, 1) },
    // Pipelined: no client of MCP does it, but it shows what is left when system calls are shared.
    row("http 64 × 16", HTTP, 64, 16),
    Speed { bar: Some(0.75), ..row("h2 64 × 1", HTTP2, 64, 1) },
    row("h2 64 × 16", HTTP2, 64, 16),
    Speed { bar: Some(0.50), even: true, ..row("ws 1000 × 16", WEBSOCKET, 1000, 16) },
];

impl Way {
    /// What the floor does: for WebSocket it is the echo of TCP, which is spared frames, masks and the upgrade.
    fn floor(self) -> RawMode {
        match self {
            Self::Web(Protocol::Http1) => RawMode::Http,
            Self::Web(Protocol::Http2) => RawMode::H2,
            Self::Tcp | Self::Unix | Self::Web(Protocol::WebSocket) => RawMode::Echo,
        }
    }

    /// Where the gateway is loaded.
    fn gateway(self, gateway: &Server) -> Target {
        match self {
            Self::Tcp => gateway.targets[0].clone(),
            Self::Unix => gateway.targets[1].clone(),
            Self::Web(protocol) => gateway.targets[2].over(protocol, path(protocol)),
        }
    }

    /// Where the floor is.
    fn raw(self, floor: &Server) -> Target {
        match self {
            Self::Tcp | Self::Web(Protocol::WebSocket) => floor.targets[0].clone(),
            Self::Unix => floor.targets[1].clone(),
            Self::Web(protocol) => floor.targets[0].over(protocol, path(protocol)),
        }
    }
}

/// Where the gateway speaks what.
pub(super) fn path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 | Protocol::Http2 => "/mcp",
        Protocol::WebSocket => "/ws",
    }
}

/// All rows that are wanted.
pub(super) fn run(
    suite: &Suite,
    folder: &Path,
    load: RunLoad<'_>,
    found: &mut Findings,
) -> Result<(), Failure> {
    let wanted: Vec<&Speed> = SPEEDS.iter().filter(|speed| suite.wants(speed.name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let gateway = suite.start_gateway(folder, &[])?;
    let mut floors = BTreeMap::new();
    for speed in wanted {
        let mode = speed.way.floor();
        let floor = match floors.entry(mode) {
            Entry::Occupied(floor) => floor.into_mut(),
            Entry::Vacant(place) => place.insert(suite.start_floor(mode, folder)?),
        };
        for era in [Era::Legacy, Era::Modern] {
            let name = format!("{} {}", speed.name, era.name());
            match both(suite, speed, era, (&*floor, &gateway), load) {
                Ok((floor, gateway)) => {
                    let verdict = Verdict::speed(name.clone(), &floor, &gateway, speed.bar);
                    found.rows.push(verdict);
                    if speed.even {
                        found.rows.push(Verdict::even(format!("{name}: even"), &gateway));
                    }
                    found.reports.push((format!("floor {name}"), floor));
                    found.reports.push((format!("gateway {name}"), gateway));
                }
                Err(failure) => found.rows.push(Verdict::failed(name, failure.to_string())),
            }
        }
    }
    Ok(())
}

/// Floor and gateway in turn; the median of each.
fn both(
    suite: &Suite,
    speed: &Speed,
    era: Era,
    (floor, gateway): (&Server, &Server),
    load: RunLoad<'_>,
) -> Result<(Report, Report), Failure> {
    let (mut floors, mut gateways) = (Vec::new(), Vec::new());
    for _ in 0..suite.repeats {
        for (raw, kept) in [(true, &mut floors), (false, &mut gateways)] {
            let (who, server, target) = if raw {
                ("floor", floor, speed.way.raw(floor))
            } else {
                ("gateway", gateway, speed.way.gateway(gateway))
            };
            let plan = Plan {
                connections: speed.connections,
                outstanding: speed.outstanding,
                raw,
                cores: vec![suite.load_core],
                ..suite.plan(target, era, server.pid())
            };
            kept.push(load(&plan, &format!("{who} {} {}", speed.name, era.name()))?);
        }
    }
    Ok((median(floors, throughput)?, median(gateways, throughput)?))
}
