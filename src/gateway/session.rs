//! Sessions of legacy clients over HTTP: opened by `initialize`, named by a token that only we can make,
//! found again on whichever shard they live, resumed, ended and forgotten (MCP 2025-11-25 "Session
//! Management", "Resumability and Redelivery"; 2024-11-05 "HTTP with SSE").

use std::collections::VecDeque;

use super::Gateway;
use super::client::{Client, ClientKey, Front, HttpSession};
use super::door::{Effect, Effects, Transport};
use super::exchange::{self, Exchange, ExchangeKey, Kind};
use super::http::{Aim, Caller, Carried, Facts, Request};
use super::post::{Wrong, draining, no_session, refuse, refuse_with, respond, unknown_session};
use super::principal::Principal;
use super::timer::Alarm;
use crate::base::{Key, LinkId, Now, ShardId};
use crate::mcp::{Code, Era, Params, Version};
use crate::wire::envelope::{self, Frame};
use crate::wire::{Json, Message};

/// Streams of POSTs that are over, kept for one session. Each is a ring; a client resumes the last few.
const STREAMS_KEPT_MAX: usize = 16;
/// Bytes of all of them together.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Before the dot of a session's id stand its shard and its key there, in hexadecimal.
const HINT_DIGITS: usize = 14;
const KEY_BITS: u32 = 42;

impl Gateway {
    /// `initialize` without a session: opens one. Should the handshake fail, it ends with its exchange.
    pub(super) fn open_session(
        &mut self,
        now: Now,
        caller: Caller,
        body: &[u8],
        out: &mut Effects,
    ) {
        let link = caller.link;
        if let Some(wrong) = self.no_room(caller) {
            return refuse(out, link, "null", &wrong);
        }
        let mut parsed = Params::default();
        let Ok(Frame::One(message)) = envelope::read_to(body, &mut parsed) else {
            return refuse(out, link, "null", &no_session());
        };
        let (client, id) = self.http_client(now, Transport::Http, caller.principal, None);
        // What the client can read is what it asks for; no answer has agreed on anything yet.
        let version = match &message {
            Message::Request { params, .. } => params.get("protocolVersion").and_then(Json::as_str),
            _ => None,
        };
        let version = version.and_then(|asked| Version::parse(&asked));
        let version = version.unwrap_or(Version::LATEST_LEGACY);
        let mut exchange = Exchange::new(client, Kind::Legacy, Some(link), version);
        exchange.session = Some(id);
        let exchange = self.exchanges.insert(exchange);
        self.client_message(now, client, message, &parsed, Some(exchange), out);
        self.wait_for(now, exchange);
    }

    /// A client that a token names, with its stream.
    fn http_client(
        &mut self,
        now: Now,
        transport: Transport,
        principal: Principal,
        link: Option<LinkId>,
    ) -> (ClientKey, Box<str>) {
        let (kind, nobody) = match transport {
            Transport::Sse => (Kind::Sse, Key::from_bits(0)),
            _ => (Kind::Session, Key::from_bits(0)),
        };
        let stream = Exchange::new(nobody, kind, link, Version::LATEST_LEGACY);
        let stream = self.exchanges.insert(stream);
        let who = self.who(transport, principal);
        let (shard, shown, sealer) = (self.shard, self.shown.clone(), &mut self.sealer);
        let mut id = Box::<str>::default();
        let client = self.clients.insert_with(|key| {
            id = session_id(shard, key, who.principal, sealer).into();
            let http = Box::new(HttpSession {
                id: id.clone(),
                stream,
                seen: now.at,
                kept: VecDeque::new(),
            });
            let front = match transport {
                Transport::Sse => Front::Sse(http),
                _ => Front::Session(http),
            };
            Client { proof: shown, ..Client::new(front, transport, who) }
        });
        self.count_client(who);
        if let Some(stream) = self.exchanges.get_mut(stream) {
            stream.client = client;
        }
        self.wheel.set(now.at, self.settings.limits.session_idle, Alarm::Session(client));
        (client, id)
    }

    /// The session that an id names, if it lives here and is the caller's. If not, the exchange is on its way
    /// to where it lives, or has been refused.
    pub(super) fn find_session(
        &mut self,
        caller: Caller,
        id: &str,
        aim: impl FnOnce(Box<str>) -> Aim,
        body: &[u8],
        out: &mut Effects,
    ) -> Option<ClientKey> {
        let hint = id.split_once('.').map_or("", |(hint, _)| hint);
        let principal = self.who(Transport::Http, caller.principal).principal;
        let bits = u64::from_str_radix(hint, 16).ok().filter(|_| hint.len() == HINT_DIGITS);
        let home = bits.and_then(|bits| u16::try_from(bits >> KEY_BITS).ok());
        match (bits, home) {
            (Some(_), Some(home)) if home == self.shard.0 && self.drain.is_done() => {
                // Other shards may not have drained yet; what they send here nothing would end.
                refuse(out, caller.link, "null", &draining());
                return None;
            }
            (Some(bits), Some(home)) if home == self.shard.0 => {
                let key: ClientKey = Key::from_bits(bits & ((1 << KEY_BITS) - 1));
                let is_it = self.clients.get(key).is_some_and(|client| match &client.front {
                    Front::Session(http) | Front::Sse(http) => {
                        same(&http.id, id) && client.who.principal == principal
                    }
                    _ => false,
                });
                if is_it {
                    self.prove(key, out);
                    return Some(key);
                }
            }
            // Only what we made ourselves is worth another shard's time.
            (Some(_), Some(home))
                if home < self.settings.shards && opens(&self.sealer, id, hint, principal) =>
            {
                self.carry(ShardId(home), caller, aim(id.into()), body, out);
                return None;
            }
            _ => {}
        }
        refuse(out, caller.link, "null", &unknown_session());
        None
    }

    /// The session is in use; its version, if it has been agreed on.
    pub(super) fn touch_session(&mut self, now: Now, client: ClientKey) -> Option<Version> {
        let client = self.clients.get_mut(client)?;
        let version = client.session.as_ref().map(|session| session.version);
        match &mut client.front {
            Front::Session(http) | Front::Sse(http) => http.seen = now.at,
            _ => return None,
        }
        version
    }

    /// A session may have been idle for too long. While anything of it is open it is not.
    pub(super) fn session_due(&mut self, now: Now, key: ClientKey, out: &mut Effects) {
        let idle = self.settings.limits.session_idle;
        let Some(client) = self.clients.get_mut(key) else { return };
        let (Front::Session(http) | Front::Sse(http)) = &mut client.front else { return };
        let is_open = !client.flights.is_empty()
            || self.exchanges.get(http.stream).is_some_and(|stream| stream.link.is_some());
        if is_open {
            http.seen = now.at;
        }
        let quiet = now.at.since(http.seen);
        if quiet >= idle {
            return self.client_gone(now, key, out);
        }
        self.wheel.set(now.at, idle.saturating_sub(quiet), Alarm::Session(key));
    }

    /// `GET`: the session's own stream, or the rest of one that broke.
    pub(super) fn get(&mut self, now: Now, link: LinkId, request: Request<'_>, out: &mut Effects) {
        let facts = Facts::read(request.headers);
        if !facts.takes_events {
            let message = "the header Accept must name text/event-stream";
            return refuse(out, link, "null", &Wrong::new(406, Code::InvalidRequest, message));
        }
        let Some(session) = Self::legacy_session(link, &facts, out) else { return };
        let last = facts.last_event;
        let aim = |session| Aim::Stream { session, last_event: last.map(Into::into) };
        let caller = Caller { link, principal: request.principal };
        if let Some(client) = self.find_session(caller, session, aim, b"", out) {
            self.open_stream(now, link, client, last, out);
        }
    }

    /// `DELETE`: the client ends its session.
    pub(super) fn delete(
        &mut self,
        now: Now,
        link: LinkId,
        request: Request<'_>,
        out: &mut Effects,
    ) {
        let facts = Facts::read(request.headers);
        let Some(session) = Self::legacy_session(link, &facts, out) else { return };
        let aim = |session| Aim::End { session };
        let caller = Caller { link, principal: request.principal };
        if let Some(client) = self.find_session(caller, session, aim, b"", out) {
            respond(out, link, 200);
            self.client_gone(now, client, out);
        }
    }

    /// What GET and DELETE share: they are for sessions, which modern clients do not have.
    fn legacy_session<'a>(link: LinkId, facts: &Facts<'a>, out: &mut Effects) -> Option<&'a str> {
        let version = facts.version.map(Version::parse);
        if let Some(Some(version)) = version
            && version.era() == Era::Modern
        {
            let wrong = Wrong::new(405, Code::InvalidRequest, "a client of 2026-07-28 only posts");
            refuse_with(out, link, "null", &wrong, vec![("allow", "POST".to_owned())]);
            return None;
        }
        if let (Some(None), Some(name)) = (version, facts.version) {
            let message =
                format!("the header MCP-Protocol-Version names a version not spoken here: {name}");
            let data = Some(super::inbound::spoken(name));
            let wrong = Wrong { data, ..Wrong::new(400, Code::UnsupportedVersion, message) };
            refuse(out, link, "null", &wrong);
            return None;
        }
        if facts.session.is_none() {
            refuse(out, link, "null", &no_session());
        }
        facts.session
    }

    fn open_stream(
        &mut self,
        now: Now,
        link: LinkId,
        client: ClientKey,
        last: Option<&str>,
        out: &mut Effects,
    ) {
        self.touch_session(now, client);
        let Some(Front::Session(http)) = self.clients.get(client).map(|client| &client.front)
        else {
            return refuse(out, link, "null", &unknown_session());
        };
        let own = http.stream;
        let (key, after) = match last.map(exchange::read_event_id) {
            None => (own, None),
            Some(Some((key, number))) => (key, Some(number)),
            Some(None) => return refuse(out, link, "null", &lost()),
        };
        let Some(stream) = self.exchanges.get_mut(key).filter(|stream| {
            stream.client == client && matches!(stream.kind, Kind::Legacy | Kind::Session)
        }) else {
            return refuse(out, link, "null", &lost());
        };
        let before = stream.link;
        if before.is_some() && last.is_none() {
            let message =
                "the session's stream is open already; close it, or resume it with Last-Event-ID";
            return refuse(out, link, "null", &Wrong::new(409, Code::InvalidRequest, message));
        }
        if stream.resume((key, now.at), link, after, out).is_err() {
            return refuse(out, link, "null", &lost());
        }
        let goes_on = stream.link.is_some();
        if let Some(before) = before {
            // The client is quicker than the news that its connection broke.
            self.detach(before);
            out.push(Effect::Close { link: before, why: "resumed elsewhere" });
        }
        if goes_on {
            self.attach(link, key);
            self.set_beat(now, key);
        }
    }

    /// The stream of a client of 2024-11-05. Its first event says where to post.
    pub(super) fn open_sse(
        &mut self,
        now: Now,
        link: LinkId,
        request: Request<'_>,
        out: &mut Effects,
    ) {
        if !Facts::read(request.headers).takes_events {
            let message = "the header Accept must name text/event-stream";
            return refuse(out, link, "null", &Wrong::new(406, Code::InvalidRequest, message));
        }
        if let Some(wrong) = self.no_room(Caller { link, principal: request.principal }) {
            return refuse(out, link, "null", &wrong);
        }
        let (client, id) = self.http_client(now, Transport::Sse, request.principal, Some(link));
        let Some(Front::Sse(http)) = self.clients.get(client).map(|client| &client.front) else {
            return;
        };
        let key = http.stream;
        let Some(stream) = self.exchanges.get_mut(key) else { return };
        if stream.resume((key, now.at), link, None, out).is_ok() {
            let event =
                format!("event: endpoint\ndata: {}?sessionId={id}\n\n", super::http::MESSAGE);
            out.send_raw(link, event.as_bytes());
            self.attach(link, key);
            self.set_beat(now, key);
        }
    }

    /// What a client of 2024-11-05 posts; it is answered on its stream.
    pub(super) fn post_sse(
        &mut self,
        now: Now,
        link: LinkId,
        request: Request<'_>,
        out: &mut Effects,
    ) {
        let session = request.query.split('&').find_map(|pair| pair.strip_prefix("sessionId="));
        let Some(session) = session else {
            let message = "the query must hold sessionId, as the stream's endpoint event gave it";
            return refuse(out, link, "null", &Wrong::new(400, Code::InvalidRequest, message));
        };
        let aim = |session| Aim::SseMessage { session };
        let caller = Caller { link, principal: request.principal };
        if let Some(client) = self.find_session(caller, session, aim, request.body, out) {
            self.sse_message(now, link, client, request.body, out);
        }
    }

    fn sse_message(
        &mut self,
        now: Now,
        link: LinkId,
        client: ClientKey,
        body: &[u8],
        out: &mut Effects,
    ) {
        self.touch_session(now, client);
        let mut line = body.to_vec();
        if envelope::read(body).is_ok() {
            super::request::one_line(&mut line, 0);
        }
        let mut parsed = Params::default();
        match envelope::read_to(&line, &mut parsed) {
            Ok(frame) => {
                respond(out, link, 202);
                match frame {
                    Frame::One(message) => {
                        self.client_message(now, client, message, &parsed, None, out);
                    }
                    Frame::Batch(elements) => self.client_batch(now, client, elements, out),
                }
            }
            Err(fault) => {
                let id = fault.id.map_or("null", crate::wire::Id::text);
                let message = format!("{} (byte {})", fault.what, fault.at);
                refuse(
                    out,
                    link,
                    id,
                    &Wrong { status: 400, code: fault.code, message, data: None },
                );
            }
        }
    }

    /// An exchange that another shard's link brought, about something that lives here.
    pub(super) fn carried(&mut self, now: Now, link: LinkId, carried: &Carried, out: &mut Effects) {
        self.context.clone_from(&carried.context);
        self.shown.clone_from(&carried.shown);
        let body = &*carried.body;
        let caller = Caller { link, principal: carried.principal };
        match &carried.aim {
            Aim::Message { session } => {
                let carry = |session| Aim::Message { session };
                if let Some(client) = self.find_session(caller, session, carry, body, out) {
                    self.session_post(now, link, client, body, out);
                }
            }
            Aim::SseMessage { session } => {
                let carry = |session| Aim::SseMessage { session };
                if let Some(client) = self.find_session(caller, session, carry, body, out) {
                    self.sse_message(now, link, client, body, out);
                }
            }
            Aim::Stream { session, last_event } => {
                let carry = |session| Aim::Stream { session, last_event: None };
                if let Some(client) = self.find_session(caller, session, carry, body, out) {
                    self.open_stream(now, link, client, last_event.as_deref(), out);
                }
            }
            Aim::End { session } => {
                let carry = |session| Aim::End { session };
                if let Some(client) = self.find_session(caller, session, carry, body, out) {
                    respond(out, link, 200);
                    self.client_gone(now, client, out);
                }
            }
            Aim::Retry => self.post_carried(now, caller, body, out),
        }
    }

    pub(super) fn set_beat(&mut self, now: Now, key: ExchangeKey) {
        let beat = self.settings.limits.sse_beat;
        if let Some(exchange) = self.exchanges.get_mut(key)
            && exchange.alarm.is_none()
        {
            exchange.alarm = Some(self.wheel.set(now.at, beat, Alarm::Beat(key)));
        }
    }

    /// A stream's heart beats; it stops when nobody listens.
    pub(super) fn beat(&mut self, now: Now, key: ExchangeKey, out: &mut Effects) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.alarm = None;
        // It may have been answered in the same event.
        if exchange.link.is_some() && !exchange.is_over() {
            exchange.beat(key, now.at, out);
            self.set_beat(now, key);
        }
    }

    /// The peer of an exchange has gone before it was over.
    pub(super) fn exchange_broke(&mut self, now: Now, key: ExchangeKey, out: &mut Effects) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.link = None;
        exchange.catch_up(key, now.at, out);
        let (kind, client) = (exchange.kind, exchange.client);
        match kind {
            // For a modern client that is the cancellation; for HTTP+SSE the session's end.
            Kind::Modern | Kind::Sse => self.client_gone(now, client, out),
            Kind::Line | Kind::Legacy | Kind::Session => {}
        }
    }

    /// The client is gone, and with it what it waited for.
    pub(super) fn drop_exchange(&mut self, key: ExchangeKey, out: &mut Effects) {
        let Some(exchange) = self.exchanges.remove(key) else { return };
        if let Some(alarm) = exchange.alarm {
            self.wheel.cancel(alarm);
        }
        let Some(link) = exchange.link else { return };
        self.detach(link);
        if exchange.is_over() {
            return;
        }
        if exchange.is_streaming() {
            out.push(Effect::Close { link, why: "the session has ended" });
        } else {
            refuse(out, link, "null", &unknown_session());
        }
    }

    /// Clears up behind the exchanges that this event has ended.
    pub(super) fn clear_exchanges(&mut self, now: Now, out: &mut Effects) {
        while let Some(key) = self.exchanges.over.pop() {
            let Some(exchange) = self.exchanges.get_mut(key) else { continue };
            let (kind, client) = (exchange.kind, exchange.client);
            let was_behind = exchange.behind.is_behind();
            let (link, alarm) = (exchange.link.take(), exchange.alarm.take());
            if let Some(alarm) = alarm {
                self.wheel.cancel(alarm);
                // Only what waited was attached.
                if let Some(link) = link {
                    self.detach(link);
                }
            }
            if kind == Kind::Legacy && self.keep_stream(client, key) {
                continue;
            }
            self.exchanges.remove(key);
            if was_behind {
                self.pace_lanes(client, false, out);
            }
            match kind {
                Kind::Modern => self.client_may_go(now, client, out),
                // `initialize` was refused.
                Kind::Legacy
                    if self.clients.get(client).is_some_and(|client| client.session.is_none()) =>
                {
                    self.client_gone(now, client, out);
                }
                _ => {}
            }
        }
        while let Some(client) = self.exchanges.left_behind.pop() {
            self.client_may_go(now, client, out);
        }
    }

    /// Keeps a stream that is over for a client that did not get all of it.
    fn keep_stream(&mut self, client: ClientKey, key: ExchangeKey) -> bool {
        let Some(Client { front: Front::Session(http), .. }) = self.clients.get_mut(client) else {
            return false;
        };
        if self.exchanges.get(key).is_none_or(|stream| stream.kept() == 0) {
            return false;
        }
        http.kept.push_back(key);
        let kept = |exchanges: &exchange::Exchanges, kept: &VecDeque<ExchangeKey>| -> usize {
            kept.iter().filter_map(|&key| exchanges.get(key)).map(Exchange::kept).sum()
        };
        while http.kept.len() > STREAMS_KEPT_MAX
            || (http.kept.len() > 1 && kept(&self.exchanges, &http.kept) > KEPT_BYTES_MAX)
        {
            if let Some(oldest) = http.kept.pop_front() {
                self.exchanges.remove(oldest);
            }
        }
        true
    }

    /// A modern client whose exchange is over goes, unless a call of its is held.
    fn client_may_go(&mut self, now: Now, key: ClientKey, out: &mut Effects) {
        let Some(client) = self.clients.get(key) else { return };
        let Front::Exchange(exchange) = client.front else { return };
        if self.exchanges.get(exchange).is_some() || !client.flights.is_empty() {
            return;
        }
        if client.lanes.is_empty() && client.listens.is_empty() {
            self.remove_client(key);
        } else {
            self.park_lanes(now, key, out);
            self.client_gone(now, key, out);
        }
    }
}

fn lost() -> Wrong {
    let message = "what follows this Last-Event-ID is not kept any more (100 events, 256 KiB, 1 h a stream); \
                   open the stream without it, and list anew what may have changed";
    Wrong::new(410, Code::InvalidRequest, message)
}

fn session_id(
    shard: ShardId,
    key: ClientKey,
    principal: Principal,
    sealer: &mut super::seal::Sealer,
) -> String {
    let bits = (u64::from(shard.0) << KEY_BITS) | key.to_bits();
    let hint = format!("{bits:0HINT_DIGITS$x}");
    let sealed = sealer.seal(hint.as_bytes(), &context(principal));
    format!("{hint}.{sealed}")
}

/// Whether we, with whatever shard, made this id for this principal.
fn opens(sealer: &super::seal::Sealer, id: &str, hint: &str, principal: Principal) -> bool {
    id.split_once('.')
        .and_then(|(_, sealed)| sealer.open(sealed, &context(principal)))
        .is_some_and(|plain| plain == hint.as_bytes())
}

/// What the seal of a session's id is bound to: the purpose, and whose it is.
fn context(principal: Principal) -> [u8; 27] {
    let mut context = [0; 27];
    context[..7].copy_from_slice(b"session");
    context[7..].copy_from_slice(&principal.bytes());
    context
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
