//! A stream's side in the shard: it is guarded, asked as an exchange, answered as a whole or as a stream.
//! The same steps as `http::intake` takes for HTTP/1.1; only the bytes are hyper's.

use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use crate::base::LinkId;
use crate::gateway::Event;
use crate::gateway::http::{HeaderPairs, Headers, Request};
use crate::gateway::principal::Principal;
use crate::shard::acceptor::Door;
use crate::shard::core::{Core, Phase};
use crate::shard::domain::Domain;
use crate::shard::http::{
    Asking, Guarded, HSTS, Mark, Refused, Shown, document_headers, error_body, verb,
};
use crate::shard::links::{Due, Face, Life, Link, Side};
use crate::shard::revoke::Keyed;
use crate::wire::coding::{BODY_BYTES_MIN, Coding, Wanted};
use crate::wire::http1::is_host;

/// What a stream's link knows of its exchange.
#[derive(Debug, Default)]
pub(in crate::shard) struct StreamFace {
    /// The head of the answer, until hyper has taken it.
    answer: Option<Box<Response<()>>>,
    /// The domain knows the exchange by the link's id.
    pub(in crate::shard) is_told: bool,
    pub(in crate::shard) is_streaming: bool,
    /// `HEAD`: the answer has no body.
    is_head: bool,
    /// What its answer may be coded in.
    wants: Wanted,
    /// The page that asks, where one does and may.
    origin: Option<Box<str>>,
    /// Who asks, by which key, and what it is counted as.
    principal: Principal,
    key: Option<Keyed>,
    mark: Mark,
}

struct HeadersOf<'a>(&'a HeaderMap);

impl Headers for HeadersOf<'_> {
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.0 {
            visit(name.as_str(), value.as_bytes());
        }
    }
}

impl<D: Domain> Core<D> {
    /// A link for a stream of a connection; `None` if the connection is ending.
    pub(super) fn open_stream(&mut self, connection: LinkId) -> Option<LinkId> {
        self.open_turn();
        let is_full = self.links.is_full();
        let link = self.links.get_mut(connection)?;
        let Face::Http2 { streams } = &mut link.face else { return None };
        if link.life >= Life::Closing || is_full {
            return None;
        }
        *streams += 1;
        if let Some(timer) = link.timer.take() {
            self.wheel.cancel(timer);
        }
        let mut link = Link::new(Side::Stream(connection));
        link.face = Face::Stream(Box::default());
        let id = self.links.insert(link);
        self.set_timer(id, self.limits.body, Due::Late(id));
        self.meter.requests.add(1);
        Some(id)
    }

    /// A stream of this connection is over.
    pub(in crate::shard) fn close_stream(&mut self, connection: LinkId) {
        if let Some(link) = self.links.get_mut(connection)
            && let Face::Http2 { streams } = &mut link.face
        {
            *streams -= 1;
            if *streams == 0 && link.life < Life::Closing {
                self.begin_idle(connection);
            }
        }
    }

    /// Whether a connection takes no new streams; if not, its task is woken when the shard leaves.
    pub(super) fn is_going(&mut self, id: LinkId, met: &mut Option<u32>, cx: &Context<'_>) -> bool {
        self.on_phase.register(met, cx);
        self.phase_of(id) > Phase::Serving
            || self.links.get(id).is_none_or(|link| link.life >= Life::Closing)
    }

    /// Guards a request before its body comes; false if it is answered already.
    pub(super) fn judge_stream(&mut self, id: LinkId, parts: &Parts, body: &Incoming) -> bool {
        self.open_turn();
        let mark = Mark::new(parts.method.as_str(), parts.uri.path(), self.now.at);
        if let Some(face) = self.stream_face(id) {
            face.mark = mark;
        }
        let field = |name: HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
        let named = parts.uri.authority().map(hyper::http::uri::Authority::as_str);
        let host = match (named, field(header::HOST)) {
            (Some(named), Some(host)) if !named.as_bytes().eq_ignore_ascii_case(host) => None,
            (Some(named), _) => Some(named),
            (None, host) => host.and_then(|host| std::str::from_utf8(host).ok()),
        };
        let Some(host) = host.filter(|host| is_host(host.as_bytes())) else {
            let what = "the authority must be one host, and Host the same";
            self.refuse_stream(id, &Refused::new(400, what));
            return false;
        };
        let is_too_large = usize::try_from(body.size_hint().lower())
            .is_ok_and(|bytes| bytes > self.limits.frame_bytes_max);
        let front = std::sync::Arc::clone(&self.front);
        let method = parts.method.as_str();
        let keys = parts.headers.get_all(header::AUTHORIZATION);
        let asking = Asking {
            method,
            path: parts.uri.path(),
            host: Some(host),
            origin: field(header::ORIGIN),
            is_preflight: parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            shown: Shown::of(keys.iter().map(HeaderValue::as_bytes)),
            query: parts.uri.query().unwrap_or_default(),
            arrived: self.arrived(id),
        };
        let guarded = front.judge(&asking, &mut self.gate, self.now.unix_ms / 1_000);
        let wants = self.wants(field(header::ACCEPT_ENCODING));
        let Some(face) = self.stream_face(id) else { return false };
        face.is_head = method == "HEAD";
        face.wants = wants;
        match guarded {
            Guarded::Refused(refused) => {
                self.note_refusal(refused.reason);
                self.refuse_stream(id, &refused);
            }
            Guarded::Document { origin, text } => {
                face.origin = origin;
                self.answer_stream(id, 200, &document_headers(), text.as_bytes());
            }
            Guarded::Preflight(origin) => {
                face.origin = origin;
                self.answer_stream(id, 204, &front.preflight(), b"");
            }
            Guarded::Passes { origin, who } => {
                (face.origin, face.principal, face.key) = (origin, who.principal, who.keyed());
                let bytes = usize::try_from(body.size_hint().lower()).unwrap_or_default();
                self.note_passed(&who, bytes);
                return !is_too_large || !self.refuse_large(id);
            }
        }
        false
    }

    /// Whether a body of this many bytes may go on; refuses it if not.
    pub(super) fn has_room(&mut self, id: LinkId, bytes: usize) -> bool {
        bytes <= self.limits.frame_bytes_max || !self.refuse_large(id)
    }

    fn refuse_large(&mut self, id: LinkId) -> bool {
        let what = "the body is larger than the limit frame_bytes_max";
        self.refuse_stream(id, &Refused::new(413, what));
        true
    }

    /// Hands a whole request to the domain.
    pub(super) fn dispatch_stream(&mut self, id: LinkId, parts: &Parts, body: &[u8]) {
        self.open_turn();
        let unpacked;
        let encoding = parts.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        let body = match encoding.map(|encoding| self.unpacked(encoding, body)) {
            None | Some(Ok(None)) => body,
            Some(Ok(Some(bytes))) => {
                unpacked = bytes;
                &unpacked
            }
            Some(Err(refused)) => return self.refuse_stream(id, &refused),
        };
        let Some(link) = self.links.get_mut(id) else { return };
        let Face::Stream(face) = &mut link.face else { return };
        face.is_told = true;
        let principal = face.principal;
        if let Some(timer) = link.timer.take() {
            self.wheel.cancel(timer);
        }
        let path = parts.uri.path();
        let request = Request {
            verb: verb(parts.method.as_str(), path),
            path,
            query: parts.uri.query().unwrap_or_default(),
            headers: &HeadersOf(&parts.headers),
            body,
            principal,
        };
        self.handle(Event::Exchange { link: id, request });
    }

    /// Answers a stream as a whole; false if the link is none.
    pub(in crate::shard) fn answer_stream(
        &mut self,
        id: LinkId,
        status: u16,
        headers: &HeaderPairs,
        body: &[u8],
    ) -> bool {
        let Some(face) = self.stream_face(id) else { return false };
        let wants = face.wants;
        let packed = self.packed(wants, status, headers, body);
        let (body, coding) = match &packed {
            Some((coding, bytes)) => (&bytes[..], Some(*coding)),
            None => (body, None),
        };
        let has_length = !matches!(status, 100..=199 | 204 | 304);
        let length = has_length.then_some(body.len());
        let Some(is_head) = self.set_answer(id, status, headers, (length, coding)) else {
            return false;
        };
        if let Some(face) = self.stream_face(id) {
            face.is_told = false;
        }
        if !is_head && let Some(link) = self.links.get_mut(id) {
            link.outbox.extend_from_slice(body);
            self.filled(id);
        }
        if let Some(link) = self.links.get_mut(id)
            && link.life < Life::Closing
        {
            link.life = Life::Closing;
            link.wake();
            self.begin_flush(id);
        }
        true
    }

    /// Answers a stream with events; false if the link is none.
    pub(in crate::shard) fn begin_stream(&mut self, id: LinkId, headers: &HeaderPairs) -> bool {
        let mut all = headers.clone();
        all.extend([
            ("content-type", "text/event-stream".to_owned()),
            ("cache-control", "no-cache, no-transform".to_owned()),
            ("x-accel-buffering", "no".to_owned()),
        ]);
        if self.set_answer(id, 200, &all, (None, None)).is_none() {
            return false;
        }
        let mut key = None;
        if let Some(face) = self.stream_face(id) {
            face.is_streaming = true;
            key = face.key;
        }
        if let Some(link) = self.links.get(id) {
            link.wake();
        }
        self.note_stream(id, key);
        true
    }

    /// A body that did not come in time.
    pub(in crate::shard) fn late_stream(&mut self, id: LinkId) {
        self.refuse_stream(id, &Refused::new(408, "the request did not come in in time"));
    }

    fn refuse_stream(&mut self, id: LinkId, refused: &Refused) {
        self.meter.faults.add(1);
        let body = error_body(refused.what);
        self.answer_stream(id, refused.status, &refused.headers, body.as_bytes());
    }

    fn stream_face(&mut self, id: LinkId) -> Option<&mut StreamFace> {
        match &mut self.links.get_mut(id)?.face {
            Face::Stream(face) => Some(&mut **face),
            _ => None,
        }
    }

    /// Leaves the head of an answer for hyper; says whether it is one without a body.
    fn set_answer(
        &mut self,
        id: LinkId,
        status: u16,
        headers: &HeaderPairs,
        (length, coding): (Option<usize>, Option<Coding>),
    ) -> Option<bool> {
        let date = self.date().to_owned();
        let credentials = self.front.cors.credentials;
        let is_large = length.is_some_and(|length| length >= BODY_BYTES_MIN);
        let varies = self.front.packs_answers && (coding.is_some() || is_large);
        let is_secure = self.arrived(id).0 == Door::Tls;
        if self.links.get(id)?.life >= Life::Closing {
            return None;
        }
        let face = self.stream_face(id)?;
        let mut response = Response::new(());
        *response.status_mut() = status.try_into().unwrap_or_default();
        let map = response.headers_mut();
        let mut put = |name: &str, value: &str| {
            // What is no header's is not sent; nothing of a stranger's gets here unread.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value.parse())
            {
                map.append(name, value);
            }
        };
        put("date", &date);
        put("x-content-type-options", "nosniff");
        if is_secure {
            put(HSTS.0, HSTS.1);
        }
        if let Some(origin) = &face.origin {
            put("access-control-allow-origin", origin);
            put("access-control-expose-headers", "mcp-session-id");
            put("vary", "origin");
            if credentials {
                put("access-control-allow-credentials", "true");
            }
        }
        for (name, value) in headers {
            put(name, value);
        }
        if varies {
            put("vary", "accept-encoding");
        }
        if let Some(coding) = coding {
            put("content-encoding", coding.name());
        }
        if let Some(length) = length {
            put("content-length", &length.to_string());
            if length > 0 && !map.contains_key(header::CONTENT_TYPE) {
                map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        face.answer = Some(Box::new(response));
        let (mark, is_head) = (face.mark, face.is_head);
        self.counted.http.answered(mark, status, self.now.at, length);
        Some(is_head)
    }

    /// The head of a stream's answer, when there is one; `None` when there will be none.
    pub(super) fn take_answer(
        &mut self,
        id: LinkId,
        cx: &Context<'_>,
    ) -> Poll<Option<Response<()>>> {
        self.meet(id, cx);
        let is_ending = self.links.get(id).is_none_or(|link| link.life >= Life::Closing);
        let answer = self.stream_face(id).and_then(|face| face.answer.take());
        match answer {
            Some(answer) if !self.is_dead(id) => Poll::Ready(Some(*answer)),
            None if !is_ending => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }

    /// Whether a request was answered before it was whole.
    pub(super) fn is_answered(&mut self, id: LinkId, cx: &Context<'_>) -> bool {
        self.meet(id, cx);
        self.links.get(id).is_none_or(|link| link.life >= Life::Closing)
    }

    /// Whether nothing of an answer is left to be sent.
    pub(super) fn is_all_said(&self, id: LinkId) -> bool {
        self.links.get(id).is_none_or(|link| {
            link.life == Life::Closing && link.outbox.is_empty() && link.in_flight == 0
        })
    }
}
