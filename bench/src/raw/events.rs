//! The floor of a fan-out: lines that come on one connection go to all event streams, and nothing is parsed but the
//! first four bytes of a connection, which say which of the two it is.

#![allow(
    clippy::disallowed_types,
    reason = "the floor has no shard::rt to stand on; this file is where it meets the runtime"
)]

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::rc::Rc;

use memchr::memchr;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};

use super::READ_BYTES;
use crate::signal::Signal;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 05:51:19 GMT\r\nx-content-type-options: nosniff\r\n\
content-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Hub {
    streams: RefCell<Vec<Rc<Outbox>>>,
}

#[derive(Debug, Default)]
struct Outbox {
    bytes: RefCell<Vec<u8>>,
    written: Signal,
    is_gone: Cell<bool>,
}

impl Hub {
    pub(super) async fn serve<S: AsyncReadRent + AsyncWriteRent>(&self, mut stream: S) {
        let (result, bytes) = stream.read(Vec::with_capacity(READ_BYTES)).await;
        match result {
            Ok(1..) if bytes.starts_with(b"GET ") => self.write(stream).await,
            Ok(1..) => self.read(stream, bytes).await,
            _ => {}
        }
    }

    /// Writes to one stream until it is gone, which shows at the next write.
    async fn write<S: AsyncReadRent + AsyncWriteRent>(&self, mut stream: S) {
        let outbox = Rc::new(Outbox::default());
        outbox.bytes.borrow_mut().extend_from_slice(HEAD);
        outbox.written.raise();
        self.streams.borrow_mut().push(Rc::clone(&outbox));
        let mut batch = Vec::new();
        loop {
            outbox.written.wait().await;
            std::mem::swap(&mut batch, &mut outbox.bytes.borrow_mut());
            let (result, back) = stream.write_all(batch).await;
            if result.is_err() {
                return outbox.is_gone.set(true);
            }
            batch = back;
            batch.clear();
        }
    }

    /// Reads lines and puts each into all streams.
    async fn read<S: AsyncReadRent>(&self, mut stream: S, mut bytes: Vec<u8>) {
        let mut event = Vec::new();
        loop {
            while let Some(end) = memchr(b'\n', &bytes) {
                event.clear();
                // Into a vector, which cannot fail.
                let _written = write!(event, "{:x}\r\ndata: ", end + "data: \n\n".len());
                event.extend_from_slice(&bytes[..end]);
                event.extend_from_slice(b"\n\n\r\n");
                bytes.drain(..=end);
                let mut streams = self.streams.borrow_mut();
                streams.retain(|outbox| !outbox.is_gone.get());
                for outbox in streams.iter() {
                    outbox.bytes.borrow_mut().extend_from_slice(&event);
                    outbox.written.raise();
                }
            }
            let held = bytes.len();
            bytes.reserve(READ_BYTES);
            let capacity = bytes.capacity();
            let (result, slice) = stream.read(bytes.slice_mut(held..capacity)).await;
            bytes = slice.into_inner();
            let Ok(1..) = result else { return };
        }
    }
}
