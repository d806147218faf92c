//! A blocking connection to an [`Address`], for the commands that are a client: `connect`, `tools`,
//! `call`. Not for the gateway, whose sockets are the shards'.

#![expect(clippy::disallowed_types, reason = "blocking sockets: no shard runs in this process")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::address::Address;
use super::blocks::Blocks;
use crate::wire::block::{self, Codec};

/// How long a gateway may take to say whether it compresses.
const AGREEMENT: Duration = Duration::from_secs(10);

/// A blocking connection, whose lines may travel in blocks.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    blocks: Option<Box<Blocks>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects, and agrees on compression where it is wanted. The error names the address and, where there is one,
    /// the remedy.
    pub fn open(address: &Address, compress: Option<Codec>) -> Result<Self, String> {
        let opened = match address {
            Address::Tcp { host, port, tls: false } => {
                TcpStream::connect((host.as_str(), *port)).and_then(|stream| {
                    // Requests are small and each waits for its answer.
                    stream.set_nodelay(true)?;
                    Ok(Stream::Tcp(stream))
                })
            }
            Address::Unix { path } => UnixStream::connect(path).map(Stream::Unix),
            _ if compress.is_some() => {
                return Err(format!(
                    "{address} cannot be compressed: --compress goes with tcp:// and unix://"
                ));
            }
            // What is behind it is asked for first, so that its absence is told as for the others.
            Address::Http { host, port, .. }
            | Address::WebSocket { host, port, .. }
            | Address::Tcp { host, port, tls: true } => TcpStream::connect((host.as_str(), *port))
                .and_then(|_there| super::bridge::open(address))
                .map(Stream::Unix),
        };
        let stream = opened.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    "; is the gateway running there? start it with: ringgate serve"
                }
                io::ErrorKind::PermissionDenied => "; its unix.mode may not let this user in",
                _ => "",
            };
            format!("cannot connect to {address}: {error}{remedy}")
        })?;
        let mut socket = Self { stream, blocks: None };
        if let Some(codec) = compress {
            socket.agree(codec).map_err(|why| format!("cannot connect to {address}: {why}"))?;
            socket.blocks = Some(Box::new(Blocks::new(codec)));
        }
        Ok(socket)
    }

    fn agree(&mut self, codec: Codec) -> Result<(), String> {
        let text = |error: io::Error| format!("asked for compression, it gave no answer: {error}");
        self.patience(Some(AGREEMENT)).map_err(text)?;
        self.stream.write_all(block::offer(codec).as_bytes()).map_err(text)?;
        let mut line = Vec::new();
        let mut byte = [0];
        // One at a time: what follows the line is no line.
        while line.len() < block::HELLO_BYTES_MAX {
            self.stream.read_exact(&mut byte).map_err(text)?;
            if byte == *b"\n" {
                break;
            }
            line.extend_from_slice(&byte);
        }
        block::read_answer(&line, codec)?;
        self.patience(None).map_err(text)
    }

    /// The same connection once more, for the other direction: of the two, one is read and one is written.
    pub fn again(&self) -> io::Result<Self> {
        let stream = match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        };
        let blocks = self.blocks.as_ref().map(|blocks| Box::new(Blocks::new(blocks.codec())));
        Ok(Self { stream, blocks })
    }

    /// Says that nothing more will be written.
    pub fn finish(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// How long a read waits before it fails with `WouldBlock`; `None` for ever.
    pub fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(patience),
            Stream::Unix(stream) => stream.set_read_timeout(patience),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.blocks {
            Some(blocks) => blocks.read(&mut self.stream, buf),
            None => self.stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.blocks {
            Some(blocks) => blocks.write(&mut self.stream, buf),
            None => self.stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
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
