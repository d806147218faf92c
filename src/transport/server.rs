//! The server: binds, starts a thread for each shard, and ends them. Not here: signals and
//! configuration files, which are the edge's.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::dial::Upstreams;
use super::listeners::{Bound, Listen, Listeners};
use super::nursery::{Nursery, Patience};
use crate::base::ShardId;
use crate::base::limits::Limits;
use crate::gateway::settings::Upstream;
use crate::shard::http::Front;
use crate::shard::rt::{Driver, DriverChoice, RING_ENTRIES_DEFAULT};
use crate::shard::tls::ServerTls;
use crate::shard::{
    AuditSink, Compression, Domain, IdentitySink, Meter, Moves, Plan, Post, Renewal, TraceSink,
    cores, run, seeds,
};

/// What a server is told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub listens: Vec<Listen>,
    /// Threads; `None`: one for each core that this process may use.
    pub shards: Option<u16>,
    /// Whether shards are bound to cores.
    pub pin: bool,
    pub driver: DriverChoice,
    /// Entries of each shard's ring.
    pub ring_entries: u32,
    /// See [`crate::shard::Plan::spin`].
    pub spin: Duration,
    pub limits: Arc<Limits>,
    /// What HTTP listeners serve whom.
    pub front: Arc<Front>,
    /// What listeners for lines take where blocks are asked for.
    pub compression: Compression,
    /// What listeners with TLS speak.
    pub tls: Option<Arc<ServerTls>>,
    /// Where the audit log goes, where one is kept.
    pub audit: Option<AuditSink>,
    /// Where spans go, where any are made; then upstreams over HTTP are told of them in headers, too.
    pub traces: Option<TraceSink>,
    /// Where goes what shards find out about who asks.
    pub identity: Option<IdentitySink>,
    /// What the domain may dial, by the index it dials.
    pub upstreams: Arc<[Upstream]>,
    /// Of these, whose requests carry a token that is granted to us.
    pub granted: BTreeSet<usize>,
    /// How long children are given to end.
    pub patience: Patience,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listens: Vec::new(),
            shards: None,
            pin: true,
            driver: DriverChoice::Auto,
            ring_entries: RING_ENTRIES_DEFAULT,
            spin: Duration::ZERO,
            limits: Arc::new(Limits::DEFAULT),
            front: Arc::new(Front::default()),
            compression: Compression::default(),
            tls: None,
            audit: None,
            traces: None,
            identity: None,
            upstreams: Arc::from([]),
            granted: BTreeSet::new(),
            patience: Patience::default(),
        }
    }
}

impl ServerConfig {
    /// How many shards a server with this configuration has.
    pub fn shard_count(&self) -> u16 {
        let cores = u16::try_from(cores::allowed().len()).unwrap_or(u16::MAX);
        self.shards.unwrap_or(cores).clamp(1, ShardId::MAX + 1)
    }
}

/// A running server. Dropping it does not end it; [`Server::drain`] or [`Server::stop`] do, and
/// [`Server::join`] waits.
pub struct Server {
    drivers: Vec<Driver>,
    meters: Vec<Arc<Meter>>,
    posts: Vec<Post>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    listeners: Option<Listeners>,
    nursery: Option<Nursery>,
}

impl Server {
    /// Binds every listener, then starts the shards; `domain` makes each shard's, on its thread.
    /// Comes back when all of them serve, or with the first error.
    pub fn start<D: Domain>(
        config: &ServerConfig,
        domain: impl Fn(ShardId) -> D + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shards = config.shard_count();
        let (listeners, mut sockets) = Listeners::bind(&config.listens, usize::from(shards))?;
        let cores = cores::allowed();
        let nursery = Nursery::start(config.patience)?;
        let domain = Arc::new(domain);
        let (started, reports) = mpsc::channel();
        let mut server = Self {
            drivers: Vec::new(),
            meters: Vec::new(),
            posts: Vec::new(),
            threads: Vec::new(),
            listeners: Some(listeners),
            nursery: Some(nursery),
        };
        for seed in seeds(shards)? {
            let id = seed.id();
            server.posts.push(seed.post());
            server.meters.push(seed.meter());
            let plan = Plan {
                driver: config.driver,
                ring_entries: config.ring_entries,
                spin: config.spin,
                limits: Arc::clone(&config.limits),
                front: Arc::clone(&config.front),
                compression: config.compression,
                tls: config.tls.clone(),
                audit: config.audit.clone(),
                traces: config.traces.clone(),
                identity: config.identity.clone(),
                listeners: sockets.pop().unwrap_or_default(),
            };
            let core = config.pin.then(|| cores[usize::from(id.0) % cores.len()]);
            let nurse = server.nursery.as_ref().map(Nursery::nurse);
            let upstreams = Arc::clone(&config.upstreams);
            let dialer = Upstreams::new(
                id,
                upstreams,
                config.limits.connect,
                config.limits.frame_bytes_max,
                nurse,
                config.identity.clone().map(|sink| (config.granted.clone(), sink)),
            )
            .exchanged_max(config.limits.exchanged_max)
            .traced(config.traces.is_some());
            let (domain, started) = (Arc::clone(&domain), started.clone());
            let thread =
                std::thread::Builder::new().name(format!("shard-{}", id.0)).spawn(move || {
                    if let Some(core) = core
                        && !core.pin()
                    {
                        tracing::warn!(shard = id.0, core = core.number(), "cannot pin");
                    }
                    let tell = started.clone();
                    let ended = run(seed, plan, domain(id), Box::new(dialer), |driver| {
                        let _ = tell.send(Ok((id, driver.clone())));
                    });
                    if let Err(error) = &ended {
                        let told = io::Error::new(error.kind(), error.to_string());
                        let _ = started.send(Err(told));
                    }
                    ended
                })?;
            server.threads.push(thread);
        }
        drop(started);
        let mut drivers = Vec::new();
        while drivers.len() < usize::from(shards) {
            match reports.recv() {
                Ok(Ok(driver)) => drivers.push(driver),
                failed => {
                    server.stop();
                    let error = failed.ok().and_then(Result::err);
                    return Err(error.unwrap_or_else(|| io::Error::other("a shard ended early")));
                }
            }
        }
        drivers.sort_by_key(|(id, _)| *id);
        server.drivers = drivers.into_iter().map(|(_, driver)| driver).collect();
        if let Some(Driver::Epoll { why: Some(why) }) = server.drivers.first() {
            tracing::warn!(why, "io_uring cannot be used; serving by epoll, at a lower speed");
        }
        Ok(server)
    }

    /// In the order of the configuration; nothing once they were taken.
    pub fn bound(&self) -> Vec<Bound> {
        self.listeners.iter().flat_map(Listeners::bound).cloned().collect()
    }

    /// The listeners, for who may change them while the server runs. They must be kept as long as it does.
    pub fn take_listeners(&mut self) -> Option<Listeners> {
        self.listeners.take()
    }

    /// What each shard runs on.
    pub fn drivers(&self) -> &[Driver] {
        &self.drivers
    }

    /// Each shard's counters.
    pub fn meters(&self) -> &[Arc<Meter>] {
        &self.meters
    }

    /// Leads to each shard.
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Everything goes on for `limits.notice`, but `/ready` says 503 and HTTP connections end with their next answer;
    /// then it drains.
    pub fn leave(&self) {
        self.posts.iter().for_each(Post::leave);
    }

    /// No new clients; flights may finish, for at most `limits.drain`; then everything is closed.
    pub fn drain(&self) {
        self.posts.iter().for_each(Post::drain);
    }

    /// Closes everything now; what waits on links is written first, for at most two seconds.
    pub fn stop(&self) {
        self.posts.iter().for_each(Post::stop);
    }

    /// Ends the server from another thread.
    pub fn ends(&self) -> Ends {
        Ends { posts: self.posts.clone() }
    }

    /// Waits until all shards have ended, and all children.
    pub fn join(mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard panicked")));
            result = result.and(ended);
        }
        // Their links are closed; they may have begun to end by themselves.
        if let Some(nursery) = self.nursery {
            nursery.end();
        }
        drop(self.listeners);
        result
    }
}

/// See [`Server::ends`].
#[derive(Clone)]
pub struct Ends {
    posts: Vec<Post>,
}

impl Ends {
    /// See [`Server::leave`].
    pub fn leave(&self) {
        self.posts.iter().for_each(Post::leave);
    }

    /// See [`Server::drain`].
    pub fn drain(&self) {
        self.posts.iter().for_each(Post::drain);
    }

    /// See [`Server::stop`].
    pub fn stop(&self) {
        self.posts.iter().for_each(Post::stop);
    }

    /// Has all shards go by other settings; comes back when they do. A shard may hear of what is new from
    /// another before it knows it itself: so what only grows (upstreams, principals) is told to all first.
    pub fn renew(&self, renewal: &Renewal) {
        let (done, all) = mpsc::channel();
        for post in &self.posts {
            post.renew(renewal.clone(), done.clone());
        }
        drop(done);
        // Nothing is ever sent: it ends when the last sender is dropped.
        let _ = all.recv();
    }

    /// Has each shard listen as its own `moves` say; comes back when all do.
    pub(super) fn listen(&self, moves: Vec<Moves>) {
        let (done, all) = mpsc::channel();
        for (post, moves) in self.posts.iter().zip(moves) {
            post.listen(moves, done.clone());
        }
        drop(done);
        // As in [`Ends::renew`].
        let _ = all.recv();
    }
}
