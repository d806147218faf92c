//! A lane on its socket: read, judge, write. Where what is outstanding fits into the kernel's socket buffers, one task
//! does it all; otherwise a second task writes, or both sides would wait for the other to read.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the load generator has no shard::rt; this file is where it meets the runtime"
)]

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;

use crate::clock::Clock;
use crate::lane::{Desk, Lane};
use crate::signal::Signal;

/// Outstanding bytes that surely fit into the kernel's buffers, so that a write never waits for a read.
const INLINE_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// A line longer than this is a fault: no answer to a load is that long.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection under load.
#[derive(Debug)]
pub struct Connection {
    /// Its requests and answers.
    pub lane: RefCell<Lane>,
    /// Raised when `lane.out` has bytes for the writing task.
    pub written: Signal,
    /// The same socket again: to end a read that would wait for ever.
    socket: std::net::TcpStream,
    /// The end of this connection is the plan.
    expected_end: Cell<bool>,
}

impl Connection {
    /// A connection of `lane` on `socket`.
    pub fn new(lane: Lane, socket: std::net::TcpStream) -> Self {
        Self {
            lane: RefCell::new(lane),
            written: Signal::default(),
            socket,
            expected_end: Cell::new(false),
        }
    }

    /// Ends reads and writes on the socket.
    pub fn hang_up(&self) {
        self.expected_end.set(true);
        // A socket that is already gone needs no hanging up.
        let _gone = self.socket.shutdown(Shutdown::Both);
    }

    /// Serves the connection to its end. `carry` was read with the handshake.
    pub async fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        desk: Rc<RefCell<Desk>>,
        clock: Clock,
        carry: Vec<u8>,
        outstanding_bytes: usize,
    ) {
        let cause = self.converse(stream, &desk, clock, carry, outstanding_bytes).await;
        let cut = cause.as_deref().filter(|_| !self.expected_end.get());
        self.lane.borrow_mut().end(&mut desk.borrow_mut(), cut, clock.now_ns());
        self.expected_end.set(true);
        self.written.raise();
    }

    /// Reads until the lane has nothing left to do; or says why it could not.
    async fn converse(
        self: &Rc<Self>,
        stream: TcpStream,
        desk: &Rc<RefCell<Desk>>,
        clock: Clock,
        carry: Vec<u8>,
        outstanding_bytes: usize,
    ) -> Option<String> {
        let (mut reader, writer) = stream.into_split();
        let paced = desk.borrow().paced;
        let close_ns = desk.borrow().window.close_ns;
        let mut writer = Some(writer);
        if paced || outstanding_bytes > INLINE_BYTES_MAX {
            let writer = writer.take()?;
            monoio::spawn(Rc::clone(self).write(writer));
        }
        if !paced {
            self.lane.borrow_mut().fill(&desk.borrow(), clock.now_ns());
        }
        let mut bytes = carry;
        bytes.reserve(outstanding_bytes.clamp(READ_BYTES_MIN, READ_BYTES_MAX));
        loop {
            let now_ns = clock.now_ns();
            let used = self.lane.borrow_mut().receive(&mut desk.borrow_mut(), &bytes, now_ns);
            bytes.drain(..used);
            match &mut writer {
                Some(writer) => {
                    let out = std::mem::take(&mut self.lane.borrow_mut().out);
                    if !out.is_empty() {
                        let (result, mut out) = writer.write_all(out).await;
                        if let Err(error) = result {
                            return Some(format!("write: {error}"));
                        }
                        out.clear();
                        self.lane.borrow_mut().out = out;
                    }
                }
                None => self.written.raise(),
            }
            if now_ns >= close_ns && self.lane.borrow().is_idle() {
                return None;
            }
            let len = bytes.len();
            if len == bytes.capacity() {
                if len >= LINE_BYTES_MAX {
                    return Some(format!("a line of more than {LINE_BYTES_MAX} bytes"));
                }
                bytes.reserve(len);
            }
            let capacity = bytes.capacity();
            let (result, slice) = reader.read(bytes.slice_mut(len..capacity)).await;
            bytes = slice.into_inner();
            match result {
                Ok(0) => return Some("the server closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Some(format!("read: {error}")),
            }
        }
    }

    /// Writes what the lane has, batch by batch, until the connection ends.
    async fn write(self: Rc<Self>, mut writer: OwnedWriteHalf<TcpStream>) {
        let mut spare = Vec::new();
        loop {
            std::mem::swap(&mut spare, &mut self.lane.borrow_mut().out);
            if spare.is_empty() {
                if self.expected_end.get() {
                    return;
                }
                self.written.wait().await;
                continue;
            }
            let (result, batch) = writer.write_all(spare).await;
            spare = batch;
            spare.clear();
            if result.is_err() {
                // The reading task sees the same end and says so.
                let _gone = self.socket.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
