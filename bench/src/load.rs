//! A load from its first connection to its report: opens connections, starts the threads, measures the server from
//! outside while they work, and adds up.

#![allow(clippy::disallowed_methods, reason = "load threads are made here, and only here")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::clock::{Clock, Window};
use crate::failure::Failure;
use crate::handshake::begin;
use crate::http1::session_header;
use crate::http2;
use crate::plan::Plan;
use crate::process::{machine_ns, usage};
use crate::report::{Look, Measured, Report};
use crate::request::Era;
use crate::tally::Tally;
use crate::target::{Protocol, Target, Web};
use crate::worker::{self, Ready};

/// How often the progress is told.
const TELL_EVERY_NS: u64 = 100_000_000;

/// A floor over HTTP opens no session, but reads as many bytes of one as the gateway does: its own ids are this long.
const RAW_SESSION_BYTES: usize = 127;

/// How far a load is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Part of warm-up and measuring that is over, 0 to 1.
    pub part: f64,
    /// Right answers so far.
    pub answers: u64,
    /// Seconds since the start.
    pub seconds: f64,
}

/// Runs `plan`; `tell` is called ten times a second.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(Progress)) -> Result<Report, Failure> {
    plan.check()?;
    let mut server_pid = plan.server_pid;
    let before = server_pid.map(usage).transpose()?;
    let (mut sockets, children) = connect(plan)?;
    if let (None, [child, ..]) = (server_pid, children.as_slice()) {
        server_pid = Some(child.id());
    }
    let clock = Clock::start();
    let window = Window::new(plan.warmup, plan.duration, plan.grace);
    let salt = RandomState::new().build_hasher().finish();
    let cores: Vec<Option<usize>> = if plan.cores.is_empty() {
        vec![None]
    } else {
        plan.cores.iter().copied().map(Some).collect()
    };
    let share = sockets.len().div_ceil(cores.len());
    let mut threads = Vec::new();
    let mut counters = Vec::new();
    for core in &cores {
        let part: Vec<Ready> = sockets.drain(..share.min(sockets.len())).collect();
        let counter = Arc::new(AtomicU64::new(0));
        counters.push(Arc::clone(&counter));
        let (plan, core) = (plan.clone(), *core);
        threads.push(thread::spawn(move || {
            let times = (clock, window);
            match &plan.target {
                Target::Web(web @ Web { protocol: Protocol::Http2, .. }) => {
                    http2::run(&plan, web, core, part, salt, times, &counter)
                }
                _ => worker::run(&plan, core, part, salt, times, counter),
            }
        }));
    }
    let (open, close) = watch(window, clock, server_pid, &threads, &counters, tell)?;
    let mut tally = Tally::new(window, plan.rate.is_some())?;
    for thread in threads {
        let part =
            thread.join().map_err(|_| Failure::Server("a load thread panicked".to_owned()))??;
        tally.add(&part)?;
    }
    end(children)?;
    Ok(Report::new(plan, &tally, window, &Measured { before, open, close }))
}

/// Looks at everybody when the window opens and when it closes, and tells the progress meanwhile.
pub(crate) fn watch<T>(
    window: Window,
    clock: Clock,
    server_pid: Option<u32>,
    threads: &[thread::JoinHandle<T>],
    counters: &[Arc<AtomicU64>],
    tell: &mut dyn FnMut(Progress),
) -> Result<(Look, Look), Failure> {
    let mut wait = |until_ns: u64| {
        while clock.now_ns() < until_ns && !threads.iter().all(thread::JoinHandle::is_finished) {
            clock.wait_until(until_ns.min(clock.now_ns() + TELL_EVERY_NS));
            let answers = counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
            let now_ns = clock.now_ns();
            tell(Progress {
                part: part(now_ns, window.close_ns),
                answers,
                seconds: crate::clock::seconds(now_ns),
            });
        }
    };
    let look = || -> Result<Look, Failure> {
        Ok(Look {
            server: server_pid.map(usage).transpose()?,
            own: usage(std::process::id())?,
            machine_ns: machine_ns()?,
        })
    };
    wait(window.open_ns);
    let open = look()?;
    wait(window.close_ns);
    Ok((open, look()?))
}

/// Opens all connections and introduces the load where its era asks for it.
fn connect(plan: &Plan) -> Result<(Vec<Ready>, Vec<Child>), Failure> {
    let mut sockets = Vec::new();
    let mut children = Vec::new();
    for number in 0..plan.connections {
        let opened = plan.target.open()?;
        let introduces = plan.era == Era::Legacy && !plan.raw;
        let mut begun = begin(&opened.socket, &plan.target, introduces)?;
        if plan.raw {
            begun.session = session_header(&[b'-'; RAW_SESSION_BYTES]);
        }
        sockets.push(Ready { number, socket: opened.socket, begun });
        children.extend(opened.child);
    }
    Ok((sockets, children))
}

/// Children have lost their stdin with the connections: they end by themselves, or they are ended.
fn end(children: Vec<Child>) -> Result<(), Failure> {
    let clock = Clock::start();
    for mut child in children {
        let failed = || Failure::io("end a child");
        while child.try_wait().map_err(failed())?.is_none() {
            if clock.now_ns() > 20 * TELL_EVERY_NS {
                child.kill().map_err(failed())?;
                child.wait().map_err(failed())?;
                break;
            }
            clock.wait_until(clock.now_ns() + TELL_EVERY_NS / 20);
        }
    }
    Ok(())
}

fn part(now_ns: u64, whole_ns: u64) -> f64 {
    (crate::clock::seconds(now_ns) / crate::clock::seconds(whole_ns)).min(1.0)
}
