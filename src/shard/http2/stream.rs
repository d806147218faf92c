//! One stream: a request that is gathered and asked, and the body of its answer, which is the outbox of the
//! stream's link. Dropped by hyper when the peer resets the stream or leaves; that is how the domain hears
//! of it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Request, Response};

use super::SEND_BYTES_MAX;
use super::tasks::Tasks;
use crate::base::LinkId;
use crate::shard::Shard;
use crate::shard::core::Outgoing;
use crate::shard::domain::Domain;

/// Why a stream ends without the end of its answer; the peer gets a reset.
#[derive(Debug)]
pub(super) struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the exchange was given up")
    }
}

impl std::error::Error for Gone {}

/// The stream's link, while hyper holds the stream.
struct Held<D: Domain> {
    shard: Rc<Shard<D>>,
    id: LinkId,
}

impl<D: Domain> Drop for Held<D> {
    fn drop(&mut self) {
        self.shard.core.borrow_mut().leave(self.id);
    }
}

/// Asks the domain, and waits for the head of its answer.
pub(super) async fn ask<D: Domain>(
    tasks: Tasks<D>,
    connection: LinkId,
    request: Request<Incoming>,
) -> Result<Response<Answer<D>>, Gone> {
    let id = tasks.shard.core.borrow_mut().open_stream(connection).ok_or(Gone)?;
    tasks.name(id);
    let held = Held { id, shard: tasks.shard };
    let (shard, id) = (&held.shard, held.id);
    let (parts, body) = request.into_parts();
    let passes = shard.core.borrow_mut().judge_stream(id, &parts, &body);
    if passes && let Some(body) = gather(shard, id, body).await? {
        shard.core.borrow_mut().dispatch_stream(id, &parts, &body);
    }
    let head = poll_fn(|cx| shard.core.borrow_mut().take_answer(id, cx)).await.ok_or(Gone)?;
    Ok(head.map(|()| Answer { held, taken: Bytes::new() }))
}

/// The whole body; `None` if it was refused meanwhile.
async fn gather<D: Domain>(
    shard: &Rc<Shard<D>>,
    id: LinkId,
    mut body: Incoming,
) -> Result<Option<Bytes>, Gone> {
    // Most bodies are one frame, which is used where it lies.
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    loop {
        let frame = poll_fn(|cx| {
            let core = &mut *shard.core.borrow_mut();
            if core.is_answered(id, cx) {
                return Poll::Ready(None);
            }
            Pin::new(&mut body).poll_frame(cx).map(Some)
        });
        let Some(frame) = frame.await else { return Ok(None) };
        let Some(frame) = frame else { break };
        // Trailers say nothing to us.
        let Ok(data) = frame.map_err(|_| Gone)?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        if !shard.core.borrow_mut().has_room(id, first.len() + all.len()) {
            return Ok(None);
        }
    }
    Ok(Some(if all.is_empty() { first } else { all.into() }))
}

/// An answer's body.
pub(super) struct Answer<D: Domain> {
    held: Held<D>,
    /// Taken from the outbox and not yet sent.
    taken: Bytes,
}

impl<D: Domain> Body for Answer<D> {
    type Data = Bytes;
    type Error = Gone;

    /// Called when the peer's window has room.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Gone>>> {
        let this = &mut *self;
        let core = &mut *this.held.shard.core.borrow_mut();
        if core.is_dead(this.held.id) {
            return Poll::Ready(Some(Err(Gone)));
        }
        if this.taken.is_empty() {
            match core.take_outbox(this.held.id) {
                Outgoing::Bytes(bytes) => this.taken = bytes.into(),
                Outgoing::End => return Poll::Ready(None),
                Outgoing::Nothing => {
                    core.meet(this.held.id, cx);
                    return Poll::Pending;
                }
            }
        }
        let piece = this.taken.split_to(this.taken.len().min(SEND_BYTES_MAX));
        core.drew(this.held.id, piece.len(), this.taken.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_empty() && self.held.shard.core.borrow().is_all_said(self.held.id)
    }
}
