//! Where a load goes: a TCP address, a Unix socket, or a command that speaks on its stdin and stdout. All three end as
//! one socket type: the ring's reads and writes do not ask what kind of socket it is.

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
    /// Opens one connection.
    pub fn open(&self) -> Result<Opened, Failure> {
        let failed = || Failure::io(format!("cannot open {self}"));
        match self {
            Self::Tcp(address) => {
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
            let mut addresses =
                address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
            return addresses
                .next()
                .map(Self::Tcp)
                .ok_or_else(|| format!("{address} has no address"));
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
        Err(format!("{text:?} is none of tcp://HOST:PORT, unix:///PATH, 'stdio:COMMAND ARGS'"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Stdio(command) => write!(f, "stdio:{}", command.join(" ")),
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
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("http://127.0.0.1".parse::<Target>().unwrap_err().contains("none of"));
        assert!("stdio: ".parse::<Target>().is_err());
    }
}
