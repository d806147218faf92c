//! Where a load goes: a TCP address, a Unix socket, a command that speaks on its stdin and stdout, or a URL. All of them
//! end as one socket type: the ring's reads and writes do not ask what kind of socket it is.

#![allow(
    clippy::disallowed_types,
    reason = "connections are opened one after another, before the clock runs"
)]

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use crate::failure::Failure;

/// An address on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `tcp://HOST:PORT`
    Tcp(SocketAddr),
    /// `unix:///PATH`
    Unix(PathBuf),
    /// `stdio:COMMAND ARGS`, split at blanks; every connection is a child of its own.
    Stdio(Vec<String>),
    /// `http://HOST:PORT/PATH`, `h2c://HOST:PORT/PATH`, `ws://HOST:PORT/PATH`
    Web(Web),
}

/// A URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it resolves to.
    pub address: SocketAddr,
    /// `HOST:PORT` as written: the `Host` of requests.
    pub authority: String,
    /// Path with its slash.
    pub path: String,
}

/// What is spoken at a URL, without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, kept alive.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// WebSocket with the subprotocol `mcp`.
    WebSocket,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::WebSocket];

    /// Its scheme on the command line. `h2c` is none that is registered; it says what `http` cannot.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Http2 => "h2c",
            Self::WebSocket => "ws",
        }
    }
}

impl Web {
    /// `protocol` at `address` and `path`.
    pub fn new(protocol: Protocol, address: SocketAddr, path: &str) -> Self {
        Self { protocol, address, authority: address.to_string(), path: path.to_owned() }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Opened {
    /// The socket, blocking, whatever its family.
    pub socket: TcpStream,
    /// The command behind it.
    pub child: Option<Child>,
}

impl Target {
    /// `protocol` at this TCP address and `path`; other kinds of target stay what they are.
    #[must_use]
    pub fn over(&self, protocol: Protocol, path: &str) -> Self {
        match self {
            Self::Tcp(address) => Self::Web(Web::new(protocol, *address, path)),
            Self::Unix(_) | Self::Stdio(_) | Self::Web(_) => self.clone(),
        }
    }

    /// Opens one connection.
    pub fn open(&self) -> Result<Opened, Failure> {
        let failed = || Failure::io(format!("cannot open {self}"));
        match self {
            Self::Tcp(address) | Self::Web(Web { address, .. }) => {
                let socket = TcpStream::connect(address).map_err(failed())?;
                socket.set_nodelay(true).map_err(failed())?;
                Ok(Opened { socket, child: None })
            }
            Self::Unix(path) => {
                let socket = UnixStream::connect(path).map_err(failed())?;
                Ok(Opened { socket: TcpStream::from(OwnedFd::from(socket)), child: None })
            }
            Self::Stdio(command) => {
                // A socket pair, as Node and so the TypeScript SDK give their children, not two pipes.
                let (ours, theirs) = UnixStream::pair().map_err(failed())?;
                let theirs = OwnedFd::from(theirs);
                let (program, arguments) = command
                    .split_first()
                    .ok_or_else(|| Failure::Usage("stdio: names no command".to_owned()))?;
                let child = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::from(theirs.try_clone().map_err(failed())?))
                    .stdout(Stdio::from(theirs))
                    .spawn()
                    .map_err(failed())?;
                Ok(Opened { socket: TcpStream::from(OwnedFd::from(ours)), child: Some(child) })
            }
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("tcp://") {
            return resolve(address).map(Self::Tcp);
        }
        for protocol in Protocol::ALL {
            let rest = text.strip_prefix(protocol.scheme());
            if let Some(rest) = rest.and_then(|rest| rest.strip_prefix("://")) {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                return Ok(Self::Web(Web {
                    protocol,
                    address: resolve(authority)?,
                    authority: authority.to_owned(),
                    path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
                }));
            }
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(command) = text.strip_prefix("stdio:") {
            let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            return if command.is_empty() {
                Err("stdio: names no command".to_owned())
            } else {
                Ok(Self::Stdio(command))
            };
        }
        Err(format!(
            "{text:?} is none of tcp://HOST:PORT, unix:///PATH, 'stdio:COMMAND ARGS', \
             http://HOST:PORT/PATH, h2c://HOST:PORT/PATH, ws://HOST:PORT/PATH"
        ))
    }
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let mut addresses = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    addresses.next().ok_or_else(|| format!("{address} has no address"))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Stdio(command) => {
                // Where the program lies is this machine's business, and reports are kept.
                let (program, args) =
                    command.split_first().map_or(("", &[][..]), |(program, args)| {
                        (program.rsplit('/').next().unwrap_or(program), args)
                    });
                write!(f, "stdio:{program}")?;
                args.iter().try_for_each(|arg| write!(f, " {arg}"))
            }
            Self::Web(web) => {
                write!(f, "{}://{}{}", web.protocol.scheme(), web.authority, web.path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_written_as_it_is_read() {
        for text in [
            "tcp://127.0.0.1:7420",
            "unix:///run/ringgate.sock",
            "stdio:ringgate connect tcp://127.0.0.1:7420",
            "http://127.0.0.1:7421/mcp",
            "h2c://127.0.0.1:7421/mcp",
            "ws://127.0.0.1:7421/ws",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("https://127.0.0.1".parse::<Target>().unwrap_err().contains("none of"));
        assert!("stdio: ".parse::<Target>().is_err());
    }
}
