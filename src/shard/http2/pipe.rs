//! Between hyper, which polls, and sockets, whose reads and writes own their buffers until they are done:
//! two buffers that the connection's task fills and empties on hyper's behalf. All of it runs in that one
//! task, so nobody is woken: whoever has moved bytes has the others looked at again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::shard::Shard;
use crate::shard::carrier::{BREATH, BURST_BYTES, Burst};
use crate::shard::domain::Domain;
use crate::shard::inbox::Inbox;
use crate::shard::rt::{self, Reader, Writer};

/// Bytes that wait to be written beside those under way; then hyper waits.
const OUTGOING_MAX: usize = 64 << 10;
/// Bytes thrown away after the last frame was sent, so that the peer can read it: what is in the sockets,
/// not a flood.
const DISCARDED_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Pipe(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    inbox: Inbox,
    /// Nothing more comes in, or why not.
    ended: Option<io::ErrorKind>,
    outgoing: Vec<u8>,
    /// Nothing can be written any more.
    is_deaf: bool,
    /// hyper is done: what comes in is thrown away.
    is_closed: bool,
    discarded: usize,
    has_moved: bool,
}

/// hyper's end.
pub(super) struct Wire(Rc<RefCell<State>>);

impl Pipe {
    /// `bytes` have come in already.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut state = State::default();
        let length = bytes.len();
        state.inbox.take_back(bytes, length);
        Self(Rc::new(RefCell::new(state)))
    }

    pub(super) fn wire(&self) -> Wire {
        Wire(Rc::clone(&self.0))
    }

    /// hyper is done: what is left is written, and no more read than thrown away.
    pub(super) fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.is_closed = true;
        state.has_moved = true;
    }

    /// Whether something has moved since this was asked last, so that it is worth to look again.
    pub(super) fn has_moved(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().has_moved)
    }

    /// Reads whenever all that came was taken, until the peer's end.
    pub(super) async fn read_on<D: Domain>(&self, shard: &Shard<D>, reader: &mut Reader) {
        let mut burst = Burst::default();
        loop {
            if !poll_fn(|_| self.0.borrow_mut().wants_more()).await {
                return;
            }
            let buffer = {
                let core = &mut *shard.core.borrow_mut();
                self.0.borrow_mut().inbox.lend(&mut core.pool)
            };
            let (read, buffer) = reader.read(buffer).await;
            {
                let core = &mut *shard.core.borrow_mut();
                let state = &mut *self.0.borrow_mut();
                state.has_moved = true;
                let n = *read.as_ref().unwrap_or(&0);
                state.inbox.take_back(buffer, n);
                match read {
                    Ok(0) => state.ended = Some(io::ErrorKind::UnexpectedEof),
                    Ok(n) => {
                        core.meter.reads.add(1);
                        core.meter.bytes_in.add(n as u64);
                        core.open_turn();
                        state.discarded += if state.is_closed { n } else { 0 };
                        if !burst.is_over(n, core.meter.turns.get()) {
                            continue;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => state.ended = Some(error.kind()),
                }
                if state.ended.is_some() {
                    return;
                }
            }
            if burst.bytes() > BURST_BYTES {
                Box::pin(rt::sleep(BREATH)).await;
            }
        }
    }

    /// Writes whatever waits, until hyper is done and all is written.
    pub(super) async fn write_on<D: Domain>(&self, shard: &Shard<D>, writer: &mut Writer) {
        loop {
            let next = poll_fn(|_| self.0.borrow_mut().next_outgoing()).await;
            let Some(mut bytes) = next else { break };
            let mut done = 0;
            while done < bytes.len() {
                let (written, back) = writer.write(bytes, done).await;
                bytes = back;
                match written {
                    Ok(n) if n > 0 => {
                        done += n;
                        let core = shard.core.borrow();
                        core.meter.writes.add(1);
                        core.meter.bytes_out.add(n as u64);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    _ => {
                        self.0.borrow_mut().is_deaf = true;
                        done = bytes.len();
                    }
                }
            }
            self.0.borrow_mut().has_moved = true;
        }
        writer.shutdown().await;
    }
}

impl State {
    /// Ready when all that came was taken; false if no more is wanted at all.
    fn wants_more(&mut self) -> Poll<bool> {
        if self.is_closed {
            let waiting = self.inbox.rest().len();
            self.inbox.consume(waiting);
            if self.discarded > DISCARDED_MAX {
                return Poll::Ready(false);
            }
        }
        if self.inbox.rest().is_empty() { Poll::Ready(true) } else { Poll::Pending }
    }

    fn next_outgoing(&mut self) -> Poll<Option<Vec<u8>>> {
        if self.is_deaf {
            self.outgoing.clear();
        }
        if !self.outgoing.is_empty() {
            self.has_moved = true;
            return Poll::Ready(Some(std::mem::take(&mut self.outgoing)));
        }
        if self.is_closed { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        let from = state.inbox.rest();
        if from.is_empty() {
            return match state.ended {
                None => Poll::Pending,
                Some(io::ErrorKind::UnexpectedEof) => Poll::Ready(Ok(())),
                Some(kind) => Poll::Ready(Err(kind.into())),
            };
        }
        let length = from.len().min(to.remaining());
        to.put_slice(from.get(..length).unwrap_or_default());
        state.inbox.consume(length);
        state.has_moved = true;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.borrow_mut();
        if state.is_deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = from.len().min(OUTGOING_MAX.saturating_sub(state.outgoing.len()));
        if length == 0 && !from.is_empty() {
            return Poll::Pending;
        }
        state.outgoing.extend_from_slice(from.get(..length).unwrap_or_default());
        state.has_moved = true;
        Poll::Ready(Ok(length))
    }

    /// What was taken will be written; nothing is gained by waiting for it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
