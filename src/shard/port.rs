//! A link without a socket of its own: the floor above drives it, and makes of its frames whatever its peer
//! understands (HTTP exchanges, say). To the domain it is a link like any other.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Shard;
use super::carrier::{BREATH, Burst};
use super::coders::Coders;
use super::core::Outgoing;
use super::domain::Domain;
use super::links::Life;
use super::rt;
use crate::base::{LinkId, Moment};
use crate::gateway::Event;
use crate::gateway::token::SubjectToken;

/// What drives a link: a task of the shard's, until [`Port::take`] gives nothing more.
pub type Driver = Box<dyn FnOnce(Port) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// One link, as its driver sees it. Clones lead to the same link.
#[derive(Clone)]
pub struct Port {
    host: Rc<dyn Host>,
    link: LinkId,
}

/// What a driver has read within one turn of the shard.
#[derive(Default)]
pub struct Breath(Burst);

/// The shard, without its domain's type.
trait Host {
    fn take(&self, link: LinkId, cx: &Context<'_>) -> Poll<Option<Vec<u8>>>;
    fn deliver(&self, link: LinkId, frame: &[u8]);
    fn lose(&self, link: LinkId, id: &str, is_unsent: bool, why: &str);
    fn refuse(&self, link: LinkId, id: &str, why: &str);
    fn bearer(&self, link: LinkId) -> Option<Arc<SubjectToken>>;
    fn end(&self, link: LinkId, why: String);
    fn leave(&self, link: LinkId);
    fn flows(&self, link: LinkId, cx: &Context<'_>) -> Poll<()>;
    fn turn(&self) -> u64;
    fn request_time(&self) -> Duration;
    fn now(&self) -> Moment;
    fn coders(&self, work: &mut dyn FnMut(&mut Coders));
}

impl Port {
    pub(super) fn new<D: Domain>(shard: Rc<Shard<D>>, link: LinkId) -> Self {
        Self { host: shard, link }
    }

    /// The frames that wait, a line each; `None` when there will be no more.
    pub async fn take(&self) -> Option<Vec<u8>> {
        poll_fn(|cx| self.host.take(self.link, cx)).await
    }

    /// A frame came. It must not be called while the shard runs: only from tasks.
    pub fn deliver(&self, frame: &[u8]) {
        self.host.deliver(self.link, frame);
    }

    /// The request of this id has no answer and will have none; `is_unsent` if its peer has not seen a byte of it.
    /// Called as [`Port::deliver`] is.
    pub fn lose(&self, id: &str, is_unsent: bool, why: &str) {
        self.host.lose(self.link, id, is_unsent, why);
    }

    /// Waits while the domain wants nothing more from this link: the one whom it serves does not read. A driver asks
    /// before each read of what may come without end, so that the peer is held up and not our memory filled; and says
    /// how much it `read` before, so that others get their turn (with epoll such reads succeed at once).
    pub async fn flows(&self, breath: &mut Breath, read: usize) {
        if breath.0.is_over(read, self.host.turn()) {
            Box::pin(rt::sleep(BREATH)).await;
        }
        poll_fn(|cx| self.host.flows(self.link, cx)).await;
    }

    /// The request of this id was not made, or not taken, because of whom it was for, and why. Called as
    /// [`Port::deliver`] is.
    pub fn refuse(&self, id: &str, why: &str) {
        self.host.refuse(self.link, id, why);
    }

    /// On whose behalf the link is used.
    pub fn bearer(&self) -> Option<Arc<SubjectToken>> {
        self.host.bearer(self.link)
    }

    /// How long a request may take: the limit `request`.
    pub fn request_time(&self) -> Duration {
        self.host.request_time()
    }

    /// The time.
    pub fn now(&self) -> Moment {
        self.host.now()
    }

    /// Has something compressed or inflated by the shard's machines.
    pub fn coders<T>(&self, work: impl FnOnce(&mut Coders) -> T) -> T {
        let (mut work, mut done) = (Some(work), None);
        self.host.coders(&mut |coders| done = work.take().map(|work| work(coders)));
        done.unwrap_or_else(|| unreachable!("the host calls it once"))
    }

    /// The peer is gone, and why.
    pub fn end(&self, why: &str) {
        self.host.end(self.link, why.to_owned());
    }
}

/// Runs a driver on its link, and closes the link after it, also when it panicked.
pub(super) async fn drive<D: Domain>(shard: Rc<Shard<D>>, link: LinkId, driver: Driver) {
    let port = Port::new(shard, link);
    let leaving = Leaving(port.clone());
    driver(port).await;
    drop(leaving);
}

struct Leaving(Port);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.host.leave(self.0.link);
    }
}

impl<D: Domain> Host for Shard<D> {
    fn take(&self, link: LinkId, cx: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        let core = &mut *self.core.borrow_mut();
        core.meet(link, cx);
        match core.take_outbox(link) {
            Outgoing::Bytes(bytes) => {
                core.open_turn();
                core.wrote(link, bytes.len(), 0);
                Poll::Ready(Some(bytes))
            }
            Outgoing::End => Poll::Ready(None),
            Outgoing::Nothing => Poll::Pending,
        }
    }

    fn deliver(&self, link: LinkId, frame: &[u8]) {
        let core = &mut *self.core.borrow_mut();
        if core.links.get(link).is_some() {
            core.open_turn();
            core.meter.frames_in.add(1);
            core.handle(Event::Frame { link, frame });
        }
    }

    fn lose(&self, link: LinkId, id: &str, is_unsent: bool, why: &str) {
        let core = &mut *self.core.borrow_mut();
        if core.links.get(link).is_some() {
            core.open_turn();
            core.handle(Event::Undelivered { link, id, is_unsent, why });
        }
    }

    fn refuse(&self, link: LinkId, id: &str, why: &str) {
        let core = &mut *self.core.borrow_mut();
        if core.links.get(link).is_some() {
            core.open_turn();
            core.handle(Event::Unauthorized { link, id, why });
        }
    }

    fn bearer(&self, link: LinkId) -> Option<Arc<SubjectToken>> {
        self.core.borrow().bearers.get(&link).cloned()
    }

    fn end(&self, link: LinkId, why: String) {
        let core = &mut *self.core.borrow_mut();
        core.open_turn();
        core.kill(link, why.into());
    }

    fn flows(&self, link: LinkId, cx: &Context<'_>) -> Poll<()> {
        let core = &mut *self.core.borrow_mut();
        match core.links.get(link) {
            Some(held) if held.paused && held.life < Life::Closing => {
                let waiting = core.held_up.entry(link).or_default();
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    fn turn(&self) -> u64 {
        self.core.borrow().meter.turns.get()
    }

    fn request_time(&self) -> Duration {
        self.core.borrow().limits.request
    }

    fn leave(&self, link: LinkId) {
        self.core.borrow_mut().leave(link);
    }

    fn now(&self) -> Moment {
        self.core.borrow_mut().clock.now().at
    }

    fn coders(&self, work: &mut dyn FnMut(&mut Coders)) {
        work(&mut self.core.borrow_mut().coders);
    }
}
