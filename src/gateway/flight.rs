//! Flights: requests under way. Who asked, under which id, where it went, until when.
//!
//! ```text
//!             lane not ready            the upstream asks (modern client)
//!   ─ open ─▶ Waiting ────▶ Sent ────────────────▶ Held ──┐
//!                │          ▲  │ ▲                  │     │ retry with answers
//!                │          │  │ └──────────────────┘◀────┘
//!                │          │  └ input_required (legacy client) ─▶ Asking ─┐
//!                │          └──────────────────────────────────────────────┘ all answered
//!                ├─▶ Stepping (built-in upstream)
//!                └─▶ Pausing, Sent, Pausing … (a task that is waited for)
//!   any of them ─▶ closed: answered, failed, cancelled or timed out; exactly one answer leaves
//! ```

use std::time::Duration;

use super::client::ClientKey;
use super::exchange::ExchangeKey;
use super::fetch::FetchKey;
use super::gather::GatherKey;
use super::lane::LaneKey;
use super::quorum::QuorumKey;
use super::timer::AlarmKey;
use crate::base::{Key, Moment, ShardId};
use crate::mcp::{Era, LogLevel, Method};

pub type FlightKey = Key<Flight>;

/// One request under way.
#[derive(Debug)]
pub struct Flight {
    pub asker: Asker,
    pub upstream: usize,
    pub lane: Option<LaneKey>,
    pub method: Method,
    pub stage: Stage,
    /// The client's progress token as it wrote it; the upstream gets our id in its place.
    pub token: Option<Box<str>>,
    /// The level of logs that the request asked for (modern).
    pub level: Option<LogLevel>,
    /// The `params` text, kept where it may be needed again.
    pub params: Option<Box<str>>,
    pub alarm: Option<AlarmKey>,
    /// Digest of a call that may be held, which its retry must repeat.
    pub digest: u64,
    /// What a modern upstream asked for, until the call has gone to it again.
    pub retry: Option<Box<Retry>>,
    /// Its place among its client's flights.
    pub place: usize,
    /// How often its upstream has asked back.
    pub rounds: u32,
    /// When it was asked for, and when it was sent last.
    pub begun: Moment,
    pub sent: Moment,
    /// Its part of a trace, if it has one.
    pub span: Option<Box<super::trace::Span>>,
    /// What is written down of it at its end.
    pub audit: Option<Box<super::audit::Record>>,
    /// It was asked for by `execute_tool`: its `params` have the upstream's own name.
    pub execution: Option<Box<super::tools::Execution>>,
    /// What it is for, where it is about a task.
    pub chore: Option<Box<super::task::chore::Chore>>,
    pub trip: Trip,
}

/// How a flight has travelled, where there is a choice of ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trip {
    /// The lane and endpoint it is counted at, and when it left.
    pub on: Option<(LaneKey, usize, Moment)>,
    /// The endpoint that it goes on at, if that can be used.
    pub stays: Option<usize>,
    /// The endpoint that it is for, and no other.
    pub only: Option<usize>,
    /// The endpoint where it was lost.
    pub left: Option<usize>,
    /// How often it was lost, and made again elsewhere.
    pub tries: u32,
    /// It is known that its upstream has not seen it, or made twice it does no more than once.
    pub is_safe: bool,
    /// It is not given up for another endpoint by time any more: it was once, or its server works on it.
    pub is_patient: bool,
}

/// Who waits for the answer.
#[derive(Debug)]
pub enum Asker {
    Client {
        client: ClientKey,
        id: Box<str>,
        era: Era,
        exchange: Option<ExchangeKey>,
    },
    /// One part of a merged list.
    Gather {
        gather: GatherKey,
        part: usize,
        client: ClientKey,
    },
    /// One of several endpoints that are asked the same.
    Quorum {
        quorum: QuorumKey,
        client: ClientKey,
    },
    /// All who wait for a list.
    Fetch(FetchKey),
    /// The gateway itself.
    Own(Errand),
}

/// What the gateway asks an upstream for on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Which era it speaks.
    Probe,
    Initialize,
    /// Requests whose answer changes nothing: a log level, a subscription.
    Tell,
    /// The listen stream of a modern upstream.
    Listen,
    /// A page of its tools.
    Tools,
    /// Whether it is there.
    Health,
    /// The result of a modern client's task at a legacy upstream, which asks meanwhile.
    Collect(super::task::table::TaskKey),
    /// The same, of one whose end is news.
    Look(super::task::table::TaskKey),
}

/// Where a flight stands; see the module's drawing.
#[derive(Debug)]
pub enum Stage {
    Waiting,
    Sent,
    Held(Box<Held>),
    Asking(Box<Asking>),
    Stepping {
        step: u32,
    },
    /// It waits until its task is to be looked at again.
    Pausing,
}

/// Reports of progress that wait for a held call's client; more are dropped, as progress may be.
pub const HELD_PROGRESS_MAX: usize = 256;

/// A call to a legacy upstream whose modern client has been told `input_required`.
#[derive(Debug, Default)]
pub struct Held {
    pub asks: Vec<HeldAsk>,
    /// The client has been answered; until then further questions join the first.
    pub is_told: bool,
    /// The upstream has not got the call yet: it asked before, and is answered first.
    pub unsent: bool,
    /// Progress that the upstream reported meanwhile: `params` texts, at most [`HELD_PROGRESS_MAX`].
    pub progress: Vec<Box<str>>,
    /// The upstream answered the call before the client came back.
    pub answer: Option<Early>,
}

/// What a legacy upstream asked.
#[derive(Debug, Clone)]
pub struct HeldAsk {
    /// Our key for it in `inputRequests`.
    pub key: String,
    /// The upstream's id for it.
    pub id: Box<str>,
    pub method: Method,
    pub params: Box<str>,
}

/// An answer that waits for its asker.
#[derive(Debug)]
pub struct Early {
    pub is_error: bool,
    pub text: Box<str>,
}

/// What a call is made again with: the `inputResponses` object and the `requestState`, JSON texts.
#[derive(Debug)]
pub struct Retry {
    pub answers: Box<str>,
    pub state: Option<Box<str>>,
}

/// A call to a modern upstream that said `input_required`, while its legacy client is asked.
#[derive(Debug, Default)]
pub struct Asking {
    /// The upstream's `requestState`, as JSON text.
    pub state: Option<Box<str>>,
    /// Answers wanted still.
    pub left: usize,
    /// Key and result of each answer, as JSON text.
    pub answers: Vec<(Box<str>, Box<str>)>,
}

impl Flight {
    /// One that nothing is known of beside who asks whom for what. It has no place among a client's flights yet,
    /// and no time limit.
    pub fn new(asker: Asker, upstream: usize, method: Method, stage: Stage) -> Self {
        Self {
            asker,
            upstream,
            lane: None,
            method,
            stage,
            token: None,
            level: None,
            params: None,
            alarm: None,
            digest: 0,
            retry: None,
            place: 0,
            rounds: 0,
            begun: Moment::START,
            sent: Moment::START,
            span: None,
            audit: None,
            execution: None,
            chore: None,
            trip: Trip::default(),
        }
    }

    pub const fn client(&self) -> Option<ClientKey> {
        match &self.asker {
            Asker::Client { client, .. }
            | Asker::Gather { client, .. }
            | Asker::Quorum { client, .. } => Some(*client),
            Asker::Own(_) | Asker::Fetch(_) => None,
        }
    }

    /// The client whose own lane it takes, if that has one.
    pub const fn lane_client(&self) -> Option<ClientKey> {
        match &self.asker {
            // It is asked nothing, and what it gets depends on nobody.
            Asker::Quorum { .. } => None,
            _ => self.client(),
        }
    }

    /// The exchange that its answer goes into, where it does not simply leave on the client's link.
    pub const fn exchange(&self) -> Option<ExchangeKey> {
        match &self.asker {
            Asker::Client { exchange, .. } => *exchange,
            _ => None,
        }
    }

    /// It has its time from now on: how long that is. `request` is what others have.
    pub fn begin(&mut self, now: Moment, request: Duration) -> Duration {
        let Some(execution) = &mut self.execution else { return request };
        execution.begin(now);
        execution.timeout.unwrap_or(request)
    }

    /// Whether its caller said how long it may take; then that is all, progress or not.
    pub fn has_deadline(&self) -> bool {
        self.execution.as_ref().is_some_and(|execution| execution.timeout.is_some())
    }

    pub const fn is_sent(&self) -> bool {
        matches!(self.stage, Stage::Sent)
    }
}

const KEY_BITS: u32 = 42;

/// The id an upstream sees: the shard and the flight in 52 bits, exact in every JSON reader.
pub fn wire_id(shard: ShardId, key: FlightKey) -> u64 {
    (u64::from(shard.0) << KEY_BITS) | key.to_bits()
}

/// The shard and the flight of an id that an upstream answered; `None` if it cannot be ours.
pub fn read_wire_id(text: &str) -> Option<(ShardId, FlightKey)> {
    // Some servers give integers back as strings (rmcp's own tests accept it).
    let digits = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let id: u64 = digits.parse().ok()?;
    let shard = u16::try_from(id >> KEY_BITS).ok().filter(|&shard| shard <= ShardId::MAX)?;
    Some((ShardId(shard), Key::from_bits(id & ((1 << KEY_BITS) - 1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_id_names_its_shard_and_flight_and_is_exact_in_javascript() {
        let key = Key::from_bits((1 << KEY_BITS) - 1);
        let id = wire_id(ShardId(ShardId::MAX), key);
        assert!(id < 1 << 53);
        assert_eq!(read_wire_id(&id.to_string()), Some((ShardId(ShardId::MAX), key)));
        assert_eq!(read_wire_id(&format!("\"{id}\"")), Some((ShardId(ShardId::MAX), key)));
        for junk in ["-1", "1.5", "\"x\"", "18446744073709551615", "null"] {
            assert_eq!(read_wire_id(junk), None, "{junk}");
        }
    }
}
