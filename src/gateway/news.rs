//! News: what upstreams say unasked (lists and resources that changed, logs), and who hears it. A
//! client with a lane of its own hears that lane; all others hear the shared one.

use std::time::Duration;

use super::Gateway;
use super::client::{Client, ClientKey, Watched};
use super::door::Effects;
use super::exchange::Exchanges;
use super::lane::{LaneKey, Role};
use super::timer::Alarm;
use crate::base::Moment;
use crate::mcp::{Features, LogLevel, Notice, meta};
use crate::wire::{Json, Splice};

/// How often at most clients are told that a list of one upstream has changed: each of them may ask for it then, and
/// a server that says so with each entry of a thousand means one change. Shorter than anybody notices.
const LISTS_EVERY: Duration = Duration::from_millis(100);

/// How news of one list go out: the first at once, those that follow soon together, when their time has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// It is not told again before.
    until: Moment,
    /// It is to be told again then.
    is_due: bool,
}

impl Gateway {
    /// A notification from a lane that concerns no single request.
    pub(super) fn news(
        &mut self,
        key: LaneKey,
        notice: Notice,
        params: Json<'_>,
        frame: &[u8],
        out: &mut Effects,
    ) {
        let Some(lane) = self.lanes.get(key) else { return };
        let (upstream, seat, role) = (lane.upstream, lane.seat, lane.role);
        match notice {
            Notice::ToolsChanged
            | Notice::PromptsChanged
            | Notice::ResourcesChanged
            | Notice::ResourceUpdated => match role {
                Role::Own(client) => {
                    self.tell_client(client, upstream, Some(key), notice, params, out);
                }
                Role::Shared | Role::Remote(_) => {
                    // Of several that say the same, one is heard.
                    let (speaks, is_heard) = self.is_heard(key, upstream, seat);
                    self.lists_stale(upstream, notice);
                    if is_heard && notice == Notice::ResourceUpdated {
                        self.tell_watchers(upstream, params, out);
                    } else if is_heard {
                        self.tell_list(upstream, notice, params, out);
                    }
                    if speaks {
                        self.tell_shards(key, frame, out);
                    }
                    if is_heard && notice == Notice::ToolsChanged {
                        self.learn_tools(key, None, out);
                    }
                }
                Role::Probe | Role::Parked | Role::Spare => {}
            },
            Notice::Message => {
                if let Role::Own(client) = role {
                    self.log_message(client, key, params, out);
                }
            }
            Notice::Cancelled => {
                if let Some(id) = params.get("requestId") {
                    self.upstream_cancels(key, id.text(), out);
                }
            }
            Notice::TaskStatus | Notice::Tasks => self.task_news(key, notice, params, frame, out),
            Notice::ElicitationComplete => {
                if let Role::Own(client) = role
                    && let Some(client) = self.clients.get(client)
                    && client.session.as_ref().is_some_and(|session| session.initialized)
                {
                    self.exchanges.tell_client(client, out, |out| {
                        super::outbound::write_notice(
                            out,
                            notice.as_str(),
                            Splice::of(params.text()),
                        );
                    });
                }
            }
            Notice::Acknowledged
            | Notice::Initialized
            | Notice::Progress
            | Notice::RootsChanged => {}
        }
    }

    /// What a shared child said concerns the clients of every shard.
    pub(super) fn tell_shards(&self, key: LaneKey, frame: &[u8], out: &mut Effects) {
        let Some(lane) = self.lanes.get(key).filter(|lane| lane.role == Role::Shared) else {
            return;
        };
        for shard in self.other_shards(lane.seat.endpoint) {
            self.forward_mail(key, shard, frame, out);
        }
    }

    /// A resource has changed: whoever watches it, if anybody does.
    fn tell_watchers(&mut self, upstream: usize, params: Json<'_>, out: &mut Effects) {
        let uri = params.get("uri").and_then(Json::as_str).unwrap_or_default();
        if self.upstreams[upstream].wants.contains_key(&*uri) {
            self.tell_all(upstream, Notice::ResourceUpdated, params, out);
        }
    }

    /// A list has changed: at once, or with what changes in it soon after.
    fn tell_list(&mut self, upstream: usize, notice: Notice, params: Json<'_>, out: &mut Effects) {
        let now = self.exchanges.now;
        let Some(pace) = self.upstreams[upstream].paces.get_mut(place(notice)) else { return };
        if now < pace.until {
            if !pace.is_due {
                pace.is_due = true;
                let wait = pace.until.since(now);
                self.wheel.set(now, wait, Alarm::List(upstream, notice));
            }
            return;
        }
        *pace = Pace { until: now.after(LISTS_EVERY), is_due: false };
        self.tell_all(upstream, notice, params, out);
    }

    /// The time has come to tell of what has changed meanwhile.
    pub(super) fn list_due(&mut self, upstream: usize, notice: Notice, out: &mut Effects) {
        // Not where another upstream has the place by now.
        let Some(found) = self.upstreams.get_mut(upstream) else { return };
        if let Some(pace) = found.paces.get_mut(place(notice)).filter(|pace| pace.is_due) {
            *pace = Pace::default();
            self.tell_list(upstream, notice, Json::EMPTY_OBJECT, out);
        }
    }

    /// Everyone who hears the shared lane of an upstream.
    fn tell_all(&mut self, upstream: usize, notice: Notice, params: Json<'_>, out: &mut Effects) {
        let mut news = News::new(notice, params, self.routes.uri_prefix(upstream));
        for (_, client) in self.clients.iter() {
            // Who has a lane of its own hears of lists there. Its resources may be watched over either.
            let has_own = client.lanes.iter().any(|own| own.upstream == upstream);
            if has_own && notice != Notice::ResourceUpdated {
                continue;
            }
            if !super::permit::sees(self.settings.policy.as_deref(), Some(client), upstream) {
                continue;
            }
            news.tell(&mut self.exchanges, client, (upstream, None), out);
        }
    }

    fn tell_client(
        &mut self,
        client: ClientKey,
        upstream: usize,
        own: Option<LaneKey>,
        notice: Notice,
        params: Json<'_>,
        out: &mut Effects,
    ) {
        if let Some(client) = self.clients.get(client) {
            let mut news = News::new(notice, params, self.routes.uri_prefix(upstream));
            news.tell(&mut self.exchanges, client, (upstream, own), out);
        }
    }

    /// An upstream has come back: what it offers may have changed.
    pub(super) fn lists_changed(&mut self, upstream: usize, features: Features, out: &mut Effects) {
        for (offered, notice) in [
            (features.tools, Notice::ToolsChanged),
            (features.prompts, Notice::PromptsChanged),
            (features.resources, Notice::ResourcesChanged),
        ] {
            if offered {
                self.tell_list(upstream, notice, Json::EMPTY_OBJECT, out);
            }
        }
    }

    /// A log message on a client's own lane: to a legacy client by its session's level, to a modern one
    /// while a request that asked for logs is under way.
    fn log_message(&mut self, key: ClientKey, lane: LaneKey, params: Json<'_>, out: &mut Effects) {
        let Some(client) = self.clients.get(key) else { return };
        let level = params.get("level").and_then(LogLevel::read).unwrap_or(LogLevel::Emergency);
        let mut of_lane = client
            .flights
            .iter()
            .filter_map(|&flight| self.flights.get(flight))
            .filter(|flight| flight.lane == Some(lane) && flight.is_sent());
        // Which call it belongs to it does not say; of those under way any is told.
        let exchange = of_lane.clone().find_map(super::flight::Flight::exchange);
        let hears = match &client.session {
            Some(session) => {
                session.initialized && session.level.is_none_or(|least| level >= least)
            }
            None => of_lane.any(|flight| flight.level.is_some_and(|least| level >= least)),
        };
        if hears {
            self.exchanges.tell_lossy(&self.clients, key, exchange, out, |out| {
                super::outbound::write_notice(
                    out,
                    Notice::Message.as_str(),
                    Splice::of(params.text()),
                );
            });
        }
    }
}

/// Which of an upstream's lists has changed.
const fn place(notice: Notice) -> usize {
    match notice {
        Notice::ToolsChanged => 0,
        Notice::PromptsChanged => 1,
        _ => 2,
    }
}

/// A piece of news, written once for all who are told the same words.
struct News<'a> {
    notice: Notice,
    params: Json<'a>,
    prefix: &'a str,
    /// What has changed, as clients call it.
    uri: String,
    /// As it was told last, and to which subscription.
    told: Option<(Option<Box<str>>, Vec<u8>)>,
}

impl<'a> News<'a> {
    fn new(notice: Notice, params: Json<'a>, prefix: &'a str) -> Self {
        let uri = params.get("uri").and_then(Json::as_str);
        let uri = uri.map(|uri| format!("{prefix}{uri}")).unwrap_or_default();
        Self { notice, params, prefix, uri, told: None }
    }

    /// Tells one client, if it wants to know: a legacy one by its session, a modern one on each listen. `of`: the
    /// upstream, and the client's own connection to it if it came by that.
    fn tell(
        &mut self,
        exchanges: &mut Exchanges,
        client: &Client,
        of: (usize, Option<LaneKey>),
        out: &mut Effects,
    ) {
        let notice = self.notice;
        let watches = |watched: &[Watched], uri: &str| {
            watched
                .iter()
                .any(|watched| (watched.upstream, watched.own) == of && watched.uri == uri)
        };
        if let Some(session) = client.session.as_ref().filter(|session| session.initialized)
            && (notice != Notice::ResourceUpdated || watches(&session.subscriptions, &self.uri))
        {
            self.say(exchanges, client, None, out);
        }
        for listen in &client.listens {
            let wanted = match notice {
                Notice::ToolsChanged => listen.tools,
                Notice::PromptsChanged => listen.prompts,
                Notice::ResourcesChanged => listen.resources,
                _ => watches(&listen.uris, &self.uri),
            };
            if wanted {
                self.say(exchanges, client, Some(&listen.id), out);
            }
        }
    }

    fn say(
        &mut self,
        exchanges: &mut Exchanges,
        client: &Client,
        subscription: Option<&str>,
        out: &mut Effects,
    ) {
        let told = match self.told.take() {
            Some(told) if told.0.as_deref() == subscription => told,
            _ => {
                let mut frame = Vec::new();
                write_one(&mut frame, self.notice, self.params, self.prefix, subscription);
                (subscription.map(Box::from), frame)
            }
        };
        let what = (self.notice, self.uri.as_str(), subscription.unwrap_or_default());
        exchanges.tell_change(client, what, &told.1, out);
        self.told = Some(told);
    }
}

/// Tells one client that a list has changed, whosever entries.
pub(super) fn write_list_changed(
    exchanges: &mut Exchanges,
    client: &Client,
    notice: Notice,
    out: &mut Effects,
) {
    News::new(notice, Json::EMPTY_OBJECT, "").tell(exchanges, client, (0, None), out);
}

/// One notification: its URI as the client calls it, its subscription the client's.
pub(super) fn write_one(
    out: &mut Vec<u8>,
    notice: Notice,
    params: Json<'_>,
    prefix: &str,
    subscription: Option<&str>,
) {
    let mut splice = Splice::of(params.text());
    if let Some(uri) = params.get("uri") {
        super::answer::prefix_string(&mut splice, uri, prefix);
    }
    let theirs = params.get("_meta").and_then(|meta| meta.get(meta::SUBSCRIPTION));
    match (subscription, theirs, params.get("_meta")) {
        (Some(ours), Some(theirs), _) => splice.replace(theirs.text(), ours.to_owned()),
        (Some(ours), None, Some(holder)) => {
            splice.insert_member(holder, format!("\"{}\":{ours}", meta::SUBSCRIPTION));
        }
        (Some(ours), None, None) => {
            splice
                .insert_member(params, format!("\"_meta\":{{\"{}\":{ours}}}", meta::SUBSCRIPTION));
        }
        (None, Some(_), Some(holder)) => splice.remove_members(holder, &[meta::SUBSCRIPTION]),
        _ => {}
    }
    super::outbound::write_notice(out, notice.as_str(), splice);
}
