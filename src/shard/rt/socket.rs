//! Streams, listeners and connects. One type of each for TCP, Unix and socketpairs: to the runtime a
//! stream socket is a stream socket. Not here: framing, buffers, addresses as operators write them.

use std::cell::UnsafeCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::buf::{IoBuf, IoBufMut, Slice, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable as _};
use monoio::net::{UnixListener, UnixStream};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::is_epoll;
use super::secure::{self, SecureReader, SecureWriter, Socket};

/// The half that reads. A read must be awaited to its end, or given up together with the socket: a
/// read that is dropped and asked for anew loses bytes.
pub struct Reader(ReadHalf);

enum ReadHalf {
    Plain(OwnedReadHalf<UnixStream>),
    Secure(Box<SecureReader>),
}

impl Reader {
    pub(super) fn secure(reader: SecureReader) -> Self {
        Self(ReadHalf::Secure(Box::new(reader)))
    }

    /// Appends to `buffer` what comes, at most its spare capacity; 0 is the end of the stream.
    pub fn read(
        &mut self,
        buffer: Vec<u8>,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> + use<'_> {
        match &mut self.0 {
            ReadHalf::Plain(half) => {
                let (from, to) = (buffer.len(), buffer.capacity());
                let operation = Unsliced { operation: half.read(buffer.slice_mut(from..to)) };
                Operation::Plain { operation }
            }
            // Boxed, so that a plain read is as small as it can be.
            ReadHalf::Secure(reader) => {
                Operation::Secure { operation: Box::pin(reader.read(buffer)) }
            }
        }
    }

    /// Whether nothing lies in the socket that a read would bring; `twin` is the same socket. No read may be under
    /// way.
    pub fn is_quiet(&mut self, twin: &OwnedFd) -> bool {
        let receive = |bytes: &mut [u8], flags| {
            rustix::net::recv(twin, bytes, flags | RecvFlags::DONTWAIT)
                .map(|(n, _)| n)
                .map_err(io::Error::from)
        };
        match &mut self.0 {
            ReadHalf::Plain(_) => receive(&mut [0], RecvFlags::PEEK)
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock),
            ReadHalf::Secure(reader) => reader.settle(|bytes| receive(bytes, RecvFlags::empty())),
        }
    }
}

/// The half that writes. Dropping it shuts the socket's writing side.
pub struct Writer(WriteHalf);

enum WriteHalf {
    Plain(OwnedWriteHalf<UnixStream>),
    Secure(Box<SecureWriter>),
}

impl Writer {
    pub(super) fn secure(writer: SecureWriter) -> Self {
        Self(WriteHalf::Secure(Box::new(writer)))
    }

    /// Writes some of `buffer` from `from` on; short writes are normal.
    pub fn write(
        &mut self,
        buffer: Vec<u8>,
        from: usize,
    ) -> impl Future<Output = (io::Result<usize>, Vec<u8>)> + use<'_> {
        match &mut self.0 {
            WriteHalf::Plain(half) => {
                let operation = Unsliced { operation: half.write(buffer.slice(from..)) };
                Operation::Plain { operation }
            }
            WriteHalf::Secure(writer) => {
                Operation::Secure { operation: Box::pin(writer.write(buffer, from)) }
            }
        }
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (written, back) = self.write(bytes, done).await;
            bytes = back;
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes.
    pub async fn shutdown(&mut self) {
        match &mut self.0 {
            // It can fail only where the peer has gone already.
            WriteHalf::Plain(half) => drop(half.shutdown().await),
            WriteHalf::Secure(writer) => Box::pin(writer.shutdown()).await,
        }
    }
}

/// What a read or a write comes back with.
type Done = (io::Result<usize>, Vec<u8>);

pin_project_lite::pin_project! {
    /// A read or a write. The one branch that TLS costs who does not speak it.
    #[project = OperationProjection]
    enum Operation<'a, F> {
        Plain {
            #[pin]
            operation: F,
        },
        Secure { operation: Pin<Box<dyn Future<Output = Done> + 'a>> },
    }
}

impl<F: Future<Output = Done>> Future for Operation<'_, F> {
    type Output = Done;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        match self.project() {
            OperationProjection::Plain { operation } => operation.poll(cx),
            OperationProjection::Secure { operation } => operation.as_mut().poll(cx),
        }
    }
}

pin_project_lite::pin_project! {
    /// An operation whose buffer comes back as it was lent. By hand rather than as an async function,
    /// which would hold the operation twice: an idle link is mostly its pending read.
    struct Unsliced<F> {
        #[pin]
        operation: F,
    }
}

pub(super) trait Sliced {
    fn whole(self) -> Vec<u8>;
}

impl Sliced for SliceMut<Vec<u8>> {
    fn whole(self) -> Vec<u8> {
        self.into_inner()
    }
}

impl Sliced for Slice<Vec<u8>> {
    fn whole(self) -> Vec<u8> {
        self.into_inner()
    }
}

impl<S: Sliced, F: Future<Output = (io::Result<usize>, S)>> Future for Unsliced<F> {
    type Output = (io::Result<usize>, Vec<u8>);

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().operation.poll(cx).map(|(result, slice)| (result, slice.whole()))
    }
}

/// Takes a connected stream socket into this thread's runtime.
pub fn adopt(socket: impl Into<Socket>) -> io::Result<(Reader, Writer)> {
    let Socket { fd, session } = socket.into();
    let stream = take_in(fd)?;
    if let Some(session) = session {
        return Ok(secure::split(stream, session));
    }
    let (reader, writer) = stream.into_split();
    Ok((Reader(ReadHalf::Plain(reader)), Writer(WriteHalf::Plain(writer))))
}

/// As [`adopt`], for a socket that is only read. The other direction is left alone: a child that
/// watches its output would take an end there for ours.
pub fn adopt_reader(fd: OwnedFd) -> io::Result<Reader> {
    Ok(Reader(ReadHalf::Plain(OwnedReadHalf(Rc::new(UnsafeCell::new(take_in(fd)?))))))
}

/// As [`adopt`], for a socket that is only written.
pub fn adopt_writer(fd: OwnedFd) -> io::Result<Writer> {
    Ok(Writer(WriteHalf::Plain(OwnedWriteHalf(Rc::new(UnsafeCell::new(take_in(fd)?))))))
}

pub(super) fn take_in(fd: OwnedFd) -> io::Result<UnixStream> {
    // io_uring waits by itself on a blocking socket and returns EAGAIN on the other kind; epoll needs
    // the other kind.
    rustix::io::ioctl_fionbio(&fd, is_epoll())?;
    UnixStream::from_std(std::os::unix::net::UnixStream::from(fd))
}

/// A listening socket. Waits by the runtime and accepts by accept4 until nothing is left: one accept
/// a turn lets new connections starve for a second under load, and monoio's accept leaves sockets
/// open to children.
pub struct Listener {
    socket: OwnedFd,
    waiter: UnixListener,
}

impl Listener {
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let twin = socket.try_clone()?;
        let waiter = UnixListener::from_std(std::os::unix::net::UnixListener::from(twin))?;
        Ok(Self { socket, waiter })
    }

    /// Comes back when there is something to accept.
    pub async fn ready(&self) -> io::Result<()> {
        self.waiter.readable(false).await
    }

    /// Whoever connects from now on is refused. The kernel may wait for a connection on our behalf, and would keep
    /// the socket open for that beyond our own end of it.
    pub fn refuse(self) {
        // Of a socket that others have closed already nothing is left to be done.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// The next connection, or `None` when no other waits.
    pub fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let mode = if is_epoll() { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
        loop {
            match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC | mode) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::AGAIN) => return Ok(None),
                // The peer of a waiting connection has gone; the next may live.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Where a stream socket connects to. Numeric only: looking up a name blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A TCP connection of which nothing was heard for so long is asked whether its peer is there: sooner than a balancer or
/// a NAT forgets it (RFC 5382 section 5 lets them after two hours; many do after five minutes).
const PROBE_AFTER: Duration = Duration::from_mins(1);
/// How often it is asked then.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// Probes without an answer after which it is reset. One that is lost on the way must not end it.
const PROBES_MAX: u32 = 4;
/// How long what was sent may stay unacknowledged, in milliseconds: as long as the probes take. Where there is something
/// to be sent nothing is probed, and the kernel alone would try for a quarter of an hour.
const UNHEARD_MAX_MS: u32 = 120_000;

/// Has the kernel end a TCP connection whose peer is gone without a word: its machine has lost power, or a NAT its table.
/// Connections that a listening socket accepts have what it has.
pub fn notice_loss(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, PROBES_MAX)?;
    sockopt::set_tcp_user_timeout(socket, UNHEARD_MAX_MS)?;
    Ok(())
}

/// Connects, or gives up after `within`.
pub async fn connect(address: &Address, within: Duration) -> io::Result<OwnedFd> {
    let family = match address {
        Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
        Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
        Address::Unix(_) => AddressFamily::UNIX,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let begun = match address {
        Address::Tcp(address) => {
            sockopt::set_tcp_nodelay(&socket, true)?;
            notice_loss(&socket)?;
            rustix::net::connect(&socket, address)
        }
        Address::Unix(path) => rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_path())?),
    };
    match begun {
        Ok(()) => return Ok(socket),
        Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    // The wait is for a twin, so that the socket itself stays ours whatever becomes of the wait.
    let twin = UnixStream::from_std(std::os::unix::net::UnixStream::from(socket.try_clone()?))?;
    let mut connected = pin!(twin.writable(false));
    let mut late = pin!(super::sleep(within));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = connected.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        late.as_mut().poll(cx).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
    })
    .await?;
    sockopt::socket_error(socket.as_fd())??;
    Ok(socket)
}

/// The first line that comes on a connected socket, without its line break; what follows it stays in the socket. Gives
/// up after `within`, and on a line that is longer than `bytes_max`.
pub async fn first_line(
    socket: &OwnedFd,
    bytes_max: usize,
    within: Duration,
) -> io::Result<Vec<u8>> {
    // As in `connect`: the wait is for a twin.
    let twin = UnixStream::from_std(std::os::unix::net::UnixStream::from(socket.try_clone()?))?;
    let mut line = pin!(async {
        let mut line = Vec::new();
        let mut room = [0; 256];
        while line.len() <= bytes_max {
            twin.readable(false).await?;
            let flags = RecvFlags::DONTWAIT;
            let seen = match rustix::net::recv(socket, &mut room, flags | RecvFlags::PEEK) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((n, _)) => room.get(..n).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let end = memchr::memchr(b'\n', seen);
            let taken = end.map_or(seen.len(), |end| end + 1);
            let (n, _) =
                rustix::net::recv(socket, room.get_mut(..taken).unwrap_or_default(), flags)?;
            line.extend_from_slice(room.get(..n).unwrap_or_default());
            if end.is_some() {
                line.pop();
                return Ok(line);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is too long"))
    });
    let mut late = pin!(super::sleep(within));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = line.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        late.as_mut().poll(cx).map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
    })
    .await
}
