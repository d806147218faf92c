//! Access tokens that are JWTs (RFC 9068, RFC 7519): what one must say, by whose key it must be signed, and
//! whom it then proves. Judged by the rules of RFC 8725. Where keys come from and what a refused peer is told
//! is not here; nor is a clock.

mod claims;
mod jws;
mod key_set;
mod subject;
mod verifier;

use std::collections::BTreeMap;

pub use jws::Algorithm;
pub use key_set::KeySet;
pub use subject::{SubjectToken, bearer};
pub use verifier::{Seen, Verifier};

use super::principal::{Principal, Subject};
use claims::Claims;
use jws::Jws;

/// Bytes of a token that are looked at: those of large ones, with groups and roles, are under 8 KiB.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Bytes of what a token calls its subject. It goes into the audit log, and is kept.
pub const NAME_BYTES_MAX: usize = 256;

/// What a token must say. The same for every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `iss`, to the letter.
    pub issuer: Box<str>,
    /// One of them must be in `aud`.
    pub audiences: Vec<Box<str>>,
    pub algorithms: Vec<Algorithm>,
    /// How far the issuer's clock may be from ours, in seconds.
    pub leeway_secs: u64,
    /// All of them must have been granted.
    pub scopes: Vec<Box<str>>,
    /// The claim that says who it is.
    pub principal_claim: Box<str>,
    /// The claims that say what policy knows it by; the first that a token has counts.
    pub agent_claims: Vec<Box<str>>,
    /// Whose rules hold for what these claims say. Who is not here has those of nobody in particular.
    pub agents: BTreeMap<Box<str>, Principal>,
    /// What clients call us: a URL, which is the resource of RFC 9728.
    pub resource: Box<str>,
}

/// Whom a token proves, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    pub principal: Principal,
    /// What its issuer calls the subject.
    pub name: Box<str>,
    /// The second from which on it proves nothing, since 1970-01-01 UTC.
    pub until: u64,
}

/// Why a token proves nobody. The reasons are for the log: whoever guesses learns nothing from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no good, and will not become so.
    Invalid(&'static str),
    /// It is signed by a key that is not known.
    UnknownKey {
        /// It may be among those that are fetched next.
        may_come: bool,
    },
    /// No keys were fetched yet.
    NoKeys,
    /// It is good, but grants too little.
    Scope,
}

impl Refusal {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid(reason) => reason,
            Self::UnknownKey { .. } => "no key of the issuer's has the token's kid",
            Self::NoKeys => "the issuer's keys were not fetched yet",
            Self::Scope => "the token lacks a scope of auth.jwt.scopes",
        }
    }
}

impl Rules {
    /// Judges a token at a second since 1970-01-01 UTC. What costs least comes first, the signature last: a
    /// stranger's guess is refused before it. Only whose token is good is told that it grants too little.
    pub fn judge(
        &self,
        keys: Option<&KeySet>,
        token: &[u8],
        now_secs: u64,
    ) -> Result<Proved, Refusal> {
        let jws = Jws::read(token)?;
        if !self.algorithms.contains(&jws.algorithm) {
            return Err(Refusal::Invalid("its algorithm is not in auth.jwt.algorithms"));
        }
        let claims = Claims::read(&jws.payload)?;
        if claims.text("iss") != Some(&*self.issuer) {
            return Err(Refusal::Invalid("another issuer's token"));
        }
        if !claims.texts("aud").any(|to| self.audiences.iter().any(|own| **own == *to)) {
            return Err(Refusal::Invalid("a token for another audience"));
        }
        let until = claims.second("exp").ok_or(Refusal::Invalid("a token without exp"))?;
        let until = until.saturating_add(self.leeway_secs);
        if until <= now_secs {
            return Err(Refusal::Invalid("an expired token"));
        }
        if claims.has("nbf")
            && claims
                .second("nbf")
                .is_none_or(|from| from > now_secs.saturating_add(self.leeway_secs))
        {
            return Err(Refusal::Invalid("a token that is not valid yet"));
        }
        // Whoever shows it must also hold a key (RFC 7800); without a look at that it would be worth as much
        // to who stole it.
        if claims.has("cnf") {
            return Err(Refusal::Invalid(
                "a token bound to a key (cnf), which is not checked here",
            ));
        }
        let name = claims
            .text(&self.principal_claim)
            .filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX)
            .ok_or(Refusal::Invalid(
                "the claim of auth.jwt.principal_claim is missing or no name",
            ))?;
        keys.ok_or(Refusal::NoKeys)?.verify(&jws)?;
        if !self.scopes.iter().all(|scope| claims.grants(scope)) {
            return Err(Refusal::Scope);
        }
        let agent = self.agent_claims.iter().find_map(|claim| claims.text(claim));
        let agent = agent.and_then(|agent| self.agents.get(agent)).copied().unwrap_or_default();
        let principal = agent.with(Subject::of(&self.issuer, name));
        Ok(Proved { principal, name: name.into(), until })
    }
}

#[cfg(test)]
mod tests;
