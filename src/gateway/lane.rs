//! Lanes: single connections to upstreams, and how far each has come. Owns what belongs to the
//! connection; what is known of the server is in `upstream`.
//!
//! ```text
//!           era unknown
//!  Dialing ───────────▶ Probing ── modern ──▶ Ready ──▶ gone
//!     │                    └─ legacy: gone, and a new lane is dialled
//!     ├─ legacy ─▶ Initializing ────────────▶ Ready
//!     └─ modern ───────────────▶ Probing (to learn what it offers)
//! ```
//!
//! A legacy server's questions name no caller. So a client that can be asked has lanes of its own to
//! legacy upstreams, and clients that cannot share one.

use std::collections::{BTreeMap, BTreeSet};

use super::client::ClientKey;
use super::endpoint::Seat;
use super::flight::{FlightKey, HeldAsk};
use super::pool::Retiring;
use super::principal::Principal;
use super::timer::AlarmKey;
use crate::base::{Key, LinkId, Moment, ShardId};
use crate::mcp::{Era, LogLevel, Version};

pub type LaneKey = Key<Lane>;

/// Questions of an upstream that wait: for a call that they could be put to, or for the answers of one client. A client
/// is a person more often than not; beyond so many an upstream has lost its way, and each would be kept for minutes.
pub const PENDING_ASKS_MAX: usize = 64;

/// What an upstream is told that asks more.
pub const TOO_MANY_ASKS: &str =
    "too many questions at once: 64 wait for the client's answers; wait for some of them";

/// Log levels and subscriptions that a lane is told before it has answered some of them: as many as a burst has.
/// Beyond, the last level and what is watched then are told when it has: who changes its mind often costs no more.
pub const TELLS_MAX: usize = 32;

/// Whom a lane serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All clients that need none of their own.
    Shared,
    /// As [`Role::Shared`], but it lives on another shard and is reached by mail.
    Remote(ShardId),
    /// One client.
    Own(ClientKey),
    /// Nobody yet: a server that has been started and not greeted, so that the next who needs one of its
    /// own need not wait for it to start.
    Spare,
    /// Nobody: it was a client's own, and waits for another that needs the same.
    Parked,
    /// Nobody: it finds out the era, and becomes the shared lane if that is modern.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Dialing,
    Probing,
    Initializing,
    Ready,
    /// We have closed it; what still comes is not heard.
    Closing,
}

/// What an upstream is told of the client whose own lane this is. JSON texts as the client wrote them.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Whom it acts for: what a server remembers of one is not another's.
    pub principal: Principal,
    /// How the client itself is spoken to.
    pub era: Era,
    pub version: Version,
    pub capabilities: Box<str>,
    pub info: Box<str>,
}

/// One connection to an upstream.
#[derive(Debug)]
pub struct Lane {
    pub upstream: usize,
    /// Where it leads, and where it sits if it is shared; what is not has its endpoint's first seat here.
    pub seat: Seat,
    pub role: Role,
    pub phase: Phase,
    /// What to say of the client in `initialize`; `None` for the gateway itself.
    pub hello: Option<Box<Hello>>,
    /// From the dial's success on; never for a remote lane.
    pub link: Option<LinkId>,
    pub version: Version,
    /// Flights that wait for it to become ready, in the order in which they came.
    pub queue: Vec<FlightKey>,
    /// The level of logs that was last set on it (legacy).
    pub level: Option<LogLevel>,
    /// The one that it is told when there is room for that.
    pub next_level: Option<LogLevel>,
    /// What it was told of levels and subscriptions and may not have answered: at most [`TELLS_MAX`].
    pub tells: Vec<FlightKey>,
    /// What is watched has changed, and it is told when there is room for that.
    pub is_late: bool,
    /// Questions that wait for a call.
    pub asks: Vec<HeldAsk>,
    /// Questions that its client has before it.
    pub asks_open: usize,
    /// Our next key for a question.
    pub asks_made: u64,
    /// Its outbox is full: new flights are refused.
    pub blocked: bool,
    /// It is not read, because the client whose own it is does not read either.
    pub held_up: bool,
    /// Resources that the client of an own lane watches, as the upstream calls them, each with the
    /// number of its watchers. Those of shared lanes are the upstream's: they outlive the connection.
    pub wants: BTreeMap<String, u32>,
    /// The listen stream that watches them (modern).
    pub listen: Option<FlightKey>,
    /// What is watched upstream just now.
    pub watched: BTreeSet<String>,
    pub alarm: Option<AlarmKey>,
    pub ready_since: Option<Moment>,
    /// Calls under way on it, where they are counted: where there is a choice of lanes.
    pub flights: u32,
    /// It is given no more calls, and closed when it has none.
    pub retiring: Option<Retiring>,
}

impl Lane {
    pub const fn new(upstream: usize, seat: Seat, role: Role) -> Self {
        Self {
            upstream,
            seat,
            role,
            phase: Phase::Dialing,
            hello: None,
            link: None,
            version: Version::LATEST_LEGACY,
            queue: Vec::new(),
            level: None,
            next_level: None,
            tells: Vec::new(),
            is_late: false,
            asks: Vec::new(),
            asks_open: 0,
            asks_made: 0,
            blocked: false,
            held_up: false,
            wants: BTreeMap::new(),
            listen: None,
            watched: BTreeSet::new(),
            alarm: None,
            ready_since: None,
            flights: 0,
            retiring: None,
        }
    }

    pub fn era(&self) -> Era {
        self.version.era()
    }

    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub const fn client(&self) -> Option<ClientKey> {
        match self.role {
            Role::Own(client) => Some(client),
            _ => None,
        }
    }
}
