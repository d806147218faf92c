//! Where clients are held to the policy: what they ask for, what they are shown, what they hear. The rules
//! are `policy`'s. Without one nothing here costs more than the question whether there is one.

use super::Gateway;
use super::client::{Client, ClientKey};
use super::door::Effects;
use super::guard::Finding;
use super::inbound::Asked;
use super::policy::{AgentId, Decision, Kind, Policy, Reason};
use super::tally::End;
use crate::base::Now;
use crate::mcp::{Code, Method};
use crate::wire::{Json, Splice, text};

impl Gateway {
    /// Refuses a request for what its client may not use; `own` is what the upstream calls it. True if so.
    #[inline]
    pub(super) fn is_denied(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        own: &str,
        out: &mut Effects,
    ) -> bool {
        let is_judged =
            self.settings.policy.is_some() || self.settings.audits || self.settings.guard.is_some();
        is_judged && self.judge_and_tell(now, asked, upstream, own, out)
    }

    #[inline(never)]
    fn judge_and_tell(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        own: &str,
        out: &mut Effects,
    ) -> bool {
        if let Some(key) = twin(asked) {
            let message = format!(
                "the key {key} differs only in its case from one that was judged; some servers would go by it"
            );
            self.refuse(asked, Code::InvalidParams.number(), &message, None, out);
            return true;
        }
        let kind = kind_of(asked);
        // Each of its spellings takes as long to judge.
        if kind == Some(Kind::Resource)
            && let Some(why) = self.too_long(own)
        {
            self.refuse(asked, Code::InvalidParams.number(), &why, None, out);
            return true;
        }
        let decision = self.judge_use(asked.client, upstream, kind, own);
        let is_allowed = decision.is_none_or(|decision| decision.is_allowed);
        let found = if kind == Some(Kind::Tool) && is_allowed {
            self.inspect(asked, upstream, own)
        } else {
            None
        };
        let refused = found.as_deref().filter(|found| found.is_denied).cloned();
        if self.settings.audits {
            self.begin_audit(now, asked, upstream, (kind, own), (decision, found), out);
        }
        match (decision, refused) {
            (Some(Decision { is_allowed: false, reason }), _) => {
                self.deny(asked, upstream, Some(own), reason, out);
                true
            }
            (_, Some(found)) => {
                self.refuse_found(asked, upstream, own, &found, out);
                true
            }
            _ => false,
        }
    }

    /// A request for something of this upstream's was refused: it is counted, and its span says so.
    #[cold]
    pub(super) fn note_denied(&mut self, asked: &Asked<'_>, upstream: usize) {
        self.tally.refused(upstream, asked.method, End::Denied);
        self.mark_span(End::Denied);
    }

    /// What the guard finds in the arguments of a call.
    fn inspect(&self, asked: &Asked<'_>, upstream: usize, own: &str) -> Option<Box<Finding>> {
        let guard = self.settings.guard.as_deref()?;
        let server = &self.settings.upstreams.get(upstream)?.name;
        guard.inspect(server, own, asked.parsed.arguments?).map(Box::new)
    }

    #[cold]
    fn refuse_found(
        &mut self,
        asked: &Asked<'_>,
        upstream: usize,
        own: &str,
        found: &Finding,
        out: &mut Effects,
    ) {
        let agent = self.agent_shown(asked.client);
        let server = self.settings.upstreams.get(upstream).map_or("", |upstream| &*upstream.name);
        let Finding { pattern, path, .. } = found;
        let message = format!(
            "the tool {own} of {server} is not called with what its arguments hold at \"{path}\": it looks like {pattern}"
        );
        let data = format!(
            "{{\"code\":\"DENIED_BY_POLICY\",\"agent\":{},\"server\":{},\"tool\":{},\"rule\":{},\"pattern\":{},\"argument\":{}}}",
            agent.map_or_else(|| "null".to_owned(), text::quoted),
            text::quoted(server),
            text::quoted(own),
            text::quoted(&format!("guard: {pattern}")),
            text::quoted(pattern),
            text::quoted(path),
        );
        let code = Code::DeniedByPolicy.number_in(asked.version.era());
        self.refuse(asked, code, &message, Some(&data), out);
    }

    /// Refuses a request about an upstream of which its client may use nothing. True if so.
    pub(super) fn is_server_denied(
        &mut self,
        asked: &Asked<'_>,
        upstream: usize,
        out: &mut Effects,
    ) -> bool {
        match self.judge_use(asked.client, upstream, None, "") {
            Some(Decision { is_allowed: false, reason }) => {
                self.deny(asked, upstream, None, reason, out);
                true
            }
            _ => false,
        }
    }

    /// Whether a client may use the thing; without a kind, whether anything of the upstream. `None` where there
    /// is no policy.
    fn judge_use(
        &mut self,
        client: ClientKey,
        upstream: usize,
        kind: Option<Kind>,
        own: &str,
    ) -> Option<Decision> {
        let policy = self.settings.policy.as_deref()?;
        let agent = self.agent_of(self.clients.get(client));
        Some(match kind {
            Some(kind) => self.decisions.decide(policy, agent, upstream, kind, own),
            None => policy.decide_server(agent, upstream),
        })
    }

    fn may_use(&mut self, client: ClientKey, upstream: usize, kind: Kind, own: &str) -> bool {
        self.judge_use(client, upstream, Some(kind), own).is_none_or(|it| it.is_allowed)
    }

    /// Whether a client may know of an upstream: what it may use nothing of is not there for it.
    #[inline]
    pub(super) fn sees(&self, client: ClientKey, upstream: usize) -> bool {
        self.settings.policy.is_none() || self.may_see(self.clients.get(client), upstream)
    }

    /// As [`Gateway::sees`].
    pub(super) fn may_see(&self, client: Option<&Client>, upstream: usize) -> bool {
        match (&self.settings.policy, &self.acting) {
            (Some(policy), Some(acting)) => policy.decide_server(acting.agent, upstream).is_allowed,
            (policy, _) => sees(policy.as_deref(), client, upstream),
        }
    }

    /// By whose rules a client's request goes.
    pub(super) fn agent_of(&self, client: Option<&Client>) -> AgentId {
        self.acting.as_ref().map_or_else(|| agent_of(client), |acting| acting.agent)
    }

    /// The agent as its client knows it: by which it proved to act, or which it was believed to be.
    fn agent_shown(&self, client: ClientKey) -> Option<&str> {
        let who = self.clients.get(client).map(|client| client.who.principal);
        let acting = self.acting.as_deref().map(|acting| &*acting.name);
        acting.or_else(|| self.settings.principals.agent(who.unwrap_or_default()))
    }

    /// Whether a client may read a resource, and so be told of it.
    pub(super) fn may_read(&mut self, client: ClientKey, upstream: usize, own: &str) -> bool {
        self.may_use(client, upstream, Kind::Resource, own)
    }

    /// What a client may see of a list, as its upstream gave it; `None` if that is all.
    pub(super) fn permitted(
        &mut self,
        client: ClientKey,
        upstream: usize,
        method: Method,
        result: Json<'_>,
    ) -> Option<String> {
        let member = method.list_member().filter(|_| self.settings.policy.is_some())?;
        let list = result.get(member)?;
        let mut kept = String::from("[");
        let mut is_less = false;
        for entry in list.elements() {
            if self.may_list(client, upstream, method, entry) {
                if kept.len() > 1 {
                    kept.push(',');
                }
                kept.push_str(entry.text());
            } else {
                is_less = true;
            }
        }
        kept.push(']');
        // What is one agent's list must not be kept for another (2026-07-28 "Caching").
        let scope = result.get("cacheScope").filter(|scope| scope.text() != "\"private\"");
        if !is_less && scope.is_none() {
            return None;
        }
        let mut splice = Splice::of(result.text());
        if is_less {
            splice.replace(list.text(), kept);
        }
        if let Some(scope) = scope {
            splice.replace(scope.text(), "\"private\"".to_owned());
        }
        let mut bytes = Vec::new();
        splice.write(&mut bytes);
        String::from_utf8(bytes).ok()
    }

    /// Whether an entry of an upstream's list is shown to a client. One without a name is shown to nobody.
    pub(super) fn may_list(
        &mut self,
        client: ClientKey,
        upstream: usize,
        method: Method,
        entry: Json<'_>,
    ) -> bool {
        if self.settings.policy.is_none() {
            return true;
        }
        let (kind, key) = named_by(method);
        // Which of two names counts, the client decides: both must be allowed.
        let names: Vec<_> = entry.members().filter(|member| member.is(key)).collect();
        !names.is_empty()
            && names.iter().all(|name| {
                name.value.as_str().is_some_and(|name| self.may_use(client, upstream, kind, &name))
            })
    }

    /// The same, of an entry whose name is known; one without is shown to nobody.
    pub(super) fn may_list_named(
        &mut self,
        client: ClientKey,
        upstream: usize,
        method: Method,
        name: Option<&str>,
    ) -> bool {
        name.is_some_and(|name| self.may_use(client, upstream, named_by(method).0, name))
    }

    #[cold]
    pub(super) fn deny(
        &mut self,
        asked: &Asked<'_>,
        upstream: usize,
        own: Option<&str>,
        reason: Reason,
        out: &mut Effects,
    ) {
        let Some(policy) = self.settings.policy.clone() else { return };
        let agent = self.agent_shown(asked.client);
        let named = agent.map_or("null".to_owned(), text::quoted);
        let rule = text::quoted(&policy.text(reason));
        if !Policy::is_known(self.agent_of(self.clients.get(asked.client))) {
            let message = match agent {
                Some(agent) => format!("agent {agent} may use nothing here: it has no rules"),
                None if self.settings.trusts_agent_id => {
                    "this gateway serves agents that it knows: say in agent_id which you are"
                        .to_owned()
                }
                None => "this gateway serves agents that it knows: show a key of one".to_owned(),
            };
            let data =
                format!("{{\"code\":\"INVALID_AGENT_ID\",\"agent\":{named},\"rule\":{rule}}}");
            let code = Code::InvalidAgent.number_in(asked.version.era());
            return self.refuse(asked, code, &message, Some(&data), out);
        }
        let server = self.settings.upstreams.get(upstream).map_or("", |upstream| &*upstream.name);
        let noun = kind_of(asked).map_or("task", Kind::noun);
        let (thing, member) = match own {
            Some(own) => (
                format!("the {noun} {own} of {server}"),
                format!("\"{noun}\":{},", text::quoted(own)),
            ),
            None => (format!("the server {server}"), String::new()),
        };
        let message =
            format!("agent {} may not use {thing}", agent.unwrap_or(super::policy::DEFAULT_AGENT));
        let data = format!(
            "{{\"code\":\"DENIED_BY_POLICY\",\"agent\":{named},\"server\":{},{member}\"rule\":{rule}}}",
            text::quoted(server),
        );
        let code = Code::DeniedByPolicy.number_in(asked.version.era());
        self.refuse(asked, code, &message, Some(&data), out);
    }
}

/// What the entries of a list are, and the member that names them.
pub(super) const fn named_by(method: Method) -> (Kind, &'static str) {
    match method {
        Method::PromptsList => (Kind::Prompt, "name"),
        Method::ResourcesList => (Kind::Resource, "uri"),
        Method::TemplatesList => (Kind::Resource, "uriTemplate"),
        _ => (Kind::Tool, "name"),
    }
}

/// Whether a client may know of an upstream, for who holds only pieces of the gateway.
pub(super) fn sees(policy: Option<&Policy>, client: Option<&Client>, upstream: usize) -> bool {
    policy.is_none_or(|policy| policy.decide_server(agent_of(client), upstream).is_allowed)
}

fn agent_of(client: Option<&Client>) -> AgentId {
    client.map(|client| client.who.agent).unwrap_or_default()
}

/// A key that differs only in its case from the one that the request is judged by. Some readers of JSON (Go's own)
/// take the two for the same, and the last for what counts.
fn twin(asked: &Asked<'_>) -> Option<String> {
    // Such a key is none that we know.
    if !asked.parsed.has_others && asked.method != Method::Complete {
        return None;
    }
    let find = |json: Json<'_>, keys: &[&str]| {
        json.members().find_map(|member| {
            let name = member.name();
            let is_twin = |key: &&str| name != *key && name.eq_ignore_ascii_case(key);
            keys.iter().any(is_twin).then(|| text::quoted(&name))
        })
    };
    match asked.method {
        Method::Complete => find(asked.params, &["ref"])
            .or_else(|| find(asked.parsed.reference?, &["type", "name", "uri"])),
        _ => find(asked.params, &["name", "uri"]),
    }
}

/// What a request is about; nothing in particular is a task's.
fn kind_of(asked: &Asked<'_>) -> Option<Kind> {
    match asked.method {
        Method::ToolsCall => Some(Kind::Tool),
        Method::PromptsGet => Some(Kind::Prompt),
        Method::ResourcesRead | Method::Subscribe | Method::Unsubscribe => Some(Kind::Resource),
        Method::Complete => {
            let names =
                asked.parsed.reference.is_some_and(|reference| reference.get("name").is_some());
            Some(if names { Kind::Prompt } else { Kind::Resource })
        }
        _ => None,
    }
}
