//! The time of a run: nanoseconds since its epoch, and the window in which it measures. The only clock of the load.

#![allow(
    clippy::disallowed_types,
    reason = "a load generator is about real time; nothing here is simulated"
)]

use std::time::{Duration, Instant};

/// The clock that all threads of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock whose epoch is now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the epoch.
    pub fn now_ns(&self) -> u64 {
        nanos(self.0.elapsed())
    }

    /// Waits until `at_ns`; returns at once when that is past.
    #[expect(
        clippy::disallowed_methods,
        reason = "only the coordinating thread waits here; it serves no connection"
    )]
    pub fn wait_until(&self, at_ns: u64) {
        let left = at_ns.saturating_sub(self.now_ns());
        if left > 0 {
            std::thread::sleep(Duration::from_nanos(left));
        }
    }
}

/// Warm-up ends at `open_ns`; sending ends at `close_ns`; answers may come until `grace_ns`.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// When measuring begins.
    pub open_ns: u64,
    /// When sending and measuring end.
    pub close_ns: u64,
    /// When an answer that is still missing counts as never given.
    pub grace_ns: u64,
}

impl Window {
    /// A window after `warmup`, of `duration`, with `grace` for the last answers.
    pub fn new(warmup: Duration, duration: Duration, grace: Duration) -> Self {
        let open_ns = nanos(warmup);
        let close_ns = open_ns + nanos(duration);
        Self { open_ns, close_ns, grace_ns: close_ns + nanos(grace) }
    }

    /// Whether `at_ns` is measured.
    pub fn holds(&self, at_ns: u64) -> bool {
        (self.open_ns..self.close_ns).contains(&at_ns)
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        seconds(self.close_ns - self.open_ns)
    }
}

/// A duration in nanoseconds; five centuries at most.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "a report shows three digits")]
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
