//! Takes new clients from a listening socket and gives each its task. Not here: binding, which is the
//! floor above's.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rustix::net::SendFlags;

use super::Shard;
use super::core::{Core, Phase};
use super::domain::Domain;
use super::rt::{self, Listener};
use crate::gateway::Transport;

/// Accepted in one go, before links get their turn.
const BATCH: usize = 64;
/// Between two goes while more may be waiting: the timer lets every other task run once.
const BREATH: Duration = Duration::from_millis(1);
/// After a failed accept: most often no file descriptor is left, and asking again at once would spin.
const PAUSE: Duration = Duration::from_millis(10);
/// What an HTTP client is told where `clients_max` or `max_connections` are connected.
const OVERFULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";

/// Accepts until the shard drains.
pub(super) async fn accept<D: Domain>(
    shard: Rc<Shard<D>>,
    listener: Listener,
    transport: Transport,
) {
    let mut failing = false;
    while until_drain(&shard, listener.ready()).await.is_some() {
        for taken in 0.. {
            if taken == BATCH {
                rt::sleep(BREATH).await;
                break;
            }
            match listener.accept() {
                Ok(Some(socket)) => {
                    failing = false;
                    let core = &mut *shard.core.borrow_mut();
                    admit(&shard, core, socket, transport);
                }
                Ok(None) => break,
                Err(error) => {
                    shard.core.borrow().meter.accept_failures.add(1);
                    if !failing {
                        failing = true;
                        tracing::warn!(%error, "a connection could not be accepted; raise nofile (ulimit -n) if file descriptors ran out");
                    }
                    rt::sleep(PAUSE).await;
                    break;
                }
            }
        }
    }
}

/// Opens a link for a connected socket, or closes it where there are enough.
pub(super) fn admit<D: Domain>(
    shard: &Rc<Shard<D>>,
    core: &mut Core<D>,
    socket: OwnedFd,
    transport: Transport,
) {
    if matches!(transport, Transport::Tcp | Transport::Http) {
        // Fails only on a socket that is gone already; the first read will tell.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
    }
    if !core.takes_clients(transport) {
        if transport == Transport::Tcp {
            // It is reset, so that its peer does not take it for a server that had nothing to say.
            let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        if transport == Transport::Http {
            // As much as fits without waiting: that is all of it.
            let _ = rustix::net::send(&socket, OVERFULL, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        return;
    }
    let mut from = None;
    if matches!(transport, Transport::Tcp | Transport::Http) && core.domain.counts_addresses() {
        from = peer(&socket);
        if let Some(Err(wait)) = from.map(|from| core.lets_in(from)) {
            if transport == Transport::Http {
                let _ = rustix::net::send(
                    &socket,
                    too_many(wait).as_bytes(),
                    SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
                );
            }
            return;
        }
    }
    match rt::adopt(socket) {
        Ok(halves) => {
            let link = core.open_client(transport, from);
            rt::spawn(super::carrier::carry(Rc::clone(shard), link, halves));
        }
        Err(error) => tracing::warn!(%error, "a connection could not be taken in"),
    }
}

/// Where a connection comes from; `None` if it is gone already.
fn peer(socket: &OwnedFd) -> Option<IpAddr> {
    let address = rustix::net::getpeername(socket).ok()??;
    SocketAddr::try_from(address).ok().map(|address| address.ip())
}

/// What an HTTP client is told that connects too often (RFC 6585 section 4).
fn too_many(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    format!(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

/// Awaits `wait`, or `None` when the shard drains first; the wait is then given up, and its socket
/// with it.
async fn until_drain<D: Domain, T>(shard: &Shard<D>, wait: impl Future<Output = T>) -> Option<T> {
    let mut wait = pin!(wait);
    let mut met = false;
    poll_fn(|cx| {
        let core = &mut *shard.core.borrow_mut();
        if core.phase >= Phase::Draining {
            return Poll::Ready(None);
        }
        if !met {
            met = true;
            core.on_phase.push(cx.waker().clone());
        }
        wait.as_mut().poll(cx).map(Some)
    })
    .await
}
