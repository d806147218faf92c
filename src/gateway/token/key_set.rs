//! An issuer's public keys (a JWK Set, RFC 7517 section 5), and signatures held against them. A key says by its
//! type which algorithms it may verify, so that none is used for what it was not made for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::VerificationAlgorithm;
use ring::signature::{self as by, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use super::Refusal;
use super::jws::{Algorithm, Jws};

/// Keys of one set: issuers have two or three.
const KEYS_MAX: usize = 64;
/// Keys that a token without `kid` is held against: each costs a verification.
const TRIES_MAX: usize = 4;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    kid: Option<String>,
    /// The only algorithm that it is for, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that verify nothing here (symmetric ones, those for encryption, unknown curves) are
    /// left out, as RFC 7517 section 5 says; a set without any other is an error, which says so.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| format!("this is no JSON Web Key Set: {error}"))?;
        let there = set.keys.len();
        if there > KEYS_MAX {
            return Err(format!("{there} keys are more than the {KEYS_MAX} that are taken"));
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err(format!(
                "of {there} keys none is a public RSA, P-256, P-384 or Ed25519 key"
            ));
        }
        Ok(Self { keys })
    }

    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<(), Refusal> {
        let is_meant = |key: &&Key| match &jws.kid {
            Some(kid) => key.kid.as_ref() == Some(kid),
            None => true,
        };
        let mut meant = self.keys.iter().filter(is_meant).peekable();
        if meant.peek().is_none() {
            return Err(Refusal::UnknownKey { may_come: true });
        }
        let mut fit = meant.filter(|key| key.fits(jws.algorithm)).take(TRIES_MAX).peekable();
        if fit.peek().is_none() {
            return Err(Refusal::Invalid("its algorithm is not that of its key"));
        }
        if fit.any(|key| key.verifies(jws)) {
            return Ok(());
        }
        Err(Refusal::Invalid("its signature is not that of its issuer's key"))
    }
}

impl Key {
    /// `None` for what verifies nothing here.
    fn of(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if jwk.purpose.as_ref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let point = |half: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            (x.len() == half && y.len() == half).then(|| [&[4], &x[..], &y[..]].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                // Numbers are written without leading zeros; some issuers write one.
                let number = |text| {
                    let number = bytes(text)?;
                    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
                    Some(number.get(zeros..)?.to_vec())
                };
                Material::Rsa { n: number(&jwk.n)?, e: number(&jwk.e)? }
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let algorithm = match &jwk.alg {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        Some(Self { kid: jwk.kid, algorithm, material })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_kind = match algorithm {
            Algorithm::Es256 => matches!(self.material, Material::P256(_)),
            Algorithm::Es384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDsa => matches!(self.material, Material::Ed25519(_)),
            _ => matches!(self.material, Material::Rsa { .. }),
        };
        is_kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// The key fits the algorithm.
    fn verifies(&self, jws: &Jws<'_>) -> bool {
        let is_signed = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key).verify(jws.signed, &jws.signature).is_ok()
        };
        match &self.material {
            // 2,048 to 8,192 bits: shorter keys verify nothing.
            Material::Rsa { n, e } => rsa(jws.algorithm).is_some_and(|how| {
                RsaPublicKeyComponents { n, e }.verify(how, jws.signed, &jws.signature).is_ok()
            }),
            Material::P256(point) => is_signed(&by::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => is_signed(&by::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(point) => is_signed(&by::ED25519, point),
        }
    }
}

const fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &by::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &by::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &by::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &by::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &by::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &by::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}
