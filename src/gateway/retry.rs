//! What is made again elsewhere when it was lost. Nothing is sent twice that may have had an effect: only a request
//! of which its server has surely seen nothing, a read, or a call that the configuration says does no more
//! harm twice than once; `limits.retries` times at most.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Gateway;
use super::door::Effects;
use super::flight::{Asker, Errand, FlightKey, Stage, read_wire_id};
use super::lane::LaneKey;
use crate::base::Now;
use crate::mcp::{Code, Method, error};
use crate::wire::envelope::{self, Frame};
use crate::wire::{Json, Message};

/// What one page of `tools/list` says of tools that do no harm twice (2025-03-26 `ToolAnnotations`).
pub(super) fn read_annotations(result: Json<'_>, harmless: &mut BTreeSet<Box<str>>) {
    for tool in result.get("tools").into_iter().flat_map(Json::elements) {
        let Some(annotations) = tool.get("annotations") else { continue };
        let says = |hint| annotations.get(hint).and_then(Json::as_bool) == Some(true);
        if let Some(name) = tool.get("name").and_then(Json::as_str)
            && (says("idempotentHint") || says("readOnlyHint"))
        {
            harmless.insert((&*name).into());
        }
    }
}

impl Gateway {
    /// Whether making a call twice does no more than making it once, as far as the configuration trusts that.
    pub(super) fn is_idempotent(&self, index: usize, method: Method, name: Option<&str>) -> bool {
        match method {
            Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::PromptsGet
            | Method::ResourcesRead
            | Method::Complete => true,
            Method::ToolsCall => name.is_some_and(|name| {
                let spread = &self.settings.upstreams[index].spread;
                spread.idempotent.iter().any(|pattern| pattern.matches(name))
                    || self.upstreams[index].harmless.contains(name)
            }),
            _ => false,
        }
    }

    /// Whether a flight whose lane is gone may be made again elsewhere.
    pub(super) fn may_go_again(&self, key: FlightKey) -> bool {
        let Some(flight) = self.flights.get(key) else { return false };
        let is_harmless = match flight.stage {
            Stage::Waiting => true,
            // What its client has answered meanwhile would be asked again.
            Stage::Sent => flight.trip.is_safe && flight.rounds == 0,
            _ => false,
        };
        // Of a call that was made a task only the question about that was lost.
        let is_task = flight.chore.as_deref().is_some_and(|chore| chore.known.is_some());
        self.upstreams[flight.upstream].balance.is_some()
            && is_harmless
            && !is_task
            && flight.trip.only.is_none()
            && flight.params.is_some()
            && flight.trip.tries < self.settings.limits.retries
    }

    /// Makes calls that were lost at an endpoint again.
    pub(super) fn go_again(
        &mut self,
        now: Now,
        endpoint: usize,
        again: Vec<FlightKey>,
        out: &mut Effects,
    ) {
        for key in again {
            self.settle_trip(key);
            let Some(flight) = self.flights.get_mut(key) else { continue };
            flight.trip.left = Some(endpoint);
            flight.trip.tries += 1;
            flight.stage = Stage::Waiting;
            flight.lane = None;
            self.relaunch(now, key, out);
        }
    }

    /// A call has been sent that may be made twice: it waits no longer for this endpoint than `limits.attempt`.
    pub(super) fn begin_attempt(&mut self, now: Now, key: FlightKey) {
        let limits = &self.settings.limits;
        let (attempt, is_shorter) = (limits.attempt, limits.attempt < limits.request);
        if !is_shorter || !self.may_be_given_up(key) {
            return;
        }
        self.set_due(now, key, attempt);
    }

    /// Whether a call that waits for its answer may be made again elsewhere before it has failed.
    fn may_be_given_up(&self, key: FlightKey) -> bool {
        self.may_go_again(key)
            && self.flights.get(key).is_some_and(|flight| {
                let is_asked_for = !matches!(flight.asker, Asker::Own(_));
                is_asked_for
                    && flight.is_sent()
                    && !flight.has_deadline()
                    && !flight.trip.is_patient
            })
    }

    /// One endpoint has had its time with a call that another may be asked for; true if the call goes on. What is left
    /// of `limits.request` it has there, or here, where no other serves.
    pub(super) fn is_attempt_over(&mut self, now: Now, key: FlightKey, out: &mut Effects) -> bool {
        let limits = &self.settings.limits;
        let rest = limits.request.saturating_sub(limits.attempt);
        if rest.is_zero() || !self.may_be_given_up(key) {
            return false;
        }
        let Some((index, (_, endpoint, _))) =
            self.flights.get(key).and_then(|flight| Some((flight.upstream, flight.trip.on?)))
        else {
            return false;
        };
        // A client's own connection stays at its endpoint.
        let is_own =
            self.flights.get(key).and_then(|flight| flight.lane).is_some_and(|lane| {
                self.lanes.get(lane).is_some_and(|lane| lane.client().is_some())
            });
        if is_own || !self.has_another(now, index, endpoint) {
            self.be_patient(now, key, rest);
            return true;
        }
        self.cancel_upstream(key, "no answer in the time of the limit attempt", out);
        self.call_failed(now, endpoint, out);
        // Its old id is dead: an answer that comes late finds nobody.
        let Some(key) = self.rekey(now, key) else { return true };
        if let Some(Asker::Fetch(fetch)) = self.flights.get(key).map(|flight| &flight.asker)
            && let Some(fetch) = self.fetches.get_mut(*fetch)
        {
            fetch.flight = Some(key);
        }
        self.be_patient(now, key, rest);
        self.go_again(now, endpoint, vec![key], out);
        true
    }

    /// A call has so much time, and is not given up before.
    fn be_patient(&mut self, now: Now, key: FlightKey, rest: Duration) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.trip.is_patient = true;
        }
        self.set_due(now, key, rest);
    }

    /// Whether an upstream has an endpoint besides this one that would get a call.
    fn has_another(&self, now: Now, index: usize, endpoint: usize) -> bool {
        self.upstreams[index].balance.as_ref().is_some_and(|balance| {
            balance.endpoints().any(|number| {
                number != endpoint
                    && self.has_ready_seat(number)
                    && self.endpoints[number].breaker.retry_after(now.at).is_none()
            })
        })
    }

    /// These frames never left on a lane.
    pub(super) fn unsent(&mut self, lane: LaneKey, frames: &[u8]) {
        for frame in frames.split(|&byte| byte == b'\n') {
            let Ok(Frame::One(Message::Request { id, .. })) = envelope::read(frame) else {
                continue;
            };
            if let Some((shard, key)) = read_wire_id(id.text())
                && shard == self.shard
                && let Some(flight) = self.flights.get_mut(key)
                && flight.lane == Some(lane)
            {
                flight.trip.is_safe = true;
            }
        }
    }

    /// A request that was sent on a lane will have no answer there, although the lane goes on: an HTTP exchange is a
    /// thing of its own.
    pub(super) fn undelivered(
        &mut self,
        now: Now,
        lane: LaneKey,
        id: &str,
        (is_unsent, why): (bool, &str),
        out: &mut Effects,
    ) {
        let Some((_, key)) = read_wire_id(id).filter(|(shard, _)| *shard == self.shard) else {
            return;
        };
        let Some(flight) = self.flights.get_mut(key).filter(|it| it.lane == Some(lane)) else {
            return;
        };
        let Some(endpoint) = self.lanes.get(lane).map(|lane| lane.seat.endpoint) else { return };
        flight.trip.is_safe |= is_unsent;
        if let Asker::Own(errand) = &flight.asker {
            let errand = *errand;
            self.close(key, out);
            return self.errand_lost(now, lane, errand, why, out);
        }
        self.call_failed(now, endpoint, out);
        if self.may_go_again(key) {
            return self.go_again(now, endpoint, vec![key], out);
        }
        if let Some(flight) = self.flights.get(key) {
            let message = format!("upstream {}: {why}", self.upstreams[flight.upstream].name);
            self.fail(key, Code::ServerUnavailable, &message, out);
        }
    }

    /// To what asks for the gateway itself, no answer is an answer with an error.
    pub(super) fn errand_lost(
        &mut self,
        now: Now,
        lane: LaneKey,
        errand: Errand,
        why: &str,
        out: &mut Effects,
    ) {
        if errand == Errand::Health {
            let endpoint = self.lanes.get(lane).map(|lane| lane.seat.endpoint);
            return endpoint.map_or((), |endpoint| self.health_lost(now, endpoint, lane, why, out));
        }
        if errand == Errand::Listen {
            return self.listen_ended(now, lane);
        }
        let mut answer = Vec::new();
        error::write(&mut answer, "0", Code::ServerUnavailable.number(), why, None);
        if let Ok(answer) = Json::from_bytes(&answer)
            && let Some(error) = answer.get("error")
        {
            self.errand_done(now, lane, errand, Err(error), out);
        }
    }
}
