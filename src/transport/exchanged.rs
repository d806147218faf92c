//! Tokens that were exchanged for those of callers (RFC 8693), by the digest of theirs: what requests to a server
//! carry that is asked on behalf of its callers. Who exchanges them is the floor above; here a shard keeps what came
//! of it for as long as it holds, refusals included, and all who need the same token wait for one answer.
//!
//! The table is the thread's, as that of [`super::credential`] is, and for the same reason.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::base::{Moment, ShardId};
use crate::gateway::keys::Digest;
use crate::gateway::token::SubjectToken;
use crate::shard::{AccessToken, Exchanged, IdentitySink, Notice, rt};

/// How long a request waits for an exchange: the longest that one takes, and some time in line.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// An upstream that is asked on behalf of its callers.
#[derive(Clone, Debug)]
pub struct Callers {
    pub(super) shard: ShardId,
    pub(super) upstream: usize,
    pub(super) sink: IdentitySink,
    /// The limit `exchanged_max`.
    pub(super) max: usize,
}

/// One caller's token, as it is exchanged for one upstream.
#[derive(Default)]
struct Entry {
    /// What came of it last, and until when that holds.
    known: Option<(Result<AccessToken, Arc<str>>, Moment)>,
    /// The floor above was asked, and has not answered.
    is_asked: bool,
    waiters: Vec<Waker>,
}

impl Entry {
    fn holds(&self, now: Moment) -> bool {
        self.is_asked || self.known.as_ref().is_some_and(|(_, until)| *until > now)
    }

    /// What is known, but for a token that its server has refused.
    fn known(
        &self,
        now: Moment,
        refused: Option<&AccessToken>,
    ) -> Option<Result<AccessToken, Arc<str>>> {
        let (outcome, until) = self.known.as_ref()?;
        let is_refused = outcome.as_ref().is_ok_and(|token| refused == Some(token));
        (*until > now && !is_refused).then(|| outcome.clone())
    }
}

/// What a shard knows, of so many tokens at most.
#[derive(Default)]
struct Table(BTreeMap<(usize, Digest), Entry>);

impl Table {
    /// The entry of a token; none if there is no room for another.
    fn entry(&mut self, key: (usize, Digest), now: Moment, max: usize) -> Option<&mut Entry> {
        if !self.0.contains_key(&key) && self.0.len() >= max {
            self.0.retain(|_, entry| entry.holds(now));
            if self.0.len() >= max {
                // Every second of those that nobody waits for, so that this is not done each time. Which, their
                // digests decide.
                let mut goes = false;
                self.0.retain(|_, entry| {
                    goes = !entry.is_asked && !goes;
                    !goes
                });
            }
            if self.0.len() >= max {
                return None;
            }
        }
        Some(self.0.entry(key).or_default())
    }
}

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table(BTreeMap::new())) };
}

impl Callers {
    /// The token to ask with on behalf of a caller: another than one that the server has refused. An error says why
    /// there is none, to the caller.
    pub(super) async fn token(
        &self,
        now: impl Fn() -> Moment,
        subject: &Arc<SubjectToken>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken, Arc<str>> {
        let key = (self.upstream, subject.digest());
        let mut late = pin!(rt::sleep(WAIT_MAX));
        poll_fn(|cx| {
            let now = now();
            let found = TABLE.with_borrow_mut(|table| {
                let Some(entry) = table.entry(key, now, self.max) else {
                    let why = "too many callers' tokens are exchanged at once: limit exchanged_max";
                    return Some(Err(why.into()));
                };
                let found = entry.known(now, refused);
                if found.is_none() {
                    entry.waiters.push(cx.waker().clone());
                    if !std::mem::replace(&mut entry.is_asked, true) {
                        self.sink.tell(Notice::Exchange {
                            shard: self.shard,
                            upstream: self.upstream,
                            subject: Arc::clone(subject),
                            refused: refused.cloned(),
                        });
                    }
                }
                found
            });
            if let Some(found) = found {
                return Poll::Ready(found);
            }
            late.as_mut().poll(cx).map(|()| {
                TABLE.with_borrow_mut(|table| {
                    if let Some(entry) = table.0.get_mut(&key) {
                        entry.is_asked = false;
                    }
                });
                Err("the authorization server was not heard in time; try again later".into())
            })
        })
        .await
    }
}

/// What came of an exchange; on the shard's thread.
pub(super) fn set(now: Moment, exchanged: Exchanged) {
    let Exchanged { upstream, subject, outcome, lasts } = exchanged;
    let waiters = TABLE.with_borrow_mut(|table| {
        // Of a shard that has stopped waiting, and forgotten it.
        let Some(entry) = table.0.get_mut(&(upstream, subject)) else { return Vec::new() };
        entry.known = Some((outcome, now.after(lasts)));
        entry.is_asked = false;
        std::mem::take(&mut entry.waiters)
    });
    waiters.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(until_ms: u64) -> Entry {
        let token = AccessToken("Bearer x".into());
        Entry { known: Some((Ok(token), at(until_ms))), ..Entry::default() }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn key(number: usize) -> (usize, Digest) {
        (0, Digest::of(&number.to_le_bytes()))
    }

    #[test]
    fn what_is_known_holds_for_its_time_and_a_refused_token_not_at_all() {
        let entry = granted(100);
        let token = AccessToken("Bearer x".into());
        assert_eq!(entry.known(at(99), None), Some(Ok(token.clone())));
        assert_eq!(entry.known(at(100), None), None);
        assert_eq!(entry.known(at(0), Some(&token)), None);
        assert!(entry.known(at(0), Some(&AccessToken("Bearer y".into()))).is_some());
        let refusal = Entry { known: Some((Err("no".into()), at(100))), ..Entry::default() };
        assert!(matches!(refusal.known(at(0), Some(&token)), Some(Err(_))), "no storm");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_nobody_who_waits() {
        let mut table = Table::default();
        for number in 0..1_000 {
            let entry = table.entry(key(number), at(0), 100).expect("room is made");
            *entry = granted(100);
            assert!(table.0.len() <= 100);
        }
        table.entry(key(1), at(200), 100).expect("those that are over go first");
        table.entry(key(2), at(200), 100).unwrap().is_asked = true;
        for number in 3..200 {
            if let Some(entry) = table.entry(key(number), at(200), 100) {
                entry.is_asked = true;
            }
        }
        assert!(table.0.len() <= 100 && table.entry(key(2), at(200), 100).unwrap().is_asked);
        assert!(table.entry(key(5_000), at(200), 100).is_none(), "all wait");
    }
}
