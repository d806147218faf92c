//! Who asks over HTTP: the key in `Authorization: Bearer` (RFC 6750 section 2.1), on every request and
//! before its body is read. What is wrong with it is for the log; the peer learns only that it must show one.

use crate::gateway::http;
use crate::gateway::keys::Keys;
use crate::gateway::principal::Principal;

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

/// Whom a request to this path is from; an error is the reason why nobody is.
pub(super) fn identify(
    keys: Option<&Keys>,
    path: &str,
    shown: Shown<'_>,
) -> Result<Principal, &'static str> {
    let Some(keys) = keys else { return Ok(Principal::ANONYMOUS) };
    // Who balances load has no key, and learns nothing that a closed port would not tell.
    if matches!(path, http::HEALTH | http::READY) {
        return Ok(Principal::ANONYMOUS);
    }
    let value = match shown {
        Shown::Nothing => return Err("no Authorization header"),
        Shown::Several => return Err("several Authorization headers"),
        Shown::One(value) => value,
    };
    let (scheme, key) =
        value.split_at(value.iter().position(|&b| b == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err("the scheme of Authorization is not Bearer");
    }
    keys.find(key.trim_ascii()).ok_or("no such key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::keys::{Digest, key};
    use crate::gateway::principal::Principals;

    #[test]
    fn a_request_is_from_whom_its_key_belongs_to() {
        let alice = Principals::default().acting_as("alice");
        let key = key(&[7; 32]);
        let keys = Keys::new(vec![(Digest::of(key.as_bytes()), alice)]);
        let of = |path: &str, values: &[&str]| {
            let shown = Shown::of(values.iter().map(|value| value.as_bytes()));
            identify(Some(&keys), path, shown)
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
        assert_eq!(identify(None, "/mcp", Shown::Nothing), Ok(Principal::ANONYMOUS));
    }
}
