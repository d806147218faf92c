//! Questions: requests from servers to clients (sampling, elicitation, roots), under way to a legacy
//! client. A legacy upstream's question passes through; a modern upstream's stands in an answer and
//! becomes a request here. What a modern client is asked is in `hold`.

use super::Gateway;
use super::client::ClientKey;
use super::door::Effects;
use super::exchange::ExchangeKey;
use super::flight::{FlightKey, Stage};
use super::lane::{LaneKey, PENDING_ASKS_MAX, Role, TOO_MANY_ASKS};
use crate::base::{Key, Now};
use crate::mcp::{Askable, Code, Era, Method, era, error};
use crate::wire::{Id, Json};

pub type AskKey = Key<Ask>;

/// One request to a client, whose answer is awaited.
#[derive(Debug)]
pub struct Ask {
    pub client: ClientKey,
    /// Where it was put: what follows it goes the same way, or it could come first.
    pub exchange: Option<ExchangeKey>,
    pub origin: Origin,
}

/// Whom the answer is for.
#[derive(Debug)]
pub enum Origin {
    /// A legacy upstream, under its own id.
    Lane { lane: LaneKey, id: Box<str> },
    /// A call to a modern upstream, under the key of its `inputRequests`.
    Flight { flight: FlightKey, name: Box<str> },
}

impl Gateway {
    /// A legacy upstream asks something.
    pub(super) fn asked_by_upstream(
        &mut self,
        now: Now,
        key: LaneKey,
        id: Id<'_>,
        method: &str,
        params: Json<'_>,
        out: &mut Effects,
    ) {
        let Some(lane) = self.lanes.get(key) else { return };
        let (version, role, asks_open) = (lane.version, lane.role, lane.asks_open);
        let refuse = |gateway: &mut Self, out: &mut Effects, code: Code, why: &str| {
            gateway
                .frame_for(key, out, |out| error::write(out, id.text(), code.number(), why, None));
        };
        let Some(method) =
            Method::parse(method).filter(|&method| era::server_may_send(version, method))
        else {
            return refuse(self, out, Code::MethodNotFound, "a server may not send this here");
        };
        if method == Method::Ping {
            return self.frame_for(key, out, |out| {
                super::answer::open(out, id.text());
                out.extend_from_slice(b"{}}");
            });
        }
        let Role::Own(client) = role else {
            // A task's client is seldom there.
            let is_asked = role == Role::Parked
                && self.is_asked_about_task(key, id.text(), method, params, out);
            if is_asked {
                return;
            }
            return refuse(
                self,
                out,
                Code::MethodNotFound,
                "the clients of this connection cannot be asked",
            );
        };
        let Some(hello) = lane.hello.as_deref() else { return };
        let (asker_era, allowed) = (
            hello.era,
            Json::parse(&hello.capabilities).map(Askable::read).unwrap_or_default().allows(method),
        );
        if !allowed {
            return refuse(
                self,
                out,
                Code::MethodNotFound,
                "the client did not declare the capability for this",
            );
        }
        match asker_era {
            Era::Modern if self.is_asked_about_task(key, id.text(), method, params, out) => {}
            Era::Modern => self.hold_for(now, client, key, id.text(), method, params, out),
            Era::Legacy if asks_open >= PENDING_ASKS_MAX => {
                refuse(self, out, Code::Internal, TOO_MANY_ASKS);
            }
            Era::Legacy => {
                let origin = Origin::Lane { lane: key, id: id.text().into() };
                let renamed = self.renamed_question(client, key, params);
                let params = renamed.as_deref().map_or(params, Json::known);
                self.ask_client(client, origin, method, params, out);
            }
        }
    }

    /// A modern upstream's question, to the legacy client whose call it holds up.
    pub(super) fn ask_client_for(
        &mut self,
        flight: FlightKey,
        name: &str,
        question: Json<'_>,
        out: &mut Effects,
    ) -> Result<(), String> {
        let client = self.flights.get(flight).and_then(super::flight::Flight::client);
        let session = client.and_then(|client| self.clients.get(client)?.session.as_deref());
        let (Some(client), Some(session)) = (client, session) else { return Ok(()) };
        let method = question.get("method").and_then(Json::as_str).unwrap_or_default();
        let allowed = Method::parse(&method).filter(|&method| {
            session.askable.allows(method) && era::server_may_send(session.version, method)
        });
        let Some(allowed) = allowed else {
            return Err(format!(
                "the upstream asks the client for {method}, which the client did not declare"
            ));
        };
        let origin = Origin::Flight { flight, name: name.into() };
        self.ask_client(
            client,
            origin,
            allowed,
            question.get("params").unwrap_or(Json::EMPTY_OBJECT),
            out,
        );
        Ok(())
    }

    fn ask_client(
        &mut self,
        client: ClientKey,
        origin: Origin,
        method: Method,
        params: Json<'_>,
        out: &mut Effects,
    ) {
        if self.clients.get(client).is_none() {
            return;
        }
        let exchange = self.exchange_to_ask_on(client, &origin);
        if let Origin::Lane { lane, .. } = &origin
            && let Some(lane) = self.lanes.get_mut(*lane)
        {
            lane.asks_open += 1;
        }
        let key = self.asks.insert(Ask { client, exchange, origin });
        self.exchanges.tell(&self.clients, client, exchange, out, |out| {
            out.extend_from_slice(
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"{}\",\"params\":",
                    key.to_bits(),
                    method.as_str()
                )
                .as_bytes(),
            );
            out.extend_from_slice(params.text().as_bytes());
            out.push(b'}');
        });
        self.hear_answer(client, out);
    }

    /// The exchange whose request a question belongs to. A legacy upstream does not say which; of those
    /// that its lane has under way any will do that the client hears.
    fn exchange_to_ask_on(&self, client: ClientKey, origin: &Origin) -> Option<ExchangeKey> {
        match origin {
            Origin::Flight { flight, .. } => self.flights.get(*flight)?.exchange(),
            Origin::Lane { lane, .. } => {
                let flights = self.clients.get(client)?.flights.iter();
                let exchanges = flights
                    .filter_map(|&key| self.flights.get(key))
                    .filter_map(|flight| flight.exchange().filter(|_| flight.lane == Some(*lane)));
                let is_heard = |key: &ExchangeKey| {
                    self.exchanges.get(*key).is_some_and(|exchange| exchange.link.is_some())
                };
                // One that broke may never be gone on with.
                exchanges.clone().find(is_heard).or_else(|| exchanges.clone().next())
            }
        }
    }

    /// A legacy client has answered a question.
    pub(super) fn asked_answered(
        &mut self,
        now: Now,
        client: ClientKey,
        id: &str,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let Ok(bits) = id.parse::<u64>() else { return };
        let key: AskKey = Key::from_bits(bits);
        if self.asks.get(key).is_none_or(|ask| ask.client != client || key.to_bits() != bits) {
            // An answer that nobody waits for: withdrawn meanwhile, or made up.
            return;
        }
        let Some(ask) = self.end_ask(key) else { return };
        match ask.origin {
            Origin::Lane { lane, id } => self.answer_lane(lane, &id, answer, out),
            Origin::Flight { flight, name } => {
                let Some(found) = self.flights.get_mut(flight) else { return };
                let Stage::Asking(asking) = &mut found.stage else { return };
                match answer {
                    Ok(result) => {
                        asking.answers.push((name, result.text().into()));
                        asking.left = asking.left.saturating_sub(1);
                        if asking.left == 0 {
                            self.asked_enough(now, flight, out);
                        }
                    }
                    // A modern retry has no place for an error: the call ends with it.
                    Err(error) => {
                        let said = error.get("message").and_then(Json::as_str).unwrap_or_default();
                        let message =
                            format!("the client did not answer what the upstream asked: {said}");
                        self.fail(flight, Code::Internal, &message, out);
                    }
                }
            }
        }
    }

    /// The client's answer to a legacy upstream's question.
    pub(super) fn answer_lane(
        &self,
        lane: LaneKey,
        id: &str,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        self.frame_for(lane, out, |out| {
            let (member, text) = match answer {
                Ok(result) => ("result", result.text()),
                Err(error) => ("error", error.text()),
            };
            out.extend_from_slice(
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":").as_bytes(),
            );
            let from = out.len();
            out.extend_from_slice(text.as_bytes());
            super::request::one_line(out, from);
            out.push(b'}');
        });
    }

    /// A flight ends while questions for it are out: who was asked need not answer any more, and who
    /// asked gets an error.
    pub(super) fn withdraw_questions(&mut self, flight: FlightKey, out: &mut Effects) {
        match self.flights.get(flight).map(|flight| (&flight.stage, flight.lane)) {
            Some((Stage::Asking(_), _)) => {
                for key in self.asks.keys() {
                    let is_its = self
                        .asks
                        .get(key)
                        .is_some_and(|ask| matches!(&ask.origin, Origin::Flight { flight: asks, .. } if *asks == flight));
                    if is_its {
                        self.withdraw(key, out);
                    }
                }
            }
            Some((Stage::Held(held), Some(lane))) => {
                for ask in held.asks.clone() {
                    self.frame_for(lane, out, |out| {
                        error::write(
                            out,
                            &ask.id,
                            Code::Internal.number(),
                            "the client did not answer",
                            None,
                        );
                    });
                }
            }
            _ => {}
        }
    }

    /// A lane is gone, and its questions with it.
    pub(super) fn withdraw_asks(&mut self, lane: LaneKey, out: &mut Effects) {
        for key in self.asks.keys() {
            let is_its = self.asks.get(key).is_some_and(
                |ask| matches!(&ask.origin, Origin::Lane { lane: asks, .. } if *asks == lane),
            );
            if is_its {
                self.withdraw(key, out);
            }
        }
    }

    /// The upstream takes back a question of its own.
    pub(super) fn upstream_cancels(&mut self, lane: LaneKey, id: &str, out: &mut Effects) {
        for key in self.asks.keys() {
            let is_it = self.asks.get(key).is_some_and(
                |ask| matches!(&ask.origin, Origin::Lane { lane: asks, id: asked } if *asks == lane && &**asked == id),
            );
            if is_it {
                self.withdraw(key, out);
            }
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.asks.retain(|ask| &*ask.id != id);
        }
    }

    fn end_ask(&mut self, key: AskKey) -> Option<Ask> {
        let ask = self.asks.remove(key)?;
        if let Origin::Lane { lane, .. } = &ask.origin
            && let Some(lane) = self.lanes.get_mut(*lane)
        {
            lane.asks_open = lane.asks_open.saturating_sub(1);
        }
        Some(ask)
    }

    fn withdraw(&mut self, key: AskKey, out: &mut Effects) {
        let Some(ask) = self.end_ask(key) else { return };
        self.exchanges.tell(&self.clients, ask.client, ask.exchange, out, |out| {
            let text = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{}}}}}",
                key.to_bits()
            );
            out.extend_from_slice(text.as_bytes());
        });
    }

    /// The client is gone: who asked it gets an error.
    pub(super) fn drop_asks_of(&mut self, client: ClientKey, out: &mut Effects) {
        for key in self.asks.keys() {
            if self.asks.get(key).is_none_or(|ask| ask.client != client) {
                continue;
            }
            if let Some(Ask { origin: Origin::Lane { lane, id }, .. }) = self.end_ask(key) {
                self.frame_for(lane, out, |out| {
                    error::write(out, &id, Code::Internal.number(), "the client is gone", None);
                });
            }
        }
    }
}
