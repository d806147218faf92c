//! How flights end: answered, failed, out of time or cancelled. Each leaves all tables here, and its asker gets one
//! answer, or none if it wants none. How they begin and travel is `forward`'s.

use super::Gateway;
use super::breaker::Turn;
use super::client::{ClientKey, Front};
use super::door::{Effect, Effects};
use super::exchange::ExchangeKey;
use super::flight::{Asker, Flight, FlightKey, Stage, wire_id};
use super::forward::unavailable;
use super::report::Report;
use super::tally::End;
use super::tools::Execution;
use crate::base::Now;
use crate::mcp::{Code, error};
use crate::wire::text;

impl Gateway {
    /// Takes a flight out of all tables. What remains to be said to its asker, the caller says.
    pub(super) fn close(&mut self, key: FlightKey, out: &mut Effects) -> Option<Flight> {
        let mut flight = self.flights.remove(key)?;
        if let Some(record) = flight.audit.take() {
            self.write_audit(*record, out);
        }
        if let Some((lane, endpoint, _)) = flight.trip.on {
            self.uncount(flight.upstream, lane, endpoint);
        }
        if let Some(alarm) = flight.alarm {
            self.wheel.cancel(alarm);
        }
        if let Some(client_key) = flight.client()
            && let Some(client) = self.clients.get_mut(client_key)
        {
            client.flights.swap_remove(flight.place);
            if let Some(moved) = client.flights.get(flight.place).copied()
                && let Some(moved) = self.flights.get_mut(moved)
            {
                moved.place = flight.place;
            }
            if client.paused
                && client.flights.len() * 2 <= self.settings.limits.flights_per_link_max
            {
                client.paused = false;
                if let Some(link) = client.link() {
                    out.push(Effect::Resume { link });
                }
            }
            if client.flights.is_empty()
                && let Front::Exchange(exchange) = client.front
                && self.exchanges.get(exchange).is_none()
            {
                self.exchanges.left_behind.push(client_key);
            }
        }
        Some(flight)
    }

    /// Ends a flight with an error of ours.
    pub(super) fn fail(&mut self, key: FlightKey, code: Code, message: &str, out: &mut Effects) {
        self.withdraw_questions(key, out);
        let Some(mut flight) = self.close(key, out) else { return };
        self.note_failed(key, &flight, code, message, out);
        self.settle_flight(&mut flight, End::of(code), out);
        match flight.asker {
            Asker::Client { client, id, exchange, era } => {
                // A held call has been answered; its retry will find nothing and be told so.
                if !matches!(&flight.stage, Stage::Held(held) if held.is_told) {
                    let execution = flight.execution.as_deref();
                    let data = self.fault_data(code, client, flight.upstream, execution);
                    self.reply_error(
                        client,
                        &id,
                        exchange,
                        code.number_in(era),
                        message,
                        data.as_deref(),
                        out,
                    );
                }
            }
            Asker::Gather { gather, part, .. } => self.gather_failed(gather, part, message, out),
            Asker::Quorum { quorum, .. } => self.quorum_failed(quorum, out),
            Asker::Fetch(fetch) => self.fetch_failed(fetch, code, message, out),
            Asker::Own(_) => {}
        }
    }

    /// Ends a flight because its upstream is not there.
    pub(super) fn fail_unavailable(&mut self, key: FlightKey, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let upstream = &self.upstreams[flight.upstream];
        let message = unavailable(&upstream.name);
        self.fail(key, Code::ServerUnavailable, &message, out);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one answer; a struct would be built to be taken apart"
    )]
    pub(super) fn reply_error(
        &mut self,
        client: ClientKey,
        id: &str,
        exchange: Option<ExchangeKey>,
        code: i32,
        message: &str,
        data: Option<&str>,
        out: &mut Effects,
    ) {
        self.exchanges.note_error(exchange, code, false);
        self.exchanges.reply(&self.clients, client, exchange, out, |out| {
            error::write(out, id, code, message, data);
        });
    }

    /// A flight's time has come: its next step is due, or it has taken too long.
    pub(super) fn flight_due(&mut self, now: Now, key: FlightKey, out: &mut Effects) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.alarm = None;
        if matches!(flight.asker, Asker::Own(_)) {
            // Nobody waits, and that a server leaves such a thing unanswered says nothing of its calls.
            let lane = flight.lane;
            self.close(key, out);
            return lane.map_or((), |lane| self.catch_up(lane, out));
        }
        // A call whose task is known is not made again.
        let is_task = flight.chore.as_deref().is_some_and(|chore| chore.known.is_some());
        if (!is_task && self.is_attempt_over(now, key, out)) || self.chore_due(now, key, out) {
            return;
        }
        let Some(flight) = self.flights.get(key) else { return };
        let limits = &self.settings.limits;
        match &flight.stage {
            Stage::Stepping { .. } => match flight.execution.as_deref() {
                Some(Execution { deadline: Some(deadline), timeout: Some(timeout), .. })
                    if *deadline <= now.at =>
                {
                    let message = format!(
                        "the tool did not end within {} ms: timeout_ms",
                        timeout.as_millis()
                    );
                    self.fail(key, Code::Timeout, &message, out);
                }
                _ => self.step(now, key, None, out),
            },
            Stage::Held(held) if !held.is_told => self.say_input_required(now, key, out),
            Stage::Held(_) => {
                self.cancel_upstream(
                    key,
                    "the form was not filled in within the time of the limit form",
                    out,
                );
                self.fail(
                    key,
                    Code::Timeout,
                    "the form was not filled in in time: limit form",
                    out,
                );
            }
            Stage::Asking(_) => {
                let message = format!(
                    "the client did not answer within {} s: limit form",
                    limits.form.as_secs()
                );
                self.fail(key, Code::Timeout, &message, out);
            }
            Stage::Waiting | Stage::Sent | Stage::Pausing => {
                let own = flight.execution.as_deref().and_then(|execution| execution.timeout);
                let message = format!(
                    "upstream {} did not answer within {} ms: {}",
                    self.upstreams[flight.upstream].name,
                    own.unwrap_or(limits.request).as_millis(),
                    own.map_or("limit request", |_| "timeout_ms"),
                );
                // What one caller will not wait for says nothing of the upstream to others.
                let lane = flight.lane.filter(|_| flight.is_sent() && own.is_none());
                // Nor does that which is not read because its caller does not read.
                let lane = lane.and_then(|lane| self.lanes.get(lane)).filter(|lane| !lane.held_up);
                if let Some(lane) = lane {
                    self.call_failed(now, lane.seat.endpoint, out);
                }
                self.cancel_upstream(key, "timed out", out);
                self.fail(key, Code::Timeout, &message, out);
            }
        }
    }

    /// A call was lost at an endpoint.
    pub(super) fn call_failed(&mut self, now: Now, number: usize, out: &mut Effects) {
        let endpoint = &mut self.endpoints[number];
        let turn = endpoint.breaker.failed(now.at, &self.settings.limits);
        if let Some(balance) = &mut self.upstreams[endpoint.upstream].balance {
            balance.lost(number);
        }
        if turn == Some(Turn::Opened) {
            out.report(Report::BreakerOpened { upstream: self.called_endpoint(number) });
            self.doubt_connection(now, number, out);
        }
    }

    /// An endpoint has answered a call.
    #[inline]
    pub(super) fn call_succeeded(&mut self, now: Now, number: usize, out: &mut Effects) {
        self.endpoints[number].health.heard = now.at;
        if self.endpoints[number].breaker.succeeded(&self.settings.limits) == Some(Turn::Closed) {
            out.report(Report::BreakerClosed { upstream: self.called_endpoint(number) });
        }
    }

    /// Tells the upstream that nobody waits any more.
    pub(super) fn cancel_upstream(&self, key: FlightKey, reason: &str, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let Some(lane) = flight.lane.filter(|_| match &flight.stage {
            Stage::Waiting | Stage::Asking(_) | Stage::Pausing => false,
            Stage::Held(held) => !held.unsent,
            _ => true,
        }) else {
            return;
        };
        let params = format!(
            "{{\"requestId\":{},\"reason\":{}}}",
            wire_id(self.shard, key),
            text::quoted(reason)
        );
        self.tell(lane, "notifications/cancelled", &params, out);
    }

    /// The asker wants no answer any more, and gets none.
    pub(super) fn cancel(&mut self, key: FlightKey, reason: &str, out: &mut Effects) {
        self.cancel_upstream(key, reason, out);
        self.abandon_task(key, out);
        self.withdraw_questions(key, out);
        let Some(mut flight) = self.close(key, out) else { return };
        self.settle_flight(&mut flight, End::Cancelled, out);
        if let Asker::Client { exchange, .. } = flight.asker {
            self.exchanges.settle(&self.clients, exchange, out);
        }
    }
}
