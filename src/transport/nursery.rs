//! The nursery: one thread for all children of the process. It spawns them, logs what they say on
//! stderr, sees them exit, and ends them in order: their input is closed, then SIGTERM to the group,
//! then SIGKILL. Shards never wait for a child; the bytes themselves do not pass here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use super::child::{Child, Mutter, Spec};
use crate::base::ShardId;
use crate::shard::{Dialed, Post};

/// How long a child is given at each step of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the close of its input to SIGTERM.
    pub close: Duration,
    /// From SIGTERM to SIGKILL.
    pub term: Duration,
}

impl Default for Patience {
    /// Two seconds each: what the MCP SDKs give.
    fn default() -> Self {
        Self { close: Duration::from_secs(2), term: Duration::from_secs(2) }
    }
}

enum Order {
    Spawn { key: Key, spec: Spec, post: Post },
    Release(Key),
    End,
}

/// Which dial a child belongs to: of which shard, and its ticket.
type Key = (ShardId, u64);

/// Leads to the nursery from any thread.
#[derive(Clone)]
pub struct Nurse {
    orders: mpsc::Sender<Order>,
    bell: Arc<OwnedFd>,
}

impl Nurse {
    /// Has a child spawned; the answer comes by `post`, and later how it ended.
    pub fn spawn(&self, shard: ShardId, ticket: u64, spec: Spec, post: Post) {
        let told = post.clone();
        if !self.send(Order::Spawn { key: (shard, ticket), spec, post }) {
            told.dialed(ticket, Err("the nursery has ended".to_owned()));
        }
    }

    /// The link to the child is closed; it may end now, and will.
    pub fn release(&self, shard: ShardId, ticket: u64) {
        self.send(Order::Release((shard, ticket)));
    }

    fn send(&self, order: Order) -> bool {
        let sent = self.orders.send(order).is_ok();
        // A full socket holds a wake already.
        let _ = rustix::net::send(&*self.bell, b"!", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        sent
    }
}

/// The thread and the way to it.
pub struct Nursery {
    nurse: Nurse,
    thread: JoinHandle<()>,
}

impl Nursery {
    pub fn start(patience: Patience) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (bell, heard) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let (orders, received) = mpsc::channel();
        let thread = std::thread::Builder::new().name("nursery".to_owned()).spawn(move || {
            Ward { orders: received, heard, patience, wards: Vec::new(), ending: false }.watch();
        })?;
        Ok(Self { nurse: Nurse { orders, bell: Arc::new(bell) }, thread })
    }

    pub fn nurse(&self) -> Nurse {
        self.nurse.clone()
    }

    /// Ends every child in order, and the thread; comes back when none is left.
    pub fn end(self) {
        self.nurse.send(Order::End);
        if self.thread.join().is_err() {
            tracing::error!("the nursery panicked; children may be left");
        }
    }
}

/// ```text
/// Running ──release──► Closed ──close──► Termed ──term──► Killed
///    └─────────────────────┴──── exit ──────┴────────────────┴──► Exited, until its kin are gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Closed { term_at: u64 },
    Termed { kill_at: u64 },
    Killed,
}

struct Patient {
    key: Key,
    child: Child,
    post: Post,
    mutter: Mutter,
    stage: Stage,
    exited: bool,
}

struct Ward {
    orders: mpsc::Receiver<Order>,
    heard: OwnedFd,
    patience: Patience,
    wards: Vec<Patient>,
    ending: bool,
}

/// How often kin without a parent are looked for: their end is not told to us.
const KIN_LOOK: u64 = 20;

impl Ward {
    fn watch(mut self) {
        loop {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            let now = now_ms();
            for patient in &mut self.wards {
                patient.advance(now, self.patience);
            }
            self.wards.retain(|patient| !patient.gone());
            if self.ending && self.wards.is_empty() {
                return;
            }
            self.wait(now);
            for patient in &mut self.wards {
                patient.listen();
                patient.see_exit();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Spawn { key, spec, post } if self.ending => {
                let why = format!("{} is not started: the gateway is stopping", spec.name);
                post.dialed(key.1, Err(why));
            }
            Order::Spawn { key, spec, post } => match Child::spawn(&spec) {
                Ok((child, streams)) => {
                    post.dialed(
                        key.1,
                        Ok(Dialed {
                            socket: streams.output.into(),
                            input: Some(streams.input),
                            blocks: None,
                            tells_its_end: true,
                        }),
                    );
                    let mutter = Mutter::new(spec.name);
                    let stage = Stage::Running;
                    self.wards.push(Patient { key, child, post, mutter, stage, exited: false });
                }
                Err(error) => {
                    post.dialed(key.1, Err(format!("cannot run {}: {error}", spec.command)));
                }
            },
            Order::Release(key) => {
                let now = now_ms();
                for patient in self.wards.iter_mut().filter(|patient| patient.key == key) {
                    patient.release(now, self.patience);
                }
            }
            Order::End => {
                self.ending = true;
                let now = now_ms();
                for patient in &mut self.wards {
                    patient.release(now, self.patience);
                }
            }
        }
    }

    /// Until something happens or the next step is due.
    fn wait(&self, now: u64) {
        let mut fds = vec![PollFd::new(&self.heard, PollFlags::IN)];
        for patient in &self.wards {
            if !patient.exited {
                fds.push(PollFd::from_borrowed_fd(patient.child.exit(), PollFlags::IN));
            }
            if let Some(stderr) = &patient.child.stderr {
                fds.push(PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN));
            }
        }
        let next = self.wards.iter().filter_map(|patient| patient.next_step(now)).min();
        let timeout = next.map(|at| {
            let wait = Duration::from_millis(at.saturating_sub(now));
            Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
        });
        if let Err(error) = rustix::event::poll(&mut fds, timeout.as_ref())
            && error != Errno::INTR
        {
            tracing::error!(%error, "the nursery cannot wait");
        }
        let flags = rustix::net::RecvFlags::DONTWAIT;
        while rustix::net::recv(&self.heard, &mut [0; 64][..], flags).is_ok_and(|(_, n)| n > 0) {}
    }
}

impl Patient {
    fn release(&mut self, now: u64, patience: Patience) {
        if self.stage == Stage::Running {
            self.stage = Stage::Closed { term_at: now + millis(patience.close) };
        }
    }

    /// The next step of its end, if it is due.
    fn advance(&mut self, now: u64, patience: Patience) {
        match self.stage {
            Stage::Closed { term_at } if now >= term_at => {
                self.child.signal(Signal::TERM);
                self.stage = Stage::Termed { kill_at: now + millis(patience.term) };
            }
            Stage::Termed { kill_at } if now >= kill_at => {
                self.child.signal(Signal::KILL);
                self.stage = Stage::Killed;
            }
            _ => {}
        }
    }

    fn next_step(&self, now: u64) -> Option<u64> {
        let step = match self.stage {
            Stage::Closed { term_at } => Some(term_at),
            Stage::Termed { kill_at } => Some(kill_at),
            Stage::Running | Stage::Killed => None,
        };
        if self.exited {
            return Some(step.map_or(now + KIN_LOOK, |step| step.min(now + KIN_LOOK)));
        }
        step
    }

    fn listen(&mut self) {
        let second = now_ms() / 1_000;
        let Some(stderr) = &self.child.stderr else { return };
        let mut buffer = [0; 4 << 10];
        // Bounded: a child that never stops talking must not keep the others waiting.
        for _ in 0..16 {
            match rustix::io::read(stderr, &mut buffer) {
                Ok(n @ 1..) => self.mutter.hear(buffer.get(..n).unwrap_or(&[]), second),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Ok(_) | Err(_) => {
                    self.mutter.say(second);
                    self.child.stderr = None;
                    return;
                }
            }
        }
    }

    fn see_exit(&mut self) {
        if self.exited {
            return;
        }
        if let Some(why) = self.child.reap() {
            self.exited = true;
            tracing::debug!(why, "a child ended");
            self.post.ended(self.key.1, why);
            // Whatever it started goes with it.
            if self.stage == Stage::Running {
                self.stage = Stage::Closed { term_at: 0 };
            }
        }
    }

    /// Ended, and nobody of its group is left. Kin that survive SIGKILL do not exist; kin that cannot
    /// be signalled any more are nobody's business.
    fn gone(&self) -> bool {
        self.exited && !self.child.has_kin()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let millis = time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}
