//! TCP listeners: one socket a shard on the same port, so that the kernel spreads new connections and
//! no shard accepts for another.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::shard::rt;

/// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4_096;

/// Listens on `address` with one socket for each of `shards`. Port 0 takes a free port, the same for
/// all. The address that is listened on comes back too. `is_ours`: this process listens on the port already, at another
/// address.
pub fn listen(
    address: SocketAddr,
    shards: usize,
    is_ours: bool,
) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    if address.port() != 0 && !is_ours {
        // SO_REUSEPORT would share the port silently with another process of this user: with the
        // gateway that somebody forgot to stop. A socket without it finds that out.
        drop(open(address, false)?);
    }
    let first = open(address, true)?;
    let bound: SocketAddr = rustix::net::getsockname(&first)?.try_into()?;
    let mut sockets = vec![first];
    while sockets.len() < shards {
        sockets.push(open(bound, true)?);
    }
    Ok((bound, sockets))
}

fn open(address: SocketAddr, reuse_port: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Else a restart would have to wait for the old connections' last minute.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, reuse_port)?;
    // Here rather than with each connection: they inherit it.
    rt::notice_loss(&socket)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_listen_on_the_port_that_the_first_one_got() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (bound, sockets) = listen(any, 3, false).expect("loopback");
        assert_ne!(bound.port(), 0);
        assert_eq!(sockets.len(), 3);
        let taken = listen(bound, 1, false).expect_err("the port is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_connection_whose_peer_vanishes_is_found_out() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (bound, sockets) = listen(any, 1, false).expect("loopback");
        let client = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let client = client.expect("a socket");
        rustix::net::connect(&client, &bound).expect("connected");
        let accepted = rustix::net::accept(&sockets[0]).expect("accepted");
        assert!(sockopt::socket_keepalive(&accepted).expect("an option"));
        let seconds = std::time::Duration::from_secs;
        assert_eq!(sockopt::tcp_keepidle(&accepted).expect("an option"), seconds(60));
        assert_eq!(sockopt::tcp_keepintvl(&accepted).expect("an option"), seconds(15));
        assert_eq!(sockopt::tcp_keepcnt(&accepted).expect("an option"), 4);
        assert_eq!(sockopt::tcp_user_timeout(&accepted).expect("an option"), 120_000);
    }
}
