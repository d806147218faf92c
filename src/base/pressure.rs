//! Pressure: how far the reader of something bounded is behind, and how much its source may give meanwhile. The one rule
//! of all links, whatever they travel on; no clock, no socket, no link.
//!
//! ```text
//!            > 0.8 of the mark              > the mark
//!  flowing ─────────────────────► backing up ──────────► blocked
//!     ▲                        steps 1 to 4                 │
//!     └──────────── < 0.3 of the mark ◄─────────────────────┘
//! ```
//!
//! While a link backs up it is slowed, not stopped: for each time that its peer takes something, its source may give as
//! many frames as its step allows, the fuller the fewer. So between the marks a link goes at its reader's pace, and one
//! that is only a little behind is never switched off and on.
//!
//! The **mark** is what the peer takes within [`ROUND`], as the last spell of pressure has shown, but at most the bound
//! and at least an eighth of it: what waits for longer than the longest round trip keeps no network busy, it is only old
//! when it arrives. A peer that becomes faster shows it with the next spell, which is short.

use std::time::Duration;

use super::Moment;

/// The longest round trip that an outbox is to bridge: a mobile network, its own queues included.
pub const ROUND: Duration = Duration::from_secs(1);

/// Above this share of the mark a link backs up.
const HIGH_PERCENT: usize = 80;
/// Below this share it flows again: not at the mark itself, or it would stop and go with every write.
const LOW_PERCENT: usize = 30;
/// The mark's unit is this part of the bound, so that a link keeps it in a byte.
const SHARES: u8 = 64;
/// The lowest mark: an eighth of the bound.
const SHARES_MIN: u8 = 8;
/// Frames that a source may give for each time that its peer takes something, by step: what a busy client has under way
/// at first, and one at the end.
const ALLOWED: [u8; 4] = [64, 16, 4, 1];
/// The state after the last step.
const BLOCKED: u8 = 5;

/// A link's state. Three bytes: ten thousand links have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// 0: it flows. 1 to 4: it backs up. [`BLOCKED`].
    step: u8,
    /// Frames that its source may give until its peer takes something.
    credit: u8,
    /// The mark, in parts of the bound.
    shares: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Flowing,
    BackingUp,
    Blocked,
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// It flowed, and backs up.
    BackedUp,
    /// It is blocked from now on; that it backed up may have been passed over.
    Blocked,
    /// It backed up, and flows.
    Eased,
    /// It was blocked, and flows.
    Freed,
}

impl Pressure {
    pub const NONE: Self = Self { step: 0, credit: 0, shares: SHARES };

    pub const fn state(self) -> State {
        match self.step {
            0 => State::Flowing,
            BLOCKED => State::Blocked,
            _ => State::BackingUp,
        }
    }

    #[inline]
    pub const fn is_flowing(self) -> bool {
        self.step == 0
    }

    #[inline]
    pub const fn is_blocked(self) -> bool {
        self.step == BLOCKED
    }

    /// From 1 to 4 while it backs up, 0 before and 5 after that.
    pub const fn step(self) -> u8 {
        self.step
    }

    /// Bytes above which it is blocked.
    pub const fn mark(self, bound: usize) -> usize {
        // Not the product first: a bound may be as large as an address space.
        (bound / SHARES as usize).saturating_mul(self.shares as usize)
            + bound % SHARES as usize * self.shares as usize / SHARES as usize
    }

    /// Whether so little waits that a link which flows goes on flowing, whatever its mark: all that a busy link pays.
    #[inline]
    pub const fn is_light(self, waiting: usize, bound: usize) -> bool {
        self.step == 0 && waiting <= bound >> 4
    }

    /// More waits than before.
    pub const fn filled(&mut self, waiting: usize, bound: usize) -> Change {
        let mark = self.mark(bound);
        let step = if waiting > mark { BLOCKED } else { step_of(waiting, mark) };
        // What is written meanwhile must not let a link jump back between two looks.
        if step <= self.step {
            return Change::None;
        }
        let before = self.step;
        self.step = step;
        if step == BLOCKED {
            self.credit = 0;
            return Change::Blocked;
        }
        let allowed = allowed(step);
        if before == 0 || self.credit > allowed {
            self.credit = allowed;
        }
        if before == 0 { Change::BackedUp } else { Change::None }
    }

    /// Less waits than before: its peer has taken something.
    pub const fn drained(&mut self, waiting: usize, bound: usize) -> Change {
        if self.step == 0 {
            return Change::None;
        }
        let mark = self.mark(bound);
        if waiting < percent(mark, LOW_PERCENT) || waiting == 0 {
            let was_blocked = self.step == BLOCKED;
            self.step = 0;
            return if was_blocked { Change::Freed } else { Change::Eased };
        }
        if self.step != BLOCKED {
            let step = step_of(waiting, mark);
            self.step = if step == 0 { 1 } else { step };
            self.credit = allowed(self.step);
        }
        Change::None
    }

    /// Whether its source may give a frame.
    #[inline]
    pub const fn takes(self) -> bool {
        self.step == 0 || self.credit > 0
    }

    /// Frames that its source may give until it asks again.
    #[inline]
    pub const fn allowance(self) -> u64 {
        if self.step == 0 { u64::MAX } else { self.credit as u64 }
    }

    /// Its source gave `frames`.
    #[inline]
    pub fn spend(&mut self, frames: u64) {
        if self.step != 0 {
            self.credit = self.credit.saturating_sub(u8::try_from(frames).unwrap_or(u8::MAX));
        }
    }

    /// Sets the mark to what the peer took within [`ROUND`].
    pub fn adapt(&mut self, spell: &Spell, now: Moment, bound: usize) {
        // A spell too short to be measured was a fast one.
        let time = now.since(spell.since).as_millis().max(1);
        let taken = u128::from(spell.taken) * ROUND.as_millis() / time;
        let shares = taken * u128::from(SHARES) / (bound.max(1) as u128);
        self.shares = u8::try_from(shares).unwrap_or(SHARES).clamp(SHARES_MIN, SHARES);
    }
}

impl Default for Pressure {
    fn default() -> Self {
        Self::NONE
    }
}

/// From a link's backing up until it flows again.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    since: Moment,
    /// Bytes that its peer took in it.
    taken: u64,
    /// Of those, how many until its time was given anew.
    counted: u64,
    /// When its time is over, which runs once its source has stopped.
    until: Option<Moment>,
}

impl Spell {
    pub const fn new(since: Moment) -> Self {
        Self { since, taken: 0, counted: 0, until: None }
    }

    /// Its source stops: it has until then. False if its time runs already.
    pub const fn begins_time(&mut self, until: Moment) -> bool {
        let begins = self.until.is_none();
        if begins {
            self.until = Some(until);
        }
        begins
    }

    pub const fn is_timed(&self) -> bool {
        self.until.is_some()
    }

    /// What is left of its time, once that runs.
    pub fn left(&self, now: Moment) -> Option<Duration> {
        self.until.map(|until| until.since(now))
    }

    pub fn take(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes as u64);
    }

    /// Whether the peer has taken so much that its time begins anew, if it runs: an eighth of the bound. Who takes less
    /// in all of the time only keeps us waiting.
    pub fn earns_time(&mut self, bound: usize, until: Moment) -> bool {
        if self.taken - self.counted < (bound / 8).max(1) as u64 {
            return false;
        }
        self.counted = self.taken;
        let is_timed = self.is_timed();
        if is_timed {
            self.until = Some(until);
        }
        is_timed
    }
}

/// 0 below the high mark; from there to the mark four steps of the same size.
const fn step_of(waiting: usize, mark: usize) -> u8 {
    let high = percent(mark, HIGH_PERCENT);
    if waiting <= high {
        return 0;
    }
    let room = mark - high;
    let over = waiting - high;
    let mut step = 1;
    while step < 4 && over > room / 4 * step {
        step += 1;
    }
    #[expect(clippy::cast_possible_truncation, clippy::as_conversions, reason = "at most 4")]
    let step = step as u8;
    step
}

const fn allowed(step: u8) -> u8 {
    match step {
        1 => ALLOWED[0],
        2 => ALLOWED[1],
        3 => ALLOWED[2],
        4 => ALLOWED[3],
        _ => 0,
    }
}

const fn percent(bytes: usize, percent: usize) -> usize {
    bytes / 100 * percent + bytes % 100 * percent / 100
}

const _: () = {
    assert!(LOW_PERCENT < HIGH_PERCENT && HIGH_PERCENT < 100);
    // `is_light` must be below the high mark of the lowest mark.
    assert!(100 * SHARES as usize / 16 < HIGH_PERCENT * SHARES_MIN as usize);
    assert!(ALLOWED[0] > ALLOWED[1] && ALLOWED[1] > ALLOWED[2] && ALLOWED[2] > ALLOWED[3]);
    assert!(ALLOWED[3] > 0, "a step is no stop");
};

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 100 << 10;

    /// A splitmix64.
    fn roll(dice: &mut u64) -> u64 {
        *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (*dice ^ (*dice >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn at(millis: u64) -> Moment {
        Moment::START.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_link_backs_up_at_eighty_percent_is_blocked_at_its_bound_and_flows_below_thirty() {
        let mut link = Pressure::NONE;
        assert_eq!(link.filled(BOUND * 80 / 100, BOUND), Change::None);
        assert_eq!(link.filled(BOUND * 80 / 100 + 1, BOUND), Change::BackedUp);
        assert_eq!(link.filled(BOUND, BOUND), Change::None);
        assert_eq!(link.state(), State::BackingUp);
        assert_eq!(link.filled(BOUND + 1, BOUND), Change::Blocked);
        assert_eq!(link.drained(BOUND * 30 / 100, BOUND), Change::None);
        assert!(
            link.is_blocked() && !link.takes(),
            "hysteresis: neither at the bound nor below it"
        );
        assert_eq!(link.drained(BOUND * 30 / 100 - 1, BOUND), Change::Freed);
        assert_eq!((link.state(), link.allowance()), (State::Flowing, u64::MAX));
    }

    #[test]
    fn the_fuller_the_smaller_the_step() {
        let mut last = (0, u64::MAX);
        for waiting in (0..=BOUND + 1).step_by(64).chain([BOUND, BOUND + 1]) {
            let mut link = Pressure::NONE;
            link.filled(waiting, BOUND);
            if waiting > BOUND {
                assert_eq!((link.step(), link.allowance()), (BLOCKED, 0));
                continue;
            }
            assert!(link.step() >= last.0 && link.allowance() <= last.1, "at {waiting}");
            assert!(link.takes());
            last = (link.step(), link.allowance());
        }
        assert_eq!(last, (4, 1), "the last step before the bound");
    }

    #[test]
    fn a_step_is_left_when_the_peer_takes_something_and_gives_new_credit() {
        let mut link = Pressure::NONE;
        link.filled(BOUND, BOUND);
        link.spend(1);
        assert!(!link.takes());
        assert_eq!(link.drained(BOUND * 96 / 100, BOUND), Change::None);
        assert!(link.takes());
        link.drained(BOUND / 2, BOUND);
        assert_eq!((link.step(), link.allowance()), (1, 64), "still behind, and hardly slowed");
        assert_eq!(link.drained(0, BOUND), Change::Eased);
    }

    #[test]
    fn a_source_that_asks_never_fills_more_than_the_bound_and_a_frame() {
        for seed in 0..200 {
            let mut dice = seed;
            let mut link = Pressure::NONE;
            let bound = 1 + usize::try_from(roll(&mut dice) % 200_000).expect("small");
            let frame_max = 1 + usize::try_from(roll(&mut dice) % 20_000).expect("small");
            let (mut waiting, mut blocked) = (0, 0);
            for _ in 0..5_000 {
                let is_taken = roll(&mut dice).is_multiple_of(3);
                if is_taken && waiting > 0 {
                    waiting -= 1 + usize::try_from(roll(&mut dice)).unwrap_or(0) % waiting;
                    link.drained(waiting, bound);
                } else if link.takes() {
                    waiting += 1 + usize::try_from(roll(&mut dice)).unwrap_or(0) % frame_max;
                    link.spend(1);
                    blocked += usize::from(link.filled(waiting, bound) == Change::Blocked);
                }
                assert!(waiting <= bound + frame_max, "seed {seed}: {waiting} over {bound}");
                assert!(waiting > 0 || link.takes(), "seed {seed}: stuck with nothing to wait for");
                assert_eq!(link.is_blocked(), link.is_blocked() && waiting > 0);
            }
            assert!(blocked > 0 || frame_max < bound, "seed {seed}");
        }
    }

    #[test]
    fn the_mark_is_what_the_peer_takes_in_a_round() {
        let mut link = Pressure::NONE;
        let mut spell = Spell::new(at(0));
        spell.take(40 << 10);
        link.adapt(&spell, at(1_000), BOUND);
        let mark = link.mark(BOUND);
        assert!((38 << 10..=40 << 10).contains(&mark), "{mark}");
        link.adapt(&spell, at(1_000_000), BOUND);
        assert_eq!(link.mark(BOUND), BOUND / 8, "never less, or one frame would be the bound");
        link.adapt(&spell, at(0), BOUND);
        assert_eq!(link.mark(BOUND), BOUND, "and never more than the bound");
        link.adapt(&spell, at(10), 0);
        assert_eq!(link.mark(0), 0);
    }

    #[test]
    fn a_peer_that_becomes_faster_gets_its_bound_back_with_the_next_spell() {
        let mut link = Pressure::NONE;
        let mut spell = Spell::new(at(0));
        spell.take(1);
        link.adapt(&spell, at(5_000), BOUND);
        let low = link.mark(BOUND);
        assert_eq!(link.filled(low + 1, BOUND), Change::Blocked, "earlier than others");
        let mut spell = Spell::new(at(6_000));
        spell.take(low);
        assert_eq!(link.drained(0, BOUND), Change::Freed);
        link.adapt(&spell, at(6_005), BOUND);
        assert_eq!(link.mark(BOUND), BOUND);
    }

    #[test]
    fn who_takes_next_to_nothing_earns_no_time() {
        let mut spell = Spell::new(at(0));
        spell.take(BOUND);
        assert!(!spell.earns_time(BOUND, at(9)), "there is none before its source has stopped");
        assert!(spell.begins_time(at(10)) && !spell.begins_time(at(11)));
        for _ in 0..100 {
            spell.take(1);
            assert!(!spell.earns_time(BOUND, at(12)));
        }
        assert_eq!(spell.left(at(4)), Some(Duration::from_millis(6)));
        spell.take(BOUND / 8);
        assert!(spell.earns_time(BOUND, at(20)) && !spell.earns_time(BOUND, at(30)));
        assert_eq!(spell.left(at(4)), Some(Duration::from_millis(16)));
        assert_eq!(spell.left(at(21)), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_light_is_below_every_high_mark() {
        for bound in [0, 1, 15, 16, 100, 1 << 10, 50 << 10, BOUND, usize::MAX] {
            let mut link = Pressure { shares: SHARES_MIN, ..Pressure::NONE };
            if link.is_light(bound >> 4, bound) && bound > 1 << 9 {
                assert_eq!(link.filled(bound >> 4, bound), Change::None, "bound {bound}");
            }
        }
        assert_eq!(size_of::<Pressure>(), 3);
    }
}
