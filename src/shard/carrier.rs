//! The one task of a link: reads, hands lines on, writes what waits, and ends. Reading and writing run
//! side by side in it, so that an answer is written by the very poll that delivered its question. Not
//! here: what lines mean, and the bounds, which are [`super::core`]'s.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Shard;
use super::core::{Outgoing, Phase, Verdict};
use super::domain::Domain;
use super::http2;
use super::inbox::Inbox;
use super::links::Life;
use super::rt::{self, Reader, Writer};
use crate::base::LinkId;

/// After the last byte was written the peer may take this long to close: a socket closed with unread
/// bytes in it is reset, and a reset destroys what the peer has not read yet.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes read from one link before others get their turn. Only epoll can reach it: there a read of
/// waiting bytes succeeds at once, and a link that floods would never let go of the thread.
pub(super) const BURST_BYTES: usize = 256 << 10;
/// How it lets go. A task that wakes itself would not do: monoio runs it before all others.
pub(super) const BREATH: Duration = Duration::from_millis(1);
/// Bytes thrown away meanwhile, at most.
const LINGER_BYTES_MAX: usize = 16 << 20;

/// Carries a link from its opening to its end.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function holds its arguments twice, and an idle link is mostly this"
)]
pub(super) fn carry<D: Domain>(
    shard: Rc<Shard<D>>,
    id: LinkId,
    mut halves: (Reader, Writer),
) -> impl Future<Output = ()> {
    async move {
        // Also when this task panics: the domain must hear that the link is gone.
        let leaving = Leaving { shard: &shard, id };
        let mut switched = None;
        {
            let mut reading = pin!(read_on(&shard, id, &mut halves.0));
            let mut writing = pin!(write_on(&shard, id, &mut halves.1));
            let mut met = false;
            let mut read_all = false;
            poll_fn(|cx| {
                if !met {
                    met = true;
                    shard.core.borrow_mut().meet(id, cx);
                }
                if !read_all && let Poll::Ready(rest) = reading.as_mut().poll(cx) {
                    read_all = true;
                    switched = rest;
                }
                if switched.is_some() {
                    return Poll::Ready(());
                }
                // What a dead link still holds is dropped with its socket, reads and writes under way too.
                if shard.core.borrow().is_dead(id) {
                    read_all = true;
                    return Poll::Ready(());
                }
                let mut written = writing.as_mut().poll(cx);
                // What the read waited for may have been written just now; and with epoll it reads at once, so that
                // there is something to write again, of which nobody tells the task that is at it.
                while written.is_pending() && !read_all && shard.core.borrow_mut().stops_waiting(id)
                {
                    if let Poll::Ready(rest) = reading.as_mut().poll(cx) {
                        read_all = true;
                        switched = rest;
                        if switched.is_some() {
                            return Poll::Ready(());
                        }
                    }
                    written = writing.as_mut().poll(cx);
                }
                written
            })
            .await;
            if switched.is_none() {
                drop(leaving);
                if read_all {
                    return;
                }
                let mut late = Box::pin(rt::sleep(LINGER_MAX));
                let mut met = None;
                poll_fn(|cx| {
                    if shard.core.borrow_mut().stops(&mut met, cx)
                        || reading.as_mut().poll(cx).is_ready()
                    {
                        return Poll::Ready(());
                    }
                    late.as_mut().poll(cx)
                })
                .await;
                return;
            }
        }
        // Boxed: few connections are of this kind, and all would be as large.
        let bytes = switched.unwrap_or_default();
        Box::pin(http2::serve(&shard, id, leaving, bytes, (&mut halves.0, &mut halves.1))).await;
    }
}

/// A link that is open; dropping it says that its task is done with it.
pub(super) struct Leaving<'a, D: Domain> {
    shard: &'a Shard<D>,
    id: LinkId,
}

impl<D: Domain> Drop for Leaving<'_, D> {
    fn drop(&mut self) {
        self.shard.core.borrow_mut().leave(self.id);
    }
}

/// Reads until the peer's end, an error, or enough was thrown away; or until another must go on, with what
/// was read.
async fn read_on<D: Domain>(shard: &Shard<D>, id: LinkId, reader: &mut Reader) -> Option<Vec<u8>> {
    let mut inbox = Inbox::default();
    let mut discarded = 0;
    let mut burst = Burst::default();
    let mut verdict = Verdict::Read;
    loop {
        if verdict == Verdict::Switch {
            return Some(inbox.into_rest());
        }
        if verdict == Verdict::Wait {
            poll_fn(|_| shard.core.borrow().may_go_on(id)).await;
            verdict = shard.core.borrow_mut().deliver(id, &mut inbox);
            continue;
        }
        if verdict == Verdict::Breathe {
            // Boxed, as below.
            Box::pin(rt::sleep(BREATH)).await;
            verdict = shard.core.borrow_mut().deliver(id, &mut inbox);
            continue;
        }
        let buffer = inbox.lend(&mut shard.core.borrow_mut().pool);
        let (read, buffer) = reader.read(buffer).await;
        match read {
            Ok(0) => {
                shard.core.borrow_mut().ended(id);
                return None;
            }
            Ok(n) => {
                inbox.take_back(buffer, n);
                let (is_over, is_held) = {
                    let core = &mut *shard.core.borrow_mut();
                    if verdict == Verdict::Discard {
                        discarded += n;
                        if discarded > LINGER_BYTES_MAX {
                            return None;
                        }
                        inbox.discard(&mut core.pool);
                    } else {
                        core.meter.reads.add(1);
                        core.meter.bytes_in.add(n as u64);
                        verdict = core.deliver(id, &mut inbox);
                    }
                    let is_held = verdict == Verdict::Read && core.holds_back(id);
                    (burst.is_over(n, core.meter.turns.get()), is_held)
                };
                if is_held {
                    poll_fn(|_| shard.core.borrow().may_read_again(id)).await;
                }
                if !is_over {
                    continue;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                inbox.take_back(buffer, 0);
            }
            Err(error) => {
                shard.core.borrow_mut().broke(id, &error);
                return None;
            }
        }
        if burst.bytes > BURST_BYTES {
            // Boxed: it is large, rare, and would be part of every idle link.
            Box::pin(rt::sleep(BREATH)).await;
        }
    }
}

/// Bytes read within one turn of the loop.
#[derive(Debug, Default)]
pub(super) struct Burst {
    turn: u64,
    bytes: usize,
}

impl Burst {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    pub(super) fn is_over(&mut self, n: usize, turn: u64) -> bool {
        self.bytes = if turn == self.turn { self.bytes + n } else { n };
        self.turn = turn;
        self.bytes > BURST_BYTES
    }
}

/// Writes the outbox whenever there is something in it, until the link closes and all is written.
async fn write_on<D: Domain>(shard: &Shard<D>, id: LinkId, writer: &mut Writer) {
    loop {
        let next = poll_fn(|_| match shard.core.borrow_mut().take_outbox(id) {
            Outgoing::Bytes(bytes) => Poll::Ready(Some(bytes)),
            Outgoing::End => Poll::Ready(None),
            Outgoing::Nothing => Poll::Pending,
        });
        let Some(mut bytes) = next.await else { break };
        let mut done = 0;
        while done < bytes.len() {
            let (written, back) = writer.write(bytes, done).await;
            bytes = back;
            match written {
                Ok(n) if n > 0 => {
                    done += n;
                    shard.core.borrow_mut().wrote(id, n, bytes.len() - done);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => {
                    let error = failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    shard.core.borrow_mut().deafened(id, &error);
                    done = bytes.len();
                }
            }
        }
        shard.core.borrow_mut().pool.give(bytes);
    }
    writer.shutdown().await;
}

impl<D: Domain> super::core::Core<D> {
    /// The link's task is there, and can be woken.
    pub(super) fn meet(&mut self, id: LinkId, cx: &Context<'_>) {
        if let Some(link) = self.links.get_mut(id) {
            link.waker = Some(cx.waker().clone());
        }
    }

    /// Whether the shard is stopping; if not, the task is woken when its phase changes.
    pub(super) fn stops(&mut self, met: &mut Option<u32>, cx: &Context<'_>) -> bool {
        self.on_phase.register(met, cx);
        self.phase == Phase::Stopping
    }

    pub(super) fn is_dead(&self, id: LinkId) -> bool {
        self.links.get(id).is_none_or(|link| link.life == Life::Dead)
    }

    /// Whether the next read of a link is to wait until its answers are written. A read that is submitted beside
    /// them finds nothing, for the peer has not seen them yet, and costs the kernel a poll and a wake; one that
    /// comes after them often finds what the peer said next. It waits for two turns at most: a peer that reads
    /// nothing before it has sent everything must be heard out.
    fn holds_back(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id).filter(|link| link.waiting() > 0) else {
            return false;
        };
        link.held_back = true;
        self.held_back.push(id);
        true
    }

    fn may_read_again(&self, id: LinkId) -> Poll<()> {
        let waits = self.links.get(id).is_some_and(|link| link.held_back && link.waiting() > 0);
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether a read that waited need not any more.
    fn stops_waiting(&mut self, id: LinkId) -> bool {
        let link = self.links.get_mut(id).filter(|link| link.waiting() == 0);
        link.is_some_and(|link| std::mem::take(&mut link.held_back))
    }

    /// At the end of a turn: reads that waited since the one before wait no longer. True if others wait.
    pub(super) fn release_reads(&mut self) -> bool {
        std::mem::swap(&mut self.held_before, &mut self.held_back);
        for id in self.held_back.drain(..) {
            if let Some(link) = self.links.get_mut(id)
                && std::mem::take(&mut link.held_back)
            {
                link.wake();
            }
        }
        !self.held_before.is_empty()
    }

    /// Whether a reader that was told to wait may look again.
    fn may_go_on(&self, id: LinkId) -> Poll<()> {
        match self.links.get(id) {
            Some(link) if link.life < Life::Closing && !link.reads() => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_task<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_an_idle_link_costs_little() {
        let bytes = size_of_task(carry::<crate::gateway::Gateway>);
        assert!(bytes <= 768, "{bytes} bytes a link");
    }
}
