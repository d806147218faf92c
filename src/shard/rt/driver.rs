//! Which driver a shard runs on, and how it is built: io_uring with the flags this kernel takes, a
//! smaller ring where locked memory is short, epoll where io_uring is forbidden. Not here: what runs.

use std::fmt;
use std::future::Future;
use std::io;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustix::io::Errno;

use super::EPOLL;

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// io_uring where it can be had, else epoll with a warning.
    #[default]
    Auto,
    /// io_uring or no start.
    IoUring,
    Epoll,
}

/// What a shard got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring {
        /// Submission entries; less than asked for where locked memory is short.
        entries: u32,
        /// How completions reach the thread: `coop` or `plain`.
        taskrun: &'static str,
    },
    Epoll {
        /// Why not io_uring, and what helps; `None` where epoll was asked for.
        why: Option<String>,
    },
}

impl Driver {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IoUring { .. } => "io_uring",
            Self::Epoll { .. } => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoUring { entries, taskrun } => {
                write!(f, "io_uring ({entries} entries, {taskrun} task run)")
            }
            Self::Epoll { why: None } => f.write_str("epoll"),
            Self::Epoll { why: Some(why) } => write!(f, "epoll ({why})"),
        }
    }
}

/// Entries that a shard's ring is asked for: two operations a link, a batch of 512 links a turn.
pub const RING_ENTRIES_DEFAULT: u32 = 1_024;
/// Below this a ring is not worth having (monoio has the same floor).
pub const RING_ENTRIES_MIN: u32 = 256;

enum Kind {
    IoUring(monoio::Runtime<TimeDriver<IoUringDriver>>),
    Epoll(monoio::Runtime<TimeDriver<LegacyDriver>>),
}

/// One thread's runtime. Must be built on the thread that runs it.
pub struct Runtime {
    kind: Kind,
    driver: Driver,
}

impl Runtime {
    /// Builds what `choice` asks for. `entries` below [`RING_ENTRIES_MIN`] count as that.
    pub fn build(choice: DriverChoice, entries: u32) -> io::Result<Self> {
        let why = match choice {
            DriverChoice::Epoll => None,
            DriverChoice::IoUring | DriverChoice::Auto => match ring(entries) {
                Ok((runtime, driver)) => {
                    EPOLL.set(false);
                    return Ok(Self { kind: Kind::IoUring(runtime), driver });
                }
                Err(error) if choice == DriverChoice::IoUring => {
                    let told = format!("io_uring cannot be used: {}", remedy(&error));
                    return Err(io::Error::new(error.kind(), told));
                }
                Err(error) => Some(remedy(&error)),
            },
        };
        let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
        EPOLL.set(true);
        Ok(Self { kind: Kind::Epoll(runtime), driver: Driver::Epoll { why } })
    }

    pub const fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Runs `future` to its end, and whatever it spawns meanwhile.
    pub fn run<F: Future>(&mut self, future: F) -> F::Output {
        match &mut self.kind {
            Kind::IoUring(runtime) => runtime.block_on(future),
            Kind::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

type Ring = monoio::Runtime<TimeDriver<IoUringDriver>>;

/// A ring with the best flags the kernel takes. Without COOP_TASKRUN every completion interrupts the
/// busy thread: in a virtual machine that costs half the throughput.
///
/// Not DEFER_TASKRUN, which is as fast: with it the kernel completes at most twenty waiting reads each time
/// the ring is entered (`IO_LOCAL_TW_DEFAULT_MAX`), while a read that finds its bytes there completes at
/// once. Among a thousand busy links some were then served a quarter as often as others.
fn ring(entries: u32) -> io::Result<(Ring, Driver)> {
    let mut entries = entries.clamp(RING_ENTRIES_MIN, 32_768);
    loop {
        let mut refused = None;
        for taskrun in ["coop", "plain"] {
            // Never SQPOLL: monoio 0.2.4 panics with it under load.
            let mut builder = io_uring::IoUring::builder();
            if taskrun == "coop" {
                builder.setup_coop_taskrun();
            }
            let built = RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(entries)
                .uring_builder(builder)
                .enable_timer()
                .build();
            match built {
                Ok(runtime) => return Ok((runtime, Driver::IoUring { entries, taskrun })),
                // A kernel that does not know the flag.
                Err(error) if is(&error, Errno::INVAL) => refused = Some(error),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let error = refused.unwrap_or_else(|| io::Error::from(io::ErrorKind::Unsupported));
        // Rings are charged to locked memory again since 6.14; a smaller one may fit.
        if is(&error, Errno::NOMEM) && entries > RING_ENTRIES_MIN {
            entries = (entries / 2).max(RING_ENTRIES_MIN);
            continue;
        }
        return Err(error);
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// The cause in an operator's words, and what helps.
fn remedy(error: &io::Error) -> String {
    if is(error, Errno::PERM) || is(error, Errno::ACCESS) {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .is_ok_and(|text| text.trim() != "0");
        if disabled {
            return "the sysctl kernel.io_uring_disabled forbids it; set it to 0".to_owned();
        }
        return "a seccomp filter forbids it (Docker since 25, containerd since 2.0, Kubernetes \
                RuntimeDefault); allow io_uring_setup, io_uring_enter and io_uring_register in the \
                container's seccomp profile"
            .to_owned();
    }
    if is(error, Errno::NOSYS) {
        return "the kernel has no io_uring, or a seccomp filter hides it (Podman); run 5.11 or \
                newer, or allow io_uring_setup, io_uring_enter and io_uring_register"
            .to_owned();
    }
    if is(error, Errno::NOMEM) {
        return "not enough locked memory even for a ring of 256 entries; raise RLIMIT_MEMLOCK \
                (ulimit -l, LimitMEMLOCK=)"
            .to_owned();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_with_its_remedy() {
        let told = |errno: Errno| remedy(&io::Error::from(errno));
        assert!(told(Errno::NOSYS).contains("5.11"));
        assert!(told(Errno::NOMEM).contains("RLIMIT_MEMLOCK"));
        let forbidden = told(Errno::PERM);
        assert!(forbidden.contains("seccomp") || forbidden.contains("sysctl"));
    }

    #[test]
    fn epoll_is_had_when_asked_for_and_says_so() {
        let mut runtime = Runtime::build(DriverChoice::Epoll, 256).expect("epoll is everywhere");
        assert_eq!(runtime.driver(), &Driver::Epoll { why: None });
        assert_eq!(runtime.run(async { 7 }), 7);
    }
}
