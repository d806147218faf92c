//! Lanes in waiting: connections that a client had to itself and left in good order, and servers that were
//! started ahead. A client of one exchange would else wait for a server to start at each of its calls. Who
//! takes a parked one must act for the same principal and have declared the same capabilities.

use super::Gateway;
use super::client::{ClientKey, Front, OwnLane};
use super::door::{Effect, Effects};
use super::endpoint::Seat;
use super::flight::{Asker, Errand};
use super::lane::{Hello, Lane, LaneKey, Role};
use super::principal::Principal;
use super::timer::Alarm;
use crate::base::Now;
use crate::mcp::Era;

/// Servers that are started at once for clients of one exchange. A burst of calls would else start one for
/// each, where a few, one call after the other, are done sooner.
const DIALS_AT_ONCE_MAX: usize = 4;

impl Gateway {
    /// Whether a call must wait for one of the lanes that are being made.
    pub(super) fn must_line_up(&self, client: ClientKey, index: usize) -> bool {
        let is_exchange = |client: &super::Client| matches!(client.front, Front::Exchange(_));
        self.clients.get(client).is_some_and(is_exchange)
            && !self.is_for_callers(index)
            && self.upstreams[index].spare.is_none()
            && self.dials(index) >= DIALS_AT_ONCE_MAX
    }

    fn dials(&self, index: usize) -> usize {
        let is_dial = |lane: &Lane| {
            lane.upstream == index && matches!(lane.role, Role::Own(_)) && !lane.is_ready()
        };
        self.lanes.iter().filter(|(_, lane)| is_dial(lane)).count()
    }

    /// A lane has become free, or another may be made: who waits has its turn.
    pub(super) fn serve_line(&mut self, now: Now, index: usize, out: &mut Effects) {
        let has_shares = self.is_for_callers(index);
        let mut in_vain: Vec<Principal> = Vec::new();
        for _ in 0..self.upstreams[index].line.len() {
            let has_none = self.upstreams[index].parked.is_empty();
            if !has_shares && has_none && self.dials(index) >= DIALS_AT_ONCE_MAX {
                return;
            }
            let Some(flight) = self.upstreams[index].line.pop_front() else { return };
            let client = self.flights.get(flight).and_then(super::Flight::client);
            let who = client.and_then(|client| self.clients.get(client)).map(|it| it.who.principal);
            if who.is_some_and(|who| in_vain.contains(&who)) {
                self.upstreams[index].line.push_back(flight);
                continue;
            }
            self.relaunch(now, flight, out);
            let line = &mut self.upstreams[index].line;
            if line.back() != Some(&flight) {
                continue;
            }
            // There is no room for it yet, and so for none behind it; but where each has a share, for none of its
            // caller's. Who has gone once round the line stands where they stood.
            match who.filter(|_| has_shares) {
                Some(who) => in_vain.push(who),
                None => return line.rotate_right(1),
            }
        }
    }

    /// A client leaves: those of its lanes that nothing is under way on wait for the next.
    pub(super) fn park_lanes(&mut self, now: Now, key: ClientKey, out: &mut Effects) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let own = std::mem::take(&mut client.lanes);
        for own in own {
            if self.may_wait(own.lane, key) {
                self.park(now, &own, out);
            } else if let Some(client) = self.clients.get_mut(key) {
                client.lanes.push(own);
            }
        }
    }

    /// Whether a client leaves a lane in good order. What others ask about a task there, and what we do, goes on.
    pub(super) fn may_wait(&self, lane: LaneKey, client: ClientKey) -> bool {
        let is_quiet = self.lanes.get(lane).is_some_and(|lane| {
            let asks_nothing = lane.asks.is_empty() && lane.wants.is_empty();
            let asks_nothing = asks_nothing && !lane.is_late && lane.next_level.is_none();
            let keeps = lane.era() == Era::Legacy || self.is_for_callers(lane.upstream);
            lane.is_ready() && keeps && lane.queue.is_empty() && asks_nothing
        });
        is_quiet
            && !self.flights_of(lane).into_iter().any(|key| {
                self.flights.get(key).is_some_and(|flight| match flight.asker {
                    Asker::Own(errand) => !matches!(errand, Errand::Collect(_) | Errand::Look(_)),
                    _ => flight.client() == Some(client),
                })
            })
    }

    /// The lane waits for the next client.
    pub(super) fn park(&mut self, now: Now, own: &OwnLane, out: &mut Effects) {
        let idle = self.settings.limits.lane_idle;
        let alarm = self.wheel.set(now.at, idle, Alarm::Parked(own.lane));
        if let Some(lane) = self.lanes.get_mut(own.lane) {
            // Who did not read is gone; the next may.
            if std::mem::take(&mut lane.held_up)
                && let Some(link) = lane.link
            {
                out.push(Effect::Resume { link });
            }
            lane.role = Role::Parked;
            lane.alarm = Some(alarm);
        }
        self.upstreams[own.upstream].parked.push(own.lane);
        self.serve_line(now, own.upstream, out);
    }

    /// A parked lane that serves a client of this kind; it is that client's from now on.
    pub(super) fn parked_lane(
        &mut self,
        client: ClientKey,
        index: usize,
        hello: &Hello,
    ) -> Option<LaneKey> {
        let lanes = &self.lanes;
        let fits = |key: &LaneKey| {
            lanes.get(*key).and_then(|lane| lane.hello.as_deref()).is_some_and(|said| {
                said.principal == hello.principal
                    && said.capabilities == hello.capabilities
                    && said.era == hello.era
                    && said.version == hello.version
            })
        };
        let parked = &mut self.upstreams[index].parked;
        // The one that was used last: the others may grow old.
        let key = parked.remove(parked.iter().rposition(fits)?);
        let lane = self.lanes.get_mut(key)?;
        lane.role = Role::Own(client);
        if let Some(alarm) = lane.alarm.take() {
            self.wheel.cancel(alarm);
        }
        Some(key)
    }

    /// A lane for a client that none of the parked fits: the spare one, if there is, else a new one. Where
    /// clients come and go with each call, the next is started at once.
    pub(super) fn fresh_lane(
        &mut self,
        now: Now,
        endpoint: usize,
        client: ClientKey,
        hello: Hello,
        out: &mut Effects,
    ) -> LaneKey {
        let index = self.endpoints[endpoint].upstream;
        let spare = self.upstreams[index].spare.take();
        let era = hello.version.era();
        let key = match spare.filter(|_| era == Era::Legacy) {
            Some(key) => {
                self.greet_spare(now, key, client, hello, out);
                key
            }
            None => self.dial_own(now, endpoint, client, hello, out),
        };
        let comes_again = self
            .clients
            .get(client)
            .is_some_and(|client| matches!(client.front, Front::Exchange(_)));
        if comes_again || self.settings.upstreams[index].warm {
            self.start_spare(now, index, out);
        }
        key
    }

    /// Starts a server for whoever needs one next.
    pub(super) fn start_spare(&mut self, now: Now, index: usize, out: &mut Effects) {
        let number = self.first_ready(index).unwrap_or(self.upstreams[index].endpoints.start);
        let endpoint = &self.endpoints[number];
        let is_worth_it = endpoint.is_stdio && endpoint.era() != Some(Era::Modern);
        let upstream = &mut self.upstreams[index];
        let is_worth_it = is_worth_it && !upstream.is_retired;
        let has_room = upstream.own_lanes < self.settings.limits.lanes_max;
        if upstream.spare.is_some() || !is_worth_it || !has_room || self.drain.has_begun() {
            return;
        }
        upstream.own_lanes += 1;
        let lane = self.dial(now, Lane::new(index, Seat::first(number), Role::Spare), out);
        self.upstreams[index].spare = Some(lane);
    }

    fn greet_spare(
        &mut self,
        now: Now,
        key: LaneKey,
        client: ClientKey,
        hello: Hello,
        out: &mut Effects,
    ) {
        let connect = self.settings.limits.connect;
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.role = Role::Own(client);
        lane.hello = Some(Box::new(hello));
        if let Some(alarm) = lane.alarm.take() {
            self.wheel.cancel(alarm);
        }
        lane.alarm = Some(self.wheel.set(now.at, connect, Alarm::Lane(key)));
        if lane.link.is_some() {
            self.initialize(now, key, out);
        }
    }

    /// Nobody has wanted a parked or spare lane within its time.
    pub(super) fn parked_due(&mut self, key: LaneKey, out: &mut Effects) {
        let is_asked = || {
            self.flights_of(key).into_iter().any(|flight| {
                self.flights.get(flight).is_some_and(|flight| flight.client().is_some())
            })
        };
        if self.has_tasks(key) || is_asked() {
            let alarm = self.wheel.set(
                self.exchanges.now,
                self.settings.limits.lane_idle,
                Alarm::Parked(key),
            );
            if let Some(lane) = self.lanes.get_mut(key)
                && let Some(before) = lane.alarm.replace(alarm)
            {
                self.wheel.cancel(before);
            }
            return;
        }
        let waits = |lane: &&Lane| matches!(lane.role, Role::Parked | Role::Spare);
        if let Some(lane) = self.lanes.get(key).filter(waits) {
            let upstream = &mut self.upstreams[lane.upstream];
            upstream.parked.retain(|&parked| parked != key);
            upstream.spare.take_if(|spare| *spare == key);
            self.drop_lane(key, "idle for the time of the limit lane_idle", out);
        }
    }
}
