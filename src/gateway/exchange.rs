//! Exchanges: what a client's requests came in, where their answers do not simply leave on its link. A
//! batch on a byte stream (its answers leave together), a POST (its answers are its response: one JSON
//! document, or an event stream once anything else must be said first), and the two kinds of streams
//! that clients hold open. Not here: what a request means, and whether a POST is legal (`post`).

use std::time::Duration;

use super::behind::{Behind, Pot};
use super::client::{Client, ClientKey, Front};
use super::door::{Effect, Effects};
use super::ring::{Lost, Ring};
use super::timer::AlarmKey;
use crate::base::{Key, LinkId, Moment, Slab};
use crate::mcp::{Code, Notice, Version, error};
use crate::wire::Json;

/// Bytes of a batch's answers that are gathered: what a client's link may hold at most. A hundred of the largest
/// answers would be 400 MiB, and cost the link when they leave.
const BATCH_BYTES_MAX: usize = 16 << 20;
pub type ExchangeKey = Key<Exchange>;

/// What an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch on a byte stream.
    Line,
    /// A POST of a modern client: all that is known of the client, and its end is the client's.
    Modern,
    /// A POST in a session. Its break ends nothing: the stream can be resumed.
    Legacy,
    /// A session's GET stream, for what answers nothing. Lives as long as the session, connected or not.
    Session,
    /// The one stream of a client of HTTP+SSE (2024-11-05).
    Sse,
}

/// See the module.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, most of them set once")]
pub struct Exchange {
    pub client: ClientKey,
    pub kind: Kind,
    /// Answers still to come; one more while a batch is being read, so that it cannot end early.
    pub left: usize,
    pub is_batch: bool,
    /// REST: the response is the bare result, and never a stream.
    pub is_plain: bool,
    /// The peer, while it is there.
    pub link: Option<LinkId>,
    pub version: Version,
    /// `Mcp-Session-Id` to be told.
    pub session: Option<Box<str>>,
    pub alarm: Option<AlarmKey>,
    /// Something was sent since the heart last beat.
    pub is_lively: bool,
    /// While its peer does not read what waits for it. Not a field's worth more where it does.
    pub behind: Behind,
    status: u16,
    /// It came too soon.
    limited: Option<Limited>,
    is_streaming: bool,
    /// The response has left, whole.
    is_answered: bool,
    /// All answers were given; kept for who resumes.
    is_over: bool,
    /// Events up to this one have gone out on some link.
    sent: u64,
    gathered: Vec<u8>,
    ring: Option<Box<Ring>>,
}

/// Which rate a POST went over, and for how long (draft-ietf-httpapi-ratelimit-headers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The key of `[rates]` that sets it.
    pub limit: &'static str,
    pub per_second: u32,
    pub wait: Duration,
}

impl Exchange {
    pub const fn new(
        client: ClientKey,
        kind: Kind,
        link: Option<LinkId>,
        version: Version,
    ) -> Self {
        Self {
            client,
            kind,
            left: 1,
            is_batch: false,
            is_plain: false,
            link,
            version,
            session: None,
            alarm: None,
            is_lively: false,
            behind: Behind::none(),
            status: 200,
            limited: None,
            is_streaming: false,
            is_answered: false,
            is_over: false,
            sent: 0,
            gathered: Vec::new(),
            ring: None,
        }
    }

    /// A batch that is being read.
    pub fn batch(client: ClientKey, kind: Kind, link: Option<LinkId>, version: Version) -> Self {
        Self { is_batch: true, ..Self::new(client, kind, link, version) }
    }

    pub const fn is_streaming(&self) -> bool {
        self.is_streaming
    }

    /// A stream that its client may go on with on another connection, and knows how.
    pub fn can_be_resumed(&self) -> bool {
        self.is_streaming
            && matches!(self.kind, Kind::Legacy | Kind::Session)
            && self.version >= Version::V2025_11_25
    }

    /// All was said: what it owed has left, or its end has.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether something may be said on it before its answer: somebody listens, or may later.
    fn takes_events(&self) -> bool {
        match self.kind {
            Kind::Line => false,
            Kind::Modern | Kind::Sse => self.link.is_some() && !self.is_plain,
            Kind::Legacy => !self.is_over && (self.link.is_some() || self.ring.is_some()),
            Kind::Session => true,
        }
    }

    /// Answers with an event stream, from now on.
    fn commit(&mut self, key: ExchangeKey, now: Moment, out: &mut Effects) {
        let Some(link) = self.link.filter(|_| !self.is_streaming && !self.is_plain) else { return };
        self.is_streaming = true;
        out.push(Effect::Stream { link, headers: self.headers() });
        if self.kind == Kind::Legacy {
            let ring = self.ring.insert(Box::default());
            // Only newer clients can read an event without data.
            if self.version >= Version::V2025_11_25 {
                self.sent = ring.push(now, b"");
                let at = out.bytes.len();
                write_event(&mut out.bytes, Some((key, self.sent)), |_| {});
                out.sent(link, at);
            }
        }
    }

    fn headers(&mut self) -> super::http::HeaderPairs {
        let session = self.session.take().map(|id| ("mcp-session-id", id.into_string()));
        let mut headers: super::http::HeaderPairs = session.into_iter().collect();
        if let Some(Limited { limit, per_second, wait }) = self.limited {
            // Whole seconds (RFC 9110 section 10.2.3), rounded up.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.push(("retry-after", seconds.to_string()));
            headers.push(("ratelimit-policy", format!("\"{limit}\";q={per_second};w=1")));
            headers.push(("ratelimit", format!("\"{limit}\";r=0;t={seconds}")));
        }
        headers
    }

    /// One event, to who listens and to who may resume.
    fn event(
        &mut self,
        key: ExchangeKey,
        now: Moment,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.kind == Kind::Session && self.ring.is_none() {
            self.ring = Some(Box::default());
        }
        let number = self.ring.as_ref().map(|ring| ring.last() + 1);
        if number.is_none() && self.link.is_none() {
            return;
        }
        let at = out.bytes.len();
        let frame = write_event(&mut out.bytes, number.map(|number| (key, number)), write);
        if let Some(ring) = &mut self.ring {
            ring.push(now, out.bytes.get(frame).unwrap_or_default());
        }
        self.is_lively = true;
        if let Some(link) = self.link {
            self.sent = number.unwrap_or_default();
            out.sent(link, at);
        } else {
            out.bytes.truncate(at);
        }
    }

    /// Its peer reads again, or is gone: what it was not told is said, or kept for who resumes.
    pub fn catch_up(&mut self, key: ExchangeKey, now: Moment, out: &mut Effects) {
        for frame in self.behind.end() {
            self.event(key, now, out, |out| out.extend_from_slice(&frame));
        }
    }

    /// A comment, so that nobody between takes the stream for dead.
    pub fn beat(&mut self, key: ExchangeKey, now: Moment, out: &mut Effects) {
        self.commit(key, now, out);
        if let Some(link) = self.link
            && !std::mem::take(&mut self.is_lively)
            && self.is_streaming
        {
            out.send_raw(link, b":\n\n");
        }
    }

    /// Goes on at another link: with what came after event `after`, or with what was never sent.
    pub fn resume(
        &mut self,
        (key, now): (ExchangeKey, Moment),
        link: LinkId,
        after: Option<u64>,
        out: &mut Effects,
    ) -> Result<(), Lost> {
        // What is owed to who does not read is for who reads now.
        let before = self.link.take();
        self.catch_up(key, now, out);
        self.link = before;
        let Some(ring) = self.ring.as_deref() else {
            if after.is_some_and(|after| after > 0) {
                return Err(Lost);
            }
            out.push(Effect::Stream { link, headers: Vec::new() });
            (self.link, self.is_streaming) = (Some(link), true);
            return Ok(());
        };
        let after = match after {
            Some(after) => after,
            // What fell out while nobody listened is lost; nobody was promised it.
            None if ring.after(self.sent).is_ok() => self.sent,
            None => ring.last(),
        };
        let events = ring.after(after)?;
        out.push(Effect::Stream { link, headers: Vec::new() });
        for (number, frame) in events {
            let at = out.bytes.len();
            write_event(&mut out.bytes, Some((key, number)), |out| out.extend_from_slice(frame));
            out.sent(link, at);
        }
        self.sent = ring.last();
        (self.link, self.is_streaming) = (Some(link), true);
        if self.is_over {
            out.push(Effect::Close { link, why: "all was said" });
            self.link = None;
        }
        Ok(())
    }

    /// Bytes kept for who resumes.
    pub fn kept(&self) -> usize {
        self.ring.as_ref().map_or(0, |ring| ring.bytes())
    }
}

/// Appends one event; gives where its frame lies. An empty frame is an event without data.
fn write_event(
    out: &mut Vec<u8>,
    id: Option<(ExchangeKey, u64)>,
    write: impl FnOnce(&mut Vec<u8>),
) -> std::ops::Range<usize> {
    if let Some((key, number)) = id {
        out.extend_from_slice(format!("id: {:x}-{number}\n", key.to_bits()).as_bytes());
    }
    let head = out.len();
    out.extend_from_slice(b"event: message\ndata: ");
    let start = out.len();
    write(out);
    let end = out.len();
    if start == end {
        out.truncate(head);
        out.extend_from_slice(b"data: \n\n");
        return head..head;
    }
    out.extend_from_slice(b"\n\n");
    start..end
}

/// Reads an event id of ours: the exchange and the number.
pub fn read_event_id(text: &str) -> Option<(ExchangeKey, u64)> {
    let (key, number) = text.split_once('-')?;
    let bits = u64::from_str_radix(key, 16).ok()?;
    let key = Key::from_bits(bits);
    (key.to_bits() == bits).then_some((key, number.parse().ok()?))
}

/// All exchanges of a shard that are open.
#[derive(Debug, Default)]
pub struct Exchanges {
    slab: Slab<Exchange>,
    /// The time of the event that is being handled.
    pub now: Moment,
    /// Exchanges that this event has ended; the gateway clears up behind them.
    pub over: Vec<ExchangeKey>,
    /// Clients of one exchange that may have ended after it.
    pub left_behind: Vec<ClientKey>,
    /// What those who do not read are owed, all together.
    pub pot: Pot,
}

impl Exchanges {
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub fn insert(&mut self, exchange: Exchange) -> ExchangeKey {
        self.slab.insert(exchange)
    }

    pub fn get(&self, key: ExchangeKey) -> Option<&Exchange> {
        self.slab.get(key)
    }

    pub fn get_mut(&mut self, key: ExchangeKey) -> Option<&mut Exchange> {
        self.slab.get_mut(key)
    }

    pub fn remove(&mut self, key: ExchangeKey) -> Option<Exchange> {
        self.slab.remove(key)
    }

    /// Whether this event has ended any.
    #[inline]
    pub const fn have_ended(&self) -> bool {
        !self.over.is_empty() || !self.left_behind.is_empty()
    }

    /// Those whose peers are there.
    pub fn open(&self) -> Vec<(ExchangeKey, LinkId)> {
        self.slab.iter().filter_map(|(key, exchange)| Some((key, exchange.link?))).collect()
    }

    /// Those of one client.
    pub fn of(&self, client: ClientKey) -> Vec<ExchangeKey> {
        self.slab
            .iter()
            .filter(|(_, exchange)| exchange.client == client)
            .map(|(key, _)| key)
            .collect()
    }

    /// The response of a POST that came too soon is 429 (RFC 6585 section 4), and says when to come back.
    pub fn note_limited(&mut self, key: Option<ExchangeKey>, limited: Limited) {
        if let Some(exchange) = key.and_then(|key| self.slab.get_mut(key))
            && !exchange.is_batch
        {
            exchange.limited = Some(limited);
        }
    }

    /// What the response of a POST that is answered with an error has for a status.
    pub fn note_error(&mut self, key: Option<ExchangeKey>, code: i32, is_refused: bool) {
        if let Some(exchange) = key.and_then(|key| self.slab.get_mut(key))
            && !exchange.is_batch
        {
            exchange.status = status(exchange.kind, code, is_refused);
        }
    }

    /// Gives one answer: on the client's link, or in its exchange.
    #[inline]
    pub fn reply(
        &mut self,
        clients: &Slab<Client>,
        client: ClientKey,
        key: Option<ExchangeKey>,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(key) = key else {
            if let Some(client) = clients.get(client) {
                self.tell_client(client, out, write);
            }
            return;
        };
        let now = self.now;
        let Some(exchange) = self.slab.get_mut(key) else { return };
        if exchange.is_batch {
            gather(&mut exchange.gathered, write);
        } else if exchange.is_streaming {
            exchange.event(key, now, out, write);
        } else if exchange.link.is_some() {
            // The hot path: the answer is the response.
            let start = out.bytes.len();
            write(&mut out.bytes);
            if exchange.is_plain {
                exchange.status = super::rest::unwrap(&mut out.bytes, start);
            }
            return self.reply_from(clients, client, Some(key), out, start);
        }
        self.settle(clients, Some(key), out);
    }

    /// Whether an answer can be written where it leaves from: [`Exchanges::reply_from`] sends it.
    #[inline]
    pub fn is_direct(
        &self,
        clients: &Slab<Client>,
        client: ClientKey,
        key: Option<ExchangeKey>,
    ) -> bool {
        match key {
            None => clients.get(client).is_some_and(|client| client.link().is_some()),
            Some(key) => self.slab.get(key).is_some_and(|exchange| {
                let is_whole = !exchange.is_batch && !exchange.is_plain && !exchange.is_streaming;
                is_whole && exchange.kind != Kind::Line && exchange.link.is_some()
            }),
        }
    }

    /// Gives the answer that was appended to the effects' bytes from `start` on.
    #[inline]
    pub fn reply_from(
        &mut self,
        clients: &Slab<Client>,
        client: ClientKey,
        key: Option<ExchangeKey>,
        out: &mut Effects,
        start: usize,
    ) {
        let Some(key) = key else {
            return match clients.get(client).and_then(Client::link) {
                Some(link) => out.send_from(link, start),
                None => out.bytes.truncate(start),
            };
        };
        let Some(exchange) = self.slab.get_mut(key) else { return };
        let Some(link) = exchange.link else { return out.bytes.truncate(start) };
        exchange.is_answered = true;
        let status = exchange.limited.map_or(exchange.status, |_| 429);
        let headers = exchange.headers();
        let bytes = start..out.bytes.len();
        out.push(Effect::Respond { link, status, headers, bytes });
        self.settle(clients, Some(key), out);
    }

    /// One answer fewer is to come: it was given, or its request was cancelled, or reading has ended.
    pub fn settle(&mut self, clients: &Slab<Client>, key: Option<ExchangeKey>, out: &mut Effects) {
        let Some(key) = key else { return };
        let now = self.now;
        let Some(exchange) = self.slab.get_mut(key) else { return };
        exchange.left = exchange.left.saturating_sub(1);
        if exchange.left > 0 {
            return;
        }
        if exchange.kind == Kind::Line {
            // A batch of notifications gets no answer at all (JSON-RPC 2.0 section 6).
            if let Some(batch) = self.slab.remove(key)
                && !batch.gathered.is_empty()
                && let Some(client) = clients.get(batch.client)
            {
                self.tell_client(client, out, |out| {
                    out.extend_from_slice(&batch.gathered);
                    out.push(b']');
                });
            }
            return;
        }
        exchange.is_over = true;
        self.over.push(key);
        let gathered = std::mem::take(&mut exchange.gathered);
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(&gathered);
            out.push(b']');
        };
        if exchange.is_streaming {
            if !gathered.is_empty() {
                exchange.event(key, now, out, write);
            }
            if let Some(link) = exchange.link {
                out.push(Effect::Close { link, why: "all was said" });
            }
        } else if let Some(link) = exchange.link.filter(|_| !exchange.is_answered) {
            if gathered.is_empty() {
                // Cancelled before there was anything to say, and a response there must be.
                out.push(Effect::Stream { link, headers: exchange.headers() });
                out.push(Effect::Close { link, why: "cancelled" });
            } else {
                let start = out.bytes.len();
                write(&mut out.bytes);
                let bytes = start..out.bytes.len();
                let headers = exchange.headers();
                out.push(Effect::Respond { link, status: 200, headers, bytes });
            }
        }
    }

    /// Says something that belongs to a request under way: on its exchange, where it has one that can
    /// be heard, else as anything else is said to the client.
    pub fn tell(
        &mut self,
        clients: &Slab<Client>,
        client: ClientKey,
        key: Option<ExchangeKey>,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(key) = key
            && let Some(exchange) = self.slab.get_mut(key)
            && exchange.takes_events()
        {
            exchange.commit(key, self.now, out);
            return exchange.event(key, self.now, out, write);
        }
        if let Some(client) = clients.get(client) {
            self.tell_client(client, out, write);
        }
    }

    /// As [`Exchanges::tell`], for what may be missed: progress, of which the next says more, and log
    /// messages. A client that does not read gets only some of them ([`super::behind`]), or an upstream that
    /// talks would fill our memory for the time until it is given up. They are left out before they have a
    /// number, so that who resumes finds no gap.
    pub fn tell_lossy(
        &mut self,
        clients: &Slab<Client>,
        client: ClientKey,
        key: Option<ExchangeKey>,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let heard = key.filter(|&key| self.slab.get(key).is_some_and(Exchange::takes_events));
        let heard = heard.or_else(|| match &clients.get(client)?.front {
            Front::Link(_) => None,
            Front::Exchange(key) => Some(*key),
            Front::Session(http) | Front::Sse(http) => Some(http.stream),
        });
        let Some(behind) = self.behind(clients, client, heard) else { return };
        if !behind.is_behind() {
            return self.tell(clients, client, key, out, write);
        }
        if !behind.takes_news() {
            return;
        }
        let mut said = 0;
        self.tell(clients, client, key, out, |out| {
            let before = out.len();
            write(out);
            said = out.len().saturating_sub(before);
        });
        if let Some(behind) = self.behind(clients, client, heard) {
            behind.told(said);
        }
    }

    fn behind<'a>(
        &'a self,
        clients: &'a Slab<Client>,
        client: ClientKey,
        heard: Option<ExchangeKey>,
    ) -> Option<&'a Behind> {
        match heard {
            Some(key) => self.slab.get(key).map(|exchange| &exchange.behind),
            None => clients.get(client).map(|client| &client.behind),
        }
    }

    /// Tells a client that something has changed, of which `what` is the name. Who does not read is told when it
    /// reads again, once; who has too much of that coming is closed, and must look for itself.
    pub fn tell_change(
        &mut self,
        client: &Client,
        what: (Notice, &str, &str),
        frame: &[u8],
        out: &mut Effects,
    ) {
        let exchange = match &client.front {
            Front::Link(_) => None,
            Front::Exchange(key) => Some(*key),
            Front::Session(http) | Front::Sse(http) => Some(http.stream),
        };
        let exchange = exchange.and_then(|key| self.slab.get(key));
        let behind = exchange.map_or(&client.behind, |exchange| &exchange.behind);
        if !behind.is_behind() {
            return self.tell_client(client, out, |out| out.extend_from_slice(frame));
        }
        let (notice, of, listen) = what;
        let name = [notice.as_str(), of, listen].join("\n");
        let link = exchange.map_or_else(|| client.link(), |exchange| exchange.link);
        if !behind.keep(name.as_bytes(), frame)
            && let Some(link) = link
        {
            out.push(Effect::Close { link, why: "it is too far behind to be told of changes" });
        }
    }

    /// Says something to a client that belongs to no request.
    #[inline]
    pub fn tell_client(
        &mut self,
        client: &Client,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        match &client.front {
            Front::Link(link) => out.send(*link, write),
            Front::Exchange(key) => self.say(*key, out, write),
            Front::Session(http) | Front::Sse(http) => self.say(http.stream, out, write),
        }
    }

    fn say(&mut self, key: ExchangeKey, out: &mut Effects, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(exchange) = self.slab.get_mut(key)
            && exchange.takes_events()
        {
            exchange.commit(key, self.now, out);
            exchange.event(key, self.now, out, write);
        }
    }
}

/// Appends an answer to those of a batch; an error in its place, if it is too long.
fn gather(gathered: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    gathered.push(if gathered.is_empty() { b'[' } else { b',' });
    let start = gathered.len();
    write(gathered);
    if gathered.len() <= BATCH_BYTES_MAX {
        return;
    }
    let answer = Json::from_bytes(gathered.get(start..).unwrap_or_default());
    let id = answer.ok().and_then(|answer| answer.get("id")).map_or("null", Json::text).to_owned();
    gathered.truncate(start);
    let message =
        "the answers of the batch are longer than the limit batch_bytes_max (16 MiB); ask alone";
    error::write(gathered, &id, Code::Internal.number(), message, None);
}

/// The status of a POST answered with a JSON-RPC error (2026-07-28 and 2025-11-25 "Transports").
/// `is_refused`: the request was not even begun.
const fn status(kind: Kind, code: i32, is_refused: bool) -> u16 {
    match kind {
        Kind::Modern if code == Code::MethodNotFound.number() => 404,
        Kind::Modern if is_refused || matches!(code, -32_022..=-32_020) => 400,
        _ if code == Code::Parse.number() || code == Code::InvalidRequest.number() => 400,
        _ => 200,
    }
}
