//! Held calls: a legacy upstream asks something while a modern client waits for its call. The client
//! is answered `input_required` with a sealed `requestState` that names the held call; its retry
//! brings the answers, and the call goes on (2026-07-28 "Multi round-trip requests").

use super::client::{Client, ClientKey, Front};
use super::door::Effects;
use super::flight::{Asker, FlightKey, Held, HeldAsk, Stage};
use super::http::{Aim, Caller};
use super::inbound::Asked;
use super::lane::{LaneKey, PENDING_ASKS_MAX, TOO_MANY_ASKS};
use super::seal::Sealer;
use super::{Gateway, answer};
use crate::base::{Key, Moment, Now, ShardId};
use crate::mcp::{Code, Era, Method, error};
use crate::wire::Json;

/// A longer id is no name: it is not repeated in `inputRequests`.
const ASK_NAME_BYTES_MAX: usize = 64;

impl Gateway {
    /// A question for a modern client: put to a call of its that is under way, or kept for the next.
    #[expect(clippy::too_many_arguments, reason = "the parts of one question, handed on once")]
    pub(super) fn hold_for(
        &mut self,
        now: Now,
        client: ClientKey,
        lane: LaneKey,
        id: &str,
        method: Method,
        params: Json<'_>,
        out: &mut Effects,
    ) {
        let Some(found) = self.lanes.get_mut(lane) else { return };
        found.asks_made += 1;
        // A server that gives its questions names for ids has them known by these.
        let name = ask_name(id, |name| found.asks.iter().all(|ask| ask.key != name));
        let key = name.map_or_else(|| format!("ask-{}", found.asks_made), str::to_owned);
        let ask = HeldAsk { key, id: id.into(), method, params: params.text().into() };
        // Which call it is for, the upstream does not say. All are this client's, so any will do; the
        // oldest that has not been asked for yet is the likeliest, and spreads the questions.
        let of_client =
            self.clients.get(client).map(|client| client.flights.clone()).unwrap_or_default();
        let mut fit: Option<(usize, FlightKey)> = None;
        for key in of_client {
            let Some(flight) = self.flights.get(key).filter(|flight| flight.lane == Some(lane))
            else {
                continue;
            };
            let is_modern = matches!(flight.asker, Asker::Client { era: Era::Modern, .. });
            if !is_modern || !flight.method.may_ask() {
                continue;
            }
            let asked = match &flight.stage {
                Stage::Sent => 0,
                Stage::Held(held) => 1 + held.asks.len(),
                _ => continue,
            };
            if fit.is_none_or(|(least, _)| asked < least) {
                fit = Some((asked, key));
            }
        }
        match fit {
            Some((asked, _)) if asked > PENDING_ASKS_MAX => {
                self.frame_for(lane, out, |out| {
                    error::write(out, &ask.id, Code::Internal.number(), TOO_MANY_ASKS, None);
                });
            }
            Some((1.., key)) => {
                if let Some(Stage::Held(held)) =
                    self.flights.get_mut(key).map(|flight| &mut flight.stage)
                {
                    held.asks.push(ask);
                }
            }
            Some((0, key)) => {
                self.hold(key, vec![ask], false);
                self.gather_asks(now, key);
            }
            None => {
                let Some(found) = self.lanes.get_mut(lane) else { return };
                if found.asks.len() < PENDING_ASKS_MAX {
                    found.asks.push(ask);
                } else {
                    self.frame_for(lane, out, |out| {
                        error::write(
                            out,
                            &ask.id,
                            Code::Internal.number(),
                            "no call is under way that could ask the client",
                            None,
                        );
                    });
                }
            }
        }
    }

    /// A modern client's call is about to go out on its own lane: its digest is kept. What the upstream
    /// asked before is put to the client first (a file server may wait for the roots that decide what
    /// the call may touch); true if so.
    pub(super) fn put_pending_asks(
        &mut self,
        now: Now,
        key: FlightKey,
        lane: LaneKey,
        params: Json<'_>,
        out: &mut Effects,
    ) -> bool {
        let Some(flight) = self.flights.get_mut(key) else { return false };
        if !flight.method.may_ask() || !matches!(flight.asker, Asker::Client { .. }) {
            return false;
        }
        flight.digest = digest(flight.method, params);
        let asks =
            self.lanes.get_mut(lane).map(|lane| std::mem::take(&mut lane.asks)).unwrap_or_default();
        if asks.is_empty() {
            return false;
        }
        flight.lane = Some(lane);
        self.hold(key, asks, true);
        self.say_input_required(now, key, out);
        true
    }

    fn hold(&mut self, key: FlightKey, asks: Vec<HeldAsk>, unsent: bool) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.stage = Stage::Held(Box::new(Held { asks, unsent, ..Held::default() }));
        }
    }

    /// More questions may follow at once: one round for all is better than a round for each.
    fn gather_asks(&mut self, now: Now, key: FlightKey) {
        self.set_due(now, key, self.settings.limits.ask_gather);
    }

    /// Answers a held call with what its upstream wants to know.
    pub(super) fn say_input_required(&mut self, now: Now, key: FlightKey, out: &mut Effects) {
        let form = self.settings.limits.form;
        self.set_due(now, key, form);
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Stage::Held(held) = &mut flight.stage else { return };
        held.is_told = true;
        let Asker::Client { client, id, exchange, .. } = &mut flight.asker else { return };
        let (client, id, exchange) = (*client, std::mem::take(id), exchange.take());
        let mut questions = String::new();
        for ask in &held.asks {
            if !questions.is_empty() {
                questions.push(',');
            }
            let method = ask.method.as_str();
            questions.extend([
                "\"",
                &ask.key,
                "\":{\"method\":\"",
                method,
                "\",\"params\":",
                &ask.params,
                "}",
            ]);
        }
        let Some(context) = self.clients.get(client).map(context) else { return };
        let digest = flight.digest;
        let (shard, process) = (self.shard, self.process());
        let state = State { shard, flight: key, expires: now.at.after(form), digest, process };
        let state = self.sealer.seal(&state.to_bytes(), &context);
        self.exchanges.reply(&self.clients, client, exchange, out, |out| {
            answer::open(out, &id);
            let text = format!(
                "{{\"resultType\":\"input_required\",\"inputRequests\":{{{questions}}},\"requestState\":\"{state}\"}}}}"
            );
            let from = out.len();
            out.extend_from_slice(text.as_bytes());
            super::request::one_line(out, from);
        });
        self.hear_answer(client, out);
    }

    /// Whether a `requestState` is ours to read. That of a modern upstream may look like it: there may
    /// be another gateway of this kind behind us. What does not open here is then for that.
    pub(super) fn is_state_of_ours(&self, client: ClientKey, upstream: usize, state: &str) -> bool {
        let endpoint = self.endpoint_for(client, upstream);
        let is_modern = match self.endpoints[endpoint].era() {
            Some(era) => era == Era::Modern,
            // Where each caller has connections of its own, other shards may know it already.
            None => self.is_for_callers(upstream),
        };
        let Some(context) = self.clients.get(client).map(context) else { return false };
        Sealer::is_token(state) && (!is_modern || self.sealer.open(state, &context).is_some())
    }

    /// A call comes back with our own `requestState`.
    pub(super) fn retry_held(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        token: &str,
        out: &mut Effects,
    ) {
        let invalid = Code::InvalidParams.number();
        let Some(context) = self.clients.get(asked.client).map(context) else { return };
        let state = self.sealer.open(token, &context).and_then(|plain| State::from_bytes(&plain));
        let Some(state) = state.filter(|state| state.digest == digest(asked.method, asked.params))
        else {
            let message = "params.requestState was changed, or belongs to another call or client; make the call anew";
            return self.refuse(asked, invalid, message, None, out);
        };
        // The key may be that of several gateways, and of this one before it started again: what they hold is not ours,
        // though it may have the number of something that is.
        let is_ours = state.process == self.process();
        if is_ours && state.shard != self.shard {
            return self.carry_retry(asked, state.shard, out);
        }
        let flight = self.flights.get(state.flight).filter(|_| is_ours);
        let held = flight.is_some_and(|flight| {
            let is_its = flight.client().is_some_and(|client| self.is_same(client, asked.client));
            // A state that is used a second time finds its call under way again: that has its asker.
            is_its && matches!(&flight.stage, Stage::Held(held) if held.is_told)
        });
        if !held || state.expires < now.at {
            let message = "the call that params.requestState belongs to has ended, or another gateway holds it; make the call anew";
            return self.refuse(asked, invalid, message, None, out);
        }
        let client = self.adopt(asked, state.flight);
        self.prove(client, out);
        self.resume(now, &Asked { client, ..*asked }, state.flight, out);
    }

    /// Whether two clients are one, as far as can be known: an exchange's client is whoever acts for the same
    /// principal and holds the token.
    fn is_same(&self, holder: ClientKey, asker: ClientKey) -> bool {
        let exchange_of = |client| {
            let client = self.clients.get(client)?;
            matches!(client.front, Front::Exchange(_)).then_some(client.who.principal)
        };
        let asking = exchange_of(asker);
        holder == asker || (asking.is_some() && exchange_of(holder) == asking)
    }

    /// The client that holds the call comes back in another exchange: that is now its own.
    fn adopt(&mut self, asked: &Asked<'_>, held: FlightKey) -> ClientKey {
        let holder = self.flights.get(held).and_then(super::flight::Flight::client);
        let (Some(holder), Some(key)) = (holder, asked.exchange) else { return asked.client };
        if holder == asked.client {
            return holder;
        }
        if let (Some(client), Some(exchange)) =
            (self.clients.get_mut(holder), self.exchanges.get_mut(key))
        {
            client.front = Front::Exchange(key);
            exchange.client = holder;
            self.remove_client(asked.client);
            return holder;
        }
        asked.client
    }

    /// The call is held on another shard: the exchange goes on there.
    pub(super) fn carry_retry(&mut self, asked: &Asked<'_>, to: ShardId, out: &mut Effects) {
        let exchange = asked.exchange.and_then(|key| self.exchanges.get(key));
        let link = exchange.and_then(|exchange| exchange.link);
        let (Some(key), Some(link)) = (asked.exchange, link) else {
            let message = "params.requestState belongs to another connection; make the call anew";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        };
        self.exchanges.remove(key);
        let client = self.remove_client(asked.client);
        let principal = client.map(|client| client.who.principal).unwrap_or_default();
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"{}\",\"params\":{}}}",
            asked.id,
            asked.method.as_str(),
            asked.outer.unwrap_or(asked.params).text()
        );
        self.carry(to, Caller { link, principal }, Aim::Retry, body.as_bytes(), out);
    }

    /// The held call goes on, under the retry's id.
    fn resume(&mut self, now: Now, asked: &Asked<'_>, key: FlightKey, out: &mut Effects) {
        let request = self.settings.limits.request;
        let Some(flight) = self.flights.get_mut(key) else { return };
        let wait = flight.begin(now.at, request);
        flight.asker = asked.asker();
        flight.token = asked.parsed.meta.progress_token.map(|token| token.text().into());
        let Some(lane) = flight.lane else { return };
        let Stage::Held(held) = &mut flight.stage else { return };
        let answers = asked.parsed.input_responses.unwrap_or(Json::EMPTY_OBJECT);
        let (answered, missing): (Vec<HeldAsk>, Vec<HeldAsk>) = std::mem::take(&mut held.asks)
            .into_iter()
            .partition(|ask| answers.get(&ask.key).is_some());
        let progress =
            if missing.is_empty() { std::mem::take(&mut held.progress) } else { Vec::new() };
        let early = if missing.is_empty() { held.answer.take() } else { None };
        let (is_done, is_unsent) = (missing.is_empty(), held.unsent);
        held.asks = missing;
        for ask in answered {
            if let Some(result) = answers.get(&ask.key) {
                self.answer_lane(lane, &ask.id, Ok(result), out);
            }
        }
        if !is_done {
            // Asked again for what is missing (MRTR, "Error handling").
            return self.say_input_required(now, key, out);
        }
        for params in progress {
            if let Ok(params) = Json::parse(&params) {
                self.tell_progress(key, params, out);
            }
        }
        if let Some(early) = early {
            let is_chore = self.flights.get(key).is_some_and(|flight| flight.chore.is_some());
            if let Ok(json) = Json::parse(&early.text) {
                let answer = if early.is_error { Err(json) } else { Ok(json) };
                if is_chore && self.chore_answered(now, lane, key, answer, out) {
                    return;
                }
                self.finish(key, Era::Legacy, answer, out);
            }
            return;
        }
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Sent;
        // It has asked its client, who would be asked again elsewhere.
        flight.trip.is_patient = true;
        flight.trip.is_safe = false;
        self.set_due(now, key, wait);
        if is_unsent {
            self.send(now, key, lane, asked.params, asked.parsed, out);
        }
    }
}

/// The name that a question has from its server, if its id is one and nothing else has it.
pub(super) fn ask_name(id: &str, is_free: impl FnOnce(&str) -> bool) -> Option<&str> {
    let name = id.strip_prefix('"').and_then(|id| id.strip_suffix('"'))?;
    let is_name = !name.is_empty() && name.len() <= ASK_NAME_BYTES_MAX;
    (is_name && is_free(name)).then_some(name)
}

/// What our `requestState` says.
struct State {
    shard: ShardId,
    flight: FlightKey,
    expires: Moment,
    digest: u64,
    /// Which process holds the call (`Gateway::process`).
    process: u64,
}

impl State {
    fn to_bytes(&self) -> [u8; 34] {
        let mut bytes = [0; 34];
        bytes[..8].copy_from_slice(&self.flight.to_bits().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.expires.as_micros().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.digest.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.process.to_le_bytes());
        bytes[32..].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            shard: ShardId(u16::from_le_bytes(bytes.get(32..)?.try_into().ok()?)),
            flight: Key::from_bits(number(0)?),
            expires: Moment::from_micros(number(8)?),
            digest: number(16)?,
            process: number(24)?,
        })
    }
}

/// Whose state it is: the principal's, and the link's where that lasts. Over HTTP, where links are exchanges,
/// an anonymous client has no proof but the token itself.
fn context(client: &Client) -> [u8; 28] {
    let link = client.link().map_or([0xFF; 8], |link| link.to_bits().to_le_bytes());
    let mut context = [0; 28];
    context[..8].copy_from_slice(&link);
    context[8..].copy_from_slice(&client.who.principal.bytes());
    context
}

/// A digest (FNV-1a) of what a retry must repeat: the method and the parameters but those that only a
/// retry has. It guards against mistakes; against forgery the seal does.
fn digest(method: Method, params: Json<'_>) -> u64 {
    let mut digest = 0xCBF2_9CE4_8422_2325_u64;
    let mut put = |bytes: &[u8]| {
        for &byte in bytes {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
    };
    put(method.as_str().as_bytes());
    for member in params.members() {
        if matches!(&*member.name(), "name" | "arguments" | "uri") {
            put(member.key.as_bytes());
            // White space outside of strings may differ between the call and its retry.
            let mut in_string = false;
            let mut escaped = false;
            for &byte in member.value.text().as_bytes() {
                if in_string || !byte.is_ascii_whitespace() {
                    put(&[byte]);
                }
                (in_string, escaped) = match byte {
                    b'"' if !escaped => (!in_string, false),
                    b'\\' => (in_string, !escaped),
                    _ => (in_string, false),
                };
            }
        }
    }
    digest
}
