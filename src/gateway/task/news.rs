//! What upstreams say unasked about tasks: how they are (`notifications/tasks/status`, `notifications/tasks`), progress
//! of their calls, and questions; and who hears it.

use super::super::Gateway;
use super::super::client::{Client, ClientKey, Listen};
use super::super::door::Effects;
use super::super::flight::{Errand, FlightKey, HeldAsk};
use super::super::inbound::Asked;
use super::super::lane::{LaneKey, Role};
use super::super::outbound::write_notice;
use super::super::subscribe::count_watcher;
use super::id::{Known, Place, TaskId};
use super::shape;
use super::steps::has_result;
use super::table::{ASKS_MAX, TaskKey};
use crate::mcp::capability::declares_tasks;
use crate::mcp::{Askable, Era, Method, Notice, meta};
use crate::wire::{Json, Splice, text};

/// Before what an upstream calls a task, among the things that are watched there: no URI begins so.
const WATCHED: char = '\u{1}';

/// What is watched of an upstream: URIs of resources, and ids of tasks.
pub(in super::super) fn watched_tasks<'a>(wanted: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (tasks, uris): (Vec<&str>, Vec<&str>) =
        wanted.iter().copied().partition(|it| it.starts_with(WATCHED));
    (uris, tasks.into_iter().map(|task| task.trim_start_matches(WATCHED)).collect())
}

impl Gateway {
    /// The tasks that a `subscriptions/listen` may hear of, of those that it names; `None` if it was refused.
    pub(in super::super) fn listened_tasks(
        &mut self,
        asked: &Asked<'_>,
        wanted: Json<'_>,
        out: &mut Effects,
    ) -> Option<Vec<Known>> {
        let Some(ids) = wanted.get("taskIds") else { return Some(Vec::new()) };
        if !asked.parsed.meta.capabilities.is_some_and(declares_tasks) {
            self.refuse_undeclared(asked, out);
            return None;
        }
        let principal = self.clients.get(asked.client)?.who.principal;
        // Each once.
        let mut seen = std::collections::BTreeSet::new();
        let tokens = ids.elements().filter_map(Json::as_str);
        let tokens = tokens.filter(|token| seen.insert(token.clone()));
        let opened = tokens.filter_map(|token| self.open_task(principal, &token));
        Some(opened.filter(|known| self.is_heard_of(known)).collect())
    }

    /// Whether news of a task come to this shard.
    fn is_heard_of(&self, known: &Known) -> bool {
        let Some(upstream) = self.upstreams.get(known.id.upstream) else { return false };
        let number = upstream.endpoints.start + usize::from(known.id.endpoint);
        let is_stdio = self.endpoints.get(number).is_some_and(|endpoint| endpoint.is_stdio);
        match known.id.place {
            Place::Anywhere => true,
            Place::Seat { shard, .. } => is_stdio || shard == self.shard,
            Place::Own { shard, .. } => shard == self.shard,
            Place::Kept { .. } => false,
        }
    }

    /// A task has one watcher more or fewer at its upstream, where that tells only who listens: which that is.
    pub(in super::super) fn count_task(&mut self, known: &Known, is_wanted: bool) -> Option<usize> {
        let index = known.id.upstream;
        let upstream = self.upstreams.get_mut(index)?;
        if upstream.identity.as_ref().map(|identity| identity.version.era()) != Some(Era::Modern) {
            return None;
        }
        let name = format!("{WATCHED}{}", known.id.own);
        count_watcher(&mut upstream.wants, name, is_wanted);
        Some(index)
    }

    /// News of a task.
    pub(in super::super) fn task_news(
        &mut self,
        lane: LaneKey,
        notice: Notice,
        params: Json<'_>,
        frame: &[u8],
        out: &mut Effects,
    ) {
        let Some(found) = self.lanes.get(lane) else { return };
        let role = found.role;
        let Some(own) = params.get("taskId").and_then(Json::as_str) else {
            return self.oddity(lane, "news of a task that they do not name", out);
        };
        if notice == Notice::Tasks {
            if let Some(id) = self.task_id(lane, &own) {
                self.tell_listeners(&id, params, out);
            }
        } else if let Some(key) = self.tasks.find(lane, &own)
            && let Some(task) = self.tasks.get(key)
        {
            let (client, known, era) = (task.client, task.known.clone(), task.era);
            match era {
                Era::Legacy => self.tell_of_task(client, &known, params, out),
                Era::Modern => self.look(lane, key, &known, params, out),
            }
        }
        if role == Role::Shared {
            self.tell_shards(lane, frame, out);
        }
    }

    /// A legacy client hears of its task.
    fn tell_of_task(&mut self, key: ClientKey, known: &Known, params: Json<'_>, out: &mut Effects) {
        let Some(client) = self.clients.get(key) else { return };
        if !client.session.as_ref().is_some_and(|session| session.initialized) {
            return;
        }
        let what = (Notice::TaskStatus, &*known.token, "");
        let mut splice = Splice::of(params.text());
        if let Some(id) = params.get("taskId") {
            splice.replace(id.text(), text::quoted(&known.token));
        }
        let mut frame = Vec::new();
        write_notice(&mut frame, Notice::TaskStatus.as_str(), splice);
        self.exchanges.tell_change(client, what, &frame, out);
    }

    /// The modern clients that listen for a task hear of it, each under its own name for it.
    fn tell_listeners(&mut self, id: &TaskId, params: Json<'_>, out: &mut Effects) {
        for (_, client) in self.clients.iter() {
            for (listen, known) in listening(client, id) {
                let renamed = self.renamed_task(known, params);
                let renamed = Json::known(&renamed);
                let what = (Notice::Tasks, &*known.token, &*listen.id);
                let mut frame = Vec::new();
                let write = super::super::news::write_one;
                write(&mut frame, Notice::Tasks, renamed, "", Some(&listen.id));
                self.exchanges.tell_change(client, what, &frame, out);
            }
        }
    }

    /// News of a legacy server's task say less than those of a modern one have to: the rest is asked for, if any of
    /// the clients listens.
    fn look(
        &mut self,
        lane: LaneKey,
        key: TaskKey,
        known: &Known,
        params: Json<'_>,
        out: &mut Effects,
    ) {
        let own = &*known.id.own;
        let is_heard =
            self.clients.iter().any(|(_, client)| listening(client, &known.id).next().is_some());
        if !is_heard {
            return;
        }
        if !has_result(params) {
            return self.tell_seen(lane, known, params, None, out);
        }
        if let Some(task) = self.tasks.get_mut(key) {
            if task.seen.replace(params.text().into()).is_some() {
                // It is being asked for.
                return;
            }
            let params = format!("{{\"taskId\":{}}}", text::quoted(own));
            self.errand(lane, Errand::Look(key), Method::TasksResult, &params, out);
        }
    }

    fn tell_seen(
        &mut self,
        lane: LaneKey,
        known: &Known,
        task: Json<'_>,
        result: Option<Result<Json<'_>, Json<'_>>>,
        out: &mut Effects,
    ) {
        let members = self.detailed(lane, known, task, result);
        let shown = format!("{{{members}}}");
        self.tell_listeners(&known.id, Json::known(&shown), out);
    }

    /// The result of a task whose end is news.
    pub(in super::super) fn looked(
        &mut self,
        lane: LaneKey,
        key: TaskKey,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Some(seen) = task.seen.take() else { return };
        let known = task.known.clone();
        self.tell_seen(lane, &known, Json::known(&seen), Some(answer), out);
    }

    /// A legacy server has no more to ask about a task: it has ended.
    pub(in super::super) fn collected(&mut self, key: TaskKey) {
        if let Some(task) = self.tasks.get_mut(key) {
            task.collector = None;
            task.asks.clear();
        }
    }

    /// A legacy server's question about a modern client's task waits until the client looks at that. True if it is one.
    pub(in super::super) fn is_asked_about_task(
        &mut self,
        lane: LaneKey,
        id: &str,
        method: Method,
        params: Json<'_>,
        out: &mut Effects,
    ) -> bool {
        if self.tasks.is_empty() {
            return false;
        }
        let Some(own) = shape::relation(params).and_then(Json::as_str) else { return false };
        let Some(key) = self.tasks.find(lane, &own) else { return false };
        let Some(found) = self.lanes.get_mut(lane) else { return false };
        let said = found.hello.as_deref().and_then(|hello| Json::parse(&hello.capabilities).ok());
        // What the client cannot be asked is refused like any other such question.
        if !said.map(Askable::read).unwrap_or_default().allows(method) {
            return false;
        }
        let Some(task) = self.tasks.get_mut(key).filter(|task| task.era == Era::Modern) else {
            return false;
        };
        if task.asks.len() >= ASKS_MAX {
            self.frame_for(lane, out, |out| {
                let message = "too many questions about one task wait for answers";
                let code = crate::mcp::Code::Internal.number();
                crate::mcp::error::write(out, id, code, message, None);
            });
            return true;
        }
        found.asks_made += 1;
        let name =
            super::super::hold::ask_name(id, |name| task.asks.iter().all(|ask| ask.key != name));
        let name = name.map_or_else(|| format!("ask-{}", found.asks_made), str::to_owned);
        let params = shape::unrelated(params);
        task.asks.push(HeldAsk { key: name, id: id.into(), method, params: params.into() });
        true
    }

    /// A legacy client's question names its task as the client does; others stay as they are.
    pub(in super::super) fn renamed_question(
        &self,
        client: ClientKey,
        lane: LaneKey,
        params: Json<'_>,
    ) -> Option<String> {
        let related = shape::relation(params)?;
        let principal = self.clients.get(client)?.who.principal;
        let known = self.know_task(principal, lane, &related.as_str()?)?;
        let mut splice = Splice::of(params.text());
        splice.replace(related.text(), text::quoted(&known.token));
        Some(splice.into_text())
    }

    /// Progress of a call that was answered with a task: its token is good as long as that (2025-11-25 "Progress").
    pub(in super::super) fn task_progress(
        &mut self,
        lane: LaneKey,
        flight: FlightKey,
        params: Json<'_>,
        out: &mut Effects,
    ) {
        let Some(task) = self.tasks.of_flight(flight).and_then(|key| self.tasks.get(key)) else {
            return;
        };
        let (Some((_, own)), Some(token)) = (&task.progress, params.get(meta::PROGRESS_TOKEN))
        else {
            return;
        };
        if task.lane != lane {
            return;
        }
        let mut splice = Splice::of(params.text());
        splice.replace(token.text(), own.to_string());
        if let Some(related) = shape::relation(params) {
            splice.replace(related.text(), text::quoted(&task.known.token));
        }
        self.exchanges.tell_lossy(&self.clients, task.client, None, out, |out| {
            write_notice(out, Notice::Progress.as_str(), splice);
        });
    }
}

/// A client's listens for a task, and what it calls it.
fn listening<'c>(client: &'c Client, id: &TaskId) -> impl Iterator<Item = (&'c Listen, &'c Known)> {
    client.listens.iter().filter_map(move |listen| {
        let mut tasks = listen.tasks.iter();
        tasks.find(|known| known.id == *id).map(|known| (listen, known))
    })
}
