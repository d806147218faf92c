//! The ways a shard ends: notice, drain, stop, each from the one before or at once. What a drain means for what is
//! under way is the domain's.

use std::borrow::Cow;
use std::task::Waker;

use super::core::{Core, Phase};
use super::domain::Domain;
use super::links::Due;
use crate::gateway::Event;

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
            self.on_phase.iter().for_each(Waker::wake_by_ref);
            self.wheel.set(self.now.at, notice, Due::Leave);
            self.handle(Event::Leave);
        }
    }

    pub(super) fn drain(&mut self) {
        if self.phase < Phase::Draining {
            self.phase = Phase::Draining;
            self.wake_on_phase();
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
            self.wake_on_phase();
            // So that the task that hears it ends too.
            self.mailbox.bell.ring();
            for id in self.links.ids() {
                self.close(id, Cow::Borrowed("the gateway is stopping"));
            }
        }
    }

    fn wake_on_phase(&mut self) {
        for waker in self.on_phase.drain(..) {
            waker.wake();
        }
        for waker in self.shaking.values().flatten() {
            waker.wake_by_ref();
        }
    }
}
