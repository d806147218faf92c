//! One server as one link sees it: its session, its connections, the requests under way. Takes frames from
//! the link and gives each an exchange of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::about::About;
use super::backlog::Backlog;
use super::connection::{Connection, request};
use super::multiplexed::Multiplexed;
use super::reply::{Answer, Reply, Way};
use super::{exchange, stream};
use crate::gateway::mirror::Mirrors;
use crate::gateway::settings::{HttpTarget, Speaks};
use crate::shard::rt::{self, Socket};
use crate::shard::{Driver, Port};
use crate::transport::credential::{Credential, Own};
use crate::transport::exchanged::Callers;
use crate::transport::reach::Reach;
use crate::wire::coding;

/// Connections kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// Exchanges of one link under way at once; beyond, its frames wait.
const EXCHANGES_MAX: usize = 512;
/// How long the end of a session may take to be told.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Peer {
    pub(super) target: Arc<HttpTarget>,
    pub(super) port: Port,
    /// What requests carry beside the operator's headers, where it is granted to us.
    credential: Option<Credential>,
    /// How it is connected to.
    reach: Reach,
    /// How large a message may be.
    pub(super) bytes_max: usize,
    pub(super) state: RefCell<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// `Mcp-Session-Id`, once there is one.
    pub(super) session: Option<String>,
    /// The version that `initialize` agreed on.
    pub(super) version: Option<String>,
    /// The handshake, to be repeated should the server forget us.
    pub(super) hello: Option<Vec<u8>>,
    /// Where HTTP+SSE posts to; `Some("")` until its stream has said so.
    pub(super) endpoint: Option<String>,
    /// Frames that wait for that.
    pub(super) waiting: Vec<Vec<u8>>,
    /// What calls mirror in headers, by tool.
    pub(super) mirrors: Mirrors,
    idle: Vec<Connection>,
    /// The connection of HTTP/2, once there is one.
    shared: Option<Multiplexed>,
    /// Requests under way, by id: whether they are still wanted.
    active: BTreeMap<String, Rc<Wanted>>,
    exchanges: usize,
    /// Everything that is under way, requests and streams: it ends with the link.
    work: BTreeMap<u64, Rc<Wanted>>,
    next_work: u64,
    is_closed: bool,
    /// The link's own task, where it waits for room.
    waiter: Option<Waker>,
}

/// Whether an exchange is still wanted.
#[derive(Default)]
pub(super) struct Wanted {
    is_off: RefCell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Wanted {
    fn hear(&self, waker: &Waker) {
        let mut heard = self.waker.borrow_mut();
        if heard.as_ref().is_none_or(|heard| !heard.will_wake(waker)) {
            *heard = Some(waker.clone());
        }
    }

    fn call_off(&self) {
        self.is_off.replace(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// An exchange that has no response.
#[derive(Debug)]
pub(super) struct Lost {
    /// There was no connection to send it on.
    pub(super) is_unsent: bool,
    /// It is for whom it was that there is none.
    pub(super) is_refused: bool,
    pub(super) error: std::io::Error,
}

impl Lost {
    const fn unsent(error: std::io::Error) -> Self {
        Self { is_unsent: true, is_refused: false, error }
    }

    pub(super) fn refused(why: &str) -> Self {
        let error = std::io::Error::other(why.to_owned());
        Self { is_unsent: true, is_refused: true, error }
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self { is_unsent: false, is_refused: false, error }
    }
}

impl From<Lost> for std::io::Error {
    fn from(lost: Lost) -> Self {
        lost.error
    }
}

/// What drives the link to a server. `first` is a connection to it: it is there.
pub(in crate::transport) fn driver(
    target: Arc<HttpTarget>,
    first: Socket,
    reach: Reach,
    bytes_max: usize,
    credential: Option<Credential>,
) -> Driver {
    Box::new(move |port| {
        Box::pin(async move {
            let state = RefCell::new(State::default());
            let peer = Rc::new(Peer { target, port, credential, reach, bytes_max, state });
            let now = peer.port.now();
            if peer.target.is_http2 {
                peer.state.borrow_mut().shared = Multiplexed::adopt(first).await.ok();
            } else if let Ok(connection) = Connection::adopt(first, now) {
                peer.state.borrow_mut().idle.push(connection);
            }
            if peer.target.speaks == Speaks::Sse {
                stream::open_sse(&peer);
            }
            peer.run().await;
        })
    })
}

impl Peer {
    async fn run(self: &Rc<Self>) {
        let mut backlog = Backlog::default();
        while let Some(bytes) = self.next(&backlog).await {
            for frame in bytes.split(|&byte| byte == b'\n').filter(|frame| !frame.is_empty()) {
                // Before what waits: it may make the room that the others wait for.
                if !self.calls_off(frame, &mut backlog) {
                    backlog.push(frame);
                }
            }
            while self.has_room()
                && let Some(frame) = backlog.pop()
            {
                self.frame(frame);
            }
        }
        self.close();
        self.goodbye().await;
    }

    /// More of the link's frames, or none yet but room for one that waits; `None` when the link has ended.
    async fn next(&self, backlog: &Backlog) -> Option<Vec<u8>> {
        let mut frames = pin!(self.port.take());
        poll_fn(|cx| {
            if !backlog.is_empty() {
                if self.has_room() {
                    return Poll::Ready(Some(Vec::new()));
                }
                self.state.borrow_mut().waiter = Some(cx.waker().clone());
            }
            if backlog.is_full() {
                return Poll::Pending;
            }
            frames.as_mut().poll(cx)
        })
        .await
    }

    fn has_room(&self) -> bool {
        let state = self.state.borrow();
        state.exchanges < EXCHANGES_MAX || state.is_closed
    }

    /// While others wait, a cancellation makes room: the exchange that it is about is given up, or never
    /// begun. True if nobody else need hear of it.
    fn calls_off(&self, frame: &[u8], backlog: &mut Backlog) -> bool {
        if self.has_room() && backlog.is_empty() {
            return false;
        }
        let state = self.state.borrow();
        let Some(id) = About::read(frame, &state.mirrors).and_then(|about| about.cancels) else {
            return false;
        };
        if let Some(wanted) = state.active.get(&id) {
            wanted.call_off();
            // The server hears of it as well, when there is room.
            return false;
        }
        backlog.remove(&id, &state.mirrors)
    }

    /// One frame of the gateway's.
    pub(super) fn frame(self: &Rc<Self>, frame: Vec<u8>) {
        let state = &mut *self.state.borrow_mut();
        let Some(about) = About::read(&frame, &state.mirrors) else { return };
        if state.endpoint.as_deref() == Some("") {
            return state.waiting.push(frame);
        }
        if let Some(id) = &about.cancels {
            // A server that hangs would hold it for ever.
            if let Some(wanted) = state.active.get(id) {
                wanted.call_off();
            }
            // To a modern server the end of the exchange is the cancellation; any other is told.
            let is_modern =
                state.version.is_none() && state.session.is_none() && state.endpoint.is_none();
            if is_modern {
                return;
            }
        }
        if about.method == "initialize" {
            state.hello = Some(frame.clone());
        }
        let wanted = Rc::new(Wanted::default());
        if let Some(id) = &about.id {
            state.active.insert(id.clone(), Rc::clone(&wanted));
        }
        state.exchanges += 1;
        let peer = Rc::clone(self);
        rt::spawn(async move {
            // Boxed: most of it is what a rare retry needs.
            let work = Box::pin(exchange::post(&peer, &about, &frame));
            if about.is_request() {
                peer.unless_called_off(&wanted, work).await;
            } else {
                // Nobody waits for it, and nobody will call it off.
                let work = in_time(peer.port.request_time(), work);
                peer.unless_called_off(&wanted, async { _ = work.await }).await;
            }
            let state = &mut *peer.state.borrow_mut();
            state.exchanges -= 1;
            if let Some(id) = &about.id {
                state.active.remove(id);
            }
            if let Some(waiter) = state.waiter.take() {
                waiter.wake();
            }
        });
    }

    /// Runs to its end, unless it is not wanted any more: then it is dropped, with its connection.
    pub(super) async fn unless_called_off(
        &self,
        wanted: &Rc<Wanted>,
        work: impl Future<Output = ()>,
    ) {
        let key = {
            let state = &mut *self.state.borrow_mut();
            if state.is_closed {
                return;
            }
            state.next_work += 1;
            state.work.insert(state.next_work, Rc::clone(wanted));
            state.next_work
        };
        let mut work = pin!(work);
        poll_fn(|cx| {
            if *wanted.is_off.borrow() {
                return Poll::Ready(());
            }
            wanted.hear(cx.waker());
            work.as_mut().poll(cx)
        })
        .await;
        self.state.borrow_mut().work.remove(&key);
    }

    fn close(&self) {
        let state = &mut *self.state.borrow_mut();
        state.is_closed = true;
        for wanted in state.work.values() {
            wanted.call_off();
        }
    }

    /// Sends a request with what every request has, the operator's headers, session and version, and reads
    /// the head of its response.
    pub(super) async fn ask(
        &self,
        verb: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(Reply, Answer), Lost> {
        match &self.credential {
            None => self.send(verb, path, more, body).await,
            // Boxed: most upstreams have none.
            Some(Credential::Own(credential)) => {
                Box::pin(self.ask_granted(credential, verb, path, more, body)).await
            }
            Some(Credential::Callers(callers)) => {
                Box::pin(self.ask_for_caller(callers, verb, path, more, body)).await
            }
        }
    }

    /// The same with a token. Where it is refused, the server has not taken the request: it is sent once more, with
    /// a new one.
    async fn ask_granted(
        &self,
        credential: &Own,
        verb: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(Reply, Answer), Lost> {
        let token = credential.token(self.reach.within).await.map_err(Lost::unsent)?;
        let (reply, answer) = self.send(verb, path, &with(more, &token), body).await?;
        if answer.status != 401 {
            return Ok((reply, answer));
        }
        let Some(token) = credential.renewed(&token).await else { return Ok((reply, answer)) };
        drop(reply);
        self.send(verb, path, &with(more, &token), body).await
    }

    /// Whether it is asked on behalf of callers.
    pub(super) const fn is_for_caller(&self) -> bool {
        matches!(self.credential, Some(Credential::Callers(_)))
    }

    /// The same with a token that was exchanged for that of the link's caller.
    async fn ask_for_caller(
        &self,
        callers: &Callers,
        verb: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(Reply, Answer), Lost> {
        let Some(subject) = self.port.bearer() else {
            return Err(Lost::refused("there is no caller any more that it could be asked for"));
        };
        let now = || self.port.now();
        let token = callers.token(now, &subject, None).await.map_err(|why| Lost::refused(&why))?;
        let (reply, answer) = self.send(verb, path, &with(more, &token.0), body).await?;
        if answer.status != 401 {
            return Ok((reply, answer));
        }
        drop(reply);
        let token = callers.token(now, &subject, Some(&token)).await;
        let token = token.map_err(|why| Lost::refused(&why))?;
        let (reply, answer) = self.send(verb, path, &with(more, &token.0), body).await?;
        if answer.status == 401 {
            return Err(Lost::refused(
                "the server refuses its caller's exchanged token (HTTP 401)",
            ));
        }
        Ok((reply, answer))
    }

    async fn send(
        &self,
        verb: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(Reply, Answer), Lost> {
        let (session, version) = {
            let state = self.state.borrow();
            (state.session.clone(), state.version.clone())
        };
        let own = self.target.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut headers: Vec<(&str, &str)> = own.collect();
        headers.extend(session.as_deref().map(|session| ("mcp-session-id", session)));
        headers.extend(version.as_deref().map(|version| ("mcp-protocol-version", version)));
        headers.extend_from_slice(more);
        headers.extend(self.target.packs.then_some(("accept-encoding", coding::TAKEN)));
        if self.target.is_http2 {
            let mut shared = self.shared().await.map_err(Lost::unsent)?;
            let scheme = if self.target.trust.is_some() { "https" } else { "http" };
            let uri = format!("{scheme}://{}{path}", self.target.host);
            let (stream, answer) = shared.ask(verb, &uri, &headers, body).await?;
            return Ok((self.reply(Way::Many(stream), &answer)?, answer));
        }
        let bytes = request(verb, path, &self.target.host, &headers, body);
        let mut connection = self.connection().await.map_err(Lost::unsent)?;
        connection.send(bytes).await?;
        let answer = connection.answer().await?;
        Ok((self.reply(Way::One(connection), &answer)?, answer))
    }

    fn reply(&self, way: Way, answer: &Answer) -> std::io::Result<Reply> {
        Reply::new(way, answer, self.bytes_max, &self.port)
    }

    /// The connection of HTTP/2, opened anew if the server has closed it.
    async fn shared(&self) -> std::io::Result<Multiplexed> {
        let shared = self.state.borrow().shared.clone();
        if let Some(mut shared) = shared
            && shared.is_fit().await
        {
            return Ok(shared);
        }
        let mut shared = Multiplexed::adopt(self.reach.connect().await?).await?;
        if !shared.is_fit().await {
            return Err(std::io::Error::other("the server does not speak HTTP/2"));
        }
        let state = &mut *self.state.borrow_mut();
        if !state.is_closed {
            state.shared = Some(shared.clone());
        }
        Ok(shared)
    }

    /// A connection to send on: one that is idle, or a new one.
    async fn connection(&self) -> std::io::Result<Connection> {
        let now = self.port.now();
        while let Some(mut connection) = self.idle() {
            if connection.is_fit(now) {
                return Ok(connection);
            }
        }
        Connection::adopt(self.reach.connect().await?, now)
    }

    fn idle(&self) -> Option<Connection> {
        self.state.borrow_mut().idle.pop()
    }

    /// Keeps a connection for the next request, if it is fit for one.
    pub(super) fn give_back(&self, reply: Reply) {
        let Some(mut connection) = reply.into_connection() else { return };
        let now = self.port.now();
        connection.rest_since(now);
        let state = &mut *self.state.borrow_mut();
        if !state.is_closed && state.idle.len() < IDLE_CONNECTIONS_MAX && connection.is_fit(now) {
            state.idle.push(connection);
        }
    }

    /// Tells the server that the session has ended, briefly.
    async fn goodbye(&self) {
        if self.state.borrow().session.is_none() {
            return;
        }
        drop(
            in_time(GOODBYE_MAX, Box::pin(self.ask("DELETE", &self.target.path, &[], None))).await,
        );
    }
}

/// What comes of it, unless it takes longer: then it is dropped.
pub(super) async fn in_time<T>(within: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut late = Box::pin(rt::sleep(within));
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        late.as_mut().poll(cx).map(|()| None)
    })
    .await
}

fn with<'a>(headers: &[(&'a str, &'a str)], token: &'a str) -> Vec<(&'a str, &'a str)> {
    headers.iter().copied().chain([("authorization", token)]).collect()
}
