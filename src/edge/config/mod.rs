//! What the operator wants: files, environment, defaults, read into one [`Config`]. TOML, YAML and
//! environment become one tree with places (`tree`), which is then read by key and type (`read`), so
//! that every error names file, line, key and remedy, and all errors are told at once. What the domain
//! needs of it is [`Config::settings`].

mod admin;
mod audit;
mod auth;
mod env;
mod expand;
mod fault;
mod guard;
mod http;
mod jwt;
pub use admin::Admin;
pub use audit::{Audit, AuditTo};
pub use auth::ListenerAgents;
pub use http::Http;
pub use jwt::{Jwt, KeyPlace, KeySource};
pub use oauth::{Exchange, Grant, Secret, SubjectTokenType};
pub use tls::{Certificate, Tls};
pub(in crate::edge) use tls::{DAYS_ALERTED, DAYS_WARNED, days_left};
pub use traces::Traces;
mod json;
mod limits;
mod mcp_json;
mod names;
mod oauth;
mod policy;
mod rates;
mod read;
mod sections;
mod side_file;
mod spread;
mod tls;
mod toml;
mod traces;
mod tree;
mod trust;
mod units;
mod upstreams;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use fault::{Fault, Faults, Place};

use crate::base::limits::Limits;
use crate::gateway::address::Network;
use crate::gateway::guard::Guard;
use crate::gateway::keys::{Digest, Keys};
use crate::gateway::policy::{Policy, Rules};
use crate::gateway::principal::{Entrances, Principals};
use crate::gateway::rate::Rates;
use crate::gateway::settings::{EraPin, Settings, Share, Spread, Target, Upstream};
use crate::gateway::tools::Expose;
use crate::gateway::trace::Tracing;
use crate::shard::Compression;
use crate::shard::http::Front;
use crate::shard::tls::{CertifiedKeys, ClientAuth, People, ServerTls};
use fault::Findings;
use read::Reader;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tree::{Lines, Node, Value};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the TCP listener is; `None` when it is off. Loopback, or the operator said otherwise.
    pub tcp: Option<SocketAddr>,
    /// Whether it speaks TLS.
    pub tcp_tls: bool,
    /// HTTP: `None` where it is off.
    pub http: Option<Http>,
    /// Where the Unix listener is; `None` when it is off.
    pub unix: Option<UnixListener>,
    /// What these two take where compression is asked for.
    pub compression: Compression,
    /// What listeners with TLS show; `None` where none speaks it.
    pub tls: Option<Tls>,
    pub shards: Shards,
    /// Between an upstream's prefix and a name.
    pub separator: String,
    /// What clients see of the upstreams' tools.
    pub expose: Expose,
    /// Gateway tools believe `agent_id`.
    pub trusts_agent_id: bool,
    /// Seals request states; `None` for a random one.
    pub state_key: Option<[u8; 32]>,
    pub limits: Limits,
    /// At least one, names and prefixes settled, in the order of the files.
    pub upstreams: Vec<Upstream>,
    /// Tokens that are asked for, by the upstream that they are for.
    pub grants: BTreeMap<String, Grant>,
    /// Who may what; `None` where everybody may everything.
    pub policy: Option<Rules>,
    /// Whose keys open the HTTP listener; `None` where none are asked for.
    pub keys: Option<Vec<(String, Digest)>>,
    /// Whose certificates do, by one of their names; `None` where they name nobody.
    pub certificates: Option<Vec<(String, String)>>,
    /// Whose tokens do.
    pub jwt: Option<Jwt>,
    /// Who acts where none are.
    pub agents: ListenerAgents,
    pub audit: Option<Audit>,
    /// What is looked for in the arguments of tools; `None` where nothing is.
    pub guard: Option<Arc<Guard>>,
    /// How much may come in a second; `None` where nothing is limited.
    pub rates: Option<Rates>,
    /// Addresses that are not limited as one.
    pub trusted: Vec<Network>,
    /// Where the operator looks; `None` when it is off.
    pub admin: Option<Admin>,
    /// Which requests are traced, and where that goes; `None` where none is.
    pub traces: Option<Traces>,
    pub log: Log,
    /// Where the listeners' addresses were written. Not part of the wish.
    pub places: ListenPlaces,
    /// What is no error but worth a word. Not part of the wish.
    pub warnings: Vec<Fault>,
    /// All files that were read. Not part of the wish.
    pub files: Vec<PathBuf>,
}

/// Where it was written where to listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenPlaces {
    pub tcp: Place,
    pub http: Place,
    pub redirect: Place,
    pub unix: Place,
    /// Of the section.
    pub tls: Place,
}

/// The Unix socket listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListener {
    pub path: PathBuf,
    /// Permissions of the socket file. Default 0600.
    pub mode: u32,
}

/// The `[shards]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    pub count: Count,
    pub driver: Driver,
    /// Submission entries of each ring; a power of two.
    pub ring_entries: u32,
    /// Microseconds that an idle shard looks for work before it sleeps. 0: it sleeps at once.
    pub spin_us: u32,
}

impl Default for Shards {
    fn default() -> Self {
        // A full ring flushes itself, so its size is no limit of the service; 1,024 entries keep
        // the memory that a kernel may charge to RLIMIT_MEMLOCK near 100 KiB a ring.
        Self { count: Count::Auto, driver: Driver::Auto, ring_entries: 1_024, spin_us: 0 }
    }
}

/// How many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Count {
    /// One for each core that the process may use.
    #[default]
    Auto,
    Fixed(u16),
}

/// What a shard waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Driver {
    /// `io_uring`, else epoll with a warning.
    #[default]
    Auto,
    IoUring,
    Epoll,
}

/// The `[log]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives as `RUST_LOG` has them.
    pub level: String,
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`: TOML or YAML by its ending.
    pub config: Option<PathBuf>,
    /// `--mcp-json`.
    pub mcp_json: Option<PathBuf>,
    /// The environment: settings of ours, and what `${VAR}` in an `mcp.json` means.
    pub variables: Vec<(String, String)>,
}

const SECTIONS: [&str; 17] = [
    "tcp",
    "http",
    "unix",
    "shards",
    "gateway",
    "limits",
    "upstreams",
    "policy",
    "auth",
    "audit",
    "guard",
    "rates",
    "stdio",
    "tls",
    "admin",
    "traces",
    "log",
];

impl Config {
    /// Reads everything, or tells everything that is wrong.
    pub fn load(sources: &Sources) -> Result<Self, Faults> {
        let findings = Findings::default();
        let mut root = Node::table(Place::Default, Vec::new());
        let files = [&sources.config, &sources.mcp_json];
        files.into_iter().flatten().for_each(|path| findings.reads(path));
        if let Some((file, text)) = sources.config.as_deref().and_then(|path| text(path, &findings))
            && let Some(node) = parse(&file, &text, &findings)
        {
            root = node;
        }
        let variables: BTreeMap<_, _> = sources.variables.iter().cloned().collect();
        let mut foreign = BTreeSet::new();
        if let Some((file, text)) =
            sources.mcp_json.as_deref().and_then(|path| text(path, &findings))
        {
            let servers = mcp_json::parse(&file, &text, &variables, &findings);
            let place = Place::Line { file: file.as_str().into(), line: 1 };
            if let Some(upstreams) = root.table_at("upstreams", &place) {
                for server in servers {
                    if let Some(first) = upstreams.iter().find(|entry| entry.key == server.key) {
                        let what =
                            format!("there is another upstream of this name at {}", first.place);
                        let key = format!("upstreams.{}", server.key);
                        findings.fault(&server.place, key, what, "rename one of them");
                    } else {
                        foreign.insert(server.key.clone());
                        upstreams.push(server);
                    }
                }
            }
        }
        env::overlay(&mut root, &sources.variables, &SECTIONS, &findings);
        let mut config = Self::read(&root, &variables, &foreign, &findings);
        config.files = findings.files();
        config.warnings = findings.settle()?;
        Ok(config)
    }

    fn read(
        root: &Node,
        variables: &BTreeMap<String, String>,
        foreign: &BTreeSet<String>,
        findings: &Findings,
    ) -> Self {
        let mut reader = Reader::new(root, "", findings);
        let mut agents = ListenerAgents::default();
        let Limits {
            tcp_connections_max: mut of_tcp,
            http_connections_max: mut of_http,
            unix_connections_max: mut of_unix,
            ..
        } = Limits::DEFAULT;
        let places = ListenPlaces {
            tcp: root.place_at(&["tcp", "listen"]),
            http: root.place_at(&["http", "listen"]),
            redirect: root.place_at(&["http", "redirect"]),
            unix: root.place_at(&["unix", "listen"]),
            tls: root.place_at(&["tls"]),
        };
        let mut section = |name, agent: &mut Option<String>, most: Option<&mut usize>| {
            let mut section = reader.section(name);
            *agent = auth::agent(&mut section);
            if let Some(most) = most {
                sections::connections(&mut section, most);
            }
            section
        };
        let mut tcp = section("tcp", &mut agents.tcp, Some(&mut of_tcp));
        let of_lines = sections::compression(&mut tcp);
        let tcp = sections::tcp(tcp);
        let http = section("http", &mut agents.http, Some(&mut of_http));
        let (http, https) = http::read(http).unzip();
        let mut unix = section("unix", &mut agents.unix, Some(&mut of_unix));
        let compression = Compression { tcp: of_lines, unix: sections::compression(&mut unix) };
        let unix = sections::unix(unix);
        section("stdio", &mut agents.stdio, None).finish();
        let tls = tls::read(reader.section("tls"), findings);
        let shards = sections::shards(reader.section("shards"));
        let gateway = sections::gateway(reader.section("gateway"));
        let limits = Limits {
            tcp_connections_max: of_tcp,
            http_connections_max: of_http,
            unix_connections_max: of_unix,
            ..limits::read(reader.section("limits"))
        };
        let section = reader.section("upstreams");
        let policy = reader.section("policy");
        let auth = reader.section("auth");
        let guard = reader.section("guard");
        let audit = audit::read(reader.section("audit"));
        let (tcp, lines) = tcp.map(|listens| (listens.address, listens)).unzip();
        let addresses = [tcp, http.as_ref().map(|http| http.listen)];
        let is_seen = addresses.into_iter().flatten().any(|address| !address.ip().is_loopback());
        let (rates, trusted) = rates::read(reader.section("rates"), is_seen);
        let admin = admin::read(reader.section("admin"), findings);
        let traces = traces::read(reader.section("traces"));
        let log = sections::log(reader.section("log"));
        reader.finish();
        let has_tokens = auth.each().any(|(key, _)| key == "jwt");
        let mut drafts = upstreams::read(&section, variables, has_tokens, findings);
        let grants = drafts
            .iter_mut()
            .filter_map(|draft| Some((draft.name.clone(), draft.grant.take()?)))
            .collect();
        let socket = unix.as_ref().map(|unix| unix.path.as_path());
        let own = http.as_ref().map(|http| http.listen);
        upstreams::refuse_self(&drafts, &section, tcp, own, socket);
        let mut upstreams = names::settle(drafts, foreign, &gateway.separator, &section);
        if upstreams.is_empty() {
            upstreams.push(builtin());
        }
        let policy = policy::read(policy, &upstreams, findings);
        let guard = guard::read(guard, &upstreams, audit.is_some());
        let client_auth = tls.as_ref().map(|tls| tls.client_auth).unwrap_or_default();
        let speaks_tls = lines.as_ref().is_some_and(|lines| lines.tls.is_some())
            || http.as_ref().is_some_and(|http| http.tls);
        if tls.is_some() && !speaks_tls {
            let what = "has no effect: no listener speaks TLS";
            let remedy = "set http.tls = true or tcp.tls = true";
            findings.warn(&places.tls, "tls", what, remedy);
        }
        let auth = auth::read(auth, policy.as_ref(), (client_auth, speaks_tls), findings);
        let (has_certificate, all_shown) = (tls.is_some(), client_auth == ClientAuth::Required);
        if let Some(lines) = &lines {
            lines.judge(has_certificate, all_shown);
        }
        if let Some(https) = &https {
            let is_asked = auth.keys.is_some() || auth.jwt.is_some();
            https.judge(has_certificate, is_asked || all_shown);
        }
        let auth::Auth { keys, jwt, certificates } = auth;
        Self {
            tcp,
            tcp_tls: lines.is_some_and(|lines| lines.tls.is_some()),
            http,
            unix,
            compression,
            tls,
            shards,
            separator: gateway.separator,
            expose: gateway.expose,
            trusts_agent_id: gateway.trusts_agent_id,
            state_key: gateway.state_key,
            limits,
            upstreams,
            grants,
            policy,
            keys,
            certificates,
            jwt,
            agents,
            audit,
            guard,
            rates,
            trusted,
            admin,
            traces,
            log,
            places,
            warnings: Vec::new(),
            files: Vec::new(),
        }
    }

    /// What the domain needs, for this many shards. Draws the keys that nobody configured, so each
    /// call's are different: call it once a process.
    pub fn settings(&self, shards: u16) -> Result<Settings, getrandom::Error> {
        let mut state_key = [0; 32];
        match self.state_key {
            Some(key) => state_key = key,
            None => getrandom::fill(&mut state_key)?,
        }
        let mut nonce_seed = [0; 12];
        getrandom::fill(&mut nonce_seed)?;
        let nothing = Settings { state_key, nonce_seed, shards, ..Settings::default() };
        Ok(Settings { generation: 0, order: None, ..self.settings_after(&nothing) })
    }

    /// What the domain needs after it went by the settings `before`: each upstream and principal keeps its
    /// place, others follow or take one that is free. An upstream that was changed is another.
    pub fn settings_after(&self, before: &Settings) -> Settings {
        let Settings { upstreams, tenures, order, .. } =
            before.clone().with_upstreams(&self.upstreams);
        let policy = self.policy.as_ref().map(|rules| {
            let names = upstreams.iter().map(|upstream| upstream.name.as_str());
            Arc::new(Policy::compile(rules, names))
        });
        Settings {
            generation: before.generation + 1,
            upstreams,
            tenures,
            order,
            separator: self.separator.clone(),
            expose: self.expose,
            trusts_agent_id: self.trusts_agent_id,
            limits: self.limits.clone(),
            policy,
            principals: self.principals(&before.principals),
            guard: self.guard.clone(),
            entrances: self.entrances(&before.principals),
            rates: self.rates,
            trusted: self.trusted.clone(),
            audits: self.audit.is_some(),
            traces: self.traces.as_ref().map(|traces| Tracing::of(traces.ratio)),
            state_key: before.state_key,
            nonce_seed: before.nonce_seed,
            learns_tools: self.http.is_some(),
            shards: before.shards,
        }
    }
}

/// Who is who: the same each time it is asked after the same.
impl Config {
    fn principals(&self, before: &Principals) -> Principals {
        let mut principals = before.clone();
        let agents = &self.agents;
        let of_listeners = [&agents.tcp, &agents.unix, &agents.stdio, &agents.http];
        let of_keys = self.keys.iter().flatten().map(|(agent, _)| agent);
        let of_certificates = self.certificates.iter().flatten().map(|(agent, _)| agent);
        for agent in of_keys.chain(of_certificates).chain(of_listeners.into_iter().flatten()) {
            principals.acting_as(agent);
        }
        if let Some(jwt) = &self.jwt {
            principals.has_subjects = true;
            for agent in jwt.agents(self.policy.as_ref()).values() {
                principals.acting_as(agent);
            }
        }
        principals
    }

    fn entrances(&self, before: &Principals) -> Entrances {
        let mut principals = self.principals(before);
        let mut of = |agent: &Option<String>| {
            agent.as_ref().map(|agent| principals.acting_as(agent)).unwrap_or_default()
        };
        let agents = &self.agents;
        Entrances {
            tcp: of(&agents.tcp),
            unix: of(&agents.unix),
            stdio: of(&agents.stdio),
            http: of(&agents.http),
        }
    }

    /// What the HTTP listener is told: its own section, and whose keys and tokens open it. `before`: the principals
    /// that are known already.
    pub fn front(&self, before: &Principals) -> Option<Front> {
        let mut front = self.http.as_ref()?.front.clone();
        let mut principals = self.principals(before);
        front.keys = self.keys.as_ref().map(|keys| {
            let entries = keys.iter().map(|(agent, key)| (*key, principals.acting_as(agent)));
            Arc::new(Keys::new(entries.collect()))
        });
        // Who cannot show one is not asked for it.
        front.certificates = self.certificates.is_some() && self.http.as_ref()?.tls;
        front.tokens =
            self.jwt.as_ref().map(|jwt| Arc::new(jwt.rules(self.policy.as_ref(), &mut principals)));
        Some(front)
    }

    /// What listeners with TLS speak; `before` as for [`Config::front`].
    pub fn server_tls(&self, before: &Principals) -> Result<Option<Arc<ServerTls>>, String> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let mut principals = self.principals(before);
        let people = self.certificates.as_ref().map(|names| {
            People::new(
                names.iter().map(|(agent, name)| (name.clone(), principals.acting_as(agent))),
            )
        });
        let der = |chain: &[Vec<u8>]| chain.iter().cloned().map(CertificateDer::from).collect();
        let mut pairs = Vec::new();
        for Certificate { identity, .. } in &tls.certificates {
            let key = PrivateKeyDer::try_from(identity.key.0.clone())?;
            pairs.push((der(&identity.chain), key));
        }
        let keys = CertifiedKeys::new(pairs)?;
        ServerTls::new(keys, tls.client_auth, der(&tls.authorities), people)
            .map(|made| Some(Arc::new(made)))
    }
}

/// The upstream of a configuration that names none.
fn builtin() -> Upstream {
    Upstream {
        name: "builtin".to_owned(),
        prefix: String::new(),
        target: Target::Builtin { folder: None },
        era: EraPin::Auto,
        share: Share::Auto,
        warm: false,
        spread: Spread::default(),
    }
}

fn text(path: &Path, findings: &Findings) -> Option<(String, String)> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Some((file, text)),
        Err(error) => {
            let place = Place::Line { file: file.into(), line: 1 };
            findings.fault(&place, "", format!("cannot be read: {error}"), "");
            None
        }
    }
}

fn parse(file: &str, text: &str, findings: &Findings) -> Option<Node> {
    let lines = Lines::new(file, text.strip_prefix('\u{feff}').unwrap_or(text));
    let ending = Path::new(file).extension().and_then(|ending| ending.to_str());
    let node = match ending {
        Some("toml") => toml::parse(&lines, findings)?,
        Some("yaml" | "yml") => yaml::parse(&lines, findings)?,
        Some("json") => {
            let remedy = "an mcpServers file goes to --mcp-json; a configuration is TOML or YAML";
            findings.fault(&lines.line(1), "", "JSON is no format of the configuration", remedy);
            return None;
        }
        _ => {
            let remedy = "name it .toml, .yaml or .yml";
            findings.fault(&lines.line(1), "", "the name does not say which format it is", remedy);
            return None;
        }
    };
    if !matches!(node.value, Value::Table(_)) {
        let what = format!("expected sections, found {}", node.value.describe());
        findings.fault(&node.place, "", what, "");
        return None;
    }
    Some(node)
}
