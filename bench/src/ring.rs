//! The `io_uring` runtime that load threads and the raw server run on. No fallback: a floor on another driver would be
//! another floor.

use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use crate::failure::Failure;

/// Submission entries: enough for a submission of every connection in one turn of a thousand.
const ENTRIES: u32 = 1024;

/// A runtime for this thread, with timers. Cooperative task work, because without it every completion interrupts
/// the busy core; plain on kernels that refuse it. Never deferred, which is unfair among many connections (the kernel
/// then completes twenty waiting reads an entry): what is measured must be the server's fairness.
pub fn runtime() -> Result<Runtime<TimeDriver<IoUringDriver>>, Failure> {
    let mut cooperative = io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun();
    let mut last = None;
    for setup in [cooperative, io_uring::IoUring::builder()] {
        match RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(ENTRIES)
            .uring_builder(setup)
            .enable_timer()
            .build()
        {
            Ok(runtime) => return Ok(runtime),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => last = Some(error),
            Err(error) => return Err(refused(error)),
        }
    }
    Err(refused(last.unwrap_or_else(|| io::ErrorKind::Unsupported.into())))
}

fn refused(error: io::Error) -> Failure {
    Failure::Io(
        "io_uring_setup (look at kernel.io_uring_disabled, seccomp and RLIMIT_MEMLOCK)".to_owned(),
        error,
    )
}

/// Pins the calling thread to `core`.
pub fn pin(core: usize) -> Result<(), Failure> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        Ok(())
    } else {
        Err(Failure::Usage(format!("core {core} is not among the cores this process may use")))
    }
}
