//! Principals: who a link acts for. Everything of a client's (its session, its held calls, what it may use)
//! is bound to one. How somebody proves to be one is not here: `keys`, `token`.

use sha2::{Digest as _, Sha256};

/// An agent's place among [`Principals`], and who of those that act as it; the default is the one that nobody
/// proved to be another. All of it follows from what was proved: every shard, and the next process, make the
/// same of the same token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    number: u32,
    subject: Subject,
}

impl Principal {
    pub const ANONYMOUS: Self = Self { number: 0, subject: Subject::NONE };

    /// The subject of a token, who acts as the agent that this one is.
    #[must_use]
    pub const fn with(self, subject: Subject) -> Self {
        Self { number: self.number, subject }
    }

    /// The number of its agent, 0 where it has none.
    pub const fn number(self) -> u32 {
        self.number
    }

    pub const fn subject(self) -> Subject {
        self.subject
    }

    /// What seals are bound to: the same for the same principal, different for any other.
    pub fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..].copy_from_slice(&self.subject.0);
        bytes
    }

    /// A number that differs from principal to principal, for who deals them out.
    pub fn spread(self) -> u32 {
        let [a, b, c, d, ..] = self.subject.0;
        self.number.wrapping_add(u32::from_le_bytes([a, b, c, d]))
    }
}

/// Whom a token names: a digest of its issuer and of what the issuer calls it. 128 bits, because subjects are
/// told apart by nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject([u8; 16]);

impl Subject {
    /// Whoever acts as an agent without a token.
    pub const NONE: Self = Self([0; 16]);

    pub fn of(issuer: &str, name: &str) -> Self {
        let length = (issuer.len() as u64).to_le_bytes();
        let digest = Sha256::new().chain_update(length).chain_update(issuer).chain_update(name);
        let mut subject = [0; 16];
        subject.iter_mut().zip(digest.finalize()).for_each(|(byte, digest)| *byte = digest);
        Self(subject)
    }
}

/// All principals that the configuration names, and whether there are others. The same for every shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principals {
    /// The agent of each but the anonymous one, by number less one.
    agents: Vec<Box<str>>,
    /// Tokens are taken, whose subjects are principals too.
    pub has_subjects: bool,
}

impl Principals {
    /// Who acts as this agent: known already, or new.
    pub fn acting_as(&mut self, agent: &str) -> Principal {
        let at = self.agents.iter().position(|known| **known == *agent).unwrap_or_else(|| {
            self.agents.push(agent.into());
            self.agents.len() - 1
        });
        let number = u32::try_from(at + 1).expect("a configuration names fewer than 2^32 agents");
        Principal { number, subject: Subject::NONE }
    }

    /// The name that policy knows a principal by; the anonymous one has none.
    pub fn agent(&self, principal: Principal) -> Option<&str> {
        let at = (principal.number as usize).checked_sub(1)?;
        self.agents.get(at).map(|agent| &**agent)
    }

    /// All that it names, the anonymous one first.
    pub fn iter(&self) -> impl Iterator<Item = Principal> {
        (0..=u32::try_from(self.agents.len()).unwrap_or(u32::MAX))
            .map(|number| Principal { number, subject: Subject::NONE })
    }

    /// Whether there are several at all.
    pub fn are_several(&self) -> bool {
        self.has_subjects || !self.agents.is_empty()
    }
}

/// Who acts on links that prove nothing, by the way they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entrances {
    pub tcp: Principal,
    pub unix: Principal,
    pub stdio: Principal,
    /// Where no keys are configured.
    pub http: Principal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_one_principal_however_often_it_is_named() {
        let mut all = Principals::default();
        let (a, b) = (all.acting_as("a"), all.acting_as("b"));
        assert_eq!(all.acting_as("a"), a);
        assert_ne!(a, b);
        assert_eq!((all.agent(a), all.agent(b)), (Some("a"), Some("b")));
        assert_eq!(all.agent(Principal::ANONYMOUS), None);
        assert_eq!(all.iter().collect::<Vec<_>>(), [Principal::ANONYMOUS, a, b]);
    }

    #[test]
    fn subjects_are_told_apart_by_issuer_and_name_and_share_their_agents_rules() {
        let mut all = Principals::default();
        let agent = all.acting_as("a");
        let of = |issuer: &str, name: &str| agent.with(Subject::of(issuer, name));
        let alice = of("https://as.test", "alice");
        assert_eq!(alice, of("https://as.test", "alice"));
        for other in [
            of("https://as.test", "bob"),
            of("https://as.tes", "talice"),
            Principal::ANONYMOUS.with(alice.subject()),
            agent,
        ] {
            assert_ne!(alice, other);
            assert_ne!(alice.bytes(), other.bytes());
        }
        assert_eq!(all.agent(alice), Some("a"));
        assert!(all.are_several() && !Principals::default().are_several());
    }
}
