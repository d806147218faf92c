//! Quorums: one call to all endpoints of an upstream at once, answered when most of them say the same. For tools that
//! the configuration names (`multiplex`), which must be idempotent, since each is begun as often as there are
//! endpoints.
//!
//! **Most** is n/2 + 1 of the n endpoints that the upstream has in the configuration, of whatever priority, in service
//! or not. Counting only those that were asked would make the last one that is left a quorum by itself: whoever
//! multiplexes wants to be told then. So of three one may be away or wrong, of two none.
//!
//! **The same** are two results, or two errors, whose JSON is the same byte for byte but for white space between
//! tokens, and but for these members of the answer itself (not of what is inside of it): `_meta`, where each server
//! says who and when it is, and `resultType`, which one of the older era does not write. So the order of keys counts,
//! and how numbers are spelled: replicas are one program. Our own ids are not part of it. The client gets the first of
//! those that agree, as its server wrote it.
//!
//! An endpoint that asks back is refused, since nobody can be asked n times: clients are called unable to be asked, and
//! calls go over connections that are shared. Progress is told of the endpoint that reports any first, so that it
//! never goes back. Nothing is made again elsewhere: all have it already.

use std::time::Duration;

use super::audit::Record;
use super::client::ClientKey;
use super::door::Effects;
use super::endpoint::Endpoint;
use super::exchange::ExchangeKey;
use super::flight::{Asker, Flight, FlightKey};
use super::inbound::Asked;
use super::lane::{Lane, LaneKey};
use super::report::Report;
use super::tally::End;
use super::upstream::Status;
use super::{Gateway, tools};
use crate::base::{Key, Now};
use crate::mcp::{Code, Era, Method, Params, meta};
use crate::wire::{Json, Splice, text};

pub type QuorumKey = Key<Quorum>;

/// An endpoint that always says something else is told of so often: it does so in every call.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// One call that is under way at several endpoints.
#[derive(Debug)]
pub struct Quorum {
    client: ClientKey,
    id: Box<str>,
    exchange: Option<ExchangeKey>,
    era: Era,
    upstream: usize,
    /// The tool's own name, where `execute_tool` called it.
    tool: Option<Box<str>>,
    /// How many must agree.
    needed: usize,
    /// Where it went, and goes while this is made.
    asked: usize,
    /// How many may still answer.
    left: usize,
    answered: usize,
    answers: Vec<Answer>,
    /// Whose progress is told.
    voice: Option<FlightKey>,
    audit: Option<Box<Record>>,
}

/// What at least one endpoint has answered.
#[derive(Debug)]
struct Answer {
    is_error: bool,
    /// As the first of them wrote it, and in which era.
    text: Box<str>,
    era: Era,
    /// The endpoints that say so.
    from: Vec<usize>,
}

impl Answer {
    fn json(&self) -> Result<Json<'_>, Json<'_>> {
        let json = Json::known(&self.text);
        if self.is_error { Err(json) } else { Ok(json) }
    }
}

impl Quorum {
    fn agreed(&self) -> usize {
        self.answers.iter().map(|answer| answer.from.len()).max().unwrap_or(0)
    }

    /// Whether progress of this flight is told; that of the first which has any is.
    pub(super) fn hears(&mut self, flight: FlightKey) -> bool {
        *self.voice.get_or_insert(flight) == flight
    }

    pub(super) const fn upstream(&self) -> usize {
        self.upstream
    }

    /// Where its client is answered.
    pub(super) const fn exchange(&self) -> Option<ExchangeKey> {
        self.exchange
    }

    fn asker(&self) -> Asker {
        let (client, exchange) = (self.client, self.exchange);
        Asker::Client { client, id: self.id.clone(), era: self.era, exchange }
    }
}

impl Gateway {
    /// Whether a call goes to all endpoints of its upstream; `own` is what that calls the tool.
    #[inline]
    pub(super) fn is_multiplexed(&self, upstream: usize, method: Method, own: &str) -> bool {
        self.upstreams[upstream].balance.is_some()
            && method == Method::ToolsCall
            && self.settings.upstreams[upstream]
                .spread
                .multiplex
                .iter()
                .any(|pattern| pattern.matches(own))
    }

    /// Sends a call to all endpoints that are in service.
    #[cold]
    pub(super) fn multiplex(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        out: &mut Effects,
    ) {
        if asked.params.get("task").is_some() {
            // Each server would have a task of its own, and the client could ask for one of them.
            let message = "the tool is asked of several servers at once, which cannot be a task; \
                           call it without params.task";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        }
        let all = self.upstreams[upstream].endpoints.clone();
        let in_service: Vec<usize> =
            all.clone().filter(|&number| self.is_in_service(now, number)).collect();
        if let Some(why) = self.too_many_at_once(asked.client, in_service.len()) {
            return self.refuse(asked, Code::Internal.number(), why, None, out);
        }
        let execution = self.execution.take();
        let quorum = Quorum {
            client: asked.client,
            id: asked.id.into(),
            exchange: asked.exchange,
            era: asked.version.era(),
            upstream,
            tool: execution.as_ref().map(|execution| execution.tool.clone()),
            needed: all.len() / 2 + 1,
            asked: in_service.len(),
            left: in_service.len(),
            answered: 0,
            answers: Vec::new(),
            voice: None,
            audit: self.audit.take(),
        };
        let is_possible = quorum.left >= quorum.needed;
        let key = self.quorums.insert(quorum);
        if !is_possible {
            return self.end_quorum_unmet(key, out);
        }
        let params = unaskable(asked.params, asked.parsed);
        let params = params.as_deref().map_or(asked.params, Json::known);
        let parsed = Params::read(params);
        for number in in_service {
            let asker = Asker::Quorum { quorum: key, client: asked.client };
            self.execution.clone_from(&execution);
            let flight = self.open(now, asker, asked.client, upstream, asked.method, &parsed);
            if let Some(flight) = self.flights.get_mut(flight) {
                flight.trip.only = Some(number);
            }
            self.place(now, flight, None, params, &parsed, out);
            // One that turned out not to be there may have been one too many.
            if self.quorums.get(key).is_none() {
                break;
            }
        }
        self.pause_if_many(asked.client, out);
    }

    /// Whether a call can go to an endpoint, now or as soon as it is connected.
    fn is_in_service(&self, now: Now, number: usize) -> bool {
        let Some(endpoint): Option<&Endpoint> = self.endpoints.get(number) else { return false };
        match &endpoint.status {
            Status::Starting => true,
            Status::Down { .. } => false,
            Status::Ready { .. } => endpoint.breaker.retry_after(now.at).is_none(),
        }
    }

    /// An endpoint has answered; its flight is closed.
    pub(super) fn quorum_answered(
        &mut self,
        key: QuorumKey,
        lane: LaneKey,
        answer: Result<Json<'_>, Json<'_>>,
        flight: Flight,
        out: &mut Effects,
    ) {
        let era = self.lanes.get(lane).map_or(Era::Legacy, Lane::era);
        let Some(quorum) = self.quorums.get_mut(key) else { return };
        quorum.left = quorum.left.saturating_sub(1);
        if let Some(number) = flight.trip.only
            && !asks_back(answer)
        {
            quorum.answered += 1;
            let known = quorum.answers.iter_mut().find(|known| is_same(known.json(), answer));
            match (known, answer) {
                (Some(known), _) => known.from.push(number),
                (None, Ok(json) | Err(json)) => quorum.answers.push(Answer {
                    is_error: answer.is_err(),
                    text: json.text().into(),
                    era,
                    from: vec![number],
                }),
            }
        }
        if quorum.agreed() < quorum.needed {
            return self.judge_quorum(key, out);
        }
        let Some(mut quorum) = self.end_quorum(key, "the others have agreed", out) else { return };
        let (needed, asker) = (quorum.needed, quorum.asker());
        let agreed = quorum.answers.iter().position(|answer| answer.from.len() >= needed);
        let Some(agreed) = agreed.map(|at| quorum.answers.swap_remove(at)) else { return };
        for &number in quorum.answers.iter().flat_map(|answer| &answer.from) {
            self.tell_outvoted(number, out);
        }
        self.hand_over(&mut Flight { asker, ..flight }, agreed.era, agreed.json(), out);
    }

    /// The operator hears of an endpoint that says something else than the others.
    fn tell_outvoted(&mut self, number: usize, out: &mut Effects) {
        let now = self.exchanges.now;
        let Some(endpoint) = self.endpoints.get_mut(number) else { return };
        if endpoint.outvoted.is_some_and(|at| now.since(at) < TELL_EVERY) {
            return;
        }
        endpoint.outvoted = Some(now);
        let upstream = self.called_endpoint(number);
        let what = "its answer to a multiplexed call is not that of the others";
        out.report(Report::EndpointDiffers { upstream, what });
    }

    /// An endpoint will not answer; its flight is closed.
    pub(super) fn quorum_failed(&mut self, key: QuorumKey, out: &mut Effects) {
        if let Some(quorum) = self.quorums.get_mut(key) {
            quorum.left = quorum.left.saturating_sub(1);
            self.judge_quorum(key, out);
        }
    }

    /// Gives up as soon as those that are left cannot make it.
    fn judge_quorum(&mut self, key: QuorumKey, out: &mut Effects) {
        if self.quorums.get(key).is_some_and(|it| it.agreed() + it.left < it.needed) {
            self.end_quorum_unmet(key, out);
        }
    }

    fn end_quorum_unmet(&mut self, key: QuorumKey, out: &mut Effects) {
        let why = "there will be no quorum";
        let Some(quorum) = self.end_quorum(key, why, out) else { return };
        let Quorum { upstream, asked, answered, needed, .. } = quorum;
        let agreed = quorum.agreed();
        self.tally.refused(upstream, Method::ToolsCall, End::Unavailable);
        let name = self.upstreams.get(upstream).map_or("", |upstream| &*upstream.name);
        let message = format!(
            "upstream {name} has no quorum: {needed} of its endpoints must give the same answer; {asked} were \
             asked, {answered} answered, {agreed} said the same"
        );
        let tool = quorum.tool.as_deref().map(tools::shown);
        let members = self.fault_members(Some(quorum.client), upstream, tool);
        let data = format!(
            "{{\"upstream\":{},\"code\":\"SERVER_UNAVAILABLE\",\"asked\":{asked},\"answered\":{answered},\
             \"agreed\":{agreed},\"needed\":{needed},{members}}}",
            text::quoted(name)
        );
        let code = Code::ServerUnavailable.number_in(quorum.era);
        let (client, exchange) = (quorum.client, quorum.exchange);
        self.reply_error(client, &quorum.id, exchange, code, &message, Some(&data), out);
    }

    /// Takes a quorum out of the table; what is still under way for it is cancelled.
    fn end_quorum(&mut self, key: QuorumKey, why: &str, out: &mut Effects) -> Option<Quorum> {
        let mut quorum = self.quorums.remove(key)?;
        if let Some(record) = quorum.audit.take() {
            self.write_audit(*record, out);
        }
        let flights = self.clients.get(quorum.client).map(|client| client.flights.clone());
        for flight in flights.unwrap_or_default() {
            let is_its = self.flights.get(flight).is_some_and(
                |flight| matches!(flight.asker, Asker::Quorum { quorum, .. } if quorum == key),
            );
            if is_its {
                self.cancel(flight, why, out);
            }
        }
        Some(quorum)
    }

    /// Whether a quorum answers the client's request of this id.
    pub(super) fn quorum_is(&self, key: QuorumKey, id: &str) -> bool {
        self.quorums.get(key).is_some_and(|quorum| &*quorum.id == id)
    }

    /// The client wants no answer any more.
    pub(super) fn cancel_quorum(&mut self, key: QuorumKey, out: &mut Effects) {
        if let Some(quorum) = self.end_quorum(key, "the client cancelled", out) {
            self.exchanges.settle(&self.clients, quorum.exchange, out);
        }
    }

    /// The client is gone, and its flights with it.
    pub(super) fn drop_quorums(&mut self, client: ClientKey, out: &mut Effects) {
        for key in self.quorums.keys() {
            if self.quorums.get(key).is_some_and(|quorum| quorum.client == client) {
                self.end_quorum(key, "the client is gone", out);
            }
        }
    }
}

/// The `params` of a modern client that cannot be asked and wants no logs, if that is not what it is.
fn unaskable(params: Json<'_>, parsed: &Params<'_>) -> Option<String> {
    let capabilities = parsed.meta.capabilities.filter(|_| parsed.meta.is_modern())?;
    let mut splice = Splice::of(params.text());
    splice.replace(capabilities.text(), "{}");
    if let Some(holder) = parsed.meta_json {
        splice.remove_members(holder, &[meta::LOG_LEVEL]);
    }
    let mut bytes = Vec::with_capacity(params.text().len());
    splice.write(&mut bytes);
    String::from_utf8(bytes).ok()
}

/// A modern server that was told it cannot ask does all the same.
fn asks_back(answer: Result<Json<'_>, Json<'_>>) -> bool {
    let kind = answer.ok().and_then(|result| result.get("resultType")).and_then(Json::as_str);
    kind.as_deref() == Some("input_required")
}

/// See the module.
fn is_same(one: Result<Json<'_>, Json<'_>>, other: Result<Json<'_>, Json<'_>>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) | (Err(one), Err(other)) => said(one).eq(said(other)),
        _ => false,
    }
}

/// What counts of an answer, byte by byte.
fn said(answer: Json<'_>) -> impl Iterator<Item = u8> {
    let counts = |name: &str| !matches!(name, "_meta" | "resultType");
    let members = answer.members().filter(move |member| counts(&member.name()));
    members.flat_map(|member| {
        let key = member.key.bytes().chain(std::iter::once(b':'));
        key.chain(without_space(member.value.text())).chain(std::iter::once(b','))
    })
}

/// The text of a value without the white space between its tokens.
fn without_space(json: &str) -> impl Iterator<Item = u8> {
    let (mut is_inside, mut is_escaped) = (false, false);
    json.bytes().filter(move |&byte| {
        if is_inside {
            (is_inside, is_escaped) = (is_escaped || byte != b'"', !is_escaped && byte == b'\\');
            return true;
        }
        is_inside = byte == b'"';
        !byte.is_ascii_whitespace()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        is_same(Ok(Json::parse(one).unwrap()), Ok(Json::parse(other).unwrap()))
    }

    #[test]
    fn white_space_and_what_servers_say_of_themselves_do_not_count() {
        let one = r#"{"content":[{"type":"text","text":"a b"}]}"#;
        assert!(same(one, "{ \"content\" : [ {\"type\":\"text\",\n\"text\":\"a b\"} ] }"));
        assert!(same(
            one,
            r#"{"_meta":{"at":1},"resultType":"complete","content":[{"type":"text","text":"a b"}]}"#
        ));
        assert!(same("{}", r#"{"_meta":{}}"#));
    }

    #[test]
    fn everything_else_counts() {
        let one = r#"{"content":[{"text":"a b"}],"isError":false}"#;
        for other in [
            r#"{"content":[{"text":"ab"}],"isError":false}"#,
            r#"{"content":[{"text":"a b"}],"isError":true}"#,
            r#"{"content":[{"text":"a b"}]}"#,
            r#"{"isError":false,"content":[{"text":"a b"}]}"#,
            r#"{"content":[{"text":"a b","_meta":{}}],"isError":false}"#,
            r#"{"content":[{"text":"a\u0020b"}],"isError":false}"#,
        ] {
            assert!(!same(one, other), "{other}");
        }
        // Quotes that are text, and backslashes before them.
        assert!(!same(r#"{"a":"\" x"}"#, r#"{"a":"\"x"}"#));
        assert!(!same(r#"{"a":"\\","b":" "}"#, r#"{"a":"\\","b":""}"#));
        assert!(same(r#"{"a":"\\" , "b":""}"#, r#"{"a":"\\","b":""}"#));
    }

    #[test]
    fn an_error_is_no_result() {
        let json = Json::parse(r#"{"code":1,"message":"m"}"#).unwrap();
        assert!(is_same(Err(json), Err(json)) && !is_same(Ok(json), Err(json)));
    }

    #[test]
    fn servers_are_told_that_nobody_can_be_asked() {
        let text = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"io.modelcontextprotocol/logLevel":"info","k":1},"name":"t"}"#;
        let json = Json::parse(text).unwrap();
        let told = unaskable(json, &Params::read(json)).unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            told,
            serde_json::json!({"name": "t", "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {}, "k": 1,
            }})
        );
        let json = Json::parse(r#"{"name":"t"}"#).unwrap();
        assert_eq!(unaskable(json, &Params::read(json)), None);
    }
}
