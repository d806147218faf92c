//! What a load is: all of its parameters, checked against each other.

use std::time::Duration;

use crate::digits::WIDTH;
use crate::failure::Failure;
use crate::request::{Era, Kind, Mix, Request, Tool};
use crate::target::Protocol::{self, Http1, Http2, WebSocket};
use crate::target::{Target, Web};
use crate::{http1, websocket};

/// A load to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whom to load.
    pub target: Target,
    /// How many connections.
    pub connections: u32,
    /// Requests outstanding on each.
    pub outstanding: u32,
    /// Time measured.
    pub duration: Duration,
    /// Time before it.
    pub warmup: Duration,
    /// Time for the last answers.
    pub grace: Duration,
    /// Which requests.
    pub mix: Mix,
    /// Requests a second over all connections; without it each answer brings the next request.
    pub rate: Option<f64>,
    /// How to speak.
    pub era: Era,
    /// What `tools/call` calls.
    pub tool: Tool,
    /// One load thread for each of these cores; none: one thread, not pinned.
    pub cores: Vec<usize>,
    /// The target returns the bytes it gets; no protocol.
    pub raw: bool,
    /// Process whose CPU and memory are measured.
    pub server_pid: Option<u32>,
}

impl Plan {
    /// Says what cannot be done.
    pub fn check(&self) -> Result<(), Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if self.connections == 0 || self.outstanding == 0 || self.duration.is_zero() {
            return usage("connections, outstanding and duration must be at least one");
        }
        if self.tool.message_bytes < WIDTH {
            return usage(
                "--message-bytes must be at least 16: the message carries a token of that length",
            );
        }
        if self.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return usage("--rate must be a number above zero");
        }
        let has = |kind| self.mix.0.iter().any(|(other, _)| *other == kind);
        if self.era == Era::Modern && has(Kind::Ping) {
            return usage("the modern revision has no ping; use server/discover=1 in --mix");
        }
        if self.era == Era::Legacy && has(Kind::Discover) {
            return usage("server/discover is of the modern revision; use ping=1 in --mix");
        }
        if self.raw
            && (matches!(self.target, Target::Stdio(_)) || self.protocol() == Some(WebSocket))
        {
            return usage("--raw needs tcp://, unix://, http:// or h2c://");
        }
        Ok(())
    }

    /// The requests of the mix, in its order.
    pub fn requests(&self) -> Vec<Request> {
        let dress = |kind| {
            let message = Request::new(kind, self.era, &self.tool);
            match &self.target {
                Target::Web(web @ Web { protocol: Http1, .. }) => {
                    http1::dress(&message, web, self.era, &self.tool.name)
                }
                Target::Web(Web { protocol: Http2, .. }) => message.into_body(),
                Target::Web(Web { protocol: WebSocket, .. }) => websocket::dress(&message),
                _ => message,
            }
        };
        self.mix.0.iter().map(|(kind, _)| dress(*kind)).collect()
    }

    /// What is spoken, where the target is a URL.
    pub fn protocol(&self) -> Option<Protocol> {
        match &self.target {
            Target::Web(web) => Some(web.protocol),
            Target::Tcp(_) | Target::Unix(_) | Target::Stdio(_) => None,
        }
    }
}
