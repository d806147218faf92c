//! The command line, and what it becomes. Not what it does: see `main` and each command's own file.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::plan::Plan;
use crate::request::{Era, Mix, Tool};
use crate::target::Target;

/// Load generator and floors for ringgate. Every answer is checked; one wrong answer makes the exit code 1.
#[derive(Debug, Parser)]
#[command(name = "ringgate-bench", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load a server and report.
    Load(Box<LoadArgs>),
    /// Be the floor: an `io_uring` echo that parses nothing.
    Raw(RawArgs),
}

/// `load`.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// `tcp://HOST:PORT`, `unix:///PATH`, or `stdio:COMMAND ARGS` (a child for each connection).
    #[arg(long)]
    pub target: Target,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    pub connections: u32,
    /// Requests outstanding on each connection.
    #[arg(long, default_value_t = 1)]
    pub outstanding: u32,
    /// Time measured.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Time before measuring.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub warmup: Duration,
    /// Time for the last answers after the end.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub grace: Duration,
    /// Length of the echoed message, at least 16.
    #[arg(long, default_value_t = 16)]
    pub message_bytes: usize,
    /// Requests and their weights, as ping=1,tools/list=1,tools/call=8.
    #[arg(long, default_value = "tools/call=1")]
    pub mix: Mix,
    /// Open loop: requests a second; latency counts from the moment each was due.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Way of speaking.
    #[arg(long, value_enum, default_value_t = Era::Legacy)]
    pub era: Era,
    /// Tool that tools/call calls.
    #[arg(long, default_value = "echo")]
    pub tool: String,
    /// Its argument that carries the message.
    #[arg(long, default_value = "message")]
    pub argument: String,
    /// Cores to load from, one pinned thread each, as 1 or 1,2,3.
    #[arg(long, value_delimiter = ',')]
    pub core: Vec<usize>,
    /// The target is `ringgate-bench raw`: expect the bytes that were sent.
    #[arg(long)]
    pub raw: bool,
    /// Process whose CPU and memory to measure.
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Write the report as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the report as one HTML page with plots.
    #[arg(long)]
    pub html: Option<PathBuf>,
}

/// `raw`.
#[derive(Debug, clap::Args)]
pub struct RawArgs {
    /// `tcp://HOST:PORT` or `unix:///PATH`.
    #[arg(long)]
    pub listen: Target,
    /// Core to pin to.
    #[arg(long)]
    pub core: Option<usize>,
    /// What to do with what is read.
    #[arg(long, value_enum, default_value_t = RawMode::Echo)]
    pub mode: RawMode,
}

/// What `raw` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RawMode {
    /// Writes back what it reads.
    Echo,
}

impl LoadArgs {
    /// The load they describe.
    pub fn plan(&self) -> Plan {
        Plan {
            target: self.target.clone(),
            connections: self.connections,
            outstanding: self.outstanding,
            duration: self.duration,
            warmup: self.warmup,
            grace: self.grace,
            mix: self.mix.clone(),
            rate: self.rate,
            era: self.era,
            tool: Tool {
                name: self.tool.clone(),
                argument: self.argument.clone(),
                message_bytes: self.message_bytes,
            },
            cores: self.core.clone(),
            raw: self.raw,
            server_pid: self.server_pid,
        }
    }
}

/// Reads `10s`, `500ms` or `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits
        .parse()
        .map_err(|_| format!("{text:?} is not a duration: write 10s, 500ms or 2m"))?;
    let unit = match &text[digits.len()..] {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        unit => return Err(format!("unknown unit {unit:?}: use ms, s or m")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|error| format!("{text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("5h").is_err() && duration("s").is_err() && duration("-1s").is_err());
    }
}
