//! The hearing side of a fan-out: every stream must get every event once and in order. A closed loop: as soon as all
//! streams have an event, the next one is told. Not the opening of streams: see `fanout`.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the load generator has no shard::rt; this file is where it meets the runtime"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memchr::memchr_iter;
use monoio::buf::IoBufMut;
use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;
use serde_json::Value;

use crate::answer::Shape;
use crate::check::token;
use crate::chunked::Chunks;
use crate::clock::{Clock, Window};
use crate::digits::{ID_MIN, id_bytes, token_bytes};
use crate::events;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::news::News;
use crate::ring;
use crate::tally::Tally;
use crate::upstream::NEWS;

/// How often it is told how far the run is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Bytes read at once from a stream: a few events.
const READ_BYTES: usize = 4 * 1024;
const METHOD: &str = "notifications/resources/updated";

/// An open stream.
#[derive(Debug)]
pub struct Open {
    /// Its number.
    pub number: u32,
    /// The socket behind the head of the response.
    pub socket: std::net::TcpStream,
    /// What has come of the body.
    pub carry: Vec<u8>,
}

/// What all streams share.
#[derive(Debug)]
struct Board {
    tally: Tally,
    window: Window,
    clock: Clock,
    news: News,
    salt: u64,
    streams: u32,
    /// Events under way, the oldest first: when each was told, and how many streams have yet to hear it.
    waiting: VecDeque<(u64, u32)>,
    /// The number of the oldest of them.
    oldest: u64,
    shape: Option<Shape>,
    parsed: u64,
    /// Why no more can be told.
    failure: Option<Failure>,
}

/// What a stream has heard.
#[derive(Debug)]
struct Ear {
    number: u32,
    /// The event that must come next.
    next: u64,
    heard: u64,
}

/// Hears `open` until the window closes, with `outstanding` events under way at once.
pub fn hear(
    open: Vec<Open>,
    outstanding: u32,
    news: News,
    core: Option<usize>,
    salt: u64,
    (clock, window): (Clock, Window),
    progress: &Arc<AtomicU64>,
) -> Result<Tally, Failure> {
    if let Some(core) = core {
        ring::pin(core)?;
    }
    let board = Rc::new(RefCell::new(Board {
        tally: Tally::new(window, false)?,
        window,
        clock,
        news,
        salt,
        streams: u32::try_from(open.len()).unwrap_or(u32::MAX),
        waiting: VecDeque::new(),
        oldest: ID_MIN,
        shape: None,
        parsed: 0,
        failure: None,
    }));
    ring::runtime()?.block_on(async {
        let sockets: Result<Vec<_>, _> = open.iter().map(|open| open.socket.try_clone()).collect();
        let sockets = Rc::new(sockets.map_err(Failure::io("register a stream"))?);
        let left = Rc::new(Cell::new(open.len()));
        for Open { number, socket, carry } in open {
            let stream = TcpStream::from_std(socket).map_err(Failure::io("register a stream"))?;
            let (board, left) = (Rc::clone(&board), Rc::clone(&left));
            monoio::spawn(async move {
                listen(number, stream, carry, &board).await;
                left.set(left.get() - 1);
            });
        }
        for _ in 0..outstanding {
            board.borrow_mut().tell();
        }
        while left.get() > 0 {
            monoio::time::sleep(PROGRESS_EVERY).await;
            let board = board.borrow();
            progress.store(board.tally.answers_ever, Ordering::Relaxed);
            let now_ns = clock.now_ns();
            if board.is_over(now_ns) || now_ns >= window.grace_ns || board.failure.is_some() {
                for socket in sockets.iter() {
                    // One that is already gone needs no hanging up.
                    let _gone = socket.shutdown(Shutdown::Both);
                }
            }
        }
        Ok::<(), Failure>(())
    })?;
    let mut board = board.borrow_mut();
    if let Some(failure) = board.failure.take() {
        return Err(failure);
    }
    board.tally.parsed = board.parsed;
    let empty = Tally::new(window, false)?;
    Ok(std::mem::replace(&mut board.tally, empty))
}

/// Hears one stream to its end.
async fn listen(number: u32, mut stream: TcpStream, carry: Vec<u8>, board: &RefCell<Board>) {
    let mut ear = Ear { number, next: ID_MIN, heard: 0 };
    let (mut chunks, mut text, mut joined) = (Chunks::default(), Vec::new(), Vec::new());
    let mut bytes = carry;
    let cause = loop {
        if chunks.feed(&bytes, &mut text).is_none() {
            break "the body is not in chunks".to_owned();
        }
        {
            let board = &mut *board.borrow_mut();
            let (mut used, mut right) = (0, 0);
            let now_ns = board.clock.now_ns();
            while let Some((length, data)) = events::next(&text[used..], &mut joined) {
                used += length;
                if !data.is_empty() {
                    right += u64::from(board.judge(data, &mut ear, now_ns));
                }
            }
            text.drain(..used);
            if right > 0 {
                board.tally.slice(right, now_ns);
            }
        }
        if chunks.is_over() {
            break "the server ended the stream".to_owned();
        }
        bytes.clear();
        bytes.reserve(READ_BYTES);
        let (result, slice) = stream.read(bytes.slice_mut(0..READ_BYTES)).await;
        bytes = slice.into_inner();
        match result {
            Ok(0) => break "the server closed the connection".to_owned(),
            Ok(_) => {}
            Err(error) => break format!("read: {error}"),
        }
    };
    board.borrow_mut().end(&ear, &cause);
}

impl Board {
    /// Whether every event has been heard and no other will be told.
    fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.window.close_ns && self.waiting.is_empty()
    }

    /// Tells the next event, while the window is open.
    fn tell(&mut self) {
        let now_ns = self.clock.now_ns();
        if now_ns >= self.window.close_ns || self.failure.is_some() {
            return;
        }
        let number = self.oldest + self.waiting.len() as u64;
        self.waiting.push_back((now_ns, self.streams));
        if let Err(failure) = self.news.tell(&event(number, token(self.salt, number))) {
            self.failure = Some(failure);
        }
    }

    /// Judges one event's data; true when it is the right one for this stream.
    fn judge(&mut self, data: &[u8], ear: &mut Ear, now_ns: u64) -> bool {
        let Some(number) = self.recognize(data).or_else(|| self.parse(data, ear)) else {
            return false;
        };
        if number < ear.next {
            self.tally.fault(Fault::Repeated, ear.number, data);
            return false;
        }
        let Some(&(at_ns, _)) = self.at(number) else {
            self.tally.fault(Fault::UnknownId, ear.number, data);
            return false;
        };
        for missed in ear.next..number {
            self.tally.fault(Fault::Unanswered, ear.number, data);
            self.heard(missed);
        }
        ear.next = number + 1;
        ear.heard += u64::from(self.tally.answer(at_ns, now_ns));
        self.heard(number);
        true
    }

    /// The number of an event that equals the learned shape.
    fn recognize(&self, data: &[u8]) -> Option<u64> {
        let shape = self.shape.as_ref()?;
        let number = shape.id(data)?;
        let fits = shape.len_bytes() == data.len() && shape.fits(data, token(self.salt, number));
        fits.then_some(number)
    }

    /// The number of an event, checked in full; others are counted as what they are.
    fn parse(&mut self, data: &[u8], ear: &Ear) -> Option<u64> {
        self.parsed += 1;
        let message: Value = serde_json::from_slice(data).unwrap_or_default();
        if message["jsonrpc"] != "2.0" || message.get("method").is_none() {
            self.tally.fault(Fault::Malformed, ear.number, data);
            return None;
        }
        if message["method"] != METHOD {
            self.tally.notifications += 1;
            return None;
        }
        let params = &message["params"];
        let number = params["sequence"].as_u64().filter(|number| *number >= ID_MIN);
        let token = number.map(|number| token(self.salt, number));
        let told = token.map(|token| String::from_utf8_lossy(&token_bytes(token)).into_owned());
        if params["uri"] != NEWS || told.is_none() || params["token"].as_str() != told.as_deref() {
            self.tally.fault(Fault::WrongContent, ear.number, data);
            return None;
        }
        if self.shape.is_none() {
            self.shape = Shape::learn(data, number?, token);
        }
        number
    }

    fn at(&self, number: u64) -> Option<&(u64, u32)> {
        self.waiting.get(usize::try_from(number.checked_sub(self.oldest)?).ok()?)
    }

    /// One stream less waits for event `number`; when none does, the next is told.
    fn heard(&mut self, number: u64) {
        let at = number.checked_sub(self.oldest).and_then(|at| usize::try_from(at).ok());
        let Some((_, left)) = at.and_then(|at| self.waiting.get_mut(at)) else { return };
        *left -= 1;
        while self.waiting.front().is_some_and(|(_, left)| *left == 0) {
            self.waiting.pop_front();
            self.oldest += 1;
            self.tell();
        }
    }

    /// A stream has ended; with events under way that was not the plan.
    fn end(&mut self, ear: &Ear, cause: &str) {
        let now_ns = self.clock.now_ns();
        if !self.is_over(now_ns) {
            self.streams -= 1;
            if now_ns < self.window.grace_ns {
                self.tally.fault(Fault::Closed, ear.number, cause.as_bytes());
            }
            let last = self.oldest + self.waiting.len() as u64;
            for missed in ear.next..last {
                self.tally.fault(Fault::Unanswered, ear.number, b"");
                self.heard(missed);
            }
        }
        self.tally.by_connection.push(ear.heard);
    }
}

/// An event as its upstream says it.
pub fn event(number: u64, token: u64) -> Vec<u8> {
    let mut line =
        format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{METHOD}\",\"params\":{{\"uri\":\"{NEWS}\",\"sequence\":")
            .into_bytes();
    line.extend_from_slice(&id_bytes(number));
    line.extend_from_slice(b",\"token\":\"");
    line.extend_from_slice(&token_bytes(token));
    line.extend_from_slice(b"\"}}\n");
    debug_assert_eq!(memchr_iter(b'\n', &line).count(), 1);
    line
}
