//! A shard's state and its one loop: an event goes into the domain, the effects come out and are
//! applied, at once, until nothing follows. No await and no I/O here; the tasks that do I/O
//! ([`super::carrier`], [`super::heart`]) borrow this for the length of one plain call.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Weak;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::acceptor::{Arrival, Door};
use super::blocks::{Blocks, Packing};
use super::census::Counted;
use super::clock::Clock;
use super::coders::Coders;
use super::crowd::Crowd;
use super::domain::{AuditSink, Dialer, Domain, IdentitySink, TraceSink};
use super::errand::Errands;
use super::http::{Front, Gate};
use super::inbox::Inbox;
use super::leave::Waiters;
use super::links::{Due, Face, Life, Link, Links, Side};
use super::mail::Mailbox;
use super::meter::Meter;
use super::pool::Pool;
use super::port::Driver;
use super::post::{Dialed, Post, Renewal};
use super::press::Slow;
use super::revoke::Keyed;
use super::spin::Spinner;
use super::telling::Throttle;
use super::tls::{Certified, ServerTls};
use super::ways::Ways;
use super::{Muster, Shard, crowd, rt};
use crate::base::limits::Limits;
use crate::base::pressure::Spell;
use crate::base::wheel::Wheel;
use crate::base::{LinkId, Moment, Now, ShardId};
use crate::gateway::lane::LaneKey;
use crate::gateway::principal::Principal;
use crate::gateway::token::SubjectToken;
use crate::gateway::{Effect, Effects, Event, Mail, Transport};

/// Effects are applied before this many bytes of answers have gathered, so that a burst of small
/// questions with large answers meets the outbox's bound before it is far over it.
const EFFECT_BYTES: usize = 32 << 10;
/// How long the end of a child's output waits to be told why.
const EPITAPH_MAX: Duration = Duration::from_millis(250);
/// What the shard is doing as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// As before, but `/ready` says otherwise, and HTTP connections end with their next answer.
    Leaving,
    /// No new clients.
    Draining,
    /// Ends as soon as its links are closed.
    Stopping,
}

/// What a link's reader does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read on.
    Read,
    /// Not now; its task is woken when that changes.
    Wait,
    /// Go on after others have had their turn.
    Breathe,
    /// It speaks HTTP/2; what was read is the beginning of it.
    Switch,
    /// Nothing is wanted from it any more.
    Discard,
}

/// What follows from effects; handled after they are applied, in order.
pub(super) enum Follow {
    Blocked(LinkId),
    Unblocked(LinkId),
    /// An exchange was closed before its connection.
    Closed(LinkId, &'static str),
    Letter(Mail),
    /// A link from this address went over a rate.
    Violated(IpAddr),
}

pub(super) struct Dialing {
    pub(super) lane: LaneKey,
    pub(super) link: Option<LinkId>,
}

/// See the module.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a state of its own; no two exclude each other"
)]
pub(super) struct Core<D: Domain> {
    pub(super) me: Weak<Shard<D>>,
    pub(super) id: ShardId,
    pub(super) domain: D,
    pub(super) clock: Clock,
    /// The time of this turn: events of one turn share it.
    pub(super) now: Now,
    /// The link whose task is delivering: it needs no wake, its writer comes next.
    pub(super) running: Option<LinkId>,
    /// Something has happened since the heart last beat.
    pub(super) turn_open: bool,
    pub(super) heart: Option<Waker>,
    pub(super) spinner: Spinner,
    pub(super) out: Effects,
    pub(super) links: Links,
    pub(super) ways: Ways,
    /// Where connections come from, where that is counted.
    pub(super) addresses: BTreeMap<LinkId, IpAddr>,
    /// Who clients are by their certificates.
    pub(super) certified: BTreeMap<LinkId, Certified>,
    /// Each WebSocket and event stream that was opened with a key: with which, and as whose.
    pub(super) keyed: BTreeMap<LinkId, Keyed>,
    /// On whose behalf links to upstreams are used, where that is somebody's.
    pub(super) bearers: BTreeMap<LinkId, Arc<SubjectToken>>,
    /// What listeners with TLS speak.
    pub(super) tls: Option<Arc<ServerTls>>,
    /// Connections that shake hands, which count as clients already.
    pub(super) shaking: usize,
    /// Troubles of TLS that were counted here, and when the log was told of one.
    pub(super) troubles: u64,
    pub(super) trouble_told: Option<Moment>,
    pub(super) follow: VecDeque<Follow>,
    pub(super) wheel: Wheel<Due>,
    pub(super) pool: Pool,
    pub(super) coders: Coders,
    pub(super) meter: Arc<Meter>,
    pub(super) mailbox: Mailbox,
    pub(super) post: Post,
    pub(super) dialer: Box<dyn Dialer>,
    pub(super) errands: Errands,
    pub(super) limits: Arc<Limits>,
    pub(super) front: Arc<Front>,
    pub(super) packing: Packing,
    /// Whose requests come in.
    pub(super) gate: Gate,
    /// `Date` of responses, and the second that it is of.
    pub(super) date: (u64, String),
    pub(super) dials: BTreeMap<u64, Dialing>,
    pub(super) next_ticket: u64,
    pub(super) phase: Phase,
    /// The domain has said that it is drained, or ran out of time for it.
    pub(super) drained: bool,
    pub(super) drained_told: bool,
    pub(super) muster: Arc<Muster>,
    pub(super) audit: Option<AuditSink>,
    /// How full listeners have been; the first shard looks for all.
    pub(super) crowd: Crowd,
    pub(super) traces: Option<TraceSink>,
    pub(super) counted: Counted,
    pub(super) throttle: Throttle,
    /// Links whose reads wait for what is being written: since this turn, and since the one before.
    pub(super) held_back: Vec<LinkId>,
    pub(super) held_before: Vec<LinkId>,
    /// Of clients that are behind, since when and what they took.
    pub(super) spells: BTreeMap<LinkId, Spell>,
    /// Links that are closing, and whose peers took some of what waited: since when.
    pub(super) closing_since: BTreeMap<LinkId, Moment>,
    /// Tasks that do not read for a driven link while it is paused.
    pub(super) held_up: BTreeMap<LinkId, Vec<Waker>>,
    /// The bell was heard: there may be commands.
    pub(super) rung: bool,
    /// Tasks to wake when the phase changes: acceptors, and those that wait for the end.
    pub(super) on_phase: Waiters,
}

/// What a core is made of.
pub(super) struct Parts<D: Domain> {
    pub(super) me: Weak<Shard<D>>,
    pub(super) id: ShardId,
    pub(super) domain: D,
    pub(super) clock: Clock,
    pub(super) meter: Arc<Meter>,
    pub(super) mailbox: Mailbox,
    pub(super) post: Post,
    pub(super) dialer: Box<dyn Dialer>,
    pub(super) limits: Arc<Limits>,
    pub(super) front: Arc<Front>,
    pub(super) packing: Packing,
    pub(super) muster: Arc<Muster>,
    pub(super) audit: Option<AuditSink>,
    pub(super) traces: Option<TraceSink>,
    pub(super) identity: Option<IdentitySink>,
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl<D: Domain> Core<D> {
    pub(super) fn new(parts: Parts<D>) -> Self {
        let Parts {
            me,
            id,
            domain,
            mut clock,
            meter,
            mailbox,
            post,
            dialer,
            limits,
            front,
            packing,
            muster,
            audit,
            traces,
            identity,
            tls,
        } = parts;
        let now = clock.now();
        let mut wheel = Wheel::default();
        if id == ShardId(0) {
            wheel.set(now.at, crowd::LOOK, Due::Crowd);
        }
        let gate = Gate::new(front.tokens.as_ref(), limits.tokens_max, identity);
        Self {
            me,
            id,
            domain,
            now,
            clock,
            running: None,
            turn_open: false,
            heart: None,
            spinner: Spinner::default(),
            out: Effects::default(),
            links: Links::new(id),
            ways: Ways::default(),
            addresses: BTreeMap::new(),
            certified: BTreeMap::new(),
            keyed: BTreeMap::new(),
            bearers: BTreeMap::new(),
            tls,
            shaking: 0,
            troubles: 0,
            trouble_told: None,
            follow: VecDeque::new(),
            wheel,
            pool: Pool::default(),
            coders: Coders::default(),
            meter,
            mailbox,
            errands: Errands::new(id, post.clone(), limits.frame_bytes_max),
            post,
            dialer,
            limits,
            front,
            packing,
            gate,
            date: (0, String::new()),
            dials: BTreeMap::new(),
            next_ticket: 0,
            phase: Phase::Serving,
            drained: false,
            drained_told: false,
            muster,
            audit,
            crowd: Crowd::default(),
            traces,
            counted: Counted::default(),
            throttle: Throttle::default(),
            held_back: Vec::new(),
            held_before: Vec::new(),
            spells: BTreeMap::new(),
            closing_since: BTreeMap::new(),
            held_up: BTreeMap::new(),
            rung: false,
            on_phase: Waiters::default(),
        }
    }

    /// The first thing that happens in a turn reads the clock and wakes the heart, which then runs
    /// after all tasks that are awake now.
    #[inline]
    pub(super) fn open_turn(&mut self) {
        if !self.turn_open {
            self.begin_turn();
            if let Some(heart) = &self.heart {
                heart.wake_by_ref();
            }
        }
    }

    /// As [`Core::open_turn`], for the heart itself, which is awake.
    pub(super) fn begin_turn(&mut self) {
        if !self.turn_open {
            self.turn_open = true;
            self.now = self.clock.now();
        }
    }

    /// One event that has nothing borrowed from the core, to its end.
    pub(super) fn handle(&mut self, event: Event<'_>) {
        self.domain.handle(self.now, event, &mut self.out);
        self.settle();
    }

    // ── what the tasks say ──────────────────────────────────────────────────────────────────────

    /// Whether there is room for one more client; counts it as refused if not.
    pub(super) fn takes_clients(&self, transport: Transport) -> bool {
        let most = crowd::most(&self.limits, transport);
        if let Some((_, turned_away)) = crowd::counts(&self.meter, transport)
            && crowd::open(self.muster.meters(), transport) >= most
        {
            turned_away.add(1);
            return false;
        }
        let takes = self.links.clients() + self.shaking < self.limits.clients_max
            && !self.links.is_full()
            && self.phase < Phase::Draining;
        if !takes {
            self.meter.refused.add(1);
        }
        takes
    }

    /// Tells the operator of listeners that have been nearly full for long.
    fn look_at_crowd(&mut self) {
        let (meters, limits) = (self.muster.meters(), &self.limits);
        let crowded = self.crowd.look(self.now.at, |transport| {
            (crowd::open(meters, transport), crowd::most(limits, transport))
        });
        for transport in crowded {
            let (open, most) = (crowd::open(meters, transport), crowd::most(limits, transport));
            let listener = transport.name();
            tracing::warn!(
                listener,
                open,
                most,
                "max_connections: more than 80 % for 5 minutes; raise it or find who holds them"
            );
        }
        self.wheel.set(self.now.at, crowd::LOOK, Due::Crowd);
    }

    /// Whether one more connection from this address is let in; if not, how long until it is worth trying.
    pub(super) fn lets_in(&mut self, address: IpAddr) -> Result<(), Duration> {
        self.open_turn();
        let is_let_in = self.domain.admit(self.now, address, &mut self.out);
        self.settle();
        if is_let_in.is_err() {
            self.meter.shut_out.add(1);
        }
        is_let_in
    }

    /// Takes a connected client in.
    pub(super) fn open_client(&mut self, transport: Transport, arrival: Arrival) -> LinkId {
        self.open_turn();
        let link = self.insert(Side::Client(transport));
        let Arrival { from, door, way, certified, alpn } = arrival;
        if let Some(from) = from {
            self.addresses.insert(link, from);
        }
        let principal = certified.as_ref().map_or(Principal::ANONYMOUS, |it| it.principal);
        if let Some(certified) = certified {
            self.certified.insert(link, certified);
        }
        if let Some(link) = self.links.get_mut(link) {
            (link.door, link.way) = (door, way);
            link.face = Face::of(transport, alpn);
        }
        self.meter.accepted.add(1);
        if let Some((open, _)) = crowd::counts(&self.meter, transport) {
            open.add(1);
        }
        if transport == Transport::Http {
            // Its exchanges are what the domain knows.
            self.begin_idle(link);
        } else {
            self.handle(Event::ClientOpened { link, transport, principal });
        }
        link
    }

    fn insert(&mut self, side: Side) -> LinkId {
        let link = self.links.insert(Link::new(side));
        self.meter.links_open.set(self.links.len() as u64);
        link
    }

    /// All that there is to be told of all shards, and how long certificates are good for.
    pub(super) fn metrics(&self) -> String {
        let mut text = self.muster.metrics();
        if let Some(tls) = &self.tls {
            tls.tell_days(self.now.unix_ms / 1_000, &mut text);
        }
        text
    }

    /// By which door the client of this link came; for a stream, that of its connection. And who it is by its
    /// certificate, until when.
    pub(super) fn arrived(&self, id: LinkId) -> (Door, Option<(Principal, u64)>) {
        let connection = match self.links.get(id).map(|link| link.side) {
            Some(Side::Stream(connection)) => connection,
            _ => id,
        };
        let door = self.links.get(connection).map_or(Door::Plain, |link| link.door);
        let is_known = door == Door::Tls && !self.certified.is_empty();
        let certified = is_known.then(|| self.certified.get(&connection)).flatten();
        (door, certified.map(|it| (it.principal, it.until)))
    }

    /// Hands on every line that a link has read.
    pub(super) fn deliver(&mut self, id: LinkId, inbox: &mut Inbox) -> Verdict {
        self.open_turn();
        self.running = Some(id);
        let so_far = self.meter.frames_in.get();
        let mut has_lines = true;
        let verdict = match self.links.get(id).map(|link| &link.face) {
            Some(Face::Http(_)) => {
                has_lines = false;
                self.deliver_http(id, inbox)
            }
            Some(Face::Ws(_)) => {
                has_lines = false;
                self.deliver_ws(id, inbox)
            }
            Some(Face::Hello) => self.deliver_hello(id, inbox),
            Some(Face::Blocks(blocks)) => {
                let codec = blocks.codec;
                self.deliver_blocks(id, codec, inbox)
            }
            _ => self.deliver_all(id, inbox),
        };
        self.running = None;
        if verdict == Verdict::Wait {
            self.stalled(id);
        }
        if has_lines && (inbox.is_timed || inbox.is_begun()) && verdict != Verdict::Discard {
            let is_another = self.meter.frames_in.get() != so_far;
            inbox.is_timed = self.time_line(id, inbox.is_begun(), is_another);
        }
        verdict
    }

    #[inline]
    pub(super) fn deliver_all(&mut self, id: LinkId, inbox: &mut Inbox) -> Verdict {
        loop {
            let allowance = match self.links.get(id) {
                None => return self.discard(inbox),
                Some(link) if link.life >= Life::Closing => return self.discard(inbox),
                Some(link) if !link.reads() => return Verdict::Wait,
                Some(link) => link.allowance(),
            };
            let mut frames = 0;
            let mut looked = 0;
            let mut dry = true;
            while let Some(frame) = inbox.next() {
                self.domain.handle(self.now, Event::Frame { link: id, frame }, &mut self.out);
                frames += 1;
                if self.out.bytes.len() > EFFECT_BYTES
                    || frames == allowance
                    || stops(&self.out, id, &mut looked)
                {
                    dry = false;
                    break;
                }
            }
            self.meter.frames_in.add(frames);
            if let Some(link) = self.links.get_mut(id) {
                link.pressure.spend(frames);
                self.counted.frames(link.side, frames);
            }
            self.settle();
            if !dry {
                continue;
            }
            if inbox.unfinished() > self.limits.frame_bytes_max {
                if let Some(link) = self.links.get_mut(id) {
                    link.overlong = true;
                }
                inbox.discard(&mut self.pool);
                self.handle(Event::Overlong { link: id });
            }
            return match self.links.get(id) {
                Some(link) if link.life < Life::Closing => {
                    if link.reads() {
                        Verdict::Read
                    } else {
                        Verdict::Wait
                    }
                }
                _ => self.discard(inbox),
            };
        }
    }

    pub(super) fn discard(&mut self, inbox: &mut Inbox) -> Verdict {
        inbox.discard(&mut self.pool);
        Verdict::Discard
    }

    /// The peer has said that it sends no more.
    pub(super) fn ended(&mut self, id: LinkId) {
        self.open_turn();
        let Some(link) = self.links.get_mut(id) else { return };
        if link.life != Life::Open {
            return;
        }
        if link.is_http() {
            return self.peer_left(id);
        }
        link.life = Life::Ended;
        match link.side {
            Side::Client(_) | Side::Stream(_) => {
                self.stalled_for_good(id);
                self.close_unless_owed(id);
            }
            Side::Upstream { .. } => self.mourn(id, Cow::Borrowed("the peer closed it")),
        }
    }

    /// Reading has failed.
    pub(super) fn broke(&mut self, id: LinkId, error: &std::io::Error) {
        self.open_turn();
        let why = Cow::Owned(error.to_string());
        match self.links.get(id).map(|link| link.side) {
            Some(Side::Upstream { .. }) => self.mourn(id, why),
            Some(Side::Client(_) | Side::Stream(_)) => self.kill(id, why),
            None => {}
        }
    }

    /// Writing has failed. An upstream's last words may still lie in the socket and are read first; a
    /// client's are of no use.
    pub(super) fn deafened(&mut self, id: LinkId, error: &std::io::Error) {
        self.open_turn();
        let Some(link) = self.links.get_mut(id) else { return };
        link.deaf = true;
        link.in_flight = 0;
        if link.is_client() || link.life >= Life::Closing {
            self.kill(id, Cow::Owned(error.to_string()));
        } else if link.life == Life::Open {
            self.set_timer(id, EPITAPH_MAX, Due::Epitaph(id));
        }
    }

    /// Ends an upstream's link, after having waited a little for a better reason than `why`.
    fn mourn(&mut self, id: LinkId, why: Cow<'static, str>) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Side::Upstream { tells_its_end, .. } = link.side else { return };
        if tells_its_end && link.why.is_none() && self.phase < Phase::Stopping {
            self.set_timer(id, EPITAPH_MAX, Due::Epitaph(id));
            if let Some(link) = self.links.get_mut(id) {
                link.life = Life::Ended;
            }
        } else {
            self.kill(id, why);
        }
    }

    /// What to write next on a link: the whole outbox.
    pub(super) fn take_outbox(&mut self, id: LinkId) -> Outgoing {
        let Some(link) = self.links.get_mut(id) else { return Outgoing::End };
        if link.deaf {
            link.outbox = Vec::new();
        }
        if !link.outbox.is_empty() {
            if let Face::Blocks(_) = link.face {
                return self.take_blocks(id);
            }
            let bytes = std::mem::take(&mut link.outbox);
            link.in_flight = bytes.len();
            return Outgoing::Bytes(bytes);
        }
        if link.life >= Life::Closing { Outgoing::End } else { Outgoing::Nothing }
    }

    /// `n` bytes were written; `rest` are still under way.
    pub(super) fn wrote(&mut self, id: LinkId, n: usize, rest: usize) {
        self.meter.writes.add(1);
        self.meter.bytes_out.add(n as u64);
        self.drew(id, n, rest);
    }

    /// The link's task is done with it.
    pub(super) fn leave(&mut self, id: LinkId) {
        let Some(mut link) = self.links.remove(id) else { return };
        if !self.addresses.is_empty() {
            self.addresses.remove(&id);
        }
        if !self.certified.is_empty() {
            self.certified.remove(&id);
        }
        self.forget_key(id);
        if !self.closing_since.is_empty() {
            self.closing_since.remove(&id);
        }
        self.let_go(id);
        if !self.bearers.is_empty() {
            self.bearers.remove(&id);
        }
        if !link.pressure.is_flowing() {
            self.spells.remove(&id);
        }
        self.open_turn();
        self.meter.links_open.set(self.links.len() as u64);
        if let Side::Client(transport) = link.side
            && let Some((open, _)) = crowd::counts(&self.meter, transport)
        {
            open.less();
        }
        if let Some(timer) = link.timer.take() {
            self.wheel.cancel(timer);
        }
        if matches!(link.side, Side::Upstream { .. }) && !link.outbox.is_empty() {
            self.handle(Event::Unsent { link: id, frames: &link.outbox });
        }
        self.pool.give(std::mem::take(&mut link.outbox));
        if let Side::Upstream { ticket, .. } = link.side {
            self.dials.remove(&ticket);
            self.dialer.released(ticket);
        }
        let why = link.why.unwrap_or(Cow::Borrowed("its task ended"));
        if let Side::Stream(connection) = link.side {
            self.close_stream(connection);
        }
        let told = match link.face {
            Face::Lines | Face::Hello | Face::Blocks(_) | Face::Ws(_) => Some(id),
            Face::Http(face) => face.exchange,
            Face::Http2 { .. } => None,
            Face::Stream(face) => face.is_told.then_some(id),
        };
        if let Some(id) = told {
            self.links.close_exchange(id);
            self.handle(Event::Closed { link: id, why: &why });
        }
    }

    // ── what others say ─────────────────────────────────────────────────────────────────────────

    pub(super) fn dialed(&mut self, ticket: u64, outcome: Result<Dialed, String>) {
        let Some(dialing) = self.dials.get_mut(&ticket) else { return };
        let lane = dialing.lane;
        let reached = outcome.and_then(|dialed| {
            let (blocks, tells_its_end) = (dialed.blocks, dialed.tells_its_end);
            let halves = match dialed.input {
                None => rt::adopt(dialed.socket),
                Some(input) => rt::adopt_reader(dialed.socket.into_plain())
                    .and_then(|reader| Ok((reader, rt::adopt_writer(input)?))),
            };
            Ok((halves.map_err(|error| error.to_string())?, blocks, tells_its_end))
        });
        match reached {
            Ok((halves, blocks, tells_its_end)) if self.phase < Phase::Stopping => {
                let link = self.insert(Side::Upstream { ticket, tells_its_end });
                if let Some((codec, link)) = blocks.zip(self.links.get_mut(link)) {
                    link.face = Face::Blocks(Blocks::new(codec));
                }
                if let Some(dialing) = self.dials.get_mut(&ticket) {
                    dialing.link = Some(link);
                }
                self.handle(Event::Dialed { lane, link });
                if let Some(shard) = self.me.upgrade() {
                    rt::spawn(super::carrier::carry(shard, link, halves));
                }
            }
            Ok(_) => self.dial_failed(ticket, lane, "the gateway is stopping"),
            Err(why) => self.dial_failed(ticket, lane, &why),
        }
    }

    /// A dial has brought a link that something drives.
    pub(super) fn driven(&mut self, ticket: u64, driver: Driver) {
        let Some(lane) = self.dials.get(&ticket).map(|dialing| dialing.lane) else { return };
        if self.phase >= Phase::Stopping {
            return self.dial_failed(ticket, lane, "the gateway is stopping");
        }
        let link = self.insert(Side::Upstream { ticket, tells_its_end: false });
        if let Some(dialing) = self.dials.get_mut(&ticket) {
            dialing.link = Some(link);
        }
        self.handle(Event::Dialed { lane, link });
        if let Some(shard) = self.me.upgrade() {
            rt::spawn(super::port::drive(shard, link, driver));
        }
    }

    fn dial_failed(&mut self, ticket: u64, lane: LaneKey, why: &str) {
        self.dials.remove(&ticket);
        self.dialer.released(ticket);
        self.handle(Event::DialFailed { lane, why });
    }

    /// What was dialled has told how it ended.
    pub(super) fn epitaph(&mut self, ticket: u64, why: String) {
        let Some(id) = self.dials.get(&ticket).and_then(|dialing| dialing.link) else { return };
        let Some(link) = self.links.get_mut(id) else { return };
        if link.life == Life::Open {
            // Its last words may still be in the socket; the end of the stream follows them, unless
            // a grandchild holds the other end.
            link.why = Some(Cow::Owned(why));
            link.paused = false;
            link.wake();
            self.set_timer(id, EPITAPH_MAX, Due::Epitaph(id));
        } else {
            self.kill(id, Cow::Owned(why));
        }
    }

    /// The dialer first: the domain may dial what is new at once.
    pub(super) fn renew(&mut self, renewal: Renewal) {
        let Renewal { settings, front, tls, compression } = renewal;
        self.packing.compression = compression;
        self.tls = tls;
        self.close_unknown();
        self.dialer.renew(&settings);
        self.errands.bytes_max = settings.limits.frame_bytes_max;
        self.limits = Arc::new(settings.limits.clone());
        self.handle(Event::Settings(settings));
        // After it: a key or token may be a principal's that it did not know before.
        self.gate.renew(front.tokens.as_ref(), self.limits.tokens_max);
        self.front = front;
        self.close_unkeyed();
    }

    /// Everything whose time has come.
    pub(super) fn tick(&mut self) {
        let mut due = Vec::new();
        self.wheel.expire(self.now.at, |one| due.push(one));
        for one in due {
            match one {
                Due::Blocked(id) => {
                    self.forget_timer(id);
                    self.give_up(id, Slow::Blocked);
                }
                Due::Flush(id) => {
                    self.forget_timer(id);
                    self.flush_is_over(id);
                }
                Due::Owes(id) => {
                    self.forget_timer(id);
                    self.close_unless_owed(id);
                }
                Due::Late(id) => {
                    self.forget_timer(id);
                    self.late(id);
                }
                Due::Ping(id) => {
                    self.forget_timer(id);
                    self.ping(id);
                }
                Due::Epitaph(id) => {
                    self.forget_timer(id);
                    self.kill(id, Cow::Borrowed("the upstream closed its output"));
                }
                Due::Leave => self.drain(),
                Due::Drain => self.drained = true,
                Due::WayNotice(way) => self.drain_way(way),
                Due::WayDrain(way) => self.end_way(way),
                Due::Crowd => self.look_at_crowd(),
            }
        }
        if self.domain.deadline().is_some_and(|deadline| deadline <= self.now.at) {
            self.handle(Event::Tick);
        }
    }

    pub(super) fn text_read(&mut self, ticket: u64, text: &Result<String, String>) {
        let text = text.as_deref().map_err(String::as_str);
        self.handle(Event::TextRead { ticket, text });
    }

    /// Mail, without settling: the caller settles after a batch.
    pub(super) fn letter(&mut self, from: ShardId, mail: Mail) {
        self.meter.mail_in.add(1);
        self.domain.handle(self.now, Event::Mail { from, mail }, &mut self.out);
        if self.out.bytes.len() > EFFECT_BYTES {
            self.settle();
        }
    }
}

/// What a link's writer does next.
pub(super) enum Outgoing {
    Bytes(Vec<u8>),
    /// Nothing waits; its task is woken when something does.
    Nothing,
    /// Nothing waits and nothing will.
    End,
}

/// Whether one of the effects since the last look ends the reading of this link for now.
#[inline]
fn stops(out: &Effects, id: LinkId, looked: &mut usize) -> bool {
    let new = out.list.get(*looked..).unwrap_or(&[]);
    // The last one may still grow, if it is a send; it is looked at again, which does no harm.
    *looked = out.list.len();
    new.iter().any(|effect| match effect {
        Effect::Pause { link } | Effect::Close { link, .. } => *link == id,
        _ => false,
    })
}
