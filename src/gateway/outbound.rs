//! What upstreams send: answers to flights, questions, news. Whatever else comes is an oddity that is
//! counted and costs nobody anything.

use super::Gateway;
use super::door::{Effect, Effects, Mail};
use super::flight::{Asker, FlightKey, HELD_PROGRESS_MAX, Stage, read_wire_id};
use super::lane::{LaneKey, Phase, Role};
use super::report::Report;
use crate::base::Now;
use crate::mcp::{Notice, meta};
use crate::wire::envelope::{self, Frame};
use crate::wire::{Json, Message, text};

impl Gateway {
    /// One line of a lane's.
    pub(super) fn lane_frame(&mut self, now: Now, key: LaneKey, frame: &[u8], out: &mut Effects) {
        let Some(lane) = self.lanes.get(key) else { return };
        if lane.phase == Phase::Closing {
            return;
        }
        match envelope::read(frame) {
            Ok(Frame::One(message)) => self.lane_message(now, key, message, frame, out),
            // Legal from a server of 2025-03-26.
            Ok(Frame::Batch(elements)) => {
                for element in elements.elements() {
                    match envelope::read_element(element) {
                        Ok(message) => {
                            self.lane_message(now, key, message, element.text().as_bytes(), out);
                        }
                        Err(_) => self.oddity(key, "an element of a batch that is no message", out),
                    }
                }
            }
            Err(fault) => self.oddity(key, fault.what, out),
        }
    }

    fn lane_message(
        &mut self,
        now: Now,
        key: LaneKey,
        message: Message<'_>,
        frame: &[u8],
        out: &mut Effects,
    ) {
        match message {
            Message::Response { id, result } => {
                self.lane_answer(now, key, id.text(), Ok(result), frame, out);
            }
            Message::Failure { id: Some(id), error } => {
                self.lane_answer(now, key, id.text(), Err(error), frame, out);
            }
            Message::Failure { id: None, .. } => self.oddity(key, "an error without an id", out),
            Message::Request { id, method, params } => {
                self.asked_by_upstream(now, key, id, &text::unescape(method), params, out);
            }
            Message::Notification { method, params } => {
                let name = text::unescape(method);
                match Notice::parse(&name) {
                    Some(Notice::Progress) => self.progress(now, key, params, frame, out),
                    Some(notice) => self.news(key, notice, params, frame, out),
                    None => self.oddity(key, "a notification that MCP does not know", out),
                }
            }
        }
    }

    fn lane_answer(
        &mut self,
        now: Now,
        key: LaneKey,
        id: &str,
        answer: Result<Json<'_>, Json<'_>>,
        frame: &[u8],
        out: &mut Effects,
    ) {
        match read_wire_id(id) {
            Some((shard, flight)) if shard == self.shard => {
                self.answered(now, key, flight, answer, out);
            }
            Some((shard, _))
                if self.lanes.get(key).is_some_and(|lane| lane.role == Role::Shared)
                    && shard.0 < self.settings.shards =>
            {
                self.forward_mail(key, shard, frame, out);
            }
            _ => self.oddity(key, "an answer with an id that was never sent", out),
        }
    }

    pub(super) fn forward_mail(
        &self,
        key: LaneKey,
        to: crate::base::ShardId,
        frame: &[u8],
        out: &mut Effects,
    ) {
        if let Some(lane) = self.lanes.get(key) {
            out.push(Effect::Mail {
                to,
                mail: Mail::FromUpstream { seat: lane.seat, frame: frame.into() },
            });
        }
    }

    fn answered(
        &mut self,
        now: Now,
        lane: LaneKey,
        key: FlightKey,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let expected = self.flights.get(key).filter(|flight| {
            flight.lane == Some(lane) && matches!(flight.stage, Stage::Sent | Stage::Held(_))
        });
        let Some(trip) = expected.map(|flight| flight.trip.on) else {
            return self.oddity(lane, "an answer that nobody waits for", out);
        };
        if let Some(endpoint) = self.lanes.get(lane).map(|lane| lane.seat.endpoint) {
            self.call_succeeded(now, endpoint, out);
        }
        if let Some((_, endpoint, left)) = trip {
            self.measure(now, key, endpoint, left);
        }
        let Some(flight) = self.flights.get(key) else { return };
        if !matches!(flight.asker, Asker::Own(_)) {
            self.tally.answered(flight.upstream, flight.sent, now.at);
        }
        match &flight.asker {
            Asker::Own(errand) => {
                let errand = *errand;
                self.close(key, out);
                self.errand_done(now, lane, errand, answer, out);
            }
            Asker::Gather { gather, part, .. } => {
                let (gather, part) = (*gather, *part);
                self.close(key, out);
                self.gather_answered(now, gather, part, lane, answer, out);
            }
            Asker::Quorum { quorum, .. } => {
                let quorum = *quorum;
                if let Some(flight) = self.close(key, out) {
                    self.quorum_answered(quorum, lane, answer, flight, out);
                }
            }
            Asker::Fetch(fetch) => {
                let fetch = *fetch;
                self.close(key, out);
                self.fetch_answered(now, fetch, lane, answer, out);
            }
            Asker::Client { .. } => self.deliver(now, lane, key, answer, out),
        }
    }

    /// `notifications/progress`: to the asker, under its own token; and the flight has time again.
    fn progress(
        &mut self,
        now: Now,
        lane: LaneKey,
        params: Json<'_>,
        frame: &[u8],
        out: &mut Effects,
    ) {
        let Some(token) = params.get(meta::PROGRESS_TOKEN) else {
            return self.oddity(lane, "progress without a token", out);
        };
        match read_wire_id(token.text()) {
            Some((shard, key)) if shard == self.shard => {
                let Some(flight) =
                    self.flights.get_mut(key).filter(|flight| flight.lane == Some(lane))
                else {
                    return self.task_progress(lane, key, params, out);
                };
                if let Stage::Held(held) = &mut flight.stage {
                    // Its client has no request open just now; it hears of it when it comes back.
                    if held.progress.len() < HELD_PROGRESS_MAX {
                        held.progress.push(params.text().into());
                    }
                    return;
                }
                if !flight.is_sent() {
                    return;
                }
                let is_long = flight.chore.as_deref().is_some_and(|chore| chore.until.is_some());
                if flight.has_deadline() || is_long {
                    return self.tell_progress(key, params, out);
                }
                flight.trip.is_patient = true;
                self.set_due(now, key, self.settings.limits.request);
                self.tell_progress(key, params, out);
            }
            Some((shard, _))
                if self.lanes.get(lane).is_some_and(|lane| lane.role == Role::Shared)
                    && shard.0 < self.settings.shards =>
            {
                self.forward_mail(lane, shard, frame, out);
            }
            _ => self.oddity(lane, "progress with a token that was never sent", out),
        }
    }

    /// Progress of a flight, to its client under the client's own token.
    pub(super) fn tell_progress(&mut self, key: FlightKey, params: Json<'_>, out: &mut Effects) {
        let Some(flight) = self.flights.get(key) else { return };
        let mut exchange = flight.exchange();
        if let Asker::Quorum { quorum, .. } = flight.asker {
            let Some(quorum) = self.quorums.get_mut(quorum) else { return };
            if !quorum.hears(key) {
                return;
            }
            exchange = quorum.exchange();
        }
        let Some(flight) = self.flights.get(key) else { return };
        let (Some(own), Some(token)) = (&flight.token, params.get(meta::PROGRESS_TOKEN)) else {
            return;
        };
        let Some(client) = flight.client() else { return };
        let mut splice = crate::wire::Splice::of(params.text());
        splice.replace(token.text(), own.to_string());
        self.exchanges.tell_lossy(&self.clients, client, exchange, out, |out| {
            write_notice(out, Notice::Progress.as_str(), splice);
        });
    }

    pub(super) fn oddity(&self, lane: LaneKey, what: &'static str, out: &mut Effects) {
        if let Some(lane) = self.lanes.get(lane) {
            out.report(Report::UpstreamOddity {
                upstream: self.upstreams[lane.upstream].name.clone(),
                what,
            });
        }
    }
}

/// Appends a notification, without a newline.
pub(super) fn write_notice(out: &mut Vec<u8>, method: &str, params: crate::wire::Splice<'_>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"");
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b"\",\"params\":");
    params.write(out);
    out.push(b'}');
}
