//! One frame, posted: what the server answers becomes frames, and a request gets its answer whatever
//! happens. A request that the server cannot have taken is sent again; any other is not.

use std::io;
use std::rc::Rc;

use super::about::About;
use super::peer::{Lost, Peer};
use super::reply::{Answer, Reply};
use super::stream::{self, Events};
use crate::gateway::mirror;
use crate::gateway::settings::Speaks;
use crate::mcp::{Code, Method, error};
use crate::wire::Json;

/// Posts a frame and delivers what comes.
pub(super) async fn post(peer: &Rc<Peer>, about: &About, frame: &[u8]) {
    if let Err(what) = try_post(peer, about, frame).await
        && let Some(id) = &about.id
    {
        match what {
            Failure::Refused(error) => fail(peer, id, &error),
            Failure::Lost(lost) if lost.is_refused => peer.port.refuse(id, &lost.error.to_string()),
            Failure::Lost(lost) => {
                let why = format!("the server cannot be reached: {}", lost.error);
                peer.port.lose(id, lost.is_unsent, &why);
            }
        }
    }
}

/// Why a request has no answer of its server's.
pub(super) enum Failure {
    /// The server said no by HTTP: a JSON-RPC error object.
    Refused(String),
    Lost(Lost),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

async fn try_post(peer: &Rc<Peer>, about: &About, frame: &[u8]) -> Result<(), Failure> {
    let (mut reply, mut answer) = ask(peer, about, frame).await?;
    let had_session = peer.state.borrow().session.is_some();
    if answer.status == 404 && had_session && about.method != "initialize" {
        // The server has forgotten the session, so it cannot have taken the message.
        drop(reply);
        stream::greet_anew(peer).await?;
        (reply, answer) = ask(peer, about, frame).await?;
    }
    let is_greeting = about.method == Method::Initialize.as_str();
    let may_fall_back = peer.target.speaks == Speaks::Auto && is_greeting;
    if may_fall_back && matches!(answer.status, 400 | 404 | 405) {
        stream::open_sse(peer);
        peer.frame(frame.to_vec());
        return Ok(());
    }
    let is_first = is_greeting || about.method == Method::Discover.as_str();
    if answer.status == 403 && is_first && peer.is_for_caller() {
        // Of the server's era it says nothing.
        return Err(stream::refused(answer.status).into());
    }
    if !(200..300).contains(&answer.status) {
        let body = reply.rest(peer.bytes_max).await.unwrap_or_default();
        return Err(Failure::Refused(refused(answer.status, &body)));
    }
    if is_greeting {
        peer.state.borrow_mut().session = answer.session.take();
    }
    if answer.is_stream() {
        let events = Events { about: Some(about), from: None };
        return stream::read(peer, reply, events).await;
    }
    let body = reply.rest(peer.bytes_max).await?;
    peer.give_back(reply);
    if peer.state.borrow().endpoint.is_some() {
        // HTTP+SSE: the answer comes on its stream.
        return Ok(());
    }
    if about.is_request() {
        if body.is_empty() {
            return Err(Failure::Refused(internal(&format!(
                "the server answered HTTP {} without a body",
                answer.status
            ))));
        }
        let mut body = body;
        deliver(peer, Some(about), &mut body);
    } else if about.method == "notifications/initialized" {
        stream::open_session_stream(peer);
    }
    Ok(())
}

/// Sends the frame and reads the head of the response.
async fn ask(peer: &Rc<Peer>, about: &About, frame: &[u8]) -> Result<(Reply, Answer), Failure> {
    let path = peer.state.borrow().endpoint.clone().unwrap_or_else(|| peer.target.path.clone());
    let mut headers = vec![
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    if let Some(version) = &about.version {
        headers.push(("mcp-protocol-version", version));
    }
    headers.extend(about.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(peer.ask("POST", &path, &headers, Some(frame)).await?)
}

/// Hands a message on to the gateway; learns from it what the exchanges to come need.
pub(super) fn deliver(peer: &Peer, about: Option<&About>, frame: &mut [u8]) {
    crate::gateway::one_line(frame);
    if let Some(about) = about
        && let Ok(message) = Json::from_bytes(frame)
        && let Some(result) = message.get("result")
    {
        let state = &mut *peer.state.borrow_mut();
        if about.method == Method::Initialize.as_str() {
            let version = result.get("protocolVersion").and_then(Json::as_str);
            state.version = version.map(std::borrow::Cow::into_owned);
        } else if about.method == Method::ToolsList.as_str() && about.version.is_some() {
            mirror::read_page(result, &mut state.mirrors);
        }
    }
    peer.port.deliver(frame);
}

/// Answers a request in the server's place.
fn fail(peer: &Peer, id: &str, failure: &str) {
    let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{failure}}}");
    peer.port.deliver(answer.as_bytes());
}

/// What a server's refusal means to the gateway: its own error, if it gave one.
fn refused(status: u16, body: &[u8]) -> String {
    if let Ok(message) = Json::from_bytes(body)
        && let Some(error) = message.get("error").filter(|error| error.is_object())
        && error.get("code").and_then(Json::as_i64).is_some()
    {
        let mut text = error.text().to_owned().into_bytes();
        crate::gateway::one_line(&mut text);
        return String::from_utf8(text).unwrap_or_default();
    }
    match status {
        404 | 405 => object(Code::MethodNotFound, &format!("the server answered HTTP {status}")),
        _ => internal(&format!("the server answered HTTP {status}")),
    }
}

pub(super) fn internal(what: &str) -> String {
    object(Code::Internal, what)
}

fn object(code: Code, what: &str) -> String {
    let mut answer = Vec::new();
    error::write(&mut answer, "0", code.number(), what, None);
    let answer = String::from_utf8(answer).unwrap_or_default();
    Json::parse(&answer)
        .ok()
        .and_then(|answer| answer.get("error"))
        .map_or_else(String::new, |error| error.text().to_owned())
}
