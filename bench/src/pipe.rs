//! Between h2, which polls, and sockets, whose reads and writes own their buffers until they are done: two buffers that
//! two tasks fill and empty on h2's behalf.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the load generator has no shard::rt; this file is where it meets the runtime"
)]

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Split, Splitable};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::signal::Signal;

/// Bytes read at once.
const READ_BYTES: usize = 32 * 1024;
/// Bytes that wait to be written beside those under way; then h2 waits.
const OUTGOING_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Shared {
    state: RefCell<State>,
    /// What came in has been taken.
    taken: Signal,
    /// Something is to be written, or h2 is done.
    written: Signal,
}

#[derive(Debug, Default)]
struct State {
    incoming: Vec<u8>,
    /// So much of it has been taken.
    taken: usize,
    has_ended: bool,
    outgoing: Vec<u8>,
    is_deaf: bool,
    is_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// h2's end of a connection.
#[derive(Debug)]
pub struct Pipe(Rc<Shared>);

impl Pipe {
    /// Puts a pipe on `stream`, which it reads and writes until either side is done.
    pub fn on<S>(stream: S) -> Self
    where
        S: AsyncReadRent + AsyncWriteRent + Split + 'static,
    {
        let shared = Rc::new(Shared::default());
        let (reader, writer) = stream.into_split();
        monoio::spawn(read(reader, Rc::clone(&shared)));
        monoio::spawn(write(writer, Rc::clone(&shared)));
        Self(shared)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.state.borrow_mut().is_closed = true;
        self.0.written.raise();
        self.0.taken.raise();
    }
}

/// Reads whenever all that came was taken.
async fn read(mut reader: impl AsyncReadRent, shared: Rc<Shared>) {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        let (result, slice) = reader.read(bytes.slice_mut(0..READ_BYTES)).await;
        bytes = slice.into_inner();
        let length = result.unwrap_or(0);
        bytes.truncate(length);
        {
            let state = &mut *shared.state.borrow_mut();
            std::mem::swap(&mut state.incoming, &mut bytes);
            state.taken = 0;
            state.has_ended = length == 0;
            if let Some(waker) = state.reader.take() {
                waker.wake();
            }
        }
        if length == 0 {
            return;
        }
        shared.taken.wait().await;
        if shared.state.borrow().is_closed {
            return;
        }
        bytes.clear();
        bytes.reserve(READ_BYTES);
    }
}

/// Writes whatever waits, until h2 is done and all is written.
async fn write(mut writer: impl AsyncWriteRent, shared: Rc<Shared>) {
    let mut batch = Vec::new();
    loop {
        let is_closed = {
            let state = &mut *shared.state.borrow_mut();
            std::mem::swap(&mut batch, &mut state.outgoing);
            if let Some(waker) = state.writer.take() {
                waker.wake();
            }
            state.is_closed
        };
        if batch.is_empty() {
            if is_closed {
                // It can fail only where the peer has gone already.
                let _gone = writer.shutdown().await;
                return;
            }
            shared.written.wait().await;
            continue;
        }
        let (result, back) = writer.write_all(batch).await;
        batch = back;
        batch.clear();
        if result.is_err() {
            shared.state.borrow_mut().is_deaf = true;
            return;
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.state.borrow_mut();
        let from = &state.incoming[state.taken..];
        if from.is_empty() {
            if state.has_ended {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = from.len().min(to.remaining());
        to.put_slice(&from[..length]);
        state.taken += length;
        if state.taken == state.incoming.len() {
            self.0.taken.raise();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.state.borrow_mut();
        if state.is_deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = from.len().min(OUTGOING_MAX.saturating_sub(state.outgoing.len()));
        if length == 0 && !from.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.outgoing.extend_from_slice(&from[..length]);
        self.0.written.raise();
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
