//! Event rings: what was sent on a legacy client's event stream, kept so that a stream that broke goes on
//! where it stopped (MCP 2025-11-25 "Resumability and Redelivery"). Bounded in events, bytes and time; what
//! has fallen out is gone, and who asks for it is told.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::Moment;

/// Events kept: a burst of progress between two heartbeats of a client, with room.
pub const EVENTS_MAX: usize = 100;
/// Bytes kept: some answers of ordinary size; a larger one is kept alone.
pub const BYTES_MAX: usize = 256 << 10;
/// How long an event can be asked for: as long as a session may be idle.
pub const AGE_MAX: Duration = Duration::from_hours(1);

/// What was sent, oldest first. Events count from 1.
#[derive(Debug, Default)]
pub struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    /// The number of the last event.
    last: u64,
}

#[derive(Debug)]
struct Event {
    at: Moment,
    /// The frame, without a newline; empty for an event that carries none.
    frame: Box<[u8]>,
}

/// An event that was asked for is not there any more, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Ring {
    /// The number of the last event; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.last
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps an event, and gives its number. The oldest make room.
    pub fn push(&mut self, at: Moment, frame: &[u8]) -> u64 {
        while let Some(oldest) = self.events.front()
            && (self.events.len() >= EVENTS_MAX
                || self.bytes + frame.len() > BYTES_MAX
                || at.since(oldest.at) > AGE_MAX)
        {
            self.bytes -= oldest.frame.len();
            self.events.pop_front();
        }
        self.bytes += frame.len();
        self.events.push_back(Event { at, frame: frame.into() });
        self.last += 1;
        self.last
    }

    /// The events after `number`, with their numbers.
    pub fn after(&self, number: u64) -> Result<impl Iterator<Item = (u64, &[u8])>, Lost> {
        let oldest = self.last + 1 - self.events.len() as u64;
        if number > self.last || number + 1 < oldest {
            return Err(Lost);
        }
        let skipped = usize::try_from(number + 1 - oldest).unwrap_or(usize::MAX);
        Ok(self
            .events
            .iter()
            .enumerate()
            .skip(skipped)
            .map(move |(at, event)| (oldest + at as u64, &*event.frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ring: &Ring, after: u64) -> Option<Vec<u64>> {
        ring.after(after).ok().map(|events| events.map(|(number, _)| number).collect())
    }

    #[test]
    fn events_after_one_come_in_order_each_once() {
        let mut ring = Ring::default();
        assert_eq!(numbers(&ring, 0), Some(vec![]));
        for n in 1..=3 {
            assert_eq!(ring.push(Moment::START, b"{}"), n);
        }
        assert_eq!(numbers(&ring, 0), Some(vec![1, 2, 3]));
        assert_eq!(numbers(&ring, 2), Some(vec![3]));
        assert_eq!(numbers(&ring, 3), Some(vec![]));
        assert_eq!(numbers(&ring, 4), None, "an event that never was");
    }

    #[test]
    fn what_fell_out_is_told_and_not_skipped() {
        let mut ring = Ring::default();
        for _ in 0..EVENTS_MAX + 5 {
            ring.push(Moment::START, b"{}");
        }
        assert_eq!(numbers(&ring, 4), None);
        assert_eq!(numbers(&ring, 5).map(|events| events.len()), Some(EVENTS_MAX));
    }

    #[test]
    fn bytes_and_age_are_bounds_too() {
        let mut ring = Ring::default();
        for _ in 0..4 {
            ring.push(Moment::START, &vec![b' '; BYTES_MAX / 2]);
        }
        assert!(ring.bytes() <= BYTES_MAX);
        assert_eq!(numbers(&ring, 2), Some(vec![3, 4]));
        ring.push(Moment::START, &vec![b' '; BYTES_MAX * 2]);
        assert_eq!(numbers(&ring, 4), Some(vec![5]), "a large event is kept alone");
        let mut ring = Ring::default();
        ring.push(Moment::START, b"old");
        ring.push(Moment::START.after(AGE_MAX + Duration::from_secs(1)), b"new");
        assert_eq!(numbers(&ring, 0), None);
        assert_eq!(numbers(&ring, 1), Some(vec![2]));
    }
}
