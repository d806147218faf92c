//! Answers to clients' own flights: delivered in the client's era, or turned into questions first.

use super::door::Effects;
use super::flight::{Asker, Asking, Early, Flight, FlightKey, Stage};
use super::lane::{LaneKey, PENDING_ASKS_MAX, TOO_MANY_ASKS};
use super::local::Given;
use super::tally::End;
use super::{Gateway, answer};
use crate::base::Now;
use crate::mcp::error::is_unknown_tool;
use crate::mcp::{Code, Era};
use crate::wire::Json;

impl Gateway {
    /// The upstream has answered a client's request.
    pub(super) fn deliver(
        &mut self,
        now: Now,
        lane: LaneKey,
        key: FlightKey,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let Some(lane_era) = self.lanes.get(lane).map(super::lane::Lane::era) else { return };
        let Some(flight) = self.flights.get_mut(key) else { return };
        if let Stage::Held(held) = &mut flight.stage {
            // The client was told to come back; it gets the answer when it does.
            let (is_error, json) = match answer {
                Ok(json) => (false, json),
                Err(json) => (true, json),
            };
            held.answer = Some(Early { is_error, text: json.text().into() });
            return;
        }
        let Asker::Client { era, .. } = &flight.asker else { return };
        let era = *era;
        let is_chore = flight.chore.is_some();
        if is_chore && self.chore_answered(now, lane, key, answer, out) {
            return;
        }
        if let Err(error) = answer
            && lane_era == Era::Modern
            && era == Era::Legacy
            && self.is_made_a_task(now, key, error, out)
        {
            return;
        }
        if let Ok(result) = answer
            && lane_era == Era::Modern
            && era == Era::Legacy
            && result.get("resultType").and_then(Json::as_str).as_deref() == Some("input_required")
        {
            return self.ask_for_upstream(now, key, result, out);
        }
        self.finish(key, lane_era, answer, out);
    }

    /// Hands the answer over; the flight ends.
    pub(super) fn finish(
        &mut self,
        key: FlightKey,
        from: Era,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        if self.settings.policy.is_some()
            && let Ok(list) = answer
            && let Some(less) = self.permitted_to(key, list)
            && let Ok(less) = Json::parse(&less)
        {
            return self.finish_with(key, from, Ok(less), out);
        }
        self.finish_with(key, from, answer, out);
    }

    /// What may be seen of an answer that is a list; `None` if that is all.
    #[cold]
    fn permitted_to(&mut self, key: FlightKey, list: Json<'_>) -> Option<String> {
        let flight = self.flights.get(key)?;
        let (client, upstream, method) = (flight.client()?, flight.upstream, flight.method);
        self.permitted(client, upstream, method, list)
    }

    fn finish_with(
        &mut self,
        key: FlightKey,
        from: Era,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        self.withdraw_questions(key, out);
        if let Some(mut flight) = self.close(key, out) {
            self.hand_over(&mut flight, from, answer, out);
        }
    }

    /// Tells the client of a flight that is closed what its upstream answered.
    pub(super) fn hand_over(
        &mut self,
        flight: &mut Flight,
        from: Era,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let end = match answer {
            Ok(_) => End::Answered,
            Err(error) if is_unknown_tool(error) => End::NotFound,
            Err(_) => End::Failed,
        };
        self.settle_flight(flight, end, out);
        let Asker::Client { client, ref id, era, exchange } = flight.asker else { return };
        if let Err(error) = answer
            && let Some(execution) = &flight.execution
            && is_unknown_tool(error)
        {
            let (code, message, data) =
                self.tool_not_found(client, flight.upstream, &execution.tool);
            let (code, data) = (code.number_in(era), Some(&*data));
            return self.reply_error(client, id, exchange, code, &message, data, out);
        }
        let translation = answer::Translation {
            method: flight.method,
            from,
            to: era,
            upstream: flight.upstream,
            routes: &self.routes,
        };
        if let Err(error) = answer {
            let code = error.get("code").and_then(Json::as_i64).unwrap_or_default();
            let code = i32::try_from(code).unwrap_or_default();
            self.exchanges.note_error(exchange, code, false);
        }
        self.exchanges.reply(&self.clients, client, exchange, out, |out| match answer {
            Ok(result) => answer::write_result(out, id, result, &translation),
            Err(error) => answer::write_error(out, id, error, &translation),
        });
    }

    /// A modern upstream said `input_required` to a legacy client's call: the client is asked.
    pub(super) fn ask_for_upstream(
        &mut self,
        now: Now,
        key: FlightKey,
        result: Json<'_>,
        out: &mut Effects,
    ) {
        let rounds_max = self.settings.limits.ask_rounds_max;
        let form = self.settings.limits.form;
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.rounds += 1;
        if flight.rounds > rounds_max {
            let message = format!(
                "the upstream asked back more than {rounds_max} times: limit ask_rounds_max"
            );
            return self.fail(key, Code::Internal, &message, out);
        }
        let state = result.get("requestState").map(|state| Box::<str>::from(state.text()));
        let questions: Vec<(String, Json<'_>)> = result
            .get("inputRequests")
            .into_iter()
            .flat_map(Json::members)
            .map(|member| (member.key.to_owned(), member.value))
            .collect();
        if questions.len() > PENDING_ASKS_MAX {
            return self.fail(key, Code::Internal, TOO_MANY_ASKS, out);
        }
        flight.stage =
            Stage::Asking(Box::new(Asking { state, left: questions.len(), answers: Vec::new() }));
        self.set_due(now, key, form);
        if questions.is_empty() {
            return self.asked_enough(now, key, out);
        }
        for (name, question) in questions {
            if let Err(why) = self.ask_client_for(key, &name, question, out) {
                return self.fail(key, Code::Internal, &why, out);
            }
        }
    }

    /// All questions of a call are answered: the upstream gets the call again.
    pub(super) fn asked_enough(&mut self, now: Now, key: FlightKey, out: &mut Effects) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Stage::Asking(asking) = &mut flight.stage else { return };
        let mut answers = String::from("{");
        for (name, result) in &asking.answers {
            if answers.len() > 1 {
                answers.push(',');
            }
            answers.extend(["\"", name, "\":", result]);
        }
        answers.push('}');
        let state = asking.state.take();
        if flight.chore.is_some() && self.answers_task(now, key, &answers, out) {
            return;
        }
        let Some(flight) = self.flights.get_mut(key) else { return };
        if self.upstreams[flight.upstream].is_builtin {
            if let Ok(answers) = Json::parse(&answers) {
                self.step(now, key, Some(Given::Answers(answers)), out);
            }
            return;
        }
        self.resend(now, key, &answers, state.as_deref(), out);
    }
}
