//! API keys: a key is `rgk_` and 256 random bits in base64url, and what is kept of it is its SHA-256 digest.
//! A slow hash, as passwords need, would buy nothing: nobody tries 2^256 keys, however fast.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::principal::Principal;

const PREFIX: &str = "rgk_";
const SECRET_BYTES: usize = 32;
/// `rgk_` and 43 letters.
const KEY_CHARS: usize = 47;
const DIGEST_PREFIX: &str = "sha256:";

/// The key that 32 random bytes make.
pub fn key(random: &[u8; SECRET_BYTES]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// Whether a text can be a key of ours. What is shorter could be guessed, and has no business here.
pub fn is_key(text: &str) -> bool {
    text.len() == KEY_CHARS
        && text.strip_prefix(PREFIX).is_some_and(|secret| {
            URL_SAFE_NO_PAD.decode(secret).is_ok_and(|secret| secret.len() == SECRET_BYTES)
        })
}

/// What is kept of a key. Written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a key, or of anything that is shown for one.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads what [`Digest`] is displayed as.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(DIGEST_PREFIX)?.as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Compares in a time that does not tell where the difference is.
    fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DIGEST_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// All keys, by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Sorted.
    entries: Vec<(Digest, Principal)>,
}

impl Keys {
    pub fn new(mut entries: Vec<(Digest, Principal)>) -> Self {
        entries.sort_unstable();
        Self { entries }
    }

    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whose key this is. What the search tells by its time is where the digest of a guess lies among
    /// ours, which helps nobody to a key that has one of them.
    pub fn find(&self, key: &[u8]) -> Option<Principal> {
        self.find_digest(key).map(|(_, owner)| owner)
    }

    /// As [`Keys::find`]; with what is kept of the key.
    pub fn find_digest(&self, key: &[u8]) -> Option<(Digest, Principal)> {
        // Else a header of 60 KB would cost a microsecond for each of them.
        if key.len() != KEY_CHARS {
            return None;
        }
        let digest = Digest::of(key);
        Some((digest, self.owner(&digest)?))
    }

    /// Whose key has this digest.
    pub fn owner(&self, digest: &Digest) -> Option<Principal> {
        let digest = *digest;
        let at = self.entries.partition_point(|(known, _)| *known < digest);
        let (known, principal) = self.entries.get(at)?;
        known.is(&digest).then_some(*principal)
    }
}

#[cfg(test)]
mod tests {
    use super::super::principal::Principals;
    use super::*;

    #[test]
    fn a_key_is_found_by_its_digest_and_nothing_else_is() {
        let mut all = Principals::default();
        let (alice, bob) = (all.acting_as("alice"), all.acting_as("bob"));
        let of = |byte: u8| key(&[byte; 32]);
        let keys = Keys::new(vec![
            (Digest::of(of(1).as_bytes()), alice),
            (Digest::of(of(2).as_bytes()), bob),
            (Digest::of(of(3).as_bytes()), alice),
        ]);
        let found = |text: &str| keys.find(text.as_bytes());
        assert_eq!(found(&of(1)), Some(alice));
        assert_eq!(found(&of(3)), Some(alice), "several keys may be one agent's");
        assert_eq!(found(&of(2)), Some(bob));
        assert_eq!(found(&of(4)), None);
        assert_eq!(found(&of(1)[..46]), None);
        assert_eq!(found(""), None);
        assert_eq!(Keys::default().find(of(1).as_bytes()), None);
    }

    #[test]
    fn keys_and_digests_have_one_form() {
        let made = key(&[0xAB; 32]);
        assert!(is_key(&made) && made.len() == KEY_CHARS);
        assert!(!is_key("rgk_short") && !is_key(&made.replace("rgk", "abc")));
        assert!(!is_key(&format!("{made}x")));
        // FIPS 180-4: the digest of "abc".
        let digest = Digest::of(b"abc");
        assert_eq!(
            digest.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("sha256:00"), None);
        assert_eq!(Digest::parse(&digest.to_string().replace("sha256", "sha1")), None);
    }
}
