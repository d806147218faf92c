//! Other settings while requests are under way. What has begun ends by the settings it began with; what comes
//! from now on goes by the new ones. An upstream that is used no more keeps its place, is asked nothing new, and
//! ends when its last flight has. Where settings come from, and what of them may change, is the edge's business.

use std::sync::Arc;
use std::time::Duration;

use super::client::{ClientKey, Watched};
use super::door::{Effect, Effects, Mail};
use super::endpoint::{Endpoint, Seat};
use super::flight::Asker;
use super::lane::{LaneKey, Role};
use super::settings::Settings;
use super::timer::Alarm;
use super::upstream::{Identity, Status, Upstream};
use super::{Gateway, agents, news, policy, rate, route};
use crate::base::{Now, ShardId};
use crate::mcp::Notice;

/// How often it is looked whether upstreams that are used no more have ended: looking goes through all flights.
const LOOK: Duration = Duration::from_millis(100);
/// The same, whether anything still names their places: nobody waits for that.
const LOOK_FOR_NAMES: Duration = Duration::from_secs(5);

/// Where a client watches something.
enum Place {
    Session,
    Listen(Box<str>),
}

impl Gateway {
    /// Goes by other settings. Those before and these agree on what was said of [`super::Event::Settings`].
    pub(super) fn renew(&mut self, now: Now, settings: Arc<Settings>, out: &mut Effects) {
        let routes = route::Routes::new(&settings);
        let (used, next) = (self.routes.order(), routes.order());
        let gone: Vec<usize> = used.iter().copied().filter(|it| !next.contains(it)).collect();
        let is_other_list = used != next
            || self.settings.policy != settings.policy
            || self.settings.expose != settings.expose;
        let homeless = self.take_watched(&gone, out);
        let taken = self.taken_places(&settings);
        let before = std::mem::replace(&mut self.settings, settings);
        self.routes = routes;
        // Names in them have the prefixes that were.
        for index in 0..self.upstreams.len() {
            self.forget_lists(index, None);
        }
        self.renew_rules(&before);
        self.builtin.set_folder(self.settings.has_folder());
        for index in taken {
            self.succeed(now, index);
            self.meet(now, index, out);
        }
        for index in self.upstreams.len()..self.settings.upstreams.len() {
            self.upstreams.push(Upstream::new(&self.settings, index, now.at));
            let here = (self.shard, self.settings.shards);
            let spec = &self.settings.upstreams[index];
            for (target, _) in spec.endpoints() {
                let number = self.endpoints.len();
                let endpoint = Endpoint::new(spec, (index, target), number, here, now.at);
                self.endpoints.push(endpoint);
            }
            self.meet(now, index, out);
        }
        if before.policy != self.settings.policy {
            self.drop_denied(out);
        }
        let mut again = Vec::new();
        for (client, place, uri) in homeless {
            again.extend(self.watch_again(client, &place, uri));
        }
        self.want(&again, out);
        if !gone.is_empty() {
            self.look_at_retired(now, Duration::ZERO);
            for &index in &gone {
                self.upstreams[index].is_retired = true;
            }
            self.retired.extend(gone);
            // Who was waiting for one of them to start waits for it no more.
            self.settle_greets(out);
        }
        if is_other_list {
            self.lists_are_others(out);
        }
    }

    /// An upstream is used from now on that was not there before.
    fn meet(&mut self, now: Now, index: usize, out: &mut Effects) {
        self.start_upstream(now, index, out);
        for endpoint in self.upstreams[index].endpoints.clone() {
            let home = self.endpoints[endpoint].home;
            if home != self.shard {
                out.push(Effect::Mail { to: home, mail: Mail::Met { endpoint } });
            }
        }
    }

    /// Who may what, and how much of it.
    fn renew_rules(&mut self, before: &Settings) {
        self.decisions = policy::Cache::default();
        self.agents = agents(&self.settings);
        self.has_callers = super::behalf::has_callers(&self.settings);
        self.held.renew(&self.settings.principals);
        for key in self.clients.keys() {
            if let Some(client) = self.clients.get_mut(key) {
                let number = client.who.principal.number() as usize;
                client.who.agent = self.agents.get(number).copied().unwrap_or_default();
            }
        }
        if before.rates != self.settings.rates {
            let shards = self.settings.shards;
            self.governor = match (self.governor.take(), self.settings.rates) {
                (Some(governor), Some(rates)) => Some(governor.at(rates)),
                (None, Some(rates)) => Some(rate::Governor::new(rates, self.shard, shards)),
                (_, None) => None,
            };
        }
    }

    /// What clients watch at these upstreams is watched there no more.
    fn take_watched(
        &mut self,
        gone: &[usize],
        out: &mut Effects,
    ) -> Vec<(ClientKey, Place, String)> {
        let is_gone = |watched: &mut Watched| gone.contains(&watched.upstream);
        let taken = if gone.is_empty() { Vec::new() } else { self.extract_watched(is_gone) };
        let left: Vec<Watched> = taken.iter().map(|(_, _, watched)| watched.clone()).collect();
        self.unwatch(&left, out);
        taken.into_iter().map(|(client, place, watched)| (client, place, watched.uri)).collect()
    }

    /// What clients watch and may read no more is watched no more.
    fn drop_denied(&mut self, out: &mut Effects) {
        let all = self.extract_watched(|_| true);
        let mut denied = Vec::new();
        for (key, place, watched) in all {
            let own = self.routes.own_uri(watched.upstream, &watched.uri).map(str::to_owned);
            if own.is_some_and(|own| self.may_read(key, watched.upstream, &own)) {
                self.put_watched(key, &place, watched);
            } else {
                denied.push(watched);
            }
        }
        self.unwatch(&denied, out);
    }

    fn extract_watched(
        &mut self,
        mut which: impl FnMut(&mut Watched) -> bool,
    ) -> Vec<(ClientKey, Place, Watched)> {
        let mut taken = Vec::new();
        for key in self.clients.keys() {
            let Some(client) = self.clients.get_mut(key) else { continue };
            if let Some(session) = &mut client.session {
                let found = session.subscriptions.extract_if(.., &mut which);
                taken.extend(found.map(|watched| (key, Place::Session, watched)));
            }
            for listen in &mut client.listens {
                let found = listen.uris.extract_if(.., &mut which);
                let id = &listen.id;
                taken.extend(found.map(|watched| (key, Place::Listen(id.clone()), watched)));
            }
        }
        taken
    }

    /// Whoever has the URI now is asked to tell of it, if the client may read it there.
    fn watch_again(&mut self, key: ClientKey, place: &Place, uri: String) -> Option<Watched> {
        let (upstream, own) = self.routes.by_uri(&uri)?;
        let own = own.to_owned();
        if !self.may_read(key, upstream, &own) {
            return None;
        }
        let watched = Watched { uri, upstream, own: None };
        self.put_watched(key, place, watched.clone());
        Some(watched)
    }

    fn put_watched(&mut self, key: ClientKey, place: &Place, watched: Watched) {
        let Some(client) = self.clients.get_mut(key) else { return };
        match place {
            Place::Session => {
                if let Some(session) = &mut client.session {
                    session.subscriptions.push(watched);
                }
            }
            Place::Listen(id) => {
                if let Some(listen) = client.listens.iter_mut().find(|it| it.id == *id) {
                    listen.uris.push(watched);
                }
            }
        }
    }

    /// What clients were told there is may be something else now.
    fn lists_are_others(&mut self, out: &mut Effects) {
        for notice in [Notice::ToolsChanged, Notice::PromptsChanged, Notice::ResourcesChanged] {
            for (_, client) in self.clients.iter() {
                news::write_list_changed(&mut self.exchanges, client, notice, out);
            }
        }
    }

    /// Ends what nothing is under way on any more, and gives up the places that nothing names any more.
    pub(super) fn sweep_retired(&mut self, now: Now, out: &mut Effects) {
        self.retired_look = None;
        let mut have_ended = true;
        for index in std::mem::take(&mut self.retired) {
            let has_ended = self.end_retired(index, out);
            have_ended &= has_ended;
            if !has_ended || !self.vacate(index) {
                self.retired.push(index);
            }
        }
        if !self.retired.is_empty() {
            self.look_at_retired(now, if have_ended { LOOK_FOR_NAMES } else { LOOK });
        }
    }

    fn look_at_retired(&mut self, now: Now, wait: Duration) {
        let alarm = self.wheel.set(now.at, wait, Alarm::Retired);
        if let Some(before) = self.retired_look.replace(alarm) {
            self.wheel.cancel(before);
        }
    }

    /// Ends as much of an upstream as can be; true when all of it has.
    fn end_retired(&mut self, index: usize, out: &mut Effects) -> bool {
        let mut has_flights = false;
        let mut busy: Vec<LaneKey> = Vec::new();
        for (_, flight) in self.flights.iter() {
            if flight.upstream == index && !matches!(flight.asker, Asker::Own(_)) {
                has_flights = true;
                busy.extend(flight.lane);
            }
        }
        let idle: Vec<(LaneKey, Role)> = self
            .lanes
            .iter()
            .filter(|(key, lane)| lane.upstream == index && !busy.contains(key))
            .map(|(key, lane)| (key, lane.role))
            .collect();
        for (key, role) in idle {
            match role {
                Role::Spare | Role::Parked => self.parked_due(key, out),
                // Of a call that waits for its lane, the lane knows the flight.
                Role::Own(_) if self.lanes.get(key).is_some_and(|lane| !lane.queue.is_empty()) => {}
                Role::Own(client) => {
                    self.drop_lane(key, "its upstream is used no more", out);
                    self.own_lane_lost(client, key, out);
                }
                Role::Shared | Role::Probe | Role::Remote(_) => {}
            }
        }
        if has_flights {
            return false;
        }
        let mut has_ended = true;
        for number in self.upstreams[index].endpoints.clone() {
            has_ended &= self.end_endpoint(number, out);
        }
        if has_ended {
            let why = "it is used no more".to_owned();
            self.upstreams[index].status = Status::Down { why };
        }
        has_ended
    }

    /// Ends an endpoint that nothing is under way on here; true when it has.
    fn end_endpoint(&mut self, number: usize, out: &mut Effects) -> bool {
        let endpoint = &self.endpoints[number];
        if endpoint.has_ended {
            return true;
        }
        if endpoint.home != self.shard {
            let mail = Mail::Left { endpoint: number };
            out.push(Effect::Mail { to: endpoint.home, mail });
        } else if !self.is_left(number) {
            // Calls of other shards are under way on the lanes that live here.
            return false;
        }
        let endpoint = &mut self.endpoints[number];
        endpoint.has_ended = true;
        endpoint.status = Status::Down { why: "it is used no more".to_owned() };
        let seated: Vec<LaneKey> = endpoint.seats.iter_mut().filter_map(Option::take).collect();
        let is_home = endpoint.home == self.shard;
        endpoint.is_over = is_home;
        for lane in seated {
            self.drop_lane(lane, "its upstream is used no more", out);
        }
        if is_home {
            for to in self.other_shards(number) {
                out.push(Effect::Mail { to, mail: Mail::Ended { endpoint: number } });
            }
        }
        true
    }

    /// The home of an endpoint that has ended here says nothing more of it.
    pub(super) fn ended_at_home(&mut self, now: Now, number: usize) {
        if let Some(endpoint) = self.endpoints.get_mut(number) {
            endpoint.is_over = true;
            self.look_at_retired(now, Duration::ZERO);
        }
    }

    /// Tells another shard how it is with an endpoint whose shared lanes live here. Until it is known, or if this
    /// shard is the later to learn of it, that comes by itself.
    pub(super) fn tell_of(&self, to: ShardId, number: usize, out: &mut Effects) {
        // One that has ended here was another's, whose place has been given on.
        let endpoint = self.endpoints.get(number).filter(|endpoint| !endpoint.has_ended);
        let Some(endpoint) = endpoint else { return };
        if let Status::Down { why } = &endpoint.status {
            let seat = Seat::first(number);
            let mail = Mail::UpstreamDown { seat, why: why.clone(), retry_ms: 0 };
            return out.push(Effect::Mail { to, mail });
        }
        let Some(identity) = &self.upstreams[endpoint.upstream].identity else { return };
        for lane in endpoint.seats.iter().flatten() {
            if let Some(lane) = self.lanes.get(*lane).filter(|lane| lane.is_ready()) {
                let identity = Identity { version: lane.version, ..identity.clone() };
                let mail = Mail::UpstreamReady { seat: lane.seat, identity: Box::new(identity) };
                out.push(Effect::Mail { to, mail });
            }
        }
    }

    fn is_left(&self, number: usize) -> bool {
        self.other_shards(number).iter().all(|shard| self.endpoints[number].left.contains(shard))
    }

    /// Another shard has nothing under way on it any more.
    pub(super) fn has_left(&mut self, from: ShardId, number: usize) {
        if let Some(endpoint) = self.endpoints.get_mut(number) {
            endpoint.left.insert(from);
        }
    }
}
