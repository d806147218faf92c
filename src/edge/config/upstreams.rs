//! The `[upstreams.NAME]` sections: which server, and how it is reached. Not here: their prefixes,
//! which depend on all of them together (`names`).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};

use super::fault::{Findings, Place};
use super::oauth::{self, Grant};
use super::read::{Field, Reader};
use super::spread::Several;
use super::trust;
use crate::edge::address::Address;
use crate::gateway::settings::{
    EraPin, Host, HttpTarget, Peer, Share, Speaks, Spread, Target, Trust,
};
use crate::wire::block::Codec;

/// An upstream as it was written.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) name: String,
    /// Where its name stands.
    pub(super) place: Place,
    pub(super) prefix: Option<(String, Field<'a>)>,
    pub(super) target: Target,
    pub(super) grant: Option<Grant>,
    pub(super) era: EraPin,
    pub(super) share: Share,
    pub(super) warm: bool,
    pub(super) spread: Spread,
}

/// Reads all sections, in the order of the files.
/// `has_tokens`: callers may prove who they are with tokens that can be exchanged.
pub(super) fn read<'a>(
    reader: &Reader<'a>,
    variables: &BTreeMap<String, String>,
    has_tokens: bool,
    findings: &Findings,
) -> Vec<Draft<'a>> {
    let one = |(name, field)| one(name, &field, variables, has_tokens, findings);
    reader.each().filter_map(one).collect()
}

fn one<'a>(
    name: &str,
    section: &Field<'a>,
    variables: &BTreeMap<String, String>,
    has_tokens: bool,
    findings: &Findings,
) -> Option<Draft<'a>> {
    if name.is_empty() {
        section.fault("an upstream needs a name", "write [upstreams.NAME]");
        return None;
    }
    let mut reader = section.table();
    let way = Way::read(&mut reader);
    let builtin = reader.field("builtin");
    let folder = reader.field("folder");
    let era = reader.field("era").and_then(|field| {
        field.choice(&[
            ("auto", EraPin::Auto),
            ("legacy", EraPin::Legacy),
            ("modern", EraPin::Modern),
        ])
    });
    let shared = reader.field("share");
    let share = shared
        .as_ref()
        .and_then(|field| field.choice(&[("auto", Share::Auto), ("always", Share::Always)]));
    let oauth = reader.field("oauth");
    let warm = reader.field("warm").and_then(|field| field.boolean()).unwrap_or(false);
    let prefix = reader
        .field("prefix")
        .and_then(|field| Some((field.text("a prefix for names")?.to_owned(), field)));
    let spread = Several::read(&mut reader);
    reader.finish();

    // `builtin = false` says the same as no such key.
    let builtin = builtin.filter(|field| field.boolean() != Some(false));
    let besides = [("builtin", builtin.as_ref()), ("endpoints", spread.endpoints.as_ref())];
    let kind = way.kind(section, besides)?;
    if let Some(folder) = &folder
        && kind != "builtin"
    {
        let what = format!("has no meaning beside {kind}");
        folder.fault(what, "it goes with builtin; remove it");
    }
    let first = match kind {
        "builtin" => {
            Some(Target::Builtin { folder: folder.and_then(|field| existing_folder(&field)) })
        }
        "endpoints" => None,
        _ => Some(way.target(kind, variables, findings)?),
    };
    let (target, spread) = spread.settle(first, variables, findings)?;
    let targets = std::iter::once(&target).chain(spread.others.iter().map(|other| &other.target));
    let grant = oauth.as_ref().and_then(|field| granted(field, targets, variables));
    let is_for_callers = grant.as_ref().is_some_and(|grant| grant.exchange.is_some());
    if let Some(field) = oauth.filter(|_| is_for_callers) {
        exchanged(&field, &target, &spread, has_tokens);
        if let Some(shared) = &shared {
            let what = "has no meaning beside grant = \"token-exchange\"";
            shared.fault(what, "each caller has connections of its own; remove it");
        }
    }
    Some(Draft {
        name: name.to_owned(),
        place: section.place.clone(),
        prefix,
        target,
        grant,
        era: era.unwrap_or_default(),
        share: if is_for_callers { Share::Never } else { share.unwrap_or_default() },
        warm,
        spread,
    })
}

/// The keys that say how a server is reached: of an upstream, or of one of its endpoints.
pub(super) struct Way<'a> {
    command: Option<Field<'a>>,
    args: Option<Field<'a>>,
    env: Option<Field<'a>>,
    cwd: Option<Field<'a>>,
    url: Option<Field<'a>>,
    headers: Option<Field<'a>>,
    speaks: Speaks,
    http2: Option<Field<'a>>,
    tls: Option<Field<'a>>,
    compression: Option<Field<'a>>,
}

impl<'a> Way<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Self {
        let command = reader.field("command");
        let args = reader.field("args");
        let env = reader.field("env");
        let cwd = reader.field("cwd");
        let url = reader.field("url");
        let headers = reader.field("headers");
        let speaks = reader.field("transport").and_then(|field| {
            field.choice(&[
                ("auto", Speaks::Auto),
                ("streamable-http", Speaks::StreamableHttp),
                ("http", Speaks::StreamableHttp),
                ("sse", Speaks::Sse),
            ])
        });
        let http2 = reader.field("http2").filter(|field| field.boolean().unwrap_or(false));
        let (speaks, tls) = (speaks.unwrap_or_default(), reader.field("tls"));
        let compression = reader.field("compression");
        Self { command, args, env, cwd, url, headers, speaks, http2, tls, compression }
    }

    /// The one of `command`, `url` and what there is `besides` that is there.
    pub(super) fn kind<const N: usize>(
        &self,
        section: &Field<'_>,
        besides: [(&'static str, Option<&Field<'a>>); N],
    ) -> Option<&'static str> {
        let own = [("command", self.command.as_ref()), ("url", self.url.as_ref())];
        let all = own.into_iter().chain(besides);
        let given: Vec<_> = all.filter_map(|(key, field)| Some((key, field?))).collect();
        match given.as_slice() {
            [(kind, _)] => {
                for (field, belongs) in [
                    (&self.args, "command"),
                    (&self.env, "command"),
                    (&self.cwd, "command"),
                    (&self.tls, "url"),
                    (&self.compression, "url"),
                ] {
                    if let Some(field) = field
                        && *kind != belongs
                    {
                        let what = format!("has no meaning beside {kind}");
                        field.fault(what, format!("it goes with {belongs}; remove it"));
                    }
                }
                Some(kind)
            }
            [] => {
                let remedy = if N > 0 {
                    "give it one of command, url or builtin = true"
                } else {
                    "give it one of command or url"
                };
                section.fault("says nowhere how the server is reached", remedy);
                None
            }
            [(first, _), (second, field), ..] => {
                field.fault(
                    format!("{first} and {second} exclude each other"),
                    "an upstream is reached in one way; keep one of them",
                );
                None
            }
        }
    }

    /// Where `command` or `url` leads.
    pub(super) fn target(
        self,
        kind: &str,
        variables: &BTreeMap<String, String>,
        findings: &Findings,
    ) -> Option<Target> {
        if kind == "command" {
            return child(&self.command?, self.args, self.env, self.cwd, variables);
        }
        let url = self.url?;
        let target =
            peer(&url, self.speaks, self.headers.as_ref(), self.http2.as_ref(), |address| {
                let Some(host) = address.secure_host() else {
                    if let Some(tls) = &self.tls {
                        tls.fault("has no meaning here", "it goes with https://, wss:// or tls://");
                    }
                    return Some(None);
                };
                trust::read(host, self.tls.as_ref(), &url, findings).map(|it| Some(Arc::new(it)))
            })?;
        Some(match &self.compression {
            Some(compression) => compressed(compression, target),
            None => target,
        })
    }
}

/// What is wanted compressed: as HTTP and WebSocket have it, or in blocks.
#[derive(Clone, Copy)]
enum Wanted {
    Web,
    Blocks(Codec),
}

/// The same target with compression, where that is wanted and can be.
fn compressed(field: &Field<'_>, target: Target) -> Target {
    let words = [
        ("off", None),
        ("lz4", Some(Wanted::Blocks(Codec::Lz4))),
        ("zstd", Some(Wanted::Blocks(Codec::Zstd))),
        ("on", Some(Wanted::Web)),
    ];
    let (codec, target) = match (field.choice(&words).flatten(), target) {
        (None, target) => return target,
        (Some(Wanted::Web), Target::Http(to)) => {
            return Target::Http(HttpTarget { packs: true, ..to });
        }
        (Some(Wanted::Web), Target::WebSocket(to)) => {
            return Target::WebSocket(HttpTarget { packs: true, ..to });
        }
        (Some(Wanted::Web), target) => {
            field.fault(
                "is of HTTP and WebSocket when it is \"on\"",
                "write \"lz4\" or \"zstd\" for a gateway behind tcp:// or unix://, or remove it",
            );
            return target;
        }
        (Some(Wanted::Blocks(_)), target @ (Target::Http(_) | Target::WebSocket(_))) => {
            field.fault(
                "has no meaning here",
                "it goes with a tcp:// or unix:// URL of a gateway; here it is \"on\" or \"off\"",
            );
            return target;
        }
        (Some(Wanted::Blocks(codec)), target) => (codec, target),
    };
    match target {
        Target::Tcp { address } => Target::Blocks { peer: Peer::Tcp(address), codec },
        Target::Unix { path } => Target::Blocks { peer: Peer::Unix(path), codec },
        Target::Tls { .. } => {
            let what =
                "is not to be had over TLS: lengths would tell who listens what is in a block";
            field.fault(what, "remove it, or reach the gateway over tcp://, by a tunnel");
            target
        }
        _ => {
            field.fault(
                "has no meaning here",
                "it goes with a tcp:// or unix:// URL of a gateway; remove it",
            );
            target
        }
    }
}

/// A token goes where headers go, and is the only `Authorization` there.
fn granted<'t>(
    field: &Field<'_>,
    targets: impl Iterator<Item = &'t Target>,
    variables: &BTreeMap<String, String>,
) -> Option<Grant> {
    for target in targets {
        let (Target::Http(http) | Target::WebSocket(http)) = target else {
            field.fault("has no meaning here", "tokens go with an http:// or ws:// URL; remove it");
            return None;
        };
        if http.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            field.fault("headers say what Authorization is already", "keep one of the two");
            return None;
        }
        if !http.address.is_loopback() && http.trust.is_none() {
            let what = "the token travels in clear: whoever sees it on its way can use it";
            field.warn(what, "use https:// or wss://");
        }
    }
    oauth::read(field, variables)
}

/// Where an upstream may be, that is asked with tokens exchanged for those of its callers.
fn exchanged(field: &Field<'_>, target: &Target, spread: &Spread, has_tokens: bool) {
    if !has_tokens {
        field.fault(
            "exchanges the tokens of callers, and no caller has one",
            "write [auth.jwt]: whose tokens open the HTTP listener",
        );
    }
    if !matches!(target, Target::Http(_)) {
        field.fault(
            "has no meaning here: a WebSocket would outlive the token that it was opened with",
            "give the server's http:// or https:// URL",
        );
    }
    if !spread.others.is_empty() || spread.pool.max > 1 {
        field.fault(
            "has no meaning beside several endpoints or a pool: each caller has connections of its own",
            "give one url, and remove endpoints and pool",
        );
    }
}

fn child(
    command: &Field<'_>,
    args: Option<Field<'_>>,
    env: Option<Field<'_>>,
    cwd: Option<Field<'_>>,
    variables: &BTreeMap<String, String>,
) -> Option<Target> {
    let program = command.text("a program to run")?.to_owned();
    let args = args.map_or(Some(Vec::new()), |field| {
        let args = field.texts()?;
        clean(&field, args.iter()).then_some(args)
    });
    let env = env.map_or(Some(BTreeMap::new()), |field| {
        let table = field.text_table()?;
        if let Some(key) = table.keys().find(|key| key.is_empty() || key.contains('=')) {
            field.fault(format!("{key:?} cannot be the name of a variable"), "");
            return None;
        }
        clean(&field, table.iter().flat_map(|(key, value)| [key, value])).then_some(table)
    });
    let cwd = cwd.and_then(|field| existing_folder(&field));
    let (args, env) = (args?, env?);
    if !clean(command, [&program]) {
        return None;
    }
    let path = env.get("PATH").or_else(|| variables.get("PATH"));
    if let Some(why) = not_runnable(&program, path.map_or("", String::as_str)) {
        // A warning only: it may be installed later, and a retry will then find it.
        command.warn(why, "install it, or write its whole path");
    }
    Some(Target::Stdio { command: program, args, env, cwd })
}

/// The kernel takes no NUL in any of these.
fn clean<'a>(field: &Field<'_>, texts: impl IntoIterator<Item = &'a String>) -> bool {
    let clean = texts.into_iter().all(|text| !text.contains('\0'));
    if !clean {
        field.fault("holds a NUL character, which no program can be given", "remove it");
    }
    clean
}

/// Why a program cannot be started, as far as one can see from here.
fn not_runnable(program: &str, path: &str) -> Option<String> {
    let program_path = Path::new(program);
    if program_path.is_absolute() {
        return (!program_path.is_file()).then(|| format!("there is no program {program:?}"));
    }
    // With a slash it is relative to the child's folder, which `cwd` may change.
    let found = program.contains('/')
        || path.split(':').any(|folder| Path::new(folder).join(program).is_file());
    (!found).then(|| format!("no program {program:?} in PATH"))
}

fn peer(
    url: &Field<'_>,
    speaks: Speaks,
    headers: Option<&Field<'_>>,
    http2: Option<&Field<'_>>,
    trust: impl FnOnce(&Address) -> Option<Option<Arc<Trust>>>,
) -> Option<Target> {
    let parsed = Address::parse(url.text("a URL such as \"http://127.0.0.1:8000/mcp\"")?);
    if let Some(headers) = headers
        && !matches!(parsed, Ok(Address::Http { .. } | Address::WebSocket { .. }))
    {
        headers.fault("has no meaning here", "headers go with an http:// or ws:// URL; remove it");
    }
    if let Some(http2) = http2
        && !matches!(parsed, Ok(Address::Http { .. }))
    {
        http2.fault("has no meaning here", "HTTP/2 goes with an http:// URL; remove it");
    }
    let is_http2 = http2.is_some();
    let headers = headers.map(sendable).unwrap_or_default();
    let trust = match &parsed {
        Ok(address) => trust(address)?,
        Err(_) => None,
    };
    match parsed {
        Ok(Address::Unix { path }) => Some(Target::Unix { path }),
        Ok(address) => {
            let host = host(url, &address)?;
            Some(match address {
                Address::Http { authority, path, .. } => Target::Http(HttpTarget {
                    is_http2,
                    trust,
                    ..behind(host, authority, path, headers, speaks)
                }),
                Address::WebSocket { authority, path, .. } => {
                    let target = behind(host, authority, path, headers, speaks);
                    Target::WebSocket(HttpTarget { trust, ..target })
                }
                Address::Tcp { .. } | Address::Unix { .. } => match trust {
                    Some(trust) => Target::Tls { address: host, trust },
                    None => Target::Tcp { address: host },
                },
            })
        }
        Err(error) => {
            url.fault(error, "");
            None
        }
    }
}

/// Where a server is. A name is looked up here only to say so if it leads nowhere yet: a server that is not there must
/// not keep the gateway from starting.
fn host(url: &Field<'_>, address: &Address) -> Option<Host> {
    let (name, port) = address.host()?;
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Some(Host::At(SocketAddr::new(ip, port)));
    }
    let why = match address.resolve() {
        Ok(found) if found.is_empty() => Some("it has no address".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = why {
        let what = format!("{address} cannot be resolved: {why}");
        url.warn(what, "it is looked up whenever it is connected to; mend the name if it is wrong");
    }
    Some(Host::Named(name.into(), port))
}

/// Headers that say where a request ends, and to whom it goes: twice, they would say two things.
const OWN_HEADERS: [&str; 5] =
    ["connection", "content-length", "host", "transfer-encoding", "upgrade"];

/// What can be sent as headers. Values may be secrets, and are not shown.
fn sendable(field: &Field<'_>) -> BTreeMap<String, String> {
    let headers = field.text_table().unwrap_or_default();
    for (name, value) in &headers {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            field.fault(format!("{name:?} is no header's name"), "");
        } else if HeaderValue::from_str(value).is_err() {
            field.fault(
                format!("the value of {name} has a character that no header can have"),
                "a line break at its end, most likely",
            );
        } else if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            field.fault(format!("{name} is written by the gateway itself"), "remove it");
        }
    }
    headers
}

fn behind(
    address: Host,
    host: String,
    path: String,
    headers: BTreeMap<String, String>,
    speaks: Speaks,
) -> HttpTarget {
    let headers = headers.into_iter().collect();
    HttpTarget { address, host, path, headers, speaks, is_http2: false, packs: false, trust: None }
}

fn existing_folder(field: &Field<'_>) -> Option<PathBuf> {
    let path = field.path()?;
    if path.is_dir() {
        return Some(path);
    }
    field.fault(format!("there is no folder {}", path.display()), "create it, or mend the path");
    None
}

/// An upstream that is our own listener would answer itself for ever.
pub(super) fn refuse_self(
    drafts: &[Draft<'_>],
    reader: &Reader<'_>,
    listen: Option<SocketAddr>,
    http: Option<SocketAddr>,
    socket: Option<&Path>,
) {
    for draft in drafts {
        let is_own = |target: &Target| match target {
            Target::Tcp { address }
            | Target::Tls { address, .. }
            | Target::Blocks { peer: Peer::Tcp(address), .. } => {
                listen.is_some_and(|listen| address.is(listen))
            }
            Target::Unix { path } | Target::Blocks { peer: Peer::Unix(path), .. } => {
                socket == Some(path)
            }
            Target::Http(target) | Target::WebSocket(target) => {
                http.is_some_and(|http| target.address.is(http))
            }
            Target::Builtin { .. } | Target::Stdio { .. } => false,
        };
        let others = draft.spread.others.iter().map(|other| &other.target);
        if std::iter::once(&draft.target).chain(others).any(is_own) {
            reader.fault_at(
                &draft.place,
                &draft.name,
                "is the gateway's own listener: it would ask itself",
                "give the server's address, or listen elsewhere",
            );
        }
    }
}
