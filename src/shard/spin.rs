//! Looking for work before sleeping (`shards.spin_us`): to be woken costs a virtual machine 25 to 50 µs, which a
//! shard that has just worked can save by looking again. One task that wakes itself, so that the loop polls its
//! driver instead of parking; off by default, because the core is busy meanwhile.
//!
//! The runtime sees to its timers only where it parks, so it is let do so every millisecond.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Shard;
use super::core::Phase;
use super::domain::Domain;

/// Timers may be late by this while a shard spins.
const PARK_EVERY: Duration = Duration::from_millis(1);

/// The spinning task, as the heart sees it.
#[derive(Default)]
pub(super) struct Spinner {
    waker: Option<Waker>,
    is_spinning: bool,
}

impl Spinner {
    /// Something has happened: it is worth to look for more.
    #[inline]
    pub(super) fn stir(&mut self) {
        if !self.is_spinning
            && let Some(waker) = &self.waker
        {
            self.is_spinning = true;
            waker.wake_by_ref();
        }
    }
}

/// Spins for `time` after whatever happened last, until the shard stops.
pub(super) async fn spin<D: Domain>(shard: Rc<Shard<D>>, time: Duration) {
    let mut turns = 0;
    let (mut since, mut begun) = (None, None);
    poll_fn(|cx| {
        let core = &mut *shard.core.borrow_mut();
        if core.phase == Phase::Stopping {
            core.spinner = Spinner::default();
            return Poll::Ready(());
        }
        let now = core.clock.now().at;
        let begun_at = *begun.get_or_insert(now);
        if core.meter.turns.get() != turns {
            turns = core.meter.turns.get();
            since = Some(now);
        }
        core.meter.spins.add(1);
        if since.is_some_and(|since| now.since(since) < time) && now.since(begun_at) < PARK_EVERY {
            cx.waker().wake_by_ref();
        } else {
            begun = None;
            core.spinner.is_spinning = false;
            if core.spinner.waker.is_none() {
                core.spinner.waker = Some(cx.waker().clone());
            }
        }
        Poll::Pending
    })
    .await;
}
