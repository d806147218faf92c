//! What the domain wants done: effects are applied, and what follows from them is handled, at once, until
//! nothing follows. No await and no I/O; tasks are only woken here.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::core::{Core, Dialing, Follow, Phase};
use super::domain::Domain;
use super::http::{Front, HttpFace};
use super::links::{Due, Face, Life, Side};
use super::press::Slow;
use crate::base::{LinkId, ShardId};
use crate::gateway::address::counted;
use crate::gateway::http::HeaderPairs;
use crate::gateway::trace::Span;
use crate::gateway::{Effect, Event, Mail};
use crate::wire::http1;

/// A link that closes may take this long to write some of what waits.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Decisions that wait for the end of the turn before they are handed on: some hundred KiB.
const RECORDS_MAX: usize = 1_024;
/// How often an ended link is asked about besides after each send.
const OWES_EVERY: Duration = Duration::from_millis(250);

impl<D: Domain> Core<D> {
    /// Applies effects, and handles what follows from them, until nothing does.
    pub(super) fn settle(&mut self) {
        loop {
            self.apply();
            let event = match self.follow.pop_front() {
                None => return,
                Some(Follow::Blocked(link)) => match self.told_as(link) {
                    Some(link) => Event::Blocked { link },
                    None => continue,
                },
                Some(Follow::Unblocked(link)) => match self.told_as(link) {
                    Some(link) => Event::Unblocked { link },
                    None => continue,
                },
                Some(Follow::Closed(link, why)) => Event::Closed { link, why },
                Some(Follow::Letter(mail)) => Event::Mail { from: self.id, mail },
                Some(Follow::Violated(address)) => Event::Violated { address },
            };
            self.domain.handle(self.now, event, &mut self.out);
        }
    }

    #[inline]
    pub(super) fn apply(&mut self) {
        if self.out.records.len() >= RECORDS_MAX {
            self.hand_records();
        }
        if self.out.list.is_empty() {
            self.out.bytes.clear();
            return;
        }
        let mut list = std::mem::take(&mut self.out.list);
        let mut bytes = std::mem::take(&mut self.out.bytes);
        // The common case: everything that was written goes to one link. An empty outbox then takes
        // the buffer itself, and nothing is copied.
        if let [Effect::Send { link, bytes: range }] = &list[..]
            && *range == (0..bytes.len())
            && let Some(target) = self.links.get_mut(*link)
            && target.outbox.capacity() == 0
            && target.is_plain()
            && target.life < Life::Closing
        {
            let id = *link;
            target.outbox = bytes;
            self.filled(id);
            bytes = self.pool.take();
            list.clear();
        }
        for effect in list.drain(..) {
            self.apply_one(effect, &bytes);
        }
        bytes.clear();
        self.out.list = list;
        self.out.bytes = bytes;
    }

    pub(super) fn apply_one(&mut self, effect: Effect, bytes: &[u8]) {
        match effect {
            Effect::Send { link, bytes: range } => self.send(link, bytes, range),
            Effect::Close { link, why } if link.shard() != self.id => {
                self.mail(link.shard(), Mail::Close { link, why });
            }
            Effect::Close { link, why } if self.links.connection(link).is_some() => {
                self.end_stream(link, why);
            }
            Effect::Close { link, why } => self.close(link, Cow::Borrowed(why)),
            Effect::Pause { link } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.paused = true;
                }
            }
            Effect::Resume { link: id } => {
                if let Some(link) = self.links.get_mut(id)
                    && link.paused
                {
                    link.paused = false;
                    link.wake();
                    self.let_go(id);
                }
            }
            Effect::Dial { lane, endpoint } => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.dials.insert(ticket, Dialing { lane, link: None });
                self.dialer.dial(endpoint, ticket, &self.post);
            }
            Effect::Bear { link, subject } => {
                if self.links.get(link).is_some() {
                    self.bearers.insert(link, subject);
                }
            }
            Effect::Mail { to, mail } => self.mail(to, mail),
            Effect::Respond { link, status, headers, bytes: range } => {
                let body = bytes.get(range).unwrap_or_default();
                self.respond(link, status, headers, body);
            }
            Effect::Stream { link, headers } => self.stream(link, headers),
            Effect::ReadText { ticket, folder, path } => {
                self.errands.read_text(ticket, folder, path);
            }
            Effect::Violation { link } => self.violated(link),
            Effect::Expel { address } => self.expel(address),
            Effect::Span(span) => self.span(span),
            Effect::Report(report) => self.report(&report),
        }
    }

    /// The peer of a link went over a rate: it counts against where its connection came from.
    fn violated(&mut self, link: LinkId) {
        if link.shard() != self.id {
            return self.mail(link.shard(), Mail::Violation { link });
        }
        let connection = match self.links.get(link).map(|link| link.side) {
            Some(Side::Stream(connection)) => Some(connection),
            Some(_) => Some(link),
            None => self.links.connection(link),
        };
        let from = connection.and_then(|link| self.addresses.get(&link));
        self.follow.extend(from.map(|from| Follow::Violated(*from)));
    }

    /// Closes what came from an address.
    fn expel(&mut self, address: IpAddr) {
        let from = self.addresses.iter().filter(|(_, from)| counted(**from) == address);
        let links: Vec<LinkId> = from.map(|(link, _)| *link).collect();
        for link in links {
            self.close(link, Cow::Borrowed("its address went over the rates too often"));
        }
    }

    /// Hands the decisions of this turn to the audit log.
    pub(super) fn hand_records(&mut self) {
        if self.out.records.is_empty() {
            return;
        }
        let records = &mut self.out.records;
        let count = records.len() as u64;
        let is_taken = self.audit.as_ref().is_some_and(|audit| audit.take(self.id, records));
        records.clear();
        let counter = if is_taken { &self.meter.audited } else { &self.meter.audit_lost };
        counter.add(count);
    }

    fn span(&self, span: Box<Span>) {
        let is_taken = self.traces.as_ref().is_some_and(|traces| traces.take(span));
        let count = if is_taken { &self.meter.spans } else { &self.meter.spans_lost };
        count.add(1);
    }

    fn mail(&mut self, to: ShardId, mail: Mail) {
        if to == self.id {
            self.follow.push_back(Follow::Letter(mail));
        } else if !self.mailbox.send(to, mail, &self.meter) {
            tracing::error!(?to, "mail for a shard that does not exist");
        }
    }

    /// Answers an exchange as a whole.
    fn respond(&mut self, exchange: LinkId, status: u16, headers: HeaderPairs, body: &[u8]) {
        if exchange.shard() != self.id {
            let mail = Mail::Respond { link: exchange, status, headers, bytes: body.into() };
            return self.mail(exchange.shard(), mail);
        }
        if self.answer_stream(exchange, status, &headers, body) {
            return;
        }
        let Some(id) = self.links.connection(exchange) else { return };
        self.answer(id, status, &headers, body);
    }

    /// Answers an exchange with a stream.
    fn stream(&mut self, exchange: LinkId, headers: HeaderPairs) {
        if exchange.shard() != self.id {
            let mail = Mail::Stream { link: exchange, headers };
            return self.mail(exchange.shard(), mail);
        }
        if self.begin_stream(exchange, &headers) {
            return;
        }
        let Some(id) = self.links.connection(exchange) else { return };
        self.note_answer(id, 200, None);
        let mut key = None;
        self.write(id, |face, (front, date), out| {
            face.stream(out, front, date, &headers);
            key = face.key;
        });
        self.note_stream(id, key);
    }

    /// A piece of the stream that answers an exchange.
    fn piece(&mut self, exchange: LinkId, bytes: &[u8]) {
        let Some(id) = self.links.connection(exchange) else { return };
        self.write(id, |face, _, out| {
            debug_assert!(face.is_streaming, "a piece of an answer that is no stream");
            if face.is_streaming {
                face.piece(out, bytes);
            }
        });
    }

    /// The stream that answers an exchange is over.
    pub(super) fn end_stream(&mut self, exchange: LinkId, why: &'static str) {
        let Some(id) = self.links.connection(exchange) else { return };
        self.write(id, |face, _, out| {
            if face.is_streaming {
                face.end(out);
            } else {
                // Nothing was answered: only the end of the connection says so.
                face.keeps_alive = false;
            }
        });
        self.follow.push_back(Follow::Closed(exchange, why));
        self.finish_exchange(id);
    }

    /// `Date` of a response, written anew once a second.
    pub(super) fn date(&mut self) -> &str {
        let second = self.now.unix_ms / 1_000;
        if self.date.0 != second {
            self.date = (second, http1::date::imf_fixdate(second));
        }
        &self.date.1
    }

    /// Appends to what a connection writes.
    pub(super) fn write(
        &mut self,
        id: LinkId,
        write: impl FnOnce(&mut HttpFace, (&Front, &str), &mut Vec<u8>),
    ) {
        self.date();
        let is_serving = self.phase_of(id) == Phase::Serving;
        let Some(link) = self.links.get_mut(id) else { return };
        let Face::Http(face) = &mut link.face else { return };
        if link.life >= Life::Closing {
            return;
        }
        if link.outbox.capacity() == 0 {
            link.outbox = self.pool.take();
        }
        // So that a response that is the connection's last says so.
        face.keeps_alive &= is_serving;
        write(face, (&self.front, &self.date.1), &mut link.outbox);
        self.filled(id);
    }

    /// The exchange on a connection is over: the next may come, unless it was the last.
    pub(super) fn finish_exchange(&mut self, id: LinkId) {
        let is_serving = self.phase_of(id) == Phase::Serving;
        let Some(link) = self.links.get_mut(id) else { return };
        let Face::Http(face) = &mut link.face else { return };
        let exchange = face.exchange.take();
        let goes_on = face.keeps_alive && is_serving;
        if std::mem::take(&mut face.is_streaming) {
            self.keyed.remove(&id);
        }
        let is_running = self.running == Some(id);
        if std::mem::take(&mut face.is_held) && !is_running {
            link.wake();
        }
        if let Some(exchange) = exchange {
            self.links.close_exchange(exchange);
        }
        if !goes_on {
            self.close(id, Cow::Borrowed("its last request was answered"));
        } else if !self.is_patient(id) {
            self.begin_idle(id);
        }
    }

    pub(super) fn send(&mut self, id: LinkId, bytes: &[u8], range: Range<usize>) {
        let Some(frame) = bytes.get(range) else { return };
        if id.shard() != self.id {
            let mail = Mail::Send { link: id, bytes: frame.into() };
            return self.mail(id.shard(), mail);
        }
        let Some(link) = self.links.get_mut(id) else { return self.piece(id, frame) };
        if link.life >= Life::Closing {
            return;
        }
        if matches!(link.face, Face::Ws(_)) {
            return self.write_ws(id, |face, coders, out| face.messages(coders, out, frame));
        }
        if link.outbox.capacity() == 0 {
            link.outbox = self.pool.take();
        }
        link.outbox.extend_from_slice(frame);
        self.filled(id);
    }

    /// Writes out what waits, then closes.
    pub(super) fn close(&mut self, id: LinkId, why: Cow<'static, str>) {
        if self.links.get(id).is_some_and(|link| matches!(link.face, Face::Ws(_))) {
            self.say_goodbye(id, &why);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        if link.life >= Life::Closing {
            return;
        }
        link.life = Life::Closing;
        if link.paused {
            self.let_go(id);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        if let Face::Stream(face) = &mut link.face
            && std::mem::take(&mut face.is_told)
        {
            let why = match why {
                Cow::Borrowed(why) => why,
                Cow::Owned(_) => "it was closed",
            };
            self.follow.push_back(Follow::Closed(id, why));
        }
        link.why.get_or_insert(why);
        link.wake();
        self.begin_flush(id);
    }

    /// The time begins in which a link that closes must take some of what waits. That of a stream of HTTP/2
    /// is longer: its peer has others to read.
    pub(super) fn begin_flush(&mut self, id: LinkId) {
        self.set_timer(id, self.flush_time(id), Due::Flush(id));
    }

    pub(super) fn flush_time(&self, id: LinkId) -> Duration {
        let is_stream = self.links.get(id).is_some_and(|link| matches!(link.face, Face::Stream(_)));
        if is_stream { self.limits.blocked } else { FLUSH_MAX }
    }

    /// Ends a link's task at once; what waits is lost.
    pub(super) fn kill(&mut self, id: LinkId, why: Cow<'static, str>) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.life = Life::Dead;
        link.why.get_or_insert(why);
        link.wake();
        if link.paused {
            self.let_go(id);
        }
    }

    pub(super) fn close_unless_owed(&mut self, id: LinkId) {
        if self.links.get(id).is_none_or(|link| link.life != Life::Ended) {
            return;
        }
        if !self.domain.owes(id) {
            return self.close(id, Cow::Borrowed("the peer closed it"));
        }
        // Its one timer stands for both: what it is owed, and how long it may leave that unread.
        match self.patience(id) {
            Some(left) if left.is_zero() => self.give_up(id, Slow::Blocked),
            left => {
                let after = left.map_or(OWES_EVERY, |left| left.min(OWES_EVERY));
                self.set_timer(id, after, Due::Owes(id));
            }
        }
    }

    /// A link has one timer: what it waits for most. That is its peer's taking something, once the time for that runs.
    pub(super) fn set_timer(&mut self, id: LinkId, after: Duration, due: Due) {
        if matches!(due, Due::Late(_) | Due::Ping(_)) && self.is_patient(id) {
            return;
        }
        let Some(link) = self.links.get_mut(id) else { return };
        if let Some(old) = link.timer.take() {
            self.wheel.cancel(old);
        }
        link.timer = Some(self.wheel.set(self.now.at, after, due));
    }

    pub(super) fn forget_timer(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.timer = None;
        }
    }
}
