//! HTTP/2 on a link (RFC 9113), by hyper: the connection's task, and what bounds it. Each stream is a link
//! of its own, so that each has its own outbox and its own slow reader; hyper takes from an outbox only what
//! the peer's window lets through. Begun by prior knowledge, on the port of HTTP/1.1.

mod exchange;
mod pipe;
mod stream;
mod tasks;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;

use super::Shard;
use super::carrier::{LINGER_MAX, Leaving};
use super::domain::Domain;
use super::rt::{self, Reader, Writer};
use crate::base::LinkId;
use crate::wire::http1::HEAD_BYTES_MAX;
use tasks::Tasks;

pub(super) use exchange::StreamFace;

/// What a client of HTTP/2 begins with (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams open at once on a connection: not fewer than 100, says RFC 9113 section 6.5.2; each may hold a
/// request body.
const STREAMS_MAX: u32 = 128;
/// Streams that the peer reset before they were taken up; more at once is an attack (CVE-2023-44487), and
/// ends the connection.
const RESETS_MAX: usize = 20;
/// Streams that we reset because of the peer's errors; likewise (CVE-2025-8671).
const FAULTS_MAX: usize = 128;
/// Bytes of one stream that hyper may hold beside its outbox.
const SEND_BYTES_MAX: usize = 16 << 10;
/// Bytes of a request's body that may be under way in a stream, and in all of a connection: a round trip of
/// 20 ms at a gigabit, and no more memory than a few bodies.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Carries a connection that has begun with `bytes` to its end.
pub(super) async fn serve<D: Domain>(
    shard: &Rc<Shard<D>>,
    id: LinkId,
    leaving: Leaving<'_, D>,
    bytes: Vec<u8>,
    (reader, writer): (&mut Reader, &mut Writer),
) {
    let pipe = pipe::Pipe::new(bytes);
    let tasks = Tasks::new(Rc::clone(shard));
    let mut builder = Builder::new(tasks.clone());
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(FAULTS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // The shard's own is read once a second.
        .auto_date_header(false);
    let service = service_fn(move |request| stream::ask(tasks.clone(), id, request));
    let mut reading = pin!(pipe.read_on(shard, reader));
    let mut writing = pin!(pipe.write_on(shard, writer));
    let mut read_all = false;
    {
        let mut connection = pin!(builder.serve_connection(pipe.wire(), service));
        let (mut is_over, mut is_told, mut met) = (false, false, None);
        poll_fn(|cx| {
            {
                let core = &mut *shard.core.borrow_mut();
                if core.is_dead(id) {
                    read_all = true;
                    return Poll::Ready(());
                }
                if !is_told && core.is_going(id, &mut met, cx) {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            loop {
                if !read_all {
                    read_all = reading.as_mut().poll(cx).is_ready();
                }
                if !is_over && let Poll::Ready(end) = connection.as_mut().poll(cx) {
                    is_over = true;
                    if let Err(error) = end {
                        shard.core.borrow().meter.faults.add(1);
                        tracing::debug!(link = %id, %error, "an HTTP/2 connection ended");
                    }
                    pipe.close();
                }
                if writing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if !pipe.has_moved() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }
    drop(leaving);
    linger(shard, read_all, reading).await;
}

/// Gives the peer time to read the last frames: what it still sends is read and thrown away.
async fn linger<D: Domain>(
    shard: &Rc<Shard<D>>,
    read_all: bool,
    mut reading: std::pin::Pin<&mut impl Future<Output = ()>>,
) {
    if read_all {
        return;
    }
    let mut late = Box::pin(rt::sleep(LINGER_MAX));
    let mut met = None;
    poll_fn(|cx| {
        if shard.core.borrow_mut().stops(&mut met, cx) || reading.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        late.as_mut().poll(cx)
    })
    .await;
}

const _: () = assert!(LINGER_MAX.as_millis() <= Duration::from_secs(2).as_millis());
