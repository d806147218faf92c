//! What a server answers: the head, and a body that comes in pieces, over either version of HTTP, decoded if it
//! was compressed.

use std::io;

use super::connection::Connection;
use super::multiplexed::Stream;
use crate::shard::Port;
use crate::wire::coding::{Coding, Decoder, Fault};

/// Bytes of a coded body that decode to nothing, in a row, at most: empty blocks without end would be read for ever. A
/// block of zstd comes out as a whole, and has up to 128 KB (RFC 8878 section 3.1.1.2.4).
const BARREN_BYTES_MAX: usize = 256 << 10;

/// What a response's head says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) session: Option<String>,
    /// `Content-Encoding`.
    pub(super) encoding: Option<String>,
}

impl Answer {
    /// Its body is an event stream.
    pub(super) fn is_stream(&self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }
}

/// The body of a response. Dropping it before its end gives the exchange up.
pub(super) struct Reply {
    way: Way,
    /// Most come as they are.
    packed: Option<Box<Packed>>,
}

/// How it comes.
pub(super) enum Way {
    /// HTTP/1.1: the connection that brings it.
    One(Connection),
    /// HTTP/2: a stream among others.
    Many(Stream),
}

/// A body that is decoded as it comes.
struct Packed {
    coding: Coding,
    decoder: Decoder,
    /// A piece as it came.
    piece: Vec<u8>,
    /// What has come, and what it was.
    bytes: usize,
    plain_bytes: usize,
    /// What has come since it last was anything.
    barren: usize,
    /// What a piece may add to, at most: the limit `frame_bytes_max`.
    bytes_max: usize,
    port: Port,
}

impl Reply {
    /// Whoever takes the body gets it decoded, whether we asked for a coding or not.
    ///
    /// # Errors
    /// It is in a coding that is not spoken here.
    pub(super) fn new(
        way: Way,
        answer: &Answer,
        bytes_max: usize,
        port: &Port,
    ) -> io::Result<Self> {
        let Some(encoding) = &answer.encoding else { return Ok(Self { way, packed: None }) };
        let unknown =
            || io::Error::other("the server answered in a Content-Encoding that was not asked for");
        let coding = Coding::of_body(encoding.as_bytes()).map_err(|_| unknown())?;
        let decoder = if answer.is_stream() { Decoder::of_stream } else { Decoder::new };
        let packed = match coding {
            None => None,
            Some(coding) => Some(Box::new(Packed {
                coding,
                decoder: decoder(coding).ok_or(io::ErrorKind::OutOfMemory)?,
                piece: Vec::new(),
                bytes: 0,
                plain_bytes: 0,
                barren: 0,
                bytes_max,
                port: port.clone(),
            })),
        };
        Ok(Self { way, packed })
    }

    /// The connection of HTTP/1.1.
    pub(super) fn into_connection(self) -> Option<Connection> {
        match self.way {
            Way::One(connection) => Some(connection),
            Way::Many(_) => None,
        }
    }

    /// Appends the next piece to `data`; false at the end.
    pub(super) async fn piece(&mut self, data: &mut Vec<u8>) -> io::Result<bool> {
        let Some(packed) = &mut self.packed else { return self.way.piece(data).await };
        loop {
            packed.piece.clear();
            if !self.way.piece(&mut packed.piece).await? {
                return packed.end().map(|()| false);
            }
            if packed.decode(data)? {
                return Ok(true);
            }
        }
    }

    /// The rest, up to `max` bytes.
    pub(super) async fn rest(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        while self.piece(&mut data).await? {
            if data.len() > max {
                return Err(too_large());
            }
        }
        Ok(data)
    }
}

impl Way {
    async fn piece(&mut self, data: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::One(connection) => connection.piece(data).await,
            Self::Many(stream) => stream.piece(data).await,
        }
    }
}

impl Packed {
    /// Appends what the piece decodes to; whether that was anything.
    fn decode(&mut self, data: &mut Vec<u8>) -> io::Result<bool> {
        let before = data.len();
        self.decoder.push(&self.piece, data, self.bytes_max).map_err(|fault| match fault {
            Fault::TooLarge => too_large(),
            Fault::Corrupt => corrupt(),
        })?;
        self.bytes += self.piece.len();
        self.plain_bytes += data.len() - before;
        let is_something = data.len() > before;
        self.barren = if is_something { 0 } else { self.barren + self.piece.len() };
        if self.barren > BARREN_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the response goes on and on without content",
            ));
        }
        Ok(is_something)
    }

    /// The body has ended; that of an answer without any is empty.
    fn end(&self) -> io::Result<()> {
        if self.bytes > 0 && !self.decoder.is_whole() {
            return Err(corrupt());
        }
        let (plain, packed, pack) = (self.plain_bytes, self.bytes, self.coding.into());
        if packed > 0 {
            self.port.coders(|coders| coders.ledger.came(pack, plain, packed));
        }
        Ok(())
    }
}

fn too_large() -> io::Error {
    io::Error::other("the response is larger than the limit frame_bytes_max")
}

fn corrupt() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the response is not coded as its Content-Encoding says",
    )
}
