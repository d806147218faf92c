//! Clients: who asks, how they are reached, and the session that a legacy client has. Owns what is known
//! of the client; what it asked for is in `flight`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Gateway;
use super::behind::Behind;
use super::door::Transport;
use super::exchange::ExchangeKey;
use super::flight::FlightKey;
use super::lane::LaneKey;
use super::policy::AgentId;
use super::principal::{Principal, Principals, Subject};
use super::token::SubjectToken;
use crate::base::{Key, LinkId, Moment};
use crate::mcp::{Askable, LogLevel, Version};

pub type ClientKey = Key<Client>;

/// How a client is told what answers nothing.
#[derive(Debug)]
pub enum Front {
    /// A byte stream or WebSocket: as frames on this link.
    Link(LinkId),
    /// One modern POST, which is all there is of this client, but for calls of its that are held.
    Exchange(ExchangeKey),
    /// A session of Streamable HTTP.
    Session(Box<HttpSession>),
    /// A client of HTTP+SSE (2024-11-05): its stream is its session.
    Sse(Box<HttpSession>),
}

/// What a session over Streamable HTTP has besides.
#[derive(Debug)]
pub struct HttpSession {
    /// Its `Mcp-Session-Id`.
    pub id: Box<str>,
    /// Its GET stream.
    pub stream: ExchangeKey,
    /// When it was last heard from.
    pub seen: Moment,
    /// Streams of POSTs that are over and can be resumed, oldest first.
    pub kept: VecDeque<ExchangeKey>,
}

/// Whom a client acts for, and whose rules hold for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    pub principal: Principal,
    pub agent: AgentId,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub front: Front,
    pub transport: Transport,
    pub who: Who,
    /// What it proved last who it is with, where any upstream is asked on its behalf (`behalf`).
    pub proof: Option<Arc<SubjectToken>>,
    /// From `initialize` on; a modern client never has one.
    pub session: Option<Box<Session>>,
    /// Its requests under way. A flight knows its place here.
    pub flights: Vec<FlightKey>,
    /// The connections it has to itself.
    pub lanes: Vec<OwnLane>,
    /// Its open `subscriptions/listen`.
    pub listens: Vec<Listen>,
    /// Its greetings that wait for upstreams.
    pub greets: usize,
    /// Its reading is stopped, because too many flights are under way.
    pub paused: bool,
    /// While it does not read what waits for it on its link.
    pub behind: Behind,
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
    pub tasks: Vec<super::task::id::Known>,
}

impl Listen {
    /// Of the names of what is watched.
    pub fn bytes(&self) -> usize {
        let uris = self.uris.iter().map(|watched| watched.uri.len()).sum::<usize>();
        uris + self.tasks.iter().map(|known| known.token.len()).sum::<usize>()
    }
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

impl Gateway {
    /// Why one client more cannot be, if so. Where there are several principals, one alone cannot have all the
    /// places: sessions live long, and the others would be locked out.
    pub(super) fn is_crowded(&self, who: Who) -> Option<&'static str> {
        let max = self.settings.limits.clients_max;
        if self.clients.len() >= max {
            return Some("too many clients: limit clients_max");
        }
        (self.settings.principals.are_several() && self.held.of(who.principal) >= max.div_ceil(2))
            .then_some("too many clients of one principal: half of the limit clients_max")
    }

    pub(super) fn insert_client(&mut self, client: Client) -> ClientKey {
        self.count_client(client.who);
        self.clients.insert(client)
    }

    pub(super) fn count_client(&mut self, who: Who) {
        self.held.add(who.principal);
    }

    pub(super) fn remove_client(&mut self, key: ClientKey) -> Option<Client> {
        let client = self.clients.remove(key)?;
        self.held.remove(client.who.principal);
        Some(client)
    }
}

/// How many clients each principal has.
#[derive(Debug)]
pub(super) struct Held {
    /// Of those that the configuration names, by their number: each exchange is counted.
    named: Vec<usize>,
    /// Of the subjects of tokens, as long as they have one.
    subjects: BTreeMap<Principal, usize>,
}

impl Held {
    pub(super) fn new(principals: &Principals) -> Self {
        Self { named: vec![0; principals.iter().count()], subjects: BTreeMap::new() }
    }

    /// The configuration may name others besides.
    pub(super) fn renew(&mut self, principals: &Principals) {
        self.named.resize(principals.iter().count(), 0);
    }

    fn of(&self, principal: Principal) -> usize {
        if principal.subject() == Subject::NONE {
            return self.named.get(principal.number() as usize).copied().unwrap_or_default();
        }
        self.subjects.get(&principal).copied().unwrap_or_default()
    }

    fn add(&mut self, principal: Principal) {
        if principal.subject() != Subject::NONE {
            *self.subjects.entry(principal).or_default() += 1;
        } else if let Some(held) = self.named.get_mut(principal.number() as usize) {
            *held += 1;
        }
    }

    fn remove(&mut self, principal: Principal) {
        if principal.subject() == Subject::NONE {
            if let Some(held) = self.named.get_mut(principal.number() as usize) {
                *held -= 1;
            }
        } else if let Entry::Occupied(mut held) = self.subjects.entry(principal) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

impl Client {
    pub const fn new(front: Front, transport: Transport, who: Who) -> Self {
        Self {
            front,
            transport,
            who,
            proof: None,
            session: None,
            flights: Vec::new(),
            lanes: Vec::new(),
            listens: Vec::new(),
            greets: 0,
            paused: false,
            behind: Behind::none(),
        }
    }

    /// The link that is the client, where one is.
    pub const fn link(&self) -> Option<LinkId> {
        match self.front {
            Front::Link(link) => Some(link),
            _ => None,
        }
    }

    /// The one that `fits` besides, where there are several.
    pub fn own_lane(
        &self,
        upstream: usize,
        capabilities: &str,
        fits: impl Fn(LaneKey) -> bool,
    ) -> Option<LaneKey> {
        let is_its = |own: &&OwnLane| {
            own.upstream == upstream && &*own.capabilities == capabilities && fits(own.lane)
        };
        self.lanes.iter().find(is_its).map(|own| own.lane)
    }
}
