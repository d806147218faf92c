//! Policy: which agent may use what of which upstream. Pure: rules in, decisions out; who the agent is and
//! what follows from a decision is not here.
//!
//! A decision is made in this order, and the first that applies decides:
//!
//! 1. an agent without rules of its own has those of the agent `default`; if there are none, or
//!    `deny_on_missing_agent` holds, everything is denied;
//! 2. `deny.servers`, then the `deny` lists of the kind: what matches is denied, whatever allows it;
//! 3. `allow.servers`: an upstream that it does not name is denied;
//! 4. an upstream that no `allow` list mentions is allowed whole; of one that a list mentions exactly what
//!    the lists name is allowed, of every kind.
//!
//! Rules are compiled once for the upstreams there are (`table`), and a shard remembers what was decided
//! (`cache`).

mod cache;
mod pattern;
mod rules;
mod table;
mod uri;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use cache::Cache;
pub use pattern::Pattern;
pub use rules::{Agent, Lists, Rules, Side};
use table::Table;

/// What rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tool,
    Prompt,
    /// By its URI; a template by the text of its own.
    Resource,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Tool, Self::Prompt, Self::Resource];

    /// The key under which its rules stand.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
        }
    }

    /// One of them, as errors and audit lines name it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

/// An agent's place in a [`Policy`]: [`Policy::agent`] gives it. The default is that of an agent without rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentId(Option<u32>);

/// What was decided, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub is_allowed: bool,
    pub reason: Reason,
}

/// Why; [`Policy::text`] puts it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule of the configuration.
    Rule(RuleId),
    /// The agent has no rules.
    NoAgent,
    /// `allow.servers` does not name the upstream.
    ServerNotListed { agent: u32 },
    /// The lists for the upstream do not name the thing.
    NotListed { agent: u32, upstream: u32, kind: Kind },
}

/// A rule's place in a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u32);

const fn allowed(rule: RuleId) -> Decision {
    Decision { is_allowed: true, reason: Reason::Rule(rule) }
}

const fn denied(reason: Reason) -> Decision {
    Decision { is_allowed: false, reason }
}

/// Compiled rules. The same for every shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    agents: BTreeMap<Box<str>, u32>,
    compiled: Vec<Compiled>,
    /// Whose rules an agent without any has.
    fallback: Option<u32>,
    deny_on_missing_agent: bool,
    /// The text of each rule.
    rules: Vec<Box<str>>,
    upstreams: Vec<Box<str>>,
}

/// One agent's rules, for the upstreams there are.
#[derive(Debug, PartialEq, Eq)]
struct Compiled {
    name: Box<str>,
    /// Each list of the agent's; grants name those that apply.
    tables: Vec<Table>,
    /// By upstream.
    grants: Vec<Grant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Grant {
    Denied(Reason),
    /// `rule` let the upstream in. `is_narrowed`: an allow list mentions it.
    Open {
        rule: RuleId,
        is_narrowed: bool,
        deny: [Box<[u32]>; 3],
        allow: [Box<[u32]>; 3],
    },
}

/// The agent whose rules others have that have none.
pub const DEFAULT_AGENT: &str = "default";

impl Policy {
    /// Compiles rules for upstreams of these names, in the order of the settings.
    pub fn compile<'u>(rules: &Rules, upstreams: impl IntoIterator<Item = &'u str>) -> Self {
        let mut policy = Self {
            agents: BTreeMap::new(),
            compiled: Vec::new(),
            fallback: None,
            deny_on_missing_agent: rules.deny_on_missing_agent,
            rules: Vec::new(),
            upstreams: upstreams.into_iter().map(Into::into).collect(),
        };
        for agent in &rules.agents {
            let number = count(policy.compiled.len());
            let compiled = policy.compile_agent(number, agent);
            policy.compiled.push(compiled);
            policy.agents.insert(agent.name.as_str().into(), number);
        }
        if !policy.deny_on_missing_agent {
            policy.fallback = policy.agents.get(DEFAULT_AGENT).copied();
        }
        policy
    }

    /// Whose rules hold for an agent of this name, or for who has none.
    pub fn agent(&self, name: Option<&str>) -> AgentId {
        let own = name.and_then(|name| self.agents.get(name).copied());
        AgentId(own.or(self.fallback))
    }

    /// Whether there are rules for it: its own, or those of `default`.
    pub const fn is_known(agent: AgentId) -> bool {
        agent.0.is_some()
    }

    /// Whether the agent may use anything of the upstream.
    pub fn decide_server(&self, agent: AgentId, upstream: usize) -> Decision {
        match self.grant(agent, upstream) {
            Ok((_, Grant::Open { rule, .. })) => allowed(*rule),
            Ok((_, Grant::Denied(reason))) => denied(*reason),
            Err(reason) => denied(reason),
        }
    }

    /// Whether the agent may use this thing, called as its upstream calls it.
    pub fn decide(&self, agent: AgentId, upstream: usize, kind: Kind, name: &str) -> Decision {
        let (number, grant) = match self.grant(agent, upstream) {
            Ok(found) => found,
            Err(reason) => return denied(reason),
        };
        let (rule, is_narrowed, deny, allow) = match grant {
            Grant::Denied(reason) => return denied(*reason),
            Grant::Open { rule, is_narrowed, deny, allow } => (*rule, *is_narrowed, deny, allow),
        };
        // One resource has many spellings. A rule denies all that mean it, and allows only what it names
        // in the client's spelling and in all others that a server may read.
        let spellings = match kind {
            Kind::Resource => uri::spellings(name),
            Kind::Tool | Kind::Prompt => uri::Spellings::default(),
        };
        let find = |list: &[u32], name: &str| {
            list.iter().find_map(|&table| self.table(number, table)?.find(name))
        };
        let list = &deny[kind as usize];
        let others = spellings.read.iter().chain(&spellings.loose);
        if let Some(rule) =
            find(list, name).or_else(|| others.into_iter().find_map(|it| find(list, it)))
        {
            return denied(Reason::Rule(rule));
        }
        if !is_narrowed {
            return allowed(rule);
        }
        let list = &allow[kind as usize];
        match find(list, name) {
            Some(rule) if spellings.read.iter().all(|it| find(list, it).is_some()) => allowed(rule),
            _ => denied(Reason::NotListed { agent: number, upstream: count(upstream), kind }),
        }
    }

    /// The reason in words: the rule as the configuration has it, or what it lacks.
    pub fn text(&self, reason: Reason) -> Cow<'_, str> {
        match reason {
            Reason::Rule(RuleId(rule)) => {
                self.rules.get(rule as usize).map_or(Cow::Borrowed(""), |text| (&**text).into())
            }
            Reason::NoAgent if self.deny_on_missing_agent => {
                "defaults.deny_on_missing_agent: there are no rules for this agent".into()
            }
            Reason::NoAgent => {
                "agents: there are no rules for this agent, and none for \"default\"".into()
            }
            Reason::ServerNotListed { agent } => {
                format!("agents.{}.allow.servers: does not name it", self.name(agent)).into()
            }
            Reason::NotListed { agent, upstream, kind } => format!(
                "agents.{}.allow.{}.{}: does not name it",
                self.name(agent),
                kind.key(),
                self.upstreams.get(upstream as usize).map_or("", |name| &**name)
            )
            .into(),
        }
    }

    fn grant(&self, agent: AgentId, upstream: usize) -> Result<(u32, &Grant), Reason> {
        let number = agent.0.ok_or(Reason::NoAgent)?;
        let compiled = self.compiled.get(number as usize).ok_or(Reason::NoAgent)?;
        let grant = compiled.grants.get(upstream);
        grant.map(|grant| (number, grant)).ok_or(Reason::ServerNotListed { agent: number })
    }

    fn table(&self, agent: u32, table: u32) -> Option<&Table> {
        self.compiled.get(agent as usize)?.tables.get(table as usize)
    }

    /// Whose rules hold: an agent's own name, or `default`.
    pub fn agent_name(&self, agent: AgentId) -> Option<&str> {
        agent.0.map(|agent| self.name(agent))
    }

    fn name(&self, agent: u32) -> &str {
        self.compiled.get(agent as usize).map_or("", |agent| &*agent.name)
    }

    fn rule(&mut self, text: String) -> RuleId {
        self.rules.push(text.into());
        RuleId(count(self.rules.len() - 1))
    }

    fn compile_agent(&mut self, number: u32, agent: &Agent) -> Compiled {
        let deny = self.compile_side(&agent.name, "deny", &agent.deny);
        let mut allow = self.compile_side(&agent.name, "allow", &agent.allow);
        let mut tables = deny.tables;
        let before = count(tables.len());
        tables.append(&mut allow.tables);
        let mut grants = Vec::with_capacity(self.upstreams.len());
        for upstream in &self.upstreams {
            let grant = if let Some(rule) = deny.servers.find(upstream) {
                Grant::Denied(Reason::Rule(rule))
            } else if let Some(rule) = allow.servers.find(upstream) {
                let applying = |lists: &[Vec<(Pattern, u32)>; 3], first: u32| {
                    [0, 1, 2].map(|kind: usize| -> Box<[u32]> {
                        lists[kind]
                            .iter()
                            .filter(|(server, _)| server.matches(upstream))
                            .map(|(_, table)| first + table)
                            .collect()
                    })
                };
                let allowing = applying(&allow.lists, before);
                Grant::Open {
                    rule,
                    is_narrowed: allowing.iter().any(|tables| !tables.is_empty()),
                    deny: applying(&deny.lists, 0),
                    allow: allowing,
                }
            } else {
                Grant::Denied(Reason::ServerNotListed { agent: number })
            };
            grants.push(grant);
        }
        Compiled { name: agent.name.as_str().into(), tables, grants }
    }

    fn compile_side(&mut self, agent: &str, side: &str, rules: &Side) -> CompiledSide {
        let mut compiled = CompiledSide::default();
        for pattern in &rules.servers {
            let rule = self.rule(format!("agents.{agent}.{side}.servers: {pattern}"));
            compiled.servers.insert(pattern, rule);
        }
        for kind in Kind::ALL {
            for (server, patterns) in rules.lists(kind) {
                let mut table = Table::default();
                for pattern in patterns {
                    let key = kind.key();
                    let rule =
                        self.rule(format!("agents.{agent}.{side}.{key}.{server}: {pattern}"));
                    table.insert(pattern, rule);
                }
                compiled.lists[kind as usize].push((server.clone(), count(compiled.tables.len())));
                compiled.tables.push(table);
            }
        }
        compiled
    }
}

#[derive(Default)]
struct CompiledSide {
    servers: Table,
    tables: Vec<Table>,
    /// By kind: for which servers which table.
    lists: [Vec<(Pattern, u32)>; 3],
}

/// Rules, agents and upstreams are counted in 32 bits; no configuration has more.
fn count(of: usize) -> u32 {
    u32::try_from(of).expect("a configuration has fewer than 2^32 rules")
}

#[cfg(test)]
mod tests;
