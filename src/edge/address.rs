//! Where something listens, as a URL: `tcp://host:port`, `unix:///path`, `http://host:port/path` or
//! `ws://host:port/path`; over TLS `tls`, `https` and `wss`. What a person types and what a configuration holds. Not a
//! connection.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host, without the brackets of an IPv6 address, and port.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix {
        path: PathBuf,
    },
    Http {
        host: String,
        port: u16,
        /// Host and port as they stand in the URL, which is what `Host` says.
        authority: String,
        /// Path and query, percent-encoded.
        path: String,
        tls: bool,
    },
    /// As for HTTP.
    WebSocket {
        host: String,
        port: u16,
        authority: String,
        path: String,
        tls: bool,
    },
}

impl Address {
    /// Reads a URL. The error says what is wrong with it and what would be right.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(format!(
                    "{url:?} names no absolute path; write unix:///path/to/socket, with three slashes"
                ));
            }
            return Ok(Self::Unix { path: path.into() });
        }
        let scheme = url.split_once("://");
        let is_one_of = |plain: &str, secure: &str| match scheme {
            Some((scheme, rest)) if scheme == plain => Some((rest, false)),
            Some((scheme, rest)) if scheme == secure => Some((rest, true)),
            _ => None,
        };
        if let Some((rest, tls)) = is_one_of("tcp", "tls") {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let scheme = if tls { "tls" } else { "tcp" };
            return split_host(rest).map(|(host, port)| Self::Tcp { host, port, tls }).ok_or_else(
                || format!("{url:?} is not a host and a port; write {scheme}://HOST:PORT"),
            );
        }
        if let Some((rest, tls)) = is_one_of("http", "https") {
            let (host, port, authority, path) = behind(url, rest, tls)?;
            return Ok(Self::Http { host, port, authority, path, tls });
        }
        if let Some((rest, tls)) = is_one_of("ws", "wss") {
            let (host, port, authority, path) = behind(url, rest, tls)?;
            return Ok(Self::WebSocket { host, port, authority, path, tls });
        }
        Err(format!(
            "{url:?} is no address; write tcp://HOST:PORT, unix:///PATH, http://HOST:PORT/PATH or ws://HOST:PORT/PATH, or over TLS tls://, https:// or wss://"
        ))
    }

    /// The host whose certificate is wanted, where TLS is spoken.
    pub fn secure_host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, tls: true, .. }
            | Self::Http { host, tls: true, .. }
            | Self::WebSocket { host, tls: true, .. } => Some(host),
            _ => None,
        }
    }

    /// Host and port; nothing of a Unix socket.
    pub fn host(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port, .. }
            | Self::Http { host, port, .. }
            | Self::WebSocket { host, port, .. } => Some((host, *port)),
            Self::Unix { .. } => None,
        }
    }

    /// The socket addresses of a TCP address, the system's resolver asked; empty for a Unix socket.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp { host, port, .. }
            | Self::Http { host, port, .. }
            | Self::WebSocket { host, port, .. } => {
                Ok((host.as_str(), *port).to_socket_addrs()?.collect())
            }
            Self::Unix { .. } => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "tls" } else { "tcp" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::Http { authority, path, tls, .. } => {
                write!(f, "{}://{authority}{path}", if *tls { "https" } else { "http" })
            }
            Self::WebSocket { authority, path, tls, .. } => {
                write!(f, "{}://{authority}{path}", if *tls { "wss" } else { "ws" })
            }
        }
    }
}

/// Host, port, authority and path: what follows `http://` or `ws://`, or the same over TLS.
fn behind(url: &str, rest: &str, tls: bool) -> Result<(String, u16, String, String), String> {
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !path.bytes().all(|byte| (0x21..=0x7E).contains(&byte)) {
        return Err(format!("{url:?}: the path has a character that must be percent-encoded"));
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let port = if tls { 443 } else { 80 };
    let full = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let (host, port) = split_host(&full).ok_or_else(|| {
        format!(
            "{url:?} names no host and port; write {}://HOST:PORT/PATH",
            url.split(':').next().unwrap_or("http")
        )
    })?;
    Ok((host, port, authority.to_owned(), path))
}

/// `host:port` with brackets around an IPv6 host.
pub(super) fn split_host(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        // Two colons without brackets: which of them ends the host is a guess.
        None if host.contains(':') => return None,
        None => host,
    };
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"/?#@".contains(&byte);
    if host.is_empty() || !host.bytes().all(fits) {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_the_same() {
        for url in [
            "tcp://127.0.0.1:7420",
            "tcp://[::1]:1",
            "tcp://host.example:65535",
            "unix:///run/a b.sock",
            "http://127.0.0.1:7421/mcp",
            "http://[::1]/mcp?a=b",
            "ws://127.0.0.1:7421/ws",
            "tls://[::1]:7420",
            "https://host.example/mcp",
            "wss://host.example:8443/ws",
        ] {
            assert_eq!(Address::parse(url).map(|address| address.to_string()), Ok(url.to_owned()));
        }
        assert_eq!(
            Address::parse("tcp://localhost:7420/"),
            Ok(Address::Tcp { host: "localhost".into(), port: 7420, tls: false })
        );
        for (url, port) in [("https://h/mcp", 443), ("wss://h", 443), ("http://h", 80)] {
            match Address::parse(url) {
                Ok(Address::Http { port: found, .. } | Address::WebSocket { port: found, .. }) => {
                    assert_eq!(found, port, "{url}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_address_says_what_would_be_one() {
        for (url, says) in [
            ("tcp://127.0.0.1", "write tcp://HOST:PORT"),
            ("tcp://::1:80", "write tcp://HOST:PORT"),
            ("tcp://h:99999", "write tcp://HOST:PORT"),
            ("tcp://h:80/mcp", "write tcp://HOST:PORT"),
            ("unix://run/x", "three slashes"),
            ("https:///mcp", "write https://HOST:PORT/PATH"),
            ("tls://h", "write tls://HOST:PORT"),
            ("http://a b/mcp", "write http://HOST:PORT/PATH"),
            ("http:///mcp", "write http://HOST:PORT/PATH"),
            ("ftp://127.0.0.1/ws", "write tcp://HOST:PORT"),
            ("ws:///ws", "write ws://HOST:PORT/PATH"),
            (
                "127.0.0.1:7420",
                "write tcp://HOST:PORT, unix:///PATH, http://HOST:PORT/PATH or ws://",
            ),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}
