//! TCP listeners: one socket a shard on the same port, so that the kernel spreads new connections and
//! no shard accepts for another.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

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
}
