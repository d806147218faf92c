//! The floor: an echo on `io_uring` that parses nothing. It reads bytes and writes the same bytes; what it costs is what
//! sockets cost, so the gateway's distance from it is the gateway's own work. Floors that must parse something are in the
//! files of this folder.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the floor has no shard::rt to stand on; this file is where it meets the runtime"
)]

mod events;
mod http;
mod http2;
mod relay;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Split};
use monoio::net::{TcpListener, UnixListener};
use monoio::task::JoinHandle;

use crate::args::RawMode;
use crate::failure::Failure;
use crate::ring;
use crate::target::Target;

/// Accepts that wait at once: with one, new connections starve behind a thousand busy ones.
const ACCEPTS: usize = 32;
/// Bytes read at once; more than 128 requests of ordinary size.
const READ_BYTES: usize = 32 * 1024;

/// A bound socket that does not serve yet.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
}

/// Binds `listen`; a Unix path that a former run left behind is replaced.
pub fn bind(listen: &Target) -> Result<Bound, Failure> {
    let failed = || Failure::io(format!("cannot listen on {listen}"));
    match listen {
        Target::Tcp(address) => {
            std::net::TcpListener::bind(address).map(Bound::Tcp).map_err(failed())
        }
        Target::Unix(path) => {
            use std::os::unix::fs::FileTypeExt;
            if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
                std::fs::remove_file(path).map_err(failed())?;
            }
            std::os::unix::net::UnixListener::bind(path).map(Bound::Unix).map_err(failed())
        }
        Target::Stdio(_) | Target::Web(_) => {
            Err(Failure::Usage("raw listens on tcp:// or unix://".to_owned()))
        }
    }
}

/// Serves all of `bound` for ever on this thread, pinned to `core`; a relay carries what comes to `to`.
pub fn serve(
    bound: Vec<Bound>,
    core: Option<usize>,
    mode: RawMode,
    to: Option<SocketAddr>,
) -> Result<(), Failure> {
    if (mode == RawMode::Relay) != to.is_some() {
        return Err(Failure::Usage("--to goes with --mode relay, which needs it".to_owned()));
    }
    if let Some(core) = core {
        ring::pin(core)?;
    }
    ring::runtime()?.block_on(async {
        let mut accepts = Vec::new();
        let hub = Rc::new(events::Hub::default());
        for bound in bound {
            accepts.extend(accept(bound, (mode, to), &hub).map_err(Failure::io("listen"))?);
        }
        for accept in accepts {
            accept.await;
        }
        Err(Failure::Server("accepting failed; are there descriptors left?".to_owned()))
    })
}

/// What is done, and to whom a relay carries it.
type Mode = (RawMode, Option<SocketAddr>);

fn accept(bound: Bound, mode: Mode, hub: &Rc<events::Hub>) -> io::Result<Vec<JoinHandle<()>>> {
    let mut accepts = Vec::new();
    match bound {
        Bound::Tcp(listener) => {
            let listener = Rc::new(TcpListener::from_std(listener)?);
            for _ in 0..ACCEPTS {
                let (listener, hub) = (Rc::clone(&listener), Rc::clone(hub));
                accepts.push(monoio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        if stream.set_nodelay(true).is_ok() {
                            monoio::spawn(answer(stream, mode, Rc::clone(&hub)));
                        }
                    }
                }));
            }
        }
        Bound::Unix(listener) => {
            let listener = Rc::new(UnixListener::from_std(listener)?);
            for _ in 0..ACCEPTS {
                let (listener, hub) = (Rc::clone(&listener), Rc::clone(hub));
                accepts.push(monoio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        monoio::spawn(answer(stream, mode, Rc::clone(&hub)));
                    }
                }));
            }
        }
    }
    Ok(accepts)
}

async fn answer<S>(stream: S, (mode, to): Mode, hub: Rc<events::Hub>)
where
    S: AsyncReadRent + AsyncWriteRent + Split + 'static,
{
    match mode {
        RawMode::Echo => echo(stream).await,
        RawMode::Relay => {
            if let Some(to) = to {
                relay::carry(stream, to).await;
            }
        }
        RawMode::Events => hub.serve(stream).await,
        RawMode::H2 => http2::respond(stream).await,
        RawMode::Http => http::respond(stream, http::echo).await,
        RawMode::Mcp => http::respond(stream, http::mcp).await,
    }
}

async fn echo<S: AsyncReadRent + AsyncWriteRent>(mut stream: S) {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        let (result, slice) = stream.read(bytes.slice_mut(0..READ_BYTES)).await;
        bytes = slice.into_inner();
        let Ok(len @ 1..) = result else { return };
        bytes.truncate(len);
        let (result, back) = stream.write_all(bytes).await;
        bytes = back;
        if result.is_err() {
            return;
        }
    }
}
