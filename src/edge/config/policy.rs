//! The `[policy]` section: rules for each agent, here or in a file of their own (JSON as other gateways
//! have it, TOML or YAML). What rules mean is `gateway::policy`'s business.

use super::fault::{Findings, nearest};
use super::read::{Field, Reader};
use super::side_file;
use super::tree::Value;
use crate::gateway::policy::{Agent, Kind, Lists, Pattern, Rules, Side};
use crate::gateway::settings::Upstream;

/// `None` where there is no policy: everybody may everything.
pub(super) fn read(
    mut reader: Reader<'_>,
    upstreams: &[Upstream],
    findings: &Findings,
) -> Option<Rules> {
    let file = reader.field("file");
    let agents = reader.field("agents");
    let defaults = reader.field("defaults");
    reader.finish();
    let Some(file) = file else {
        if agents.is_none() && defaults.is_none() {
            return None;
        }
        return Some(rules(agents, defaults, upstreams));
    };
    if let Some(field) = agents.as_ref().or(defaults.as_ref()) {
        field.fault("there are rules here and in policy.file", "keep them in one of the two");
    }
    let path = file.path()?;
    let node = side_file::read(&path, &file, findings)?;
    let mut reader = Reader::new(&node, "", findings);
    let agents = reader.field("agents");
    let defaults = reader.field("defaults");
    reader.finish();
    if agents.is_none() {
        let what = format!("{} has no agents", path.display());
        file.fault(what, "write {\"agents\": {\"NAME\": {\"allow\": {\"servers\": [\"*\"]}}}}");
    }
    Some(rules(agents, defaults, upstreams))
}

fn rules(agents: Option<Field<'_>>, defaults: Option<Field<'_>>, upstreams: &[Upstream]) -> Rules {
    // Closed unless somebody opens it.
    let mut deny_on_missing_agent = true;
    if let Some(defaults) = defaults {
        let mut reader = defaults.table();
        if let Some(field) = reader.field("deny_on_missing_agent") {
            deny_on_missing_agent = field.boolean().unwrap_or(true);
        }
        reader.finish();
    }
    let agents = agents
        .into_iter()
        .flat_map(|agents| agents.table().each().collect::<Vec<_>>())
        .map(|(name, field)| agent(name, &field, upstreams))
        .collect();
    Rules { deny_on_missing_agent, agents }
}

fn agent(name: &str, field: &Field<'_>, upstreams: &[Upstream]) -> Agent {
    if name.is_empty() {
        field.fault("an agent needs a name", "\"default\" is the one for all without rules");
    }
    let mut reader = field.table();
    let allow = reader.field("allow");
    let deny = reader.field("deny");
    reader.finish();
    let allow = allow.map(|allow| side(&allow, upstreams, true)).unwrap_or_default();
    let deny = deny.map(|deny| side(&deny, upstreams, false)).unwrap_or_default();
    Agent { name: name.to_owned(), allow, deny }
}

fn side(field: &Field<'_>, upstreams: &[Upstream], allows: bool) -> Side {
    let mut side = Side::default();
    let mut reader = field.table();
    if let Some(servers) = reader.field("servers") {
        side.servers = patterns(&servers, true);
        for server in &side.servers {
            known(server, &servers, upstreams);
        }
    }
    for kind in Kind::ALL {
        if let Some(field) = reader.field(kind.key()) {
            *side.lists_mut(kind) = lists(&field, kind, upstreams, allows.then_some(&side.servers));
        }
    }
    reader.finish();
    side
}

/// `allowed`: the servers that lists can open anything of.
pub(super) fn lists(
    field: &Field<'_>,
    kind: Kind,
    upstreams: &[Upstream],
    allowed: Option<&Vec<Pattern>>,
) -> Lists {
    let mut lists = Lists::new();
    if matches!(field.value(), Value::List(_)) {
        field.fault(
            format!("expected a table from servers to lists, found a list of {}", kind.key()),
            "write { SERVER = [\"…\"] }; for all servers { \"*\" = [\"…\"] }",
        );
        return lists;
    }
    for (server, field) in field.table().each() {
        match Pattern::parse(server) {
            Ok(pattern) => {
                known(&pattern, &field, upstreams);
                if let (Some(servers), Some(name)) = (allowed, pattern.exact())
                    && !servers.iter().any(|server| server.matches(name))
                {
                    field.warn(
                        format!("opens nothing: allow.servers does not name {name}"),
                        format!("add \"{name}\" to allow.servers"),
                    );
                }
                lists.push((pattern, patterns(&field, kind != Kind::Resource)));
            }
            Err(what) => field.fault(what, "write a server's name, or one with a * in it"),
        }
    }
    lists
}

/// `are_names`: what cannot stand in a name is a mistake, most likely a wildcard of another language.
fn patterns(field: &Field<'_>, are_names: bool) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for text in field.texts().unwrap_or_default() {
        let foreign = text.chars().find(|char| matches!(char, '?' | '[' | ']' | '{' | '}'));
        let wrong = match (Pattern::parse(&text), foreign) {
            (Ok(_), Some(char)) if are_names => format!("{char:?} stands in no name"),
            (Ok(pattern), _) => {
                patterns.push(pattern);
                continue;
            }
            (Err(what), _) => what.to_owned(),
        };
        field.fault(
            format!("the pattern {text:?}: {wrong}"),
            "the only wildcard is one *, as in \"get_*\", \"*_user\", \"get_*_user\" or \"*\"",
        );
    }
    patterns
}

/// A server that there is not may come back, so its rules are kept; but it may as well be misspelled.
fn known(server: &Pattern, field: &Field<'_>, upstreams: &[Upstream]) {
    let Some(name) = server.exact() else { return };
    if upstreams.iter().any(|upstream| upstream.name == name) {
        return;
    }
    let names = upstreams.iter().map(|upstream| upstream.name.as_str());
    let remedy = nearest(name, names).map_or_else(
        || "these rules are without effect".to_owned(),
        |known| format!("did you mean {known:?}?"),
    );
    field.warn(format!("there is no upstream {name:?}"), remedy);
}
