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
use super::crowd;
use super::domain::Domain;
use super::rt::{self, Listener};
use super::tls::{self, Alpn, Certified, ServerTls, Trouble};
use super::ways::{Way, WayId};
use crate::gateway::Transport;

/// What stands between a listening socket and its transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    #[default]
    Plain,
    /// TLS, by the configuration that the shard has when a client comes.
    Tls,
    /// Whoever asks here over HTTP is sent to HTTPS, on this port.
    Redirect(u16),
}

/// A listening socket, and whose.
#[derive(Debug)]
pub struct Listening {
    pub socket: OwnedFd,
    pub way: Way,
}

/// What is known of a client by the way it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival {
    /// From where, where that is counted.
    pub(super) from: Option<IpAddr>,
    pub(super) door: Door,
    pub(super) way: WayId,
    /// Who it is by its certificate.
    pub(super) certified: Option<Certified>,
    /// What it is to speak, where its handshake has chosen that.
    pub(super) alpn: Option<Alpn>,
}

/// Accepted in one go, before links get their turn.
const BATCH: usize = 64;
/// Between two goes while more may be waiting: the timer lets every other task run once.
const BREATH: Duration = Duration::from_millis(1);
/// After a failed accept: most often no file descriptor is left, and asking again at once would spin.
const PAUSE: Duration = Duration::from_millis(10);
/// What an HTTP client is told where `clients_max` or `max_connections` are connected.
const OVERFULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
                          content-length: 0\r\nconnection: close\r\n\r\n";

/// Accepts until the shard drains, or the listener is closed.
pub(super) async fn accept<D: Domain>(shard: Rc<Shard<D>>, listener: Listener, mut way: Way) {
    loop {
        accept_by(&shard, &listener, way).await;
        let core = &mut *shard.core.borrow_mut();
        if core.phase >= Phase::Draining {
            return;
        }
        let Some(next) = core.ways.after(way.id) else {
            // Whoever has connected already, and asks, is answered. Of a line nothing is known yet: it is closed, as
            // those that are idle are.
            while let Ok(Some(socket)) = listener.accept() {
                if way.transport == Transport::Http {
                    admit(&shard, core, socket, way);
                }
            }
            return listener.refuse();
        };
        way = next;
    }
}

async fn accept_by<D: Domain>(shard: &Rc<Shard<D>>, listener: &Listener, way: Way) {
    let mut failing = false;
    let is_closed = |core: &Core<D>| !core.ways.is_open(way.id);
    while until_drain(shard, is_closed, listener.ready()).await.is_some() {
        for taken in 0.. {
            if taken == BATCH {
                rt::sleep(BREATH).await;
                break;
            }
            match listener.accept() {
                Ok(Some(socket)) => {
                    failing = false;
                    let core = &mut *shard.core.borrow_mut();
                    admit(shard, core, socket, way);
                }
                Ok(None) => break,
                // All shards have one socket file together, and another has closed it first.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                    until_drain(shard, is_closed, std::future::pending::<()>()).await;
                    return;
                }
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
    way: Way,
) {
    let Way { id, transport, door } = way;
    // Who waits for a handshake could not read it.
    let says_why = transport == Transport::Http && door != Door::Tls;
    if matches!(transport, Transport::Tcp | Transport::Http) {
        // Fails only on a socket that is gone already; the first read will tell.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
    }
    if !core.takes_clients(transport) {
        if transport == Transport::Tcp {
            // It is reset, so that its peer does not take it for a server that had nothing to say.
            let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        if says_why {
            // As much as fits without waiting: that is all of it.
            let _ = rustix::net::send(&socket, OVERFULL, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        return;
    }
    let mut from = None;
    if matches!(transport, Transport::Tcp | Transport::Http) && core.domain.counts_addresses() {
        from = peer(&socket);
        if let Some(Err(wait)) = from.map(|from| core.lets_in(from)) {
            if says_why {
                let _ = rustix::net::send(
                    &socket,
                    too_many(wait).as_bytes(),
                    SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
                );
            }
            return;
        }
    }
    if door == Door::Tls {
        core.shaking += 1;
        if let Some((open, _)) = crowd::counts(&core.meter, transport) {
            open.add(1);
        }
        let shaking = Shaking { shard: Rc::clone(shard), transport };
        rt::spawn(shake_hands(shaking, socket, way, from));
        return;
    }
    match rt::adopt(socket) {
        Ok(halves) => {
            let arrival = Arrival { from, door, way: id, ..Arrival::default() };
            let link = core.open_client(transport, arrival);
            rt::spawn(super::carrier::carry(Rc::clone(shard), link, halves));
        }
        Err(error) => tracing::warn!(%error, "a connection could not be taken in"),
    }
}

/// A connection that shakes hands, which counts as a client already.
struct Shaking<D: Domain> {
    shard: Rc<Shard<D>>,
    transport: Transport,
}

impl<D: Domain> Drop for Shaking<D> {
    fn drop(&mut self) {
        let core = &mut *self.shard.core.borrow_mut();
        core.shaking -= 1;
        if let Some((open, _)) = crowd::counts(&core.meter, self.transport) {
            open.less();
        }
    }
}

/// Opens a link once its handshake is done; one that fails costs nobody else anything.
async fn shake_hands<D: Domain>(
    shaking: Shaking<D>,
    socket: OwnedFd,
    Way { id, transport, .. }: Way,
    from: Option<IpAddr>,
) {
    let (tls, within) = {
        let core = shaking.shard.core.borrow();
        (core.tls.clone(), core.limits.tls_handshake)
    };
    let Some(tls) = tls else { return };
    let welcome = welcome(&tls, socket, transport, within);
    let shaken = until_drain(&shaking.shard, |core| !core.takes_by(id, transport), welcome).await;
    let Some(shaken) = shaken else { return };
    match shaken {
        Ok((halves, certified, alpn)) => {
            let shard = Rc::clone(&shaking.shard);
            drop(shaking);
            let core = &mut *shard.core.borrow_mut();
            core.meter.tls_handshakes.add(1);
            // A drain may have begun meanwhile, or its certificate's name been taken away.
            let is_known = |it: &Certified| core.tls.as_ref().is_some_and(|tls| tls.knows(it));
            if core.takes_clients(transport) && certified.as_ref().is_none_or(is_known) {
                let arrival = Arrival { from, door: Door::Tls, way: id, certified, alpn };
                let link = core.open_client(transport, arrival);
                rt::spawn(super::carrier::carry(Rc::clone(&shard), link, halves));
            }
        }
        Err(error) => {
            let trouble = Trouble::of(&error);
            match from {
                Some(from) => tls::tell_later(trouble, &format_args!("{error}, from {from}")),
                None => tls::tell_later(trouble, &error),
            }
            shaking.shard.core.borrow_mut().open_turn();
        }
    }
}

type Welcomed = ((rt::Reader, rt::Writer), Option<Certified>, Option<Alpn>);

async fn welcome(
    tls: &ServerTls,
    socket: OwnedFd,
    transport: Transport,
    within: Duration,
) -> std::io::Result<Welcomed> {
    let session = tls.session(transport == Transport::Http).map_err(std::io::Error::other)?;
    let guest = rt::welcome(socket, Box::new(session), within).await?;
    match tls.identify(guest.certificate.as_deref()) {
        Ok(certified) => Ok((guest.halves, certified, guest.alpn)),
        // A request may show a key instead; a line cannot.
        Err(_) if transport == Transport::Http => Ok((guest.halves, None, guest.alpn)),
        Err(why) => {
            let (_reader, mut writer) = guest.halves;
            writer.shutdown().await;
            Err(tls::nobody(why))
        }
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

/// Awaits `wait`, or `None` when the shard drains first, or the way has come to its `end`; the wait is then given up, and
/// its socket with it.
async fn until_drain<D: Domain, T>(
    shard: &Shard<D>,
    end: impl Fn(&Core<D>) -> bool,
    wait: impl Future<Output = T>,
) -> Option<T> {
    let mut wait = pin!(wait);
    let mut met = None;
    poll_fn(|cx| {
        {
            let core = &mut *shard.core.borrow_mut();
            if core.phase >= Phase::Draining || end(core) {
                return Poll::Ready(None);
            }
            core.on_phase.register(&mut met, cx);
        }
        wait.as_mut().poll(cx).map(Some)
    })
    .await
}
