//! One thread, one ring, and all it owns: clock, timers, links with their outboxes, mail to and from
//! other shards. Drives a [`Domain`]; nothing is shared with other shards but the rings of mail and
//! the counters. Knows no kind of socket: those come from the floor above, connected or listening.

mod acceptor;
mod blocks;
mod carrier;
mod census;
mod clock;
mod coders;
mod core;
mod crowd;
pub mod cores;
mod domain;
mod effects;
mod errand;
mod heart;
pub mod http;
mod http2;
mod inbox;
mod leave;
mod lines;
mod links;
mod mail;
mod meter;
mod pool;
mod port;
mod post;
mod press;
mod revoke;
pub mod rt;
mod spin;
pub mod tls;
mod telling;
mod ways;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

pub use acceptor::{Door, Listening};
pub use blocks::Compression;
pub use census::{Census, KINDS};
pub use clock::Origin;
pub use coders::{Coders, Ledger, PACKS, Pack, Packed};
pub use domain::{
    AccessToken, AuditSink, Dialer, Domain, Exchanged, IdentitySink, NoDialer, Notice, TraceSink,
};
pub use meter::{Count, Meter, is_gauge};
pub use port::{Breath, Driver, Port};
pub use post::{Dialed, Post, Renewal};
pub use press::{GivenUp, Slow};
pub use ways::{Moves, Way, WayId};

use self::core::{Core, Parts};
use crate::base::ShardId;
use crate::base::limits::Limits;

/// A running shard, as its tasks see it.
struct Shard<D: Domain> {
    core: RefCell<Core<D>>,
}

/// What a shard grows from: made for all shards at once, because they are tied to each other; then
/// each goes to its thread.
pub struct Seed {
    id: ShardId,
    mailbox: mail::Mailbox,
    heard: OwnedFd,
    post: Post,
    commands: Receiver<post::Command>,
    meter: Arc<Meter>,
    muster: Arc<Muster>,
    origin: Origin,
}

impl Seed {
    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// Leads to the shard from any thread.
    pub fn post(&self) -> Post {
        self.post.clone()
    }

    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }
}

/// Seeds of `shards` shards.
pub fn seeds(shards: u16) -> io::Result<Vec<Seed>> {
    let muster = Arc::new(Muster::default());
    let origin = Origin::now();
    let mut seeds = Vec::new();
    for (id, (mailbox, heard)) in (0..).zip(mail::mailboxes(shards)?) {
        let (post, commands) = Post::new(Arc::clone(&mailbox.bell));
        let (meter, muster) = (Arc::default(), Arc::clone(&muster));
        seeds.push(Seed { id: ShardId(id), mailbox, heard, post, commands, meter, muster, origin });
    }
    // Set once, here.
    drop(muster.posts.set(seeds.iter().map(Seed::post).collect()));
    drop(muster.meters.set(seeds.iter().map(Seed::meter).collect()));
    Ok(seeds)
}

/// Where drained shards gather: the last to arrive sends all of them home. Until then a drained shard
/// still serves the others, whose flights may go through it.
#[derive(Default)]
struct Muster {
    arrived: AtomicUsize,
    posts: OnceLock<Vec<Post>>,
    /// The counters of all shards, for whichever is asked for them.
    meters: OnceLock<Vec<Arc<Meter>>>,
}

impl Muster {
    /// The counters of all shards.
    fn meters(&self) -> &[Arc<Meter>] {
        self.meters.get().map_or(&[][..], Vec::as_slice)
    }

    /// Every counter of every shard, in the text format of Prometheus.
    fn metrics(&self) -> String {
        meter::exposition(self.meters())
    }

    fn arrived(&self) {
        let posts = self.posts.get().map_or(&[][..], Vec::as_slice);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == posts.len() {
            for post in posts {
                post.stop();
            }
        }
    }
}

/// What a shard is told besides its seed.
pub struct Plan {
    pub driver: rt::DriverChoice,
    /// Entries of the ring, see [`rt::RING_ENTRIES_DEFAULT`].
    pub ring_entries: u32,
    /// How long to look for work before sleeping; zero for not at all.
    pub spin: Duration,
    pub limits: Arc<Limits>,
    /// For what comes in by HTTP.
    pub front: Arc<http::Front>,
    /// What listeners for lines take where blocks are asked for.
    pub compression: Compression,
    /// Where the audit log goes, where one is kept.
    pub audit: Option<AuditSink>,
    /// Where spans go, where any are made.
    pub traces: Option<TraceSink>,
    /// Where goes what is found out about who asks.
    pub identity: Option<IdentitySink>,
    /// What listeners with TLS speak; none of them takes anybody where there is nothing.
    pub tls: Option<Arc<tls::ServerTls>>,
    pub listeners: Vec<Listening>,
}

/// Runs a shard on this thread until it has stopped. `started` hears which driver it got, once it
/// listens.
pub fn run<D: Domain>(
    seed: Seed,
    plan: Plan,
    domain: D,
    dialer: Box<dyn Dialer>,
    started: impl FnOnce(&rt::Driver),
) -> io::Result<()> {
    let mut runtime = rt::Runtime::build(plan.driver, plan.ring_entries)?;
    let driver = runtime.driver().clone();
    runtime.run(async move {
        let Seed { id, mailbox, heard, post, commands, meter, muster, origin } = seed;
        let bell = rt::adopt_reader(heard)?;
        let mut listeners = Vec::new();
        for Listening { socket, way } in plan.listeners {
            listeners.push((rt::Listener::adopt(socket)?, way));
        }
        let shard = Rc::new_cyclic(|me| Shard {
            core: RefCell::new(Core::new(Parts {
                me: me.clone(),
                id,
                domain,
                clock: clock::Clock::new(origin),
                meter,
                mailbox,
                post,
                dialer,
                limits: plan.limits,
                front: plan.front,
                packing: blocks::Packing::new(plan.compression),
                muster,
                audit: plan.audit,
                traces: plan.traces,
                identity: plan.identity,
                tls: plan.tls,
            })),
        });
        for (listener, way) in listeners {
            shard.core.borrow_mut().ways.open(way.id);
            rt::spawn(acceptor::accept(Rc::clone(&shard), listener, way));
        }
        rt::spawn(heart::hear(Rc::clone(&shard), bell));
        if !plan.spin.is_zero() {
            rt::spawn(spin::spin(Rc::clone(&shard), plan.spin));
        }
        let done = Rc::new(Done::default());
        let beating = Beating(Rc::clone(&done));
        rt::spawn(async move {
            heart::beat(shard, commands).await;
            drop(beating);
        });
        started(&driver);
        done.wait().await;
        // Reads that were given up with their sockets are cancelled in the ring's own time; their
        // buffers must not go before.
        rt::sleep(Duration::from_millis(2)).await;
        Ok(())
    })
}

#[derive(Default)]
struct Done(RefCell<(bool, Option<Waker>)>);

impl Done {
    async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.0 {
                return Poll::Ready(());
            }
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Says that the heart has stopped, also when it panicked.
struct Beating(Rc<Done>);

impl Drop for Beating {
    fn drop(&mut self) {
        let mut state = self.0.0.borrow_mut();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}
