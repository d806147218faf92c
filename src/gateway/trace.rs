//! Traces: whose part a request is of a longer one, by the W3C's trace context, and what is told of it. A request
//! brings its context in `_meta` (`traceparent`, `tracestate`; 2026-07-28 "Request metadata") or in the headers of
//! its POST; what is in `_meta` counts. Its upstream gets the same with a span of ours between them. Who collects
//! spans, and where, is the edge's business. Where traces are off, nothing of this is looked at and nothing changes.

use super::Gateway;
use super::door::{Effect, Effects, Transport};
use super::flight::{Flight, FlightKey, wire_id};
use super::http::Facts;
use super::inbound::Asked;
use super::tally::End;
use crate::base::{Moment, Now, ShardId};
use crate::mcp::{Method, Params};
use crate::wire::{Json, text};

/// What a `tracestate` may have (W3C Trace Context section 3.3.1.5); a longer one is left behind.
const STATE_BYTES_MAX: usize = 512;
/// Bytes kept of what a request is about: it stands in the name of its span.
const NAME_BYTES_MAX: usize = 128;

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Of requests without a context, those whose dice are below this: of 2^64.
    below: u64,
}

impl Tracing {
    /// This share of requests that bring no context, between 0 and 1. Those that do are traced if their context
    /// says so.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of 2^64, saturating at both ends"
    )]
    pub const fn of(share: f64) -> Self {
        Self { below: (share * u64::MAX as f64) as u64 }
    }

    const fn takes(self, dice: u64) -> bool {
        dice < self.below || self.below == u64::MAX
    }
}

/// Of which trace a request is, as it says itself (W3C Trace Context section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: u128,
    /// The span that it was sent in.
    pub parent: u64,
    pub is_sampled: bool,
    pub state: Option<Box<str>>,
}

impl Context {
    /// Reads a `traceparent` (section 3.2.2) and what stands beside it; `None` if it is none.
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut fields = parent.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace = hex(fields.next()?, 32)?;
        let span = u64::try_from(hex(fields.next()?, 16)?).ok()?;
        let flags = hex(fields.next()?, 2)?;
        // Later versions may have more fields; this one has not.
        let is_whole = version != 0 || fields.next().is_none();
        if version == 0xFF || trace == 0 || span == 0 || !is_whole {
            return None;
        }
        let is_shown = |byte: u8| (0x20..0x7F).contains(&byte);
        let state = state
            .filter(|it| (1..=STATE_BYTES_MAX).contains(&it.len()) && it.bytes().all(is_shown));
        let state = state.map(Into::into);
        Some(Self { trace, parent: span, is_sampled: flags & 1 == 1, state })
    }

    /// From a POST's headers.
    pub(super) fn of_headers(facts: &Facts<'_>) -> Option<Box<Self>> {
        Self::read(facts.trace_parent?, facts.trace_state).map(Box::new)
    }

    fn of_meta(parsed: &Params<'_>) -> Option<Self> {
        let meta = parsed.meta_json?;
        let parent = meta.get(PARENT).and_then(Json::as_str)?;
        let state = meta.get(STATE).and_then(Json::as_str);
        Self::read(&parent, state.as_deref())
    }
}

pub const PARENT: &str = "traceparent";
pub const STATE: &str = "tracestate";

/// A number of so many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// A request that is traced: here from its beginning to its end, and at its upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub context: Context,
    /// Whether its client named a span that ours is in.
    pub has_parent: bool,
    /// Our span.
    pub id: u64,
    /// When it began, in milliseconds since 1970-01-01 UTC; and by the clock that the rest is told by.
    pub unix_ms: u64,
    pub begun: Moment,
    /// The span within it that its upstream was told of, the last if there were several; and when it left.
    pub sent: Option<(u64, Moment)>,
    pub ended: Moment,
    pub end: End,
    pub transport: Transport,
    pub method: Method,
    /// What its upstream calls the thing, or the beginning of that.
    pub name: Box<str>,
    pub upstream: Box<str>,
    /// The id that the upstream got it under; `None` if it got none.
    pub wire_id: Option<u64>,
}

impl Span {
    /// Goes to its upstream: the members of `_meta` that say so, without brackets.
    pub(super) fn leave(&mut self, now: Moment, id: u64, wire_id: u64) -> String {
        self.sent = Some((id, now));
        self.wire_id = Some(wire_id);
        let Context { trace, is_sampled, state, .. } = &self.context;
        let flags = u8::from(*is_sampled);
        let mut members = format!("\"{PARENT}\":\"00-{trace:032x}-{id:016x}-{flags:02x}\"");
        if let Some(state) = state {
            members.extend([",\"", STATE, "\":", &text::quoted(state)]);
        }
        members
    }
}

impl Gateway {
    /// A request for something of an upstream's begins: a span for it, if it is traced.
    #[cold]
    pub(super) fn begin_span(&mut self, now: Now, asked: &Asked<'_>, upstream: usize, own: &str) {
        let Some(rule) = self.settings.traces else { return };
        let given = Context::of_meta(asked.parsed).or_else(|| self.context.as_deref().cloned());
        let has_parent = given.is_some();
        let context = match given {
            Some(context) => context,
            None if rule.takes(self.roll()) => {
                let (high, low) = (self.roll(), self.roll());
                let trace = (u128::from(high) << 64) | u128::from(low);
                Context { trace: trace.max(1), parent: 0, is_sampled: true, state: None }
            }
            None => return,
        };
        let id = self.roll_span();
        let Some(client) = self.clients.get(asked.client) else { return };
        let transport = client.transport;
        let server = self.settings.upstreams.get(upstream).map_or("", |it| it.name.as_str());
        let cut = own.floor_char_boundary(NAME_BYTES_MAX);
        self.span = Some(Box::new(Span {
            context,
            has_parent,
            id,
            unix_ms: now.unix_ms,
            begun: now.at,
            sent: None,
            ended: now.at,
            end: End::Answered,
            transport,
            method: asked.method,
            name: own.get(..cut).unwrap_or_default().into(),
            upstream: server.into(),
            wire_id: None,
        }));
    }

    /// What the headers of a POST say of its trace, where that matters.
    #[inline]
    pub(super) fn note_context(&mut self, facts: &Facts<'_>) {
        if self.settings.traces.is_some() {
            self.context = Context::of_headers(facts);
        }
    }

    /// A span's number: 0 is none.
    fn roll_span(&mut self) -> u64 {
        self.roll().max(1)
    }

    /// The flight leaves: what its upstream is told of its trace, if it has one.
    #[inline]
    pub(super) fn trace_members(&mut self, now: Now, key: FlightKey) -> Option<String> {
        self.flights.get(key)?.span.as_ref()?;
        let id = self.roll_span();
        let wire_id = wire_id(self.shard, key);
        let span = self.flights.get_mut(key)?.span.as_mut()?;
        Some(span.leave(now.at, id, wire_id))
    }

    /// The request that is being handled is over, if no flight took its span.
    #[cold]
    pub(super) fn end_span(&mut self, out: &mut Effects) {
        if let Some(span) = self.span.take() {
            let end = span.end;
            self.write_span(span, end, out);
        }
    }

    /// The request that is being handled is refused.
    #[inline]
    pub(super) fn mark_span(&mut self, end: End) {
        if let Some(span) = &mut self.span {
            span.end = end;
        }
    }

    #[cold]
    pub(super) fn write_span(&self, mut span: Box<Span>, end: End, out: &mut Effects) {
        if span.context.is_sampled {
            (span.end, span.ended) = (end, self.exchanges.now);
            out.push(Effect::Span(span));
        }
    }
}

/// What identifies a request in the log: the id that its upstream got it under, and its trace.
pub(super) fn identity(shard: ShardId, key: FlightKey, flight: &Flight) -> (u64, Option<u128>) {
    (wire_id(shard, key), flight.span.as_ref().map(|span| span.context.trace))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT_TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_as_its_specification_writes_it() {
        let context = Context::read(PARENT_TEXT, Some("a=1,b=2")).expect("it is one");
        assert_eq!(context.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(context.parent, 0xb7ad_6b71_6920_3331);
        assert!(context.is_sampled);
        assert_eq!(context.state.as_deref(), Some("a=1,b=2"));
        let not_sampled = PARENT_TEXT.replace("-01", "-00");
        assert!(!Context::read(&not_sampled, None).expect("it is one").is_sampled);
        // A later version may say more than is known here.
        let later = format!("{}-more", PARENT_TEXT.replacen("00", "cc", 1));
        assert!(Context::read(&later, None).is_some());
    }

    #[test]
    fn what_is_no_context_is_none() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(Context::read(wrong, None), None, "{wrong}");
        }
        for state in ["", "a=\u{e9}", "a=1\r\nx: y", &"x".repeat(STATE_BYTES_MAX + 1)] {
            let context = Context::read(PARENT_TEXT, Some(state)).expect("the parent is right");
            assert_eq!(context.state, None, "{state:?}");
        }
    }

    #[test]
    fn a_share_of_all_is_all_and_of_none_is_none() {
        assert!(Tracing::of(1.0).takes(u64::MAX) && Tracing::of(1.0).takes(0));
        assert!(!Tracing::of(0.0).takes(0) && !Tracing::of(0.0).takes(u64::MAX));
        assert!(
            Tracing::of(0.5).takes(u64::MAX / 2 - 10_000)
                && !Tracing::of(0.5).takes(u64::MAX / 2 + 10_000)
        );
    }
}
