//! An issuer's keys: fetched again and again, and sooner where a token names one that is not known; but never
//! more often than configured, so that strangers cannot make us ask. While they cannot be fetched, those that
//! were fetched last are good.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
use std::time::Instant;

use super::fetch::{DOCUMENT_BYTES_MAX, Fetcher};
use crate::edge::config::{KeyPlace, KeySource};
use crate::gateway::token::KeySet;
use crate::shard::Post;

/// How soon is tried again what failed while there are no keys at all; then twice that, and so on.
const RETRY_FIRST: Duration = Duration::from_millis(250);

pub(super) struct Issuer {
    source: KeySource,
    fetcher: Fetcher,
    keys: Option<Arc<KeySet>>,
    /// In a row.
    failures: u32,
}

impl Issuer {
    pub(super) fn new(source: KeySource) -> io::Result<Self> {
        let fetcher = Fetcher::new(source.ca_file.as_deref())?;
        Ok(Self { source, fetcher, keys: None, failures: 0 })
    }

    /// Fetches until nobody can wish for anything any more.
    pub(super) fn run(&mut self, wishes: &Receiver<()>, posts: &[Post]) {
        loop {
            let begun = now();
            // Whoever wished before this fetch is answered by it.
            while wishes.try_recv().is_ok() {}
            self.fetch(posts);
            let mut is_wished = false;
            loop {
                let wait = self.wait(is_wished);
                let Some(left) = wait.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())
                else {
                    break;
                };
                match wishes.recv_timeout(left) {
                    Ok(()) => is_wished = true,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }

    /// From the beginning of one fetch to that of the next.
    fn wait(&self, is_wished: bool) -> Duration {
        let min = self.source.refetch_min;
        match (self.failures, &self.keys) {
            (0, _) if !is_wished => self.source.refresh.max(min),
            (0, _) | (_, Some(_)) => min,
            (failures, None) => min.min(RETRY_FIRST * 2_u32.pow(failures.clamp(1, 16) - 1)),
        }
    }

    fn fetch(&mut self, posts: &[Post]) {
        let place = match &self.source.place {
            KeyPlace::Url(url) => url.clone(),
            KeyPlace::File(path) => path.display().to_string(),
        };
        match self.read().and_then(|text| KeySet::parse(&text)) {
            Ok(keys) => {
                let keys = Arc::new(keys);
                if self.keys.as_ref() != Some(&keys) {
                    tracing::info!(place, keys = keys.len(), "the issuer's keys");
                } else if self.failures > 0 {
                    tracing::info!(place, "the issuer's keys can be fetched again");
                }
                self.failures = 0;
                for post in posts {
                    post.keys(Arc::clone(&keys));
                }
                self.keys = Some(keys);
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                let what = match self.keys {
                    Some(_) => "the issuer's keys cannot be fetched; the last ones stay good",
                    None => "the issuer's keys cannot be fetched; every token is answered 503",
                };
                tracing::warn!(place, why, "{what}");
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        match &self.source.place {
            KeyPlace::Url(url) => {
                self.fetcher.get(url, "application/jwk-set+json, application/json")
            }
            KeyPlace::File(path) => {
                let text = std::fs::read(path).map_err(|error| error.to_string())?;
                let fits = u64::try_from(text.len()).is_ok_and(|bytes| bytes <= DOCUMENT_BYTES_MAX);
                if fits { Ok(text) } else { Err("more than 256 KiB".to_owned()) }
            }
        }
    }
}

#[expect(clippy::disallowed_types, reason = "a thread of the edge's, which no test drives")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_and_failures_wait_for_the_smallest_interval_and_a_first_fetch_does_not() {
        let source = KeySource {
            place: KeyPlace::File("/nowhere".into()),
            refresh: Duration::from_mins(10),
            refetch_min: Duration::from_secs(30),
            ca_file: None,
        };
        let mut issuer = Issuer::new(source).unwrap();
        issuer.fetch(&[]);
        assert_eq!(issuer.wait(false), RETRY_FIRST);
        issuer.fetch(&[]);
        assert_eq!(issuer.wait(false), 2 * RETRY_FIRST);
        issuer.failures = u32::MAX;
        assert_eq!(issuer.wait(true), Duration::from_secs(30));
        issuer.keys = Some(Arc::new(KeySet::default()));
        assert_eq!(issuer.wait(false), Duration::from_secs(30), "it failed, and there are keys");
        issuer.failures = 0;
        assert_eq!(issuer.wait(true), Duration::from_secs(30));
        assert_eq!(issuer.wait(false), Duration::from_mins(10));
    }
}
