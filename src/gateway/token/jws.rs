//! A signed token as it travels: header, payload and signature in base64url (RFC 7515 section 7.1). Only
//! signatures by private keys are known here: there is no `none` to forget to refuse, and no secret that a
//! public key could be taken for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Refusal, TOKEN_BYTES_MAX};

/// How a token is signed (RFC 7518 section 3.1, RFC 8037, RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// By its name; of the curves that `EdDSA` may mean only Ed25519 is known.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

/// See the module.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that whoever does not know them must refuse.
    crit: Option<IgnoredAny>,
}

/// What a token may call itself (RFC 9068 section 2.1, RFC 8725 section 3.11): an ID token or a logout token
/// that the same issuer signed is none.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

impl<'a> Jws<'a> {
    pub(super) fn read(token: &'a [u8]) -> Result<Self, Refusal> {
        let no = |reason| Err(Refusal::Invalid(reason));
        if token.len() > TOKEN_BYTES_MAX {
            return no("a token of more than 16 KiB");
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return no("neither a key nor a signed token");
        };
        let part = |range: std::ops::Range<usize>| {
            let text = token.get(range).unwrap_or_default();
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_| Refusal::Invalid("a token that is not base64url"))
        };
        let header: Header = serde_json::from_slice(&part(0..first)?)
            .map_err(|_| Refusal::Invalid("a token whose header is none"))?;
        let Some(algorithm) = Algorithm::parse(&header.alg) else {
            return no("a token with an algorithm that is never taken (none, HMAC, or unknown)");
        };
        if header.crit.is_some() {
            return no("a token with critical extensions");
        }
        if let Some(typ) = &header.typ
            && !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))
        {
            return no("a token that is no access token (typ)");
        }
        Ok(Self {
            algorithm,
            kid: header.kid,
            signed: token.get(..second).unwrap_or_default(),
            payload: part(first + 1..second)?,
            signature: part(second + 1..token.len())?,
        })
    }
}
