//! Several ways to one server: which endpoint and which of its lanes a call takes, and over which lane the upstream
//! is listened to. How to choose among equals is `select`'s; what is made again when it was lost is `retry`'s.
//!
//! What belongs together stays together: a client with a lane of its own stays on that lane's endpoint, and pages of
//! a list come from one endpoint, the first that can be used.

use std::time::Duration;

use super::Gateway;
use super::client::ClientKey;
use super::door::Effects;
use super::endpoint::{Endpoint, Seat};
use super::flight::FlightKey;
use super::forward::{Choice, does_not_read, refused_by_breaker, unavailable};
use super::lane::{Lane, LaneKey};
use super::report::Report;
use super::upstream::{Identity, Status};
use crate::base::{Moment, Now};
use crate::mcp::{Era, Method, Params};
use crate::wire::Json;

impl Gateway {
    /// The endpoint that a request goes to.
    #[inline]
    pub(super) fn pick(
        &mut self,
        now: Now,
        key: FlightKey,
        client: Option<ClientKey>,
        index: usize,
        method: Method,
        parsed: &Params<'_>,
    ) -> Result<usize, Choice> {
        if self.upstreams[index].balance.is_none() {
            return Ok(self.upstreams[index].endpoints.start);
        }
        self.pick_one(now, key, client, index, method, parsed)
    }

    fn pick_one(
        &mut self,
        now: Now,
        key: FlightKey,
        client: Option<ClientKey>,
        index: usize,
        method: Method,
        parsed: &Params<'_>,
    ) -> Result<usize, Choice> {
        let only = self.upstreams[index].endpoints.start;
        let Some(balance) = &self.upstreams[index].balance else { return Ok(only) };
        let flight = self.flights.get(key);
        let trip = flight.map(|flight| flight.trip).unwrap_or_default();
        if let Some(only) = trip.only {
            let fits = self.is_usable(only);
            return if fits { Ok(only) } else { self.pick_doubtful(now, index, vec![only]) };
        }
        // A call that a modern server has asked back about: an old one would begin it anew.
        let goes_on = parsed.request_state.is_some()
            || parsed.input_responses.is_some()
            || flight.is_some_and(|flight| flight.retry.is_some());
        let fits = |number: usize| !goes_on || self.endpoints[number].era() == Some(Era::Modern);
        let usable = balance.those(|endpoint| fits(endpoint) && self.is_usable(endpoint));
        if usable == 0 {
            let fit = balance.endpoints().filter(|&number| fits(number)).collect();
            return self.pick_doubtful(now, index, fit);
        }
        let own = client.and_then(|client| {
            self.own_endpoints(client, index).find(|&own| balance.has(usable, own))
        });
        let stays = own.or(trip.stays.filter(|&endpoint| balance.has(usable, endpoint)));
        if let Some(endpoint) = stays {
            return Ok(endpoint);
        }
        // Rather not where it was lost.
        let elsewhere = usable & !balance.those(|endpoint| trip.left == Some(endpoint));
        let usable = if elsewhere == 0 { usable } else { elsewhere };
        if method.list_member().is_some()
            && let Some(first) = balance.first(usable)
        {
            return Ok(first);
        }
        let dice = &mut self.dice;
        let balance = self.upstreams[index].balance.as_mut();
        let chosen =
            balance.and_then(|balance| balance.choose(usable, now.at, || super::roll(dice)));
        Ok(chosen.unwrap_or(only))
    }

    /// None can be used without doubt: one whose breaker lets a call through to try, or one that is being dialled
    /// for the first time; else it is said what is wrong.
    fn pick_doubtful(&mut self, now: Now, index: usize, fit: Vec<usize>) -> Result<usize, Choice> {
        let (mut is_starting, mut is_blocked) = (false, false);
        let (mut wait, mut is_down): (Option<Duration>, bool) = (None, false);
        for number in fit {
            let has_room = self.lane_for(number).is_some_and(|lane| self.takes(lane));
            let endpoint = &mut self.endpoints[number];
            match &endpoint.status {
                Status::Starting => is_starting = true,
                Status::Ready { .. } if !has_room => is_blocked = true,
                Status::Ready { .. } => match endpoint.breaker.admit(now.at) {
                    Ok(()) => return Ok(number),
                    Err(after) => wait = Some(wait.map_or(after, |least| after.min(least))),
                },
                Status::Down { .. } => is_down = true,
            }
        }
        let name = &self.upstreams[index].name;
        Err(match wait {
            _ if is_starting => Choice::Wait,
            Some(wait) => Choice::Unavailable(refused_by_breaker(name, wait)),
            _ if is_blocked => Choice::Unavailable(does_not_read(name)),
            _ if is_down => Choice::Unavailable(unavailable(name)),
            _ => Choice::Unavailable(format!(
                "upstream {name} has no endpoint that could go on with the call"
            )),
        })
    }

    /// The endpoint of an upstream that has one.
    #[inline]
    pub(super) fn only_endpoint(&mut self, index: usize) -> &mut Endpoint {
        &mut self.endpoints[self.upstreams[index].endpoints.start]
    }

    /// Whether calls may go to an endpoint as they come.
    fn is_usable(&self, number: usize) -> bool {
        let endpoint = &self.endpoints[number];
        endpoint.is_ready()
            && endpoint.breaker.is_closed()
            && self.lane_for(number).is_some_and(|lane| self.takes(lane))
    }

    fn takes(&self, lane: LaneKey) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.is_ready() && !lane.blocked)
    }

    /// Endpoints where the client has a lane of its own, in the order in which it got them.
    fn own_endpoints(&self, client: ClientKey, index: usize) -> impl Iterator<Item = usize> {
        let own = self.clients.get(client).map(|client| client.lanes.as_slice());
        let own = own.unwrap_or_default().iter().filter(move |own| own.upstream == index);
        own.filter_map(|own| Some(self.lanes.get(own.lane)?.seat.endpoint))
    }

    /// The endpoint that speaks for a client's upstream where no call is made: that of a lane of its own, else the
    /// first that is ready.
    pub(super) fn endpoint_for(&self, client: ClientKey, index: usize) -> usize {
        let first = self.upstreams[index].endpoints.start;
        if self.upstreams[index].balance.is_none() {
            return first;
        }
        let own = self.own_endpoints(client, index).next();
        own.or_else(|| self.first_ready(index)).unwrap_or(first)
    }

    /// The first endpoint of an upstream that is ready, by priority.
    pub(super) fn first_ready(&self, index: usize) -> Option<usize> {
        let first = self.upstreams[index].endpoints.start;
        match &self.upstreams[index].balance {
            None => self.endpoints[first].is_ready().then_some(first),
            Some(balance) => balance.endpoints().find(|&number| self.endpoints[number].is_ready()),
        }
    }

    /// The shared lane of an endpoint that the next call takes: of those that take any, the one with the fewest
    /// calls under way.
    #[inline]
    pub(super) fn lane_for(&self, number: usize) -> Option<LaneKey> {
        let endpoint = &self.endpoints[number];
        if endpoint.seats.len() == 1 {
            return endpoint.shared();
        }
        let seated = endpoint.seats.iter().flatten().copied();
        seated
            .filter(|&lane| self.serves(lane))
            .min_by_key(|&lane| self.lanes.get(lane).map(|lane| (lane.blocked, lane.flights)))
    }

    pub(super) fn has_ready_seat(&self, number: usize) -> bool {
        let mut seated = self.endpoints[number].seats.iter().flatten();
        seated.any(|&lane| self.lanes.get(lane).is_some_and(Lane::is_ready))
    }

    /// How many shared lanes of an endpoint are dialled again when they are lost.
    pub(super) fn seats_min(&self, number: usize) -> usize {
        let index = self.endpoints[number].upstream;
        self.settings.upstreams[index].spread.pool.min.max(1)
    }

    /// A call leaves: it is counted where it goes, and what it needs to be made again is kept.
    pub(super) fn depart(
        &mut self,
        now: Now,
        key: FlightKey,
        to: LaneKey,
        params: Json<'_>,
        name: Option<&str>,
        out: &mut Effects,
    ) {
        self.settle_trip(key);
        let (Some(lane), Some(flight)) = (self.lanes.get_mut(to), self.flights.get_mut(key)) else {
            return;
        };
        lane.flights += 1;
        let endpoint = lane.seat.endpoint;
        flight.trip.on = Some((to, endpoint, now.at));
        let (index, method, tries) = (flight.upstream, flight.method, flight.trip.tries);
        if let Some(balance) = &mut self.upstreams[index].balance {
            balance.departed(endpoint);
        }
        self.pool_filled(now, endpoint, out);
        let is_safe = self.is_idempotent(index, method, name);
        if let Some(flight) = self.flights.get_mut(key) {
            flight.trip.is_safe = is_safe;
            let may_go_again = tries < self.settings.limits.retries && flight.trip.only.is_none();
            if may_go_again && flight.params.is_none() {
                flight.params = Some(params.text().into());
            }
        }
        self.begin_attempt(now, key);
    }

    /// A call was answered by an endpoint.
    pub(super) fn measure(&mut self, now: Now, key: FlightKey, endpoint: usize, left: Moment) {
        let Some(flight) = self.flights.get(key) else { return };
        if let Some(balance) = &mut self.upstreams[flight.upstream].balance {
            balance.answered(endpoint, now.at, now.at.since(left));
        }
    }

    /// A call is where it was no more: answered, lost or given up.
    pub(super) fn settle_trip(&mut self, key: FlightKey) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let (trip, index) = (flight.trip.on.take(), flight.upstream);
        if let Some((lane, endpoint, _)) = trip {
            self.uncount(index, lane, endpoint);
        }
    }

    pub(super) fn uncount(&mut self, index: usize, lane: LaneKey, endpoint: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.flights = lane.flights.saturating_sub(1);
        }
        if let Some(balance) = &mut self.upstreams[index].balance {
            balance.ended(endpoint);
        }
        self.pool_emptied(endpoint);
    }

    /// A further endpoint answers, while another does already: what clients were told holds on, and where this
    /// one differs, the operator hears of it.
    pub(super) fn another_ready(
        &mut self,
        now: Now,
        number: usize,
        was_ready: bool,
        identity: &Identity,
        out: &mut Effects,
    ) {
        if was_ready {
            return;
        }
        let index = self.endpoints[number].upstream;
        if let Some(balance) = &mut self.upstreams[index].balance {
            balance.ready(number, now.at);
        }
        let differs = self.upstreams[index].identity.as_ref().and_then(|it| differs(it, identity));
        if let Some(what) = differs {
            out.report(Report::EndpointDiffers { upstream: self.called_endpoint(number), what });
        }
        self.listen_again(index, out);
    }

    /// One endpoint fewer. Whether the upstream is there all the same, or may yet turn out to be.
    pub(super) fn others_remain(&mut self, now: Now, index: usize, out: &mut Effects) -> bool {
        let Some(balance) = &self.upstreams[index].balance else { return false };
        let is_ready = self.first_ready(index).is_some();
        let is_starting = |number: usize| self.endpoints[number].status == Status::Starting;
        if !is_ready && !balance.endpoints().any(is_starting) {
            return false;
        }
        let upstream = &mut self.upstreams[index];
        if !is_ready {
            upstream.status = Status::Starting;
        }
        for flight in std::mem::take(&mut upstream.waiting) {
            self.relaunch(now, flight, out);
        }
        self.listen_again(index, out);
        true
    }

    /// The lane of an endpoint that speaks for it: what it says unasked is heard on that one.
    pub(super) fn main_lane(&self, number: usize) -> Option<LaneKey> {
        let endpoint = &self.endpoints[number];
        if endpoint.seats.len() == 1 {
            return endpoint.shared();
        }
        let mut seated = endpoint.seats.iter().flatten().copied();
        seated.find(|&lane| self.lanes.get(lane).is_some_and(Lane::is_ready))
    }

    /// The shared lane over which this shard's clients hear an upstream.
    pub(super) fn watch_lane(&self, index: usize) -> Option<LaneKey> {
        match self.upstreams[index].balance {
            None => self.endpoints[self.upstreams[index].endpoints.start].shared(),
            Some(_) => self.first_ready(index).and_then(|number| self.main_lane(number)),
        }
    }

    /// Whether a shared lane speaks for its endpoint, and whether it is the one that is listened to here.
    pub(super) fn is_heard(&self, key: LaneKey, index: usize, seat: Seat) -> (bool, bool) {
        if self.upstreams[index].balance.is_none() {
            return (true, true);
        }
        (self.main_lane(seat.endpoint) == Some(key), self.watch_lane(index) == Some(key))
    }

    /// Another lane may be the one to listen on.
    pub(super) fn listen_again(&mut self, index: usize, out: &mut Effects) {
        let Some(balance) = &self.upstreams[index].balance else { return };
        let mains: Vec<LaneKey> =
            balance.endpoints().filter_map(|number| self.main_lane(number)).collect();
        for lane in mains {
            self.watch(lane, out);
        }
    }

    /// An endpoint as the operator is told of it: by the upstream's name, and its place where there are several.
    pub(super) fn called_endpoint(&self, number: usize) -> String {
        let index = self.endpoints[number].upstream;
        let name = &self.upstreams[index].name;
        if self.settings.upstreams[index].spread.others.is_empty() {
            return name.clone();
        }
        let place = number - self.upstreams[index].endpoints.start + 1;
        format!("{name}, endpoint {place}")
    }
}

/// In which way that matters two servers that should be one are not.
fn differs(first: &Identity, other: &Identity) -> Option<&'static str> {
    let name = |identity: &Identity| {
        let info = identity.server_info.as_deref().and_then(|info| Json::parse(info).ok())?;
        let name = info.get("name").and_then(Json::as_str)?;
        let version = info.get("version").and_then(Json::as_str).unwrap_or_default();
        Some((name.into_owned(), version.into_owned()))
    };
    let (era, others): (Era, Era) = (first.version.era(), other.version.era());
    if first.features() != other.features() {
        Some("it offers other capabilities than the endpoint that was ready first")
    } else if era != others {
        Some("it speaks another era than the endpoint that was ready first")
    } else if name(first) != name(other) {
        Some("it names another server or version than the endpoint that was ready first")
    } else {
        None
    }
}
