//! What was decided lately, so that a call that is made again and again costs one look-up. Bounded: a
//! decision that is not there is made anew, which costs a microsecond.

use super::{AgentId, Decision, Kind, Policy};

/// Decisions kept by a shard: some hundreds of agents with the tools that each uses. A power of two.
const DECISIONS_MAX: usize = 8_192;
/// A longer name is decided each time, so that the whole stays below 3 MiB.
const NAME_BYTES_MAX: usize = 256;

/// One shard's. Holds nothing before the first decision.
#[derive(Debug, Default)]
pub struct Cache {
    /// By hash; what comes later takes the place.
    slots: Vec<Option<Entry>>,
}

#[derive(Debug)]
struct Entry {
    agent: AgentId,
    upstream: usize,
    kind: Kind,
    name: Box<str>,
    decision: Decision,
}

impl Cache {
    /// What [`Policy::decide`] gives. A cache belongs to one policy; [`Cache::clear`] when that changes.
    pub fn decide(
        &mut self,
        policy: &Policy,
        agent: AgentId,
        upstream: usize,
        kind: Kind,
        name: &str,
    ) -> Decision {
        if name.len() > NAME_BYTES_MAX {
            return policy.decide(agent, upstream, kind, name);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(DECISIONS_MAX, || None);
        }
        let slot = slot(agent, upstream, kind, name);
        if let Some(Some(entry)) = self.slots.get(slot)
            && entry.agent == agent
            && entry.upstream == upstream
            && entry.kind == kind
            && &*entry.name == name
        {
            return entry.decision;
        }
        let decision = policy.decide(agent, upstream, kind, name);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Entry { agent, upstream, kind, name: name.into(), decision });
        }
        decision
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
    }
}

/// Eight bytes at a time. Who is judged may find names that share a slot, and gains nothing by it: each
/// look-up is then a decision.
fn slot(agent: AgentId, upstream: usize, kind: Kind, name: &str) -> usize {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(ODD);
    let mut hash = mix(u64::from(agent.0.map_or(u32::MAX, |agent| agent)), upstream as u64);
    hash = mix(hash, kind as u64);
    let mut words = name.as_bytes().chunks_exact(8);
    for word in &mut words {
        hash = mix(hash, word.try_into().map_or(0, u64::from_le_bytes));
    }
    for &byte in words.remainder() {
        hash = mix(hash, u64::from(byte));
    }
    usize::try_from(hash >> (64 - DECISIONS_MAX.trailing_zeros())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::policy;
    use super::*;

    #[test]
    fn a_remembered_decision_is_the_one_that_was_made() {
        let policy = policy();
        let mut cache = Cache::default();
        for round in 0..3 {
            for agent in [Some("researcher"), Some("backend"), None] {
                let agent = policy.agent(agent);
                for upstream in 0..3 {
                    for kind in Kind::ALL {
                        for number in 0..2_000 {
                            let name = format!("{}_{number}", ["get", "drop", "list"][number % 3]);
                            assert_eq!(
                                cache.decide(&policy, agent, upstream, kind, &name),
                                policy.decide(agent, upstream, kind, &name),
                                "{round} {name}"
                            );
                        }
                    }
                }
            }
        }
        assert_eq!(cache.slots.len(), DECISIONS_MAX);
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let agent = policy.agent(Some("researcher"));
        assert!(cache.decide(&policy, agent, 0, Kind::Tool, &long).is_allowed);
        assert!(cache.slots.iter().flatten().all(|entry| entry.name.len() <= NAME_BYTES_MAX));
    }
}
