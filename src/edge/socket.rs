//! A blocking connection to an [`Address`], for the commands that are a client: `connect`, `tools`,
//! `call`. Not for the gateway, whose sockets are the shards'.

#![expect(clippy::disallowed_types, reason = "blocking sockets: no shard runs in this process")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::address::Address;

/// A blocking connection of either kind.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects. The error names the address and, where there is one, the remedy.
    pub fn open(address: &Address) -> Result<Self, String> {
        let opened = match address {
            Address::Tcp { host, port, tls: false } => {
                TcpStream::connect((host.as_str(), *port)).and_then(|stream| {
                    // Requests are small and each waits for its answer.
                    stream.set_nodelay(true)?;
                    Ok(Self::Tcp(stream))
                })
            }
            Address::Unix { path } => UnixStream::connect(path).map(Self::Unix),
            // What is behind it is asked for first, so that its absence is told as for the others.
            Address::Http { host, port, .. }
            | Address::WebSocket { host, port, .. }
            | Address::Tcp { host, port, tls: true } => TcpStream::connect((host.as_str(), *port))
                .and_then(|_there| super::bridge::open(address))
                .map(Self::Unix),
        };
        opened.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    "; is the gateway running there? start it with: ringgate serve"
                }
                io::ErrorKind::PermissionDenied => "; its unix.mode may not let this user in",
                _ => "",
            };
            format!("cannot connect to {address}: {error}{remedy}")
        })
    }

    /// The same connection once more, for another thread or direction.
    pub fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    /// Says that nothing more will be written.
    pub fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// How long a read waits before it fails with `WouldBlock`; `None` for ever.
    pub fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(patience),
            Self::Unix(stream) => stream.set_read_timeout(patience),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
