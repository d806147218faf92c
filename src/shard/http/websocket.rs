//! A connection that has become a WebSocket: its messages are frames of a client's, and frames leave as
//! messages. Pings, so that the dead are found; closes with the code that says why.

use super::super::coders::{Coders, Pack};
use super::super::core::{Core, Phase, Verdict};
use super::super::domain::Domain;
use super::super::inbox::Inbox;
use super::super::links::{Due, Face, Life, Side};
use super::super::revoke::{KEY_REVOKED, REVOKED};
use super::bearer::Identified;
use super::intake::Reading;
use crate::base::{LinkId, Moment};
use crate::gateway::principal::Subject;
use crate::gateway::token::bearer;
use crate::gateway::{Event, Transport};
use crate::wire::http1::{Head, write as http};
use crate::wire::ws::deflate::{Agreed, MESSAGE_BYTES_MAX};
use crate::wire::ws::{self, Decoder, Role, handshake, write};
use crate::wire::{Json, ws::Event as Came};

/// What a WebSocket's link knows.
#[derive(Debug)]
pub(in crate::shard) struct WsFace {
    heard: Moment,
    /// A message has been under way since.
    partial_since: Option<Moment>,
    /// Our Close frame has left.
    is_closed: bool,
    /// For tests of this code as such: what comes is sent back as it came, line breaks and all.
    is_echo: bool,
    is_binary: bool,
    /// Messages may be compressed, and how.
    packs: Option<Agreed>,
    /// The second from which on its client proves nothing any more, since 1970-01-01 UTC.
    until: u64,
}

impl WsFace {
    /// Appends frames of the domain's, a line each, as messages.
    pub(in crate::shard) fn messages(&self, coders: &mut Coders, out: &mut Vec<u8>, lines: &[u8]) {
        if self.is_closed {
            return;
        }
        if self.is_echo {
            return self.message(coders, out, !self.is_binary, lines);
        }
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            self.message(coders, out, true, lines.get(from..end).unwrap_or_default());
            from = end + 1;
        }
    }

    #[inline]
    fn message(&self, coders: &mut Coders, out: &mut Vec<u8>, is_text: bool, payload: &[u8]) {
        if let Some(agreed) = self.packs
            && payload.len() <= MESSAGE_BYTES_MAX
            && let Some(packed) = coders.deflater.message(agreed, payload)
        {
            coders.ledger.left(Pack::WebSocket, payload.len(), packed.len());
            write::packed(out, is_text, packed);
        } else if is_text {
            write::text(out, payload);
        } else {
            write::binary(out, payload);
        }
    }

    /// Appends our Close frame, once.
    pub(in crate::shard) fn close(&mut self, out: &mut Vec<u8>, code: u16) {
        if !std::mem::replace(&mut self.is_closed, true) {
            write::close(out, code);
        }
    }

    /// The same in place of all that waits, a Close frame among it.
    pub(in crate::shard) fn close_at_once(&mut self, out: &mut Vec<u8>, code: u16) {
        *out = Vec::new();
        self.is_closed = true;
        write::close(out, code);
    }
}

impl<D: Domain> Core<D> {
    /// Answers a request for a WebSocket. The connection is one from here on, unless the request was wrong.
    pub(super) fn upgrade(
        &mut self,
        id: LinkId,
        head: &Head<'_, '_>,
        who: Identified,
        reading: &mut Reading,
    ) {
        let judged = handshake::judge(head.headers(), self.front.packs_messages);
        let (accept, subprotocol, packs) = match judged {
            handshake::Verdict::Accepted { accept, subprotocol, packs } => {
                (accept, subprotocol, packs)
            }
            handshake::Verdict::Version => {
                let headers = vec![("sec-websocket-version", "13".to_owned())];
                return self.respond_now(id, 426, &headers, b"");
            }
            handshake::Verdict::Refused(what) => {
                let body = super::intake::error_body(what);
                return self.respond_now(id, 400, &Vec::new(), body.as_bytes());
            }
        };
        // It is judged in this very event, so it is good.
        let _is_good = self.note_key(id, who.keyed());
        self.write(id, |face, (_, date), out| {
            http::status(out, 1, 101);
            http::header(out, "date", date.as_bytes());
            http::header(out, "upgrade", b"websocket");
            http::header(out, "connection", b"Upgrade");
            http::header(out, "sec-websocket-accept", accept.as_bytes());
            if let Some(subprotocol) = subprotocol {
                http::header(out, "sec-websocket-protocol", subprotocol.as_bytes());
            }
            if let Some(agreed) = packs {
                http::header(out, "sec-websocket-extensions", agreed.answer().as_bytes());
            }
            if let Some(origin) = &face.origin {
                http::header(out, "access-control-allow-origin", origin.as_bytes());
            }
            http::end(out);
        });
        self.note_answer(id, 101, None);
        let (heard, is_echo) = (self.now.at, self.front.takes_binary);
        let Some(link) = self.links.get_mut(id) else { return };
        link.face = Face::Ws(Box::new(WsFace {
            heard,
            partial_since: None,
            is_closed: false,
            is_echo,
            is_binary: false,
            packs,
            until: who.until,
        }));
        let decoder = Decoder::new(Role::Server, self.limits.frame_bytes_max);
        *reading = Reading::Messages(Box::new(decoder.unpacking(packs.is_some())));
        self.set_timer(id, self.limits.ws_ping, Due::Ping(id));
        self.domain.handle(
            self.now,
            Event::ClientOpened {
                link: id,
                transport: Transport::WebSocket,
                principal: who.principal,
            },
            &mut self.out,
        );
        if who.principal.subject() != Subject::NONE
            && let Some(token) = head.get("authorization").and_then(bearer)
        {
            let event = Event::Shown { link: id, token };
            self.domain.handle(self.now, event, &mut self.out);
        }
    }

    /// Hands on every message that a WebSocket has read.
    pub(in crate::shard) fn deliver_ws(&mut self, id: LinkId, inbox: &mut Inbox) -> Verdict {
        let mut reading = std::mem::take(&mut inbox.reading);
        let Reading::Messages(decoder) = &mut reading else { return self.discard(inbox) };
        let mut came_one = false;
        let verdict = loop {
            match self.links.get_mut(id) {
                Some(link) if link.life < Life::Closing => {
                    link.pressure.spend(u64::from(std::mem::take(&mut came_one)));
                    if !link.reads() {
                        break Verdict::Wait;
                    }
                }
                _ => break self.discard(inbox),
            }
            let step = decoder.next(inbox.rest());
            let (consumed, came) = match step {
                Ok(step) => (step.consumed, step.event),
                Err(fault) => {
                    self.meter.faults.add(1);
                    self.close_ws(id, fault.code, fault.what);
                    break self.discard(inbox);
                }
            };
            let is_dry = consumed == 0 && came.is_none();
            inbox.consume(consumed);
            if let Some(came) = came {
                self.came(id, came);
                came_one = true;
            }
            if is_dry {
                self.hear(id, decoder.is_partial());
                break Verdict::Read;
            }
        };
        if verdict != Verdict::Discard {
            inbox.reading = reading;
        }
        verdict
    }

    fn came(&mut self, id: LinkId, came: Came<'_>) {
        let is_echo = self.front.takes_binary;
        match came {
            Came::Text(text) if is_echo => self.echo(id, text.as_bytes(), false),
            Came::Binary(bytes) if is_echo => self.echo(id, bytes, true),
            Came::Text(text) => self.text(id, text),
            Came::Packed { is_text, payload } => self.unpack(id, is_text, payload),
            Came::Binary(_) => {
                self.close_ws(id, ws::UNSUPPORTED, "binary messages are not taken: MCP is text");
            }
            Came::Ping(payload) => self.write_ws(id, |_, _, out| write::pong(out, payload)),
            Came::Pong => {}
            Came::Close(code) => {
                self.close_ws(id, code.unwrap_or(ws::NORMAL), "the peer closed it");
            }
        }
    }

    /// A compressed message: inflated, within the bound that it would have had.
    fn unpack(&mut self, id: LinkId, is_text: bool, payload: &[u8]) {
        let mut inflater = std::mem::take(&mut self.coders.inflater);
        match inflater.message(is_text, payload, self.limits.frame_bytes_max) {
            Ok(came) => {
                let bytes = match came {
                    Came::Text(text) => text.len(),
                    Came::Binary(bytes) => bytes.len(),
                    _ => 0,
                };
                self.coders.ledger.came(Pack::WebSocket, bytes, payload.len());
                self.came(id, came);
            }
            Err(fault) => {
                self.meter.faults.add(1);
                self.close_ws(id, fault.code, fault.what);
            }
        }
        self.coders.inflater = inflater;
    }

    /// One message is one frame, or several, a line each.
    fn text(&mut self, id: LinkId, text: &str) {
        let is_one = memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_none();
        if is_one {
            self.frame(id, text.as_bytes());
        } else if Json::parse(text).is_ok() {
            // One message over many lines: what goes on in lines must be one.
            let mut bytes = text.as_bytes().to_vec();
            crate::gateway::one_line(&mut bytes);
            self.frame(id, &bytes);
        } else {
            let lines = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
            // They are taken in one go, as a batch is, whether the link is to be read from meanwhile or not.
            if lines.clone().nth(self.limits.batch_messages_max).is_some() {
                self.meter.faults.add(1);
                let why = "a message of more lines than the limit batch_messages_max";
                return self.close_ws(id, ws::TOO_BIG, why);
            }
            for line in lines {
                self.frame(id, line.as_bytes());
                // So that a burst of small questions meets the outbox's bound, and a close is one.
                self.settle();
                if self.links.get(id).is_none_or(|link| link.life >= Life::Closing) {
                    return;
                }
            }
        }
        self.settle();
    }

    fn frame(&mut self, id: LinkId, frame: &[u8]) {
        self.meter.frames_in.add(1);
        self.counted.frames(Side::Client(Transport::WebSocket), 1);
        self.domain.handle(self.now, Event::Frame { link: id, frame }, &mut self.out);
    }

    fn echo(&mut self, id: LinkId, frame: &[u8], is_binary: bool) {
        if let Some(link) = self.links.get_mut(id)
            && let Face::Ws(face) = &mut link.face
        {
            face.is_binary = is_binary;
        }
        self.frame(id, frame);
        self.settle();
    }

    fn hear(&mut self, id: LinkId, is_partial: bool) {
        let now = self.now.at;
        if let Some(link) = self.links.get_mut(id)
            && let Face::Ws(face) = &mut link.face
        {
            face.heard = now;
            face.partial_since = is_partial.then(|| face.partial_since.unwrap_or(now));
        }
    }

    /// Time to ask whether the peer is there, or to give it up.
    pub(in crate::shard) fn ping(&mut self, id: LinkId) {
        let now = self.now.at;
        let Some(Face::Ws(face)) = self.links.get(id).map(|link| &link.face) else { return };
        if now.since(face.heard) >= self.limits.ws_idle {
            return self.close_ws(
                id,
                ws::GOING_AWAY,
                "nothing was heard for the time of the limit ws_idle",
            );
        }
        if face.partial_since.is_some_and(|since| now.since(since) >= self.limits.ws_fragments) {
            return self.close_ws(
                id,
                ws::POLICY,
                "a message in fragments took longer than the limit ws_fragments",
            );
        }
        // Over HTTP each request shows its token; here the one that the connection began with must last.
        if self.now.unix_ms / 1_000 >= face.until {
            return self.close_ws(id, ws::POLICY, "the token that it began with has expired");
        }
        self.write_ws(id, |_, _, out| write::ping(out));
        self.begin_pings(id);
    }

    pub(in crate::shard) fn begin_pings(&mut self, id: LinkId) {
        self.set_timer(id, self.limits.ws_ping, Due::Ping(id));
    }

    /// Goes on asking after the link was waited for in another way.
    pub(in crate::shard) fn begin_pings_of(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(|link| matches!(link.face, Face::Ws(_))) {
            self.begin_pings(id);
        }
    }

    fn close_ws(&mut self, id: LinkId, code: u16, why: &'static str) {
        self.write_ws(id, |face, _, out| face.close(out, code));
        self.close(id, std::borrow::Cow::Borrowed(why));
    }

    /// Says goodbye before a link is closed for a reason of ours.
    pub(in crate::shard) fn say_goodbye(&mut self, id: LinkId, why: &str) {
        let code = if self.phase_of(id) >= Phase::Draining {
            ws::GOING_AWAY
        } else if why == REVOKED || why == KEY_REVOKED {
            ws::POLICY
        } else if why.contains("clients_max") {
            ws::TRY_LATER
        } else {
            ws::NORMAL
        };
        self.write_ws(id, |face, _, out| face.close(out, code));
    }

    pub(in crate::shard) fn write_ws(
        &mut self,
        id: LinkId,
        write: impl FnOnce(&mut WsFace, &mut Coders, &mut Vec<u8>),
    ) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Face::Ws(face) = &mut link.face else { return };
        // Nothing comes behind our Close frame. And what is over a bound is given up with one, once.
        if link.life >= Life::Closing || face.is_closed {
            return;
        }
        if link.outbox.capacity() == 0 {
            link.outbox = self.pool.take();
        }
        write(face, &mut self.coders, &mut link.outbox);
        self.filled(id);
    }
}
