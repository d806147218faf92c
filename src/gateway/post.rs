//! POST of Streamable HTTP: the ladder that a body climbs before it is a message of a client's (2026-07-28
//! and 2025-11-25 "Transports"). The body decides the era, not the header; what is wrong is said with the
//! status and the code that the era's specification names.

use super::client::{Client, ClientKey, Front};
use super::door::{Effect, Effects, Transport};
use super::exchange::{Exchange, ExchangeKey, Kind};
use super::http::{Aim, Caller, Carried, Facts, HeaderPairs, Request};
use super::{Gateway, Peer};
use crate::base::{Key, LinkId, Now, ShardId};
use crate::mcp::{Code, Era, Method, Params, Version, era, error, header};
use crate::wire::envelope::{self, Frame};
use crate::wire::{Id, Json, Message, text};

/// What is wrong with an exchange: status, code, what to say, data.
pub(super) struct Wrong {
    pub status: u16,
    pub code: i32,
    pub message: String,
    pub data: Option<String>,
}

impl Wrong {
    pub(super) fn new(status: u16, code: Code, message: impl Into<String>) -> Self {
        Self { status, code: code.number(), message: message.into(), data: None }
    }
}

impl Gateway {
    pub(super) fn post(&mut self, now: Now, link: LinkId, request: Request<'_>, out: &mut Effects) {
        let facts = Facts::read(request.headers);
        self.note_context(&facts);
        let caller = Caller { link, principal: request.principal };
        let one_line;
        let mut body = request.body;
        if memchr::memchr2(b'\n', b'\r', body).is_some() && Json::from_bytes(body).is_ok() {
            // Pieces of it go on in lines. In a text that is JSON, line breaks are only white space.
            let mut bytes = body.to_vec();
            super::request::one_line(&mut bytes, 0);
            one_line = bytes;
            body = &one_line;
        }
        let (id, wrong) = match judge(&facts, body) {
            Ok(Climbed::Modern { id, method, params, parsed }) => {
                match self.judge_params(method, &parsed, request) {
                    Ok(()) => {
                        return self.post_modern(now, caller, id, method, params, &parsed, out);
                    }
                    Err(wrong) => (Some(id), wrong),
                }
            }
            Ok(Climbed::ModernNotice) => return respond(out, link, 202),
            Ok(Climbed::Legacy { is_initialize }) => {
                return self.post_legacy(now, caller, &facts, is_initialize, body, out);
            }
            Err((id, wrong)) => (id, wrong),
        };
        refuse(out, link, id.map_or("null", Id::text), &wrong);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, read once")]
    fn post_modern(
        &mut self,
        now: Now,
        caller: Caller,
        id: Id<'_>,
        method: &str,
        params: Json<'_>,
        parsed: &Params<'_>,
        out: &mut Effects,
    ) {
        if let Some(wrong) = self.no_room(caller) {
            return refuse(out, caller.link, id.text(), &wrong);
        }
        let (client, exchange) = self.modern_client(caller);
        self.request(now, client, id.text(), method, params, parsed, Some(exchange), out);
        self.wait_for(now, exchange);
    }

    /// A client for one exchange.
    pub(super) fn modern_client(&mut self, caller: Caller) -> (ClientKey, ExchangeKey) {
        let (nobody, link) = (Key::from_bits(0), Some(caller.link));
        let exchange =
            self.exchanges.insert(Exchange::new(nobody, Kind::Modern, link, Version::LATEST));
        let who = self.who(Transport::Http, caller.principal);
        let client = Client::new(Front::Exchange(exchange), Transport::Http, who);
        let client = self.insert_client(Client { proof: self.shown.clone(), ..client });
        if let Some(exchange) = self.exchanges.get_mut(exchange) {
            exchange.client = client;
        }
        (client, exchange)
    }

    /// A modern request that another shard has judged: it goes on with a call that is held here.
    pub(super) fn post_carried(
        &mut self,
        now: Now,
        caller: Caller,
        body: &[u8],
        out: &mut Effects,
    ) {
        let mut parsed = Params::default();
        let Ok(Frame::One(Message::Request { id, method, params })) =
            envelope::read_to(body, &mut parsed)
        else {
            return respond(out, caller.link, 400);
        };
        self.post_modern(now, caller, id, method, params, &parsed, out);
    }

    fn post_legacy(
        &mut self,
        now: Now,
        caller: Caller,
        facts: &Facts<'_>,
        is_initialize: bool,
        body: &[u8],
        out: &mut Effects,
    ) {
        match facts.session {
            None if is_initialize => self.open_session(now, caller, body, out),
            None => refuse(out, caller.link, "null", &no_session()),
            Some(session) => {
                let carry = |session: Box<str>| Aim::Message { session };
                if let Some(client) = self.find_session(caller, session, carry, body, out) {
                    self.session_post(now, caller.link, client, body, out);
                }
            }
        }
    }

    /// A message, or a batch of them, of a session that lives here.
    pub(super) fn session_post(
        &mut self,
        now: Now,
        link: LinkId,
        client: ClientKey,
        body: &[u8],
        out: &mut Effects,
    ) {
        let Some(version) = self.touch_session(now, client) else {
            return refuse(out, link, "null", &unknown_session());
        };
        let mut parsed = Params::default();
        match envelope::read_to(body, &mut parsed) {
            Ok(Frame::One(message)) => {
                if !matches!(message, Message::Request { .. }) {
                    respond(out, link, 202);
                    return self.client_message(now, client, message, &parsed, None, out);
                }
                let exchange = Exchange::new(client, Kind::Legacy, Some(link), version);
                let exchange = self.exchanges.insert(exchange);
                self.client_message(now, client, message, &parsed, Some(exchange), out);
                self.wait_for(now, exchange);
            }
            Ok(Frame::Batch(elements)) => {
                let exchange = Exchange::batch(client, Kind::Legacy, Some(link), version);
                let exchange = self.exchanges.insert(exchange);
                match self.batch_is_wrong(client, elements) {
                    Some(what) => {
                        self.exchanges.remove(exchange);
                        let wrong = Wrong::new(400, Code::InvalidRequest, what);
                        refuse(out, link, "null", &wrong);
                    }
                    None if !has_requests(elements) => {
                        self.exchanges.remove(exchange);
                        respond(out, link, 202);
                        self.read_batch(now, client, elements, None, out);
                    }
                    None => {
                        self.read_batch(now, client, elements, Some(exchange), out);
                        self.wait_for(now, exchange);
                    }
                }
            }
            Err(fault) => {
                let id = fault.id.map_or("null", Id::text);
                let message = format!("{} (byte {})", fault.what, fault.at);
                refuse(
                    out,
                    link,
                    id,
                    &Wrong { status: 400, code: fault.code, message, data: None },
                );
            }
        }
    }

    /// Why one client more cannot be, if so.
    pub(super) fn no_room(&self, caller: Caller) -> Option<Wrong> {
        if self.drain.has_begun() {
            return Some(draining());
        }
        let who = self.who(Transport::Http, caller.principal);
        self.is_crowded(who).map(|why| Wrong::new(503, Code::Internal, why))
    }

    /// An exchange that was not answered at once: its peer may go, and may grow impatient.
    pub(super) fn wait_for(&mut self, now: Now, key: ExchangeKey) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(link) = exchange.link.filter(|_| exchange.left > 0) else { return };
        let beat = self.settings.limits.sse_beat;
        exchange.alarm = Some(self.wheel.set(now.at, beat, super::timer::Alarm::Beat(key)));
        self.attach(link, key);
    }

    /// What the link says from now on concerns the exchange.
    pub(super) fn attach(&mut self, link: LinkId, key: ExchangeKey) {
        if link.shard() == self.shard {
            self.links.put(link, Peer::Exchange(key));
        } else {
            self.foreign.insert(link, key);
        }
    }

    pub(super) fn detach(&mut self, link: LinkId) {
        if link.shard() == self.shard {
            self.links.take(link);
        } else {
            self.foreign.remove(&link);
        }
    }

    /// Hands an exchange to the shard that owns what it is about.
    pub(super) fn carry(
        &mut self,
        to: ShardId,
        caller: Caller,
        aim: Aim,
        body: &[u8],
        out: &mut Effects,
    ) {
        let Caller { link, principal } = caller;
        // Whoever hands on what was handed on already would do so for ever.
        if link.shard() != self.shard {
            return refuse(out, link, "null", &unknown_session());
        }
        self.links.put(link, Peer::Elsewhere(to));
        let (shown, context) = (self.shown.clone(), self.context.take());
        let carried = Box::new(Carried { principal, shown, context, aim, body: body.into() });
        out.push(Effect::Mail { to, mail: super::Mail::Exchange { link, carried } });
    }
}

/// A response without a body.
pub(super) fn respond(out: &mut Effects, link: LinkId, status: u16) {
    out.push(Effect::Respond { link, status, headers: HeaderPairs::new(), bytes: 0..0 });
}

/// A response that says what is wrong.
pub(super) fn refuse(out: &mut Effects, link: LinkId, id: &str, wrong: &Wrong) {
    refuse_with(out, link, id, wrong, HeaderPairs::new());
}

pub(super) fn refuse_with(
    out: &mut Effects,
    link: LinkId,
    id: &str,
    wrong: &Wrong,
    headers: HeaderPairs,
) {
    let start = out.bytes.len();
    error::write(&mut out.bytes, id, wrong.code, &wrong.message, wrong.data.as_deref());
    let bytes = start..out.bytes.len();
    out.push(Effect::Respond { link, status: wrong.status, headers, bytes });
}

pub(super) fn draining() -> Wrong {
    Wrong::new(503, Code::Internal, "the gateway is draining; try another")
}

pub(super) fn no_session() -> Wrong {
    Wrong::new(
        400,
        Code::InvalidRequest,
        "the header Mcp-Session-Id is missing: send initialize first and repeat the id of its response, or \
         (2026-07-28) send params._meta with the protocol version",
    )
}

pub(super) fn unknown_session() -> Wrong {
    Wrong::new(
        404,
        Code::InvalidRequest,
        "this session has ended or never was: send initialize again",
    )
}

fn has_requests(elements: Json<'_>) -> bool {
    elements.elements().any(|element| {
        !matches!(
            envelope::read_element(element),
            Ok(Message::Notification { .. } | Message::Response { .. } | Message::Failure { .. })
        )
    })
}

#[expect(clippy::large_enum_variant, reason = "made once a request, on the stack, and taken apart")]
/// Where a body stands once it has climbed the ladder.
enum Climbed<'a> {
    Modern { id: Id<'a>, method: &'a str, params: Json<'a>, parsed: Params<'a> },
    ModernNotice,
    Legacy { is_initialize: bool },
}

fn judge<'a>(facts: &Facts<'_>, body: &'a [u8]) -> Result<Climbed<'a>, (Option<Id<'a>>, Wrong)> {
    if !(facts.takes_json && facts.takes_events) {
        let message = "the header Accept must name application/json and text/event-stream";
        return Err((None, Wrong::new(406, Code::InvalidRequest, message)));
    }
    if !facts.is_json {
        let message = "the header Content-Type must be application/json";
        return Err((None, Wrong::new(415, Code::InvalidRequest, message)));
    }
    let mut parsed = Params::default();
    let frame = envelope::read_to(body, &mut parsed).map_err(|fault| {
        let message = format!("{} (byte {})", fault.what, fault.at);
        (fault.id, Wrong { status: 400, code: fault.code, message, data: None })
    })?;
    let names_modern = match facts.version.map(Version::parse) {
        None => false,
        Some(Some(version)) => version.era() == Era::Modern,
        Some(None) => true,
    };
    let invalid = |message: &str| (None, Wrong::new(400, Code::InvalidRequest, message));
    match frame {
        Frame::One(Message::Request { id, method, params }) => {
            if parsed.meta.is_modern() || names_modern {
                return judge_modern(facts, method, &parsed)
                    .map(|()| Climbed::Modern { id, method, params, parsed })
                    .map_err(|wrong| (Some(id), wrong));
            }
            Ok(Climbed::Legacy { is_initialize: method == Method::Initialize.as_str() })
        }
        Frame::One(Message::Notification { .. }) if names_modern => {
            judge_version(facts).map_err(|wrong| (None, wrong))?;
            Ok(Climbed::ModernNotice)
        }
        Frame::One(_) if names_modern => {
            Err(invalid("a client of 2026-07-28 posts requests and notifications, no responses"))
        }
        Frame::Batch(_) if names_modern => {
            Err(invalid("batches exist only in revision 2025-03-26; post one message"))
        }
        _ => Ok(Climbed::Legacy { is_initialize: false }),
    }
}

/// The ladder of 2026-07-28 up to the point where transports no longer differ: `_meta` whole, headers once,
/// and each the same as the body. A version that is not spoken is told after that.
fn judge_modern(facts: &Facts<'_>, method: &str, parsed: &Params<'_>) -> Result<(), Wrong> {
    if let Some(name) = facts.doubled {
        return Err(mismatch(format!("the header {name} stands twice")));
    }
    if parsed.meta.version.is_none() {
        judge_version(facts)?;
    }
    let version = super::inbound::whole_meta(parsed)
        .map_err(|message| Wrong::new(400, Code::InvalidParams, message))?;
    if facts.version != Some(&*version) {
        let header = facts.version.unwrap_or("missing");
        let message = format!(
            "the header MCP-Protocol-Version ({header}) must be the version of params._meta ({version})"
        );
        return Err(mismatch(message));
    }
    let method = text::unescape(method);
    if facts.method.and_then(header::decode).as_deref() != Some(&*method) {
        return Err(mismatch(format!("the header Mcp-Method must be the body's method, {method}")));
    }
    let named = Method::parse(&method)
        .filter(|&method| {
            // What there is no more is refused as such.
            method != Method::Complete && era::client_may_send(Version::LATEST, method)
        })
        .and_then(|method| super::request::named(method, parsed));
    if let Some(name) = named.and_then(Json::as_str)
        && facts.name.and_then(header::decode).as_deref() != Some(&*name)
    {
        let message = format!("the header Mcp-Name must be what the request is about, {name}");
        return Err(mismatch(message));
    }
    Ok(())
}

fn judge_version(facts: &Facts<'_>) -> Result<(), Wrong> {
    match facts.version {
        Some(version) if Version::parse(version).is_none() => {
            let message = format!(
                "the header MCP-Protocol-Version names a version not spoken here: {version}"
            );
            let data = Some(super::inbound::spoken(version));
            Err(Wrong { data, ..Wrong::new(400, Code::UnsupportedVersion, message) })
        }
        _ => Ok(()),
    }
}

pub(super) fn mismatch(message: String) -> Wrong {
    Wrong::new(400, Code::HeaderMismatch, message)
}
