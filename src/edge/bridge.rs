//! A gateway of this process's own, in front of one server: what makes a byte stream of an `http://` or `ws://` URL, or
//! one over TLS, for the commands that are a client. It speaks every era on both sides, so they need not know any.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::address::Address;
use super::config::{Config, Sources};
use crate::gateway::Gateway;
use crate::gateway::Transport;
use crate::gateway::builtin::Builtin;
use crate::gateway::settings::{HttpTarget, Speaks, Target, Trust};
use crate::shard::rt::DriverChoice;
use crate::transport::{Server, ServerConfig};

/// A stream that leads to the server behind an address that is more than a socket. Its threads end with the process.
pub(super) fn open(address: &Address) -> io::Result<UnixStream> {
    let socket = address.resolve()?.into_iter().next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut config =
        Config::load(&Sources::default()).map_err(|faults| io::Error::other(faults.to_string()))?;
    // Whom the system believes is believed; SSL_CERT_FILE names others.
    let trust = address.secure_host().map(|host| Trust {
        name: host.to_owned(),
        authorities: None,
        identity: None,
        pins: Vec::new(),
    });
    let behind = |authority: &str, path: &str| HttpTarget {
        address: socket.into(),
        host: authority.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        speaks: Speaks::Auto,
        is_http2: false,
        packs: false,
        trust: trust.clone().map(Arc::new),
    };
    for upstream in &mut config.upstreams {
        upstream.target = match address {
            Address::Http { authority, path, .. } => Target::Http(behind(authority, path)),
            Address::WebSocket { authority, path, .. } => {
                Target::WebSocket(behind(authority, path))
            }
            Address::Tcp { tls: true, .. } => Target::Tls {
                address: socket.into(),
                trust: Arc::new(trust.clone().ok_or(io::ErrorKind::InvalidInput)?),
            },
            Address::Tcp { .. } | Address::Unix { .. } => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        };
    }
    let plan = ServerConfig {
        shards: Some(1),
        pin: false,
        // Whoever starts a client for one call does not care how it waits.
        driver: DriverChoice::Epoll,
        upstreams: config.upstreams.iter().cloned().collect(),
        ..ServerConfig::default()
    };
    let settings =
        Arc::new(config.settings(1).map_err(|error| io::Error::other(error.to_string()))?);
    let server = Server::start(&plan, move |shard| {
        Gateway::new(Arc::clone(&settings), shard, Builtin::new(false))
    })?;
    let (ours, theirs) = UnixStream::pair()?;
    let post = server.posts().first().ok_or(io::ErrorKind::Other)?;
    post.client(theirs.into(), Transport::Stdio);
    Ok(ours)
}
