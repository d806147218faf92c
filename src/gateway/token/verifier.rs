//! What a shard knows of tokens: the rules, the issuer's keys as they were fetched last, and the tokens that it
//! has verified. A token that was seen before costs a digest and a look-up, as an API key does; a signature
//! costs some fifty times as much.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{KeySet, Proved, Refusal, Rules};
use crate::gateway::keys::Digest;
use crate::gateway::principal::Principal;

/// See the module.
#[derive(Debug)]
pub struct Verifier {
    rules: Arc<Rules>,
    keys: Option<Arc<KeySet>>,
    known: Known,
    /// Tokens that name a key that is not known, since the keys were fetched last.
    waiting: BTreeSet<Digest>,
    /// Those that did before: their key is not among newer ones either.
    lost: BTreeSet<Digest>,
}

/// Tokens whose key may come yet that are remembered. Beyond, they are refused at once.
const WAITING_MAX: usize = 1_024;

/// Whom a token that was shown proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub principal: Principal,
    /// The second from which on it proves nothing, since 1970-01-01 UTC.
    pub until: u64,
    /// What its issuer calls the subject; only the first time.
    pub name: Option<Box<str>>,
}

impl Verifier {
    /// `tokens_max` is the limit of this name.
    pub fn new(rules: Arc<Rules>, tokens_max: usize) -> Self {
        Self {
            rules,
            keys: None,
            known: Known::new(tokens_max),
            waiting: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    /// The same keys under other rules: what was proved by those before is proved anew.
    #[must_use]
    pub fn renewed(self, rules: Arc<Rules>, tokens_max: usize) -> Self {
        Self { rules, known: Known::new(tokens_max), ..self }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Keys were fetched. Where they have changed, what they proved is proved anew: a key that was withdrawn
    /// proves nothing any more.
    pub fn learn(&mut self, keys: Arc<KeySet>) {
        if self.keys.as_ref() != Some(&keys) {
            self.known = Known::new(self.known.max);
        }
        self.keys = Some(keys);
        self.lost = std::mem::take(&mut self.waiting);
    }

    /// Whether a key that is not known may be among newer ones: they were not fetched since the token came first.
    fn may_come(&mut self, token: Digest) -> bool {
        let has_room = self.waiting.len() < WAITING_MAX;
        !self.lost.contains(&token)
            && (self.waiting.contains(&token) || has_room && self.waiting.insert(token))
    }

    /// Whom a token proves at a second since 1970-01-01 UTC.
    pub fn identify(&mut self, token: &[u8], now_secs: u64) -> Result<Seen, Refusal> {
        // Else a header of 60 KB would cost a microsecond for each of them.
        if token.len() > super::TOKEN_BYTES_MAX {
            return Err(Refusal::Invalid("a token of more than 16 KiB"));
        }
        let digest = Digest::of(token);
        if let Some(entry) = self.known.find(digest) {
            if entry.until > now_secs {
                return Ok(Seen { principal: entry.principal, until: entry.until, name: None });
            }
            return Err(Refusal::Invalid("an expired token"));
        }
        let judged = self.rules.judge(self.keys.as_deref(), token, now_secs);
        let Proved { principal, name, until } = judged.map_err(|refusal| match refusal {
            Refusal::UnknownKey { .. } => Refusal::UnknownKey { may_come: self.may_come(digest) },
            refusal => refusal,
        })?;
        self.known.keep(digest, Entry { principal, until });
        Ok(Seen { principal, until, name: Some(name) })
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    principal: Principal,
    until: u64,
}

/// Tokens that were verified, by digest: so many at most. Those that were not used for the longest are forgotten,
/// half of all at once, so that nothing is searched for.
#[derive(Debug)]
struct Known {
    max: usize,
    young: BTreeMap<Digest, Entry>,
    old: BTreeMap<Digest, Entry>,
}

impl Known {
    const fn new(max: usize) -> Self {
        Self { max, young: BTreeMap::new(), old: BTreeMap::new() }
    }

    fn find(&mut self, digest: Digest) -> Option<Entry> {
        if let Some(entry) = self.young.get(&digest) {
            return Some(*entry);
        }
        let entry = self.old.remove(&digest)?;
        self.keep(digest, entry);
        Some(entry)
    }

    fn keep(&mut self, digest: Digest, entry: Entry) {
        if self.young.len() >= self.max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_are_used_stay_known_and_the_table_stays_bounded() {
        let max = 100;
        let mut known = Known::new(max);
        let entry = |until| Entry { principal: Principal::ANONYMOUS, until };
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        known.keep(digest(0), entry(7));
        for number in 1..3 * max {
            known.keep(digest(number), entry(0));
            assert!(known.young.len() + known.old.len() <= max);
            assert_eq!(known.find(digest(0)).map(|entry| entry.until), Some(7));
        }
        assert!(known.find(digest(1)).is_none());
        assert!(known.find(digest(3 * max - 1)).is_some());
    }
}
