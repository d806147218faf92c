//! Rules as the operator wrote them: plain data, in the order of the file. Where they come from is the
//! edge's business; what follows from them is [`super::Policy`]'s.

use super::{Kind, Pattern};

/// All rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Agents without rules are denied everything, and have not those of `default`.
    pub deny_on_missing_agent: bool,
    /// Names are unique.
    pub agents: Vec<Agent>,
}

/// What one agent may and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub name: String,
    pub allow: Side,
    pub deny: Side,
}

/// For servers that match the first pattern, things that match one of the others.
pub type Lists = Vec<(Pattern, Vec<Pattern>)>;

/// What is allowed, or denied.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Side {
    pub servers: Vec<Pattern>,
    pub tools: Lists,
    pub prompts: Lists,
    pub resources: Lists,
}

impl Side {
    pub const fn lists(&self, kind: Kind) -> &Lists {
        match kind {
            Kind::Tool => &self.tools,
            Kind::Prompt => &self.prompts,
            Kind::Resource => &self.resources,
        }
    }

    pub const fn lists_mut(&mut self, kind: Kind) -> &mut Lists {
        match kind {
            Kind::Tool => &mut self.tools,
            Kind::Prompt => &mut self.prompts,
            Kind::Resource => &mut self.resources,
        }
    }
}
