//! The ways a shard ends: notice, drain, stop, each from the one before or at once. What a drain means for what is
//! under way is the domain's.

use std::borrow::Cow;
use std::task::{Context, Waker};

use super::core::{Core, Phase};
use super::domain::Domain;
use super::links::Due;
use super::rt;
use crate::gateway::Event;

/// Tasks that want to hear of the next phase. Nobody says when such a task has ended; so when more have registered than
/// can be alive, all are woken, and those that are alive register again.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    wakers: Vec<Waker>,
    /// How often all were woken.
    round: u32,
}

/// Registrations beyond twice the tasks that are alive, before they are gone through.
const WAITERS_SPARE: usize = 64;

impl Waiters {
    /// Has the task woken at the next phase. `met` is the task's own, and begins as `None`.
    pub(super) fn register(&mut self, met: &mut Option<u32>, cx: &Context<'_>) {
        if *met == Some(self.round) {
            return;
        }
        if self.wakers.len() > 2 * rt::tasks() + WAITERS_SPARE {
            self.wake();
        }
        *met = Some(self.round);
        self.wakers.push(cx.waker().clone());
    }

    pub(super) fn wake(&mut self) {
        self.round = self.round.wrapping_add(1);
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }
}

impl<D: Domain> Core<D> {
    /// Gives notice, and drains when `limits.notice` is over.
    pub(super) fn give_notice(&mut self) {
        if self.phase < Phase::Leaving {
            let notice = self.limits.notice;
            if notice.is_zero() {
                return self.drain();
            }
            self.phase = Phase::Leaving;
            // They wait for the next phase as well.
            self.on_phase.wake();
            self.wheel.set(self.now.at, notice, Due::Leave);
            self.handle(Event::Leave);
        }
    }

    pub(super) fn drain(&mut self) {
        if self.phase < Phase::Draining {
            self.phase = Phase::Draining;
            self.on_phase.wake();
            self.wheel.set(self.now.at, self.limits.drain, Due::Drain);
            for id in self.links.ids() {
                if self.is_idle(id) {
                    self.close(id, Cow::Borrowed("the gateway is draining"));
                }
            }
            self.handle(Event::Drain);
        }
    }

    /// Closes every link, with time to write what waits.
    pub(super) fn stop(&mut self) {
        if self.phase < Phase::Stopping {
            self.phase = Phase::Stopping;
            self.on_phase.wake();
            // So that the task that hears it ends too.
            self.mailbox.bell.ring();
            for id in self.links.ids() {
                self.close(id, Cow::Borrowed("the gateway is stopping"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn tasks_that_have_ended_are_not_kept_and_those_that_live_are_woken() {
        let mut waiters = Waiters::default();
        let living = Arc::new(Count::default());
        let (waker, mut met) = (Waker::from(Arc::clone(&living)), None);
        waiters.register(&mut met, &Context::from_waker(&waker));
        for _ in 0..10_000 {
            let ended = Waker::from(Arc::new(Count::default()));
            waiters.register(&mut None, &Context::from_waker(&ended));
            // As a task does that was woken.
            waiters.register(&mut met, &Context::from_waker(&waker));
            assert!(waiters.wakers.len() <= WAITERS_SPARE + 2, "{}", waiters.wakers.len());
        }
        let before = living.0.load(Ordering::Relaxed);
        waiters.wake();
        assert_eq!(living.0.load(Ordering::Relaxed), before + 1, "of each phase it hears once");
    }
}
