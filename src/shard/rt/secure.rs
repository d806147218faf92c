//! TLS on a socket of the ring: the handshake, and the two halves behind it. What a session has to say besides what
//! is written (alerts, answers to a change of keys) leaves with the next write, or with the error that ends it.
//! Not here: TLS itself (`shard::tls`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use monoio::buf::{IoBuf as _, IoBufMut as _};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable as _};
use monoio::net::UnixStream;

use super::socket::{Sliced as _, take_in};
use super::{Reader, Writer};
use crate::shard::carrier::BREATH;
use crate::shard::tls::{self, Alpn, Session};

/// Room for what comes in a handshake: most flights fit, and a thousand slow handshakes are two megabytes.
const HANDSHAKE_BYTES: usize = 2 << 10;
/// A peer that takes no more than this without an end to its handshake gets no further: no chain of certificates is
/// as long.
const HANDSHAKE_BYTES_MAX: usize = 256 << 10;

/// Ciphertext that is taken in at once: however large a buffer has grown, others get their turn.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// Ciphertext without plaintext in it (changes of keys, what records have besides) before others get their turn: some
/// 10 ms of changing keys; of honest records of 100 bytes more than half a megabyte.
const LEAN_BYTES_MAX: usize = 128 << 10;

/// A connected stream socket, and the session on it where it speaks TLS. Can go to another thread.
#[derive(Debug)]
pub struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) session: Option<Box<Session>>,
}

impl Socket {
    /// The socket itself; for one that does not speak TLS.
    pub fn into_plain(self) -> OwnedFd {
        debug_assert!(self.session.is_none(), "what is read would be ciphertext");
        self.fd
    }

    /// The same socket once more, to look at without reading.
    pub fn twin(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, session: None }
    }
}

/// What both halves know.
struct Shared {
    session: Box<Session>,
    /// Gone while something is being written; with the write, where that was given up.
    writer: Option<OwnedWriteHalf<UnixStream>>,
}

/// The half that reads.
pub(super) struct SecureReader {
    half: OwnedReadHalf<UnixStream>,
    shared: Rc<RefCell<Shared>>,
    /// Ciphertext of late that brought nothing to read.
    lean: usize,
}

/// The half that writes.
pub(super) struct SecureWriter {
    shared: Rc<RefCell<Shared>>,
}

/// A client that has shaken hands.
pub struct Guest {
    pub halves: (Reader, Writer),
    /// Its certificate, DER, where it has shown one.
    pub certificate: Option<Vec<u8>>,
    /// What it is to speak, where that was agreed on.
    pub alpn: Option<Alpn>,
}

/// Shakes hands with a client that has connected, or gives up after `within`.
pub async fn welcome(
    fd: OwnedFd,
    mut session: Box<Session>,
    within: Duration,
) -> io::Result<Guest> {
    let mut stream = take_in(fd)?;
    in_time(shake(&mut stream, &mut session), within).await?;
    let certificate = session.peer_certificate().map(<[u8]>::to_vec);
    let alpn = session.protocol();
    Ok(Guest { halves: split(stream, session), certificate, alpn })
}

/// Shakes hands with a server that we have connected to, or gives up after `within`.
pub async fn secure(fd: OwnedFd, session: Session, within: Duration) -> io::Result<Socket> {
    let mut session = Box::new(session);
    // A twin, so that the socket itself stays ours.
    let mut stream = take_in(fd.try_clone()?)?;
    in_time(shake(&mut stream, &mut session), within).await?;
    Ok(Socket { fd, session: Some(session) })
}

pub(super) fn split(stream: UnixStream, session: Box<Session>) -> (Reader, Writer) {
    let (half, writer) = stream.into_split();
    let shared = Rc::new(RefCell::new(Shared { session, writer: Some(writer) }));
    let writer = SecureWriter { shared: Rc::clone(&shared) };
    (Reader::secure(SecureReader { half, shared, lean: 0 }), Writer::secure(writer))
}

async fn in_time(
    shaking: impl Future<Output = io::Result<()>>,
    within: Duration,
) -> io::Result<()> {
    let mut shaking = pin!(shaking);
    let mut late = Box::pin(super::sleep(within));
    poll_fn(|cx| {
        if let Poll::Ready(done) = shaking.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let late = late.as_mut().poll(cx);
        late.map(|()| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))
        })
    })
    .await
}

async fn shake(stream: &mut UnixStream, session: &mut Session) -> io::Result<()> {
    let (mut bytes, mut taken) = (Vec::new(), 0);
    loop {
        flush(stream, session).await?;
        if !session.is_handshaking() {
            return Ok(());
        }
        bytes.clear();
        bytes.reserve_exact(HANDSHAKE_BYTES);
        let (read, slice) = stream.read(bytes.slice_mut(..)).await;
        bytes = slice.whole();
        match read {
            Ok(0) => {
                let what = "the peer left in the middle of the TLS handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            Ok(n) => {
                taken += n;
                if let Err(error) = session.feed(&bytes) {
                    // The alert says why; whether it arrives changes nothing.
                    drop(flush(stream, session).await);
                    return Err(error);
                }
                if taken > HANDSHAKE_BYTES_MAX {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "no end of the handshake",
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

async fn flush(stream: &mut impl AsyncWriteRent, session: &mut Session) -> io::Result<()> {
    let mut out = Vec::new();
    session.pending(&mut out)?;
    write_all(stream, out).await.0
}

async fn write_all(
    stream: &mut impl AsyncWriteRent,
    mut bytes: Vec<u8>,
) -> (io::Result<()>, Vec<u8>) {
    let mut done = 0;
    while done < bytes.len() {
        let (written, slice) = stream.write(bytes.slice(done..)).await;
        bytes = slice.whole();
        match written {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), bytes),
        }
    }
    (Ok(()), bytes)
}

impl SecureReader {
    /// See [`Reader::read`]. Ciphertext is read into `buffer` itself, behind what is in it: so a quiet connection
    /// holds what its owner lends it and nothing besides.
    pub(super) async fn read(&mut self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        loop {
            let held = buffer.len();
            if let Some(read) = self.take(&mut buffer) {
                return (Ok(read), buffer);
            }
            let capacity = buffer.capacity();
            let to = capacity.min(held + PIECE_BYTES_MAX);
            let (read, slice) = self.half.read(buffer.slice_mut(held..to)).await;
            buffer = slice.whole();
            let fed = match read {
                Ok(0) => {
                    buffer.truncate(held);
                    return (self.cut_off(), buffer);
                }
                Ok(n) => {
                    let cipher = buffer.get(held..).unwrap_or_default();
                    let session = &mut self.shared.borrow_mut().session;
                    let before = session.waiting();
                    let fed = session.feed(cipher);
                    self.lean += n.saturating_sub(session.waiting().saturating_sub(before));
                    fed
                }
                Err(error) => {
                    buffer.truncate(held);
                    return (Err(error), buffer);
                }
            };
            buffer.truncate(held);
            if let Err(error) = fed {
                tls::broke_off(&error);
                self.last_words().await;
                return (Err(error), buffer);
            }
            if self.lean > LEAN_BYTES_MAX {
                self.lean = 0;
                // Boxed: it is large, rare, and would be part of every idle link.
                Box::pin(super::sleep(BREATH)).await;
            }
        }
    }

    /// What was received already, or that there will be no more.
    fn take(&self, buffer: &mut Vec<u8>) -> Option<usize> {
        let session = &mut self.shared.borrow_mut().session;
        let bytes = session.take(buffer);
        (bytes > 0 || session.has_ended()).then_some(bytes)
    }

    /// The stream has ended, and the peer has not said that it would.
    fn cut_off(&self) -> io::Result<usize> {
        if self.shared.borrow().session.minds_truncation() {
            let what = "the server cut the TLS connection off";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        Ok(0)
    }

    /// Sends the alert that an error has left. Where something is being written, the peer does not read, and would
    /// not read this.
    async fn last_words(&self) {
        let mut alert = Vec::new();
        let (writer, pending) = {
            let shared = &mut *self.shared.borrow_mut();
            (shared.writer.take(), shared.session.pending(&mut alert))
        };
        if let Some(mut writer) = writer
            && pending.is_ok()
        {
            drop(write_all(&mut writer, alert).await);
            self.shared.borrow_mut().writer = Some(writer);
        }
    }

    /// Takes in what lies in the socket already, which `peek` receives; whether none of it was for us, so that the
    /// connection is as good as before. Tickets come so, some time after the handshake.
    pub(super) fn settle(&self, mut peek: impl FnMut(&mut [u8]) -> io::Result<usize>) -> bool {
        let mut bytes = [0; 2 << 10];
        let session = &mut self.shared.borrow_mut().session;
        if session.waiting() > 0 || session.has_ended() {
            return false;
        }
        loop {
            match peek(&mut bytes) {
                Ok(0) => return false,
                Ok(n) => {
                    let fed = session.feed(bytes.get(..n).unwrap_or_default());
                    if fed.is_err() || session.waiting() > 0 || session.has_ended() {
                        return false;
                    }
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

impl SecureWriter {
    /// See [`Writer::write`].
    pub(super) async fn write(&self, plain: Vec<u8>, from: usize) -> (io::Result<usize>, Vec<u8>) {
        let mut cipher = Vec::new();
        let sealed = {
            let shared = &mut *self.shared.borrow_mut();
            shared.session.seal(plain.get(from..).unwrap_or_default(), &mut cipher)
        };
        let written = match sealed {
            Ok(taken) => self.send(cipher).await.map(|()| taken),
            Err(error) => Err(error),
        };
        (written, plain)
    }

    /// Tells the peer that nothing more comes.
    pub(super) async fn shutdown(&self) {
        let mut cipher = Vec::new();
        // They can fail only where the peer has gone already.
        if self.shared.borrow_mut().session.close(&mut cipher).is_ok() {
            drop(self.send(cipher).await);
        }
        let writer = self.shared.borrow_mut().writer.take();
        if let Some(mut writer) = writer {
            drop(writer.shutdown().await);
        }
    }

    async fn send(&self, cipher: Vec<u8>) -> io::Result<()> {
        // The reader has it while it says its last words.
        let writer = self.shared.borrow_mut().writer.take();
        let Some(mut writer) = writer else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let (sent, _) = write_all(&mut writer, cipher).await;
        self.shared.borrow_mut().writer = Some(writer);
        sent
    }
}
