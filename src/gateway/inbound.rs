//! What clients send: which era it is of, whether it is legal there, and who takes it from here.

use super::exchange::{Exchange, ExchangeKey, Kind};
use std::borrow::Cow;

use super::client::{Client, ClientKey, Front, Session, Who};
use super::door::{Effect, Effects, Transport};
use super::flight::Asker;
use super::principal::Principal;
use super::report::Report;
use super::{Gateway, Peer, answer};
use crate::base::{LinkId, Now};
use crate::mcp::{Askable, Code, Era, LogLevel, Method, Notice, Params, Version, era, error, meta};
use crate::wire::envelope::{self, Fault, Frame};
use crate::wire::{Id, Json, Message, text};

/// A request as it is handed on: who asks, under which id, in which revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub client: ClientKey,
    pub id: &'a str,
    pub exchange: Option<ExchangeKey>,
    pub version: Version,
    pub method: Method,
    pub params: Json<'a>,
    pub parsed: &'a Params<'a>,
    /// What the client itself wrote for `params`, where it wrapped the request into another.
    pub outer: Option<Json<'a>>,
}

impl Asked<'_> {
    pub(super) fn asker(&self) -> Asker {
        Asker::Client {
            client: self.client,
            id: self.id.into(),
            era: self.version.era(),
            exchange: self.exchange,
        }
    }
}

impl Gateway {
    /// Whom a link acts for: who proved to be somebody, or else who the configuration says comes this way.
    pub(super) fn who(&self, transport: Transport, proved: Principal) -> Who {
        let entrances = &self.settings.entrances;
        let principal = match (proved, transport) {
            (Principal::ANONYMOUS, Transport::Tcp) => entrances.tcp,
            (Principal::ANONYMOUS, Transport::Unix) => entrances.unix,
            (Principal::ANONYMOUS, Transport::Stdio) => entrances.stdio,
            (Principal::ANONYMOUS, Transport::Http | Transport::Sse | Transport::WebSocket) => {
                entrances.http
            }
            _ => proved,
        };
        let agent = self.agents.get(principal.number() as usize).copied().unwrap_or_default();
        Who { principal, agent }
    }

    pub(super) fn client_opened(
        &mut self,
        link: LinkId,
        transport: Transport,
        principal: Principal,
        out: &mut Effects,
    ) {
        let why = if self.drain.has_begun() {
            "the gateway is draining"
        } else if let Some(why) = self.is_crowded(self.who(transport, principal)) {
            why
        } else {
            let who = self.who(transport, principal);
            let client = self.insert_client(Client::new(Front::Link(link), transport, who));
            self.links.put(link, Peer::Client(client));
            return;
        };
        out.send(link, |out| error::write(out, "null", Code::Internal.number(), why, None));
        out.push(Effect::Close { link, why });
        out.report(Report::ClientClosed { link, why });
    }

    pub(super) fn client_frame(
        &mut self,
        now: Now,
        client: ClientKey,
        frame: &[u8],
        out: &mut Effects,
    ) {
        let mut parsed = Params::default();
        match envelope::read_to(frame, &mut parsed) {
            Ok(Frame::One(message)) => {
                self.client_message(now, client, message, &parsed, None, out);
            }
            Ok(Frame::Batch(elements)) => self.client_batch(now, client, elements, out),
            Err(fault) => self.client_fault(client, &fault, None, out),
        }
    }

    /// A frame that is no message gets an error; the connection goes on with the next.
    #[cold]
    fn client_fault(
        &mut self,
        client: ClientKey,
        fault: &Fault<'_>,
        exchange: Option<ExchangeKey>,
        out: &mut Effects,
    ) {
        if !fault.is_notice {
            let id = fault.id.map_or("null", Id::text);
            let message = format!("{} (byte {})", fault.what, fault.at);
            self.reply_error(client, id, exchange, fault.code, &message, None, out);
        }
        if let Some(link) = self.clients.get(client).and_then(Client::link) {
            out.report(Report::ClientFault { link, what: fault.what });
        }
    }

    /// A line over the limit: what follows cannot be told from the rest of it, so the link ends.
    pub(super) fn overlong(&mut self, now: Now, link: LinkId, out: &mut Effects) {
        match self.links.get(link) {
            Some(Peer::Client(_)) => {
                let limit = self.settings.limits.frame_bytes_max;
                let message = format!(
                    "the line is longer than the limit frame_bytes_max ({limit}); the connection ends"
                );
                out.send(link, |out| {
                    error::write(out, "null", Code::InvalidRequest.number(), &message, None);
                });
                let why = "a line over the limit frame_bytes_max";
                out.push(Effect::Close { link, why });
                out.report(Report::ClientClosed { link, why });
            }
            Some(Peer::Lane(lane)) => {
                self.give_up(now, lane, "it sent a line over the limit frame_bytes_max", out);
            }
            Some(Peer::Exchange(_) | Peer::Elsewhere(_)) | None => {}
        }
    }

    /// A batch: legal in sessions of 2025-03-26 only.
    pub(super) fn client_batch(
        &mut self,
        now: Now,
        client: ClientKey,
        elements: Json<'_>,
        out: &mut Effects,
    ) {
        if let Some(what) = self.batch_is_wrong(client, elements) {
            let fault = Fault::new(Code::InvalidRequest.number(), what, 0, None);
            return self.client_fault(client, &fault, None, out);
        }
        let batch = Exchange::batch(client, Kind::Line, None, Version::LATEST_LEGACY);
        let batch = self.exchanges.insert(batch);
        self.read_batch(now, client, elements, Some(batch), out);
    }

    /// Why a batch cannot be taken, if so.
    pub(super) fn batch_is_wrong(
        &self,
        client: ClientKey,
        elements: Json<'_>,
    ) -> Option<&'static str> {
        let is_legal = self
            .clients
            .get(client)
            .and_then(|client| client.session.as_ref())
            .is_some_and(|session| session.version.has_batches());
        if !is_legal {
            Some("batches exist only in revision 2025-03-26; send one message a line")
        } else if elements.elements().next().is_none() {
            Some("an empty batch is no request")
        } else if elements.elements().count() > self.settings.limits.batch_messages_max {
            Some("the batch has more messages than the limit batch_messages_max")
        } else {
            None
        }
    }

    /// The messages of a legal batch. The exchange is there for the answers, of which one more than there
    /// are requests is waited for until all have been read.
    pub(super) fn read_batch(
        &mut self,
        now: Now,
        client: ClientKey,
        elements: Json<'_>,
        exchange: Option<ExchangeKey>,
        out: &mut Effects,
    ) {
        for element in elements.elements() {
            let mut parsed = Params::default();
            match envelope::read_element_to(element, &mut parsed) {
                Ok(Message::Request { method: "initialize", id, .. }) => {
                    self.expect_answer(exchange);
                    let message = "initialize must not stand in a batch";
                    self.reply_error(
                        client,
                        id.text(),
                        exchange,
                        Code::InvalidRequest.number(),
                        message,
                        None,
                        out,
                    );
                }
                Ok(message) => {
                    if matches!(message, Message::Request { .. }) {
                        self.expect_answer(exchange);
                    }
                    self.client_message(now, client, message, &parsed, exchange, out);
                }
                Err(fault) => {
                    if !fault.is_notice {
                        self.expect_answer(exchange);
                    }
                    self.client_fault(client, &fault, exchange, out);
                }
            }
        }
        self.exchanges.settle(&self.clients, exchange, out);
    }

    fn expect_answer(&mut self, exchange: Option<ExchangeKey>) {
        if let Some(exchange) = exchange.and_then(|key| self.exchanges.get_mut(key)) {
            exchange.left += 1;
        }
    }

    pub(super) fn client_message(
        &mut self,
        now: Now,
        client: ClientKey,
        message: Message<'_>,
        parsed: &Params<'_>,
        exchange: Option<ExchangeKey>,
        out: &mut Effects,
    ) {
        match message {
            Message::Request { id, method, params } => {
                self.request(now, client, id.text(), method, params, parsed, exchange, out);
            }
            // It gets no answer, not even that it was too many.
            Message::Notification { .. }
                if self.governor.is_some() && self.is_over(now, client, None, out).is_some() =>
            {
                self.note_violation(client, exchange, out);
            }
            Message::Notification { method, params } => {
                self.client_notice(client, method, params, parsed, out);
            }
            Message::Response { id, result } => {
                self.asked_answered(now, client, id.text(), Ok(result), out);
            }
            Message::Failure { id: Some(id), error } => {
                self.asked_answered(now, client, id.text(), Err(error), out);
            }
            Message::Failure { id: None, .. } => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, read once")]
    pub(super) fn request(
        &mut self,
        now: Now,
        client: ClientKey,
        id: &str,
        method: &str,
        params: Json<'_>,
        parsed: &Params<'_>,
        exchange: Option<ExchangeKey>,
        out: &mut Effects,
    ) {
        // Of the message before it in a batch.
        if self.audit.is_some() || self.span.is_some() {
            self.end_request_now(out);
        }
        if self.governor.is_some()
            && let Some(over) =
                self.is_over(now, client, Method::parse(&text::unescape(method)), out)
        {
            let era = if parsed.meta.is_modern() { Era::Modern } else { Era::Legacy };
            return self.refuse_over(client, id, exchange, era, over, out);
        }
        match self.judge(client, method, parsed) {
            Ok((method, version)) => {
                let outer = None;
                let asked = Asked { client, id, exchange, version, method, params, parsed, outer };
                self.dispatch(now, &asked, out);
            }
            Err(refusal) => self.refuse_request(client, id, exchange, &refusal, out),
        }
    }

    /// A request that is not even begun.
    #[cold]
    fn refuse_request(
        &mut self,
        client: ClientKey,
        id: &str,
        exchange: Option<ExchangeKey>,
        refusal: &Refusal,
        out: &mut Effects,
    ) {
        let Refusal { code, message, data } = refusal;
        self.exchanges.note_error(exchange, code.number(), true);
        self.reply_error(client, id, exchange, code.number(), message, data.as_deref(), out);
    }

    /// Whether a request is legal where it stands: its method, its era, its session, its `_meta`.
    fn judge(
        &self,
        client: ClientKey,
        method: &str,
        parsed: &Params<'_>,
    ) -> Result<(Method, Version), Refusal> {
        let refuse = |code, message: String| Err(Refusal { code, message, data: None });
        let name = method;
        let Some(method) = Method::parse(name).or_else(|| Method::parse(&text::unescape(name)))
        else {
            let name = text::unescape(name);
            return refuse(Code::MethodNotFound, format!("there is no method {name}"));
        };
        let name = method.as_str();
        if let Some(key) = parsed.doubled {
            return refuse(
                Code::InvalidParams,
                format!("params has the key \"{key}\" twice; which of the two counts is not known"),
            );
        }
        if parsed.meta.is_modern() {
            return judge_modern(method, parsed).map(|version| (method, version));
        }
        let session = self.clients.get(client).and_then(|client| client.session.as_ref());
        match (session, method) {
            (_, Method::Discover | Method::Listen) => refuse(
                Code::InvalidParams,
                format!("{name} needs params._meta with the key {}", meta::VERSION),
            ),
            (None, Method::Initialize | Method::Ping) => Ok((method, Version::LATEST_LEGACY)),
            (Some(session), _) if era::client_may_send(session.version, method) => {
                Ok((method, session.version))
            }
            (Some(session), _) => refuse(
                Code::MethodNotFound,
                format!("a client of {} may not send {name}", session.version.as_str()),
            ),
            (None, _) if !era::client_may_send(Version::LATEST_LEGACY, method) => {
                refuse(Code::MethodNotFound, format!("a client may not send {name}"))
            }
            (None, _) => refuse(
                Code::InvalidRequest,
                format!(
                    "{name} came before initialize; send initialize first, or (2026-07-28) params._meta with the key {}",
                    meta::VERSION
                ),
            ),
        }
    }

    fn dispatch(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        match asked.method {
            Method::Initialize => self.initialize_session(now, asked, out),
            Method::Discover => {
                self.greet(now, asked.client, asked.id, asked.exchange, asked.version, out);
            }
            Method::Ping => self.reply_empty(asked, out),
            Method::SetLevel => self.set_level(asked, out),
            Method::Subscribe => self.subscribe(now, asked, out),
            Method::Unsubscribe => self.unsubscribe(asked, out),
            Method::Listen => self.listen(now, asked, out),
            Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList => {
                self.list(now, asked, out);
            }
            Method::TasksGet
            | Method::TasksList
            | Method::TasksResult
            | Method::TasksCancel
            | Method::TasksUpdate => self.task_request(now, asked, out),
            _ => self.route(now, asked, out),
        }
    }

    pub(super) fn reply_empty(&mut self, asked: &Asked<'_>, out: &mut Effects) {
        let text = match asked.version.era() {
            Era::Legacy => "{}}",
            Era::Modern => "{\"resultType\":\"complete\"}}",
        };
        self.exchanges.reply(&self.clients, asked.client, asked.exchange, out, |out| {
            answer::open(out, asked.id);
            out.extend_from_slice(text.as_bytes());
        });
    }

    pub(super) fn refuse(
        &mut self,
        asked: &Asked<'_>,
        code: i32,
        message: &str,
        data: Option<&str>,
        out: &mut Effects,
    ) {
        self.reply_error(asked.client, asked.id, asked.exchange, code, message, data, out);
    }

    fn initialize_session(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let params = asked.params;
        let wanted = params.get("protocolVersion").and_then(Json::as_str);
        let capabilities = params.get("capabilities").filter(|json| json.is_object());
        let (Some(wanted), Some(capabilities)) = (wanted, capabilities) else {
            let message = "initialize needs params.protocolVersion (a string) and params.capabilities (an object)";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        };
        let info = params.get("clientInfo").filter(|json| json.is_object());
        let remembered = capabilities.text().len() + info.map_or(0, |info| info.text().len());
        let limit = self.settings.limits.session_bytes_max;
        if remembered > limit {
            let message = format!(
                "params.capabilities and params.clientInfo have {remembered} bytes; the limit session_bytes_max allows {limit}"
            );
            return self.refuse(asked, Code::InvalidParams.number(), &message, None, out);
        }
        let version = Version::negotiate(&wanted);
        // What the client itself can do as a task, nobody is told: a server's requests about it do not pass.
        let mut said = crate::wire::Splice::of(capabilities.text());
        said.remove_members(capabilities, &["tasks"]);
        let said = said.into_text();
        let Some(client) = self.clients.get_mut(asked.client) else { return };
        if client.session.is_some() {
            let message =
                "this connection is initialized already; open another for another session";
            return self.refuse(asked, Code::InvalidRequest.number(), message, None, out);
        }
        client.session = Some(Box::new(Session {
            version,
            capabilities: said.into(),
            askable: Askable::read(capabilities),
            info: info.map_or("{\"name\":\"unknown\",\"version\":\"\"}", Json::text).into(),
            level: None,
            initialized: false,
            subscriptions: Vec::new(),
        }));
        self.greet(now, asked.client, asked.id, asked.exchange, version, out);
    }

    fn set_level(&mut self, asked: &Asked<'_>, out: &mut Effects) {
        let Some(level) = asked.parsed.level.and_then(LogLevel::read) else {
            let message = "params.level must be one of debug, info, notice, warning, error, critical, alert, emergency";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        };
        let Some(client) = self.clients.get_mut(asked.client) else { return };
        if let Some(session) = client.session.as_mut() {
            session.level = Some(level);
        }
        for lane in client.lanes.iter().map(|own| own.lane).collect::<Vec<_>>() {
            self.set_lane_level(lane, level, out);
        }
        self.reply_empty(asked, out);
    }

    /// Sends a call to the upstream that its name belongs to.
    fn route(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let invalid = Code::InvalidParams.number();
        let Some(name) = super::request::named(asked.method, asked.parsed).and_then(Json::as_str)
        else {
            let message = match asked.method {
                Method::ResourcesRead => "params.uri must be a string",
                Method::Complete => {
                    "params.ref must be {\"type\":\"ref/prompt\",\"name\":…} or {\"type\":\"ref/resource\",\"uri\":…}"
                }
                _ => "params.name must be a string",
            };
            return self.refuse(asked, invalid, message, None, out);
        };
        if asked.parsed.arguments.is_some_and(|arguments| !arguments.is_object()) {
            return self.refuse(asked, invalid, "params.arguments must be an object", None, out);
        }
        if asked.method == Method::Complete
            && let Some(key) = asked.parsed.reference.and_then(doubled)
        {
            let message = format!(
                "params.ref has the key \"{key}\" twice; which of the two counts is not known"
            );
            return self.refuse(asked, invalid, &message, None, out);
        }
        if asked.method == Method::Complete
            && let Some(reference) = asked.parsed.reference
            && reference.get("name").is_some()
            && reference.get("uri").is_some()
        {
            // We would go by the name, the upstream by the type.
            let message =
                "params.ref must have a name (ref/prompt) or a uri (ref/resource), not both";
            return self.refuse(asked, invalid, message, None, out);
        }
        if asked.method == Method::Complete && !has_argument(asked.params) {
            let message = "params.argument must be an object with the strings name and value";
            return self.refuse(asked, invalid, message, None, out);
        }
        let is_uri = match asked.method {
            Method::ResourcesRead => true,
            Method::Complete => {
                asked.parsed.reference.is_some_and(|reference| reference.get("name").is_none())
            }
            _ => false,
        };
        if let Some(tool) = self.gateway_tool(asked.method, &name) {
            return self.call_gateway_tool(now, asked, tool, out);
        }
        let is_hidden = asked.method == Method::ToolsCall && !self.settings.expose.has_names();
        let found = if is_uri { self.routes.by_uri(&name) } else { self.routes.by_name(&name) };
        let Some((upstream, own)) = found.filter(|_| !is_hidden) else {
            return self.refuse_unknown(asked, &name, out);
        };
        self.pass_on(now, asked, upstream, own, out);
    }

    /// Sends a request to the upstream that it is for, if its client may; `own` is what that calls the thing.
    #[inline]
    pub(super) fn pass_on(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        own: &str,
        out: &mut Effects,
    ) {
        if self.settings.traces.is_some() {
            self.begin_span(now, asked, upstream, own);
        }
        if self.is_denied(now, asked, upstream, own, out) {
            return self.note_denied(asked, upstream);
        }
        // A call that we hold ourselves comes back with our own token.
        if let Some(state) = asked.parsed.request_state.and_then(Json::as_str)
            && self.is_state_of_ours(asked.client, upstream, &state)
        {
            return self.retry_held(now, asked, &state, out);
        }
        if self.upstreams[upstream].is_builtin {
            return self.call_builtin(now, asked, upstream, own, out);
        }
        if self.is_multiplexed(upstream, asked.method, own) {
            return self.multiplex(now, asked, upstream, out);
        }
        if self.upstreams[upstream].identity.as_ref().is_some_and(|identity| identity.tasks) {
            self.chore = self.chore_of_call(asked, upstream, own);
        }
        self.launch(now, asked.asker(), upstream, asked.method, asked.params, asked.parsed, out);
    }

    fn refuse_unknown(&mut self, asked: &Asked<'_>, name: &str, out: &mut Effects) {
        let quoted = text::quoted(name);
        match asked.method {
            Method::ResourcesRead => {
                let code = era::resource_not_found(asked.version.era());
                let data = format!("{{\"uri\":{quoted}}}");
                self.refuse(asked, code, &format!("there is no resource {name}"), Some(&data), out);
            }
            Method::ToolsCall => {
                self.refuse(
                    asked,
                    Code::InvalidParams.number(),
                    &format!("Unknown tool: {name}"),
                    None,
                    out,
                );
            }
            Method::PromptsGet => {
                self.refuse(
                    asked,
                    Code::InvalidParams.number(),
                    &format!("Unknown prompt: {name}"),
                    None,
                    out,
                );
            }
            _ => self.refuse(
                asked,
                Code::InvalidParams.number(),
                &format!("there is no {name}"),
                None,
                out,
            ),
        }
    }

    fn client_notice(
        &mut self,
        client: ClientKey,
        method: &str,
        params: Json<'_>,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) {
        // Notifications get no answer, not even for what is wrong with them.
        if parsed.doubled.is_some() {
            return;
        }
        match Notice::parse(&text::unescape(method)) {
            Some(Notice::Initialized) => {
                if let Some(session) =
                    self.clients.get_mut(client).and_then(|client| client.session.as_mut())
                {
                    session.initialized = true;
                }
            }
            Some(Notice::Cancelled) => {
                let Some(id) = parsed.request_id else { return };
                self.client_cancels(client, id.text(), out);
            }
            Some(notice @ (Notice::RootsChanged | Notice::Progress)) => {
                // About what its own lanes asked it; on others nobody asked. Who does not read needs no news.
                let Some(found) = self.clients.get(client) else { return };
                for lane in found.lanes.iter().map(|own| own.lane).collect::<Vec<_>>() {
                    if self.lanes.get(lane).is_some_and(|lane| {
                        lane.is_ready() && lane.era() == Era::Legacy && !lane.blocked
                    }) {
                        self.tell(lane, notice.as_str(), params.text(), out);
                    }
                }
            }
            _ => {}
        }
    }

    /// `notifications/cancelled`, by the client's own id of the request.
    fn client_cancels(&mut self, client: ClientKey, id: &str, out: &mut Effects) {
        let Some(found) = self.clients.get_mut(client) else { return };
        if let Some(at) = found.listens.iter().position(|listen| &*listen.id == id) {
            let listen = found.listens.remove(at);
            self.unlisten(&[listen], &[], out);
            return;
        }
        let of_client = found.flights.clone();
        for key in of_client {
            match self.flights.get(key).map(|flight| &flight.asker) {
                Some(Asker::Client { id: own, .. }) if &**own == id => {
                    return self.cancel(key, "the client cancelled", out);
                }
                Some(Asker::Gather { gather, .. }) if self.gather_is(*gather, id) => {
                    let gather = *gather;
                    return self.cancel_gather(gather, out);
                }
                Some(Asker::Quorum { quorum, .. }) if self.quorum_is(*quorum, id) => {
                    let quorum = *quorum;
                    return self.cancel_quorum(quorum, out);
                }
                _ => {}
            }
        }
    }

    /// The client's link is gone: nothing of it stays.
    pub(super) fn client_gone(&mut self, now: Now, key: ClientKey, out: &mut Effects) {
        let Some(client) = self.clients.get(key) else { return };
        let flights = client.flights.clone();
        self.pace_lanes(key, false, out);
        // Before what they wait for: each still owes its peer a response, and gives it once.
        for exchange in self.exchanges.of(key) {
            self.drop_exchange(exchange, out);
        }
        for flight in flights {
            self.cancel(flight, "the client is gone", out);
        }
        self.drop_gathers(key);
        self.drop_quorums(key, out);
        self.drop_greets(key);
        self.drop_asks_of(key, out);
        let Some(client) = self.remove_client(key) else { return };
        for own in client.lanes {
            // Tasks outlive the connection that began them.
            if self.has_tasks(own.lane) && self.may_wait(own.lane, key) {
                self.park(now, &own, out);
            } else {
                self.drop_lane(own.lane, "its client is gone", out);
                self.serve_line(now, own.upstream, out);
            }
        }
        let subscriptions = client.session.map(|it| it.subscriptions).unwrap_or_default();
        self.unlisten(&client.listens, &subscriptions, out);
    }
}

/// Why a request is not even begun.
struct Refusal {
    code: Code,
    message: String,
    data: Option<String>,
}

/// The version that a modern request's `_meta` names, if the object has what it must have.
pub(super) fn whole_meta<'a>(parsed: &Params<'a>) -> Result<Cow<'a, str>, String> {
    let Some(asked) = parsed.meta.version.and_then(Json::as_str) else {
        return Err(format!("params._meta needs the key {} (a string)", meta::VERSION));
    };
    if !parsed.meta.capabilities.is_some_and(Json::is_object) {
        return Err(format!("params._meta needs the key {} (an object)", meta::CAPABILITIES));
    }
    Ok(asked)
}

/// The data of an error about a version: what is spoken, and what was asked for.
pub(super) fn spoken(asked: &str) -> String {
    // Those that a request's metadata can name, as server/discover says them.
    let latest = Version::LATEST.as_str();
    format!("{{\"supported\":[\"{latest}\"],\"requested\":{}}}", text::quoted(asked))
}

/// The ladder of 2026-07-28: `_meta` whole, version spoken, method there.
fn judge_modern(method: Method, parsed: &Params<'_>) -> Result<Version, Refusal> {
    let refuse = |code, message: String, data| Err(Refusal { code, message, data });
    let asked = match whole_meta(parsed) {
        Ok(asked) => asked,
        Err(message) => return refuse(Code::InvalidParams, message, None),
    };
    let Some(version) = Version::parse(&asked).filter(|version| version.era() == Era::Modern)
    else {
        return refuse(
            Code::UnsupportedVersion,
            format!("protocol version {asked} is not spoken in _meta"),
            Some(spoken(&asked)),
        );
    };
    if parsed.meta.log_level.is_some() && parsed.meta.level().is_none() {
        return refuse(Code::InvalidParams, format!("{} is no log level", meta::LOG_LEVEL), None);
    }
    if !era::client_may_send(version, method) {
        let message = format!("a client of {} may not send {}", version.as_str(), method.as_str());
        return refuse(Code::MethodNotFound, message, None);
    }
    Ok(version)
}

/// The key of a completion's `ref` that stands twice: the upstream might go by the other one.
fn doubled(reference: Json<'_>) -> Option<&'static str> {
    ["type", "name", "uri"]
        .into_iter()
        .find(|key| reference.members().filter(|member| member.is(key)).nth(1).is_some())
}

fn has_argument(params: Json<'_>) -> bool {
    params.get("argument").is_some_and(|argument| {
        let is_string = |key| argument.get(key).is_some_and(|json| json.as_str().is_some());
        is_string("name") && is_string("value")
    })
}
