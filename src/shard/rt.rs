//! The runtime, as much of it as the house uses: run, spawn, sleep, and streams and listeners in
//! `socket`. This file and the three beside it are the only ones that know monoio, so that another
//! runtime could take its place. Not here: what is done with the bytes.
//!
//! monoio 0.2.4 has known faults; what keeps clear of them stands where it is done: tasks are guarded
//! against panics ([`spawn`]), no task wakes itself to yield, reads are given up only together with
//! their socket, the ring is built with COOP and never with DEFER or SQPOLL (`driver`).
mod driver;
mod secure;
mod socket;

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::time::Instant;

pub use driver::{Driver, DriverChoice, RING_ENTRIES_DEFAULT, RING_ENTRIES_MIN, Runtime};
pub use secure::{Guest, Socket, secure, welcome};
pub use socket::{
    Address, Listener, Reader, Writer, adopt, adopt_reader, adopt_writer, connect, first_line,
    notice_loss,
};

thread_local! {
    static EPOLL: Cell<bool> = const { Cell::new(false) };
    static TASKS: Cell<usize> = const { Cell::new(0) };
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Whether this thread's runtime is the epoll one, whose sockets must not block.
fn is_epoll() -> bool {
    EPOLL.get()
}

/// Tasks of this thread that were spawned and have not ended.
pub fn tasks() -> usize {
    TASKS.get()
}

/// Panics that [`spawn`] caught on this thread.
pub fn panics() -> u64 {
    PANICS.get()
}

/// Runs `future` on this thread's runtime. A panic in it is caught, counted and logged: with monoio it
/// would unwind through the loop and end the shard with all its links. (In the shipped profile a
/// panic ends the process; this is for the others.)
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    TASKS.set(TASKS.get() + 1);
    #[expect(clippy::disallowed_methods, reason = "this is the wrapper that the ban names")]
    drop(monoio::spawn(Guarded { future, counted: Counted }));
}

pin_project_lite::pin_project! {
    /// By hand rather than as an async function, which would hold the future twice: once as its
    /// argument and once where it is pinned. An idle link is mostly this.
    struct Guarded<F> {
        #[pin]
        future: F,
        counted: Counted,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let future = self.project().future;
        catch_unwind(AssertUnwindSafe(|| future.poll(cx))).unwrap_or_else(|panic| {
            PANICS.set(PANICS.get() + 1);
            let what = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            tracing::error!(what, "a task panicked");
            Poll::Ready(())
        })
    }
}

/// One task, counted while it lives.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        TASKS.set(TASKS.get() - 1);
    }
}

/// Comes back after `duration`; grain one millisecond. For waits that are rare: it is large, and
/// setting it costs half a microsecond. Deadlines of links and of the domain are on the shard's wheel.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// One timer that is set again and again: what a shard sleeps by.
pub struct Alarm {
    sleep: Pin<Box<monoio::time::Sleep>>,
    at: Option<Instant>,
}

impl Alarm {
    /// Not set. Must be made on a thread whose runtime runs.
    pub fn new() -> Self {
        Self { sleep: Box::pin(monoio::time::sleep(Duration::from_hours(1))), at: None }
    }

    /// Goes off `after` from now, unless it would go off sooner already: a deadline that moved away
    /// costs one idle wake, a timer set anew on each change would cost more.
    pub fn set_no_later(&mut self, after: Duration) {
        let at = Instant::now() + after;
        if self.at.is_none_or(|set| at < set) {
            self.at = Some(at);
            self.sleep.as_mut().reset(at);
        }
    }

    /// Ready once when it has gone off; it is then unset.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at.is_none() {
            return Poll::Pending;
        }
        let gone_off = self.sleep.as_mut().poll(cx);
        if gone_off.is_ready() {
            self.at = None;
        }
        gone_off
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}
