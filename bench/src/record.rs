//! A suite's result as a file that is kept: what, where, when, which commit.

#![allow(clippy::disallowed_types, reason = "a record carries the date of its day")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

use crate::failure::Failure;
use crate::idle::IdleReport;
use crate::report::Report;
use crate::verdict::{NOT_MEASURED, Verdict};

/// Everything a suite found.
#[derive(Debug, Serialize)]
pub struct Record {
    /// UTC date as YYYY-MM-DD.
    pub date: String,
    /// Commit of the working directory, `unknown` outside a repository.
    pub commit: String,
    /// Whether files differed from that commit.
    pub changed: bool,
    /// Where it ran.
    pub machine: Machine,
    /// The rows.
    pub rows: Vec<Verdict>,
    /// The median run of each load behind them.
    pub reports: Vec<(String, Report)>,
    /// The runs with idle connections.
    pub idle: Vec<IdleReport>,
}

/// The machine, as its kernel describes it.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors online.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after_colon = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let cpuinfo = read("/proc/cpuinfo");
        let memory = after_colon(&read("/proc/meminfo"), "MemTotal");
        Self {
            cpu: after_colon(&cpuinfo, "model name"),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: memory
                .split_whitespace()
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or(0)
                / 1024,
        }
    }
}

impl Record {
    /// A record of now and here.
    pub fn new(rows: Vec<Verdict>, reports: Vec<(String, Report)>, idle: Vec<IdleReport>) -> Self {
        let days = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / 86_400);
        let (year, month, day) = civil(days);
        Self {
            date: format!("{year:04}-{month:02}-{day:02}"),
            commit: git(&["rev-parse", "--short=10", "HEAD"])
                .unwrap_or_else(|| "unknown".to_owned()),
            changed: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
            machine: Machine::here(),
            rows,
            reports,
            idle,
        }
    }

    /// Whether every row was measured and every answer was right.
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(|row| row.gateway != NOT_MEASURED)
            && self.reports.iter().all(|(_, report)| report.is_right())
    }

    /// Writes it into `folder` as DATE-COMMIT.json; returns the path.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, Failure> {
        let path = folder.join(format!("{}-{}.json", self.date, self.commit));
        fs::create_dir_all(folder).map_err(Failure::io(folder.display().to_string()))?;
        self.write(&path)?;
        Ok(path)
    }

    /// Writes it as JSON.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        write_json(path, self)
    }
}

/// Writes `value` to `path` as JSON, in one line: a record is kept, and read by programs.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text =
        serde_json::to_string(value).map_err(|error| Failure::Io(name.clone(), error.into()))?;
    fs::write(path, text + "\n").map_err(Failure::io(name))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(mut day: u64) -> (u64, u64, u64) {
    let leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_722), (2023, 12, 31));
        assert_eq!(civil(20_778), (2026, 11, 21));
    }
}
