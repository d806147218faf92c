//! What connections cost that do nothing: memory of the server for each, and what they do to the latency of busy ones.

#![allow(
    clippy::disallowed_types,
    reason = "idle connections are opened and held; nothing is awaited on them"
)]

use std::net::TcpStream;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, nanos};
use crate::failure::Failure;
use crate::handshake::{begin, http};
use crate::plan::Plan;
use crate::process::{descriptors, usage};
use crate::report::Report;
use crate::target::Target;

/// A server accepts all of a burst of connections within this time.
const ACCEPT_WAIT: Duration = Duration::from_secs(20);
/// How often it is asked whether it has.
const ASK_EVERY_NS: u64 = 10_000_000;

/// What to hold idle.
#[derive(Debug, Clone)]
pub struct Idle {
    /// Whom to connect to.
    pub target: Target,
    /// How many connections.
    pub connections: u32,
    /// What each does before it falls silent.
    pub beginning: Beginning,
    /// The server's process.
    pub server_pid: u32,
    /// A load to run without and with the idle connections.
    pub busy: Option<Plan>,
}

/// What a connection does before it falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Beginning {
    /// As little as its transport allows: it connects; a WebSocket also upgrades.
    Bare,
    /// One exchange of HTTP, after which it is kept alive.
    Exchange,
    /// A legacy session. Over HTTP nothing of it stays on the connection, which is kept alive.
    Session,
    /// HTTP: the event stream of a legacy session.
    Stream,
}

impl Beginning {
    /// In words, for a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Exchange => "after an exchange",
            Self::Session => "with a session",
            Self::Stream => "an event stream",
        }
    }

    /// Does it on `socket`; whatever else it needs happens on `desk`.
    fn run(self, socket: &TcpStream, target: &Target, desk: &TcpStream) -> Result<(), Failure> {
        match (self, target) {
            (Self::Bare, _) => begin(socket, target, false).map(drop),
            (Self::Session, _) => begin(socket, target, true).map(drop),
            (Self::Exchange, Target::Web(web)) => http::discover(socket, web),
            (Self::Stream, Target::Web(web)) => {
                let session = begin(desk, target, true)?.session;
                http::open_stream(socket, http::stream_of(web, &session).as_bytes()).map(drop)
            }
            (Self::Exchange | Self::Stream, _) => {
                Err(Failure::Usage("exchanges and streams need an http:// target".to_owned()))
            }
        }
    }
}

/// What it cost.
#[derive(Debug, Clone, Serialize)]
pub struct IdleReport {
    /// Whom it held connections to.
    pub target: String,
    /// How many.
    pub connections: u32,
    /// What each had done.
    pub beginning: &'static str,
    /// Server memory before, in bytes.
    pub rss_before_bytes: u64,
    /// Server memory with all connections open and nothing going on.
    pub rss_bytes: u64,
    /// Growth for each connection.
    pub rss_bytes_per_connection: f64,
    /// The busy load without the idle connections.
    pub without: Option<Report>,
    /// The same with them.
    pub with: Option<Report>,
}

/// Opens the connections, measures, and closes them. `busy` runs a load.
pub fn run(
    idle: &Idle,
    busy: &mut dyn FnMut(&Plan, &str) -> Result<Report, Failure>,
) -> Result<IdleReport, Failure> {
    if matches!(idle.target, Target::Stdio(_)) || idle.connections == 0 {
        return Err(Failure::Usage(
            "idle needs a socket target and at least one connection".to_owned(),
        ));
    }
    // Busy first: what the server allocates once for its first load is no cost of idle connections.
    let without = idle.busy.as_ref().map(|plan| busy(plan, "without idle")).transpose()?;
    settle(idle.server_pid)?;
    let descriptors_before = descriptors(idle.server_pid)?;
    let rss_before_bytes = usage(idle.server_pid)?.rss_bytes;
    let desk = idle.target.open()?.socket;
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..idle.connections {
        let socket = idle.target.open()?.socket;
        idle.beginning.run(&socket, &idle.target, &desk)?;
        held.push(socket);
    }
    let clock = Clock::start();
    while descriptors(idle.server_pid)? < descriptors_before + held.len() {
        if clock.now_ns() > nanos(ACCEPT_WAIT) {
            return Err(Failure::Server(format!(
                "the server holds {} descriptors more after {} connections: it has not accepted them all",
                descriptors(idle.server_pid)?.saturating_sub(descriptors_before),
                held.len()
            )));
        }
        clock.wait_until(clock.now_ns() + ASK_EVERY_NS);
    }
    settle(idle.server_pid)?;
    let rss_bytes = usage(idle.server_pid)?.rss_bytes;
    let with = idle.busy.as_ref().map(|plan| busy(plan, "with idle")).transpose()?;
    drop(held);
    Ok(IdleReport {
        target: idle.target.to_string(),
        connections: idle.connections,
        beginning: idle.beginning.name(),
        rss_before_bytes,
        rss_bytes,
        rss_bytes_per_connection: growth(rss_before_bytes, rss_bytes, idle.connections),
        without,
        with,
    })
}

/// Waits until the server's descriptors no longer change: it has closed what its former clients left.
fn settle(pid: u32) -> Result<(), Failure> {
    let clock = Clock::start();
    let mut last = (usize::MAX, 0);
    while clock.now_ns() < nanos(ACCEPT_WAIT) {
        let now = descriptors(pid)?;
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        if last.1 == 20 {
            return Ok(());
        }
        clock.wait_until(clock.now_ns() + ASK_EVERY_NS);
    }
    Err(Failure::Server(
        "the server goes on opening or closing descriptors though nobody calls".to_owned(),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn growth(before: u64, after: u64, connections: u32) -> f64 {
    (after as f64 - before as f64) / f64::from(connections)
}
