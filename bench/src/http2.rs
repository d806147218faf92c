//! One load thread over HTTP/2 by prior knowledge: each connection has as many streams under way as it has requests
//! outstanding, and each answer must come on the stream of its request. What `worker`, `connection` and `lane` are to
//! the other transports, with h2 in between.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the load generator has no shard::rt; this file is where it meets the runtime"
)]

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use monoio::net::TcpStream;

use crate::check::Checker;
use crate::clock::{Clock, Window};
use crate::digits::scatter;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::http1::{Exchange, routing};
use crate::lane::Desk;
use crate::pipe::Pipe;
use crate::plan::Plan;
use crate::ring;
use crate::slots::{Slots, Waiting};
use crate::tally::Tally;
use crate::target::Web;
use crate::worker::Ready;

/// How often a thread says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// One connection, as its streams share it.
#[derive(Debug)]
struct Lane {
    number: u32,
    salt: u64,
    slots: RefCell<Slots>,
    uri: Uri,
    /// The headers of each request of the mix.
    headers: Vec<HeaderMap>,
    /// Where in the round of the mix it is.
    turn: Cell<usize>,
    answers: Cell<u64>,
}

/// Runs `sockets` to the end of the window and its grace; counts what came.
pub fn run(
    plan: &Plan,
    web: &Web,
    core: Option<usize>,
    sockets: Vec<Ready>,
    salt: u64,
    (clock, window): (Clock, Window),
    progress: &Arc<AtomicU64>,
) -> Result<Tally, Failure> {
    if let Some(core) = core {
        ring::pin(core)?;
    }
    let desk = Rc::new(RefCell::new(Desk {
        checker: Checker::new(plan.requests(), plan.era, plan.tool.message_bytes, plan.raw),
        tally: Tally::new(window, false)?,
        round: plan.mix.round(),
        window,
        paced: false,
    }));
    ring::runtime()?.block_on(async {
        let mut ends = Vec::new();
        let left = Rc::new(Cell::new(sockets.len()));
        for Ready { number, socket, begun } in sockets {
            let failed = || Failure::io("register a connection");
            ends.push(socket.try_clone().map_err(failed())?);
            let stream = TcpStream::from_std(socket).map_err(failed())?;
            let lane = Rc::new(Lane {
                number,
                salt: scatter(salt ^ u64::from(number)),
                slots: RefCell::new(Slots::new(plan.outstanding)),
                uri: uri(web)?,
                headers: headers(plan, &begun.session)?,
                turn: Cell::new(number as usize),
                answers: Cell::new(0),
            });
            let (desk, left, outstanding) = (Rc::clone(&desk), Rc::clone(&left), plan.outstanding);
            monoio::spawn(async move {
                let cut = converse(stream, &lane, &desk, clock, outstanding).await.err();
                end(&lane, &mut desk.borrow_mut(), cut);
                left.set(left.get() - 1);
            });
        }
        while left.get() > 0 {
            monoio::time::sleep(PROGRESS_EVERY).await;
            progress.store(desk.borrow().tally.answers_ever, Ordering::Relaxed);
            if clock.now_ns() >= window.grace_ns {
                for socket in &ends {
                    // One that is already gone needs no hanging up.
                    let _gone = socket.shutdown(Shutdown::Both);
                }
            }
        }
        // A socket's close is an operation of the ring: without one more turn it would stay open with the process.
        monoio::time::sleep(Duration::from_millis(1)).await;
        Ok::<(), Failure>(())
    })?;
    let mut desk = desk.borrow_mut();
    desk.tally.parsed = desk.checker.parsed;
    desk.tally.notifications += desk.checker.passed;
    let empty = Tally::new(window, false)?;
    Ok(std::mem::replace(&mut desk.tally, empty))
}

fn uri(web: &Web) -> Result<Uri, Failure> {
    format!("http://{}{}", web.authority, web.path)
        .parse()
        .map_err(|error| Failure::Usage(format!("{}{}: {error}", web.authority, web.path)))
}

fn headers(plan: &Plan, session: &[u8]) -> Result<Vec<HeaderMap>, Failure> {
    let bad = || Failure::Usage("a header has characters that no header may have".to_owned());
    let session =
        session.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(b"Mcp-Session-Id: "));
    let one = |kind| {
        let mut headers = HeaderMap::new();
        let media = HeaderValue::from_static("application/json");
        headers.insert("content-type", media);
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert("accept", accept);
        for (name, value) in routing(kind, plan.era, &plan.tool.name) {
            let name: HeaderName = name.parse().map_err(|_| bad())?;
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| bad())?);
        }
        if let Some(session) = session {
            let session = HeaderValue::from_bytes(session).map_err(|_| bad())?;
            headers.insert("mcp-session-id", session);
        }
        Ok(headers)
    };
    plan.mix.0.iter().map(|(kind, _)| one(*kind)).collect()
}

/// Keeps `outstanding` streams under way until the window closes and all are answered.
async fn converse(
    stream: TcpStream,
    lane: &Rc<Lane>,
    desk: &Rc<RefCell<Desk>>,
    clock: Clock,
    outstanding: u32,
) -> Result<(), h2::Error> {
    let (sender, connection) = client::handshake(Pipe::on(stream)).await?;
    let driver = monoio::spawn(connection);
    let streams: Vec<_> = (0..outstanding)
        .map(|_| {
            let (sender, lane, desk) = (sender.clone(), Rc::clone(lane), Rc::clone(desk));
            monoio::spawn(async move { ask_on(sender, &lane, &desk, clock).await })
        })
        .collect();
    drop(sender);
    let mut ended = Ok(());
    for stream in streams {
        ended = ended.and(stream.await);
    }
    // With the last sender gone it says goodbye and ends.
    driver.await.and(ended)
}

/// One request after another.
async fn ask_on(
    mut sender: SendRequest<Bytes>,
    lane: &Lane,
    desk: &RefCell<Desk>,
    clock: Clock,
) -> Result<(), h2::Error> {
    let mut joined = Vec::new();
    while clock.now_ns() < desk.borrow().window.close_ns {
        sender = sender.ready().await?;
        let Some((id, at_ns, head, body)) = next(lane, &desk.borrow(), clock) else {
            return Ok(());
        };
        let (response, mut stream) = sender.send_request(head, false)?;
        stream.send_data(body, true)?;
        let (status, is_stream, body) = receive(response.await?).await?;
        let now_ns = clock.now_ns();
        let desk = &mut *desk.borrow_mut();
        let exchange = Exchange { id, status, is_stream, body: &body };
        let mut slots = lane.slots.borrow_mut();
        match exchange.judge(&mut joined, &mut desk.checker, &mut slots, lane.salt) {
            Ok(Waiting { .. }) => {
                let is_measured = desk.tally.answer(at_ns, now_ns);
                lane.answers.set(lane.answers.get() + u64::from(is_measured));
                desk.tally.slice(1, now_ns);
            }
            Err(fault) => desk.tally.fault(fault, lane.number, &body),
        }
    }
    Ok(())
}

/// The next request of the lane: its id, when it was made, its head and its body.
fn next(lane: &Lane, desk: &Desk, clock: Clock) -> Option<(u64, u64, Request<()>, Bytes)> {
    let turn = lane.turn.get() % desk.round.len();
    lane.turn.set(turn + 1);
    let request = desk.round[turn];
    let at_ns = clock.now_ns();
    let id = lane.slots.borrow_mut().open(Waiting { at_ns, request })?;
    let mut body = Vec::new();
    desk.checker.render(request, id, lane.salt, b"", &mut body);
    let mut head = Request::new(());
    *head.method_mut() = Method::POST;
    *head.uri_mut() = lane.uri.clone();
    head.headers_mut().clone_from(&lane.headers[usize::from(request)]);
    Some((id, at_ns, head, body.into()))
}

/// The whole of a response: status, whether it is an event stream, and the body.
async fn receive(response: Response<h2::RecvStream>) -> Result<(u16, bool, Vec<u8>), h2::Error> {
    let status = response.status().as_u16();
    let media = response.headers().get("content-type").map_or(&b""[..], HeaderValue::as_bytes);
    let is_stream = media.starts_with(b"text/event-stream");
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        bytes.extend_from_slice(&part);
    }
    Ok((status, is_stream, bytes))
}

/// The connection is over: counts what was never answered.
fn end(lane: &Lane, desk: &mut Desk, cut: Option<h2::Error>) {
    let unanswered = lane.slots.borrow().outstanding();
    if let Some(error) = cut.filter(|_| unanswered > 0) {
        desk.tally.fault(Fault::Closed, lane.number, error.to_string().as_bytes());
    }
    for _ in 0..unanswered {
        desk.tally.fault(Fault::Unanswered, lane.number, b"");
    }
    desk.tally.by_connection.push(lane.answers.get());
}
