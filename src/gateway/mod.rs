//! The domain: who asked what, where it goes, what comes back. Below the line: runs to its end at
//! each event, knows no socket, clock, task or await.
//!
//! [`Gateway::handle`] is the one door. Each table has a file that owns it (`client`, `flight`, `lane`,
//! `endpoint`, `upstream`, `gather`, `exchange`, `greet`, `ask`); each way through them has one as well (`inbound` from
//! clients, `forward` to upstreams, `reply` back, `news` for what nobody asked for).

pub mod address;
pub mod answer;
pub mod ask;
pub mod audit;
mod behalf;
pub mod behind;
pub mod breaker;
pub mod builtin;
pub mod catalog;
pub mod census;
pub mod client;
pub mod connect;
mod dismiss;
pub mod door;
pub mod exchange;
pub mod drain;
mod ending;
pub mod endpoint;
mod fault;
pub mod fetch;
pub mod flight;
pub mod forward;
pub mod gather;
pub mod greet;
pub mod guard;
pub mod health;
pub mod hold;
pub mod http;
pub mod inbound;
pub mod keys;
pub mod lane;
pub mod local;
pub mod mirror;
pub mod news;
pub mod outbound;
mod park;
mod permit;
pub mod policy;
pub mod pool;
mod post;
pub mod principal;
pub mod quorum;
pub mod rate;
mod rest;
pub mod reply;
pub mod report;
mod reload;
pub mod request;
mod retry;
pub mod route;
pub mod ring;
pub mod seal;
pub mod select;
mod session;
pub mod settings;
mod spread;
pub mod subscribe;
pub mod task;
pub mod tally;
pub mod tenure;
pub mod timer;
pub mod token;
pub mod tools;
pub mod trace;
pub mod upstream;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use door::{Effect, Effects, Event, Mail, Transport};
pub use report::Report;
pub use settings::Settings;

/// Makes of a message one line: line breaks become spaces, which in JSON say the same.
pub fn one_line(frame: &mut [u8]) {
    request::one_line(frame, 0);
}

use ask::Ask;
use builtin::Builtin;
use catalog::{Catalog, Place};
use client::{Client, ClientKey};
use endpoint::Endpoint;
use exchange::{ExchangeKey, Exchanges};
use fetch::{Fetch, FetchKey};
use flight::Flight;
use gather::Gather;
use greet::Greet;
use lane::{Lane, LaneKey};
use policy::AgentId;
use quorum::Quorum;
use route::Routes;
use seal::Sealer;
use timer::Alarm;
use upstream::Upstream;

use crate::base::wheel::Wheel;
use crate::base::{LinkId, Moment, Now, ShardId, Slab};

/// One shard's gateway. Shares nothing with those of other shards; they exchange [`Mail`].
pub struct Gateway {
    settings: Arc<Settings>,
    shard: ShardId,
    routes: Routes,
    /// Whose rules hold for each principal, by its number.
    agents: Vec<AgentId>,
    /// What was decided lately.
    decisions: policy::Cache,
    /// Where rates are limited.
    governor: Option<rate::Governor>,
    addresses: address::Addresses,
    /// Of the request that is being handled, until a flight takes it.
    audit: Option<Box<audit::Record>>,
    /// Its span, where it is traced; and what its headers say of its trace.
    span: Option<Box<trace::Span>>,
    context: Option<Box<trace::Context>>,
    tally: tally::Tally,
    /// Some upstream is asked on behalf of its callers; and what the caller of the event that is being handled has
    /// proved itself with, if so.
    has_callers: bool,
    shown: Option<Arc<token::SubjectToken>>,
    /// What `execute_tool` is about, while its call is being handled and until a flight takes it.
    execution: Option<Box<tools::Execution>>,
    /// The agent by whose rules a gateway tool is being carried out, where its client was believed.
    acting: Option<Box<tools::Acting>>,
    /// What the request that is being handled is for, if it is about a task, and until a flight takes it.
    chore: Option<Box<task::chore::Chore>>,
    tasks: task::table::Tasks,
    sealer: Sealer,
    links: Links,
    /// Exchanges whose links are other shards'.
    foreign: BTreeMap<LinkId, ExchangeKey>,
    clients: Slab<Client>,
    held: client::Held,
    flights: Slab<Flight>,
    lanes: Slab<Lane>,
    upstreams: Vec<Upstream>,
    /// Those that are used no more, and whose places are still named; and when they are looked at.
    retired: Vec<usize>,
    retired_look: Option<timer::AlarmKey>,
    /// By their numbers (see `settings::endpoints`).
    endpoints: Vec<Endpoint>,
    gathers: Slab<Gather>,
    quorums: Slab<Quorum>,
    catalog: Catalog,
    fetches: Slab<Fetch>,
    /// Those that others may wait for as well.
    fetching: BTreeMap<Place, FetchKey>,
    exchanges: Exchanges,
    greets: Slab<Greet>,
    asks: Slab<Ask>,
    wheel: Wheel<Alarm>,
    builtin: Builtin,
    /// Where a built-in tool writes before it is known how its call ended. Empty between calls.
    scratch: Vec<u8>,
    /// State of a splitmix64; for the built-in upstream's dice and the choice of endpoints, not for secrets.
    dice: u64,
    started: bool,
    drain: drain::Drain,
    /// Clients whose listener is closed, and that wait for answers.
    dismissed: Vec<ClientKey>,
}

/// Who is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Client(ClientKey),
    Lane(LaneKey),
    Exchange(ExchangeKey),
    /// An exchange that another shard answers.
    Elsewhere(ShardId),
}

/// Links of this shard, by slot. Kept beside the tables, because a frame's way to its owner is on the
/// hot path and must be two loads.
#[derive(Debug, Default)]
struct Links {
    slots: Vec<Option<(LinkId, Peer)>>,
}

impl Links {
    fn get(&self, link: LinkId) -> Option<Peer> {
        match self.slots.get(link.slot() as usize) {
            Some(Some((taken, peer))) if *taken == link => Some(*peer),
            _ => None,
        }
    }

    fn put(&mut self, link: LinkId, peer: Peer) {
        let slot = link.slot() as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some((link, peer));
    }

    fn take(&mut self, link: LinkId) -> Option<Peer> {
        let peer = self.get(link)?;
        self.slots[link.slot() as usize] = None;
        Some(peer)
    }
}

impl Gateway {
    /// A gateway that has not begun: its first event should be the tick that [`Gateway::deadline`] asks for.
    pub fn new(settings: Arc<Settings>, shard: ShardId, builtin: Builtin) -> Self {
        let upstreams = (0..settings.upstreams.len())
            .map(|index| Upstream::new(&settings, index, Moment::START))
            .collect();
        let here = (shard, settings.shards);
        let endpoints = settings::endpoints(&settings.upstreams)
            .enumerate()
            .map(|(number, of)| {
                Endpoint::new(&settings.upstreams[of.0], of, number, here, Moment::START)
            })
            .collect();
        let dice = settings.nonce_seed.iter().fold(u64::from(shard.0), |dice, &byte| {
            dice.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
        });
        Self {
            routes: Routes::new(&settings),
            agents: agents(&settings),
            decisions: policy::Cache::default(),
            governor: settings
                .rates
                .map(|rates| rate::Governor::new(rates, shard, settings.shards)),
            addresses: address::Addresses::default(),
            audit: None,
            span: None,
            context: None,
            tally: tally::Tally::default(),
            has_callers: behalf::has_callers(&settings),
            shown: None,
            execution: None,
            acting: None,
            chore: None,
            tasks: task::table::Tasks::default(),
            sealer: Sealer::new(&settings, shard),
            shard,
            links: Links::default(),
            foreign: BTreeMap::new(),
            clients: Slab::default(),
            held: client::Held::new(&settings.principals),
            flights: Slab::default(),
            lanes: Slab::default(),
            upstreams,
            retired: Vec::new(),
            retired_look: None,
            endpoints,
            gathers: Slab::default(),
            quorums: Slab::default(),
            catalog: Catalog::default(),
            fetches: Slab::default(),
            fetching: BTreeMap::new(),
            exchanges: Exchanges::default(),
            greets: Slab::default(),
            asks: Slab::default(),
            wheel: Wheel::default(),
            builtin,
            scratch: Vec::new(),
            dice,
            started: false,
            drain: drain::Drain::default(),
            dismissed: Vec::new(),
            settings,
        }
    }

    /// Runs one event to its end. Never blocks; what is to be done stands in `out` afterwards.
    pub fn handle(&mut self, now: Now, event: Event<'_>, out: &mut Effects) {
        // Before anything else: mail may be quicker than the first tick.
        if !self.started {
            self.started = true;
            self.start(now, out);
        }
        self.exchanges.now = now.at;
        match event {
            Event::Frame { link, frame } => match self.links.get(link) {
                Some(Peer::Client(client)) => self.client_frame(now, client, frame, out),
                Some(Peer::Lane(lane)) => self.lane_frame(now, lane, frame, out),
                Some(Peer::Exchange(_) | Peer::Elsewhere(_)) | None => {}
            },
            Event::ClientOpened { link, transport, principal } => {
                self.client_opened(link, transport, principal, out);
            }
            Event::Dialed { lane, link } => self.dialed(now, lane, link, out),
            Event::DialFailed { lane, why } => self.lane_lost(now, lane, why, false, out),
            Event::Exchange { link, request } => {
                self.note_shown(&request);
                self.exchange(now, link, request, out);
            }
            Event::Shown { link, token } => self.shown_on(link, token),
            Event::Unauthorized { link, id, why } => {
                if let Some(Peer::Lane(lane)) = self.links.get(link) {
                    self.unauthorized(now, lane, id, why, out);
                }
            }
            Event::Overlong { link } => self.overlong(now, link, out),
            Event::Unsent { link, frames } => {
                if let Some(Peer::Lane(lane)) = self.links.get(link) {
                    self.unsent(lane, frames);
                }
            }
            Event::Undelivered { link, id, is_unsent, why } => {
                if let Some(Peer::Lane(lane)) = self.links.get(link) {
                    self.undelivered(now, lane, id, (is_unsent, why), out);
                }
            }
            Event::Closed { link, why } => match self.links.take(link) {
                Some(Peer::Client(client)) => self.client_gone(now, client, out),
                Some(Peer::Lane(lane)) => self.lane_lost(now, lane, why, true, out),
                Some(Peer::Exchange(key)) => self.exchange_broke(now, key, out),
                Some(Peer::Elsewhere(to)) => {
                    out.push(Effect::Mail { to, mail: Mail::Gone { link } });
                }
                None => {}
            },
            Event::Blocked { link } => self.set_blocked(now, link, true, out),
            Event::Unblocked { link } => self.set_blocked(now, link, false, out),
            Event::Tick => {}
            Event::Mail { from, mail } => self.mail(now, from, mail, out),
            Event::TextRead { ticket, text } => self.text_read(now, ticket, text, out),
            Event::Violated { address } => self.violated(now, address, out),
            Event::Leave => self.give_notice(),
            Event::Drain => self.begin_drain(now, out),
            Event::Dismissed { link, is_overdue } => self.dismissed(now, link, is_overdue, out),
            Event::Settings(settings) => self.renew(now, settings, out),
        }
        self.end_request(out);
        self.shown = None;
        self.ring_alarms(now, out);
        if self.exchanges.have_ended() {
            self.clear_exchanges(now, out);
        }
        if !self.dismissed.is_empty() {
            self.check_dismissed(now, out);
        }
        self.check_drained(now, out);
    }

    /// When [`Event::Tick`] is due next, if ever.
    pub fn deadline(&self) -> Option<Moment> {
        if self.started { self.wheel.next_deadline() } else { Some(Moment::START) }
    }

    /// Whether answers to the client on this link are still to come, although it may have said that it
    /// sends no more: the link stays open for them. A listen stream is no debt; it would never end.
    pub fn owes(&self, link: LinkId) -> bool {
        let Some(Peer::Client(key)) = self.links.get(link) else { return false };
        self.clients.get(key).is_some_and(|client| !client.flights.is_empty())
            || self.is_greeting(key)
    }

    /// The upstreams that are used, with their places, in the order in which lists are merged.
    fn used(&self) -> impl Iterator<Item = (usize, &Upstream)> {
        self.routes.order().iter().filter_map(|&index| Some((index, self.upstreams.get(index)?)))
    }

    /// How many requests are under way; what a drain waits for and the simulator counts.
    pub const fn flights(&self) -> usize {
        self.flights.len()
    }

    /// How many bytes of upstreams' lists are kept.
    pub const fn lists_bytes(&self) -> usize {
        self.catalog.bytes()
    }

    /// How many places there are for upstreams and for endpoints, free ones included.
    pub const fn places(&self) -> (usize, usize) {
        (self.upstreams.len(), self.endpoints.len())
    }

    /// How many entries all tables hold: nothing may be left when everybody has gone.
    pub const fn footprint(&self) -> usize {
        self.clients.len()
            + self.flights.len()
            + self.gathers.len()
            + self.quorums.len()
            + self.fetches.len()
            + self.exchanges.len()
            + self.greets.len()
            + self.asks.len()
    }

    fn ring_alarms(&mut self, now: Now, out: &mut Effects) {
        if self.wheel.has_seen(now.at) {
            return;
        }
        let mut due = Vec::new();
        self.wheel.expire(now.at, |alarm| due.push(alarm));
        for alarm in due {
            match alarm {
                Alarm::Flight(flight) => self.flight_due(now, flight, out),
                Alarm::Lane(lane) => self.lane_overdue(now, lane, out),
                Alarm::Redial(seat) => self.redial(now, seat, out),
                Alarm::Greet(greet) => self.end_greet(greet, out),
                Alarm::Listen(lane) => self.watch(lane, out),
                Alarm::Beat(exchange) => self.beat(now, exchange, out),
                Alarm::Session(client) => self.session_due(now, client, out),
                Alarm::Parked(lane) => self.parked_due(lane, out),
                Alarm::Pool(endpoint) => self.pool_due(now, endpoint, out),
                Alarm::Health(endpoint) => self.health_due(now, endpoint, out),
                Alarm::Task(task) => self.forget_task(task),
                Alarm::List(upstream, notice) => self.list_due(upstream, notice, out),
                Alarm::Drained => self.drain_overdue(),
                Alarm::Retired => self.sweep_retired(now, out),
            }
        }
    }

    fn roll(&mut self) -> u64 {
        roll(&mut self.dice)
    }
}

/// The next number of a splitmix64.
const fn roll(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Whose rules hold for each principal.
fn agents(settings: &Settings) -> Vec<AgentId> {
    let Some(policy) = &settings.policy else { return Vec::new() };
    let all = settings.principals.iter();
    all.map(|principal| policy.agent(settings.principals.agent(principal))).collect()
}
