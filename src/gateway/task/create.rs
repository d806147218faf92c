//! Calls that may become tasks: which are, and what becomes of a task that an upstream has made.

use super::super::Gateway;
use super::super::door::Effects;
use super::super::flight::{Asker, Errand, FlightKey, Stage};
use super::super::inbound::Asked;
use super::super::lane::LaneKey;
use super::chore::{Chore, Goal};
use super::id::{Known, Place, TaskId};
use super::shape;
use super::table::{Kept, Task};
use crate::base::{Now, calendar};
use crate::mcp::capability::declares_tasks;
use crate::mcp::{Code, Era, Method, Version};
use crate::wire::{Json, Splice};

/// What a server asks for that wants a call as a task only (2026-07-28 extension "Capability Negotiation").
pub(super) const REQUIRED: &str =
    r#"{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;

impl Gateway {
    /// What a call is besides a call, if its upstream makes tasks of calls; `own` is the tool's own name.
    #[cold]
    pub(in super::super) fn chore_of_call(
        &self,
        asked: &Asked<'_>,
        upstream: usize,
        own: &str,
    ) -> Option<Box<Chore>> {
        let found = self.upstreams.get(upstream)?;
        if asked.method != Method::ToolsCall {
            return None;
        }
        let speaks = found.identity.as_ref()?.version.era();
        // `execute_tool` gives a result.
        let takes_tasks = self.execution.is_none() && takes_tasks(asked);
        let support = found.task_tools.get(own);
        let goal = match (asked.version.era(), speaks) {
            (Era::Legacy, _) | (Era::Modern, Era::Modern) if takes_tasks => Goal::Create,
            (Era::Modern, Era::Legacy) if takes_tasks && support.is_some() => Goal::Create,
            (_, Era::Legacy) if support.is_some_and(|support| support.is_required) => Goal::Await,
            _ => return None,
        };
        Some(Box::new(Chore::new(goal, None)))
    }

    /// A modern upstream will do a legacy client's call as a task only: then it is waited for. True if so.
    #[cold]
    pub(in super::super) fn is_made_a_task(
        &mut self,
        now: Now,
        key: FlightKey,
        error: Json<'_>,
        out: &mut Effects,
    ) -> bool {
        let wants_tasks = error.get("code").and_then(Json::as_i64)
            == Some(Code::MissingCapability.number().into())
            && error
                .get("data")
                .and_then(|data| data.get("requiredCapabilities"))
                .is_some_and(declares_tasks);
        let Some(flight) = self.flights.get(key) else { return false };
        let is_plain = flight.chore.is_none() && flight.method == Method::ToolsCall;
        if !wants_tasks || !is_plain || flight.params.is_none() {
            return false;
        }
        let Some(key) = self.rekey(now, key) else { return true };
        if let Some(flight) = self.flights.get_mut(key) {
            flight.chore = Some(Box::new(Chore::new(Goal::Await, None)));
            flight.stage = Stage::Waiting;
            flight.lane = None;
        }
        self.settle_trip(key);
        self.relaunch(now, key, out);
        true
    }

    /// An upstream has answered a call that may become a task. True if it did, and all has been seen to.
    pub(super) fn call_answered(
        &mut self,
        now: Now,
        lane: LaneKey,
        key: FlightKey,
        result: Json<'_>,
        out: &mut Effects,
    ) -> bool {
        let Some(from) = self.lanes.get(lane).map(super::super::lane::Lane::era) else {
            return false;
        };
        let Some(flight) = self.flights.get(key) else { return false };
        let (Some(chore), Some(client)) = (&flight.chore, flight.client()) else { return false };
        let Asker::Client { era, .. } = &flight.asker else { return false };
        let (era, is_awaited) = (*era, matches!(chore.goal, Goal::Await));
        let Some(principal) = self.clients.get(client).map(|client| client.who.principal) else {
            return false;
        };
        let Some(task) = shape::made(result, from == Era::Modern) else {
            let asks = result.get("resultType").and_then(Json::as_str);
            if is_awaited || era == Era::Modern || asks.as_deref() == Some("input_required") {
                return false;
            }
            if from == Era::Modern {
                self.keep_ended(now, key, result, out);
                return true;
            }
            return false;
        };
        let own = task.get("taskId").and_then(Json::as_str).unwrap_or_default();
        let Some(known) = self.know_task(principal, lane, &own) else { return false };
        if is_awaited {
            self.await_task(now, key, known, task, out);
            return true;
        }
        if from == Era::Legacy || era == Era::Legacy {
            self.register_task(lane, key, &known, task);
        }
        let text = match (from, era) {
            (Era::Legacy, Era::Legacy) | (Era::Modern, Era::Modern) => {
                shape::renamed(result, task, &known.token, None)
            }
            (Era::Legacy, Era::Modern) => {
                let members = shape::modern_members(task, &known.token, None);
                format!("{{\"resultType\":\"task\",{members}}}")
            }
            (Era::Modern, Era::Legacy) => {
                format!("{{\"task\":{}}}", shape::legacy(task, &known.token, None))
            }
        };
        self.finish_chore(key, &text, out);
        if from == Era::Legacy && era == Era::Modern {
            self.collect(lane, &known, out);
        }
        true
    }

    fn register_task(&mut self, lane: LaneKey, flight: FlightKey, known: &Known, task: Json<'_>) {
        let Some(found) = self.flights.get(flight) else { return };
        let Asker::Client { client, era, .. } = &found.asker else { return };
        let (client, era) = (*client, *era);
        let Some(principal) = self.clients.get(client).map(|client| client.who.principal) else {
            return;
        };
        // A modern client hears of no progress of tasks.
        let progress =
            found.token.clone().filter(|_| era == Era::Legacy).map(|token| (flight, token));
        let known = known.clone();
        let key = self.remember_task(|_, number| Task {
            known,
            client,
            principal,
            era,
            lane,
            number,
            asks: Vec::new(),
            collector: None,
            progress,
            seen: None,
            kept: None,
            alarm: None,
        });
        self.age_task(key, shape::ttl(task));
    }

    /// Asks a legacy server for the result of a modern client's task: what it has to ask, it asks meanwhile.
    fn collect(&mut self, lane: LaneKey, known: &Known, out: &mut Effects) {
        let can_be_asked = self.lanes.get(lane).is_some_and(|lane| lane.hello.is_some());
        let Some(key) = self.tasks.find(lane, &known.id.own).filter(|_| can_be_asked) else {
            return;
        };
        let params = format!("{{\"taskId\":{}}}", crate::wire::text::quoted(&known.id.own));
        let flight = self.errand(lane, Errand::Collect(key), Method::TasksResult, &params, out);
        if let Some(task) = self.tasks.get_mut(key) {
            task.collector = flight;
        }
    }

    /// A modern upstream has answered at once what a legacy client wants as a task: it gets one that has ended.
    fn keep_ended(&mut self, now: Now, key: FlightKey, result: Json<'_>, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let (upstream, Some(lane)) = (flight.upstream, flight.lane) else { return };
        let Some(client) = flight.client() else { return };
        let Some(principal) = self.clients.get(client).map(|client| client.who.principal) else {
            return;
        };
        let result = self.call_result(upstream, result, Era::Modern, Era::Legacy);
        let shard = self.shard;
        let id = |task| TaskId {
            upstream,
            endpoint: 0,
            place: Place::Kept { shard, task },
            own: Box::default(),
        };
        let task = self.remember_task(|task, number| Task {
            known: Known { id: id(task), token: Box::default() },
            client,
            principal,
            era: Era::Legacy,
            lane,
            number,
            asks: Vec::new(),
            collector: None,
            progress: None,
            seen: None,
            kept: Some(Box::new(Kept { task: String::new(), result })),
            alarm: None,
        });
        self.age_task(task, None);
        let known = self.name_task(principal, id(task));
        let time = calendar::iso(now.unix_ms);
        let ttl = self.settings.limits.task.as_millis();
        let shown = format!(
            "{{\"taskId\":\"{}\",\"status\":\"completed\",\"createdAt\":\"{time}\",\"lastUpdatedAt\":\"{time}\",\"ttl\":{ttl}}}",
            known.token
        );
        let text = format!("{{\"task\":{shown}}}");
        if let Some(task) = self.tasks.get_mut(task) {
            task.known = known;
            if let Some(kept) = &mut task.kept {
                kept.task = shown;
            }
        }
        self.finish_chore(key, &text, out);
    }

    /// What a request to a modern upstream says that its client can, and that it takes tasks.
    pub(super) fn with_tasks(capabilities: &str) -> String {
        let tasks = r#""io.modelcontextprotocol/tasks":{}"#;
        let Ok(json) = Json::parse(capabilities) else {
            return format!("{{\"extensions\":{{{tasks}}}}}");
        };
        if declares_tasks(json) {
            return capabilities.to_owned();
        }
        let mut splice = Splice::of(json.text());
        match json.get("extensions") {
            Some(extensions) if extensions.is_object() => splice.insert_member(extensions, tasks),
            Some(other) => splice.replace(other.text(), format!("{{{tasks}}}")),
            None => splice.insert_member(json, format!("\"extensions\":{{{tasks}}}")),
        }
        splice.into_text()
    }
}

/// Whether a request's client takes a task for an answer.
fn takes_tasks(asked: &Asked<'_>) -> bool {
    match asked.version.era() {
        Era::Legacy => {
            asked.version == Version::V2025_11_25 && asked.parsed.task.is_some_and(Json::is_object)
        }
        Era::Modern => asked.parsed.meta.capabilities.is_some_and(declares_tasks),
    }
}
