//! The token that requests to a server carry, where one was granted to us (OAuth client credentials). Who fetches
//! it is the floor above; here a shard keeps the newest of each upstream, and who needs one waits for it.
//!
//! The table is the thread's: links to servers are driven by tasks of a shard, which is one thread, and what drives
//! them crosses threads before it runs, so that it cannot bring a cell along.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::exchanged::Callers;
use crate::shard::rt;
use crate::shard::{IdentitySink, Notice};

/// How long a request that was refused waits for a newer token: a fetch, and what may lie between two.
const RENEW_MAX: Duration = Duration::from_secs(10);

/// One upstream's.
#[derive(Default)]
struct Entry {
    /// As `Authorization` has it.
    token: Option<Arc<str>>,
    waiters: Vec<Waker>,
}

thread_local! {
    static TABLE: RefCell<BTreeMap<usize, Entry>> = const { RefCell::new(BTreeMap::new()) };
}

/// What requests to a server carry.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token of our own.
    Own(Own),
    /// One for each caller.
    Callers(Callers),
}

/// Whose requests need a token of our own, and who is told when one was refused.
#[derive(Clone, Debug)]
pub struct Own {
    upstream: usize,
    sink: IdentitySink,
}

impl Own {
    pub(super) const fn new(upstream: usize, sink: IdentitySink) -> Self {
        Self { upstream, sink }
    }

    /// The newest token, waited for if there is none yet.
    pub(super) async fn token(&self, within: Duration) -> io::Result<Arc<str>> {
        let found = self.wait(None, within).await;
        found.ok_or_else(|| io::Error::other("no access token was granted to us yet"))
    }

    /// A token that is newer than one that the server has refused, if there will be one soon.
    pub(super) async fn renewed(&self, refused: &Arc<str>) -> Option<Arc<str>> {
        self.refuse(refused);
        self.wait(Some(refused), RENEW_MAX).await
    }

    /// The server has refused this token.
    pub(super) fn refuse(&self, token: &Arc<str>) {
        let token = Arc::clone(token);
        self.sink.tell(Notice::TokenRefused { upstream: self.upstream, token });
    }

    async fn wait(&self, but: Option<&Arc<str>>, within: Duration) -> Option<Arc<str>> {
        let mut late = pin!(rt::sleep(within));
        poll_fn(|cx| {
            let found = TABLE.with_borrow_mut(|table| {
                let entry = table.entry(self.upstream).or_default();
                let found = entry.token.as_ref().filter(|token| but != Some(token)).cloned();
                if found.is_none() {
                    entry.waiters.push(cx.waker().clone());
                }
                found
            });
            if found.is_some() {
                return Poll::Ready(found);
            }
            late.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

/// A token was granted for an upstream; on the shard's thread.
pub(super) fn set(upstream: usize, token: Arc<str>) {
    let waiters = TABLE.with_borrow_mut(|table| {
        let entry = table.entry(upstream).or_default();
        entry.token = Some(token);
        std::mem::take(&mut entry.waiters)
    });
    waiters.into_iter().for_each(Waker::wake);
}
