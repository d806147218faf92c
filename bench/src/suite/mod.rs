//! All rows in one run: floor and gateway take turns on the same core, and each figure is the median of
//! its repeats. What counts as reached: see `verdict`.

mod fanout;
mod idle;
mod proxied;
mod speed;
mod stdio;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::RawMode;
use crate::failure::Failure;
use crate::idle::IdleReport;
use crate::plan::Plan;
use crate::record::Record;
use crate::report::Report;
use crate::request::{Era, Tool};
use crate::server::{Server, free_port};
use crate::target::Target;
use crate::verdict::Verdict;

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

/// What the rows have found so far.
#[derive(Debug, Default)]
struct Findings {
    rows: Vec<Verdict>,
    reports: Vec<(String, Report)>,
    idles: Vec<IdleReport>,
}

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
        let mut found = Findings::default();
        speed::run(self, folder, load, &mut found)?;
        stdio::run(self, folder, load, &mut found)?;
        proxied::run(self, folder, load, &mut found)?;
        fanout::run(self, folder, &mut found);
        idle::run(self, folder, load, &mut found);
        Ok(Record::new(found.rows, found.reports, found.idles))
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

    /// TCP first, Unix second, HTTP third among its targets. `more` of its environment is for this one gateway.
    fn start_gateway(&self, folder: &Path, more: &[(String, OsString)]) -> Result<Server, Failure> {
        let (tcp, http) = (free_port()?, free_port()?);
        // A name of its own each time: the ring of a gateway that was just killed may hold its listener a while longer.
        let unix = folder.join(tcp.to_string().replace("tcp://127.0.0.1:", "gateway-"));
        let mut arguments = vec![OsString::from("serve")];
        if let Some(config) = &self.config {
            arguments.extend([OsString::from("--config"), config.into()]);
        }
        let mut environment = vec![
            ("RINGGATE_TCP__LISTEN".to_owned(), address(&tcp)),
            ("RINGGATE_HTTP__LISTEN".to_owned(), address(&http)),
            ("RINGGATE_UNIX__LISTEN".to_owned(), unix.clone().into_os_string()),
            // Each start would be told in five lines among the results; warnings are worth it.
            ("RINGGATE_LOG__LEVEL".to_owned(), OsString::from("warn")),
            // Idle connections and busy ones beside them, all on one shard: more than its default lets in.
            (
                "RINGGATE_LIMITS__CLIENTS_MAX".to_owned(),
                OsString::from((self.idle + 4096).to_string()),
            ),
        ];
        environment.extend(more.iter().chain(&self.environment).cloned());
        let targets = vec![tcp, Target::Unix(unix), http];
        Server::start(&self.gateway, &arguments, &environment, self.server_core, targets)
    }

    /// TCP first, Unix second: one floor for each kind of socket would be two processes to measure.
    fn start_floor(&self, mode: RawMode, folder: &Path) -> Result<Server, Failure> {
        start_raw(mode, self.server_core, folder, None)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}

/// A TCP target as HOST:PORT.
fn address(target: &Target) -> OsString {
    target.to_string().trim_start_matches("tcp://").into()
}

/// This program as `raw`; a relay carries to `to`.
fn start_raw(
    mode: RawMode,
    core: usize,
    folder: &Path,
    to: Option<&Server>,
) -> Result<Server, Failure> {
    let targets = vec![free_port()?, Target::Unix(folder.join(mode.name()))];
    let mut arguments: Vec<OsString> =
        ["raw", "--mode", mode.name(), "--core", &core.to_string()].map(OsString::from).to_vec();
    if let Some(to) = to {
        arguments.extend([OsString::from("--to"), address(&to.targets[0])]);
    }
    for target in &targets {
        arguments.extend([OsString::from("--listen"), OsString::from(target.to_string())]);
    }
    let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
    Server::start(&program, &arguments, &[], core, targets)
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
