//! Clients: a link that asks, and the session that a legacy client has on it. Owns what is known of
//! the client; what it asked for is in `flight`.

use super::door::Transport;
use super::flight::FlightKey;
use super::lane::LaneKey;
use crate::base::{Key, LinkId};
use crate::mcp::{Askable, LogLevel, Version};

pub type ClientKey = Key<Client>;

/// One client link.
#[derive(Debug)]
pub struct Client {
    pub link: LinkId,
    pub transport: Transport,
    /// From `initialize` on; a modern client never has one.
    pub session: Option<Box<Session>>,
    /// Its requests under way. A flight knows its place here.
    pub flights: Vec<FlightKey>,
    /// The connections it has to itself.
    pub lanes: Vec<OwnLane>,
    /// Its open `subscriptions/listen`.
    pub listens: Vec<Listen>,
    /// Its reading is stopped, because too many flights are under way.
    pub paused: bool,
}

/// A legacy client's remembered `_meta`.
#[derive(Debug)]
pub struct Session {
    pub version: Version,
    /// The `capabilities` object as the client wrote it.
    pub capabilities: Box<str>,
    pub askable: Askable,
    /// The `clientInfo` object as the client wrote it.
    pub info: Box<str>,
    /// From `logging/setLevel` on.
    pub level: Option<LogLevel>,
    /// `notifications/initialized` has come: it may be told and asked things.
    pub initialized: bool,
    /// What `resources/subscribe` named.
    pub subscriptions: Vec<Watched>,
}

/// A connection to a legacy upstream that serves one client.
#[derive(Debug)]
pub struct OwnLane {
    pub upstream: usize,
    /// The capabilities it was initialized with: a modern client may declare others in each request.
    pub capabilities: Box<str>,
    pub lane: LaneKey,
}

/// One `subscriptions/listen` of a modern client.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The request's id, which is also the subscription's.
    pub id: Box<str>,
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    pub uris: Vec<Watched>,
}

/// A resource that a client watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// As the client calls it.
    pub uri: String,
    pub upstream: usize,
    /// The client's own lane, where it has one; else the shared one.
    pub own: Option<LaneKey>,
}

impl Client {
    pub const fn new(link: LinkId, transport: Transport) -> Self {
        Self {
            link,
            transport,
            session: None,
            flights: Vec::new(),
            lanes: Vec::new(),
            listens: Vec::new(),
            paused: false,
        }
    }

    pub fn own_lane(&self, upstream: usize, capabilities: &str) -> Option<LaneKey> {
        self.lanes
            .iter()
            .find(|own| own.upstream == upstream && &*own.capabilities == capabilities)
            .map(|own| own.lane)
    }
}
