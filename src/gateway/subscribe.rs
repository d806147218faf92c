//! Subscriptions: `resources/subscribe` of legacy clients and `subscriptions/listen` of modern ones,
//! carried by whichever of the two the upstream speaks.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{ClientKey, Listen, Watched};
use super::connect::gateway_itself;
use super::door::{Effect, Effects, Mail};
use super::flight::{Errand, wire_id};
use super::inbound::Asked;
use super::lane::{Lane, LaneKey, Role, TELLS_MAX};
use super::task::watched_tasks;
use super::{Gateway, request};
use crate::base::{Now, ShardId};
use crate::mcp::{Code, Era, LogLevel, Method, Params, meta};
use crate::wire::{Json, text};

/// What the gateway says that it can, where it listens for tasks.
const TAKES_TASKS: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;

const TOO_MANY_BYTES: &str =
    "the URIs watched have more bytes together than the limit subscription_bytes_max allows";

/// Where watchers have come or gone: a client's own lane, or an upstream's shared one.
type Places = BTreeSet<(Option<LaneKey>, usize)>;

impl Gateway {
    /// `resources/subscribe` (legacy).
    pub(super) fn subscribe(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let Some(uri) = self.subscription_uri(asked, out) else { return };
        let session = self.clients.get(asked.client).and_then(|client| client.session.as_ref());
        let others = session.into_iter().flat_map(|session| &session.subscriptions);
        let (held, bytes) = others
            .filter(|watched| watched.uri != uri)
            .fold((0, uri.len()), |(held, bytes), it| (held + 1, bytes + it.uri.len()));
        if held >= self.settings.limits.subscriptions_max {
            let message =
                "the session has as many subscriptions as the limit subscriptions_max allows";
            return self.refuse(asked, Code::Internal.number(), message, None, out);
        }
        if let Some(why) = self.too_long(&uri) {
            return self.refuse(asked, Code::InvalidParams.number(), &why, None, out);
        }
        if bytes > self.settings.limits.subscription_bytes_max {
            return self.refuse(asked, Code::Internal.number(), TOO_MANY_BYTES, None, out);
        }
        let Some((upstream, own)) = self.routes.by_uri(&uri) else {
            let data = format!("{{\"uri\":{}}}", text::quoted(&uri));
            let code = crate::mcp::era::resource_not_found(Era::Legacy);
            return self.refuse(
                asked,
                code,
                &format!("there is no resource {uri}"),
                Some(&data),
                out,
            );
        };
        if self.is_denied(now, asked, upstream, own, out) {
            return;
        }
        if self.upstreams[upstream].identity.is_some()
            && !self.upstreams[upstream].features().subscribe
        {
            let message =
                format!("upstream {} offers no subscriptions", self.upstreams[upstream].name);
            return self.refuse(asked, Code::MethodNotFound.number(), &message, None, out);
        }
        if !self.may_ask_for(asked.client, upstream) {
            let (code, message) = (Code::CallerRefused.number(), self.needs_token(upstream));
            return self.refuse(asked, code, &message, None, out);
        }
        let own = self.own_lane_for(now, asked.client, upstream, asked.parsed, out);
        let watched = Watched { uri, upstream, own };
        let session = self.clients.get_mut(asked.client).and_then(|client| client.session.as_mut());
        if let Some(session) = session
            && !session.subscriptions.contains(&watched)
        {
            // On one connection only, which may be another than before: each tells of each update.
            let is_same = |before: &Watched| before.uri == watched.uri;
            let before: Vec<Watched> =
                session.subscriptions.extract_if(.., |before| is_same(before)).collect();
            session.subscriptions.push(watched.clone());
            self.rewatch(&[watched], &before, out);
        }
        self.reply_empty(asked, out);
    }

    /// `resources/unsubscribe` (legacy).
    pub(super) fn unsubscribe(&mut self, asked: &Asked<'_>, out: &mut Effects) {
        let Some(uri) = self.subscription_uri(asked, out) else { return };
        let session = self.clients.get_mut(asked.client).and_then(|client| client.session.as_mut());
        let mut gone = Vec::new();
        if let Some(session) = session {
            session.subscriptions.retain(|watched| {
                let stays = watched.uri != uri;
                if !stays {
                    gone.push(watched.clone());
                }
                stays
            });
        }
        self.unwatch(&gone, out);
        self.reply_empty(asked, out);
    }

    fn subscription_uri(&mut self, asked: &Asked<'_>, out: &mut Effects) -> Option<String> {
        let uri = asked.parsed.uri.and_then(Json::as_str);
        if uri.is_none() {
            self.refuse(
                asked,
                Code::InvalidParams.number(),
                "params.uri must be a string",
                None,
                out,
            );
        }
        uri.map(std::borrow::Cow::into_owned)
    }

    /// `subscriptions/listen` (modern): acknowledged with what can be honoured, open until cancelled.
    pub(super) fn listen(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let exchange = asked.exchange.and_then(|key| self.exchanges.get(key));
        if exchange.is_some_and(|exchange| exchange.is_batch) {
            let message = "a subscription must not stand in a batch";
            return self.refuse(asked, Code::InvalidRequest.number(), message, None, out);
        }
        let Some(wanted) = asked.parsed.notifications.filter(|json| json.is_object()) else {
            let message = "params.notifications must be an object";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        };
        let is_wanted = |key| wanted.get(key).and_then(Json::as_bool).unwrap_or(false);
        // In the order in which they came, each once.
        let mut seen = BTreeSet::new();
        let named = wanted.get("resourceSubscriptions").into_iter().flat_map(Json::elements);
        let named = named.filter_map(Json::as_str).filter(|uri| seen.insert(uri.clone()));
        let uris: Vec<String> = named.map(std::borrow::Cow::into_owned).collect();
        if let Some(why) = uris.iter().find_map(|uri| self.too_long(uri)) {
            return self.refuse(asked, Code::InvalidParams.number(), &why, None, out);
        }
        let Some(tasks) = self.listened_tasks(asked, wanted, out) else { return };
        let Some(client) = self.clients.get(asked.client) else { return };
        let of = |listen: &Listen| 1 + listen.uris.len() + listen.tasks.len();
        let held: usize = client.listens.iter().map(of).sum();
        let kept = client.listens.iter().map(Listen::bytes).sum::<usize>();
        let new = uris.iter().map(String::len).sum::<usize>();
        let new = new + tasks.iter().map(|task| task.token.len()).sum::<usize>();
        if held + uris.len() + tasks.len() >= self.settings.limits.subscriptions_max {
            let message = "more subscriptions than the limit subscriptions_max allows";
            return self.refuse(asked, Code::Internal.number(), message, None, out);
        }
        if kept + new > self.settings.limits.subscription_bytes_max {
            return self.refuse(asked, Code::Internal.number(), TOO_MANY_BYTES, None, out);
        }
        if client.listens.iter().any(|listen| &*listen.id == asked.id) {
            let message = "a subscription with this id is open already";
            return self.refuse(asked, Code::InvalidRequest.number(), message, None, out);
        }
        let mut watched = Vec::new();
        for uri in uris {
            let Some((upstream, own)) = self.routes.by_uri(&uri) else { continue };
            if !self.may_read(asked.client, upstream, own) {
                continue;
            }
            let is_silent = self.upstreams[upstream].identity.is_some()
                && !self.upstreams[upstream].features().subscribe;
            if is_silent || !self.may_ask_for(asked.client, upstream) {
                continue;
            }
            let own = self.own_lane_for(now, asked.client, upstream, asked.parsed, out);
            watched.push(Watched { uri, upstream, own });
        }
        let listen = Listen {
            id: asked.id.into(),
            tools: is_wanted("toolsListChanged"),
            prompts: is_wanted("promptsListChanged"),
            resources: is_wanted("resourcesListChanged"),
            uris: watched.clone(),
            tasks: tasks.clone(),
        };
        let honoured = honoured(&listen);
        let Some(client) = self.clients.get_mut(asked.client) else { return };
        client.listens.push(listen);
        let id = asked.id;
        self.exchanges.tell(&self.clients, asked.client, asked.exchange, out, |out| {
            let text = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\
                 \"params\":{{\"_meta\":{{\"{}\":{id}}},\"notifications\":{honoured}}}}}",
                meta::SUBSCRIPTION
            );
            out.extend_from_slice(text.as_bytes());
        });
        let mut at = Places::new();
        for watched in &watched {
            self.count(watched, true, &mut at);
        }
        for task in &tasks {
            at.extend(self.count_task(task, true).map(|upstream| (None, upstream)));
        }
        self.watch_at(&at, out);
    }

    /// These have ended: what was heard of there is watched no more.
    pub(super) fn unlisten(
        &mut self,
        listens: &[Listen],
        subscriptions: &[Watched],
        out: &mut Effects,
    ) {
        let mut at = Places::new();
        for watched in listens.iter().flat_map(|listen| &listen.uris).chain(subscriptions) {
            self.count(watched, false, &mut at);
        }
        for task in listens.iter().flat_map(|listen| &listen.tasks) {
            at.extend(self.count_task(task, false).map(|upstream| (None, upstream)));
        }
        self.watch_at(&at, out);
    }

    /// Why a URI cannot be kept, or judged, if so.
    pub(super) fn too_long(&self, uri: &str) -> Option<String> {
        let limit = self.settings.limits.uri_bytes_max;
        (uri.len() > limit).then(|| {
            format!("the URI has {} bytes; the limit uri_bytes_max allows {limit}", uri.len())
        })
    }

    /// The lane that a client's subscription hangs on, if it is one of its own.
    fn own_lane_for(
        &mut self,
        now: Now,
        client: ClientKey,
        upstream: usize,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) -> Option<LaneKey> {
        let endpoint = self.endpoint_for(client, upstream);
        let era = self.era_for_callers(endpoint)?;
        let hello = self.needs_own(client, upstream, era, Method::Listen, parsed)?;
        self.own_lane_key(now, client, endpoint, hello, out)
    }

    /// One watcher more, for each.
    pub(super) fn want(&mut self, more: &[Watched], out: &mut Effects) {
        self.rewatch(more, &[], out);
    }

    /// One watcher fewer, for each.
    pub(super) fn unwatch(&mut self, gone: &[Watched], out: &mut Effects) {
        self.rewatch(&[], gone, out);
    }

    /// Watchers have come and gone. However many: each lane is told once.
    pub(super) fn rewatch(&mut self, more: &[Watched], gone: &[Watched], out: &mut Effects) {
        let mut at = Places::new();
        for watched in more {
            self.count(watched, true, &mut at);
        }
        for watched in gone {
            self.count(watched, false, &mut at);
        }
        self.watch_at(&at, out);
    }

    fn count(&mut self, watched: &Watched, is_wanted: bool, at: &mut Places) {
        let Some(own_uri) = self.routes.own_uri(watched.upstream, &watched.uri) else { return };
        let own_uri = own_uri.to_owned();
        if let Some(wants) = self.wants(watched) {
            count_watcher(wants, own_uri, is_wanted);
        }
        at.insert((watched.own, watched.upstream));
    }

    fn wants(&mut self, watched: &Watched) -> Option<&mut BTreeMap<String, u32>> {
        match watched.own {
            Some(lane) => self.lanes.get_mut(lane).map(|lane| &mut lane.wants),
            None => self.upstreams.get_mut(watched.upstream).map(|upstream| &mut upstream.wants),
        }
    }

    /// Brings the lanes where something has changed up to date.
    fn watch_at(&mut self, at: &Places, out: &mut Effects) {
        for &(own, upstream) in at {
            if let Some(lane) = own.or_else(|| self.watch_lane(upstream)) {
                self.watch(lane, out);
            }
        }
    }

    /// Another shard's clients watch these, and no others, over the shared lane that lives here.
    pub(super) fn remote_want(
        &mut self,
        from: ShardId,
        endpoint: usize,
        uris: Vec<String>,
        out: &mut Effects,
    ) {
        let Some(found) = self.endpoints.get_mut(endpoint) else { return };
        found.remote_wants.insert(from, uris);
        if let Some(lane) = self.main_lane(endpoint) {
            self.watch(lane, out);
        }
    }

    /// What is wanted over a lane, sorted, as its upstream calls it.
    fn wanted<'g>(&'g self, key: LaneKey, lane: &'g Lane) -> Vec<&'g str> {
        if let Role::Own(_) = lane.role {
            // In order, and each once.
            return lane.wants.keys().map(String::as_str).collect();
        }
        let (speaks, is_heard) = self.is_heard(key, lane.upstream, lane.seat);
        let here = self.upstreams[lane.upstream].wants.keys().filter(|_| is_heard);
        let remote = self.endpoints[lane.seat.endpoint].remote_wants.values().flatten();
        let both = here.chain(remote.filter(|_| speaks));
        let mut wanted: Vec<&str> = both.map(String::as_str).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Makes what is watched upstream what is wanted here.
    pub(super) fn watch(&mut self, key: LaneKey, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key).filter(|lane| lane.is_ready()) else { return };
        lane.is_late = lane.blocked;
        if lane.is_late {
            return;
        }
        let Some(lane) = self.lanes.get(key) else { return };
        let (role, seat) = (lane.role, lane.seat);
        let wanted = self.wanted(key, lane);
        let home = if let Role::Remote(home) = role { Some(home) } else { None };
        if home.is_none() && lane.era() == Era::Legacy {
            // Of tasks it tells unasked.
            let (uris, _) = watched_tasks(&wanted);
            let new = uris.iter().filter(|&&uri| !lane.watched.contains(uri));
            // One more than are told at once: that there are more is seen by it.
            let new: Vec<String> = new.take(TELLS_MAX + 1).map(|&uri| uri.to_owned()).collect();
            let old = lane.watched.iter().filter(|uri| uris.binary_search(&uri.as_str()).is_err());
            let old: Vec<String> = old.take(TELLS_MAX + 1).cloned().collect();
            return self.watch_legacy(key, new, old, out);
        }
        let is_new = !lane.watched.iter().map(String::as_str).eq(wanted.iter().copied());
        let (speaks, _) = self.is_heard(key, lane.upstream, seat);
        let is_told = speaks || matches!(role, Role::Own(_));
        let is_told = is_told && self.hears_of_lists(key);
        let relays = (is_told && self.upstreams[lane.upstream].features().list_changed)
            || !wanted.is_empty();
        let listens = home.is_none() && relays && (is_new || lane.listen.is_none());
        let params = listens.then(|| listen_params(&wanted));
        let watched: Option<BTreeSet<String>> =
            is_new.then(|| wanted.into_iter().map(str::to_owned).collect());
        if let (Some(home), Some(watched)) = (home, &watched) {
            let uris = watched.iter().cloned().collect();
            out.push(Effect::Mail { to: home, mail: Mail::Want { endpoint: seat.endpoint, uris } });
        }
        if let Some(params) = params {
            self.listen_upstream(key, &params, out);
        }
        if let (Some(watched), Some(lane)) = (watched, self.lanes.get_mut(key)) {
            lane.watched = watched;
        }
    }

    /// Tells a legacy upstream what is watched besides, and what no more, as far as there is room.
    fn watch_legacy(
        &mut self,
        key: LaneKey,
        new: Vec<String>,
        old: Vec<String>,
        out: &mut Effects,
    ) {
        let new = new.into_iter().map(|uri| (uri, true));
        for (uri, is_wanted) in new.chain(old.into_iter().map(|uri| (uri, false))) {
            let method = if is_wanted { Method::Subscribe } else { Method::Unsubscribe };
            let params = format!("{{\"uri\":{}}}", text::quoted(&uri));
            let is_told = self.tell_legacy(key, method, &params, out);
            let Some(lane) = self.lanes.get_mut(key) else { return };
            if !is_told {
                lane.is_late = true;
                return;
            }
            if is_wanted {
                lane.watched.insert(uri);
            } else {
                lane.watched.remove(&uri);
            }
        }
    }

    /// Asks a legacy upstream for what nobody waits for; false if too much of that is unanswered.
    fn tell_legacy(
        &mut self,
        key: LaneKey,
        method: Method,
        params: &str,
        out: &mut Effects,
    ) -> bool {
        let Some(lane) = self.lanes.get_mut(key) else { return false };
        lane.tells.retain(|&flight| self.flights.contains(flight));
        if lane.blocked || lane.tells.len() >= TELLS_MAX {
            return false;
        }
        let told = self.errand(key, Errand::Tell, method, params, out);
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.tells.extend(told);
        }
        told.is_some()
    }

    /// A lane has answered something it was told, or takes requests again: it is told what waited for that.
    pub(super) fn catch_up(&mut self, key: LaneKey, out: &mut Effects) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if let Some(level) = lane.next_level.take().filter(|&level| lane.level != Some(level)) {
            self.set_lane_level(key, level, out);
        }
        let Some(lane) = self.lanes.get_mut(key).filter(|lane| lane.is_late) else { return };
        lane.tells.retain(|&flight| self.flights.contains(flight));
        // Several at a time, since for each time all that is watched is looked through.
        if lane.tells.len() <= TELLS_MAX / 2 {
            self.watch(key, out);
        }
    }

    /// Opens the listen stream of a modern upstream, and then ends the one before.
    fn listen_upstream(&mut self, key: LaneKey, params: &str, out: &mut Effects) {
        let new = self.errand(key, Errand::Listen, Method::Listen, params, out);
        let old = self.lanes.get_mut(key).and_then(|lane| std::mem::replace(&mut lane.listen, new));
        if let Some(old) = old.filter(|&old| self.flights.contains(old)) {
            self.flights.remove(old);
            let params =
                format!("{{\"requestId\":{},\"reason\":\"replaced\"}}", wire_id(self.shard, old));
            self.tell(key, "notifications/cancelled", &params, out);
        }
    }

    /// Sets the level of logs on a legacy lane.
    pub(super) fn set_lane_level(&mut self, key: LaneKey, level: LogLevel, out: &mut Effects) {
        let Some(lane) =
            self.lanes.get_mut(key).filter(|lane| lane.is_ready() && lane.era() == Era::Legacy)
        else {
            return;
        };
        // Of a server that is asked on behalf of its callers nothing is kept: it says no if it cannot.
        let index = lane.upstream;
        if !self.upstreams[index].features().logging && !self.is_for_callers(index) {
            return;
        }
        let params = format!("{{\"level\":\"{}\"}}", level.as_str());
        let is_told = self.tell_legacy(key, Method::SetLevel, &params, out);
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if is_told {
            (lane.level, lane.next_level) = (Some(level), None);
        } else {
            lane.next_level = Some(level);
        }
    }
}

/// What a modern upstream is asked to tell of.
fn listen_params(wanted: &[&str]) -> String {
    let (uris, tasks) = watched_tasks(wanted);
    let quote =
        |texts: Vec<&str>| texts.into_iter().map(text::quoted).collect::<Vec<String>>().join(",");
    let itself = gateway_itself();
    let (mut capabilities, mut of_tasks) = (itself.capabilities, String::new());
    if !tasks.is_empty() {
        capabilities = TAKES_TASKS;
        of_tasks = format!(",\"taskIds\":[{}]", quote(tasks));
    }
    format!(
        "{{\"_meta\":{{{}}},\"notifications\":{{\"toolsListChanged\":true,\"promptsListChanged\":true,\
         \"resourcesListChanged\":true,\"resourceSubscriptions\":[{}]{of_tasks}}}}}",
        request::of_the_connection(&request::Remembered { capabilities, ..itself }),
        quote(uris)
    )
}

/// One watcher more or fewer of what an upstream calls so.
pub(super) fn count_watcher(wants: &mut BTreeMap<String, u32>, own: String, is_wanted: bool) {
    if is_wanted {
        *wants.entry(own).or_insert(0) += 1;
    } else if let Some(watchers) = wants.get_mut(&own) {
        *watchers -= 1;
        if *watchers == 0 {
            wants.remove(&own);
        }
    }
}

/// The subset of a listen that is honoured, as the acknowledgement says it.
fn honoured(listen: &Listen) -> String {
    let mut parts = Vec::new();
    for (is_wanted, key) in [
        (listen.tools, "toolsListChanged"),
        (listen.prompts, "promptsListChanged"),
        (listen.resources, "resourcesListChanged"),
    ] {
        if is_wanted {
            parts.push(format!("\"{key}\":true"));
        }
    }
    if !listen.tasks.is_empty() {
        let tasks: Vec<String> =
            listen.tasks.iter().map(|known| text::quoted(&known.token)).collect();
        parts.push(format!("\"taskIds\":[{}]", tasks.join(",")));
    }
    if !listen.uris.is_empty() {
        let uris: Vec<String> =
            listen.uris.iter().map(|watched| text::quoted(&watched.uri)).collect();
        parts.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}
