//! A token that a caller was verified by, kept to be exchanged for one that a server takes: the `subject_token` of
//! RFC 8693 section 2.1. Nobody but the token endpoint is ever told it: it is in no log and no debug output, and
//! what it lay in is overwritten when the last who needs it lets it go.

use std::fmt;

use zeroize::Zeroizing;

use super::claims::Claims;
use super::jws::Jws;
use crate::gateway::keys::Digest;

/// See the module.
pub struct SubjectToken {
    text: Zeroizing<Box<str>>,
    digest: Digest,
    until: u64,
}

impl SubjectToken {
    /// A token that was verified before. `None` for what cannot have been.
    pub fn read(shown: &[u8]) -> Option<Self> {
        let payload = Jws::read(shown).ok()?.payload;
        let until = Claims::read(&Zeroizing::new(payload)).ok()?.second("exp")?;
        let text = Zeroizing::new(Box::from(std::str::from_utf8(shown).ok()?));
        Some(Self { text, digest: Digest::of(shown), until })
    }

    /// As it was shown; for the token endpoint alone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is told apart by it, and may be remembered.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The second from which on it is worth nothing, since 1970-01-01 UTC: `exp`, without leeway.
    pub const fn until(&self) -> u64 {
        self.until
    }
}

impl fmt::Debug for SubjectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectToken(…)")
    }
}

impl PartialEq for SubjectToken {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for SubjectToken {}

/// The token of an `Authorization` header, if it is `Bearer`'s (RFC 6750 section 2.1).
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, shown) = value.split_at(value.iter().position(|&byte| byte == b' ')?);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| shown.trim_ascii())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn it_tells_its_end_and_its_digest_and_never_itself() {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let head = part(r#"{"alg":"ES256","typ":"at+jwt"}"#);
        let text = format!("{head}.{}.{}", part(r#"{"sub":"a","exp":1700000000.5}"#), part("s"));
        let shown = format!("Bearer {text}");
        let token = SubjectToken::read(bearer(shown.as_bytes()).unwrap()).unwrap();
        assert_eq!((token.text(), token.until()), (&*text, 1_700_000_000));
        assert_eq!(token.digest(), Digest::of(text.as_bytes()));
        assert_eq!(
            format!("{token:?} {:?}", Some(&token)),
            "SubjectToken(…) Some(SubjectToken(…))"
        );
        let endless = format!("{head}.{}.{}", part(r#"{"sub":"a"}"#), part("s"));
        for none in ["", "rgk_x", &endless] {
            assert!(SubjectToken::read(none.as_bytes()).is_none(), "{none}");
        }
        assert!(bearer(b"Basic x").is_none() && bearer(b"Bearer").is_none());
    }
}
