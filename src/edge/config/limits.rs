//! The `[limits]` section: every bound of `base::limits`, the range of each, and how they lean on each
//! other. Defaults and reasons stand with the bounds themselves.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::read::{Field, Reader};
use super::units::show_size;
use crate::base::limits::Limits;
use crate::base::slab::Key;

/// Below, no handshake fits; above, it bounds nothing.
const SIZES: RangeInclusive<u64> = 1 << 10..=4 << 30;
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(7 * 24);
/// Where none means that it is off.
const NO_TIME_EITHER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
const SLOTS: u64 = Key::<()>::SLOTS_MAX as u64 / 2;

/// Reads one section. What is wrong is reported and keeps its default.
pub(super) fn read(mut reader: Reader<'_>) -> Limits {
    let r = &mut reader;
    let mut l = Limits::DEFAULT;
    let frame = size(r, "frame_bytes_max", &mut l.frame_bytes_max);
    let outbox = size(r, "outbox_bytes_max", &mut l.outbox_bytes_max);
    let hard = size(r, "outbox_bytes_hard_max", &mut l.outbox_bytes_hard_max);
    size(r, "upstream_outbox_bytes_max", &mut l.upstream_outbox_bytes_max);
    let per_link = count(r, "flights_per_link_max", SLOTS, &mut l.flights_per_link_max);
    let flights = count(r, "flights_max", SLOTS, &mut l.flights_max);
    count(r, "clients_max", SLOTS, &mut l.clients_max);
    count(r, "lanes_max", 1 << 16, &mut l.lanes_max);
    count(r, "batch_messages_max", 10_000, &mut l.batch_messages_max);
    size(r, "compress_bytes_min", &mut l.compress_bytes_min);
    count(r, "subscriptions_max", 1_000_000, &mut l.subscriptions_max);
    size(r, "subscription_bytes_max", &mut l.subscription_bytes_max);
    size(r, "uri_bytes_max", &mut l.uri_bytes_max);
    size(r, "session_bytes_max", &mut l.session_bytes_max);
    count(r, "list_pages_max", 100_000, &mut l.list_pages_max);
    let list = size(r, "list_bytes_max", &mut l.list_bytes_max);
    size(r, "lists_bytes_max", &mut l.lists_bytes_max);
    time_or_none(r, "list_ttl", &mut l.list_ttl);
    small(r, "ask_rounds_max", &mut l.ask_rounds_max);
    count(r, "tokens_max", 10_000_000, &mut l.tokens_max);
    count(r, "exchanged_max", 1_000_000, &mut l.exchanged_max);
    count(r, "tasks_max", SLOTS, &mut l.tasks_max);
    size(r, "task_bytes_max", &mut l.task_bytes_max);
    time(r, "tls_handshake", &mut l.tls_handshake);
    let connect = time(r, "connect", &mut l.connect);
    let probe = time(r, "probe", &mut l.probe);
    time(r, "request", &mut l.request);
    time(r, "task", &mut l.task);
    time(r, "form", &mut l.form);
    time(r, "ask_gather", &mut l.ask_gather);
    time(r, "verdict", &mut l.verdict);
    small(r, "breaker_failures", &mut l.breaker_failures);
    time(r, "breaker_open", &mut l.breaker_open);
    small(r, "breaker_successes", &mut l.breaker_successes);
    time(r, "health", &mut l.health);
    time(r, "health_wait", &mut l.health_wait);
    count(r, "lane_flights", 1 << 20, &mut l.lane_flights);
    small(r, "retries", &mut l.retries);
    time(r, "attempt", &mut l.attempt);
    time(r, "blocked", &mut l.blocked);
    time(r, "closing", &mut l.closing);
    time_or_none(r, "notice", &mut l.notice);
    time(r, "drain", &mut l.drain);
    time(r, "lane_idle", &mut l.lane_idle);
    time(r, "session_idle", &mut l.session_idle);
    time(r, "sse_beat", &mut l.sse_beat);
    time(r, "head", &mut l.head);
    time(r, "body", &mut l.body);
    time(r, "keep_alive", &mut l.keep_alive);
    let ping = time(r, "ws_ping", &mut l.ws_ping);
    let idle = time(r, "ws_idle", &mut l.ws_idle);
    time(r, "ws_fragments", &mut l.ws_fragments);
    reader.finish();

    // The same rules as the asserts under the defaults, for values that an operator chose.
    let bytes = |value: usize| show_size(value as u64);
    lean(
        l.outbox_bytes_max < l.outbox_bytes_hard_max,
        &[&outbox, &hard],
        || {
            format!(
                "outbox_bytes_max ({}) must be below outbox_bytes_hard_max ({})",
                bytes(l.outbox_bytes_max),
                bytes(l.outbox_bytes_hard_max)
            )
        },
        || "reading stops at the first, the link is closed at the second".to_owned(),
    );
    lean(
        l.outbox_bytes_hard_max >= l.frame_bytes_max.saturating_mul(2),
        &[&frame, &hard],
        || {
            format!(
                "outbox_bytes_hard_max ({}) must hold two frames of frame_bytes_max ({})",
                bytes(l.outbox_bytes_hard_max),
                bytes(l.frame_bytes_max)
            )
        },
        || {
            format!(
                "set limits.outbox_bytes_hard_max to {:?} or more",
                bytes(l.frame_bytes_max.saturating_mul(2))
            )
        },
    );
    lean(
        l.list_bytes_max <= l.outbox_bytes_hard_max,
        &[&list, &hard],
        || {
            format!(
                "list_bytes_max ({}) must not be above outbox_bytes_hard_max ({})",
                bytes(l.list_bytes_max),
                bytes(l.outbox_bytes_hard_max)
            )
        },
        || "a list that is longer could not be sent".to_owned(),
    );
    lean(
        l.flights_per_link_max <= l.flights_max,
        &[&per_link, &flights],
        || {
            format!(
                "flights_per_link_max ({}) must not be above flights_max ({})",
                l.flights_per_link_max, l.flights_max
            )
        },
        String::new,
    );
    lean(
        l.probe < l.connect,
        &[&probe, &connect],
        || format!("probe ({:?}) must be below connect ({:?})", l.probe, l.connect),
        || "after a probe that fails there must be time for the initialize".to_owned(),
    );
    lean(
        l.ws_ping < l.ws_idle,
        &[&ping, &idle],
        || format!("ws_ping ({:?}) must be below ws_idle ({:?})", l.ws_ping, l.ws_idle),
        || "a silent peer is asked before it is given up".to_owned(),
    );
    l
}

/// Reports a rule between two limits at the first of them that was written somewhere.
fn lean(
    holds: bool,
    fields: &[&Option<Field<'_>>],
    what: impl FnOnce() -> String,
    remedy: impl FnOnce() -> String,
) {
    if !holds && let Some(field) = fields.iter().find_map(|field| field.as_ref()) {
        field.fault(what(), remedy());
    }
}

fn size<'a>(reader: &mut Reader<'a>, key: &'static str, limit: &mut usize) -> Option<Field<'a>> {
    let field = reader.field(key)?;
    *limit = usize::try_from(field.size(SIZES)?).ok()?;
    Some(field)
}

/// A number that needs no error beside others'.
fn small(reader: &mut Reader<'_>, key: &'static str, limit: &mut u32) {
    let mut wide = *limit as usize;
    count(reader, key, 10_000, &mut wide);
    *limit = u32::try_from(wide).unwrap_or(u32::MAX);
}

fn count<'a>(
    reader: &mut Reader<'a>,
    key: &'static str,
    max: u64,
    limit: &mut usize,
) -> Option<Field<'a>> {
    let field = reader.field(key)?;
    *limit = usize::try_from(field.integer(1..=max)?).ok()?;
    Some(field)
}

/// One that may be off.
fn time_or_none(reader: &mut Reader<'_>, key: &'static str, limit: &mut Duration) {
    if let Some(time) = reader.field(key).and_then(|field| field.duration(NO_TIME_EITHER)) {
        *limit = time;
    }
}

fn time<'a>(reader: &mut Reader<'a>, key: &'static str, limit: &mut Duration) -> Option<Field<'a>> {
    let field = reader.field(key)?;
    *limit = field.duration(TIMES)?;
    Some(field)
}
