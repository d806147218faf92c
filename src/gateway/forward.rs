//! Requests to upstreams: a flight is opened, finds its lane and is sent; how it ends is `ending`. Who may ask for what
//! was decided before.

use std::time::Duration;

use super::client::{ClientKey, Front, OwnLane};
use super::door::{Effect, Effects};
use super::flight::{Asker, Flight, FlightKey, Retry, Stage, wire_id};
use super::lane::{Hello, LaneKey};
use super::principal::Principal;
use super::settings::Share;
use super::task::Extras;
use super::timer::Alarm;
use super::upstream::Status;
use super::{Gateway, request};
use crate::base::Now;
use crate::mcp::{Askable, Code, Era, LogLevel, Method, Params, Version};
use crate::wire::Json;

/// Whom a request is from: era, what it can be asked, logs it wants, and what to say of it upstream.
type Said<'a> = (Era, Askable, Option<LogLevel>, Version, &'a str, &'a str);

/// Where a request can go.
pub(super) enum Choice {
    Send(LaneKey),
    /// The lane is being set up.
    Queue(LaneKey),
    /// It is not known yet what the upstream speaks.
    Wait,
    /// Enough servers are being started: one of them will be free.
    Line,
    Unavailable(String),
    /// Not for this caller.
    Refused(String),
}

impl Gateway {
    /// Opens a flight for a client's request and sends it as soon as can be.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request; a struct would be built to be taken apart"
    )]
    pub(super) fn launch(
        &mut self,
        now: Now,
        asker: Asker,
        upstream: usize,
        method: Method,
        params: Json<'_>,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) -> Option<FlightKey> {
        let client = match &asker {
            Asker::Client { client, .. } | Asker::Gather { client, .. } => *client,
            Asker::Own(_) | Asker::Fetch(_) | Asker::Quorum { .. } => return None,
        };
        if let Some(why) = self.too_many(client) {
            let key = self.open(now, asker, client, upstream, method, parsed);
            self.fail(key, Code::Internal, why, out);
            return None;
        }
        let key = self.open(now, asker, client, upstream, method, parsed);
        self.pause_if_many(client, out);
        // Where there is a choice of endpoints, each is asked when one is picked.
        if self.upstreams[upstream].balance.is_none()
            && let Err(wait) = self.only_endpoint(upstream).breaker.admit(now.at)
        {
            let message = refused_by_breaker(&self.upstreams[upstream].name, wait);
            self.fail(key, Code::ServerUnavailable, &message, out);
            return None;
        }
        self.place(now, key, Some(client), params, parsed, out);
        Some(key)
    }

    pub(super) fn open(
        &mut self,
        now: Now,
        asker: Asker,
        client: ClientKey,
        upstream: usize,
        method: Method,
        parsed: &Params<'_>,
    ) -> FlightKey {
        let token = match asker {
            Asker::Client { .. } | Asker::Quorum { .. } => {
                parsed.meta.progress_token.map(|token| token.text().into())
            }
            _ => None,
        };
        let (audit, span) = (self.audit.take(), self.span.take());
        let mut execution = self.execution.take();
        let chore = self.chore.take();
        let mut wait = self.settings.limits.request;
        if let Some(execution) = &mut execution {
            execution.begin(now.at);
            wait = execution.timeout.unwrap_or(wait);
        }
        let wheel = &mut self.wheel;
        let place = self.clients.get(client).map_or(0, |client| client.flights.len());
        let key = self.flights.insert_with(|key| Flight {
            token,
            level: parsed.meta.level(),
            alarm: Some(wheel.set(now.at, wait, Alarm::Flight(key))),
            place,
            begun: now.at,
            audit,
            span,
            execution,
            chore,
            ..Flight::new(asker, upstream, method, Stage::Waiting)
        });
        if let Some(client) = self.clients.get_mut(client) {
            client.flights.push(key);
        }
        key
    }

    /// Finds a lane for an open flight, and sends, queues or fails it. Without a client it goes over the shared one.
    pub(super) fn place(
        &mut self,
        now: Now,
        key: FlightKey,
        client: Option<ClientKey>,
        params: Json<'_>,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) {
        let Some(flight) = self.flights.get(key) else { return };
        let upstream = flight.upstream;
        match self.choose(now, key, client, upstream, flight.method, parsed, out) {
            Choice::Send(lane) => self.send(now, key, lane, params, parsed, out),
            Choice::Queue(lane) => {
                self.keep_params(key, params);
                if let Some(flight) = self.flights.get_mut(key) {
                    flight.lane = Some(lane);
                }
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.queue.push(key);
                }
            }
            Choice::Wait => {
                self.keep_params(key, params);
                self.upstreams[upstream].waiting.push(key);
            }
            Choice::Line => {
                self.keep_params(key, params);
                let line = &mut self.upstreams[upstream].line;
                // Those that have gone meanwhile.
                while line.front().is_some_and(|first| !self.flights.contains(*first)) {
                    line.pop_front();
                }
                line.push_back(key);
            }
            Choice::Unavailable(why) => self.fail(key, Code::ServerUnavailable, &why, out),
            Choice::Refused(why) => self.fail(key, Code::CallerRefused, &why, out),
        }
    }

    /// A flight that waited: its lane may be known now.
    pub(super) fn relaunch(&mut self, now: Now, key: FlightKey, out: &mut Effects) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let client = flight.lane_client();
        let Some(params) = flight.params.take() else { return };
        let Ok(json) = Json::parse(&params) else { return };
        let parsed = Params::read(json);
        if !self.join_list(now, key, &parsed, out) {
            self.place(now, key, client, json, &parsed, out);
        }
    }

    /// A lane has become ready: what waited for it goes out.
    pub(super) fn launch_queue(&mut self, now: Now, lane: LaneKey, out: &mut Effects) {
        let Some(found) = self.lanes.get_mut(lane) else { return };
        for key in std::mem::take(&mut found.queue) {
            let Some(flight) = self.flights.get_mut(key) else { continue };
            let Some(params) = flight.params.take() else { continue };
            let Ok(json) = Json::parse(&params) else { continue };
            self.send(now, key, lane, json, &Params::read(json), out);
        }
    }

    /// The lane that serves this client's request at this upstream; dialled if it must be its own.
    #[expect(clippy::too_many_arguments, reason = "who asks for what, and the tables it changes")]
    fn choose(
        &mut self,
        now: Now,
        key: FlightKey,
        client: Option<ClientKey>,
        index: usize,
        method: Method,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) -> Choice {
        if self.is_for_callers(index) {
            return self.choose_for_caller(now, key, client, (method, parsed), out);
        }
        let is_task_call = match self.flights.get(key).and_then(|flight| flight.chore.as_deref()) {
            None => false,
            Some(chore) if chore.is_call() => true,
            Some(_) => {
                return self.choose_for_task(key).unwrap_or(Choice::Wait);
            }
        };
        let number = match self.pick(now, key, client, index, method, parsed) {
            Ok(number) => number,
            Err(choice) => return choice,
        };
        let endpoint = &self.endpoints[number];
        let name = &self.upstreams[index].name;
        let Some(era) = endpoint.era() else {
            return match &endpoint.status {
                Status::Down { .. } => Choice::Unavailable(unavailable(name)),
                _ => Choice::Wait,
            };
        };
        // A task of a modern server outlives its call's connection, and has no logs.
        if let Some(client) = client.filter(|_| !is_task_call || era == Era::Legacy)
            && let Some(own) = self.needs_own(client, index, era, method, parsed)
        {
            return self.own_lane(now, client, number, own, out);
        }
        match (&endpoint.status, self.lane_for(number)) {
            (Status::Down { .. }, _) => Choice::Unavailable(unavailable(name)),
            (Status::Ready { .. }, Some(lane))
                if self.lanes.get(lane).is_some_and(|lane| lane.blocked) =>
            {
                Choice::Unavailable(does_not_read(name))
            }
            (Status::Ready { .. }, Some(lane)) => Choice::Send(lane),
            _ => Choice::Wait,
        }
    }

    /// What to say of the client on a lane of its own, if it needs one here.
    pub(super) fn needs_own(
        &self,
        client: ClientKey,
        index: usize,
        era: Era,
        method: Method,
        parsed: &Params<'_>,
    ) -> Option<Hello> {
        let spec = &self.settings.upstreams[index];
        if spec.share == Share::Always || self.upstreams[index].is_builtin {
            return None;
        }
        let shares = spec.share != Share::Never;
        let client = self.clients.get(client).filter(|client| shares || client.proof.is_some())?;
        // A client of one exchange hands its connection on with its end; a stream has none.
        if shares && matches!(client.front, Front::Exchange(_)) && method == Method::Listen {
            return None;
        }
        let principal = client.who.principal;
        let session = client.session.as_deref();
        let (asker, askable, level, version, capabilities, info): Said<'_> = match session {
            Some(session) if !parsed.meta.is_modern() => (
                Era::Legacy,
                session.askable,
                session.level,
                session.version,
                &session.capabilities,
                &session.info,
            ),
            _ => (
                Era::Modern,
                parsed.meta.askable(),
                parsed.meta.level(),
                Version::LATEST_LEGACY,
                parsed.meta.capabilities.map_or("{}", Json::text),
                parsed.meta.client_info.map_or(super::greet::SERVER_INFO, Json::text),
            ),
        };
        match era {
            Era::Legacy if !shares || askable.any() || level.is_some() => Some(Hello {
                principal,
                era: asker,
                version,
                capabilities: capabilities.into(),
                info: info.into(),
            }),
            // A modern server asks inside its answers; but its logs on a shared stream name no request.
            Era::Modern if !shares || level.is_some() => {
                let info = super::greet::SERVER_INFO.into();
                Some(Hello {
                    principal,
                    era: asker,
                    version: Version::LATEST,
                    capabilities: "{}".into(),
                    info,
                })
            }
            _ => None,
        }
    }

    pub(super) fn own_lane(
        &mut self,
        now: Now,
        client: ClientKey,
        endpoint: usize,
        hello: Hello,
        out: &mut Effects,
    ) -> Choice {
        let index = self.endpoints[endpoint].upstream;
        let found = self.clients.get(client).and_then(|client| {
            client.own_lane(index, &hello.capabilities, |lane| self.is_at(lane, endpoint))
        });
        if let Some(key) = found {
            return match self.lanes.get(key) {
                Some(lane) if lane.blocked => {
                    Choice::Unavailable(does_not_read(&self.upstreams[index].name))
                }
                Some(lane) if lane.is_ready() => Choice::Send(key),
                _ => Choice::Queue(key),
            };
        }
        let parked = self.parked_lane(client, index, &hello);
        if parked.is_none() && self.must_line_up(client, index) {
            return Choice::Line;
        }
        if parked.is_none()
            && let Some(why) = self.lacks_room(client, index, hello.principal, out)
        {
            if self.waits_for_room(client, index) {
                return Choice::Line;
            }
            return Choice::Unavailable(why);
        }
        let capabilities = hello.capabilities.clone();
        let lane = match parked {
            Some(lane) => {
                self.bear(lane, client, out);
                lane
            }
            None => self.fresh_lane(now, endpoint, client, hello, out),
        };
        if let Some(client) = self.clients.get_mut(client) {
            client.lanes.push(OwnLane { upstream: index, capabilities, lane });
        }
        if self.lanes.get(lane).is_some_and(super::lane::Lane::is_ready) {
            return Choice::Send(lane);
        }
        Choice::Queue(lane)
    }

    /// Why there can be no lane more for a client, if so. One that waits for who needs something else makes room.
    fn lacks_room(
        &mut self,
        client: ClientKey,
        index: usize,
        principal: Principal,
        out: &mut Effects,
    ) -> Option<String> {
        if self.has_its_share(client, index) {
            if let Some(oldest) = self.dispensable_lane(index, Some(principal)) {
                self.parked_due(oldest, out);
            }
            if self.has_its_share(client, index) {
                return Some(format!(
                    "upstream {} has as many connections for one caller as there may be: half of the limit lanes_max",
                    self.upstreams[index].name
                ));
            }
        }
        let max = self.settings.limits.lanes_max;
        if self.upstreams[index].own_lanes >= max
            && let Some(oldest) = self.dispensable_lane(index, None)
        {
            self.parked_due(oldest, out);
        }
        (self.upstreams[index].own_lanes >= max).then(|| {
            format!(
                "upstream {} has as many connections of clients' own as the limit lanes_max allows; \
                 raise it, or set share = \"always\"",
                self.upstreams[index].name
            )
        })
    }

    /// The client's own lane, dialled if there is none; `None` where it cannot have one.
    pub(super) fn own_lane_key(
        &mut self,
        now: Now,
        client: ClientKey,
        endpoint: usize,
        hello: Hello,
        out: &mut Effects,
    ) -> Option<LaneKey> {
        let capabilities = hello.capabilities.clone();
        self.own_lane(now, client, endpoint, hello, out);
        let index = self.endpoints[endpoint].upstream;
        let is_at = |lane| self.is_at(lane, endpoint);
        self.clients.get(client)?.own_lane(index, &capabilities, is_at)
    }

    fn is_at(&self, lane: LaneKey, endpoint: usize) -> bool {
        self.lanes.get(lane).is_none_or(|lane| lane.seat.endpoint == endpoint)
    }

    /// A client's own lane is ready: it is told what the session remembers.
    pub(super) fn own_lane_ready(&mut self, client: ClientKey, lane: LaneKey, out: &mut Effects) {
        let level = self.clients.get(client).and_then(|client| client.session.as_ref()?.level);
        if let Some(level) = level {
            self.set_lane_level(lane, level, out);
        }
    }

    pub(super) fn own_lane_lost(&mut self, client: ClientKey, lane: LaneKey, out: &mut Effects) {
        let Some(client) = self.clients.get_mut(client) else { return };
        client.lanes.retain(|own| own.lane != lane);
        // What it watched there goes on over the shared lane, which comes back by itself.
        let of_session = client.session.iter_mut().flat_map(|s| s.subscriptions.iter_mut());
        let of_listens = client.listens.iter_mut().flat_map(|listen| listen.uris.iter_mut());
        let mut moved = Vec::new();
        for watched in of_session.chain(of_listens).filter(|it| it.own == Some(lane)) {
            watched.own = None;
            moved.push(watched.clone());
        }
        self.want(&moved, out);
    }

    /// Writes the request to its lane.
    pub(super) fn send(
        &mut self,
        now: Now,
        key: FlightKey,
        lane: LaneKey,
        params: Json<'_>,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) {
        if self.lanes.get(lane).is_some_and(|lane| lane.client().is_some())
            && parsed.meta.is_modern()
            && self.put_pending_asks(now, key, lane, params, out)
        {
            return;
        }
        let mut extras = Extras::default();
        if self.flights.get(key).is_some_and(|flight| flight.chore.is_some()) {
            match self.send_chore(now, key, lane, params, parsed, out) {
                Some(besides) => extras = besides,
                None => return,
            }
        }
        let (Some(flight), Some(to)) = (self.flights.get_mut(key), self.lanes.get(lane)) else {
            return;
        };
        flight.lane = Some(lane);
        flight.stage = Stage::Sent;
        flight.sent = now.at;
        let retry = flight.retry.take();
        let (method, index, level, target) =
            (flight.method, flight.upstream, flight.level, to.era());
        let is_named_as_there = flight.execution.is_some();
        let is_own = to.client().is_some();
        let from = if parsed.meta.is_modern() { Era::Modern } else { Era::Legacy };
        let client = flight.client();
        let is_client = matches!(flight.asker, Asker::Client { .. });
        let is_unaskable = matches!(flight.asker, Asker::Quorum { .. });
        if from == Era::Legacy && target == Era::Modern && method.may_ask() && is_client {
            // The upstream may ask back, and then wants the call again.
            flight.params = Some(params.text().into());
        }
        if let Some(level) = level.filter(|_| target == Era::Legacy && is_own)
            && self.lanes.get(lane).is_some_and(|lane| lane.level != Some(level))
        {
            self.set_lane_level(lane, level, out);
        }
        let renamed = if is_named_as_there { None } else { self.own_name(method, index, parsed) };
        if self.upstreams[index].balance.is_some() {
            let called = request::named(method, parsed).and_then(Json::as_str);
            let name = renamed.as_deref().or(called.as_deref());
            self.depart(now, key, lane, params, name, out);
        }
        let trace = self.trace_members(now, key);
        // A retry of a call that we held ourselves never comes this way; any other state is the upstream's.
        let session = client.and_then(|client| self.clients.get(client)?.session.as_deref());
        let translation = request::Translation {
            wire_id: wire_id(self.shard, key),
            method,
            from,
            to: target,
            remembered: session.map(|session| request::Remembered {
                capabilities: match extras.capabilities.as_deref() {
                    _ if is_unaskable => "{}",
                    kept => kept.unwrap_or(&session.capabilities),
                },
                info: &session.info,
                level: session.level.filter(|_| !is_unaskable),
            }),
            renamed: renamed.as_deref(),
            retry: retry.as_deref().map(|retry| (&*retry.answers, retry.state.as_deref())),
            extra: extras.member,
            trace: trace.as_deref(),
        };
        self.frame_for(lane, out, |out| request::write(out, &translation, params, parsed));
    }

    /// What the upstream itself calls the thing, where that differs.
    pub(super) fn own_name(
        &self,
        method: Method,
        index: usize,
        parsed: &Params<'_>,
    ) -> Option<String> {
        if !self.routes.renames(index) {
            return None;
        }
        let called = request::named(method, parsed)?.as_str()?;
        let is_uri = match method {
            Method::ResourcesRead => true,
            Method::Complete => parsed.reference?.get("name").is_none(),
            _ => false,
        };
        let own = if is_uri {
            self.routes.own_uri(index, &called)
        } else {
            self.routes.own_name(index, &called)
        };
        own.map(str::to_owned)
    }

    /// Sends a call again, under a new id, with what its upstream asked for.
    pub(super) fn resend(
        &mut self,
        now: Now,
        key: FlightKey,
        answers: &str,
        state: Option<&str>,
        out: &mut Effects,
    ) {
        let Some(key) = self.rekey(now, key) else { return };
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Waiting;
        flight.lane = None;
        flight.trip.stays = flight.trip.on.map(|(_, endpoint, _)| endpoint);
        flight.retry =
            Some(Box::new(Retry { answers: answers.into(), state: state.map(Into::into) }));
        self.relaunch(now, key, out);
    }

    /// Gives a flight a new key, and with it a new id: a retry is a request of its own.
    pub(super) fn rekey(&mut self, now: Now, key: FlightKey) -> Option<FlightKey> {
        let mut flight = self.flights.remove(key)?;
        if let Some(alarm) = flight.alarm.take() {
            self.wheel.cancel(alarm);
        }
        let (client, place) = (flight.client(), flight.place);
        let wait = flight.begin(now.at, self.settings.limits.request);
        let wheel = &mut self.wheel;
        let new = self.flights.insert_with(|key| Flight {
            alarm: Some(wheel.set(now.at, wait, Alarm::Flight(key))),
            ..flight
        });
        if let Some(entry) =
            client.and_then(|client| self.clients.get_mut(client)?.flights.get_mut(place))
        {
            *entry = new;
        }
        Some(new)
    }

    /// A flight is due after this time, whatever was said before.
    pub(super) fn set_due(&mut self, now: Now, key: FlightKey, wait: Duration) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let alarm = self.wheel.set(now.at, wait, Alarm::Flight(key));
        if let Some(before) = flight.alarm.replace(alarm) {
            self.wheel.cancel(before);
        }
    }

    pub(super) fn keep_params(&mut self, key: FlightKey, params: Json<'_>) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.params = Some(params.text().into());
        }
    }

    /// Why one flight more cannot be, if so.
    pub(super) fn too_many(&self, client: ClientKey) -> Option<&'static str> {
        self.too_many_at_once(client, 1)
    }

    /// Why so many flights more for one request cannot be, if so.
    pub(super) fn too_many_at_once(
        &self,
        client: ClientKey,
        flights: usize,
    ) -> Option<&'static str> {
        let limits = &self.settings.limits;
        if self.flights.len() + flights > limits.flights_max {
            return Some("too many requests are under way: limit flights_max; try again later");
        }
        // Otherwise its reading stops in time. What a stopped reader had read already is taken: the rest of a batch, each
        // of which may be several flights.
        let most = limits.flights_per_link_max;
        let rest = most.saturating_add(limits.batch_messages_max);
        self.clients
            .get(client)
            .is_some_and(|client| {
                let more = if client.paused { rest } else { 0 };
                client.flights.len() >= most.saturating_add(more)
            })
            .then_some(
                "too many requests of this connection are under way: limit flights_per_link_max; \
                 answer what was asked, or try again later",
            )
    }

    /// Stops reading from a client with too many flights. Not from one that was asked something: its
    /// answer is what they wait for.
    pub(super) fn pause_if_many(&mut self, key: ClientKey, out: &mut Effects) {
        let Some(client) = self.clients.get(key) else { return };
        let is_asked = || {
            self.asks.iter().any(|(_, ask)| ask.client == key)
                || client.flights.iter().any(|&flight| {
                    let flight = self.flights.get(flight);
                    flight.is_some_and(|flight| matches!(flight.stage, Stage::Held(_)))
                })
        };
        if client.paused
            || client.flights.len() < self.settings.limits.flights_per_link_max
            || is_asked()
        {
            return;
        }
        // An exchange is one request; how many there are at once its connection bounds.
        let Some(link) = client.link() else { return };
        out.push(Effect::Pause { link });
        if let Some(client) = self.clients.get_mut(key) {
            client.paused = true;
        }
    }

    /// A client has been asked something: its answer must be read.
    pub(super) fn hear_answer(&mut self, client: ClientKey, out: &mut Effects) {
        if let Some(client) = self.clients.get_mut(client)
            && std::mem::take(&mut client.paused)
            && let Some(link) = client.link()
        {
            out.push(Effect::Resume { link });
        }
    }
}

/// Why is the operator's to know, from the log: it names commands and addresses.
pub(super) fn unavailable(name: &str) -> String {
    format!("upstream {name} is not available; the gateway's log says why")
}

pub(super) fn does_not_read(name: &str) -> String {
    format!("upstream {name} does not read: limit upstream_outbox_bytes_max; try again later")
}

pub(super) fn refused_by_breaker(name: &str, wait: Duration) -> String {
    let wait = wait.as_millis();
    format!(
        "upstream {name} has failed too often in a row: limit breaker_failures; try again in {wait} ms"
    )
}
