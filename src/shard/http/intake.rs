//! How requests come in on an HTTP/1.1 connection: head and body are gathered, guarded and handed to the
//! domain as one exchange. A body that is whole in the connection's buffer is handed on where it lies.

use std::borrow::Cow;
use std::time::Duration;

use super::super::acceptor::Door;
use super::super::blocks::Unpacked;
use super::super::core::{Core, Follow, Phase, Verdict};
use super::super::domain::Domain;
use super::super::http2::PREFACE;
use super::super::inbox::Inbox;
use super::super::links::{Due, Face, Life};
use super::super::telling::Kind;
use super::super::tls::{self, Alpn, Trouble};
use super::bearer::{Identified, Shown};
use super::face::HttpFace;
use super::figures::Mark;
use super::front::{Asking, Guarded, Refused};
use super::resource;
use crate::base::LinkId;
use crate::gateway::Event;
use crate::gateway::http::{self, HeaderPairs, Headers, Request, Verb};
use crate::gateway::principal::Principal;
use crate::wire::http1::{self, Body, Framing, Head, head};
use crate::wire::ws::Decoder;

/// A request that has not come in as a whole yet.
#[derive(Debug, Default)]
pub(in crate::shard) enum Reading {
    #[default]
    Head,
    /// Head and body have this many bytes together.
    Whole {
        bytes: usize,
    },
    Chunked(Box<Chunks>),
    /// The connection has become a WebSocket.
    Messages(Box<Decoder>),
    /// What came are blocks; what was in them and is not handed on.
    Blocks(Box<Unpacked>),
}

/// A chunked body, put together as it comes.
#[derive(Debug)]
pub(in crate::shard) struct Chunks {
    body: Body,
    data: Vec<u8>,
    /// Bytes of the buffer, head included, that are done with.
    at: usize,
}

/// Why a connection whose handshake chose a protocol is ended with its first bytes (RFC 7301 section 3.2: what is chosen
/// is definitive; RFC 9113 section 3.2 and 3.4).
const NO_HTTP2: &str = "h2 was agreed on, and what came is no HTTP/2";
const NO_HTTP1: &str = "http/1.1 was agreed on, and what came is HTTP/2";

/// Where the counters of all shards are told, if the operator wants them told here.
const METRICS: &str = "/metrics";

struct HeadersOf<'x, 'h, 'b>(&'x Head<'h, 'b>);

impl Headers for HeadersOf<'_, '_, '_> {
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.0.headers() {
            visit(name, value);
        }
    }
}

enum Step {
    /// More bytes are needed.
    More,
    /// A request was taken, with this many bytes.
    Taken(usize),
}

impl<D: Domain> Core<D> {
    /// Hands on every request that a connection has read, as far as they may be answered already.
    pub(in crate::shard) fn deliver_http(&mut self, id: LinkId, inbox: &mut Inbox) -> Verdict {
        let mut reading = std::mem::take(&mut inbox.reading);
        let mut came_one = false;
        let verdict = loop {
            let Some(link) = self.links.get_mut(id) else { break self.discard(inbox) };
            if link.life >= Life::Closing {
                break self.discard(inbox);
            }
            link.pressure.spend(u64::from(std::mem::take(&mut came_one)));
            let reads = link.reads();
            let Face::Http(face) = &mut link.face else {
                inbox.reading = reading;
                return self.deliver_ws(id, inbox);
            };
            let is_empty = inbox.rest().is_empty();
            if face.exchange.is_some() {
                // One at a time. While nothing waits behind it, reading shows whether the peer is there.
                face.is_held = !is_empty;
                break if is_empty { Verdict::Read } else { Verdict::Wait };
            }
            if !reads {
                break Verdict::Wait;
            }
            if is_empty {
                break Verdict::Read;
            }
            if !face.is_used {
                let alpn = face.alpn;
                match (begins_http2(inbox.rest()), alpn) {
                    (Some(true), None | Some(Alpn::Http2)) => {
                        link.face = Face::Http2 { streams: 0 };
                        self.begin_idle(id);
                        break Verdict::Switch;
                    }
                    (None, _) => {
                        self.give_time(id, self.limits.head);
                        break Verdict::Read;
                    }
                    (Some(false), Some(Alpn::Http2)) => {
                        tls::tell_later(Trouble::Protocol, &NO_HTTP2);
                        self.close(id, Cow::Borrowed(NO_HTTP2));
                        break self.discard(inbox);
                    }
                    // Refused as the request that it is not.
                    (Some(true), Some(Alpn::Http1)) => {
                        tls::tell_later(Trouble::Protocol, &NO_HTTP1);
                    }
                    (Some(false), _) => {}
                }
            }
            match self.take_request(id, inbox.rest(), &mut reading) {
                Ok(Step::More) => break Verdict::Read,
                Ok(Step::Taken(bytes)) => {
                    inbox.consume(bytes);
                    came_one = true;
                    self.settle();
                }
                Err(refused) => {
                    self.refuse(id, &refused);
                    break self.discard(inbox);
                }
            }
        };
        inbox.reading = reading;
        verdict
    }

    fn take_request(
        &mut self,
        id: LinkId,
        bytes: &[u8],
        reading: &mut Reading,
    ) -> Result<Step, Refused> {
        if let Reading::Whole { bytes: whole } = reading
            && bytes.len() < *whole
        {
            return Ok(Step::More);
        }
        let mut slots = head::slots();
        let Some((head, length)) = head::read(bytes, &mut slots)? else {
            self.give_time(id, self.limits.head);
            return Ok(Step::More);
        };
        let max = self.limits.frame_bytes_max;
        let too_large = || Refused::new(413, "the body is larger than the limit frame_bytes_max");
        let is_new = matches!(reading, Reading::Head);
        match head.framing {
            Framing::Length(body) => {
                let body = usize::try_from(body).ok().filter(|&body| body <= max);
                let whole = length + body.ok_or_else(too_large)?;
                let Some(body) = bytes.get(length..whole) else {
                    *reading = Reading::Whole { bytes: whole };
                    self.wait_for_body(id, &head, is_new)?;
                    return Ok(Step::More);
                };
                *reading = Reading::Head;
                self.dispatch(id, &head, body, reading);
                Ok(Step::Taken(whole))
            }
            Framing::Chunked | Framing::Close => {
                if is_new {
                    let body = Body::new(head.framing);
                    let chunks = Chunks { body, data: Vec::new(), at: length };
                    *reading = Reading::Chunked(Box::new(chunks));
                }
                let Reading::Chunked(chunks) = reading else { return Ok(Step::More) };
                loop {
                    let piece = chunks.body.next(bytes.get(chunks.at..).unwrap_or_default())?;
                    chunks.at += piece.consumed;
                    if chunks.data.len() + piece.data.len() > max {
                        return Err(too_large());
                    }
                    chunks.data.extend_from_slice(piece.data);
                    if chunks.body.is_done() {
                        break;
                    }
                    if piece.consumed == 0 {
                        self.wait_for_body(id, &head, is_new)?;
                        return Ok(Step::More);
                    }
                }
                let taken = chunks.at;
                let data = std::mem::take(&mut chunks.data);
                *reading = Reading::Head;
                self.dispatch(id, &head, &data, reading);
                Ok(Step::Taken(taken))
            }
        }
    }

    /// The body is still to come, unless the front refuses the request as it stands; the client may wait
    /// to be told that it should send it.
    fn wait_for_body(
        &mut self,
        id: LinkId,
        head: &Head<'_, '_>,
        is_new: bool,
    ) -> Result<(), Refused> {
        if !is_new {
            return Ok(());
        }
        if let Guarded::Refused(refused) = self.guard(id, head) {
            self.note_refusal(refused.reason);
            return Err(refused);
        }
        if head.expects_continue {
            self.write(id, |_, _, out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        // The head has come; the time for the body begins.
        if let Some(link) = self.links.get_mut(id)
            && let Face::Http(face) = &mut link.face
        {
            face.is_timed = false;
        }
        self.give_time(id, self.limits.body);
        Ok(())
    }

    /// What has begun must end in time; time that is running already is not given anew.
    fn give_time(&mut self, id: LinkId, time: Duration) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Face::Http(face) = &mut link.face else { return };
        if !std::mem::replace(&mut face.is_timed, true) {
            self.set_timer(id, time, Due::Late(id));
        }
    }

    fn guard(&mut self, id: LinkId, head: &Head<'_, '_>) -> Guarded {
        let keys = head.headers().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let asking = Asking {
            method: head.method,
            path: head.path,
            host: head.host,
            origin: head.get("origin"),
            is_preflight: head.get("access-control-request-method").is_some(),
            shown: Shown::of(keys.map(|(_, value)| value)),
            query: head.query,
            arrived: self.arrived(id),
        };
        self.front.judge(&asking, &mut self.gate, self.now.unix_ms / 1_000)
    }

    /// Somebody was refused for a reason that only the log is told, and how many were so far.
    pub(in crate::shard) fn note_refusal(&mut self, reason: Option<&'static str>) {
        let Some(reason) = reason else { return };
        self.meter.unauthorized.add(1);
        self.counted.http.turned_away(reason);
        if self.may_tell(Kind::Unauthorized) {
            let so_far = self.meter.unauthorized.get();
            tracing::warn!(shard = self.id.0, reason, so_far, "a request without a good key");
        }
    }

    /// A whole request: guarded, then the domain's.
    fn dispatch(&mut self, id: LinkId, head: &Head<'_, '_>, body: &[u8], reading: &mut Reading) {
        let mut guarded = self.guard(id, head);
        let origin = match &mut guarded {
            Guarded::Passes { origin, .. }
            | Guarded::Document { origin, .. }
            | Guarded::Preflight(origin) => origin.take(),
            Guarded::Refused(refused) => {
                self.note_refusal(refused.reason);
                None
            }
        };
        let key = match &guarded {
            Guarded::Passes { who, .. } => who.keyed(),
            _ => None,
        };
        let is_leaving = self.phase_of(id) > Phase::Serving;
        let wants = self.wants(head.accepts);
        let is_patient = self.is_patient(id);
        let Some(link) = self.links.get_mut(id) else { return };
        let is_secure = link.door == Door::Tls;
        let Face::Http(face) = &mut link.face else { return };
        // The time for what has come in is over; that for being idle stays, and is looked at when it is due.
        let is_over = face.is_timed && !is_patient;
        let timer = if is_over { link.timer.take() } else { None };
        **face = HttpFace {
            keeps_alive: head.keeps_alive && !is_leaving,
            minor: head.minor,
            is_head: head.method == "HEAD",
            is_used: true,
            mark: Mark::new(head.method, head.path, self.now.at),
            idle_since: face.idle_since,
            is_secure,
            origin,
            key,
            wants,
            ..HttpFace::default()
        };
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
        self.meter.requests.add(1);
        let who = match guarded {
            Guarded::Passes { who, .. } => {
                self.note_passed(&who, body.len());
                who
            }
            Guarded::Refused(refused) => {
                let body = error_body(refused.what);
                return self.respond_now(id, refused.status, &refused.headers, body.as_bytes());
            }
            Guarded::Document { text, .. } => {
                return self.respond_now(id, 200, &resource::headers(), text.as_bytes());
            }
            Guarded::Preflight(_) => {
                let headers = self.front.preflight();
                return self.respond_now(id, 204, &headers, b"");
            }
        };
        let wants_socket = head.upgrade.is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"));
        if wants_socket && head.path == self.front.websocket && head.method == "GET" {
            return self.upgrade(id, head, who, reading);
        }
        if head.path == METRICS && self.front.metrics && matches!(head.method, "GET" | "HEAD") {
            let headers = vec![("content-type", "text/plain; version=0.0.4".to_owned())];
            let text = self.metrics();
            return self.respond_now(id, 200, &headers, text.as_bytes());
        }
        if head.path == self.front.websocket {
            let headers = vec![("upgrade", "websocket".to_owned())];
            let body = error_body("a WebSocket is opened here: GET with Upgrade: websocket");
            return self.respond_now(id, 426, &headers, body.as_bytes());
        }
        let unpacked;
        let body = match head.encoding.map(|encoding| self.unpacked(encoding, body)) {
            None | Some(Ok(None)) => body,
            Some(Ok(Some(bytes))) => {
                unpacked = bytes;
                &unpacked
            }
            Some(Err(refused)) => {
                self.meter.faults.add(1);
                let body = error_body(refused.what);
                return self.respond_now(id, refused.status, &refused.headers, body.as_bytes());
            }
        };
        let exchange = self.links.open_exchange(id);
        if let Some(link) = self.links.get_mut(id)
            && let Face::Http(face) = &mut link.face
        {
            face.exchange = Some(exchange);
        }
        let request = Request {
            verb: verb(head.method, head.path),
            path: head.path,
            query: head.query,
            headers: &HeadersOf(head),
            body,
            principal: who.principal,
        };
        self.domain.handle(self.now, Event::Exchange { link: exchange, request }, &mut self.out);
    }

    /// Answers what is no request, and closes: what follows cannot be told from it.
    pub(in crate::shard) fn refuse(&mut self, id: LinkId, refused: &Refused) {
        self.meter.faults.add(1);
        if let Some(link) = self.links.get_mut(id)
            && let Face::Http(face) = &mut link.face
        {
            let is_secure = link.door == Door::Tls;
            let mark = Mark::unknown(self.now.at);
            **face = HttpFace { minor: 1, is_secure, mark, ..HttpFace::default() };
        }
        let body = error_body(refused.what);
        self.respond_now(id, refused.status, &refused.headers, body.as_bytes());
    }

    /// Answers on a connection without asking the domain.
    pub(super) fn respond_now(
        &mut self,
        id: LinkId,
        status: u16,
        headers: &HeaderPairs,
        body: &[u8],
    ) {
        self.answer(id, status, headers, body);
    }

    /// A request was let in.
    pub(in crate::shard) fn note_passed(&mut self, who: &Identified, bytes: usize) {
        self.counted.http.came(bytes);
        if who.principal != Principal::ANONYMOUS {
            self.counted.http.let_in += 1;
        }
    }

    /// The request under way on a connection is answered.
    pub(in crate::shard) fn note_answer(&mut self, id: LinkId, status: u16, bytes: Option<usize>) {
        if let Some(link) = self.links.get(id)
            && let Face::Http(face) = &link.face
        {
            self.counted.http.answered(face.mark, status, self.now.at, bytes);
        }
    }

    /// A request that has begun has not come in as a whole in time, or none has come for long.
    pub(in crate::shard) fn late(&mut self, id: LinkId) {
        let idle = Cow::Borrowed("no request came for long");
        match self.links.get(id).map(|link| &link.face) {
            Some(Face::Http(face)) if face.exchange.is_some() => {}
            // What it would be told is no HTTP/2.
            Some(Face::Http(face)) if face.is_timed && face.alpn == Some(Alpn::Http2) => {
                self.close(id, Cow::Borrowed("the preface of HTTP/2 did not come in in time"));
            }
            Some(Face::Http(face)) if face.is_timed => {
                self.refuse(id, &Refused::new(408, "the request did not come in in time"));
            }
            Some(Face::Http(face)) => {
                let quiet = self.now.at.since(face.idle_since);
                match self.limits.keep_alive.checked_sub(quiet).filter(|left| !left.is_zero()) {
                    Some(left) => self.set_timer(id, left, Due::Late(id)),
                    None => self.close(id, idle),
                }
            }
            Some(Face::Http2 { streams: 0 }) => self.close(id, idle),
            Some(Face::Stream(_)) => self.late_stream(id),
            Some(Face::Lines | Face::Hello | Face::Blocks(_)) => self.late_line(id),
            _ => {}
        }
    }

    /// The time that a connection may be idle begins. A timer that runs already is left to it: it would be
    /// set and cancelled with every request, and costs a look when it is due.
    pub(in crate::shard) fn begin_idle(&mut self, id: LinkId) {
        let now = self.now.at;
        let Some(link) = self.links.get_mut(id) else { return };
        if let Face::Http(face) = &mut link.face {
            face.idle_since = now;
            if link.timer.is_some() {
                return;
            }
        }
        self.set_timer(id, self.limits.keep_alive, Due::Late(id));
    }

    /// The peer sends no more. That is all the news there is of it having left, so what is under way for it
    /// is given up; what was answered before is still written.
    pub(in crate::shard) fn peer_left(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && let Face::Http(face) = &mut link.face
            && let Some(exchange) = face.exchange.take()
        {
            self.links.close_exchange(exchange);
            self.follow.push_back(Follow::Closed(exchange, "the peer closed it"));
        }
        self.close(id, Cow::Borrowed("the peer closed it"));
        self.settle();
    }

    /// Whether a connection waits for a request of which nothing has come yet.
    pub(in crate::shard) fn is_idle(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| match &link.face {
            Face::Http(face) => face.exchange.is_none() && !face.is_timed,
            Face::Http2 { streams } => *streams == 0,
            Face::Lines | Face::Hello | Face::Blocks(_) | Face::Ws(_) | Face::Stream(_) => false,
        })
    }

    /// Whether a connection waits for a request, or for the rest of one.
    pub(in crate::shard) fn is_between_requests(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| match &link.face {
            Face::Http(face) => face.exchange.is_none(),
            Face::Http2 { .. }
            | Face::Lines
            | Face::Hello
            | Face::Blocks(_)
            | Face::Ws(_)
            | Face::Stream(_) => false,
        })
    }

    /// What the domain calls a link: on an HTTP connection the exchange that is under way.
    pub(in crate::shard) fn told_as(&self, id: LinkId) -> Option<LinkId> {
        match self.links.get(id).map(|link| &link.face) {
            Some(Face::Http(face)) => face.exchange,
            Some(Face::Stream(face)) => face.is_told.then_some(id),
            Some(Face::Http2 { .. }) => None,
            Some(Face::Lines | Face::Hello | Face::Blocks(_) | Face::Ws(_)) | None => Some(id),
        }
    }
}

/// Whether a connection begins with the preface of HTTP/2; `None` while it may.
fn begins_http2(bytes: &[u8]) -> Option<bool> {
    let length = bytes.len().min(PREFACE.len());
    let is_it = bytes.get(..length) == PREFACE.get(..length);
    (!is_it || length == PREFACE.len()).then_some(is_it)
}

/// What a method means for the domain.
pub(in crate::shard) fn verb(method: &str, path: &str) -> Verb {
    match method {
        "POST" => Verb::Post,
        "GET" => Verb::Get,
        "DELETE" => Verb::Delete,
        // What has no stream can be looked at without its body.
        "HEAD" if matches!(path, http::HEALTH | http::READY | http::TOOLS | "/") => Verb::Get,
        _ => Verb::Other,
    }
}

pub(in crate::shard) fn error_body(what: &str) -> String {
    let mut body = Vec::new();
    crate::mcp::error::write(
        &mut body,
        "null",
        crate::mcp::Code::InvalidRequest.number(),
        what,
        None,
    );
    String::from_utf8(body).unwrap_or_default()
}

const _: () =
    assert!(http1::HEAD_BYTES_MAX < 64 << 10, "a head must fit the buffer of a busy link");
