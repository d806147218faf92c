//! Pressure on a shard's links: outboxes that fill and drain move each link's [`Pressure`], which says how much may be
//! read from it; who stays blocked is given up and counted. The rule itself is `base::pressure`'s; what is read, and
//! how, each transport's.
//!
//! The source that stops: of a byte stream, a WebSocket and a connection of HTTP/1.1 the reading of its socket; of a
//! stream of HTTP/2 its window, since hyper asks for a piece only when the peer has room; of a client's own lane the
//! child's output or the server's stream, which the domain pauses. An upstream that is shared is read on.

use std::borrow::Cow;
use std::task::Waker;
use std::time::Duration;

use super::census::{KINDS, kind};
use super::core::{Core, Follow, Phase};
use super::domain::Domain;
use super::links::{Due, Face, Life, Link};
use super::telling::Kind;
use crate::base::LinkId;
use crate::base::limits::Limits;
use crate::base::pressure::{Change, Spell};
use crate::wire::ws;

/// How many times `limits.upstream_outbox_bytes_max` may wait for an upstream. Above that bound it gets no calls, but
/// answers to what it asks and news of clients still go to it; one that asks and does not read is given up.
const UPSTREAM_HARD: usize = 2;

/// Why a link was given up whose peer did not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Blocked for longer than `limits.blocked`.
    Blocked,
    /// More waited than `limits.outbox_bytes_hard_max`.
    Overfull,
    /// It was closing, and did not take the rest in time.
    Flush,
}

impl Slow {
    pub const ALL: [Self; 3] = [Self::Blocked, Self::Overfull, Self::Flush];

    /// As metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Overfull => "outbox_bytes_hard_max",
            Self::Flush => "flush",
        }
    }

    const fn why(self) -> &'static str {
        match self {
            Self::Blocked => "blocked for longer than limits.blocked",
            Self::Overfull => "its outbox was over outbox_bytes_hard_max",
            Self::Flush => "its last bytes were not read in time",
        }
    }
}

/// Links that were given up, by [`KINDS`] and [`Slow`].
pub type GivenUp = [[u64; Slow::ALL.len()]; KINDS.len()];

impl<D: Domain> Core<D> {
    /// A link's outbox has got more: wakes its writer, and holds its bounds.
    #[inline]
    pub(super) fn filled(&mut self, id: LinkId) {
        let running = self.running == Some(id);
        let Some(link) = self.links.get_mut(id) else { return };
        if link.in_flight == 0 && !running {
            link.wake();
        }
        let is_ended = link.life == Life::Ended;
        if !link.pressure.is_light(link.waiting(), bound(&self.limits, link)) {
            self.press(id);
        }
        if is_ended {
            // Perhaps that was the last answer it was owed.
            self.set_timer(id, Duration::ZERO, Due::Owes(id));
        }
    }

    /// So much waits that it may be too much.
    fn press(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (waiting, bound) = (link.waiting(), bound(&self.limits, link));
        let is_client = link.is_client();
        if is_client && waiting > self.limits.outbox_bytes_hard_max {
            return self.give_up(id, Slow::Overfull);
        }
        if !is_client && waiting > bound.saturating_mul(UPSTREAM_HARD) {
            let why = "it does not read: twice upstream_outbox_bytes_max waits for it";
            return self.kill(id, Cow::Borrowed(why));
        }
        let change = link.pressure.filled(waiting, bound);
        if is_client && matches!(change, Change::BackedUp | Change::Blocked) {
            let now = self.now.at;
            self.spells.entry(id).or_insert_with(|| Spell::new(now));
        }
        // Of who says no more nothing is read: its source is what it is owed, and its time runs from now on.
        let is_ended = link.life == Life::Ended;
        if change == Change::Blocked || is_ended && change == Change::BackedUp {
            self.begin_patience(id);
        }
        if change == Change::Blocked {
            self.follow.push_back(Follow::Blocked(id));
        }
    }

    /// A link is not read from for now. Where its peer is behind, the peer's time runs from now on: with the credit of
    /// its step used up it may never come to be blocked.
    pub(super) fn stalled(&mut self, id: LinkId) {
        let link = self.links.get(id);
        if link.is_some_and(|link| link.life == Life::Open && !link.pressure.takes()) {
            self.begin_patience(id);
        }
    }

    /// A client says no more. If it is behind, its time runs from now on.
    pub(super) fn stalled_for_good(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(|link| !link.pressure.is_flowing()) {
            self.begin_patience(id);
        }
    }

    /// The time begins within which a client that is behind must take something, unless it runs already.
    fn begin_patience(&mut self, id: LinkId) {
        let until = self.now.at.after(self.limits.blocked);
        if self.spells.get_mut(&id).is_some_and(|spell| spell.begins_time(until)) {
            self.wait_patiently(id);
        }
    }

    /// Looks again when its time is over. At who says no more is looked for what it is owed, and for this then.
    fn wait_patiently(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(|link| link.life == Life::Open) {
            self.set_timer(id, self.limits.blocked, Due::Blocked(id));
        }
    }

    /// What is left to a client that is behind, once its time runs.
    pub(super) fn patience(&self, id: LinkId) -> Option<Duration> {
        self.spells.get(&id).and_then(|spell| spell.left(self.now.at))
    }

    /// Whether a client's time to take something runs.
    pub(super) fn is_patient(&self, id: LinkId) -> bool {
        !self.spells.is_empty() && self.spells.get(&id).is_some_and(Spell::is_timed)
    }

    /// Some of what was taken from an outbox is on its way: so many bytes were `written` of it, and the `rest` still waits.
    #[inline]
    pub(super) fn drew(&mut self, id: LinkId, written: usize, rest: usize) {
        let Some(link) = self.links.get_mut(id) else { return };
        let rest = match link.face {
            Face::Blocks(_) => lines_left(link.in_flight, written, rest),
            _ => rest,
        };
        let taken = link.in_flight.saturating_sub(rest);
        link.in_flight = rest;
        if link.life == Life::Closing {
            let is_rest = link.waiting() > 0;
            if link.timer.is_some() {
                // Nothing else may have happened since the turn before.
                self.open_turn();
                self.begin_flush(id);
                if is_rest {
                    self.bound_flush(id);
                }
            }
        } else if !link.pressure.is_flowing() {
            self.ease(id, taken);
        }
    }

    /// Who takes some of what waits on a link that is closing gets the time for the rest anew, but no more than
    /// `limits.closing` for all of it: else a byte now and then would hold the link for as long as its peer likes.
    fn bound_flush(&mut self, id: LinkId) {
        let now = self.now.at;
        let since = *self.closing_since.entry(id).or_insert(now);
        let left = self.limits.closing.saturating_sub(now.since(since));
        if left.is_zero() {
            self.flush_is_over(id);
        } else if left < self.flush_time(id) {
            self.set_timer(id, left, Due::Flush(id));
        }
    }

    /// The peer of a link that is behind has taken something.
    fn ease(&mut self, id: LinkId, taken: usize) {
        let Some(link) = self.links.get_mut(id) else { return };
        let bound = bound(&self.limits, link);
        let until = self.now.at.after(self.limits.blocked);
        let spell = self.spells.get_mut(&id);
        let earns_time = spell.is_some_and(|spell| {
            spell.take(taken);
            spell.earns_time(bound, until)
        });
        let change = link.pressure.drained(link.waiting(), bound);
        if change == Change::None {
            if !link.pressure.is_blocked() {
                // A step's credit is there again.
                link.wake();
            }
            if earns_time {
                self.wait_patiently(id);
            }
            return;
        }
        link.wake();
        // One whose peer sends no more has its timer for something else.
        let is_open = link.life == Life::Open;
        self.open_turn();
        let mut was_timed = false;
        if let Some(spell) = self.spells.remove(&id)
            && let Some(link) = self.links.get_mut(id)
        {
            link.pressure.adapt(&spell, self.now.at, bound);
            was_timed = spell.is_timed();
        }
        if was_timed && is_open {
            if let Some(timer) = self.links.get_mut(id).and_then(|link| link.timer.take()) {
                self.wheel.cancel(timer);
            }
            if self.is_between_requests(id) {
                self.begin_idle(id);
            }
            self.begin_pings_of(id);
            self.go_on_timing(id);
        }
        if change != Change::Freed {
            return;
        }
        self.follow.push_back(Follow::Unblocked(id));
        self.settle();
    }

    /// Gives up a link whose peer does not read what waits. A WebSocket is told so behind what is being written, should
    /// it read after all; what else waits is lost.
    pub(super) fn give_up(&mut self, id: LinkId, slow: Slow) {
        let is_leaving = self.phase_of(id) >= Phase::Draining;
        let Some(link) = self.links.get_mut(id) else { return };
        if link.life == Life::Dead {
            return;
        }
        self.meter.closed_slow.add(1);
        if let Some(count) = self.counted.given_up.get_mut(kind(link)) {
            count[slow as usize] += 1;
        }
        if let Face::Ws(face) = &mut link.face
            && link.life < Life::Closing
        {
            let code = if is_leaving { ws::GOING_AWAY } else { ws::TRY_LATER };
            face.close_at_once(&mut link.outbox, code);
            self.close(id, Cow::Borrowed(slow.why()));
        } else {
            self.kill(id, Cow::Borrowed(slow.why()));
        }
        if self.may_tell(Kind::Slow) {
            tracing::info!(link = %id, limit = slow.name(), "the client reads too slowly");
        }
    }

    /// Tasks that read for this link may go on.
    pub(super) fn let_go(&mut self, id: LinkId) {
        if !self.held_up.is_empty() {
            self.held_up.remove(&id).into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// The time is over that a closing link's peer had for the rest.
    pub(super) fn flush_is_over(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        // One that was given up is not given up twice.
        let why = link.why.as_deref();
        let is_given_up = Slow::ALL.iter().any(|slow| why == Some(slow.why()));
        if link.is_client() && !is_given_up {
            self.give_up(id, Slow::Flush);
        } else {
            self.kill(id, Cow::Borrowed(Slow::Flush.why()));
        }
    }
}

/// Of blocks: how many bytes of lines still wait, where `written` bytes of a write have left and the `rest` has not. To
/// its reader, and to whoever waits for it, a link is as far behind as what its blocks hold.
fn lines_left(lines: usize, written: usize, rest: usize) -> usize {
    lines.saturating_mul(rest).div_ceil(written.saturating_add(rest).max(1))
}

fn bound(limits: &Limits, link: &Link) -> usize {
    if link.is_client() { limits.outbox_bytes_max } else { limits.upstream_outbox_bytes_max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_blocks_is_counted_as_the_lines_that_they_hold() {
        // 100,000 bytes of lines in a write of 5,000: half of it is half of them.
        assert_eq!(lines_left(100_000, 2_500, 2_500), 50_000);
        assert_eq!(lines_left(50_000, 2_499, 1), 20);
        assert_eq!(lines_left(20, 1, 0), 0, "all are out with the last byte");
        assert_eq!(lines_left(3, 4_999, 1), 1, "and not before it");
        assert_eq!((lines_left(0, 0, 0), lines_left(7, 0, 9)), (0, 7));
        assert_eq!(lines_left(usize::MAX, 1, usize::MAX), 1, "nothing overflows");
    }
}
