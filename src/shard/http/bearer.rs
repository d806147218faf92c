//! Who asks over HTTP: the key or the token in `Authorization: Bearer` (RFC 6750 section 2.1), on every request
//! and before its body is read. What is wrong with it is for the log; the peer learns only what it must show.

use std::sync::Arc;

use crate::gateway::http;
use crate::gateway::keys::{Digest, Keys, is_key};
use crate::gateway::principal::Principal;
use crate::gateway::token::{KeySet, Refusal, Rules, Seen, Verifier};
use crate::shard::domain::{IdentitySink, Notice};
use crate::shard::revoke::Keyed;

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Shown<'a> {
    Nothing,
    One(&'a [u8]),
    Several,
}

impl<'a> Shown<'a> {
    /// From all values of the header.
    pub(in crate::shard) fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// Whom a request is from, and until when that holds without being shown anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Identified {
    pub(in crate::shard) principal: Principal,
    /// A second since 1970-01-01 UTC.
    pub(in crate::shard) until: u64,
    /// The key that it was shown by, if one was.
    pub(in crate::shard) key: Option<Digest>,
}

impl Identified {
    /// The key that it was shown by, and as whose.
    pub(in crate::shard) fn keyed(&self) -> Option<Keyed> {
        self.key.map(|digest| (digest, self.principal))
    }
}

/// How requests may prove whose they are, besides by tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways<'a> {
    pub(super) keys: Option<&'a Keys>,
    /// By their connection's certificate.
    pub(super) certificates: bool,
}

/// How long a key speaks for somebody.
const FOR_EVER: u64 = u64::MAX;

/// Why a request is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Denied {
    /// Nothing was shown that could be good.
    Unknown(&'static str),
    /// Something was shown, and is not good.
    Wrong(&'static str),
    /// A good token grants too little.
    Scope(&'static str),
    /// Whether it is good will be known soon.
    Later(&'static str),
}

/// What a shard knows of tokens. Keys are not here: they are the front's, which may be replaced.
#[derive(Debug, Default)]
pub(in crate::shard) struct Gate {
    tokens: Option<Verifier>,
    sink: Option<IdentitySink>,
}

impl Gate {
    pub(in crate::shard) fn new(
        tokens: Option<&Arc<Rules>>,
        tokens_max: usize,
        sink: Option<IdentitySink>,
    ) -> Self {
        let tokens = tokens.map(|rules| Verifier::new(Arc::clone(rules), tokens_max));
        Self { tokens, sink }
    }

    /// Tokens are judged by other rules; the issuer is the same.
    pub(in crate::shard) fn renew(&mut self, tokens: Option<&Arc<Rules>>, tokens_max: usize) {
        let before = self.tokens.take();
        self.tokens = tokens.map(|rules| match before {
            Some(before) => before.renewed(Arc::clone(rules), tokens_max),
            None => Verifier::new(Arc::clone(rules), tokens_max),
        });
    }

    /// The issuer's keys were fetched.
    pub(in crate::shard) fn learn(&mut self, keys: Arc<KeySet>) {
        if let Some(tokens) = &mut self.tokens {
            tokens.learn(keys);
        }
    }

    /// Whom a request to this path is from, at a second since 1970-01-01 UTC. With neither keys nor tokens
    /// everybody may ask.
    pub(super) fn identify(
        &mut self,
        Ways { keys, certificates }: Ways<'_>,
        path: &str,
        shown: Shown<'_>,
        now_secs: u64,
    ) -> Result<Identified, Denied> {
        let as_is = |principal, key| Identified { principal, until: FOR_EVER, key };
        // Who balances load has no key, and learns nothing that a closed port would not tell.
        let is_open = keys.is_none() && self.tokens.is_none() && !certificates;
        if is_open || matches!(path, http::HEALTH | http::READY) {
            return Ok(as_is(Principal::ANONYMOUS, None));
        }
        let value = match shown {
            Shown::Nothing => return Err(Denied::Unknown("no Authorization header")),
            Shown::Several => return Err(Denied::Wrong("several Authorization headers")),
            Shown::One(value) => value,
        };
        let (scheme, shown) =
            value.split_at(value.iter().position(|&b| b == b' ').unwrap_or(value.len()));
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return Err(Denied::Unknown("the scheme of Authorization is not Bearer"));
        }
        let shown = shown.trim_ascii();
        if let Some((digest, principal)) = keys.and_then(|keys| keys.find_digest(shown)) {
            return Ok(as_is(principal, Some(digest)));
        }
        match &mut self.tokens {
            Some(tokens) if !std::str::from_utf8(shown).is_ok_and(is_key) => {
                let seen = tokens.identify(shown, now_secs);
                self.settle(seen)
            }
            _ => Err(Denied::Wrong("no such key")),
        }
    }

    fn settle(&self, seen: Result<Seen, Refusal>) -> Result<Identified, Denied> {
        let tell = |notice| {
            if let Some(sink) = &self.sink {
                sink.tell(notice);
            }
        };
        match seen {
            Ok(Seen { principal, until, name }) => {
                if let Some(name) = name {
                    tell(Notice::Subject { principal, name });
                }
                Ok(Identified { principal, until, key: None })
            }
            // It may well be good, and with 401 its owner would throw it away: keys are on their way.
            Err(refusal @ Refusal::NoKeys) => Err(Denied::Later(refusal.reason())),
            Err(refusal @ Refusal::UnknownKey { may_come }) => {
                tell(Notice::KeyUnknown);
                let denied = if may_come { Denied::Later } else { Denied::Wrong };
                Err(denied(refusal.reason()))
            }
            Err(refusal @ Refusal::Scope) => Err(Denied::Scope(refusal.reason())),
            Err(refusal) => Err(Denied::Wrong(refusal.reason())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::keys::key;
    use crate::gateway::principal::Principals;

    #[test]
    fn a_request_is_from_whom_its_key_belongs_to() {
        let alice = Principals::default().acting_as("alice");
        let key = key(&[7; 32]);
        let keys = Keys::new(vec![(Digest::of(key.as_bytes()), alice)]);
        let mut gate = Gate::default();
        let mut of = |path: &str, values: &[&str]| {
            let shown = Shown::of(values.iter().map(|value| value.as_bytes()));
            let ways = Ways { keys: Some(&keys), certificates: false };
            gate.identify(ways, path, shown, 0).map(|it| it.principal)
        };
        assert_eq!(of("/mcp", &[&format!("Bearer {key}")]), Ok(alice));
        assert_eq!(of("/mcp", &[&format!("bearer   {key} ")]), Ok(alice));
        let [longer, basic, twice] =
            [format!("Bearer {key}x"), format!("Basic {key}"), format!("Bearer {key}")];
        for wrong in [
            &[][..],
            &[&*longer],
            &["Bearer"],
            &["Bearer "],
            &[""],
            &[&*basic],
            &[&*key],
            &[&*twice, &*twice],
        ] {
            assert!(of("/mcp", wrong).is_err(), "{wrong:?}");
            assert_eq!(of("/health", wrong), Ok(Principal::ANONYMOUS));
        }
        assert!(of("/healthy", &[]).is_err() && of("/metrics", &[]).is_err());
        let open = Gate::default().identify(Ways::default(), "/mcp", Shown::Nothing, 0);
        assert_eq!(open.map(|it| it.principal), Ok(Principal::ANONYMOUS));
    }
}
