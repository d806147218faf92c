//! The `[auth]` section: whose keys and tokens open the HTTP listener. Keys are kept as their digests; as themselves
//! they may only stand in the environment. And who acts where none are asked for: the listeners' `agent`.

use super::fault::{Findings, Place, nearest};
use super::jwt::{self, Jwt};
use super::read::{Field, Reader};
use super::side_file;
use super::toml::parse_value;
use super::tree::{Node, Value};
use crate::gateway::keys::{Digest, is_key};
use crate::gateway::policy::Rules;
use crate::shard::tls::ClientAuth;

/// Each key's agent and digest, in the order of the files.
pub(super) type AgentKeys = Vec<(String, Digest)>;

/// Agents of listeners.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListenerAgents {
    pub tcp: Option<String>,
    pub unix: Option<String>,
    pub stdio: Option<String>,
    pub http: Option<String>,
}

/// Who may ask: without any of these, everybody.
#[derive(Debug)]
pub(super) struct Auth {
    pub(super) keys: Option<AgentKeys>,
    pub(super) jwt: Option<Jwt>,
    /// Agents, and the names in certificates that they have.
    pub(super) certificates: Option<Vec<(String, String)>>,
}

pub(super) fn read(
    mut reader: Reader<'_>,
    rules: Option<&Rules>,
    (client_auth, speaks_tls): (ClientAuth, bool),
    findings: &Findings,
) -> Auth {
    let keys = reader.field("keys");
    let jwt = reader.field("jwt");
    let certificates = reader.field("certificates");
    reader.finish();
    let jwt = jwt.and_then(|field| jwt::read(&field, rules));
    if let Some(field) = certificates.as_ref().filter(|_| client_auth == ClientAuth::Off) {
        field.fault(
            "clients are not asked for certificates",
            "set tls.client_auth = \"optional\" or \"required\", and tls.client_ca",
        );
    }
    if let Some(field) = certificates.as_ref().filter(|_| !speaks_tls) {
        field.fault(
            "no listener speaks TLS, so nobody can show a certificate",
            "set http.tls = true or tcp.tls = true",
        );
    }
    let certificates = certificates.map(|field| agent_certificates(&field, rules));
    Auth { keys: keys.and_then(|field| agent_keys(&field, rules, findings)), jwt, certificates }
}

/// The kinds of names that certificates have.
const NAMES: [&str; 4] = ["uri:", "dns:", "email:", "cn:"];

fn agent_certificates(field: &Field<'_>, rules: Option<&Rules>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (agent, field) in field.table().each() {
        known(agent, &field, rules);
        for text in texts(&field) {
            let Some(kind) = NAMES.iter().find(|&&kind| text.starts_with(kind)) else {
                let what = format!("{text:?} does not say which kind of name it is");
                let remedy = "write \"uri:…\", \"dns:…\", \"email:…\" or \"cn:…\", as the certificate has it";
                field.fault(what, remedy);
                continue;
            };
            let name = if matches!(*kind, "dns:" | "email:") { text.to_lowercase() } else { text };
            match all.iter().find(|(_, known)| *known == name) {
                Some((other, _)) => {
                    field.fault(format!("{name} is also {other}"), "a name has one agent");
                }
                None => all.push((agent.to_owned(), name)),
            }
        }
    }
    all
}

pub(super) fn agent_keys(
    field: &Field<'_>,
    rules: Option<&Rules>,
    findings: &Findings,
) -> Option<AgentKeys> {
    let node = match field.value() {
        Value::Table(_) => None,
        Value::Loose(text) if text.trim_start().starts_with('{') => {
            let value = parse_value(text, &field.place);
            if value.is_none() {
                field.fault("expected a table such as { NAME = \"sha256:…\" }", "");
            }
            Some(Node { place: field.place.clone(), value: value? })
        }
        _ => Some(side_file::read(&field.path()?, field, findings)?),
    };
    let table = match &node {
        Some(node) => Reader::new(node, &field.path, findings),
        None => field.table(),
    };
    let mut keys = AgentKeys::new();
    for (agent, field) in table.each() {
        known(agent, &field, rules);
        for text in texts(&field) {
            if let Some(digest) = digest(&text, &field) {
                if let Some((other, _)) = keys.iter().find(|(_, known)| *known == digest) {
                    field.fault(format!("this is also a key of {other}"), "a key has one agent");
                }
                keys.push((agent.to_owned(), digest));
            }
        }
    }
    if keys.is_empty() {
        field.warn("there are no keys, so every request over HTTP is refused", "");
    }
    Some(keys)
}

/// One key, or several.
fn texts(field: &Field<'_>) -> Vec<String> {
    match field.as_text() {
        Some(text) => vec![text.to_owned()],
        None => field.texts().unwrap_or_default(),
    }
}

/// What was found is a secret, or nearly one, and is not shown.
fn digest(text: &str, field: &Field<'_>) -> Option<Digest> {
    if let Some(digest) = Digest::parse(text) {
        return Some(digest);
    }
    if !is_key(text) {
        let what = "expected the digest of a key, sha256: and 64 hexadecimal digits";
        field.fault(what, "make a key and its digest with: ringgate keys new NAME");
        return None;
    }
    if !matches!(field.place, Place::Variable { .. }) {
        let what = "a key itself does not belong in a file: whoever reads the file has it";
        field.fault(what, "write its digest: ringgate keys hash");
    }
    Some(Digest::of(text.as_bytes()))
}

/// A listener's `agent`.
pub(super) fn agent(reader: &mut Reader<'_>) -> Option<String> {
    reader.field("agent").and_then(|field| field.text("an agent's name").map(str::to_owned))
}

/// An agent without rules may as well be misspelled.
pub(super) fn known(agent: &str, field: &Field<'_>, rules: Option<&Rules>) {
    if agent.is_empty() {
        field.fault("an agent needs a name", "");
    }
    let Some(rules) = rules else { return };
    let mut names = rules.agents.iter().map(|agent| agent.name.as_str());
    if names.any(|name| name == agent) {
        return;
    }
    let remedy = match nearest(agent, rules.agents.iter().map(|agent| agent.name.as_str())) {
        Some(known) => format!("did you mean {known:?}?"),
        None if rules.deny_on_missing_agent => "everything is denied to it".to_owned(),
        None => "it has those of \"default\"".to_owned(),
    };
    field.warn(format!("there are no rules for {agent:?}"), remedy);
}
