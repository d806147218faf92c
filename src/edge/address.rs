//! Where something listens, as a URL: `tcp://host:port` or `unix:///path`. What a person types and
//! what a configuration holds. Not a connection.

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
    },
    Unix {
        path: PathBuf,
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
        if let Some(rest) = url.strip_prefix("tcp://") {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            return split_host(rest)
                .map(|(host, port)| Self::Tcp { host, port })
                .ok_or_else(|| format!("{url:?} is not a host and a port; write tcp://HOST:PORT"));
        }
        let scheme = url.split_once("://").map(|(scheme, _)| scheme);
        Err(match scheme {
            Some("http" | "https" | "ws" | "wss") => format!(
                "{url:?}: {} is not served yet; use tcp://HOST:PORT or unix:///PATH",
                scheme.unwrap_or_default()
            ),
            _ => format!("{url:?} is no address; write tcp://HOST:PORT or unix:///PATH"),
        })
    }

    /// The socket addresses of a TCP address, the system's resolver asked; empty for a Unix socket.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp { host, port } => Ok((host.as_str(), *port).to_socket_addrs()?.collect()),
            Self::Unix { .. } => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
        }
    }
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
        ] {
            assert_eq!(Address::parse(url).map(|address| address.to_string()), Ok(url.to_owned()));
        }
        assert_eq!(
            Address::parse("tcp://localhost:7420/"),
            Ok(Address::Tcp { host: "localhost".into(), port: 7420 })
        );
    }

    #[test]
    fn what_is_no_address_says_what_would_be_one() {
        for (url, says) in [
            ("tcp://127.0.0.1", "write tcp://HOST:PORT"),
            ("tcp://::1:80", "write tcp://HOST:PORT"),
            ("tcp://h:99999", "write tcp://HOST:PORT"),
            ("tcp://h:80/mcp", "write tcp://HOST:PORT"),
            ("unix://run/x", "three slashes"),
            ("http://127.0.0.1/mcp", "not served yet"),
            ("127.0.0.1:7420", "write tcp://HOST:PORT or unix:///PATH"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}
