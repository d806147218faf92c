//! A hierarchical timer wheel: set and cancel in O(1), memory bounded by the timers that are set.
//! Millisecond grain. Holds no clock: whoever owns it says what time it is.

use std::time::Duration;

use super::slab::{Key, Slab};
use super::time::Moment;

/// Slots a level; six bits of the time in milliseconds.
const SLOTS: usize = 64;
/// Six levels of six bits span 2^36 ms, over two years; later deadlines wait at the top.
const LEVELS: usize = 6;

#[derive(Debug)]
pub struct Timer<T> {
    at_ms: u64,
    level: u8,
    slot: u8,
    previous: Option<Key<Timer<T>>>,
    next: Option<Key<Timer<T>>>,
    value: T,
}

/// Names a timer that is set. Stale once it has fired or was cancelled.
pub type TimerKey<T> = Key<Timer<T>>;

/// See the module. `T` is what the owner wants back when the time has come.
#[derive(Debug)]
pub struct Wheel<T> {
    timers: Slab<Timer<T>>,
    heads: [[Option<TimerKey<T>>; SLOTS]; LEVELS],
    /// Which slots of a level hold timers, a bit each.
    occupied: [u64; LEVELS],
    /// All deadlines at or before this have fired.
    now_ms: u64,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self {
            timers: Slab::default(),
            heads: [[None; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            now_ms: 0,
        }
    }
}

impl<T> Wheel<T> {
    pub const fn len(&self) -> usize {
        self.timers.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Fires `after` from `now`, rounded up to the next millisecond, never early.
    pub fn set(&mut self, now: Moment, after: Duration, value: T) -> TimerKey<T> {
        let at_ms = now.after(after).as_micros().div_ceil(1_000).max(self.now_ms + 1);
        let key = self.timers.insert(Timer {
            at_ms,
            level: 0,
            slot: 0,
            previous: None,
            next: None,
            value,
        });
        self.link(key);
        key
    }

    /// Takes a timer back; `None` if it fired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey<T>) -> Option<T> {
        self.timers.get(key)?;
        self.unlink(key);
        self.timers.remove(key).map(|timer| timer.value)
    }

    /// Whether [`Wheel::expire`] was called for `now` or later already: then nothing is due.
    pub const fn has_seen(&self, now: Moment) -> bool {
        now.as_millis() <= self.now_ms
    }

    /// When to call [`Wheel::expire`] next: exact for near deadlines, never late for far ones.
    pub fn next_deadline(&self) -> Option<Moment> {
        let mut soonest: Option<u64> = None;
        for level in 0..LEVELS {
            let Some(slot) = self.next_slot(level) else { continue };
            let at_ms = self.slot_starts_at(level, slot).max(self.now_ms + 1);
            soonest = Some(soonest.map_or(at_ms, |s| s.min(at_ms)));
        }
        soonest.map(|ms| Moment::from_micros(ms * 1_000))
    }

    /// Everything due at `now`, in the order of its deadline (and of its setting, within a millisecond
    /// of one slot), is handed to `fire`.
    pub fn expire(&mut self, now: Moment, mut fire: impl FnMut(T)) {
        let until_ms = now.as_millis();
        while self.now_ms < until_ms {
            let Some(next) =
                self.next_deadline().map(Moment::as_millis).filter(|&at| at <= until_ms)
            else {
                self.now_ms = until_ms;
                return;
            };
            self.now_ms = next;
            // Higher levels first: what is due there falls to lower ones, or fires at once.
            for level in (0..LEVELS).rev() {
                let slot = slot_of(level, self.now_ms);
                let mut cursor = self.heads[level][slot].take();
                self.occupied[level] &= !(1 << slot);
                let mut due = Vec::new();
                while let Some(key) = cursor {
                    let timer = self.timers.get_mut(key).expect("linked timers are in the slab");
                    cursor = timer.next.take();
                    timer.previous = None;
                    due.push(key);
                }
                // Lists are built at the head; the oldest is last.
                for key in due.into_iter().rev() {
                    if self.timers.get(key).is_some_and(|t| t.at_ms <= self.now_ms) {
                        if let Some(timer) = self.timers.remove(key) {
                            fire(timer.value);
                        }
                    } else {
                        self.link(key);
                    }
                }
            }
        }
    }

    /// The first occupied slot of a level at or after the present one, going round.
    fn next_slot(&self, level: usize) -> Option<usize> {
        let occupied = self.occupied[level];
        if occupied == 0 {
            return None;
        }
        let here = slot_of(level, self.now_ms);
        let turned = occupied.rotate_right(u32::try_from(here).unwrap_or(0));
        // Bit 0 is the present slot, whose timers (above level 0) belong to the next round.
        let ahead = turned & !1;
        let distance = if ahead != 0 { ahead.trailing_zeros() as usize } else { SLOTS };
        Some((here + distance) % SLOTS)
    }

    fn slot_starts_at(&self, level: usize, slot: usize) -> u64 {
        let width = 6 * level;
        let here = slot_of(level, self.now_ms);
        let distance = if slot > here { slot - here } else { slot + SLOTS - here };
        ((self.now_ms >> width) + distance as u64) << width
    }

    fn link(&mut self, key: TimerKey<T>) {
        let now_ms = self.now_ms;
        let timer = self.timers.get_mut(key).expect("only timers in the slab are linked");
        let mut level = LEVELS - 1;
        let top = now_ms.saturating_add((1 << (6 * LEVELS)) - (1 << (6 * (LEVELS - 1))) - 1);
        let at_ms = timer.at_ms.min(top);
        for candidate in 0..LEVELS {
            let width = 6 * candidate;
            if (at_ms >> width) - (now_ms >> width) < SLOTS as u64 {
                level = candidate;
                break;
            }
        }
        let slot = slot_of(level, at_ms);
        let head = self.heads[level][slot].replace(key);
        timer.level = u8::try_from(level).unwrap_or(0);
        timer.slot = u8::try_from(slot).unwrap_or(0);
        timer.next = head;
        timer.previous = None;
        if let Some(head) = head.and_then(|head| self.timers.get_mut(head)) {
            head.previous = Some(key);
        }
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, key: TimerKey<T>) {
        let Some(timer) = self.timers.get(key) else { return };
        let (level, slot, previous, next) =
            (timer.level as usize, timer.slot as usize, timer.previous, timer.next);
        if let Some(next) = next.and_then(|next| self.timers.get_mut(next)) {
            next.previous = previous;
        }
        if let Some(previous) = previous.and_then(|previous| self.timers.get_mut(previous)) {
            previous.next = next;
        } else {
            self.heads[level][slot] = next;
            if next.is_none() {
                self.occupied[level] &= !(1 << slot);
            }
        }
    }
}

/// The slot of a level that a time falls into.
#[expect(clippy::cast_possible_truncation, reason = "masked to six bits")]
const fn slot_of(level: usize, ms: u64) -> usize {
    ((ms >> (6 * level)) & (SLOTS as u64 - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    #[test]
    fn timers_fire_in_the_order_of_their_deadlines_and_never_early() {
        let mut wheel = Wheel::default();
        // A small generator: the order must hold for any spread of deadlines.
        let mut seed = 7u64;
        let mut all = Vec::new();
        for n in 0..5_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let after = (seed >> 33) % 3_000_000;
            wheel.set(at(0), Duration::from_millis(after), (after.max(1), n));
            all.push((after.max(1), n));
        }
        all.sort_unstable();
        let mut fired = Vec::new();
        let mut rounds = 0;
        while let Some(next) = wheel.next_deadline() {
            wheel.expire(next, |(due, n)| {
                assert!(due <= next.as_millis(), "fired early");
                fired.push((due, n, next.as_millis()));
            });
            rounds += 1;
            assert!(rounds < 100_000);
        }
        assert!(wheel.is_empty());
        assert_eq!(fired.len(), all.len());
        for (due, _, when) in &fired {
            assert_eq!(due, when, "fired late although the owner came at every deadline");
        }
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_memory_is_used_again() {
        let mut wheel = Wheel::default();
        for round in 0..100_000u64 {
            let key = wheel.set(at(0), Duration::from_secs(30), round);
            assert_eq!(wheel.cancel(key), Some(round));
            assert_eq!(wheel.cancel(key), None);
        }
        assert!(wheel.is_empty());
        assert_eq!(wheel.timers.len(), 0);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_late_owner_gets_all_that_is_due_at_once() {
        let mut wheel = Wheel::default();
        for ms in [1u64, 63, 64, 65, 4_095, 4_096, 5_000, 300_000] {
            wheel.set(at(0), Duration::from_millis(ms), ms);
        }
        let mut fired = Vec::new();
        wheel.expire(at(4_096), |ms| fired.push(ms));
        assert_eq!(fired, [1, 63, 64, 65, 4_095, 4_096]);
        fired.clear();
        wheel.expire(at(400_000), |ms| fired.push(ms));
        assert_eq!(fired, [5_000, 300_000]);
    }

    #[test]
    fn a_deadline_beyond_the_top_level_still_fires() {
        let mut wheel = Wheel::default();
        let years = Duration::from_hours(3 * 365 * 24);
        wheel.set(at(0), years, ());
        let mut fired = 0;
        let mut rounds = 0;
        while let Some(next) = wheel.next_deadline() {
            wheel.expire(next, |()| fired += 1);
            rounds += 1;
            assert!(rounds < 1_000);
        }
        assert_eq!(fired, 1);
    }
}
