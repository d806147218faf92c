//! What was gathered a moment ago, for those who need no key: however often they ask, shards are asked once in that time.

#![expect(
    clippy::disallowed_types,
    reason = "shared by the threads of the admin listener, and by no shard"
)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::gather::{Gathered, Gatherer};

/// How old what is told may be. Whoever balances load looks every second or two.
const KEPT: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Recent(Mutex<Option<(Instant, Arc<Gathered>)>>);

impl Recent {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Who asks while another does waits for the same answer.
    pub(super) fn get(&self, gatherer: &Gatherer) -> Arc<Gathered> {
        self.get_by(Instant::now(), || gatherer.gather())
    }

    /// What was gathered is not so any more.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn get_by(&self, now: Instant, gather: impl FnOnce() -> Gathered) -> Arc<Gathered> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, gathered)) = &*kept
            && now.saturating_duration_since(*at) < KEPT
        {
            return Arc::clone(gathered);
        }
        let gathered = Arc::new(gather());
        *kept = Some((now, Arc::clone(&gathered)));
        gathered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_asked_once_in_a_time_however_often_it_is_looked() {
        let (recent, begun) = (Recent::new(), Instant::now());
        let asked = std::cell::Cell::new(0);
        let look = |at| {
            recent.get_by(at, || {
                asked.set(asked.get() + 1);
                Gathered { shards: Vec::new(), meters: Vec::new(), spans: None }
            });
            asked.get()
        };
        assert_eq!([look(begun), look(begun), look(begun + KEPT / 2)], [1, 1, 1]);
        assert_eq!([look(begun + KEPT), look(begun + KEPT)], [2, 2]);
        recent.forget();
        assert_eq!(look(begun + KEPT), 3);
    }
}
