//! Event streams of a server's: answers to a POST, a session's own stream, the one stream of HTTP+SSE. One
//! that breaks before all was said is resumed where it stopped (2025-11-25 "Resumability and Redelivery").

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::about::About;
use super::exchange::{Failure, deliver, internal};
use super::peer::{Lost, Peer, in_time};
use super::reply::{Answer, Reply};
use crate::shard::{Breath, rt};
use crate::wire::sse::Decoder;

/// How long to wait before a stream is opened anew, unless the server said otherwise.
const RETRY: Duration = Duration::from_secs(1);
/// No server makes us wait longer, nor ask more often.
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_millis(10);
/// How often in a row a stream is resumed without anything new having come.
const ATTEMPTS_MAX: u32 = 5;

/// How long a server may take to end a stream that has answered: longer than the way there and back. Who leaves it open
/// loses the connection, for the exchange's place is another's.
const REST_MAX: Duration = Duration::from_secs(1);

/// What is read from a stream.
pub(super) struct Events<'a> {
    /// The request that it answers; `None` for streams that answer none.
    pub(super) about: Option<&'a About>,
    /// The last event that came before.
    pub(super) from: Option<String>,
}

/// Reads a stream that answers a request until it has, resuming it as often as must be.
pub(super) async fn read(
    peer: &Rc<Peer>,
    reply: Reply,
    mut events: Events<'_>,
) -> Result<(), Failure> {
    let mut next = Some(reply);
    let mut attempts = 0;
    loop {
        let Some(reply) = next.take() else {
            attempts += 1;
            if attempts > ATTEMPTS_MAX {
                let what = internal("the server closed the stream before it had answered");
                return Err(Failure::Refused(what));
            }
            match resume(peer, events.from.as_deref()).await {
                Ok((reply, answer)) if answer.status == 200 => next = Some(reply),
                Ok((_, answer)) => {
                    let what = format!(
                        "the server closed the stream before it had answered, and resumes none: HTTP {}",
                        answer.status
                    );
                    return Err(Failure::Refused(internal(&what)));
                }
                Err(_) => rt::sleep(RETRY).await,
            }
            continue;
        };
        let before = events.from.clone();
        let end = pour(peer, reply, &mut events).await;
        if end.is_answered {
            return Ok(());
        }
        if events.from.is_none() {
            let why = end.error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
            return Err(why.into());
        }
        if events.from != before {
            attempts = 0;
        }
        rt::sleep(end.retry).await;
    }
}

/// How a stream ended.
struct End {
    is_answered: bool,
    retry: Duration,
    error: Option<io::Error>,
}

/// Delivers what a stream brings, until it ends or has answered.
async fn pour(peer: &Rc<Peer>, mut reply: Reply, events: &mut Events<'_>) -> End {
    let mut decoder = Decoder::new(peer.bytes_max);
    let mut is_answered = false;
    let (mut bytes, mut breath) = (Vec::new(), Breath::default());
    let error = loop {
        peer.port.flows(&mut breath, bytes.len()).await;
        bytes.clear();
        match reply.piece(&mut bytes).await {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let mut endpoint = None;
        let told = decoder.push(&bytes, |event| {
            if let Some(id) = event.id {
                events.from = Some(id.to_owned());
            }
            match event.kind {
                "endpoint" => endpoint = Some(event.data.to_owned()),
                _ if event.data.is_empty() => {}
                _ => frames.push(event.data.as_bytes().to_vec()),
            }
        });
        if let Some(endpoint) = endpoint {
            found_endpoint(peer, &endpoint);
        }
        for mut frame in frames {
            let answers = events.about.is_some_and(|about| about.is_answered_by(&frame));
            is_answered |= answers;
            deliver(peer, events.about.filter(|_| answers), &mut frame);
        }
        if told.is_err() {
            break Some(io::Error::other("an event is larger than the limit frame_bytes_max"));
        }
        if is_answered && events.about.is_some() {
            // Servers end the stream now; whoever reads on keeps the connection for the next request.
            let ended = in_time(REST_MAX, reply.rest(peer.bytes_max)).await;
            if ended.is_some_and(|rest| rest.is_ok()) {
                peer.give_back(reply);
            }
            break None;
        }
    };
    let retry = decoder.retry_ms().map_or(RETRY, Duration::from_millis);
    End { is_answered, retry: retry.clamp(RETRY_MIN, RETRY_MAX), error }
}

/// `GET`: a session's stream, from an event on.
async fn resume(peer: &Rc<Peer>, from: Option<&str>) -> io::Result<(Reply, Answer)> {
    let mut headers = vec![("accept", "text/event-stream")];
    headers.extend(from.map(|from| ("last-event-id", from)));
    Ok(peer.ask("GET", &peer.target.path, &headers, None).await?)
}

/// Opens the stream that a legacy session has for what answers nothing; servers need not have one.
pub(super) fn open_session_stream(peer: &Rc<Peer>) {
    let peer = Rc::clone(peer);
    rt::spawn(async move {
        let wanted = Rc::default();
        peer.unless_called_off(&wanted, Box::pin(session_stream(&peer))).await;
    });
}

async fn session_stream(peer: &Rc<Peer>) {
    let mut events = Events { about: None, from: None };
    let mut attempts = 0;
    let session = peer.state.borrow().session.clone();
    while attempts < ATTEMPTS_MAX && peer.state.borrow().session == session {
        match resume(peer, events.from.as_deref()).await {
            Ok((reply, answer)) if answer.status == 200 => {
                attempts = 0;
                let end = pour(peer, reply, &mut events).await;
                rt::sleep(end.retry).await;
            }
            // There is none, or the session is gone; the next request will find out.
            Ok((_, answer)) if matches!(answer.status, 400..=499) => return,
            _ => {
                attempts += 1;
                rt::sleep(RETRY).await;
            }
        }
    }
}

/// Shakes hands again with a server that has forgotten the session.
pub(super) async fn greet_anew(peer: &Rc<Peer>) -> Result<(), Lost> {
    let (hello, lost) = {
        let state = &mut *peer.state.borrow_mut();
        (state.hello.clone(), state.session.take())
    };
    let Some(hello) = hello else { return Err(io::Error::other("the session is gone").into()) };
    // The next request is to find out again.
    let keep = |lost| {
        let state = &mut *peer.state.borrow_mut();
        state.session = state.session.take().or(lost);
    };
    // Requests that find this at the same time each open a session; the last one stays.
    let gone = || io::Error::other("the session is gone, and the server opens no other");
    let json =
        [("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
    let asked = peer.ask("POST", &peer.target.path, &json, Some(&hello)).await;
    let (mut reply, answer) = match asked {
        Ok(answered) => answered,
        Err(why) => {
            keep(lost);
            return Err(why);
        }
    };
    if matches!(answer.status, 401 | 403) && peer.is_for_caller() {
        keep(lost);
        return Err(refused(answer.status));
    }
    if answer.status != 200 {
        keep(lost);
        peer.port.end("the server has ended the session and opens no other");
        return Err(gone().into());
    }
    peer.state.borrow_mut().session = answer.session;
    // What it says of itself it has said before.
    reply.rest(peer.bytes_max).await?;
    peer.give_back(reply);
    let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#;
    let (mut reply, _) = peer.ask("POST", &peer.target.path, &json, Some(initialized)).await?;
    reply.rest(peer.bytes_max).await?;
    peer.give_back(reply);
    open_session_stream(peer);
    Ok(())
}

/// The server does not let its caller in, which says nothing of the server.
pub(super) fn refused(status: u16) -> Lost {
    Lost::refused(&format!("the server does not let its caller in (HTTP {status})"))
}

/// Opens the stream of HTTP+SSE: all answers come on it, and its end is the link's.
pub(super) fn open_sse(peer: &Rc<Peer>) {
    peer.state.borrow_mut().endpoint = Some(String::new());
    let peer = Rc::clone(peer);
    rt::spawn(async move {
        let wanted = Rc::default();
        peer.unless_called_off(&wanted, Box::pin(sse(&peer))).await;
    });
}

async fn sse(peer: &Rc<Peer>) {
    let why = match resume(peer, None).await {
        Ok((reply, answer)) if answer.status == 200 => {
            let mut events = Events { about: None, from: None };
            let end = pour(peer, reply, &mut events).await;
            end.error.map_or_else(|| "the server ended its stream".to_owned(), |e| e.to_string())
        }
        Ok((_, answer)) => {
            format!("it speaks neither Streamable HTTP nor HTTP+SSE here: HTTP {}", answer.status)
        }
        Err(error) => error.to_string(),
    };
    peer.port.end(&why);
}

/// The stream has said where to post.
fn found_endpoint(peer: &Rc<Peer>, uri: &str) {
    let path = match endpoint(uri, &peer.target.host, &peer.target.path) {
        Ok(path) => path,
        Err(why) => return peer.port.end(why),
    };
    let waiting = {
        let state = &mut *peer.state.borrow_mut();
        state.endpoint = Some(path);
        std::mem::take(&mut state.waiting)
    };
    for frame in waiting {
        peer.frame(frame);
    }
}

/// The path of an endpoint, absolute or relative to the stream's own. Another host is not asked, whatever the
/// stream says; and what cannot stand in a request line would begin another line, or another request.
fn endpoint(uri: &str, host: &str, stream: &str) -> Result<String, &'static str> {
    if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its stream names an endpoint that is no URI");
    }
    match uri.split_once("://") {
        Some((_, rest)) => {
            let (named, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !named.eq_ignore_ascii_case(host) {
                return Err("its stream names an endpoint on another host");
            }
            Ok(path.to_owned())
        }
        None if uri.starts_with('/') => Ok(uri.to_owned()),
        None => {
            let folder = stream.split('?').next().unwrap_or_default();
            let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
            Ok(format!("{folder}/{uri}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_path_of_the_same_host_and_nothing_else() {
        let path = |uri: &str| endpoint(uri, "host:1", "/a/sse?x=/y");
        assert_eq!(path("/m?id=1").as_deref(), Ok("/m?id=1"));
        assert_eq!(path("m?id=1").as_deref(), Ok("/a/m?id=1"));
        assert_eq!(path("http://HOST:1/m").as_deref(), Ok("/m"));
        assert!(path("http://other/m").is_err());
        // A field of an event may have several lines.
        for uri in ["/m HTTP/1.1\nX: y", "/m\n", "/m x", "/m\u{e9}", "/\u{0}"] {
            assert!(path(uri).is_err(), "{uri:?}");
        }
    }
}
