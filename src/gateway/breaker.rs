//! The circuit breaker of an endpoint: when its calls keep failing, callers are told at once, instead of each
//! waiting out its time. One a shard and endpoint; shards share nothing, so each finds out for itself. What an
//! upstream answers, be it an error, is no failure: it is there. Whether it can be connected to at all is not
//! known here (`upstream::Status`).

use std::time::Duration;

use crate::base::Moment;
use crate::base::limits::Limits;

/// While half open, one call is let through in this time: enough to find out soon, too few to be a load.
const TRIAL_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Moment,
    },
    HalfOpen {
        successes: u32,
        /// When the next trial may go.
        next: Moment,
    },
}

/// What a call did to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Opened,
    Closed,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 } }
    }
}

impl Breaker {
    /// Whether a call may go, or how long until one may.
    #[inline]
    pub fn admit(&mut self, now: Moment) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now < until => Err(until.since(now)),
            State::Open { .. } => {
                self.state = State::HalfOpen { successes: 0, next: now.after(TRIAL_EVERY) };
                Ok(())
            }
            State::HalfOpen { next, .. } if now < next => Err(next.since(now)),
            State::HalfOpen { successes, .. } => {
                self.state = State::HalfOpen { successes, next: now.after(TRIAL_EVERY) };
                Ok(())
            }
        }
    }

    /// Whether calls go as if there were no breaker.
    #[inline]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether no call goes just now, not even one to try.
    pub fn is_open(&self, now: Moment) -> bool {
        matches!(self.state, State::Open { until } if now < until)
    }

    /// A new connection, whose handshake was answered: that counts as one answer, and the next that is asked is the
    /// trial. False if there was nothing to mend.
    pub fn reconnected(&mut self, now: Moment, limits: &Limits) -> bool {
        if self.is_closed() {
            return false;
        }
        let successes = limits.breaker_successes.saturating_sub(1);
        self.state = State::HalfOpen { successes, next: now.after(TRIAL_EVERY) };
        true
    }

    /// The upstream answered.
    #[inline]
    pub fn succeeded(&mut self, limits: &Limits) -> Option<Turn> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                None
            }
            // An answer to a call of before: it says nothing of the calls that failed since.
            State::Open { .. } => None,
            State::HalfOpen { successes, .. } => {
                *successes += 1;
                if *successes < limits.breaker_successes {
                    return None;
                }
                self.state = State::Closed { failures: 0 };
                Some(Turn::Closed)
            }
        }
    }

    /// A call was not answered in time, or the connection broke under it.
    pub fn failed(&mut self, now: Moment, limits: &Limits) -> Option<Turn> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < limits.breaker_failures {
                    return None;
                }
            }
            State::Open { .. } => return None,
            State::HalfOpen { .. } => {}
        }
        self.state = State::Open { until: now.after(limits.breaker_open) };
        Some(Turn::Opened)
    }

    /// How long until a call may go, where that is not now.
    pub fn retry_after(&self, now: Moment) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until: at } | State::HalfOpen { next: at, .. } => {
                (now < at).then(|| at.since(now))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::DEFAULT;

    fn at(ms: u64) -> Moment {
        Moment::START.after(Duration::from_millis(ms))
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..=LIMITS.breaker_failures {
            let turn = breaker.failed(at(0), &LIMITS);
            assert_eq!(turn, (n == LIMITS.breaker_failures).then_some(Turn::Opened));
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_four_do_not() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 1..LIMITS.breaker_failures {
                assert_eq!(breaker.failed(at(0), &LIMITS), None);
            }
            assert_eq!(breaker.succeeded(&LIMITS), None);
            assert_eq!(breaker.admit(at(0)), Ok(()));
        }
        assert_eq!(open().admit(at(1)), Err(Duration::from_millis(29_999)));
    }

    #[test]
    fn half_open_lets_one_call_a_second_through_and_two_answers_close_it() {
        let mut breaker = open();
        assert!(breaker.admit(at(29_999)).is_err());
        assert_eq!(breaker.admit(at(30_000)), Ok(()));
        assert_eq!(breaker.admit(at(30_000)), Err(TRIAL_EVERY));
        assert_eq!(breaker.succeeded(&LIMITS), None);
        assert_eq!(breaker.retry_after(at(30_900)), Some(Duration::from_millis(100)));
        assert_eq!(breaker.admit(at(31_000)), Ok(()));
        assert_eq!(breaker.succeeded(&LIMITS), Some(Turn::Closed));
        for _ in 0..10 {
            assert_eq!(breaker.admit(at(31_000)), Ok(()));
        }
    }

    #[test]
    fn a_failure_while_half_open_opens_it_again() {
        let mut breaker = open();
        assert_eq!(breaker.admit(at(30_000)), Ok(()));
        assert_eq!(breaker.failed(at(40_000), &LIMITS), Some(Turn::Opened));
        assert_eq!(breaker.admit(at(69_999)), Err(Duration::from_millis(1)));
        assert_eq!(breaker.admit(at(70_000)), Ok(()));
    }

    #[test]
    fn a_new_connection_and_one_answer_on_it_close_it() {
        let mut breaker = open();
        assert!(breaker.reconnected(at(100), &LIMITS));
        assert_eq!(breaker.admit(at(100)), Err(TRIAL_EVERY), "the trial is the gateway's own");
        assert_eq!(breaker.succeeded(&LIMITS), Some(Turn::Closed));
        assert!(!breaker.reconnected(at(200), &LIMITS));
    }

    #[test]
    fn late_answers_and_failures_do_not_move_an_open_one() {
        let mut breaker = open();
        assert_eq!(breaker.succeeded(&LIMITS), None);
        assert_eq!(breaker.failed(at(20_000), &LIMITS), None);
        assert_eq!(breaker.admit(at(30_000)), Ok(()));
    }
}
