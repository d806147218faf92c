//! The command line, and what it becomes. Not what it does: see `main` and each command's own file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ringgate::wire::block::Codec;

use crate::blocks::Blocks;
use crate::idle::{Beginning, Idle};
use crate::plan::Plan;
use crate::request::{Era, Kind, Mix, Tool};
use crate::suite::Suite;
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
    /// Be an MCP server of both eras on stdin and stdout, whose one tool is `echo`: the upstream of a proxied call.
    Upstream,
    /// Hold connections that do nothing, and see what they cost.
    Idle(IdleArgs),
    /// Measure the rows of the design, each beside its floor.
    Suite(Box<SuiteArgs>),
    /// What compressed blocks cost and save, on ordinary text over TCP. bench/blocks/run makes a table of it.
    Blocks(BlocksArgs),
    /// What the load generator itself could do if sockets cost nothing.
    Ceiling(CeilingArgs),
}

/// `load`.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// `tcp://HOST:PORT`, `unix:///PATH`, `stdio:COMMAND ARGS` (a child for each connection), `http://HOST:PORT/mcp`
    /// (several outstanding are pipelined), `h2c://HOST:PORT/mcp` or `ws://HOST:PORT/ws`.
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
    /// `tcp://HOST:PORT` or `unix:///PATH`; may stand several times.
    #[arg(long, required = true)]
    pub listen: Vec<Target>,
    /// Core to pin to.
    #[arg(long)]
    pub core: Option<usize>,
    /// What to do with what is read.
    #[arg(long, value_enum, default_value_t = RawMode::Echo)]
    pub mode: RawMode,
    /// Where a relay carries what comes, as HOST:PORT.
    #[arg(long)]
    pub to: Option<SocketAddr>,
}

/// What `raw` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum RawMode {
    /// Writes back what it reads.
    Echo,
    /// Answers each HTTP/1.1 request with 200 and its own body: heads are parsed by httparse, bodies found by their
    /// Content-Length.
    Http,
    /// Answers each request of HTTP/2 (prior knowledge) with 200 and its own body, by the h2 crate.
    H2,
    /// Answers each GET with an event stream, and writes every line that comes on any other connection to all streams.
    Events,
    /// Carries bytes to `--to` and back, over a connection of its own for each that comes.
    Relay,
    /// Is an MCP server of both eras over HTTP/1.1, whose one tool is `echo`: the upstream of a proxied call.
    Mcp,
}

/// `idle`.
#[derive(Debug, clap::Args)]
pub struct IdleArgs {
    /// `tcp://HOST:PORT`, `unix:///PATH`, `http://HOST:PORT/mcp` or `ws://HOST:PORT/ws`.
    #[arg(long)]
    pub target: Target,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    pub connections: u32,
    /// The server's process.
    #[arg(long)]
    pub server_pid: u32,
    /// What each does before it falls silent.
    #[arg(long, value_enum, default_value_t = Beginning::Bare)]
    pub beginning: Beginning,
    /// Load this many connections without and with the idle ones, and compare p99.
    #[arg(long)]
    pub busy: Option<u32>,
    /// Requests outstanding on each busy connection.
    #[arg(long, default_value_t = 1)]
    pub outstanding: u32,
    /// Time measured of each busy run.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// Cores to load from.
    #[arg(long, value_delimiter = ',')]
    pub core: Vec<usize>,
    /// Busy connections expect their bytes back, as from `ringgate-bench raw`.
    #[arg(long)]
    pub raw: bool,
    /// Write the report as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// `suite`.
#[derive(Debug, clap::Args)]
pub struct SuiteArgs {
    /// The gateway's program; `ringgate` beside this one unless told.
    #[arg(long)]
    pub gateway: Option<PathBuf>,
    /// Its configuration; the suite sets the listeners by the environment.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// More environment for it, as KEY=VALUE; may stand several times.
    #[arg(long, value_parser = environment)]
    pub env: Vec<(String, OsString)>,
    /// Core of the servers.
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// Core of the load.
    #[arg(long, default_value_t = 1)]
    pub load_core: usize,
    /// Runs of each load; the median counts.
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// Time measured in each run.
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub duration: Duration,
    /// Time before measuring.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    pub idle: u32,
    /// Only rows whose name contains this: tcp, unix, http, h2, ws, stdio, proxied, sse, idle, calm, ….
    #[arg(long)]
    pub only: Option<String>,
    /// Length of the echoed message, at least 16.
    #[arg(long, default_value_t = 16)]
    pub message_bytes: usize,
    /// Keep the result as bench/record/DATE-COMMIT.json.
    #[arg(long)]
    pub record: bool,
    /// Write the result as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the result as one HTML page with plots.
    #[arg(long)]
    pub html: Option<PathBuf>,
}

/// `ceiling`.
#[derive(Debug, clap::Args)]
pub struct CeilingArgs {
    /// Lanes, as `load` has connections.
    #[arg(long, default_value_t = 1000)]
    pub connections: u32,
    /// Requests outstanding on each.
    #[arg(long, default_value_t = 16)]
    pub outstanding: u32,
    /// Time measured.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub duration: Duration,
    /// Length of the echoed message, at least 16.
    #[arg(long, default_value_t = 16)]
    pub message_bytes: usize,
    /// Core to run on.
    #[arg(long)]
    pub core: Option<usize>,
}

/// `blocks`.
#[derive(Debug, clap::Args)]
pub struct BlocksArgs {
    /// A gateway's TCP listener, as HOST:PORT.
    #[arg(long)]
    pub target: SocketAddr,
    /// `lz4` or `zstd`; lines as they are without it.
    #[arg(long, value_parser = codec)]
    pub codec: Option<Codec>,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    pub connections: u32,
    /// Requests outstanding on each.
    #[arg(long, default_value_t = 32)]
    pub outstanding: u32,
    /// Bytes of text in a message, on average.
    #[arg(long, default_value_t = 3_000)]
    pub text_bytes: usize,
    /// Time measured.
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub duration: Duration,
    /// Time before measuring.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Core to load from.
    #[arg(long)]
    pub core: Option<usize>,
    /// Processes whose CPU to measure; may stand several times.
    #[arg(long)]
    pub server_pid: Vec<u32>,
}

fn codec(name: &str) -> Result<Codec, String> {
    Codec::named(name).ok_or_else(|| "write lz4 or zstd".to_owned())
}

impl BlocksArgs {
    /// What they describe.
    pub fn blocks(&self) -> Blocks {
        Blocks {
            target: self.target,
            codec: self.codec,
            connections: self.connections,
            outstanding: self.outstanding,
            text_bytes: self.text_bytes,
            duration: self.duration,
            warmup: self.warmup,
            core: self.core,
            server_pids: self.server_pid.clone(),
        }
    }
}

impl IdleArgs {
    /// What they describe.
    pub fn idle(&self) -> Idle {
        let busy = self.busy.map(|connections| Plan {
            connections,
            outstanding: self.outstanding,
            duration: self.duration,
            cores: self.core.clone(),
            raw: self.raw,
            server_pid: Some(self.server_pid),
            ..plain(self.target.clone(), 16)
        });
        Idle {
            target: self.target.clone(),
            connections: self.connections,
            beginning: self.beginning,
            server_pid: self.server_pid,
            busy,
        }
    }
}

impl SuiteArgs {
    /// What they describe.
    pub fn suite(&self) -> Suite {
        Suite {
            gateway: self.gateway.clone().unwrap_or_else(|| beside("ringgate")),
            config: self.config.clone(),
            environment: self.env.clone(),
            server_core: self.server_core,
            load_core: self.load_core,
            repeats: self.repeats,
            duration: self.duration,
            warmup: self.warmup,
            idle: self.idle,
            only: self.only.clone(),
            tool: echo(self.message_bytes),
        }
    }
}

impl RawMode {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http => "http",
            Self::H2 => "h2",
            Self::Events => "events",
            Self::Relay => "relay",
            Self::Mcp => "mcp",
        }
    }
}

impl CeilingArgs {
    /// What they describe; the target is never opened.
    pub fn plan(&self) -> Plan {
        Plan {
            connections: self.connections,
            outstanding: self.outstanding,
            duration: self.duration,
            ..plain(Target::Stdio(vec!["nobody".to_owned()]), self.message_bytes)
        }
    }
}

/// One connection that echoes, in the legacy era: what commands without these options load with.
pub fn plain(target: Target, message_bytes: usize) -> Plan {
    Plan {
        target,
        connections: 1,
        outstanding: 1,
        duration: Duration::from_secs(5),
        warmup: Duration::from_secs(1),
        grace: Duration::from_secs(5),
        mix: Mix(vec![(Kind::ToolsCall, 1)]),
        rate: None,
        era: Era::Legacy,
        tool: echo(message_bytes),
        cores: Vec::new(),
        raw: false,
        server_pid: None,
    }
}

fn echo(message_bytes: usize) -> Tool {
    Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes }
}

/// A program in the folder of this one.
fn beside(name: &str) -> PathBuf {
    std::env::current_exe().map_or_else(|_| name.into(), |this| this.with_file_name(name))
}

/// Reads `KEY=VALUE`.
fn environment(text: &str) -> Result<(String, OsString), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), OsString::from(value)))
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
