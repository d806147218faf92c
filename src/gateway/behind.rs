//! What a client is owed while it does not read what waits for it. Answers and questions are its own affair and wait in
//! its outbox. Progress and log messages it gets for a while more, and then no more: the one is outdated by the next, the
//! other told to who listens. Of resources and lists that have changed it is told when it reads again, of each once:
//! that it changed many times says nothing more.
//!
//! A lone client that is busy for a moment loses nothing by that; a thousand that do not read share what is set aside for
//! all of them, so that memory stays within `outbox_bytes_max` a client and [`ALL_BYTES_MAX`] a shard. Not here: when a
//! client is behind, which the shard says (`base::pressure`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::client::ClientKey;
use super::door::{Effect, Effects, Mail};
use super::exchange::{ExchangeKey, Kind};
use super::{Gateway, Peer};
use crate::base::{LinkId, Now};

/// What one client gets of progress and log messages while it is behind, and what is kept of changes for it: more than
/// a busy client that was not run for a moment has waiting, and little beside what one answer may take.
pub const NEWS_BYTES_MAX: usize = 1 << 20;
/// The same of all clients of a shard: what some thirty busy ones have waiting.
pub const ALL_BYTES_MAX: usize = 32 << 20;

/// Of that, what each has to itself for changes, so that nobody is given up for the debts of others.
const OWN_BYTES: usize = 16 << 10;

/// Bytes said to, and kept for, all that are behind.
pub type Pot = Rc<Cell<usize>>;

/// A client's, or that of one stream of its.
#[derive(Debug, Default)]
pub struct Behind(RefCell<Option<Box<Debt>>>);

#[derive(Debug)]
struct Debt {
    pot: Pot,
    /// Bytes of this debt that are in the pot.
    bytes: usize,
    /// What has changed, and the frame that says so.
    changes: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

impl Debt {
    fn has_room(&self) -> bool {
        self.bytes <= NEWS_BYTES_MAX && self.pot.get() <= ALL_BYTES_MAX
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.pot.set(self.pot.get() + bytes);
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.pot.set(self.pot.get() - bytes);
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

impl Behind {
    /// It reads what it is told.
    pub const fn none() -> Self {
        Self(RefCell::new(None))
    }

    #[inline]
    pub fn is_behind(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// It does not read what waits for it.
    pub fn begin(&self, pot: &Pot) {
        let mut debt = self.0.borrow_mut();
        if debt.is_none() {
            *debt =
                Some(Box::new(Debt { pot: Rc::clone(pot), bytes: 0, changes: BTreeMap::new() }));
        }
    }

    /// It reads again, or somebody else does: what it was not told, a frame each.
    pub fn end(&self) -> Vec<Box<[u8]>> {
        let debt = self.0.borrow_mut().take();
        debt.map(|mut debt| std::mem::take(&mut debt.changes).into_values().collect())
            .unwrap_or_default()
    }

    /// Whether it gets one more of what may be missed.
    pub fn takes_news(&self) -> bool {
        self.0.borrow().as_ref().is_none_or(|debt| debt.has_room())
    }

    /// It was told so many bytes of that.
    pub fn told(&self, bytes: usize) {
        if let Some(debt) = &mut *self.0.borrow_mut() {
            debt.add(bytes);
        }
    }

    /// Keeps what has changed until it reads again; false if there is no room for that.
    pub fn keep(&self, what: &[u8], frame: &[u8]) -> bool {
        let Some(debt) = &mut *self.0.borrow_mut() else { return false };
        if let Some(before) = debt.changes.remove(what) {
            debt.release(what.len() + before.len());
        }
        if debt.bytes > OWN_BYTES && !debt.has_room() {
            return false;
        }
        debt.add(what.len() + frame.len());
        debt.changes.insert(what.into(), frame.into());
        true
    }
}

impl Gateway {
    /// The peer of a link does not read what waits for it, or reads again.
    pub(super) fn set_blocked(&mut self, now: Now, link: LinkId, is_it: bool, out: &mut Effects) {
        match self.links.get(link) {
            Some(Peer::Lane(lane)) => {
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.blocked = is_it;
                }
                if !is_it {
                    self.catch_up(lane, out);
                }
            }
            Some(Peer::Client(key)) => {
                let Some(client) = self.clients.get(key) else { return };
                if is_it {
                    client.behind.begin(&self.exchanges.pot);
                }
                let owed = if is_it { Vec::new() } else { client.behind.end() };
                for frame in owed {
                    self.exchanges.tell_client(client, out, |out| out.extend_from_slice(&frame));
                }
                self.pace_lanes(key, is_it, out);
            }
            Some(Peer::Exchange(key)) => self.exchange_behind(now, key, is_it, out),
            Some(Peer::Elsewhere(to)) => {
                out.push(Effect::Mail { to, mail: Mail::Behind { link, is_behind: is_it } });
            }
            None => {}
        }
    }

    /// The same of an exchange, wherever its link is.
    pub(super) fn exchange_behind(
        &mut self,
        now: Now,
        key: ExchangeKey,
        is_it: bool,
        out: &mut Effects,
    ) {
        let pot = Pot::clone(&self.exchanges.pot);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if is_it {
            exchange.behind.begin(&pot);
        } else {
            exchange.catch_up(key, now.at, out);
        }
        let (kind, client) = (exchange.kind, exchange.client);
        // Of a session one stream may stand still while others go on.
        if kind == Kind::Modern {
            self.pace_lanes(client, is_it, out);
        }
    }

    /// What is a client's own is held up with it: nobody else waits for what it says.
    pub(super) fn pace_lanes(&mut self, client: ClientKey, is_behind: bool, out: &mut Effects) {
        let Some(client) = self.clients.get(client) else { return };
        for own in &client.lanes {
            if let Some(lane) = self.lanes.get_mut(own.lane)
                && lane.held_up != is_behind
                && let Some(link) = lane.link
            {
                lane.held_up = is_behind;
                out.push(if is_behind { Effect::Pause { link } } else { Effect::Resume { link } });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_often_is_told_once_and_as_it_was_said_last() {
        let (behind, pot) = (Behind::default(), Pot::default());
        assert!(!behind.keep(b"a", b"1"), "who is not behind is told");
        behind.begin(&pot);
        for n in 0..1_000_u32 {
            assert!(behind.keep(b"a", &n.to_be_bytes()));
            assert!(behind.keep(b"b", b"x"));
        }
        assert_eq!(pot.get(), 1 + 4 + 1 + 1);
        assert_eq!(behind.end(), [Box::from(999_u32.to_be_bytes()), Box::from(*b"x") as Box<[u8]>]);
        assert_eq!((pot.get(), behind.is_behind()), (0, false));
    }

    #[test]
    fn one_gets_its_share_and_all_together_get_theirs() {
        let pot = Pot::default();
        let many: Vec<Behind> = (0..3_000).map(|_| Behind::default()).collect();
        let mut told = 0;
        for behind in &many {
            behind.begin(&pot);
            while behind.takes_news() {
                behind.told(1_000);
                told += 1_000;
            }
        }
        assert!(told <= ALL_BYTES_MAX + many.len() * 1_000, "{told}");
        assert!(!many[0].keep(b"a", b"b"), "nothing is kept either where nothing is left");
        let innocent = Behind::default();
        innocent.begin(&pot);
        assert!(!innocent.takes_news(), "what may be missed, it misses");
        assert!(innocent.keep(b"a", b"b"), "what has changed is kept for who owes nothing yet");
        drop((many, innocent));
        assert_eq!(pot.get(), 0, "what the dead were owed is nobody's");
        let alone = Behind::default();
        alone.begin(&pot);
        alone.told(NEWS_BYTES_MAX);
        assert!(alone.takes_news());
        alone.told(1);
        assert!(!alone.takes_news());
    }
}
