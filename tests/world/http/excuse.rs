//! Excuses: what the gateway may refuse a visitor, and when it may.

use super::exchange::{Exchange, Stage};
use super::visitor::{Errand, Fate};
use crate::world::World;

/// Streams of a session that are kept when they are over; the one that is the next may cost the oldest.
const STREAMS_KEPT: u64 = 16;
/// Events of a stream that are kept.
const EVENTS_KEPT: u64 = 100;

impl World {
    /// 409: the stream is open already, as far as the gateway can know.
    pub fn judge_conflict(&mut self, visitor: usize, session: usize, exchange: usize) {
        let slack = 2 * self.pace.link_max + 4 * self.pace.mail_max + 1_000;
        let since = self.now.saturating_sub(slack);
        let is_other = |(at, found): (usize, &Exchange)| {
            at != exchange
                && found.visitor == visitor
                && found.session == session
                && matches!(found.errand, Errand::Watch | Errand::Resume(_))
                && (found.stage != Stage::Over || found.over_at.is_none_or(|over| over >= since))
        };
        if !self.http.exchanges.iter().enumerate().any(is_other) {
            let what = format!("visitor {visitor}, exchange {exchange}");
            self.wrong("a stream is refused only while it is open", what);
        }
    }

    /// Whether the end of an exchange may be another's doing: one that broke before it was there, came late
    /// and took the stream over.
    pub fn judge_overtaken(&self, exchange: usize) -> bool {
        let found = &self.http.exchanges[exchange];
        let others = self.http.exchanges.iter().enumerate();
        let mut others = others.filter(|(at, other)| {
            *at != exchange
                && other.visitor == found.visitor
                && other.stream == found.stream
                && other.is_left
        });
        let slack = 2 * self.pace.link_max + 2 * self.pace.mail_max;
        let since = found.over_at.unwrap_or(self.now).saturating_sub(slack);
        others.any(|(_, other)| other.over_at.is_none_or(|over| over >= since))
    }

    /// 410: what follows is not kept any more.
    pub fn judge_forgotten(&mut self, visitor: usize, stream: usize) {
        let found = &mut self.http.visitors[visitor];
        found.forgotten += 1;
        let of = &found.streams[stream];
        let is_cancelled = of.asked.iter().any(|&asked| found.asked[asked].fate == Fate::Cancelled);
        let is_old = found.sessions[of.session].posts - of.posts >= STREAMS_KEPT;
        // The own stream has what floods bring.
        let is_flooded = found.asked.iter().any(|asked| asked.may_flood);
        if !(is_cancelled || is_old || of.may_overflow || is_flooded) {
            let what = format!("visitor {visitor}, {of:?}");
            self.wrong("what is kept can be had", what);
        }
    }

    /// 404: the session has ended.
    pub fn judge_unknown(&mut self, visitor: usize, session: usize) {
        let idle = u64::try_from(self.settings.limits.session_idle.as_micros()).unwrap_or(0);
        let found = &self.http.visitors[visitor].sessions[session];
        let gap = found.gap.max(self.now - found.used_at);
        if !found.is_over && gap < idle / 2 && !self.is_draining() {
            let what = format!("visitor {visitor}, session {session}, gap {gap}");
            self.wrong("a session lives while it is used", what);
        }
    }
}

const _: () = assert!(EVENTS_KEPT < crate::call::BURST_EVENTS);
