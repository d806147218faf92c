//! One load thread: its core, its ring, its connections. Nothing is shared with other threads but the clock and a
//! counter for the progress bar.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the load generator has no shard::rt; this file is where it meets the runtime"
)]

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use monoio::net::TcpStream;

use crate::check::Checker;
use crate::clock::{Clock, Window};
use crate::connection::Connection;
use crate::digits::scatter;
use crate::failure::Failure;
use crate::framing::Framing;
use crate::handshake::Begun;
use crate::lane::{Desk, Lane};
use crate::pacer::pace;
use crate::plan::Plan;
use crate::ring;
use crate::tally::Tally;

/// How often a thread says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// A socket that is ready for load.
#[derive(Debug)]
pub struct Ready {
    /// Its number among all of the load.
    pub number: u32,
    /// The socket.
    pub socket: std::net::TcpStream,
    /// What its handshake left.
    pub begun: Begun,
}

/// Runs `sockets` to the end of the window and its grace; counts what came.
pub fn run(
    plan: &Plan,
    core: Option<usize>,
    sockets: Vec<Ready>,
    salt: u64,
    (clock, window): (Clock, Window),
    progress: Arc<AtomicU64>,
) -> Result<Tally, Failure> {
    if let Some(core) = core {
        ring::pin(core)?;
    }
    let requests = plan.requests();
    let request_bytes = requests.iter().map(|request| request.bytes.len()).max().unwrap_or(0);
    let rate = plan.rate.map(|rate| rate * as_share(sockets.len(), plan.connections));
    let desk = Rc::new(RefCell::new(Desk {
        checker: Checker::new(requests, plan.era, plan.tool.message_bytes, plan.raw),
        tally: Tally::new(window, rate.is_some())?,
        round: plan.mix.round(),
        window,
        paced: rate.is_some(),
    }));
    let outstanding = plan.outstanding;
    let round = desk.borrow().round.len();
    ring::runtime()?.block_on(async {
        let mut connections = Vec::new();
        let mut tasks = Vec::new();
        for Ready { number, socket, begun } in sockets {
            let failed = || Failure::io("register a connection");
            let stream = socket.try_clone().and_then(TcpStream::from_std).map_err(failed())?;
            let lane = Lane::new(
                number,
                scatter(salt ^ u64::from(number)),
                Framing::of(&plan.target),
                begun.session,
                outstanding,
                round,
            );
            let connection = Rc::new(Connection::new(lane, socket));
            connections.push(Rc::clone(&connection));
            tasks.push(monoio::spawn(connection.serve(
                stream,
                Rc::clone(&desk),
                clock,
                begun.carry,
                outstanding as usize * request_bytes,
            )));
        }
        monoio::spawn(watch(
            connections.iter().map(Rc::downgrade).collect(),
            Rc::clone(&desk),
            clock,
            window,
            progress,
        ));
        if let Some(rate) = rate {
            pace(&connections, &desk, clock, rate).await?;
        }
        for task in tasks {
            task.await;
        }
        // A socket's close is an operation of the ring: without one more turn it would stay open with the process.
        monoio::time::sleep(Duration::from_millis(1)).await;
        Ok::<(), Failure>(())
    })?;
    let mut desk = desk.borrow_mut();
    desk.tally.parsed = desk.checker.parsed;
    desk.tally.notifications += desk.checker.passed;
    let empty = Tally::new(window, false)?;
    Ok(std::mem::replace(&mut desk.tally, empty))
}

/// Tells the progress, and hangs up on connections that still wait when the grace is over. It holds none of them: the
/// runtime drops no task that still sleeps, and they would stay open with it.
async fn watch(
    connections: Vec<Weak<Connection>>,
    desk: Rc<RefCell<Desk>>,
    clock: Clock,
    window: Window,
    progress: Arc<AtomicU64>,
) {
    while clock.now_ns() < window.grace_ns {
        monoio::time::sleep(PROGRESS_EVERY).await;
        progress.store(desk.borrow().tally.answers_ever, Ordering::Relaxed);
    }
    for connection in connections.iter().filter_map(Weak::upgrade) {
        connection.hang_up();
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "connections are few against the 52 bits of a double"
)]
fn as_share(part: usize, whole: u32) -> f64 {
    part as f64 / f64::from(whole)
}
