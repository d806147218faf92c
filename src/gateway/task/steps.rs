//! Requests about tasks on their way upstream, answer by answer, until there is one for the client.

use std::time::Duration;

use super::super::connect::gateway_itself;
use super::super::door::{Effect, Effects, Mail};
use super::super::flight::{Asker, Errand, FlightKey, Stage, wire_id};
use super::super::lane::{Lane, LaneKey};
use super::super::tally::End;
use super::super::{Gateway, answer, request};
use super::chore::{Chore, Goal};
use super::id::Known;
use super::request::ACKNOWLEDGED;
use super::shape;
use super::table::TaskKey;
use crate::base::{Now, ShardId};
use crate::mcp::{Code, Era, Method, Params};
use crate::wire::{Json, text};

/// What a call that may become a task says besides.
#[derive(Debug, Default)]
pub(in super::super) struct Extras {
    /// A member of its `params`.
    pub member: Option<&'static str>,
    /// What a legacy client can, as a modern upstream is told.
    pub capabilities: Option<String>,
}

type Answer<'a> = Result<Json<'a>, Json<'a>>;

impl Gateway {
    /// A flight with a chore has found its lane. What a call is to say besides; anything else has been sent.
    pub(in super::super) fn send_chore(
        &mut self,
        now: Now,
        key: FlightKey,
        lane: LaneKey,
        params: Json<'_>,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) -> Option<Extras> {
        let to = self.lanes.get(lane)?.era();
        let limits = &self.settings.limits;
        let (request, task) = (limits.request, limits.task);
        let flight = self.flights.get_mut(key)?;
        let (from, client) = match &flight.asker {
            Asker::Client { era, client, .. } => (*era, *client),
            _ => return None,
        };
        let own_wait = flight.execution.as_ref().and_then(|execution| execution.timeout);
        let method = flight.method;
        let chore = flight.chore.as_deref_mut()?;
        chore.sent = chore.begins_with(from, to);
        if chore.is_call() {
            if matches!(chore.goal, Goal::Await) {
                chore.until.get_or_insert(now.at.after(own_wait.unwrap_or(request)));
            }
            let asks_itself = from == Era::Legacy && parsed.task.is_some();
            let is_new = (from, to) == (Era::Legacy, Era::Modern);
            return Some(Extras {
                member: (to == Era::Legacy && !asks_itself).then_some("\"task\":{}"),
                capabilities: is_new.then(|| self.said_capabilities(client)),
            });
        }
        flight.lane = Some(lane);
        flight.stage = Stage::Sent;
        flight.sent = now.at;
        let until = chore.is_long().then(|| *chore.until.get_or_insert(now.at.after(task)));
        let (sent, relay, is_update) =
            (chore.sent, chore.relay, matches!(chore.goal, Goal::Update));
        let own = chore.known.as_ref().map(|known| known.id.own.clone());
        if let Some(until) = until {
            self.set_due(now, key, until.since(now.at));
        }
        if is_update && to == Era::Legacy {
            self.update_here(key, lane, parsed, out);
            return None;
        }
        let own = own?;
        if sent != method {
            self.write_step(key, lane, "", out);
            return None;
        }
        let trace = self.trace_members(now, key);
        let capabilities = self.said_capabilities(client);
        let session = self.clients.get(client).and_then(|client| client.session.as_deref());
        let translation = request::Translation {
            wire_id: wire_id(self.shard, key),
            method,
            from,
            to,
            remembered: session.map(|session| request::Remembered {
                capabilities: &capabilities,
                info: &session.info,
                level: None,
            }),
            renamed: Some(&own),
            retry: None,
            extra: None,
            trace: trace.as_deref(),
        };
        self.frame_on(lane, relay, out, |out| request::write(out, &translation, params, parsed));
        None
    }

    /// What a legacy session's client can, and that it takes tasks.
    fn said_capabilities(&self, client: super::super::ClientKey) -> String {
        let session = self.clients.get(client).and_then(|client| client.session.as_deref());
        Self::with_tasks(session.map_or("{}", |session| &*session.capabilities))
    }

    /// One frame for a lane, or for the one that sits in its place on another shard.
    fn frame_on(
        &self,
        lane: LaneKey,
        relay: Option<ShardId>,
        out: &mut Effects,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (Some(to), Some(seat)) = (relay, self.lanes.get(lane).map(|lane| lane.seat)) else {
            return self.frame_for(lane, out, write);
        };
        let mut frame = Vec::new();
        write(&mut frame);
        out.push(Effect::Mail { to, mail: Mail::ToUpstream { seat, frame: frame.into() } });
    }

    /// The next request of a chore; `more` are members of its `params` besides the task.
    pub(super) fn next_step(
        &mut self,
        now: Now,
        key: FlightKey,
        method: Method,
        more: &str,
        out: &mut Effects,
    ) {
        let Some(key) = self.rekey(now, key) else { return };
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Sent;
        flight.sent = now.at;
        let lane = flight.lane;
        let Some(chore) = flight.chore.as_deref_mut() else { return };
        chore.sent = method;
        if let Some(until) = chore.until {
            self.set_due(now, key, until.since(now.at));
        }
        match lane.filter(|&lane| self.lanes.get(lane).is_some_and(Lane::is_ready)) {
            Some(lane) => self.write_step(key, lane, more, out),
            None => self.fail_unavailable(key, out),
        }
    }

    fn write_step(&self, key: FlightKey, lane: LaneKey, more: &str, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let Some(chore) = flight.chore.as_deref() else { return };
        let Some(known) = &chore.known else { return };
        let params = self.task_params(flight.client(), lane, &known.id.own, more);
        let id = wire_id(self.shard, key);
        self.frame_on(lane, chore.relay, out, |out| {
            let frame = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{}\",\"params\":{params}}}",
                chore.sent.as_str()
            );
            let from = out.len();
            out.extend_from_slice(frame.as_bytes());
            request::one_line(out, from);
        });
    }

    /// The `params` of a request about a task, as its upstream wants them.
    pub(super) fn task_params(
        &self,
        client: Option<super::super::ClientKey>,
        lane: LaneKey,
        own: &str,
        more: &str,
    ) -> String {
        let mut params = format!("{{\"taskId\":{}{more}", text::quoted(own));
        if self.lanes.get(lane).is_some_and(|lane| lane.era() == Era::Modern) {
            let session = client.and_then(|client| self.clients.get(client)?.session.as_deref());
            let itself = gateway_itself();
            let said = session.map_or(itself.capabilities, |session| &session.capabilities);
            let capabilities = Self::with_tasks(said);
            let meta = request::of_the_connection(&request::Remembered {
                capabilities: &capabilities,
                info: session.map_or(itself.info, |session| &session.info),
                level: None,
            });
            params.extend([",\"_meta\":{", &meta, "}"]);
        }
        params.push('}');
        params
    }

    /// An upstream has answered a flight that has a chore. False if it is a call like any other.
    pub(in super::super) fn chore_answered(
        &mut self,
        now: Now,
        lane: LaneKey,
        key: FlightKey,
        answer: Answer<'_>,
        out: &mut Effects,
    ) -> bool {
        let Some(from) = self.lanes.get(lane).map(Lane::era) else { return false };
        let Some(flight) = self.flights.get(key) else { return false };
        let (Some(chore), Asker::Client { era, .. }) = (flight.chore.as_deref(), &flight.asker)
        else {
            return false;
        };
        let (sent, era) = (chore.sent, *era);
        if sent == Method::ToolsCall {
            return answer.is_ok_and(|result| self.call_answered(now, lane, key, result, out));
        }
        match &chore.goal {
            Goal::List(_) => self.listed(now, key, from, answer, out),
            Goal::Get => self.got(now, key, lane, (from, era), answer, out),
            Goal::Cancel => self.cancelled(now, key, (from, era), answer, out),
            Goal::Result | Goal::Await | Goal::Create => {
                self.result_came(now, key, (from, era), answer, out);
            }
            Goal::Update => self.finish(key, from, answer, out),
        }
        true
    }

    fn chore(&mut self, key: FlightKey) -> Option<&mut Chore> {
        self.flights.get_mut(key)?.chore.as_deref_mut()
    }

    fn known(&self, key: FlightKey) -> Option<Known> {
        self.flights.get(key)?.chore.as_deref()?.known.clone()
    }

    fn see(&mut self, key: FlightKey, json: Json<'_>) {
        if let Some(chore) = self.chore(key) {
            chore.seen = Some(json.text().into());
        }
    }

    /// The state of a task, on its way to its client.
    fn got(
        &mut self,
        now: Now,
        key: FlightKey,
        lane: LaneKey,
        (from, era): (Era, Era),
        answer: Answer<'_>,
        out: &mut Effects,
    ) {
        let Some(known) = self.known(key) else { return };
        let seen = self.chore(key).and_then(|chore| chore.seen.take());
        let crosses_up = (from, era) == (Era::Legacy, Era::Modern);
        match (seen, answer) {
            (Some(seen), answer) => {
                let members = self.detailed(lane, &known, Json::known(&seen), Some(answer));
                let text = format!("{{\"resultType\":\"complete\",{members}}}");
                self.finish_chore(key, &text, out);
            }
            (None, Err(error)) => self.finish(key, from, Err(error), out),
            (None, Ok(task)) if crosses_up && has_result(task) => {
                self.see(key, task);
                self.next_step(now, key, Method::TasksResult, "", out);
            }
            (None, Ok(task)) => {
                let text = match (from, era) {
                    (Era::Legacy, Era::Modern) => {
                        let members = self.detailed(lane, &known, task, None);
                        format!("{{\"resultType\":\"complete\",{members}}}")
                    }
                    (Era::Modern, Era::Legacy) => shape::legacy(task, &known.token, None),
                    _ => self.renamed_task(&known, task),
                };
                self.finish_chore(key, &text, out);
            }
        }
    }

    /// A task of the client's own era, under the client's name for it.
    pub(super) fn renamed_task(&self, known: &Known, task: Json<'_>) -> String {
        let inner = task
            .get("result")
            .filter(|inner| inner.is_object())
            .map(|inner| self.call_result(known.id.upstream, inner, Era::Modern, Era::Modern));
        shape::renamed(task, task, &known.token, inner)
    }

    /// A legacy upstream's task as `tasks/get` of 2026-07-28 shows it, with its result where it has ended and the
    /// questions that wait where it has not: members, with commas between.
    pub(super) fn detailed(
        &self,
        lane: LaneKey,
        known: &Known,
        task: Json<'_>,
        result: Option<Answer<'_>>,
    ) -> String {
        let token = &*known.token;
        match result {
            // An error in the result of a tool is no failure of its task (extension "Task Execution Errors").
            Some(Ok(result)) => {
                let result = self.call_result(known.id.upstream, result, Era::Legacy, Era::Legacy);
                let members = shape::modern_members(task, token, Some("completed"));
                format!("{members},\"result\":{}", shape::unrelated(Json::known(&result)))
            }
            Some(Err(error)) => {
                let members = shape::modern_members(task, token, Some("failed"));
                format!("{members},\"error\":{}", error.text())
            }
            None if shape::has_ended(task) => shape::modern_members(task, token, None),
            None => {
                let found = self.tasks.find(lane, &known.id.own);
                let asks = found.and_then(|key| Some(self.tasks.get(key)?.asks.as_slice()));
                let mut questions = String::new();
                for ask in asks.unwrap_or_default() {
                    if !questions.is_empty() {
                        questions.push(',');
                    }
                    let (key, method) = (text::quoted(&ask.key), ask.method.as_str());
                    questions.extend([&*key, ":{\"method\":\"", method, "\",\"params\":"]);
                    questions.extend([&*ask.params, "}"]);
                }
                if questions.is_empty() {
                    // What it waits for may be on its way.
                    return shape::modern_members(task, token, Some("working"));
                }
                let members = shape::modern_members(task, token, Some("input_required"));
                format!("{members},\"inputRequests\":{{{questions}}}")
            }
        }
    }

    /// A step towards the result of a task that is waited for.
    fn result_came(
        &mut self,
        now: Now,
        key: FlightKey,
        (from, era): (Era, Era),
        answer: Answer<'_>,
        out: &mut Effects,
    ) {
        let Some(known) = self.known(key) else { return };
        let sent = self.chore(key).map_or(Method::TasksGet, |chore| chore.sent);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.finish(key, from, Err(error), out),
        };
        if sent == Method::TasksUpdate {
            return self.pause(now, key, Duration::ZERO);
        }
        if sent == Method::TasksResult {
            return self.give_result(key, &known, (from, era), answer, out);
        }
        if shape::is(answer, "completed") {
            let result = answer.get("result").unwrap_or(Json::EMPTY_OBJECT);
            self.give_result(key, &known, (from, era), result, out);
        } else if shape::is(answer, "failed")
            && let Some(error) = answer.get("error").filter(|error| error.is_object())
        {
            self.finish(key, from, Err(error), out);
        } else if shape::has_ended(answer) {
            let said = answer.get("status").and_then(Json::as_str).unwrap_or_default();
            self.fail(key, Code::Internal, &format!("the task was {said}"), out);
        } else if shape::is(answer, "input_required") {
            self.put_questions(now, key, answer, out);
        } else {
            self.pause(now, key, shape::poll_after(answer));
        }
    }

    fn give_result(
        &mut self,
        key: FlightKey,
        known: &Known,
        (from, era): (Era, Era),
        result: Json<'_>,
        out: &mut Effects,
    ) {
        let is_plain =
            self.chore(key).is_none_or(|chore| matches!(chore.goal, Goal::Await | Goal::Create));
        if is_plain {
            let result = shape::unrelated(result);
            return self.finish(key, from, Ok(Json::known(&result)), out);
        }
        let result = self.call_result(known.id.upstream, result, from, era);
        let text = shape::related(Json::known(&result), &known.token);
        self.finish_chore(key, &text, out);
    }

    /// A modern upstream's task asks its legacy client.
    fn put_questions(&mut self, now: Now, key: FlightKey, task: Json<'_>, out: &mut Effects) {
        let Some(chore) = self.chore(key) else { return };
        let mut new = String::new();
        for member in task.get("inputRequests").into_iter().flat_map(Json::members) {
            if chore.answered.iter().any(|key| **key == *member.key) {
                continue;
            }
            if !new.is_empty() {
                new.push(',');
            }
            new.extend(["\"", member.key, "\":", member.value.text()]);
        }
        if new.is_empty() {
            return self.pause(now, key, shape::poll_after(task));
        }
        let asks = format!("{{\"inputRequests\":{{{new}}}}}");
        self.ask_for_upstream(now, key, Json::known(&asks), out);
    }

    /// The client has answered what its task asks. True if the flight is about one.
    pub(in super::super) fn answers_task(
        &mut self,
        now: Now,
        key: FlightKey,
        answers: &str,
        out: &mut Effects,
    ) -> bool {
        let request = self.settings.limits.request;
        let Some(chore) = self.chore(key).filter(|chore| chore.known.is_some()) else {
            return false;
        };
        // What a person took is not the upstream's time.
        if matches!(chore.goal, Goal::Await) {
            chore.until = Some(now.at.after(request));
        }
        chore.answered.extend(Json::known(answers).members().map(|member| member.key.into()));
        let more = format!(",\"inputResponses\":{answers}");
        self.next_step(now, key, Method::TasksUpdate, &more, out);
        true
    }

    /// An upstream has made a task of a call whose client wants none.
    pub(super) fn await_task(
        &mut self,
        now: Now,
        key: FlightKey,
        known: Known,
        task: Json<'_>,
        out: &mut Effects,
    ) {
        let is_modern = shape::made(task, true).is_some();
        let Some(chore) = self.chore(key) else { return };
        chore.known = Some(known);
        if !is_modern {
            self.next_step(now, key, Method::TasksResult, "", out);
        } else if shape::has_ended(task) {
            self.next_step(now, key, Method::TasksGet, "", out);
        } else {
            self.pause(now, key, shape::poll_after(task));
        }
    }

    /// Looks at a task again after a while.
    fn pause(&mut self, now: Now, key: FlightKey, wait: Duration) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Pausing;
        let until = flight.chore.as_deref().and_then(|chore| chore.until);
        let wait = until.map_or(wait, |until| wait.min(until.since(now.at)));
        self.set_due(now, key, wait);
    }

    /// A flight's time has come. True if that is to look at its task, or ended what takes as long as a task does.
    #[cold]
    pub(in super::super) fn chore_due(
        &mut self,
        now: Now,
        key: FlightKey,
        out: &mut Effects,
    ) -> bool {
        let Some(flight) = self.flights.get(key) else { return false };
        let Some(chore) = flight.chore.as_deref() else { return false };
        let is_over = chore.until.is_some_and(|until| until <= now.at);
        let (is_long, is_pausing) = (chore.is_long(), matches!(flight.stage, Stage::Pausing));
        if is_pausing && !is_over {
            self.next_step(now, key, Method::TasksGet, "", out);
            return true;
        }
        if is_long && is_over && (is_pausing || flight.is_sent()) {
            let wait = self.settings.limits.task.as_secs();
            let message = format!("the task did not end within {wait} s: limit task");
            self.cancel_upstream(key, "timed out", out);
            self.fail(key, Code::Timeout, &message, out);
            return true;
        }
        self.abandon_task(key, out);
        false
    }

    /// Nobody waits any more for the result of a call that its upstream made a task of: that is cancelled.
    pub(in super::super) fn abandon_task(&mut self, key: FlightKey, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let Some(chore) = flight.chore.as_deref() else { return };
        let (Goal::Await, Some(known), Some(lane)) = (&chore.goal, &chore.known, flight.lane)
        else {
            return;
        };
        let params = self.task_params(flight.client(), lane, &known.id.own, "");
        self.errand(lane, Errand::Tell, Method::TasksCancel, &params, out);
    }

    fn cancelled(
        &mut self,
        now: Now,
        key: FlightKey,
        (from, era): (Era, Era),
        answer: Answer<'_>,
        out: &mut Effects,
    ) {
        let Some(known) = self.known(key) else { return };
        let Some(chore) = self.chore(key) else { return };
        let (sent, seen) = (chore.sent, chore.seen.take());
        match (from, era, sent, answer) {
            // What has ended is acknowledged as well, in the new era.
            (Era::Legacy, Era::Modern, Method::TasksCancel, Err(error)) => {
                self.see(key, error);
                self.next_step(now, key, Method::TasksGet, "", out);
            }
            (Era::Legacy, Era::Modern, Method::TasksGet, Err(error)) => {
                let error = seen.as_deref().map_or(error, Json::known);
                self.finish(key, from, Err(error), out);
            }
            (Era::Legacy, Era::Modern, _, Ok(_)) => self.finish_chore(key, ACKNOWLEDGED, out),
            (Era::Modern, Era::Legacy, Method::TasksGet, Ok(task)) => {
                if shape::has_ended(task) {
                    let message = "the task has ended";
                    return self.fail(key, Code::InvalidParams, message, out);
                }
                self.see(key, task);
                self.next_step(now, key, Method::TasksCancel, "", out);
            }
            (Era::Modern, Era::Legacy, _, Ok(_)) => {
                let seen = seen.as_deref().map_or(Json::EMPTY_OBJECT, Json::known);
                let text = shape::legacy(seen, &known.token, Some("cancelled"));
                self.finish_chore(key, &text, out);
            }
            (_, _, _, Ok(task)) if from == Era::Legacy => {
                let text = self.renamed_task(&known, task);
                self.finish_chore(key, &text, out);
            }
            (_, _, _, answer) => self.finish(key, from, answer, out),
        }
    }

    /// `tasks/update` of a task whose server has asked in the old way.
    fn update_here(
        &mut self,
        key: FlightKey,
        lane: LaneKey,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) {
        let Some(known) = self.known(key) else { return };
        let answers = parsed.input_responses.unwrap_or(Json::EMPTY_OBJECT);
        if let Some(task) = self.tasks.find(lane, &known.id.own) {
            self.answer_asks(task, lane, answers, out);
        }
        self.finish_chore(key, ACKNOWLEDGED, out);
    }

    fn answer_asks(&mut self, key: TaskKey, lane: LaneKey, answers: Json<'_>, out: &mut Effects) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let (answered, left) = std::mem::take(&mut task.asks)
            .into_iter()
            .partition(|ask| answers.get(&ask.key).is_some());
        task.asks = left;
        let answered: Vec<super::super::flight::HeldAsk> = answered;
        for ask in answered {
            if let Some(answer) = answers.get(&ask.key) {
                self.answer_lane(lane, &ask.id, Ok(answer), out);
            }
        }
    }

    /// The result of a call, as a client sees it who knows the upstream's things under other names.
    pub(super) fn call_result(
        &self,
        upstream: usize,
        result: Json<'_>,
        from: Era,
        to: Era,
    ) -> String {
        let method = Method::ToolsCall;
        let routes = &self.routes;
        answer::result_text(result, &answer::Translation { method, from, to, upstream, routes })
    }

    /// Answers a flight with a result that has been put together; it ends.
    pub(super) fn finish_chore(&mut self, key: FlightKey, result: &str, out: &mut Effects) {
        self.withdraw_questions(key, out);
        let Some(mut flight) = self.close(key, out) else { return };
        self.settle_flight(&mut flight, End::Answered, out);
        let Asker::Client { client, id, exchange, .. } = flight.asker else { return };
        self.exchanges.reply(&self.clients, client, exchange, out, |out| {
            answer::open(out, &id);
            let from = out.len();
            out.extend_from_slice(result.as_bytes());
            request::one_line(out, from);
            out.push(b'}');
        });
    }
}

/// Whether `tasks/result` has something to say of it that belongs to its state.
pub(super) fn has_result(task: Json<'_>) -> bool {
    shape::is(task, "completed") || shape::is(task, "failed")
}
