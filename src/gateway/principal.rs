//! Principals: who a link acts for. Everything of a client's (its session, its held calls, what it may use)
//! is bound to one. How somebody proves to be one is not here: `keys`.

/// A principal's place among [`Principals`]; the default is the one that nobody proved to be another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal(u32);

impl Principal {
    pub const ANONYMOUS: Self = Self(0);

    /// Its number, 0 for the anonymous one.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// All principals that the configuration names. The same for every shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principals {
    /// The agent of each but the anonymous one, by number less one.
    agents: Vec<Box<str>>,
}

impl Principals {
    /// Who acts as this agent: known already, or new.
    pub fn acting_as(&mut self, agent: &str) -> Principal {
        let at = self.agents.iter().position(|known| **known == *agent).unwrap_or_else(|| {
            self.agents.push(agent.into());
            self.agents.len() - 1
        });
        Principal(u32::try_from(at + 1).expect("a configuration names fewer than 2^32 agents"))
    }

    /// The name that policy knows a principal by; the anonymous one has none.
    pub fn agent(&self, principal: Principal) -> Option<&str> {
        let at = (principal.0 as usize).checked_sub(1)?;
        self.agents.get(at).map(|agent| &**agent)
    }

    /// All of them, the anonymous one first.
    pub fn iter(&self) -> impl Iterator<Item = Principal> {
        (0..=u32::try_from(self.agents.len()).unwrap_or(u32::MAX)).map(Principal)
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
}
