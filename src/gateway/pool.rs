//! Pools: how many lanes, or children, of an endpoint clients share. One more is dialled when more than 0.8 of what
//! they hold is in use; when less than 0.3 has been for `limits.lane_idle`, the last is given no more calls and
//! closed once it has none. A lane holds `limits.lane_flights`. Who has one seat only never comes here.
//!
//! A child is shared by all shards. Each counts its own calls, against its share of what there is; the home dials,
//! and closes a lane when every shard has said that it has nothing on it any more.

use super::Gateway;
use super::door::{Effect, Effects, Mail};
use super::endpoint::Seat;
use super::lane::LaneKey;
use super::timer::{Alarm, AlarmKey};
use crate::base::{Moment, Now};

/// Above so many percent of what the lanes hold there is one more.
const GROWS_ABOVE: usize = 80;
/// Below so many there is one fewer.
const SHRINKS_BELOW: usize = 30;
/// How often a lane that is to be closed is looked at, and how often more is asked for at most.
const LOOKS: std::time::Duration = std::time::Duration::from_secs(1);

/// How full the seats of one endpoint are.
#[derive(Debug, Default)]
pub struct Pool {
    /// Calls of this shard under way.
    flights: usize,
    /// The most there were since it was last looked at.
    most: usize,
    pub(super) alarm: Option<AlarmKey>,
    /// When more was last asked for, of another shard.
    asked: Option<Moment>,
}

/// A lane that is given no more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retiring {
    /// Which time it is that this seat is to be left: a word about one of before says nothing.
    round: u32,
    /// Shards that have nothing on it any more; elsewhere than at home whether this one has said so.
    left: usize,
}

impl Gateway {
    /// A call has left on a lane of a pool.
    pub(super) fn pool_filled(&mut self, now: Now, number: usize, out: &mut Effects) {
        let endpoint = &mut self.endpoints[number];
        endpoint.pool.flights += 1;
        endpoint.pool.most = endpoint.pool.most.max(endpoint.pool.flights);
        let seats = endpoint.seats.len();
        if seats == 1 {
            return;
        }
        let (flights, home) = (endpoint.pool.flights, endpoint.home);
        if flights * 100 <= self.pool_holds(number) * GROWS_ABOVE {
            return;
        }
        if home == self.shard {
            return self.pool_grows(now, number, out);
        }
        let pool = &mut self.endpoints[number].pool;
        if pool.asked.is_none_or(|asked| now.at.since(asked) >= LOOKS) {
            pool.asked = Some(now.at);
            out.push(Effect::Mail { to: home, mail: Mail::Crowded { endpoint: number } });
        }
    }

    /// An endpoint is ready: the lanes that its pool has always follow the first.
    pub(super) fn fill_pool(&mut self, now: Now, number: usize, out: &mut Effects) {
        if self.endpoints[number].home != self.shard {
            return;
        }
        for at in 1..self.seats_min(number).min(self.endpoints[number].seats.len()) {
            let seat = Seat { endpoint: number, number: at };
            if self.lane_in(seat).is_none() && !self.drain.has_begun() {
                self.dial_seat(now, seat, out);
            }
        }
    }

    pub(super) fn pool_emptied(&mut self, number: usize) {
        let pool = &mut self.endpoints[number].pool;
        pool.flights = pool.flights.saturating_sub(1);
    }

    /// This shard's share of what the lanes of an endpoint hold.
    fn pool_holds(&self, number: usize) -> usize {
        let endpoint = &self.endpoints[number];
        let shards = if endpoint.is_stdio { usize::from(self.settings.shards.max(1)) } else { 1 };
        let lanes = self.seated(number).filter(|&(_, lane)| self.serves(lane)).count();
        lanes * self.settings.limits.lane_flights / shards
    }

    fn seated(&self, number: usize) -> impl DoubleEndedIterator<Item = (Seat, LaneKey)> {
        let seats = self.endpoints[number].seats.iter().enumerate();
        seats.filter_map(move |(at, lane)| Some((Seat { endpoint: number, number: at }, (*lane)?)))
    }

    /// Whether a lane is given calls.
    pub(super) fn serves(&self, lane: LaneKey) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.is_ready() && lane.retiring.is_none())
    }

    /// One lane more, if there may be one: the one that was to go, or a new one.
    pub(super) fn pool_grows(&mut self, now: Now, number: usize, out: &mut Effects) {
        let retiring = self.seated(number).find(|&(_, lane)| {
            self.lanes.get(lane).is_some_and(|lane| lane.is_ready() && lane.retiring.is_some())
        });
        if let Some((seat, lane)) = retiring {
            return self.reinstate(seat, lane, out);
        }
        let endpoint = &self.endpoints[number];
        let is_dialling = self
            .seated(number)
            .any(|(_, lane)| self.lanes.get(lane).is_some_and(|lane| !lane.is_ready()));
        let is_used = !self.upstreams[endpoint.upstream].is_retired && !self.drain.has_begun();
        let free = endpoint.seats.iter().position(Option::is_none);
        if let Some(free) = free.filter(|_| endpoint.is_ready() && !is_dialling)
            && is_used
        {
            self.dial_seat(now, Seat { endpoint: number, number: free }, out);
            self.look_at_pool(now, number, self.settings.limits.lane_idle);
        }
    }

    /// What was to go is needed after all.
    fn reinstate(&mut self, seat: Seat, lane: LaneKey, out: &mut Effects) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.retiring = None;
        }
        for to in self.other_shards(seat.endpoint) {
            out.push(Effect::Mail { to, mail: Mail::Reinstated { seat } });
        }
    }

    fn look_at_pool(&mut self, now: Now, number: usize, wait: std::time::Duration) {
        let pool = &mut self.endpoints[number].pool;
        if let Some(alarm) = pool.alarm.take() {
            self.wheel.cancel(alarm);
        }
        if !self.drain.has_begun() {
            pool.alarm = Some(self.wheel.set(now.at, wait, Alarm::Pool(number)));
        }
    }

    /// It is time to see whether there are more lanes than are needed.
    pub(super) fn pool_due(&mut self, now: Now, number: usize, out: &mut Effects) {
        self.endpoints[number].pool.alarm = None;
        if self.endpoints[number].home == self.shard {
            self.close_retired(number, out);
            self.pool_shrinks(number, out);
        } else {
            self.say_left(number, out);
        }
        let is_retiring = self
            .seated(number)
            .any(|(_, lane)| self.lanes.get(lane).is_some_and(|lane| lane.retiring.is_some()));
        if is_retiring {
            self.look_at_pool(now, number, LOOKS);
        } else if self.seated(number).count() > self.seats_min(number)
            && self.endpoints[number].home == self.shard
        {
            self.look_at_pool(now, number, self.settings.limits.lane_idle);
        }
    }

    fn pool_shrinks(&mut self, number: usize, out: &mut Effects) {
        let holds = self.pool_holds(number);
        let pool = &mut self.endpoints[number].pool;
        let most = std::mem::replace(&mut pool.most, pool.flights);
        let last = self.seated(number).rfind(|&(_, lane)| self.serves(lane));
        let Some((seat, lane)) = last.filter(|(seat, _)| seat.number >= self.seats_min(number))
        else {
            return;
        };
        if most * 100 >= holds * SHRINKS_BELOW {
            return;
        }
        let endpoint = &mut self.endpoints[number];
        endpoint.retired = endpoint.retired.wrapping_add(1);
        let round = endpoint.retired;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.retiring = Some(Retiring { round, left: 0 });
        }
        for to in self.other_shards(number) {
            out.push(Effect::Mail { to, mail: Mail::Retire { seat, round } });
        }
    }

    /// Lanes that nobody has anything on any more are closed.
    fn close_retired(&mut self, number: usize, out: &mut Effects) {
        let others = self.other_shards(number);
        let done: Vec<(Seat, LaneKey)> = self
            .seated(number)
            .filter(|&(_, lane)| {
                self.lanes.get(lane).is_some_and(|lane| {
                    let has_left = lane.retiring.is_some_and(|it| it.left >= others.len());
                    has_left && lane.flights == 0
                })
            })
            .collect();
        for (seat, lane) in done {
            self.endpoints[number].seat(seat.number, None);
            self.drop_lane(lane, "idle: the pool has shrunk", out);
            self.listen_again(self.endpoints[number].upstream, out);
            for &to in &others {
                let why = "the pool has shrunk".to_owned();
                out.push(Effect::Mail { to, mail: Mail::UpstreamDown { seat, why, retry_ms: 0 } });
            }
        }
    }

    /// The home of a lane gives it up.
    pub(super) fn retire(&mut self, now: Now, seat: Seat, round: u32, out: &mut Effects) {
        let Some(lane) = self.lane_in(seat).and_then(|lane| self.lanes.get_mut(lane)) else {
            return;
        };
        lane.retiring = Some(Retiring { round, left: 0 });
        self.say_left(seat.endpoint, out);
        self.look_at_pool(now, seat.endpoint, LOOKS);
    }

    /// Its home needs it after all.
    pub(super) fn reinstated(&mut self, seat: Seat) {
        if let Some(lane) = self.lane_in(seat).and_then(|lane| self.lanes.get_mut(lane)) {
            lane.retiring = None;
        }
    }

    /// Tells the home of lanes that are to go, and that this shard has nothing on any more.
    fn say_left(&mut self, number: usize, out: &mut Effects) {
        let home = self.endpoints[number].home;
        let seated: Vec<(Seat, LaneKey)> = self.seated(number).collect();
        for (seat, lane) in seated {
            if let Some(lane) = self.lanes.get_mut(lane)
                && lane.flights == 0
                && let Some(retiring) = lane.retiring.as_mut().filter(|it| it.left == 0)
            {
                retiring.left = 1;
                let mail = Mail::Vacated { seat, round: retiring.round };
                out.push(Effect::Mail { to: home, mail });
            }
        }
    }

    /// Another shard has nothing on a lane any more.
    pub(super) fn vacated(&mut self, seat: Seat, round: u32) {
        if let Some(lane) = self.lane_in(seat).and_then(|lane| self.lanes.get_mut(lane))
            && let Some(retiring) = lane.retiring.as_mut().filter(|it| it.round == round)
        {
            retiring.left += 1;
        }
    }

    /// A drain begins: pools stay as they are.
    pub(super) fn end_pools(&mut self) {
        for endpoint in &mut self.endpoints {
            if let Some(alarm) = endpoint.pool.alarm.take() {
                self.wheel.cancel(alarm);
            }
        }
    }
}
