//! A shard's clock: the only place below the edge that asks what time it is. Not a timer.
#![allow(clippy::disallowed_types, reason = "this is the clock that the ban names")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::{Moment, Now};

/// Reads the monotonic clock, and the calendar once a second: between two readings the calendar moves
/// with the monotonic clock.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    calendar_read_at: Moment,
    unix_ms_then: u64,
}

/// Microseconds between two looks at the calendar.
const CALENDAR_EVERY_MICROS: u64 = 1_000_000;

impl Clock {
    /// `origin` is the process's: the same for every shard, so that moments can travel by mail.
    pub(super) fn new(origin: Origin) -> Self {
        let mut clock =
            Self { origin: origin.0, calendar_read_at: Moment::START, unix_ms_then: unix_ms() };
        clock.calendar_read_at = clock.moment();
        clock
    }

    pub(super) fn now(&mut self) -> Now {
        let at = self.moment();
        let since = at.as_micros() - self.calendar_read_at.as_micros();
        if since >= CALENDAR_EVERY_MICROS {
            self.calendar_read_at = at;
            self.unix_ms_then = unix_ms();
            return Now { at, unix_ms: self.unix_ms_then };
        }
        Now { at, unix_ms: self.unix_ms_then + since / 1_000 }
    }

    fn moment(&self) -> Moment {
        Moment::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// The moment from which all shards of a server count.
#[derive(Clone, Copy, Debug)]
pub struct Origin(Instant);

impl Origin {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }
}

fn unix_ms() -> u64 {
    // A calendar before 1970 counts as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
