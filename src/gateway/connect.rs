//! How lanes come and go: dial, probe, initialize, ready, lost, again. The drawing is in `lane`.

use super::door::{Effect, Effects, Mail};
use super::endpoint::Seat;
use super::flight::{Asker, Errand, Flight, FlightKey, Stage};
use super::lane::{Hello, Lane, LaneKey, Phase, Role};
use super::report::Report;
use super::timer::Alarm;
use super::upstream::{Identity, Status};
use super::{Gateway, Peer, greet, request};
use crate::base::{LinkId, Now, ShardId};
use crate::mcp::{Code, Era, Method, Version, error};
use crate::wire::envelope::{self, Frame};
use crate::wire::{Json, Message};

/// Capabilities of the gateway towards a legacy upstream on a shared lane: it cannot be asked, since
/// nobody would know for whom.
const NO_CAPABILITIES: &str = "{}";

/// A connection this young does not count as a success: a server that dies at once is backed off.
const STEADY: std::time::Duration = std::time::Duration::from_secs(1);

impl Gateway {
    /// Begins: every endpoint is dialled by its home.
    pub(super) fn start(&mut self, now: Now, out: &mut Effects) {
        for index in 0..self.upstreams.len() {
            self.start_upstream(now, index, out);
        }
    }

    pub(super) fn start_upstream(&mut self, now: Now, index: usize, out: &mut Effects) {
        if self.is_for_callers(index) {
            return self.start_for_callers(now, index);
        }
        let upstream = &mut self.upstreams[index];
        if upstream.is_builtin {
            upstream.identity = Some(Identity {
                version: Version::LATEST,
                capabilities: self.builtin.capabilities().into(),
                instructions: Some(crate::wire::text::quoted(self.builtin.instructions()).into()),
                server_info: None,
                tasks: false,
            });
        } else {
            for number in upstream.endpoints.clone() {
                self.start_endpoint(now, number, out);
            }
        }
        if self.settings.upstreams[index].warm {
            self.start_spare(now, index, out);
        }
    }

    fn start_endpoint(&mut self, now: Now, number: usize, out: &mut Effects) {
        let endpoint = &self.endpoints[number];
        if endpoint.home == self.shard {
            self.dial_seat(now, Seat::first(number), out);
        } else {
            self.seat_remote(Seat::first(number));
        }
    }

    /// A shared lane that lives on another shard.
    fn seat_remote(&mut self, seat: Seat) -> Option<LaneKey> {
        let endpoint = self.endpoints.get_mut(seat.endpoint)?;
        let lane = Lane::new(endpoint.upstream, seat, Role::Remote(endpoint.home));
        let key = self.lanes.insert(lane);
        endpoint.seat(seat.number, Some(key));
        Some(key)
    }

    /// Dials a lane that all clients share, or the probe that comes before it.
    pub(super) fn dial_seat(&mut self, now: Now, seat: Seat, out: &mut Effects) {
        let verdict_lasts = self.settings.limits.verdict;
        let is_done = self.drain.is_done();
        let endpoint = &mut self.endpoints[seat.endpoint];
        if is_done {
            return endpoint.seat(seat.number, None);
        }
        if !endpoint.is_ready() {
            endpoint.forget_stale_verdict(now.at, verdict_lasts);
        }
        let role = if endpoint.verdict.is_some() { Role::Shared } else { Role::Probe };
        let lane = Lane::new(endpoint.upstream, seat, role);
        let key = self.dial(now, lane, out);
        self.endpoints[seat.endpoint].seat(seat.number, Some(key));
    }

    /// Dials a lane for one client.
    pub(super) fn dial_own(
        &mut self,
        now: Now,
        endpoint: usize,
        client: super::ClientKey,
        hello: Hello,
        out: &mut Effects,
    ) -> LaneKey {
        let index = self.endpoints[endpoint].upstream;
        self.upstreams[index].own_lanes += 1;
        let mut lane = Lane::new(index, Seat::first(endpoint), Role::Own(client));
        lane.hello = Some(Box::new(hello));
        self.dial(now, lane, out)
    }

    pub(super) fn dial(&mut self, now: Now, lane: Lane, out: &mut Effects) -> LaneKey {
        let endpoint = lane.seat.endpoint;
        let wait = self.settings.limits.connect;
        let wheel = &mut self.wheel;
        let key = self.lanes.insert_with(|key| Lane {
            alarm: Some(wheel.set(now.at, wait, Alarm::Lane(key))),
            ..lane
        });
        out.push(Effect::Dial { lane: key, endpoint });
        key
    }

    /// A dial has become a link.
    pub(super) fn dialed(&mut self, now: Now, key: LaneKey, link: LinkId, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else {
            // Given up meanwhile.
            out.push(Effect::Close { link, why: "no longer needed" });
            return;
        };
        lane.link = Some(link);
        if self.drain.is_done() {
            return self.drop_lane(key, "the gateway has drained", out);
        }
        if lane.role == Role::Spare {
            if let Some(alarm) = lane.alarm.take() {
                self.wheel.cancel(alarm);
            }
            if !self.settings.upstreams[lane.upstream].warm {
                let idle = self.settings.limits.lane_idle;
                lane.alarm = Some(self.wheel.set(now.at, idle, Alarm::Parked(key)));
            }
            self.links.put(link, Peer::Lane(key));
            return;
        }
        let endpoint = lane.seat.endpoint;
        // A lane of a client's own was dialled for an era; the verdict may be in doubt since.
        let (era, role) = (lane.hello.as_deref().map(|hello| hello.version.era()), lane.role);
        self.links.put(link, Peer::Lane(key));
        if let Role::Own(client) = role {
            self.bear(key, client, out);
        }
        match era.or_else(|| self.endpoints[endpoint].era()) {
            Some(Era::Legacy) => self.initialize(now, key, out),
            Some(Era::Modern) | None => self.probe(now, key, out),
        }
    }

    /// Asks who it is, in the modern way.
    fn probe(&mut self, now: Now, key: LaneKey, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.phase = Phase::Probing;
        // Only a probe may end in the verdict "legacy", so only a probe ends before the lane's own time.
        if lane.role == Role::Probe {
            if let Some(alarm) = lane.alarm.take() {
                self.wheel.cancel(alarm);
            }
            lane.alarm = Some(self.wheel.set(now.at, self.settings.limits.probe, Alarm::Lane(key)));
        }
        let params = format!("{{\"_meta\":{{{}}}}}", request::of_the_connection(&gateway_itself()));
        self.errand(key, Errand::Probe, Method::Discover, &params, out);
    }

    /// Shakes hands, in the legacy way.
    pub(super) fn initialize(&mut self, _now: Now, key: LaneKey, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.phase = Phase::Initializing;
        let params = match &lane.hello {
            Some(hello) => format!(
                "{{\"protocolVersion\":\"{}\",\"capabilities\":{},\"clientInfo\":{}}}",
                hello.version.as_str(),
                hello.capabilities,
                hello.info
            ),
            None => format!(
                "{{\"protocolVersion\":\"{}\",\"capabilities\":{NO_CAPABILITIES},\"clientInfo\":{}}}",
                Version::LATEST_LEGACY.as_str(),
                greet::SERVER_INFO
            ),
        };
        self.errand(key, Errand::Initialize, Method::Initialize, &params, out);
    }

    /// Sends a request of the gateway's own. Those that nothing waits for have the time of any request; the lane
    /// watches over the others.
    pub(super) fn errand(
        &mut self,
        lane: LaneKey,
        errand: Errand,
        method: Method,
        params: &str,
        out: &mut Effects,
    ) -> Option<FlightKey> {
        let upstream = self.lanes.get(lane)?.upstream;
        let (wheel, now) = (&mut self.wheel, self.exchanges.now);
        let wait = self.settings.limits.request;
        let key = self.flights.insert_with(|key| Flight {
            lane: Some(lane),
            alarm: (errand == Errand::Tell).then(|| wheel.set(now, wait, Alarm::Flight(key))),
            ..Flight::new(Asker::Own(errand), upstream, method, Stage::Sent)
        });
        let id = super::flight::wire_id(self.shard, key);
        self.frame_for(lane, out, |out| {
            out.extend_from_slice(
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{}\",\"params\":{params}}}",
                    method.as_str()
                )
                .as_bytes(),
            );
        });
        Some(key)
    }

    /// Sends a notification of the gateway's own.
    pub(super) fn tell(&self, lane: LaneKey, method: &str, params: &str, out: &mut Effects) {
        self.frame_for(lane, out, |out| {
            out.extend_from_slice(
                format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}")
                    .as_bytes(),
            );
        });
    }

    /// One frame for a lane, wherever it is.
    pub(super) fn frame_for(
        &self,
        key: LaneKey,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(lane) = self.lanes.get(key) else { return };
        match (lane.role, lane.link) {
            (Role::Remote(home), _) => {
                let mut frame = Vec::new();
                write(&mut frame);
                out.push(Effect::Mail {
                    to: home,
                    mail: Mail::ToUpstream { seat: lane.seat, frame: frame.into() },
                });
            }
            (_, Some(link)) => out.send(link, write),
            (_, None) => {}
        }
    }

    /// The answer to one of the gateway's own requests.
    pub(super) fn errand_done(
        &mut self,
        now: Now,
        key: LaneKey,
        errand: Errand,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        match (errand, answer) {
            (Errand::Probe, Ok(result)) => match Identity::discovered(result) {
                Some(identity) => self.lane_ready(now, key, identity, out),
                None => self.is_legacy(now, key, out),
            },
            (Errand::Probe, Err(error)) => self.probe_refused(now, key, error, out),
            (Errand::Initialize, Ok(result)) => match Identity::initialized(result) {
                Some(identity) => {
                    self.tell(key, "notifications/initialized", "{}", out);
                    self.lane_ready(now, key, identity, out);
                }
                None => self.give_up(
                    now,
                    key,
                    "it answered initialize with a version that is not spoken here",
                    out,
                ),
            },
            (Errand::Initialize, Err(error)) => {
                let message = error.get("message").and_then(Json::as_str).unwrap_or_default();
                let why = format!("it refused initialize: {message}");
                self.give_up(now, key, &why, out);
            }
            (Errand::Listen, Ok(_)) => self.listen_ended(now, key),
            (Errand::Tools, Ok(result)) => self.tools_learnt(key, result, out),
            (Errand::Health, _) => {
                if let Some(endpoint) = self.lanes.get(key).map(|lane| lane.seat.endpoint) {
                    self.health_answered(now, endpoint);
                }
            }
            (Errand::Collect(task), _) => self.collected(task),
            (Errand::Look(task), answer) => self.looked(key, task, answer, out),
            (Errand::Tell, _) => self.catch_up(key, out),
            (Errand::Listen | Errand::Tools, _) => {}
        }
    }

    /// A modern server says so even when it refuses: with an error code that no legacy one has.
    fn probe_refused(&mut self, now: Now, key: LaneKey, error: Json<'_>, out: &mut Effects) {
        let code = error.get("code").and_then(Json::as_i64);
        if code == Some(i64::from(Code::UnsupportedVersion.number())) {
            self.give_up(now, key, "it speaks only modern versions that are not spoken here", out);
        } else {
            self.is_legacy(now, key, out);
        }
    }

    /// The verdict is in: legacy. What has been asked in the modern way may not be trusted with the
    /// old handshake (some servers have ended by now), so a new connection follows.
    fn is_legacy(&mut self, now: Now, key: LaneKey, out: &mut Effects) {
        if self.caller_finds_legacy(now, key, out) {
            return;
        }
        let Some(lane) = self.lanes.get(key) else { return };
        if lane.role != Role::Probe {
            self.give_up(
                now,
                key,
                "it does not answer server/discover although it is pinned to the modern era",
                out,
            );
            return;
        }
        let seat = lane.seat;
        self.drop_lane(key, "found to be legacy", out);
        self.endpoints[seat.endpoint].verdict = Some((Era::Legacy, now.at));
        self.dial_seat(now, seat, out);
    }

    /// A lane can be used.
    fn lane_ready(&mut self, now: Now, key: LaneKey, identity: Identity, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if let Some(alarm) = lane.alarm.take() {
            self.wheel.cancel(alarm);
        }
        lane.phase = Phase::Ready;
        lane.version = identity.version;
        lane.ready_since = Some(now.at);
        let (index, seat, role) = (lane.upstream, lane.seat, lane.role);
        if let Role::Own(client) = role {
            self.callers_lane_ready(now, client, key);
            self.own_lane_ready(client, key, out);
            self.serve_line(now, index, out);
        } else {
            lane.role = Role::Shared;
            let is_first = !self.endpoints[seat.endpoint].is_ready();
            self.endpoints[seat.endpoint].verdict.get_or_insert((identity.version.era(), now.at));
            if is_first || self.upstreams[index].balance.is_none() {
                out.report(Report::UpstreamReady {
                    upstream: self.called_endpoint(seat.endpoint),
                    version: identity.version.as_str().to_owned(),
                });
            }
            for shard in self.other_shards(seat.endpoint) {
                let identity = Box::new(identity.clone());
                out.push(Effect::Mail { to: shard, mail: Mail::UpstreamReady { seat, identity } });
            }
            self.endpoint_ready(now, seat.endpoint, identity, out);
        }
        self.watch(key, out);
        self.launch_queue(now, key, out);
        self.learn_tools(key, None, out);
    }

    /// An endpoint answers, over this shard's lane or another's.
    fn endpoint_ready(&mut self, now: Now, number: usize, identity: Identity, out: &mut Effects) {
        let features = identity.features();
        let endpoint = &mut self.endpoints[number];
        let index = endpoint.upstream;
        let was_ready = endpoint.is_ready();
        endpoint.status = Status::Ready { since: now.at };
        endpoint.verdict.get_or_insert((identity.version.era(), now.at));
        self.forget_lists(index, None);
        let upstream = &mut self.upstreams[index];
        let is_back = matches!(upstream.status, Status::Down { .. });
        if !was_ready {
            self.fill_pool(now, number, out);
            self.begin_health(now, number, out);
        }
        let upstream = &mut self.upstreams[index];
        let is_another =
            upstream.balance.is_some() && matches!(upstream.status, Status::Ready { .. });
        if is_another {
            self.another_ready(now, number, was_ready, &identity, out);
        } else {
            upstream.status = Status::Ready { since: now.at };
            upstream.identity = Some(identity);
            if let Some(balance) = &mut upstream.balance {
                balance.ready(number, now.at);
            }
        }
        let upstream = &mut self.upstreams[index];
        let waiting = std::mem::take(&mut upstream.waiting);
        self.settle_greets(out);
        for flight in waiting {
            self.relaunch(now, flight, out);
        }
        if is_back {
            self.lists_changed(index, features, out);
        }
        match (self.endpoints[number].era(), self.upstreams[index].spare) {
            (Some(Era::Modern), Some(spare)) => self.parked_due(spare, out),
            _ if self.settings.upstreams[index].warm => self.start_spare(now, index, out),
            _ => {}
        }
    }

    /// A lane has not become ready in time.
    pub(super) fn lane_overdue(&mut self, now: Now, key: LaneKey, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.alarm = None;
        if lane.role == Role::Probe && lane.phase == Phase::Probing {
            // Silence is a legacy server's answer too.
            self.is_legacy(now, key, out);
        } else {
            self.give_up(now, key, "it did not answer in the time of the limit connect", out);
        }
    }

    /// We end a lane and try again later.
    pub(super) fn give_up(&mut self, now: Now, key: LaneKey, why: &str, out: &mut Effects) {
        if let Some(link) = self.lanes.get(key).and_then(|lane| lane.link) {
            self.links.take(link);
            out.push(Effect::Close { link, why: "given up" });
        }
        self.lane_lost(now, key, why, true, out);
    }

    /// We end a lane that nobody uses, or whose flights have been seen to.
    pub(super) fn drop_lane(&mut self, key: LaneKey, why: &'static str, out: &mut Effects) {
        let Some(lane) = self.lanes.remove(key) else { return };
        self.forget_tasks_of(key);
        if let Some(alarm) = lane.alarm {
            self.wheel.cancel(alarm);
        }
        if let Some(link) = lane.link {
            self.links.take(link);
            out.push(Effect::Close { link, why });
        }
        if matches!(lane.role, Role::Own(_) | Role::Parked | Role::Spare) {
            let upstream = &mut self.upstreams[lane.upstream];
            upstream.own_lanes = upstream.own_lanes.saturating_sub(1);
        }
        for flight in self.flights_of(key) {
            self.end_with_lane(flight, out);
        }
    }

    /// A flight whose lane is gone for good: what a client asked there about a task is answered, what we asked is not.
    fn end_with_lane(&mut self, key: FlightKey, out: &mut Effects) {
        if self.flights.get(key).is_some_and(|flight| flight.client().is_some()) {
            let message =
                "the connection that the task lived behind has ended, and the task with it";
            self.fail(key, Code::ServerUnavailable, message, out);
        } else {
            self.flights.remove(key);
        }
    }

    /// A lane is gone. `could_spawn`: there was something at the other end at all.
    pub(super) fn lane_lost(
        &mut self,
        now: Now,
        key: LaneKey,
        why: &str,
        could_spawn: bool,
        out: &mut Effects,
    ) {
        let Some(lane) = self.lanes.remove(key) else { return };
        self.forget_tasks_of(key);
        if let Some(alarm) = lane.alarm {
            self.wheel.cancel(alarm);
        }
        let (index, seat) = (lane.upstream, lane.seat);
        if lane.role == Role::Probe && lane.phase == Phase::Probing {
            // It ended rather than answer: some legacy servers do.
            for flight in self.flights_of(key) {
                self.flights.remove(flight);
            }
            self.endpoints[seat.endpoint].verdict = Some((Era::Legacy, now.at));
            self.dial_seat(now, seat, out);
            return;
        }
        match lane.role {
            Role::Own(client) => {
                self.callers_lane_lost(index, seat.endpoint, (lane.phase, why), out);
                let upstream = &mut self.upstreams[index];
                upstream.own_lanes = upstream.own_lanes.saturating_sub(1);
                let again = self.fail_lane(now, key, seat.endpoint, out);
                self.own_lane_lost(client, key, out);
                self.serve_line(now, index, out);
                self.go_again(now, seat.endpoint, again, out);
            }
            Role::Shared | Role::Probe => {
                self.endpoints[seat.endpoint].seat(seat.number, None);
                if lane.phase == Phase::Initializing && !self.has_ready_seat(seat.endpoint) {
                    self.endpoints[seat.endpoint].doubt_verdict();
                }
                let steady = lane.ready_since.is_some_and(|since| now.at.since(since) >= STEADY);
                let endpoint = &mut self.endpoints[seat.endpoint];
                let retry = if steady {
                    endpoint.failures = 0;
                    endpoint.retry_after(could_spawn)
                } else {
                    let retry = endpoint.retry_after(could_spawn);
                    endpoint.failures = endpoint.failures.saturating_add(1);
                    retry
                };
                let retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
                let was_down = matches!(endpoint.status, Status::Down { .. });
                let again = self.fail_lane(now, key, seat.endpoint, out);
                let is_down = self.endpoint_down(now, seat.endpoint, why, out);
                if is_down && !was_down {
                    out.report(Report::UpstreamDown {
                        upstream: self.called_endpoint(seat.endpoint),
                        why: why.to_owned(),
                        retry_ms,
                    });
                }
                for shard in self.other_shards(seat.endpoint) {
                    let mail = Mail::UpstreamDown { seat, why: why.to_owned(), retry_ms };
                    out.push(Effect::Mail { to: shard, mail });
                }
                self.go_again(now, seat.endpoint, again, out);
                if self.drain.has_begun() || seat.number >= self.seats_min(seat.endpoint) {
                    return;
                }
                if retry.is_zero() {
                    self.redial(now, seat, out);
                } else {
                    self.wheel.set(now.at, retry, Alarm::Redial(seat));
                }
            }
            Role::Parked | Role::Spare => {
                let upstream = &mut self.upstreams[index];
                upstream.own_lanes = upstream.own_lanes.saturating_sub(1);
                upstream.parked.retain(|&parked| parked != key);
                upstream.spare.take_if(|spare| *spare == key);
                for flight in self.flights_of(key) {
                    self.end_with_lane(flight, out);
                }
            }
            Role::Remote(_) => {}
        }
    }

    /// A shared lane is gone. Whether its endpoint is not there any more, as far as those can tell.
    fn endpoint_down(&mut self, now: Now, number: usize, why: &str, out: &mut Effects) -> bool {
        if self.has_ready_seat(number) {
            // Another of its lanes may be the one to listen on now.
            self.listen_again(self.endpoints[number].upstream, out);
            return false;
        }
        let endpoint = &mut self.endpoints[number];
        endpoint.status = Status::Down { why: why.to_owned() };
        let index = endpoint.upstream;
        if self.others_remain(now, index, out) {
            return true;
        }
        self.forget_lists(index, None);
        let upstream = &mut self.upstreams[index];
        upstream.status = Status::Down { why: why.to_owned() };
        let waiting = std::mem::take(&mut upstream.waiting);
        for flight in waiting {
            self.fail_unavailable(flight, out);
        }
        self.settle_greets(out);
        true
    }

    /// A stream of news is over. It may be at any time; not so often that we would be kept busy by it.
    pub(super) fn listen_ended(&mut self, now: Now, key: LaneKey) {
        if let Some(lane) = self.lanes.get_mut(key)
            && lane.listen.is_some_and(|listen| !self.flights.contains(listen))
        {
            lane.listen = None;
            self.wheel.set(now.at, STEADY, Alarm::Listen(key));
        }
    }

    /// Time to try again.
    pub(super) fn redial(&mut self, now: Now, seat: Seat, out: &mut Effects) {
        let is_free = self.lane_in(seat).is_none();
        let endpoint = &self.endpoints[seat.endpoint];
        // It may have been set for another, which lived here.
        let is_home = endpoint.home == self.shard;
        let is_retired = self.upstreams[endpoint.upstream].is_retired;
        if is_free && is_home && !is_retired && !self.drain.has_begun() {
            self.dial_seat(now, seat, out);
        }
    }

    /// The lane that sits there.
    pub(super) fn lane_in(&self, seat: Seat) -> Option<LaneKey> {
        self.endpoints.get(seat.endpoint)?.seats.get(seat.number).copied().flatten()
    }

    /// All flights on a lane, in the order of their slots.
    pub(super) fn flights_of(&self, lane: LaneKey) -> Vec<FlightKey> {
        self.flights
            .iter()
            .filter(|(_, flight)| flight.lane == Some(lane))
            .map(|(key, _)| key)
            .collect()
    }

    /// Every flight on a lane that is gone gets its one error, but for those that may be made again
    /// elsewhere, which are given back; questions of it are taken back.
    fn fail_lane(
        &mut self,
        now: Now,
        key: LaneKey,
        endpoint: usize,
        out: &mut Effects,
    ) -> Vec<FlightKey> {
        // One failure, however many calls were under way.
        let had_calls = self.flights.iter().any(|(_, flight)| {
            flight.lane == Some(key) && flight.is_sent() && !matches!(flight.asker, Asker::Own(_))
        });
        if had_calls && !self.drain.has_begun() {
            self.call_failed(now, endpoint, out);
        }
        let index = self.endpoints[endpoint].upstream;
        let mut again = Vec::new();
        // Before the answers of the calls that asked, on whose streams the questions are.
        self.withdraw_asks(key, out);
        for flight in self.flights_of(key) {
            let Some(flown) = self.flights.get_mut(flight) else { continue };
            if matches!(flown.stage, Stage::Asking(_)) {
                // A modern call is whole in itself: its retry can go to the next connection.
                flown.lane = None;
                continue;
            }
            if self.may_go_again(flight) {
                again.push(flight);
                continue;
            }
            self.fail(
                flight,
                Code::ServerUnavailable,
                &format!(
                    "upstream {} has gone; the gateway's log says why",
                    self.upstreams[index].name
                ),
                out,
            );
        }
        again
    }

    /// The shards that use an endpoint's shared lanes besides their home.
    pub(super) fn other_shards(&self, endpoint: usize) -> Vec<ShardId> {
        let shards = if self.endpoints[endpoint].is_stdio { self.settings.shards } else { 0 };
        (0..shards).map(ShardId).filter(|&shard| shard != self.shard).collect()
    }

    /// Mail from another shard.
    pub(super) fn mail(&mut self, now: Now, from: ShardId, mail: Mail, out: &mut Effects) {
        match mail {
            Mail::ToUpstream { seat, frame } => {
                let lane = self.lane_in(seat);
                let ready = lane.filter(|&key| self.lanes.get(key).is_some_and(Lane::is_ready));
                // What is no request (a cancellation) is small, and makes room rather than take it.
                let blocked =
                    ready.and_then(|key| self.lanes.get(key)).is_none_or(|lane| lane.blocked);
                if !(blocked && refuse_mail(from, seat, &frame, out))
                    && let Some(key) = ready
                {
                    self.frame_for(key, out, |out| out.extend_from_slice(&frame));
                }
            }
            Mail::FromUpstream { seat, frame } => {
                if let Some(lane) = self.lane_in(seat) {
                    self.lane_frame(now, lane, &frame, out);
                }
            }
            Mail::UpstreamReady { seat, identity } => {
                if self.endpoints.get(seat.endpoint).is_none_or(|endpoint| endpoint.has_ended) {
                    return;
                }
                let Some(key) = self.lane_in(seat).or_else(|| self.seat_remote(seat)) else {
                    return;
                };
                let Some(lane) = self.lanes.get_mut(key) else { return };
                lane.phase = Phase::Ready;
                lane.version = identity.version;
                // The home shard found it; an older verdict of ours is no longer true.
                self.endpoints[seat.endpoint].verdict = Some((identity.version.era(), now.at));
                self.endpoint_ready(now, seat.endpoint, *identity, out);
                self.watch(key, out);
                self.launch_queue(now, key, out);
            }
            Mail::UpstreamDown { seat, why, retry_ms: _ } => {
                let Some(key) = self.lane_in(seat) else { return };
                if let Some(lane) = self.lanes.get_mut(key) {
                    lane.phase = Phase::Dialing;
                    lane.retiring = None;
                }
                let again = self.fail_lane(now, key, seat.endpoint, out);
                self.endpoint_down(now, seat.endpoint, &why, out);
                self.go_again(now, seat.endpoint, again, out);
            }
            Mail::Send { link, bytes } => {
                out.send_raw(link, &bytes);
            }
            Mail::Respond { link, status, headers, bytes } => {
                self.links.take(link);
                let bytes = out.put(&bytes);
                out.push(Effect::Respond { link, status, headers, bytes });
            }
            Mail::Stream { link, headers } => out.push(Effect::Stream { link, headers }),
            Mail::Close { link, why } => {
                self.links.take(link);
                out.push(Effect::Close { link, why });
            }
            Mail::Mirrors { upstream, mirrors, harmless, task_tools } => {
                if let Some(upstream) = self.upstreams.get_mut(upstream) {
                    upstream.mirrors = mirrors;
                    upstream.harmless = harmless;
                    upstream.task_tools = task_tools;
                }
            }
            Mail::Exchange { link, carried } => self.carried(now, link, &carried, out),
            Mail::Gone { link } => {
                if let Some(key) = self.foreign.remove(&link) {
                    self.exchange_broke(now, key, out);
                }
            }
            Mail::Behind { link, is_behind } => {
                if let Some(&key) = self.foreign.get(&link) {
                    self.exchange_behind(now, key, is_behind, out);
                }
            }
            Mail::Dismissed { link, is_overdue } => {
                self.dismissed_here(now, link, is_overdue, out);
            }
            Mail::LeaseAsked { budget, used, wanted } => {
                if let Some(governor) = &mut self.governor {
                    governor.asked(now.at, from, (budget, used, wanted), out);
                }
            }
            Mail::Violation { link } => out.push(Effect::Violation { link }),
            Mail::Violated { address } => self.violated_here(now, address, out),
            Mail::ShutOut { address, time } => self.shut_out(now, address, time, out),
            Mail::Leased { budget, tokens, wait } => {
                if let Some(governor) = &mut self.governor {
                    governor.leased(now.at, budget, tokens, wait);
                }
            }
            Mail::Met { endpoint } => self.tell_of(from, endpoint, out),
            Mail::Left { endpoint } => self.has_left(from, endpoint),
            Mail::Ended { endpoint } => self.ended_at_home(now, endpoint),
            Mail::Drained => self.other_drained(),
            Mail::Crowded { endpoint } => {
                if self.endpoints.get(endpoint).is_some_and(|it| it.home == self.shard) {
                    self.pool_grows(now, endpoint, out);
                }
            }
            Mail::Retire { seat, round } => self.retire(now, seat, round, out),
            Mail::Reinstated { seat } => self.reinstated(seat),
            Mail::Vacated { seat, round } => self.vacated(seat, round),
            Mail::Want { endpoint, uris } => self.remote_want(from, endpoint, uris, out),
        }
    }
}

/// A request from another shard that the shared lane cannot take just now gets its error here; false
/// for what is no request.
fn refuse_mail(from: ShardId, seat: Seat, frame: &[u8], out: &mut Effects) -> bool {
    let read = envelope::read(frame);
    if let Ok(Frame::One(Message::Request { id, .. })) = read {
        let mut answer = Vec::new();
        let message = "the upstream does not take requests just now; try again later";
        error::write(&mut answer, id.text(), Code::ServerUnavailable.number(), message, None);
        let mail = Mail::FromUpstream { seat, frame: answer.into() };
        out.push(Effect::Mail { to: from, mail });
        return true;
    }
    false
}

/// What the gateway says of itself to a modern upstream.
pub(super) const fn gateway_itself() -> request::Remembered<'static> {
    request::Remembered { capabilities: NO_CAPABILITIES, info: greet::SERVER_INFO, level: None }
}
