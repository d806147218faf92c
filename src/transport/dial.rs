//! Reaches upstreams: connects to sockets on the shard's own ring, has children spawned by the
//! nursery. Not here: when to dial and what to do with the answer, which the domain decides.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::settings::Target;
use crate::shard::rt::{self, Address};
use crate::shard::{Dialed, Dialer, Post};

/// One shard's way to the upstreams.
pub struct Upstreams {
    targets: Arc<[Target]>,
    connect: Duration,
}

impl Upstreams {
    /// `targets` in the order of the settings; `connect` bounds a connect.
    pub const fn new(targets: Arc<[Target]>, connect: Duration) -> Self {
        Self { targets, connect }
    }
}

impl Dialer for Upstreams {
    fn dial(&mut self, upstream: usize, ticket: u64, post: &Post) {
        let address = match self.targets.get(upstream) {
            Some(Target::Tcp { address }) => Address::Tcp(*address),
            Some(Target::Unix { path }) => Address::Unix(path.clone()),
            _ => return post.dialed(ticket, Err("there is nothing to dial".to_owned())),
        };
        let (post, within) = (post.clone(), self.connect);
        rt::spawn(async move {
            let outcome = rt::connect(&address, within).await;
            post.dialed(
                ticket,
                outcome
                    .map(|socket| Dialed { socket, tells_its_end: false })
                    .map_err(|error| error.to_string()),
            );
        });
    }
}
