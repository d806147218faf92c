//! A server that a suite starts, pins to a core, and ends. Which one, and what it is asked: see `suite`.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a child takes its affinity from the thread that starts it, so it gets a thread of its own"
)]

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, nanos};
use crate::failure::Failure;
use crate::ring;
use crate::target::Target;

/// A server that accepts no connection within this time does not work.
const READY_WAIT: Duration = Duration::from_secs(10);
const ASK_EVERY_NS: u64 = 10_000_000;

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it is reached.
    pub targets: Vec<Target>,
}

impl Server {
    /// Starts `program` on `core` and waits until all `targets` accept.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        environment: &[(String, OsString)],
        core: usize,
        targets: Vec<Target>,
    ) -> Result<Self, Failure> {
        let spawn = || {
            ring::pin(core)?;
            Command::new(program)
                .args(arguments)
                .envs(environment.iter().map(|(key, value)| (key, value)))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(Failure::io(format!("cannot start {}", program.display())))
        };
        let started = thread::scope(|scope| scope.spawn(spawn).join());
        let child =
            started.map_err(|_| Failure::Server("starting a server panicked".to_owned()))??;
        let mut server = Self { child, targets };
        server.ready()?;
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ready(&mut self) -> Result<(), Failure> {
        let clock = Clock::start();
        loop {
            let Some(refusal) = self.targets.iter().find_map(|target| target.open().err()) else {
                return Ok(());
            };
            if let Some(status) = self.child.try_wait().map_err(Failure::io("wait for a server"))? {
                return Err(Failure::Server(format!(
                    "the server ended at once ({status}); its complaint stands above"
                )));
            }
            if clock.now_ns() > nanos(READY_WAIT) {
                return Err(Failure::Server(format!("the server does not accept: {refusal}")));
            }
            clock.wait_until(clock.now_ns() + ASK_EVERY_NS);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill and its status was what we wanted.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A TCP port of this machine that nobody uses now.
pub fn free_port() -> Result<Target, Failure> {
    let failed = || Failure::io("find a free port");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed())?;
    listener.local_addr().map(Target::Tcp).map_err(failed())
}
