//! Calls to the built-in upstream: most end at once, without a flight; those that wait, read or ask
//! get one and go on by steps.

use super::builtin::{Context, Outcome};
use super::client::ClientKey;
use super::door::{Effect, Effects};
use super::exchange::ExchangeKey;
use super::flight::{Asker, Asking, Flight, FlightKey, Stage};
use super::inbound::Asked;
use super::settings::Target;
use super::tally::End;
use super::timer::Alarm;
use super::{Gateway, answer, outbound};
use crate::base::{Key, Now};
use crate::mcp::{Code, Era, Method, Notice, Params, era};
use crate::wire::{Json, Splice, text};

/// What a step of a built-in call is given beside its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    number: u32,
    text: Option<Result<&'a str, &'a str>>,
    answers: Option<Json<'a>>,
    capabilities: Json<'a>,
}

impl<'a> Step<'a> {
    /// The first step of a modern client's request, or of a legacy one's whose session matters not.
    pub(super) fn first(parsed: &Params<'a>) -> Self {
        Self {
            number: 0,
            text: None,
            answers: parsed.input_responses,
            capabilities: parsed.meta.capabilities.unwrap_or(Json::EMPTY_OBJECT),
        }
    }
}

/// Whom an ended step is answered to.
struct Answered<'a> {
    client: ClientKey,
    id: &'a str,
    exchange: Option<ExchangeKey>,
    era: Era,
    method: Method,
    upstream: usize,
}

impl Gateway {
    /// One step, its text appended to `text`.
    pub(super) fn serve_builtin(
        &mut self,
        now: Now,
        method: Method,
        params: Json<'_>,
        step: &Step<'_>,
        text: &mut Vec<u8>,
    ) -> Outcome {
        let random = self.roll();
        let context = Context {
            now,
            step: step.number,
            text: step.text,
            answers: step.answers,
            capabilities: step.capabilities,
            random,
        };
        self.builtin.serve(method.as_str(), params, &context, text)
    }

    /// The first step of a client's request, its text appended to `text`. What was found in the
    /// parameters once is not looked for again.
    #[inline]
    fn serve_asked(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        own: &str,
        params: Json<'_>,
        text: &mut Vec<u8>,
    ) -> Outcome {
        let random = self.roll();
        let session = if asked.parsed.meta.is_modern() {
            None
        } else {
            self.clients.get(asked.client).and_then(|client| client.session.as_deref())
        };
        // Only what can be asked matters, and most clients cannot be asked anything.
        let remembered = session
            .filter(|session| session.askable.any())
            .and_then(|session| Json::parse(&session.capabilities).ok());
        let step = Step::first(asked.parsed);
        let context = Context {
            now,
            step: step.number,
            text: step.text,
            answers: step.answers,
            capabilities: remembered.unwrap_or(step.capabilities),
            random,
        };
        if asked.method == Method::ToolsCall {
            self.builtin.call(own, asked.parsed.arguments, &context, text)
        } else {
            self.builtin.serve(asked.method.as_str(), params, &context, text)
        }
    }

    /// A client's request to the built-in upstream; `own` is what that calls the thing.
    pub(super) fn call_builtin(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        own: &str,
        out: &mut Effects,
    ) {
        let era = asked.version.era();
        let renamed = if asked.method == Method::ToolsCall {
            None
        } else {
            self.rename(asked.method, upstream, own, asked.params, asked.parsed)
        };
        let params =
            renamed.as_deref().and_then(|text| Json::parse(text).ok()).unwrap_or(asked.params);
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        // A list may have to be shortened first.
        let is_whole = self.settings.policy.is_none() || asked.method.list_member().is_none();
        let is_direct = is_whole
            && !self.routes.renames(upstream)
            && self.exchanges.is_direct(&self.clients, asked.client, asked.exchange);
        let outcome = if is_direct {
            // The hot path: what the tool writes stands where it leaves from.
            let start = out.bytes.len();
            let at = answer::open_in(&mut out.bytes, asked.id, era, asked.method);
            let outcome = self.serve_asked(now, asked, own, params, &mut out.bytes);
            if outcome == Outcome::Done {
                answer::close_in(&mut out.bytes, at, era);
                self.exchanges.reply_from(&self.clients, asked.client, asked.exchange, out, start);
                self.tally.answered_at_once(upstream, asked.method);
                self.scratch = text;
                return;
            }
            text.extend_from_slice(&out.bytes[at..]);
            out.bytes.truncate(start);
            outcome
        } else {
            self.serve_asked(now, asked, own, params, &mut text)
        };
        let to = Answered {
            client: asked.client,
            id: asked.id,
            exchange: asked.exchange,
            era,
            method: asked.method,
            upstream,
        };
        if self.end_step(&to, &outcome, &text, out) {
            self.note_step(asked, upstream, &outcome);
        } else if let Some(why) = self.too_many(asked.client) {
            self.refuse(asked, Code::Internal.number(), why, None, out);
        } else {
            let renamed = self.rename(asked.method, upstream, own, asked.params, asked.parsed);
            let params = renamed.as_deref().unwrap_or(asked.params.text());
            let key = self.open_local(now, asked, upstream, params, out);
            self.go_on(now, key, 0, era, outcome, &text, out);
        }
        text.clear();
        self.scratch = text;
    }

    /// The parameters with the thing called as its upstream calls it; `None` where that is the same.
    fn rename(
        &self,
        method: Method,
        upstream: usize,
        own: &str,
        params: Json<'_>,
        parsed: &Params<'_>,
    ) -> Option<String> {
        if !self.routes.renames(upstream) {
            return None;
        }
        let place = super::request::named(method, parsed)?;
        let mut splice = Splice::of(params.text());
        splice.replace(place.text(), text::quoted(own));
        let mut bytes = Vec::new();
        splice.write(&mut bytes);
        String::from_utf8(bytes).ok()
    }

    /// A flight for a call that does not end at once. Its time is its own; the built-in tools bound it.
    fn open_local(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        params: &str,
        out: &mut Effects,
    ) -> FlightKey {
        let place = self.clients.get(asked.client).map_or(0, |client| client.flights.len());
        let mut execution = self.execution.take();
        if let Some(execution) = &mut execution {
            execution.begin(now.at);
        }
        let key = self.flights.insert(Flight {
            token: asked.parsed.meta.progress_token.map(|token| token.text().into()),
            params: Some(params.into()),
            place,
            audit: self.audit.take(),
            span: self.span.take(),
            begun: now.at,
            execution,
            ..Flight::new(asked.asker(), upstream, asked.method, Stage::Stepping { step: 0 })
        });
        if let Some(client) = self.clients.get_mut(asked.client) {
            client.flights.push(key);
        }
        self.pause_if_many(asked.client, out);
        key
    }

    /// Answers, if the step was the last.
    fn end_step(
        &mut self,
        to: &Answered<'_>,
        outcome: &Outcome,
        text: &[u8],
        out: &mut Effects,
    ) -> bool {
        match outcome {
            Outcome::Done => self.answer_local(to, text, out),
            // A modern client is asked by the answer itself and makes the call anew: nothing is held.
            Outcome::Ask if to.era == Era::Modern => {
                self.exchanges.reply(&self.clients, to.client, to.exchange, out, |out| {
                    answer::open(out, to.id);
                    out.extend_from_slice(b"{\"resultType\":\"input_required\",\"inputRequests\":");
                    out.extend_from_slice(text);
                    out.extend_from_slice(b"}}");
                });
            }
            Outcome::Fault { code, message, data } => {
                if *code == Code::InvalidParams.number()
                    && data.as_ref().is_some_and(|data| data.contains("\"tool\""))
                    && let Some(execution) = self.execution.take()
                {
                    let (code, message, data) =
                        self.tool_not_found(to.client, to.upstream, &execution.tool);
                    let (code, data) = (code.number_in(to.era), Some(&*data));
                    self.reply_error(to.client, to.id, to.exchange, code, &message, data, out);
                    return true;
                }
                let missing = to.method == Method::ResourcesRead
                    && data.as_ref().is_some_and(|data| data.contains("\"uri\""));
                let code = if missing { era::resource_not_found(to.era) } else { *code };
                self.reply_error(
                    to.client,
                    to.id,
                    to.exchange,
                    code,
                    message,
                    data.as_deref(),
                    out,
                );
            }
            _ => return false,
        }
        true
    }

    /// A request has ended with its first step.
    fn note_step(&mut self, asked: &Asked<'_>, upstream: usize, outcome: &Outcome) {
        match end_of(outcome) {
            End::Answered => self.tally.answered_at_once(upstream, asked.method),
            end => {
                self.tally.refused(upstream, asked.method, end);
                self.mark_span(end);
            }
        }
    }

    fn answer_local(&mut self, to: &Answered<'_>, text: &[u8], out: &mut Effects) {
        let permitted = match &self.settings.policy {
            Some(_) => Json::from_bytes(text)
                .ok()
                .and_then(|list| self.permitted(to.client, to.upstream, to.method, list)),
            None => None,
        };
        let text = permitted.as_deref().map_or(text, str::as_bytes);
        let renames = self.routes.renames(to.upstream);
        if to.era == Era::Legacy && !renames {
            // What the tool wrote is the answer.
            self.exchanges.reply(&self.clients, to.client, to.exchange, out, |out| {
                answer::open(out, to.id);
                out.extend_from_slice(text);
                out.push(b'}');
            });
            return;
        }
        let Ok(result) = Json::from_bytes(text) else { return };
        let translation = answer::Translation {
            method: to.method,
            from: Era::Legacy,
            to: to.era,
            upstream: to.upstream,
            routes: &self.routes,
        };
        self.exchanges.reply(&self.clients, to.client, to.exchange, out, |out| {
            answer::write_result(out, to.id, result, &translation);
        });
    }

    /// What a step waits for.
    #[expect(clippy::too_many_arguments, reason = "how one step ended, handed on once")]
    fn go_on(
        &mut self,
        now: Now,
        key: FlightKey,
        step: u32,
        era: Era,
        outcome: Outcome,
        text: &[u8],
        out: &mut Effects,
    ) {
        match outcome {
            Outcome::Wait { after, progress } => {
                let deadline = self.flights.get(key).and_then(|it| it.execution.as_ref()?.deadline);
                let after = deadline.map_or(after, |end| after.min(end.since(now.at)));
                let alarm = self.wheel.set(now.at, after, Alarm::Flight(key));
                if let Some(flight) = self.flights.get_mut(key) {
                    flight.alarm = Some(alarm);
                    flight.stage = Stage::Stepping { step: step + 1 };
                }
                if let Some((done, total)) = progress {
                    self.local_progress(key, done, total, out);
                }
            }
            Outcome::Read { path } => {
                if let Some(flight) = self.flights.get_mut(key) {
                    flight.stage = Stage::Stepping { step: step + 1 };
                }
                let upstream = self.flights.get(key).map_or(0, |flight| flight.upstream);
                let folder = match &self.settings.upstreams[upstream].target {
                    Target::Builtin { folder: Some(folder) } => {
                        folder.to_string_lossy().into_owned()
                    }
                    _ => ".".to_owned(),
                };
                out.push(Effect::ReadText { ticket: key.to_bits(), folder, path });
            }
            Outcome::Ask if era == Era::Legacy => self.ask_for_builtin(now, key, text, out),
            Outcome::Ask | Outcome::Done | Outcome::Fault { .. } => {}
        }
    }

    /// The built-in upstream asks a legacy client: request by request, as for any modern upstream.
    fn ask_for_builtin(&mut self, now: Now, key: FlightKey, questions: &[u8], out: &mut Effects) {
        let Ok(questions) = Json::from_bytes(questions) else { return };
        let (form, rounds_max) = (self.settings.limits.form, self.settings.limits.ask_rounds_max);
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.rounds += 1;
        if flight.rounds > rounds_max {
            let message =
                format!("the tool asked back more than {rounds_max} times: limit ask_rounds_max");
            return self.fail(key, Code::Internal, &message, out);
        }
        let left = questions.members().count();
        flight.stage = Stage::Asking(Box::new(Asking { state: None, left, answers: Vec::new() }));
        flight.alarm = Some(self.wheel.set(now.at, form, Alarm::Flight(key)));
        for question in questions.members() {
            if let Err(why) = self.ask_client_for(key, question.key, question.value, out) {
                return self.fail(key, Code::Internal, &why, out);
            }
        }
    }

    fn local_progress(&mut self, key: FlightKey, done: f64, total: f64, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let (Some(token), Some(client)) = (&flight.token, flight.client()) else { return };
        let exchange = flight.exchange();
        let params = format!("{{\"progressToken\":{token},\"progress\":{done},\"total\":{total}}}");
        self.exchanges.tell_lossy(&self.clients, client, exchange, out, |out| {
            outbound::write_notice(out, Notice::Progress.as_str(), Splice::of(&params));
        });
    }

    /// The next step of a call: its time has come, or what it waited for is there.
    pub(super) fn step(
        &mut self,
        now: Now,
        key: FlightKey,
        given: Option<Given<'_>>,
        out: &mut Effects,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let number = match flight.stage {
            Stage::Stepping { step } => step,
            Stage::Asking(_) => flight.rounds,
            _ => return,
        };
        if let Some(alarm) = flight.alarm.take() {
            self.wheel.cancel(alarm);
        }
        flight.stage = Stage::Stepping { step: number };
        let (upstream, method) = (flight.upstream, flight.method);
        let Some(params) = flight.params.clone() else { return };
        let Asker::Client { client, id, era, exchange } = &flight.asker else { return };
        let (client, id, era, exchange) = (*client, id.clone(), *era, *exchange);
        let Ok(json) = Json::parse(&params) else { return };
        let parsed = Params::read(json);
        let session = self.clients.get(client).and_then(|client| client.session.as_deref());
        let remembered =
            session.filter(|_| era == Era::Legacy).map(|session| session.capabilities.clone());
        let mut step = Step { number, ..Step::first(&parsed) };
        if let Some(capabilities) = remembered.as_deref().and_then(|text| Json::parse(text).ok()) {
            step.capabilities = capabilities;
        }
        match given {
            Some(Given::Text(text)) => step.text = Some(text),
            Some(Given::Answers(answers)) => step.answers = Some(answers),
            None => {}
        }
        let mut text = Vec::new();
        let outcome = self.serve_builtin(now, method, json, &step, &mut text);
        let to = Answered { client, id: &id, exchange, era, method, upstream };
        if self.end_step(&to, &outcome, &text, out) {
            if let Some(mut flight) = self.close(key, out) {
                self.settle_flight(&mut flight, end_of(&outcome), out);
            }
        } else {
            self.go_on(now, key, number, era, outcome, &text, out);
        }
    }

    /// A file that a step waited for has been read, or could not be.
    pub(super) fn text_read(
        &mut self,
        now: Now,
        ticket: u64,
        text: Result<&str, &str>,
        out: &mut Effects,
    ) {
        let key: FlightKey = Key::from_bits(ticket);
        if key.to_bits() == ticket {
            self.step(now, key, Some(Given::Text(text)), out);
        }
    }
}

/// What a step waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    Text(Result<&'a str, &'a str>),
    Answers(Json<'a>),
}

/// How a request ended whose last step ended so.
fn end_of(outcome: &Outcome) -> End {
    match outcome {
        Outcome::Fault { data: Some(data), .. } if data.contains("\"tool\"") => End::NotFound,
        Outcome::Fault { .. } => End::Failed,
        _ => End::Answered,
    }
}
