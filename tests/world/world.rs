//! The world: shards, links and a clock that is ours. Plays the transport's part between the real
//! gateways and the actors (`client`, `server`); decides nothing for either.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::builtin::Builtin;
use ringgate::gateway::lane::LaneKey;
use ringgate::gateway::settings::{self, Target};
use ringgate::gateway::{Effect, Effects, Event, Gateway, Mail, Report, Settings};

use crate::client::Client;
use crate::dice::Dice;
use crate::expect::Update;
use crate::http::{self, Http};
use crate::pipe::{End, Pipe, State};
use crate::reader::Readers;
use crate::server::{Conn, Server};
use crate::trace::Trace;

/// One shard and what its transport remembers.
pub struct Shard {
    pub gateway: Gateway,
    /// When a tick is on its way already.
    tick_at: Option<u64>,
    /// Slots of links that are free, each with its next generation; and the first never used.
    free: Vec<(u32, u32)>,
    slots: u32,
    pub drained: u32,
    pub drain_began: Option<u64>,
}

/// What the queue holds.
#[derive(Debug)]
pub enum Happening {
    Tick {
        shard: usize,
    },
    /// Bytes on their way to the gateway.
    Arrive {
        pipe: usize,
        bytes: Vec<u8>,
    },
    /// The actor's end is closed: in good order, or at once.
    Ended {
        pipe: usize,
        reset: bool,
    },
    /// Bytes on their way to the actor.
    Deliver {
        pipe: usize,
        bytes: Vec<u8>,
    },
    /// The gateway's close has come through.
    Shut {
        pipe: usize,
    },
    /// A paused pipe is read again.
    Pump {
        pipe: usize,
    },
    Dial {
        shard: usize,
        lane: LaneKey,
        endpoint: usize,
    },
    Mail {
        from: usize,
        to: usize,
        mail: Mail,
    },
    Text {
        shard: usize,
        ticket: u64,
        path: String,
    },
    Blocked {
        pipe: usize,
        is: bool,
    },
    /// A client that reads in its own time does so.
    Take {
        pipe: usize,
    },
    /// By that it is blocked, or is not any more.
    Pressed {
        pipe: usize,
        is: bool,
    },
    /// It may be that its time is over.
    Patience {
        pipe: usize,
    },
    Drain {
        shard: usize,
    },
    /// A shard goes by other settings.
    Renew {
        shard: usize,
        settings: Arc<Settings>,
    },
    /// A client does its next thing.
    Act {
        client: usize,
    },
    Connect {
        client: usize,
    },
    /// A client says what it has decided to say.
    Say {
        client: usize,
        pipe: usize,
        frame: String,
    },
    Leave {
        client: usize,
        reset: bool,
    },
    /// A call at a server goes on.
    Step {
        conn: usize,
        call: u64,
    },
    /// A server goes down or comes up.
    Up {
        server: usize,
        is: bool,
    },
    /// A server stops doing anything, or goes on.
    Freeze {
        server: usize,
        is: bool,
    },
    /// A server does something unasked.
    Whim {
        server: usize,
    },
    /// Something of a client over HTTP.
    Http(http::Happening),
}

struct Entry {
    at: u64,
    seq: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest: the earliest is that.
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

/// How slow the world is, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub link_max: u64,
    pub mail_max: u64,
    pub dial_max: u64,
    /// Most bytes that arrive at once; what is longer is split.
    pub chunk_max: u64,
}

impl Pace {
    pub const QUICK: Self =
        Self { link_max: 200, mail_max: 100, dial_max: 1_000, chunk_max: 1 << 20 };
}

/// See the module.
pub struct World {
    pub now: u64,
    seq: u64,
    queue: BinaryHeap<Entry>,
    pub dice: Dice,
    pub trace: Trace,
    pub settings: Arc<Settings>,
    pub pace: Pace,
    pub shards: Vec<Shard>,
    pub pipes: Vec<Pipe>,
    links: BTreeMap<LinkId, usize>,
    pub clients: Vec<Client>,
    pub servers: Vec<Server>,
    /// The servers that upstreams lead to which came in place of others, in their order behind the first.
    pub others: Vec<usize>,
    /// When settings change.
    pub renewals: Vec<u64>,
    pub conns: Vec<Conn>,
    pub http: Http,
    /// Pipes whose actor says no more, but is owed answers.
    half_closed: Vec<usize>,
    mail_at: BTreeMap<(usize, usize), u64>,
    /// What was found to be wrong: the name of the check, and what it saw.
    pub wrongs: Vec<(&'static str, String)>,
    pub reports: Vec<Report>,
    /// Marks of requests that were cancelled, or whose client is gone, while they were under way.
    pub cancelled: Vec<String>,
    pub updates: Vec<Update>,
    pub readers: Readers,
    /// What servers have begun to do, by call and round of it.
    pub effects: BTreeMap<(String, usize), Begun>,
    /// Nobody misbehaves and nothing breaks: every call must succeed.
    pub is_faultless: bool,
    pub events: u64,
    out: Effects,
}

/// What may have come of a call at servers.
#[derive(Debug, Default)]
pub struct Begun {
    pub count: u64,
    /// The configuration says that it may come twice.
    pub is_harmless: bool,
    /// How many servers it is for at once.
    pub places: u64,
}

const UNIX_MS_AT_START: u64 = 1_780_000_000_000;

impl World {
    /// A world of `settings.shards` shards; each begins at its own first tick.
    pub fn new(settings: Settings, dice: Dice, pace: Pace, trace: Trace) -> Self {
        let settings = Arc::new(settings);
        let shards = (0..settings.shards)
            .map(|shard| Shard {
                gateway: Gateway::new(settings.clone(), ShardId(shard), Builtin::new(true)),
                tick_at: None,
                free: Vec::new(),
                slots: 0,
                drained: 0,
                drain_began: None,
            })
            .collect();
        let mut world = Self {
            now: 0,
            seq: 0,
            queue: BinaryHeap::new(),
            dice,
            trace,
            settings,
            pace,
            shards,
            pipes: Vec::new(),
            links: BTreeMap::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            others: Vec::new(),
            renewals: Vec::new(),
            conns: Vec::new(),
            http: Http::default(),
            half_closed: Vec::new(),
            mail_at: BTreeMap::new(),
            wrongs: Vec::new(),
            reports: Vec::new(),
            cancelled: Vec::new(),
            updates: Vec::new(),
            readers: Readers::default(),
            effects: BTreeMap::new(),
            is_faultless: false,
            events: 0,
            out: Effects::default(),
        };
        for shard in 0..world.shards.len() {
            let late = world.dice.below(world.pace.dial_max * 2);
            world.shards[shard].tick_at = Some(late);
            world.plan(late, Happening::Tick { shard });
        }
        world
    }

    pub fn wrong(&mut self, check: &'static str, what: String) {
        self.trace.note(self.now, format_args!("WRONG {check}: {what}"), b"");
        if self.wrongs.len() < 20 {
            self.wrongs.push((check, what));
        }
    }

    /// What clients call the thing that its upstream calls `own`.
    pub fn called(&self, upstream: usize, own: &str, is_uri: bool) -> String {
        let prefix = &self.settings.upstreams[upstream].prefix;
        match (prefix.is_empty(), is_uri) {
            (true, _) => own.to_owned(),
            (false, true) => format!("{prefix}+{own}"),
            (false, false) => format!("{prefix}{}{own}", self.settings.separator),
        }
    }

    /// Whose endpoint a server is: servers stand in the order of the endpoints' numbers.
    pub fn upstream_of(&self, server: usize) -> usize {
        settings::endpoints(&self.settings.upstreams)
            .nth(server)
            .map_or(0, |(upstream, _)| upstream)
    }

    pub fn is_child(&self, server: usize) -> bool {
        let endpoint = settings::endpoints(&self.settings.upstreams).nth(server);
        matches!(endpoint, Some((_, Target::Stdio { .. })))
    }

    pub fn note_cancelled(&mut self, mark: Option<String>) {
        self.cancelled.extend(mark);
    }

    pub fn plan(&mut self, at: u64, what: Happening) {
        self.seq += 1;
        let seq = self.seq;
        self.queue.push(Entry { at: at.max(self.now), seq, what });
    }

    pub fn plan_in(&mut self, after: u64, what: Happening) {
        self.plan(self.now + after, what);
    }

    pub fn delay(&mut self) -> u64 {
        self.dice.between(10, self.pace.link_max.max(10))
    }

    /// Runs until `until`, or until nothing will ever happen again.
    pub fn run_until(&mut self, until: u64) {
        while self.queue.peek().is_some_and(|entry| entry.at <= until) {
            let Some(entry) = self.queue.pop() else { break };
            self.now = entry.at;
            self.events += 1;
            self.happen(entry.what);
        }
        self.now = self.now.max(until);
    }

    pub fn run_for_ms(&mut self, ms: u64) {
        self.run_until(self.now + ms * 1_000);
    }

    /// Runs until nothing is left to happen; how many microseconds that took, or none if it never ends.
    pub fn run_out(&mut self, within_us: u64) -> Option<u64> {
        let (began, until) = (self.now, self.now + within_us);
        while let Some(entry) = self.queue.peek() {
            if entry.at > until {
                // A tick for what has been called off since keeps nothing going.
                let Happening::Tick { shard } = entry.what else { return None };
                if self.shards[shard].gateway.deadline().is_some() {
                    return None;
                }
                self.queue.pop();
                continue;
            }
            let Some(entry) = self.queue.pop() else { break };
            self.now = entry.at;
            self.events += 1;
            self.happen(entry.what);
        }
        Some(self.now - began)
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Tick { shard } => {
                if self.shards[shard].tick_at == Some(self.now) {
                    self.shards[shard].tick_at = None;
                    self.handle(shard, Event::Tick);
                }
            }
            Happening::Arrive { pipe, bytes } => {
                let found = &mut self.pipes[pipe];
                if found.state == State::Open {
                    found.buffer.extend_from_slice(&bytes);
                    self.pump(pipe);
                }
            }
            Happening::Ended { pipe, reset } => {
                self.pipes[pipe].ended = true;
                if reset {
                    self.closed(pipe, "reset by the peer");
                } else {
                    self.pump(pipe);
                }
            }
            Happening::Deliver { pipe, bytes } => self.deliver(pipe, &bytes),
            Happening::Shut { pipe } => {
                self.closed(pipe, "closed here");
                self.end_of(pipe);
            }
            Happening::Pump { pipe } => self.pump(pipe),
            Happening::Dial { shard, lane, endpoint } => self.dial_ends(shard, lane, endpoint),
            Happening::Mail { from, to, mail } => {
                let from = ShardId(u16::try_from(from).unwrap_or(0));
                self.handle(to, Event::Mail { from, mail });
            }
            Happening::Text { shard, ticket, path } => {
                let text = format!("text of {path}");
                let text = if path.contains("missing") { Err("no such file") } else { Ok(&*text) };
                self.handle(shard, Event::TextRead { ticket, text });
            }
            Happening::Blocked { pipe, is } => {
                // Who reads in its own time is blocked by that.
                if self.pipes.get(pipe).is_some_and(|pipe| pipe.reader.is_none()) {
                    self.blocked(pipe, is);
                }
            }
            Happening::Take { pipe } => self.reader_takes(pipe),
            Happening::Pressed { pipe, is } => self.blocked(pipe, is),
            Happening::Patience { pipe } => self.reader_is_looked_at(pipe),
            Happening::Drain { shard } => {
                self.shards[shard].drain_began.get_or_insert(self.now);
                self.trace.note(self.now, format_args!("shard {shard} drains"), b"");
                self.handle(shard, Event::Drain);
            }
            Happening::Renew { shard, settings } => {
                let generation = settings.generation;
                self.trace.note(self.now, format_args!("shard {shard} renews: {generation}"), b"");
                self.handle(shard, Event::Settings(settings));
            }
            Happening::Act { client } => self.client_acts(client),
            Happening::Connect { client } => self.client_connects(client),
            Happening::Say { client, pipe, frame } => self.client_says(client, pipe, &frame),
            Happening::Leave { client, reset } => self.client_leaves(client, reset),
            Happening::Step { conn, call } => self.call_goes_on(conn, call),
            Happening::Up { server, is } => self.server_up(server, is),
            Happening::Freeze { server, is } => self.servers[server].is_frozen = is,
            Happening::Whim { server } => self.server_whim(server),
            Happening::Http(what) => self.http_happens(what),
        }
    }

    /// Gives one event to a gateway and does what it wants done.
    pub fn handle(&mut self, shard: usize, event: Event<'_>) {
        let at = Moment::from_micros(self.now);
        let now = Now { at, unix_ms: UNIX_MS_AT_START + self.now / 1_000 };
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.shards[shard].gateway.handle(now, event, &mut out);
        let list = std::mem::take(&mut out.list);
        for effect in list {
            self.execute(shard, effect, &out.bytes);
        }
        self.out = out;
        for at in (0..self.half_closed.len()).rev() {
            let pipe = self.half_closed[at];
            let Pipe { shard: of, link, .. } = self.pipes[pipe];
            if of == shard && !self.shards[shard].gateway.owes(link) {
                self.half_closed.swap_remove(at);
                self.plan(self.now, Happening::Pump { pipe });
            }
        }
        let due = self.shards[shard].gateway.deadline().map(Moment::as_micros);
        if let Some(due) = due
            && self.shards[shard].tick_at.is_none_or(|at| due < at)
        {
            if due < self.now {
                self.wrong("a deadline lies ahead", format!("shard {shard} wants {due}"));
            }
            self.shards[shard].tick_at = Some(due.max(self.now));
            self.plan(due, Happening::Tick { shard });
        }
    }

    fn execute(&mut self, shard: usize, effect: Effect, bytes: &[u8]) {
        let of = |range: std::ops::Range<usize>| -> Box<[u8]> { bytes[range].into() };
        let is_here = |link: LinkId| usize::from(link.shard().0) == shard;
        match effect {
            Effect::Send { link, bytes: range } if !is_here(link) => {
                self.mail(shard, link.shard(), Mail::Send { link, bytes: of(range) });
            }
            Effect::Respond { link, status, headers, bytes: range } if !is_here(link) => {
                let mail = Mail::Respond { link, status, headers, bytes: of(range) };
                self.mail(shard, link.shard(), mail);
            }
            Effect::Stream { link, headers } if !is_here(link) => {
                self.mail(shard, link.shard(), Mail::Stream { link, headers });
            }
            Effect::Close { link, why } if !is_here(link) => {
                self.mail(shard, link.shard(), Mail::Close { link, why });
            }
            Effect::Send { link, bytes: range } => match self.pipe_of(link) {
                Some(pipe) => self.sent(pipe, &bytes[range]),
                None => self.exchange_told(link, &bytes[range]),
            },
            Effect::Close { link, why } => {
                let Some(pipe) = self.pipe_of(link) else {
                    return self.exchange_closed(link, why);
                };
                self.trace.note(self.now, format_args!("{link} is closed: {why}"), b"");
                if self.pipes[pipe].state != State::Open {
                    return;
                }
                self.judge_close(pipe, why);
                self.pipes[pipe].state = State::Closing;
                let after = self.delay();
                let at = self.pipes[pipe].outward_at.max(self.now) + after;
                self.plan(at, Happening::Shut { pipe });
            }
            Effect::Pause { link } => self.set_paused(link, true),
            Effect::Resume { link } => self.set_paused(link, false),
            Effect::Dial { lane, endpoint } => {
                let after = self.dice.between(20, self.pace.dial_max);
                self.trace.note(
                    self.now,
                    format_args!("shard {shard} dials {endpoint} for {lane:?}"),
                    b"",
                );
                self.plan_in(after, Happening::Dial { shard, lane, endpoint });
            }
            Effect::Mail { to, mail } => self.mail(shard, to, mail),
            Effect::Respond { link, status, headers, bytes: range } => {
                self.exchange_answered(link, status, headers, &bytes[range]);
            }
            Effect::Stream { link, headers } => self.exchange_streams(link, headers),
            // Nothing here has an address, and nobody a token.
            Effect::Span(_)
            | Effect::Violation { .. }
            | Effect::Expel { .. }
            | Effect::Bear { .. } => {}
            Effect::ReadText { ticket, folder, path } => {
                let path = format!("{folder}/{path}");
                let after = self.delay();
                self.plan_in(after, Happening::Text { shard, ticket, path });
            }
            Effect::Report(report) => {
                self.trace.note(self.now, format_args!("shard {shard}: {report:?}"), b"");
                if report == Report::Drained {
                    self.drained(shard);
                    self.exchanges_end(shard);
                }
                self.reports.push(report);
            }
        }
    }

    /// Mail between two shards is late, but in order.
    fn mail(&mut self, shard: usize, to: ShardId, mail: Mail) {
        let to = usize::from(to.0);
        self.trace.note(self.now, format_args!("mail {shard} to {to}: {mail:?}"), b"");
        let after = self.dice.between(1, self.pace.mail_max);
        let last = self.mail_at.entry((shard, to)).or_default();
        let at = (*last).max(self.now + after);
        *last = at;
        self.plan(at, Happening::Mail { from: shard, to, mail });
    }

    fn drained(&mut self, shard: usize) {
        self.shards[shard].drained += 1;
        let (drained, began) = (self.shards[shard].drained, self.shards[shard].drain_began);
        let max = u64::try_from(self.settings.limits.drain.as_micros()).unwrap_or(u64::MAX);
        let in_time = began.is_some_and(|began| self.now <= began + max + 1_000);
        if drained != 1 || !in_time {
            self.wrong(
                "a drain ends once and within its limit",
                format!(
                    "shard {shard}, drained {drained} times, began {began:?}, now {}",
                    self.now
                ),
            );
        }
    }

    fn set_paused(&mut self, link: LinkId, paused: bool) {
        let Some(pipe) = self.pipe_of(link) else { return };
        self.trace.note(self.now, format_args!("{link} paused: {paused}"), b"");
        if self.pipes[pipe].paused == paused {
            self.wrong("a pause changes something", format!("{link} was {paused} already"));
        }
        self.pipes[pipe].paused = paused;
        if paused && matches!(self.pipes[pipe].end, End::Server(_)) {
            self.readers.held_up += 1;
        }
        if !paused {
            self.plan(self.now, Happening::Pump { pipe });
        }
    }

    fn pipe_of(&self, link: LinkId) -> Option<usize> {
        self.links.get(&link).copied()
    }

    /// The gateway has written to a link: judged at once, delivered later.
    fn sent(&mut self, pipe: usize, bytes: &[u8]) {
        if self.pipes[pipe].state == State::Closed {
            return;
        }
        self.trace.note(self.now, format_args!("{} <-", self.pipes[pipe].name()), bytes);
        let Some(lines) = bytes.strip_suffix(b"\n") else {
            self.wrong("a frame ends with a newline", String::from_utf8_lossy(bytes).into());
            return;
        };
        for line in lines.split(|&byte| byte == b'\n') {
            match self.pipes[pipe].end {
                End::Client(client) => self.judge_told(client, line),
                End::Server(conn) => self.judge_asked(conn, line),
            }
        }
        let after = self.delay();
        let found = &mut self.pipes[pipe];
        let at = found.outward_at.max(self.now + after);
        found.outward_at = at;
        found.under_way.push_back(bytes.to_vec());
        if self.reader_is_owed(pipe, bytes.len()) {
            return;
        }
        self.plan(at, Happening::Deliver { pipe, bytes: bytes.to_vec() });
    }

    pub fn deliver(&mut self, pipe: usize, bytes: &[u8]) {
        self.pipes[pipe].under_way.pop_front();
        if self.pipes[pipe].is_left {
            return;
        }
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match self.pipes[pipe].end {
                End::Client(client) => self.client_hears(client, pipe, line),
                End::Server(conn) => self.conn_hears(conn, line),
            }
        }
    }

    /// The actor writes: split and delayed, in order.
    pub fn write(&mut self, pipe: usize, bytes: &[u8]) {
        if self.pipes[pipe].is_left {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = self.dice.between(1, self.pace.chunk_max);
            let (chunk, left) = rest.split_at(rest.len().min(usize::try_from(most).unwrap_or(1)));
            rest = left;
            let after = self.delay();
            let found = &mut self.pipes[pipe];
            let at = found.inward_at.max(self.now + after);
            found.inward_at = at;
            self.plan(at, Happening::Arrive { pipe, bytes: chunk.to_vec() });
        }
    }

    /// The actor ends its pipe.
    pub fn hang_up(&mut self, pipe: usize, reset: bool) {
        if std::mem::replace(&mut self.pipes[pipe].is_left, true) {
            return;
        }
        let at = if reset { self.now } else { self.pipes[pipe].inward_at.max(self.now) };
        let after = self.delay();
        self.plan(at + after, Happening::Ended { pipe, reset });
    }

    /// Gives whole lines to the gateway, as long as it reads.
    fn pump(&mut self, pipe: usize) {
        loop {
            let found = &mut self.pipes[pipe];
            if found.state != State::Open || found.was_overlong {
                return;
            }
            if !found.is_read() {
                return self.is_not_read(pipe);
            }
            let Some(line) = found.next_line() else { break };
            let (shard, link) = (found.shard, found.link);
            self.trace.note(self.now, format_args!("{} ->", self.pipes[pipe].name()), &line);
            match self.pipes[pipe].end {
                End::Client(client) => self.judge_said(client, &line),
                End::Server(conn) => self.judge_answered(conn, &line),
            }
            self.handle(shard, Event::Frame { link, frame: &line });
            if let Some(reader) = &mut self.pipes[pipe].reader {
                reader.spend();
            }
            if let End::Client(client) = self.pipes[pipe].end {
                self.judge_settled(client);
            }
        }
        let found = &self.pipes[pipe];
        if found.pending() > self.settings.limits.frame_bytes_max && !found.was_overlong {
            let (shard, link) = (found.shard, found.link);
            self.pipes[pipe].was_overlong = true;
            self.pipes[pipe].buffer.clear();
            self.handle(shard, Event::Overlong { link });
        } else if found.ended {
            // Who says no more may still be owed answers.
            let (shard, link) = (found.shard, found.link);
            if self.shards[shard].gateway.owes(link) {
                if !self.half_closed.contains(&pipe) {
                    self.half_closed.push(pipe);
                }
            } else {
                self.closed(pipe, "end of stream");
            }
        }
    }

    /// The transport knows that the link is gone, and says so once.
    pub fn closed(&mut self, pipe: usize, why: &'static str) {
        let found = &mut self.pipes[pipe];
        if found.state == State::Closed {
            return;
        }
        found.state = State::Closed;
        let (shard, link, end) = (found.shard, found.link, found.end);
        self.trace.note(self.now, format_args!("{} gone: {why}", self.pipes[pipe].name()), b"");
        match end {
            End::Client(client) => self.judge_gone(client),
            End::Server(conn) => {
                self.judge_conn_gone(conn);
                self.tell_unsent(pipe);
            }
        }
        self.handle(shard, Event::Closed { link, why });
        self.links.remove(&link);
        self.free_link(link);
    }

    /// The transport knows of some that was never written, where the actor has left: any of the last of it.
    fn tell_unsent(&mut self, pipe: usize) {
        let tells = self.settings.upstreams.iter().any(|it| !it.spread.others.is_empty());
        let found = &mut self.pipes[pipe];
        if !tells || !found.is_left || found.under_way.is_empty() {
            return;
        }
        let kept = self.dice.index(found.under_way.len() + 1);
        let unsent: Vec<u8> = found.under_way.iter().skip(kept).flatten().copied().collect();
        let (shard, link) = (found.shard, found.link);
        if !unsent.is_empty() {
            self.handle(shard, Event::Unsent { link, frames: &unsent });
        }
    }

    /// The actor hears that its pipe has ended.
    pub fn end_of(&mut self, pipe: usize) {
        self.pipes[pipe].is_left = true;
        match self.pipes[pipe].end {
            End::Client(client) => self.client_lost(client),
            End::Server(conn) => self.conn_lost(conn),
        }
    }

    /// A new link of a shard.
    pub fn open_pipe(&mut self, shard: usize, end: End) -> usize {
        let link = self.new_link(shard);
        self.pipes.push(Pipe::new(link, shard, end));
        let pipe = self.pipes.len() - 1;
        self.links.insert(link, pipe);
        pipe
    }

    pub fn new_link(&mut self, shard: usize) -> LinkId {
        let from = &mut self.shards[shard];
        let (slot, generation) = from.free.pop().unwrap_or_else(|| {
            from.slots += 1;
            (from.slots - 1, 0)
        });
        let shard_id = ShardId(u16::try_from(shard).unwrap_or(0));
        LinkId::new(shard_id, slot, generation)
    }

    /// Its slot is another link's from now on, of the next generation.
    pub fn free_link(&mut self, link: LinkId) {
        let shard = usize::from(link.shard().0);
        self.shards[shard].free.push((link.slot(), link.generation().wrapping_add(1)));
    }

    /// The server that an endpoint leads to.
    fn server_of(&self, endpoint: usize) -> usize {
        let first = settings::endpoints(&self.settings.upstreams).count();
        endpoint.checked_sub(first).map_or(endpoint, |other| self.others[other])
    }

    fn dial_ends(&mut self, shard: usize, lane: LaneKey, endpoint: usize) {
        let server = self.server_of(endpoint);
        let is_child = self.is_child(server);
        if !self.servers[server].takes(is_child) {
            self.trace.note(self.now, format_args!("server {server} refuses shard {shard}"), b"");
            self.handle(shard, Event::DialFailed { lane, why: "connection refused" });
            return;
        }
        self.conns.push(Conn::new(server, shard));
        let conn = self.conns.len() - 1;
        let pipe = self.open_pipe(shard, End::Server(conn));
        self.conns[conn].pipe = pipe;
        let link = self.pipes[pipe].link;
        self.trace.note(self.now, format_args!("{} dialled", self.pipes[pipe].name()), b"");
        self.handle(shard, Event::Dialed { lane, link });
        self.conn_begins(conn);
    }
}
