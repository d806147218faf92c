//! How a connection to a server's address is made: TCP within a time, and TLS on it where the server is behind that.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::resolve::resolve;
use crate::gateway::settings::Host;
use crate::shard::rt::{self, Address, Socket};
use crate::shard::tls::{self, ClientTls};

/// See the module. Clones lead the same way.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) host: Host,
    pub(super) tls: Option<ClientTls>,
    /// How long each of the two may take.
    pub(super) within: Duration,
}

impl Reach {
    pub(super) async fn connect(&self) -> io::Result<Socket> {
        let socket = connect(&self.host, self.within).await?;
        let Some(client) = &self.tls else { return Ok(socket.into()) };
        // Boxed: most upstreams need none, and a handshake is rare where one does.
        let secured = Box::pin(rt::secure(socket, client.session()?, self.within)).await;
        secured.map_err(|error| tls::failed(error, &client.name()))
    }
}

/// Connects to the first address of a host that answers; each gets the whole time.
pub(super) async fn connect(host: &Host, within: Duration) -> io::Result<OwnedFd> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(host).await?.iter() {
        match rt::connect(&Address::Tcp(*address), within).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
