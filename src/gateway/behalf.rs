//! On whose behalf: upstreams that are asked with tokens exchanged for those of their callers (RFC 8693;
//! `share` is [`Share::Never`]). Nobody shares anything there: each client has lanes of its own, whatever the
//! upstream's era, and a lane that is left waits for another client of the same principal alone. What the server
//! lists, says of itself and means by its tools' schemas is one caller's, so none of it is kept. Of the lanes that
//! `lanes_max` allows, one principal has half at most, and where there are no more, who comes takes the place of one
//! that waits, of whoever has most.
//!
//! Nothing is asked before somebody is there to ask for: there is no shared lane, no probe, no health check. The era
//! is found on the first caller's own lane.
//!
//! The domain keeps what a client was proved by and says which lane is whose ([`Effect::Bear`]). Exchanging it, and
//! keeping what comes of that, is for the floors above.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::{ClientKey, Front};
use super::door::{Effect, Effects};
use super::flight::{Asker, Errand, FlightKey, read_wire_id};
use super::forward::Choice;
use super::http::Request;
use super::lane::{LaneKey, Phase, Role};
use super::principal::{Principal, Subject};
use super::report::Report;
use super::settings::{EraPin, Settings, Share};
use super::subscribe::count_watcher;
use super::token::{SubjectToken, bearer};
use super::upstream::Status;
use super::{Gateway, Peer};
use crate::base::{LinkId, Now};
use crate::mcp::{Code, Era, Method, Params};

/// Whether any upstream is asked on behalf of its callers.
pub(super) fn has_callers(settings: &Settings) -> bool {
    settings.upstreams.iter().any(|upstream| upstream.share == Share::Never)
}

impl Gateway {
    /// Whether an upstream is one of those.
    #[inline]
    pub(super) fn is_for_callers(&self, index: usize) -> bool {
        self.settings.upstreams[index].share == Share::Never
    }

    /// Nothing is known of it before it is asked for somebody: it is taken to be there.
    pub(super) fn start_for_callers(&mut self, now: Now, index: usize) {
        let upstream = &mut self.upstreams[index];
        upstream.status = Status::Ready { since: now.at };
        for endpoint in &mut self.endpoints[upstream.endpoints.clone()] {
            endpoint.status = Status::Ready { since: now.at };
        }
    }

    /// What a request shows, where it may have to be exchanged. It was verified: its principal is a token's subject.
    #[inline]
    pub(super) fn note_shown(&mut self, request: &Request<'_>) {
        if self.has_callers && request.principal.subject() != Subject::NONE {
            let mut shown = None;
            request.headers.for_each(&mut |name, value| {
                if name.eq_ignore_ascii_case("authorization") {
                    shown = bearer(value).and_then(SubjectToken::read);
                }
            });
            self.shown = shown.map(Arc::new);
        }
    }

    /// What the client of a link has shown when it opened it.
    pub(super) fn shown_on(&mut self, link: LinkId, token: &[u8]) {
        if let Some(Peer::Client(client)) = self.links.get(link)
            && let Some(client) = self.clients.get_mut(client).filter(|_| self.has_callers)
        {
            client.proof = SubjectToken::read(token).map(Arc::new);
        }
    }

    /// A client has shown who it is once more: what it asks from now on is asked with this.
    pub(super) fn prove(&mut self, key: ClientKey, out: &mut Effects) {
        let Some(shown) = self.shown.clone() else { return };
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.proof.as_ref() == Some(&shown) {
            return;
        }
        client.proof = Some(shown);
        let lanes: Vec<LaneKey> = client.lanes.iter().map(|own| own.lane).collect();
        for lane in lanes {
            self.bear(lane, key, out);
            if self.lanes.get(lane).is_some_and(|lane| self.is_for_callers(lane.upstream)) {
                self.watch(lane, out);
            }
        }
    }

    /// A lane of a client's own is used on its behalf from now on.
    pub(super) fn bear(&self, lane: LaneKey, client: ClientKey, out: &mut Effects) {
        let Some(lane) = self.lanes.get(lane) else { return };
        if self.is_for_callers(lane.upstream)
            && let Some(link) = lane.link
            && let Some(subject) = self.clients.get(client).and_then(|client| client.proof.clone())
        {
            out.push(Effect::Bear { link, subject });
        }
    }

    /// Whether an upstream could be asked for this client, as far as the client goes.
    pub(super) fn may_ask_for(&self, client: ClientKey, index: usize) -> bool {
        !self.is_for_callers(index)
            || self.clients.get(client).is_some_and(|client| client.proof.is_some())
    }

    /// What is wrong with a caller who has no token.
    pub(super) fn needs_token(&self, index: usize) -> String {
        format!(
            "upstream {} is asked with a token exchanged for its caller's own, and this caller has none: come over \
             HTTP or WebSocket with an access token of the issuer of auth.jwt",
            self.upstreams[index].name
        )
    }

    /// The era to speak: until it is known, the modern one, in which it is asked.
    pub(super) fn era_for_callers(&self, endpoint: usize) -> Option<Era> {
        let found = &self.endpoints[endpoint];
        found.era().or_else(|| self.is_for_callers(found.upstream).then_some(Era::Modern))
    }

    /// The lane that a request takes to such an upstream.
    pub(super) fn choose_for_caller(
        &mut self,
        now: Now,
        key: FlightKey,
        client: Option<ClientKey>,
        (method, parsed): (Method, &Params<'_>),
        out: &mut Effects,
    ) -> Choice {
        let Some(index) = self.flights.get(key).map(|flight| flight.upstream) else {
            return Choice::Wait;
        };
        let refused = Choice::Refused(self.needs_token(index));
        let Some(client) = client.filter(|&client| self.may_ask_for(client, index)) else {
            return refused;
        };
        let endpoint = self.upstreams[index].endpoints.start;
        let verdict_lasts = self.settings.limits.verdict;
        self.endpoints[endpoint].forget_stale_verdict(now.at, verdict_lasts);
        let era = self.era_for_callers(endpoint).unwrap_or(Era::Modern);
        let chore = self.flights.get(key).and_then(|flight| flight.chore.as_deref());
        if era == Era::Legacy && chore.is_some_and(|chore| !chore.is_call()) {
            // A task of a legacy server lives behind the lane that it was begun on.
            let choice = self.choose_for_task(key).unwrap_or(Choice::Wait);
            if let Choice::Send(lane) = choice
                && self.lanes.get(lane).is_some_and(|lane| lane.role == Role::Parked)
            {
                self.bear(lane, client, out);
            }
            return choice;
        }
        match self.needs_own(client, index, era, method, parsed) {
            Some(hello) => self.own_lane(now, client, endpoint, hello, out),
            None => refused,
        }
    }

    /// Whether a client's principal has as many lanes as one may have at such an upstream: half of the limit
    /// `lanes_max`, so that others are not locked out.
    pub(super) fn has_its_share(&self, client: ClientKey, index: usize) -> bool {
        self.is_for_callers(index)
            && self.clients.get(client).is_some_and(|client| {
                let held = self.held_lanes(index);
                let held = held.get(&client.who.principal).copied().unwrap_or_default();
                held >= self.settings.limits.lanes_max.div_ceil(2)
            })
    }

    /// How many lanes each principal has at an upstream, in use or waiting.
    fn held_lanes(&self, index: usize) -> BTreeMap<Principal, usize> {
        let mut held = BTreeMap::new();
        for (_, lane) in self.lanes.iter().filter(|(_, lane)| lane.upstream == index) {
            if let Some(hello) = &lane.hello {
                *held.entry(hello.principal).or_insert(0) += 1;
            }
        }
        held
    }

    /// The waiting lane that makes room for another: the one that has waited longest; where an upstream is asked on
    /// behalf of its callers, of those of whoever has most lanes there, or of `only`.
    pub(super) fn dispensable_lane(
        &self,
        index: usize,
        only: Option<Principal>,
    ) -> Option<LaneKey> {
        let parked = self.upstreams[index].parked.iter().copied();
        let mut parked = parked.filter(|&lane| !self.has_tasks(lane));
        if !self.is_for_callers(index) {
            return parked.next();
        }
        let held = self.held_lanes(index);
        let mut found: Option<(usize, LaneKey)> = None;
        for lane in parked {
            let hello = self.lanes.get(lane).and_then(|lane| lane.hello.as_deref());
            let Some(principal) = hello.map(|hello| hello.principal) else { continue };
            let most = held.get(&principal).copied().unwrap_or_default();
            let is_meant = only.is_none_or(|only| only == principal);
            if is_meant && found.is_none_or(|(before, _)| most > before) {
                found = Some((most, lane));
            }
        }
        found.map(|(_, lane)| lane)
    }

    /// Whether a call waits for a lane rather than be refused for want of one: it is all there is of its client, so
    /// lanes are free soon.
    pub(super) fn waits_for_room(&self, client: ClientKey, index: usize) -> bool {
        self.is_for_callers(index)
            && self
                .clients
                .get(client)
                .is_some_and(|client| matches!(client.front, Front::Exchange(_)))
    }

    /// Whether what an upstream says of its lists on this lane is of use to anybody: who is one exchange is gone
    /// before it is said.
    pub(super) fn hears_of_lists(&self, key: LaneKey) -> bool {
        let Some(lane) = self.lanes.get(key) else { return false };
        lane.client().is_none_or(|client| !self.waits_for_room(client, lane.upstream))
    }

    /// A caller's lane is ready: its server's era is known, and what the client watched on a lane before is watched
    /// on this one.
    pub(super) fn callers_lane_ready(&mut self, now: Now, client: ClientKey, key: LaneKey) {
        let Some(lane) = self.lanes.get(key) else { return };
        let (index, endpoint, era) = (lane.upstream, lane.seat.endpoint, lane.era());
        if !self.is_for_callers(index) {
            return;
        }
        self.endpoints[endpoint].verdict.get_or_insert((era, now.at));
        let Some(client) = self.clients.get_mut(client) else { return };
        let of_session = client.session.iter_mut().flat_map(|it| it.subscriptions.iter_mut());
        let of_listens = client.listens.iter_mut().flat_map(|listen| listen.uris.iter_mut());
        let mut moved = Vec::new();
        let lost = |it: &&mut super::client::Watched| it.upstream == index && it.own.is_none();
        for watched in of_session.chain(of_listens).filter(lost) {
            watched.own = Some(key);
            moved.push(watched.uri.clone());
        }
        for uri in moved {
            let Some(own) = self.routes.own_uri(index, &uri).map(str::to_owned) else { continue };
            count_watcher(&mut self.upstreams[index].wants, own.clone(), false);
            if let Some(lane) = self.lanes.get_mut(key) {
                count_watcher(&mut lane.wants, own, true);
            }
        }
    }

    /// The first who asked has found out that the server is legacy: over HTTP each request stands alone, so nothing
    /// but the lane's own greeting is lost. What waits goes out again, in the old way. False where the lane's answer
    /// is none about the era.
    pub(super) fn caller_finds_legacy(
        &mut self,
        now: Now,
        key: LaneKey,
        out: &mut Effects,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else { return false };
        let (index, endpoint) = (lane.upstream, lane.seat.endpoint);
        let Role::Own(client) = lane.role else { return false };
        let spec = &self.settings.upstreams[index];
        if spec.share != Share::Never || spec.era != EraPin::Auto {
            return false;
        }
        let waiting = std::mem::take(&mut lane.queue);
        self.endpoints[endpoint].verdict = Some((Era::Legacy, now.at));
        for &flight in &waiting {
            if let Some(flight) = self.flights.get_mut(flight) {
                flight.lane = None;
            }
        }
        self.drop_lane(key, "found to be legacy", out);
        self.own_lane_lost(client, key, out);
        for flight in waiting {
            self.relaunch(now, flight, out);
        }
        true
    }

    /// A caller's lane is lost. One that was never of use is told to the operator; and what was taken for a legacy
    /// server may be none.
    pub(super) fn callers_lane_lost(
        &mut self,
        index: usize,
        endpoint: usize,
        (phase, why): (Phase, &str),
        out: &mut Effects,
    ) {
        if phase == Phase::Ready || !self.is_for_callers(index) {
            return;
        }
        if phase == Phase::Initializing {
            self.endpoints[endpoint].doubt_verdict();
        }
        let (upstream, why) = (self.called_endpoint(endpoint), why.to_owned());
        out.report(Report::UpstreamDown { upstream, why, retry_ms: 0 });
    }

    /// A request was refused because of whom it was for. That says nothing of the server, nor of other callers.
    pub(super) fn unauthorized(
        &mut self,
        now: Now,
        lane: LaneKey,
        id: &str,
        why: &str,
        out: &mut Effects,
    ) {
        let Some((_, key)) = read_wire_id(id).filter(|(shard, _)| *shard == self.shard) else {
            return;
        };
        let Some(flight) = self.flights.get(key).filter(|it| it.lane == Some(lane)) else { return };
        let message = format!("upstream {}: {why}", self.upstreams[flight.upstream].name);
        match flight.asker {
            Asker::Own(errand) => {
                self.close(key, out);
                match errand {
                    Errand::Probe | Errand::Initialize => {
                        self.refuse_lane(now, lane, &message, out);
                    }
                    // Its caller's next token has it listened to again.
                    Errand::Listen => {
                        if let Some(lane) = self.lanes.get_mut(lane) {
                            lane.listen = None;
                        }
                    }
                    // It says nothing of the server.
                    Errand::Health => {}
                    _ => self.errand_lost(now, lane, errand, &message, out),
                }
            }
            _ => self.fail(key, Code::CallerRefused, &message, out),
        }
    }

    /// A lane whose caller is not let in: what waits for it is refused with it.
    fn refuse_lane(&mut self, now: Now, key: LaneKey, message: &str, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let (index, role) = (lane.upstream, lane.role);
        for flight in std::mem::take(&mut lane.queue) {
            self.fail(flight, Code::CallerRefused, message, out);
        }
        self.drop_lane(key, "its caller is not let in", out);
        if let Role::Own(client) = role {
            self.own_lane_lost(client, key, out);
        }
        self.serve_line(now, index, out);
    }
}
