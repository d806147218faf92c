//! The admin listener: where an operator looks at the gateway and tells it the few things that may be told while it
//! runs. Threads of its own, one a connection, which block as they please: shards are only asked what they have
//! counted, and nobody waits for one that does not answer. Its HTTP is `wire`'s, plain and small; agents have nothing
//! to do with it, and their keys do not open it.
//!
//! | | |
//! |---|---|
//! | `GET /metrics`, `GET /metrics.json` | what was counted, for Prometheus or as JSON |
//! | `GET /health`, `GET /ready` | whether it lives; whether requests are welcome |
//! | `GET /`, `GET /dashboard`, `GET /events` | a page, and what it lives on |
//! | `POST /drain` | as SIGTERM |
//! | `GET /log-level`, `PUT /log-level` | how much is told |

mod access;
mod exchange;
mod families;
mod gather;
mod metrics;
mod overview;
mod process;
mod recent;
mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::config::Admin;
use access::Access;
pub(super) use gather::Gatherer;
use routes::Desk;
pub(super) use routes::LEAVE_ASKED;

/// Connections at once. A dashboard has two, Prometheus one; beyond, a new one is closed.
const CONNECTIONS_MAX: usize = 64;

/// Binds, and serves for the life of the process. Gives the address that it turned out to be.
pub(super) fn start(admin: &Admin, gatherer: Gatherer) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(admin.listen)?;
    let address = listener.local_addr()?;
    let desk = Arc::new(Desk::new(Access::new(admin), gatherer));
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || accept(&listener, &desk))?;
    Ok(address)
}

fn accept(listener: &TcpListener, desk: &Arc<Desk>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((socket, _)) = listener.accept() else {
            // No descriptor left, most often: those who wait are still there after a while.
            std::thread::park_timeout(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (desk, counted) = (Arc::clone(desk), Counted(Arc::clone(&open)));
        let served = std::thread::Builder::new().name("admin-client".to_owned()).spawn(move || {
            // Whoever leaves in the middle has left.
            let _ = exchange::serve(socket, &desk);
            drop(counted);
        });
        if let Err(error) = served {
            tracing::warn!(%error, "the admin listener cannot serve a connection");
        }
    }
}

/// A connection that is open.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
