//! Health: an endpoint that nobody calls is asked whether it is there, and one whose breaker has opened whether its
//! connection is. What is asked is what costs a server nothing: `ping` in the old era, `server/discover` in the new
//! one, which has no `ping`. Any answer is a yes, also an error.
//!
//! ```text
//!   ready ──▶ idle for limits.health? ──▶ asked ── answer ──▶ asked again after limits.health
//!     ▲                                     │
//!     └── dialled anew (a child: started) ◀─┴─ none within limits.health_wait: the connection is reset
//!
//!   breaker opens ──▶ asked at once, for the connection's sake
//!   breaker half open, and no call has tried ──▶ asked, until it is closed
//!   dialled anew, breaker not closed ──▶ the handshake counts as one answer, and it is asked at once
//! ```
//!
//! A server that works on one thing at a time cannot answer while it does: who has calls under way is not asked, but
//! for the one whose calls have not been answered for so long that its breaker opened.

use super::Gateway;
use super::connect::gateway_itself;
use super::door::Effects;
use super::flight::{Asker, Errand, FlightKey};
use super::lane::LaneKey;
use super::request;
use super::timer::{Alarm, AlarmKey};
use crate::base::{Moment, Now};
use crate::mcp::{Era, Method};

/// While its breaker is half open, an endpoint is asked this much after a call could have tried it, if none has.
const AFTER_CALLS: std::time::Duration = std::time::Duration::from_secs(1);

/// What is known of one endpoint's health.
#[derive(Debug, Default)]
pub struct Health {
    pub(super) alarm: Option<AlarmKey>,
    /// The question that is out.
    asked: Option<FlightKey>,
    /// When anything was last answered.
    pub heard: Moment,
}

impl Gateway {
    /// An endpoint is ready, for the first time or again.
    pub(super) fn begin_health(&mut self, now: Now, number: usize, out: &mut Effects) {
        if self.upstreams[self.endpoints[number].upstream].is_builtin {
            return;
        }
        let limits = &self.settings.limits;
        let endpoint = &mut self.endpoints[number];
        endpoint.health.heard = now.at;
        endpoint.health.asked = None;
        if endpoint.breaker.reconnected(now.at, limits) {
            return self.ask_health(now, number, out);
        }
        let wait = limits.health;
        self.look_again(now, number, wait);
    }

    /// A breaker has opened: the connection itself may be dead.
    pub(super) fn doubt_connection(&mut self, now: Now, number: usize, out: &mut Effects) {
        let endpoint = &self.endpoints[number];
        if endpoint.is_ready() && endpoint.health.asked.is_none() && !self.drain.has_begun() {
            self.ask_health(now, number, out);
        }
    }

    fn look_again(&mut self, now: Now, number: usize, wait: std::time::Duration) {
        let health = &mut self.endpoints[number].health;
        if let Some(alarm) = health.alarm.take() {
            self.wheel.cancel(alarm);
        }
        if !self.drain.has_begun() {
            health.alarm = Some(self.wheel.set(now.at, wait, Alarm::Health(number)));
        }
    }

    /// It is time to look.
    pub(super) fn health_due(&mut self, now: Now, number: usize, out: &mut Effects) {
        let limits = &self.settings.limits;
        let (every, here) = (limits.health, self.shard);
        let endpoint = &mut self.endpoints[number];
        endpoint.health.alarm = None;
        if let Some(asked) = endpoint.health.asked {
            return self.health_missed(now, number, asked, out);
        }
        if !endpoint.is_ready() || self.upstreams[endpoint.upstream].is_retired {
            return;
        }
        if !endpoint.breaker.is_closed() {
            return match endpoint.breaker.retry_after(now.at) {
                // A call has just tried, or none may yet.
                Some(wait) => self.look_again(now, number, wait.saturating_add(AFTER_CALLS)),
                None if endpoint.breaker.admit(now.at).is_ok() => self.ask_health(now, number, out),
                None => self.look_again(now, number, AFTER_CALLS),
            };
        }
        let idle = now.at.since(endpoint.health.heard);
        let is_home = endpoint.home == here;
        if idle < every {
            self.look_again(now, number, every.saturating_sub(idle));
        } else if !is_home || self.has_calls(number) {
            self.look_again(now, number, every);
        } else {
            self.ask_health(now, number, out);
        }
    }

    /// Whether calls are under way on an endpoint's shared lanes.
    fn has_calls(&self, number: usize) -> bool {
        self.flights.iter().any(|(_, flight)| {
            let lane = flight.lane.and_then(|lane| self.lanes.get(lane));
            !matches!(flight.asker, Asker::Own(_))
                && lane.is_some_and(|lane| lane.seat.endpoint == number && lane.client().is_none())
        })
    }

    fn ask_health(&mut self, now: Now, number: usize, out: &mut Effects) {
        let Some(lane) = self.main_lane(number) else { return };
        let Some(era) = self.lanes.get(lane).map(super::lane::Lane::era) else { return };
        let (method, params) = match era {
            Era::Legacy => (Method::Ping, "{}".to_owned()),
            Era::Modern => {
                let meta = request::of_the_connection(&gateway_itself());
                (Method::Discover, format!("{{\"_meta\":{{{meta}}}}}"))
            }
        };
        let asked = self.errand(lane, Errand::Health, method, &params, out);
        self.endpoints[number].health.asked = asked;
        let wait = self.settings.limits.health_wait;
        self.look_again(now, number, wait);
    }

    /// It has answered, whatever.
    pub(super) fn health_answered(&mut self, now: Now, number: usize) {
        let endpoint = &mut self.endpoints[number];
        endpoint.health.asked = None;
        let wait = match endpoint.breaker.retry_after(now.at) {
            Some(wait) => wait.saturating_add(AFTER_CALLS),
            None if endpoint.breaker.is_closed() => self.settings.limits.health,
            None => AFTER_CALLS,
        };
        self.look_again(now, number, wait);
    }

    /// It has not answered: in this order its connection is reset, each flight on it gets its one error or goes
    /// elsewhere, and it is dialled anew, a child started anew.
    fn health_missed(&mut self, now: Now, number: usize, asked: FlightKey, out: &mut Effects) {
        let lane = self.flights.get(asked).and_then(|flight| flight.lane);
        if lane.is_some() {
            self.close(asked, out);
            self.call_failed(now, number, out);
        }
        self.endpoints[number].health.asked = None;
        let Some(lane) = lane else {
            // It went with its lane.
            let wait = self.settings.limits.health;
            return self.look_again(now, number, wait);
        };
        if self.lanes.get(lane).is_some_and(|lane| lane.link.is_some()) {
            let why = "it did not answer a health check in the time of the limit health_wait";
            self.give_up(now, lane, why, out);
        } else {
            // Its home sees to it.
            let wait = self.settings.limits.health;
            self.look_again(now, number, wait);
        }
    }

    /// The question never reached it, or its answer never came: the connection is reset at once.
    pub(super) fn health_lost(
        &mut self,
        now: Now,
        number: usize,
        lane: LaneKey,
        why: &str,
        out: &mut Effects,
    ) {
        self.call_failed(now, number, out);
        self.endpoints[number].health.asked = None;
        self.give_up(now, lane, why, out);
    }

    /// A drain begins: nobody is asked any more.
    pub(super) fn end_health(&mut self) {
        for endpoint in &mut self.endpoints {
            if let Some(alarm) = endpoint.health.alarm.take() {
                self.wheel.cancel(alarm);
            }
        }
    }
}
