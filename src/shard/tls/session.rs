//! One TLS connection without its socket. What was received and not yet taken is bounded by what one read brings
//! and one record holds; what waits to be sent, by what [`Session::seal`] takes at once.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// Plaintext that becomes ciphertext at once: a few records, so that a long answer is written in large pieces and a
/// slow reader costs no second copy of it.
const SEAL_BYTES_MAX: usize = 48 << 10;
/// Bytes received in a row without a byte of plaintext among them: more than any handshake and any record, so that
/// records that are empty cannot keep a shard busy.
const BARREN_BYTES_MAX: usize = 128 << 10;
/// What rustls reads at once; records that are larger make it hold more.
const RECORD_BYTES_QUIET: usize = 4 << 10;

/// What both sides have agreed to speak over a connection (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    Http1,
    Http2,
}

impl Alpn {
    /// As it is named on the wire (RFC 7301 section 6).
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        [Self::Http1, Self::Http2].into_iter().find(|one| one.name() == name)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    /// Plaintext that was received, of which `taken` bytes were taken.
    plain: Vec<u8>,
    taken: usize,
    /// The peer has said that it sends no more.
    has_ended: bool,
    /// Bytes received since the last plaintext.
    barren: usize,
}

impl Session {
    /// The server's side.
    pub fn server(config: &Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(ServerConnection::new(Arc::clone(config))?.into()))
    }

    /// The client's side, for a server of this name.
    pub fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(ClientConnection::new(Arc::clone(config), name)?.into()))
    }

    const fn new(connection: Connection) -> Self {
        Self { connection, plain: Vec::new(), taken: 0, has_ended: false, barren: 0 }
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether an end of the stream without the peer's word for it is an error. A server need not mind: requests say
    /// themselves where they end. A client must: an answer may end with its connection.
    pub const fn minds_truncation(&self) -> bool {
        matches!(self.connection, Connection::Client(_))
    }

    /// The peer's own certificate, DER, once the handshake is done and if it has shown one.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        Some(self.connection.peer_certificates()?.first()?.as_ref())
    }

    /// What both sides speak, where they agreed on something.
    pub fn protocol(&self) -> Option<Alpn> {
        Alpn::of(self.connection.alpn_protocol()?)
    }

    /// Takes ciphertext. After an error an alert waits in [`Session::pending`], and the session is over.
    pub fn feed(&mut self, mut cipher: &[u8]) -> io::Result<()> {
        let bytes = cipher.len();
        self.barren += bytes;
        while !cipher.is_empty() && !self.has_ended {
            if self.connection.read_tls(&mut cipher)? == 0 {
                // It has room, unless a record is larger than any may be; without this the loop would have no end.
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a record too large"));
            }
            let state = self.connection.process_new_packets().map_err(invalid)?;
            self.has_ended = state.peer_has_closed();
            self.collect(state.plaintext_bytes_to_read())?;
        }
        if bytes > RECORD_BYTES_QUIET || self.waiting() > RECORD_BYTES_QUIET {
            self.calm();
        }
        if self.barren > BARREN_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "records without content"));
        }
        Ok(())
    }

    fn collect(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > 0 {
            self.barren = 0;
            let before = self.plain.len();
            self.plain.resize(before + bytes, 0);
            let room = self.plain.get_mut(before..).unwrap_or_default();
            io::Read::read_exact(&mut self.connection.reader(), room)?;
        }
        Ok(())
    }

    /// Has rustls give back the buffer of a large record. It looks at it before it reads, and only then.
    fn calm(&mut self) {
        // Nothing is read, so nothing is lost; and "would block" is no end.
        drop(self.connection.read_tls(&mut Nothing));
    }

    /// Bytes of plaintext that can be taken.
    pub const fn waiting(&self) -> usize {
        self.plain.len() - self.taken
    }

    /// Appends plaintext to `buffer`, as much as its spare capacity takes; how much that was.
    pub fn take(&mut self, buffer: &mut Vec<u8>) -> usize {
        let bytes = self.waiting().min(buffer.capacity() - buffer.len());
        if bytes > 0 {
            buffer.extend_from_slice(
                self.plain.get(self.taken..self.taken + bytes).unwrap_or_default(),
            );
            self.taken += bytes;
            if self.taken == self.plain.len() {
                // Not kept: a quiet session holds nothing.
                (self.plain, self.taken) = (Vec::new(), 0);
            }
        }
        bytes
    }

    /// Whether the peer has said that it sends no more.
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Turns the beginning of `plain` into ciphertext, behind what was pending, and appends it to `out`; how much of
    /// `plain` that was, 48 KiB at most.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        self.pending(out)?;
        let piece = plain.get(..plain.len().min(SEAL_BYTES_MAX)).unwrap_or_default();
        let taken = io::Write::write(&mut self.connection.writer(), piece)?;
        self.pending(out)?;
        Ok(taken)
    }

    /// Appends what the protocol itself has to say: handshake, tickets, alerts.
    pub fn pending(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(out)?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub fn close(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.connection.send_close_notify();
        self.pending(out)
    }
}

/// A peer that has said nothing yet.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// What rustls says of a peer, as an error that keeps its kind for [`super::Trouble`].
fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
