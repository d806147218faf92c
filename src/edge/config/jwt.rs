//! The `[auth.jwt]` section: whose access tokens open the HTTP listener, what they must say, and where the keys
//! are that they are signed by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::auth;
use super::read::{Field, Reader};
use crate::gateway::policy::Rules as Policy;
use crate::gateway::principal::Principals;
use crate::gateway::token::{Algorithm, Rules};

/// The `[auth.jwt]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    pub issuer: String,
    pub audiences: Vec<String>,
    pub algorithms: Vec<Algorithm>,
    pub leeway: Duration,
    pub scopes: Vec<String>,
    pub principal_claim: String,
    pub agent_claims: Vec<String>,
    /// From what an agent claim says to the agent; `None`: it says the agent's own name.
    agents: Option<BTreeMap<String, String>>,
    pub resource: String,
    pub keys: KeySource,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    pub place: KeyPlace,
    /// They are fetched anew so often.
    pub refresh: Duration,
    /// And no sooner than this, however many tokens name keys that are not known.
    pub refetch_min: Duration,
    /// Whom to believe who the server is, beside whom the system does.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    Url(String),
    File(PathBuf),
}

/// `None` after why not was told.
pub(super) fn read(field: &Field<'_>, policy: Option<&Policy>) -> Option<Jwt> {
    let mut reader = field.table();
    let issuer = required(
        &mut reader,
        field,
        "issuer",
        "the issuer of the tokens, as their claim iss has it",
    );
    let audience = reader.field("audience");
    if audience.is_none() {
        field.fault(
            "says nowhere for whom the tokens must be",
            "write audience = \"…\": without it a token for any other service would do here",
        );
    }
    let audiences = audience.as_ref().and_then(one_or_more).unwrap_or_default();
    let algorithms = algorithms(&mut reader);
    let leeway = duration(&mut reader, "leeway", Duration::ZERO, Duration::from_mins(5));
    let scopes = reader.field("scopes").and_then(|field| scopes(&field)).unwrap_or_default();
    let claim = reader.field("principal_claim");
    let principal_claim = claim.and_then(|field| field.text("a claim such as \"sub\""));
    let agent_claims = reader.field("agent_claim").and_then(|field| one_or_more(&field));
    let agents = reader.field("agents").and_then(|field| {
        let agents = field.text_table()?;
        for agent in agents.values() {
            auth::known(agent, &field, policy);
        }
        Some(agents)
    });
    let resource = reader.field("resource");
    let keys = key_source(&mut reader, field);
    let resource = resource_of(resource.as_ref(), field, &audiences);
    reader.finish();
    Some(Jwt {
        issuer: issuer?,
        audiences,
        algorithms: algorithms?,
        leeway: leeway.unwrap_or(Duration::from_secs(30)),
        scopes,
        principal_claim: principal_claim.unwrap_or("sub").to_owned(),
        agent_claims: agent_claims.unwrap_or_else(|| vec!["client_id".into(), "azp".into()]),
        agents,
        resource: resource?,
        keys: keys?,
    })
}

impl Jwt {
    /// Whose rules hold for what an agent claim says. Where nothing is said about that, an agent that has rules
    /// goes by its own name.
    pub(super) fn agents(&self, policy: Option<&Policy>) -> BTreeMap<String, String> {
        match &self.agents {
            Some(agents) => agents.clone(),
            None => policy
                .into_iter()
                .flat_map(|rules| &rules.agents)
                .map(|agent| (agent.name.clone(), agent.name.clone()))
                .collect(),
        }
    }

    /// What the shards are told. The principals must be those of the configuration.
    pub(super) fn rules(&self, policy: Option<&Policy>, principals: &mut Principals) -> Rules {
        let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let agents = self.agents(policy);
        let agents = agents.iter().map(|(said, agent)| (said.as_str(), agent));
        Rules {
            issuer: self.issuer.as_str().into(),
            audiences: boxed(&self.audiences),
            algorithms: self.algorithms.clone(),
            leeway_secs: self.leeway.as_secs(),
            scopes: boxed(&self.scopes),
            principal_claim: self.principal_claim.as_str().into(),
            agent_claims: boxed(&self.agent_claims),
            agents: agents
                .map(|(said, agent)| (said.into(), principals.acting_as(agent)))
                .collect(),
            resource: self.resource.as_str().into(),
        }
    }
}

fn required(
    reader: &mut Reader<'_>,
    section: &Field<'_>,
    key: &'static str,
    what: &str,
) -> Option<String> {
    if let Some(field) = reader.field(key) {
        return field.text(what).map(str::to_owned);
    }
    section.fault(format!("{key} is missing"), format!("it is {what}"));
    None
}

/// A text, or a list of some.
pub(super) fn one_or_more(field: &Field<'_>) -> Option<Vec<String>> {
    let texts = match field.as_text() {
        Some(text) if !text.trim_start().starts_with('[') => vec![text.to_owned()],
        _ => field.texts()?,
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        field.fault("expected a text, or a list of some", "");
        return None;
    }
    Some(texts)
}

/// All that are known, unless some are named.
fn algorithms(reader: &mut Reader<'_>) -> Option<Vec<Algorithm>> {
    let Some(field) = reader.field("algorithms") else {
        return Some(Algorithm::ALL.map(|(_, algorithm)| algorithm).to_vec());
    };
    let mut algorithms = Vec::new();
    for name in one_or_more(&field)? {
        let Some(algorithm) = Algorithm::parse(&name) else {
            let known = Algorithm::ALL.map(|(name, _)| name).join(", ");
            let what = format!("{name:?} is no algorithm that proves an issuer with a public key");
            field.fault(what, format!("known here: {known}"));
            return None;
        };
        algorithms.push(algorithm);
    }
    Some(algorithms)
}

/// A scope has no space, quote or backslash (RFC 6749 section 3.3): it is written into a header.
fn scopes(field: &Field<'_>) -> Option<Vec<String>> {
    let scopes = one_or_more(field)?;
    let is_good =
        |scope: &String| scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
    if let Some(wrong) = scopes.iter().find(|scope| !is_good(scope)) {
        field.fault(format!("{wrong:?} is no scope"), "write each as a text of its own");
        return None;
    }
    Some(scopes)
}

fn duration(
    reader: &mut Reader<'_>,
    key: &'static str,
    min: Duration,
    max: Duration,
) -> Option<Duration> {
    reader.field(key).and_then(|field| field.duration(min..=max))
}

fn key_source(reader: &mut Reader<'_>, section: &Field<'_>) -> Option<KeySource> {
    let url = reader.field("jwks_url");
    let file = reader.field("jwks_file");
    let refresh = duration(reader, "refresh", Duration::from_secs(1), Duration::from_hours(24));
    let refetch_min =
        duration(reader, "refetch_min", Duration::from_secs(1), Duration::from_hours(1));
    let ca_file = reader.field("ca_file").and_then(|field| field.path());
    let place = match (url, file) {
        (Some(url), None) => {
            let text = url.text("a URL such as \"https://as.example.com/jwks\"")?;
            if !is_trusted(text) {
                let what = "the keys must come over HTTPS: whoever could change them on their way could sign tokens";
                url.fault(what, "write https://…; http:// only for this machine");
                return None;
            }
            KeyPlace::Url(text.to_owned())
        }
        (None, Some(file)) => KeyPlace::File(file.path()?),
        (Some(_), Some(file)) => {
            file.fault("jwks_url and jwks_file exclude each other", "keep one of them");
            return None;
        }
        (None, None) => {
            section
                .fault("says nowhere where the issuer's keys are", "write jwks_url or jwks_file");
            return None;
        }
    };
    Some(KeySource {
        place,
        refresh: refresh.unwrap_or(Duration::from_mins(10)),
        refetch_min: refetch_min.unwrap_or(Duration::from_secs(30)),
        ca_file,
    })
}

/// Whether a URL is read over HTTPS, or from this machine.
pub(super) fn is_trusted(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before an @ is no host.
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// As it is written, or the first audience that is a URL.
fn resource_of(
    field: Option<&Field<'_>>,
    section: &Field<'_>,
    audiences: &[String],
) -> Option<String> {
    let is_url = |text: &str| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'?' | b'\\'))
    };
    let remedy = "write resource = \"https://HOST/mcp\", the URL that clients use";
    if let Some(field) = field {
        let text = field.text("the URL that clients use")?;
        if !is_url(text) {
            field.fault("expected a URL without query and fragment", remedy);
            return None;
        }
        return Some(text.to_owned());
    }
    let found = audiences.iter().find(|audience| is_url(audience));
    if found.is_none() && !audiences.is_empty() {
        let what = "no audience is a URL, so clients cannot be told what to ask tokens for";
        section.fault(what, remedy);
    }
    found.cloned()
}
