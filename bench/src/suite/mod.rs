//! The rows of DESIGN §6 for TCP, Unix sockets and stdio, in one run: floor and gateway take turns on the same core,
//! and each figure is the median of its repeats. What counts as reached: see `verdict`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::Failure;
use crate::idle::{Idle, IdleReport, run as run_idle};
use crate::plan::Plan;
use crate::record::Record;
use crate::report::Report;
use crate::request::{Era, Tool};
use crate::server::{Server, free_port};
use crate::target::Target;
use crate::verdict::Verdict;

/// What `connect` must carry on stdio, in messages a second.
const STDIO_BAR: f64 = 500_000.0;
/// Requests outstanding on stdio.
const STDIO_OUTSTANDING: u32 = 128;
/// Memory of an idle connection, in bytes.
const IDLE_BAR_BYTES: f64 = 2560.0;
/// Idle connections must not change p99; two runs of the same differ by this much.
const CALM_BAR: f64 = 1.10;
/// The load beside which connections idle: busy, not queueing.
const CALM_CONNECTIONS: u32 = 64;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The gateway's program.
    pub gateway: PathBuf,
    /// Its configuration; listeners are set by the suite.
    pub config: Option<PathBuf>,
    /// More of its environment.
    pub environment: Vec<(String, OsString)>,
    /// Core of the servers.
    pub server_core: usize,
    /// Core of the load.
    pub load_core: usize,
    /// Runs of each load; the median counts.
    pub repeats: usize,
    /// Time measured in each.
    pub duration: Duration,
    /// Time before it.
    pub warmup: Duration,
    /// Idle connections.
    pub idle: u32,
    /// Only rows whose name contains this.
    pub only: Option<String>,
    /// The echo tool.
    pub tool: Tool,
}

/// A row that compares with the floor.
struct Speed {
    name: &'static str,
    unix: bool,
    connections: u32,
    outstanding: u32,
    bar: Option<f64>,
    /// Fairness and tail have bars too.
    even: bool,
}

const SPEEDS: [Speed; 5] = [
    Speed {
        name: "tcp 1000 × 1",
        unix: false,
        connections: 1000,
        outstanding: 1,
        bar: Some(0.90),
        even: false,
    },
    Speed {
        name: "tcp 1000 × 16",
        unix: false,
        connections: 1000,
        outstanding: 16,
        bar: Some(0.60),
        even: true,
    },
    Speed {
        name: "tcp 1000 × 128",
        unix: false,
        connections: 1000,
        outstanding: 128,
        bar: None,
        even: true,
    },
    Speed {
        name: "unix 1000 × 1",
        unix: true,
        connections: 1000,
        outstanding: 1,
        bar: None,
        even: false,
    },
    Speed {
        name: "unix 1000 × 16",
        unix: true,
        connections: 1000,
        outstanding: 16,
        bar: None,
        even: false,
    },
];

/// Runs a load; the name is for the progress bar.
pub type RunLoad<'a> = &'a mut dyn FnMut(&Plan, &str) -> Result<Report, Failure>;

impl Suite {
    /// Runs all rows. A row that fails to run is a row that says so.
    pub fn run(&self, load: RunLoad<'_>) -> Result<Record, Failure> {
        let folder = std::env::temp_dir().join(format!("ringgate-suite-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(Failure::io(folder.display().to_string()))?;
        let record = self.rows(&folder, load);
        std::fs::remove_dir_all(&folder).map_err(Failure::io(folder.display().to_string()))?;
        record
    }

    fn rows(&self, folder: &Path, load: RunLoad<'_>) -> Result<Record, Failure> {
        let mut rows = Vec::new();
        let mut reports = Vec::new();
        let mut idles = Vec::new();
        if SPEEDS.iter().any(|speed| self.wants(speed.name)) {
            let gateway = self.start_gateway(folder)?;
            let floor = self.start_floor(folder)?;
            for speed in SPEEDS.iter().filter(|speed| self.wants(speed.name)) {
                for era in [Era::Legacy, Era::Modern] {
                    let name = format!("{} {}", speed.name, era.name());
                    match self.speed(speed, era, &name, &floor, &gateway, load) {
                        Ok((floor, gateway)) => {
                            rows.push(Verdict::speed(name.clone(), &floor, &gateway, speed.bar));
                            if speed.even {
                                rows.push(Verdict::even(format!("{name}: even"), &gateway));
                            }
                            reports.push((format!("floor {name}"), floor));
                            reports.push((format!("gateway {name}"), gateway));
                        }
                        Err(failure) => rows.push(Verdict::failed(name, failure.to_string())),
                    }
                }
            }
        }
        if self.wants("stdio") {
            let gateway = self.start_gateway(folder)?;
            for era in [Era::Legacy, Era::Modern] {
                let name = format!("stdio × {STDIO_OUTSTANDING} {}", era.name());
                match self.stdio(era, &name, &gateway, load) {
                    Ok(report) => {
                        rows.push(Verdict::throughput(name.clone(), &report, STDIO_BAR));
                        reports.push((format!("gateway {name}"), report));
                    }
                    Err(failure) => rows.push(Verdict::failed(name, failure.to_string())),
                }
            }
        }
        for introduced in [false, true] {
            let name =
                format!("idle memory, {}", if introduced { "legacy session" } else { "bare" });
            if self.wants(&name) {
                match self.idle(introduced, None, folder, load) {
                    Ok(report) => {
                        rows.push(Verdict::memory(
                            name,
                            report.rss_bytes_per_connection,
                            IDLE_BAR_BYTES,
                        ));
                        idles.push(report);
                    }
                    Err(failure) => rows.push(Verdict::failed(name, failure.to_string())),
                }
            }
        }
        let name = format!("calm beside {} idle", self.idle);
        if self.wants(&name) {
            match self.calm(folder, load) {
                Ok((without, with, runs)) => {
                    rows.push(Verdict::calm(name.clone(), &without, &with, CALM_BAR));
                    reports.push((format!("{name}: without"), without));
                    reports.push((format!("{name}: with"), with));
                    idles.extend(runs);
                }
                Err(failure) => rows.push(Verdict::failed(name, failure.to_string())),
            }
        }
        Ok(Record::new(rows, reports, idles))
    }

    /// Floor and gateway in turn; the median of each.
    fn speed(
        &self,
        speed: &Speed,
        era: Era,
        name: &str,
        floor: &Server,
        gateway: &Server,
        load: RunLoad<'_>,
    ) -> Result<(Report, Report), Failure> {
        let mut floors = Vec::new();
        let mut gateways = Vec::new();
        for _ in 0..self.repeats {
            for (server, raw, kept) in [(floor, true, &mut floors), (gateway, false, &mut gateways)]
            {
                let plan = Plan {
                    connections: speed.connections,
                    outstanding: speed.outstanding,
                    raw,
                    cores: vec![self.load_core],
                    ..self.plan(server.targets[usize::from(speed.unix)].clone(), era, server.pid())
                };
                kept.push(load(
                    &plan,
                    &format!("{} {name}", if raw { "floor" } else { "gateway" }),
                )?);
            }
        }
        Ok((median(floors, throughput)?, median(gateways, throughput)?))
    }

    /// One child that is `connect`. Child and load share what the gateway's core leaves: they are not pinned.
    fn stdio(
        &self,
        era: Era,
        name: &str,
        gateway: &Server,
        load: RunLoad<'_>,
    ) -> Result<Report, Failure> {
        let command = [
            self.gateway.display().to_string(),
            "connect".to_owned(),
            gateway.targets[0].to_string(),
        ];
        let plan = Plan {
            outstanding: STDIO_OUTSTANDING,
            ..self.plan(Target::Stdio(command.to_vec()), era, gateway.pid())
        };
        let reports: Result<Vec<Report>, Failure> =
            (0..self.repeats).map(|_| load(&plan, name)).collect();
        median(reports?, throughput)
    }

    /// On a gateway of its own: memory that an earlier load has left behind would hide what a connection takes.
    fn idle(
        &self,
        introduced: bool,
        busy: Option<Plan>,
        folder: &Path,
        load: RunLoad<'_>,
    ) -> Result<IdleReport, Failure> {
        let gateway = self.start_gateway(folder)?;
        let target = gateway.targets[0].clone();
        let busy = busy.map(|plan| Plan {
            target: target.clone(),
            server_pid: Some(gateway.pid()),
            ..plan
        });
        run_idle(
            &Idle { target, connections: self.idle, introduced, server_pid: gateway.pid(), busy },
            load,
        )
    }

    fn calm(
        &self,
        folder: &Path,
        load: RunLoad<'_>,
    ) -> Result<(Report, Report, Vec<IdleReport>), Failure> {
        let busy = Plan {
            connections: CALM_CONNECTIONS,
            cores: vec![self.load_core],
            ..self.plan(free_port()?, Era::Legacy, 0)
        };
        let runs: Result<Vec<IdleReport>, Failure> =
            (0..self.repeats).map(|_| self.idle(true, Some(busy.clone()), folder, load)).collect();
        let runs = runs?;
        let p99 = |report: &Report| report.latency_us.p99;
        let without = median(runs.iter().filter_map(|run| run.without.clone()).collect(), p99)?;
        let with = median(runs.iter().filter_map(|run| run.with.clone()).collect(), p99)?;
        Ok((without, with, runs))
    }

    fn plan(&self, target: Target, era: Era, server_pid: u32) -> Plan {
        Plan {
            target,
            connections: 1,
            outstanding: 1,
            duration: self.duration,
            warmup: self.warmup,
            grace: Duration::from_secs(5),
            mix: crate::request::Mix(vec![(crate::request::Kind::ToolsCall, 1)]),
            rate: None,
            era,
            tool: self.tool.clone(),
            cores: Vec::new(),
            raw: false,
            server_pid: Some(server_pid),
        }
    }

    /// TCP first, Unix second among its targets.
    fn start_gateway(&self, folder: &Path) -> Result<Server, Failure> {
        let tcp = free_port()?;
        // A name of its own each time: the ring of a gateway that was just killed may hold its listener a while longer.
        let unix = folder.join(tcp.to_string().replace("tcp://127.0.0.1:", "gateway-"));
        let mut arguments = vec![OsString::from("serve")];
        if let Some(config) = &self.config {
            arguments.extend([OsString::from("--config"), config.into()]);
        }
        let listen = tcp.to_string().trim_start_matches("tcp://").to_owned();
        let mut environment = vec![
            ("RINGGATE_TCP__LISTEN".to_owned(), OsString::from(listen)),
            ("RINGGATE_HTTP__LISTEN".to_owned(), OsString::from("off")),
            ("RINGGATE_UNIX__LISTEN".to_owned(), unix.clone().into_os_string()),
            // Idle connections and busy ones beside them, all on one shard: more than its default lets in.
            (
                "RINGGATE_LIMITS__CLIENTS_MAX".to_owned(),
                OsString::from((self.idle + 4096).to_string()),
            ),
        ];
        environment.extend(self.environment.iter().cloned());
        Server::start(
            &self.gateway,
            &arguments,
            &environment,
            self.server_core,
            vec![tcp, Target::Unix(unix)],
        )
    }

    /// One floor for each kind of socket would be two processes to measure: the floor serves both from one.
    fn start_floor(&self, folder: &Path) -> Result<Server, Failure> {
        let targets = vec![free_port()?, Target::Unix(folder.join("floor"))];
        let mut arguments = vec![
            OsString::from("raw"),
            OsString::from("--core"),
            OsString::from(self.server_core.to_string()),
        ];
        for target in &targets {
            arguments.extend([OsString::from("--listen"), OsString::from(target.to_string())]);
        }
        let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
        Server::start(&program, &arguments, &[], self.server_core, targets)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

fn throughput(report: &Report) -> f64 {
    report.messages_per_s
}

/// The run in the middle by `key`; a run with wrong answers before any other, so that a median cannot hide it.
fn median(mut reports: Vec<Report>, key: fn(&Report) -> f64) -> Result<Report, Failure> {
    if let Some(wrong) = reports.iter().position(|report| !report.is_right()) {
        return Ok(reports.swap_remove(wrong));
    }
    reports.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = reports.len() / 2;
    if reports.is_empty() {
        Err(Failure::Usage("--repeats must be at least one".to_owned()))
    } else {
        Ok(reports.swap_remove(middle))
    }
}
