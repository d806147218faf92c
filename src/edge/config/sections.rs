//! The sections that say how the process runs: `[tcp]`, `[unix]`, `[shards]`, `[gateway]`, `[log]`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::read::{Field, Reader};
use super::{Count, Driver, Format, Log, Shards, UnixListener};
use crate::base::ShardId;
use crate::edge::address::split_host;
use crate::gateway::tools::Expose;
use crate::wire::block::{Codec, Codecs};

pub(super) const TCP_DEFAULT: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 7420));

/// More than any host has file descriptors for.
const CONNECTIONS_MAX: u64 = 10_000_000;

/// Largest ring the kernel takes (`IORING_MAX_ENTRIES`).
const RING_ENTRIES_MAX: u64 = 32_768;

pub(super) fn tcp(reader: Reader<'_>) -> Option<Listens<'_>> {
    listen(reader, "tcp", TCP_DEFAULT)
}

/// A listener's `max_connections`, where it is not the default.
pub(super) fn connections(reader: &mut Reader<'_>, max: &mut usize) {
    let field = reader.field("max_connections");
    if let Some(most) = field.and_then(|field| field.integer(1..=CONNECTIONS_MAX)) {
        *max = usize::try_from(most).unwrap_or(usize::MAX);
    }
}

/// What a listener for lines takes where compression is asked for.
pub(super) fn compression(reader: &mut Reader<'_>) -> Codecs {
    let Some(field) = reader.field("compression") else { return Codecs::ALL };
    if field.as_text() == Some("off") {
        return Codecs::NONE;
    }
    let mut codecs = Codecs::NONE;
    for name in field.texts().unwrap_or_default() {
        match Codec::named(&name) {
            Some(codec) => codecs = codecs.with(codec),
            None => field.fault(
                format!("there is no codec {name:?}"),
                "write [\"lz4\", \"zstd\"], one of them, or \"off\"",
            ),
        }
    }
    codecs
}

/// Where a section listens.
#[derive(Debug)]
pub(super) struct Listens<'a> {
    pub(super) address: SocketAddr,
    /// Where it says that it speaks TLS.
    pub(super) tls: Option<Field<'a>>,
    section: &'static str,
    /// Where it says that other machines may come, and nobody has said that all of them may.
    exposed: Option<Field<'a>>,
}

impl Listens<'_> {
    /// Refuses TLS without a certificate; and to be seen from other machines by whoever comes, in clear, unless the
    /// operator has said so. `authenticates`: who comes must prove to be somebody.
    pub(super) fn judge(&self, has_certificate: bool, authenticates: bool) {
        if let Some(tls) = self.tls.as_ref().filter(|_| !has_certificate) {
            tls.fault(
                "there is no certificate to show",
                "name one: [tls] cert = \"FILE\", key = \"FILE\"",
            );
        }
        let (address, section) = (self.address, self.section);
        let Some(listen) = &self.exposed else { return };
        let word = format!("set {section}.i_understand_there_is_no_authentication = true");
        match (authenticates, self.tls.is_some()) {
            (true, true) => {}
            (true, false) => listen.fault(
                format!("{address} can be reached from other machines, and keys and answers travel in clear"),
                match section {
                    "admin" => format!("listen on 127.0.0.1, behind a proxy or ssh -L; or {word}"),
                    _ => format!("set {section}.tls = true and name a certificate in [tls]; or listen on 127.0.0.1; or {word}"),
                },
            ),
            (false, _) => listen.fault(
                format!(
                    "{address} can be reached from other machines, and there is no authentication: \
                     whoever connects may call every tool"
                ),
                match section {
                    "admin" => format!("listen on 127.0.0.1, behind a proxy or ssh -L; or {word}"),
                    "http" => format!(
                        "listen on 127.0.0.1; or set http.tls = true and auth.keys, auth.jwt or tls.client_auth = \"required\"; or {word}"
                    ),
                    _ => format!(
                        "listen on 127.0.0.1; or set {section}.tls = true and tls.client_auth = \"required\"; or {word}"
                    ),
                },
            ),
        }
    }
}

/// A section's `listen` and `tls`, and the words that let it be seen from other machines; all other keys have been
/// asked for.
pub(super) fn listen<'a>(
    mut reader: Reader<'a>,
    section: &'static str,
    default: SocketAddr,
) -> Option<Listens<'a>> {
    let listen = reader.field("listen");
    let told = reader.field("i_understand_there_is_no_authentication");
    let tls = reader.field("tls").filter(|field| field.boolean().unwrap_or(false));
    reader.finish();
    let told = told.and_then(|field| field.boolean()).unwrap_or(false);
    let Some(listen) = listen else {
        return Some(Listens { address: default, tls, section, exposed: None });
    };
    let expected = format!("an address such as \"{default}\", or \"off\"");
    let text = listen.text(&expected)?;
    if text == "off" {
        return None;
    }
    let address = socket_address(&listen, text, &expected).unwrap_or(default);
    let exposed = (!address.ip().is_loopback() && !told).then_some(listen);
    Some(Listens { address, tls, section, exposed })
}

pub(super) fn socket_address(field: &Field<'_>, text: &str, expected: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let Some(host_and_port) = split_host(text) else {
        field.fault(format!("expected {expected}, found the text {text:?}"), "");
        return None;
    };
    match host_and_port.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Some(address),
        Ok(None) => {
            field.fault(format!("{text} has no address"), "write an IP address");
            None
        }
        Err(error) => {
            field.fault(format!("{text} cannot be resolved: {error}"), "write an IP address");
            None
        }
    }
}

/// Longest path that fits `sockaddr_un`, its final NUL excluded.
const SOCKET_PATH_BYTES_MAX: usize = 107;

pub(super) fn unix(mut reader: Reader<'_>) -> Option<UnixListener> {
    let listen = reader.field("listen");
    let mode = reader.field("mode");
    reader.finish();
    let mode = mode.and_then(|field| permission(&field)).unwrap_or(0o600);
    let listen = listen?;
    if listen.text("a path, or \"off\"")? == "off" {
        return None;
    }
    let path: PathBuf = listen.path()?;
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        listen.fault(
            format!("a socket's path may have {SOCKET_PATH_BYTES_MAX} bytes; this has {length}"),
            "choose a shorter one",
        );
    }
    Some(UnixListener { path, mode })
}

/// `"0660"`, or a number that was written in octal.
fn permission(field: &Field<'_>) -> Option<u32> {
    let mode = match field.as_text() {
        Some(text) => u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok(),
        None => field.as_integer().and_then(|mode| u32::try_from(mode).ok()),
    };
    let mode = mode.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        field.fault("expected permissions in octal such as \"0660\"", "write them as a text");
    }
    mode
}

pub(super) fn shards(mut reader: Reader<'_>) -> Shards {
    let mut shards = Shards::default();
    if let Some(field) = reader.field("count")
        && field.as_text() != Some("auto")
    {
        let max = u64::from(ShardId::MAX) + 1;
        if field.as_integer().is_none() {
            field.fault(
                format!("expected \"auto\" or a number from 1 to {max}"),
                "auto is one for each core that the process may use",
            );
        } else if let Some(count) = field.integer(1..=max) {
            shards.count = Count::Fixed(u16::try_from(count).unwrap_or(u16::MAX));
        }
    }
    if let Some(field) = reader.field("driver") {
        let words =
            [("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
        shards.driver = field.choice(&words).unwrap_or_default();
    }
    if let Some(field) = reader.field("ring_entries")
        && let Some(entries) = field.integer(64..=RING_ENTRIES_MAX)
    {
        if entries.is_power_of_two() {
            shards.ring_entries = u32::try_from(entries).unwrap_or(u32::MAX);
        } else {
            let what = format!("a ring's size is a power of two; {entries} is none");
            field.fault(what, format!("write {}", entries.next_power_of_two()));
        }
    }
    if let Some(field) = reader.field("spin_us")
        && let Some(spin) = field.integer(0..=10_000)
    {
        shards.spin_us = u32::try_from(spin).unwrap_or(u32::MAX);
    }
    reader.finish();
    shards
}

/// What `[gateway]` says.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) separator: String,
    pub(super) state_key: Option<[u8; 32]>,
    pub(super) expose: Expose,
    pub(super) trusts_agent_id: bool,
}

pub(super) fn gateway(mut reader: Reader<'_>) -> Gateway {
    let separator = reader.field("separator").and_then(|field| separator(&field));
    let state_key = reader.field("state_key").and_then(|field| state_key(&field));
    let words =
        [("names", Expose::Names), ("gateway-tools", Expose::GatewayTools), ("both", Expose::Both)];
    let expose = reader.field("expose").and_then(|field| field.choice(&words)).unwrap_or_default();
    let trust = reader.field("trust_agent_id");
    let trusts_agent_id = trust.as_ref().is_some_and(|field| field.boolean().unwrap_or_default());
    if let Some(trust) = trust.filter(|_| trusts_agent_id && !expose.has_tools()) {
        trust.warn("has no effect: clients see no gateway tools", "set expose = \"gateway-tools\"");
    }
    reader.finish();
    let separator = separator.unwrap_or_else(|| "__".to_owned());
    Gateway { separator, state_key, expose, trusts_agent_id }
}

fn separator(field: &Field<'_>) -> Option<String> {
    let text = field.text("what stands between a prefix and a name, such as \"__\"")?;
    let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-');
    if text.len() > 8 || !text.chars().all(fits) {
        let what = format!("{text:?} cannot stand in a tool's name");
        field.fault(what, "write up to 8 of letters, digits, _ . -");
        return None;
    }
    Some(text.to_owned())
}

/// 64 hexadecimal digits, or `file:PATH` of a file that holds them or 32 raw bytes.
fn state_key(field: &Field<'_>) -> Option<[u8; 32]> {
    let text = field.as_text().unwrap_or_default();
    let remedy = "make one with: openssl rand -hex 32";
    // What was found is a secret, or nearly one, and is not shown.
    let wrong = "expected 64 hexadecimal digits, or \"file:PATH\" of a file that holds them";
    let Some(path) = text.strip_prefix("file:") else {
        let key = hex(text.as_bytes());
        if key.is_none() {
            field.fault(wrong, remedy);
        }
        return key;
    };
    let path = field.place.folder().join(path);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let key =
                <[u8; 32]>::try_from(bytes.as_slice()).ok().or_else(|| hex(bytes.trim_ascii()));
            if key.is_none() {
                let what =
                    format!("{} holds neither 64 hexadecimal digits nor 32 bytes", path.display());
                field.fault(what, remedy);
            }
            key
        }
        Err(error) => {
            field.fault(format!("{} cannot be read: {error}", path.display()), remedy);
            None
        }
    }
}

fn hex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(key)
}

pub(super) fn log(mut reader: Reader<'_>) -> Log {
    let mut log = Log::default();
    if let Some(field) = reader.field("level")
        && let Some(level) = field.text("a level such as \"info\"")
    {
        match crate::edge::log::check(level) {
            Ok(()) => level.clone_into(&mut log.level),
            Err(error) => field.fault(
                format!("expected a level such as \"info\" or \"warn,ringgate=debug\": {error}"),
                "the levels are off, error, warn, info, debug, trace",
            ),
        }
    }
    if let Some(field) = reader.field("format") {
        log.format =
            field.choice(&[("text", Format::Text), ("json", Format::Json)]).unwrap_or_default();
    }
    reader.finish();
    log
}
