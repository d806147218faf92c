//! Who asks, as far as others have to be asked: an issuer's keys are fetched by a thread of their own, never by
//! a shard, and handed to all shards. Judging tokens is not here: `gateway::token`.

mod fetch;
mod issuer;

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::audit::Desk;
use super::config::Jwt;
use crate::shard::{IdentitySink, Notice, Post};
use issuer::Issuer;

/// What is fetched, before there are shards to hand it to.
pub(super) struct Identity {
    issuer: Issuer,
    wishes: Receiver<()>,
}

impl Identity {
    /// With what shards tell their findings to; names go to the audit log, where one is kept.
    pub(super) fn new(jwt: &Jwt, audit: Option<Desk>) -> io::Result<(IdentitySink, Self)> {
        // One wish is as good as many.
        let (wish, wishes): (SyncSender<()>, _) = sync_channel(1);
        let sink = IdentitySink::new(move |notice| match notice {
            Notice::KeyUnknown => drop(wish.try_send(())),
            Notice::Subject { principal, name } => {
                if let Some(audit) = &audit {
                    audit.subject(principal, name);
                }
            }
        });
        Ok((sink, Self { issuer: Issuer::new(jwt.keys.clone())?, wishes }))
    }

    /// Fetches from now on, until nobody can wish for anything any more. Nothing waits for the thread: what it
    /// holds is fetched again by the next process.
    pub(super) fn start(self, posts: Vec<Post>) -> io::Result<()> {
        let Self { mut issuer, wishes } = self;
        std::thread::Builder::new()
            .name("identity".to_owned())
            .spawn(move || issuer.run(&wishes, &posts))
            .map(drop)
    }
}
