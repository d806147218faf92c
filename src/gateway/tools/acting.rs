//! By whose rules a gateway tool is carried out: those of the agent that its connection has proved to act for, or,
//! where the operator trusts the clients of an open listener (`gateway.trust_agent_id`), of the one that the argument
//! `agent_id` names. Such a client is bound to nothing by that: the next call may name another.

use super::shown;
use crate::gateway::Gateway;
use crate::gateway::door::Effects;
use crate::gateway::inbound::Asked;
use crate::gateway::policy::AgentId;
use crate::mcp::Code;
use crate::wire::{Json, text};

/// An agent that a client was believed to be, for one call.
#[derive(Clone, Debug)]
pub struct Acting {
    pub(in crate::gateway) agent: AgentId,
    /// As the client named it, cut where it is long.
    pub(in crate::gateway) name: Box<str>,
}

impl Gateway {
    /// The client may name the agent that it is, and no other: who it is, its link has proved. Where it has proved
    /// nothing, and the operator said so, it is believed. True if it was refused.
    pub(super) fn is_another_agent(
        &mut self,
        asked: &Asked<'_>,
        agent_id: Option<Json<'_>>,
        out: &mut Effects,
    ) -> bool {
        let Some(named) = agent_id else { return false };
        let named = named.as_str().unwrap_or_default();
        let Some(who) = self.clients.get(asked.client).map(|client| client.who) else {
            return true;
        };
        let own = self.settings.principals.agent(who.principal);
        let ruling = self.settings.policy.as_deref().and_then(|it| it.agent_name(who.agent));
        // Where there are neither agents nor rules the name says nothing, and clients that always send one are served.
        let is_moot = own.is_none() && self.settings.policy.is_none();
        if is_moot || own == Some(&*named) || (own.is_none() && ruling == Some(&*named)) {
            return false;
        }
        if own.is_none()
            && self.settings.trusts_agent_id
            && let Some(policy) = self.settings.policy.as_deref()
        {
            let agent = policy.agent(Some(&named));
            self.acting = Some(Box::new(Acting { agent, name: shown(&named).into() }));
            return false;
        }
        let message = match own {
            Some(own) => format!(
                "agent_id must be {own}, whom this connection acts for, or be left out; it is {}",
                shown(&named)
            ),
            None => format!(
                "agent_id is {}, and this connection has not proved to act for anybody: show a key, or leave it out",
                shown(&named)
            ),
        };
        let data = format!(
            "{{\"code\":\"INVALID_AGENT_ID\",\"agent\":{},\"agent_id\":{}}}",
            own.map_or_else(|| "null".to_owned(), text::quoted),
            text::quoted(shown(&named)),
        );
        let code = Code::InvalidAgent.number_in(asked.version.era());
        self.refuse(asked, code, &message, Some(&data), out);
        true
    }
}
