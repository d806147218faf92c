//! Who asks, and who we are to others, as far as somebody has to be asked: an issuer's keys and tokens for upstreams
//! are fetched by threads of their own, never by a shard, and handed to all shards. Judging tokens is not here:
//! `gateway::token`.

mod book;
mod endpoint;
mod exchange;
mod fetch;
mod grant;
mod issuer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::audit::Desk;
use super::config::Config;
use crate::shard::{IdentitySink, Notice, Post};
use exchange::{Exchanger, Word};
pub(super) use fetch::Fetcher;
use grant::Granted;
use issuer::Issuer;

/// What is fetched, before there are shards to hand it to.
pub(super) struct Identity {
    issuer: Option<(Issuer, Receiver<()>)>,
    grants: Vec<(Granted, Receiver<Arc<str>>)>,
    exchangers: Vec<Exchanger>,
}

impl Identity {
    /// With what shards tell their findings to; names go to the audit log, where one is kept. `None` where nothing
    /// has to be fetched.
    pub(super) fn new(
        config: &Config,
        audit: Option<Desk>,
    ) -> Result<Option<(IdentitySink, Self)>, String> {
        if config.jwt.is_none() && config.grants.is_empty() {
            return Ok(None);
        }
        // One wish is as good as many.
        let (wish, wishes): (SyncSender<()>, _) = sync_channel(1);
        let issuer = match &config.jwt {
            Some(jwt) => {
                let issuer = Issuer::new(jwt.keys.clone());
                Some((issuer.map_err(|error| format!("auth.jwt: {error}"))?, wishes))
            }
            None => None,
        };
        let (mut grants, mut exchangers) = (Vec::new(), Vec::new());
        let (mut refusals, mut desks) = (BTreeMap::new(), BTreeMap::new());
        for (at, upstream) in config.upstreams.iter().enumerate() {
            let Some(grant) = config.grants.get(&upstream.name) else { continue };
            let (name, wrong) = (upstream.name.clone(), |error: io::Error| {
                format!("upstreams.{}.oauth: {error}", upstream.name)
            });
            if grant.exchange.is_some() {
                let max = config.limits.exchanged_max;
                let exchanger = Exchanger::new(at, name, grant.clone(), max).map_err(wrong)?;
                desks.insert(at, exchanger.desk());
                exchangers.push(exchanger);
                continue;
            }
            let granted = Granted::new(at, name, grant.clone()).map_err(wrong)?;
            let (refuse, refused) = sync_channel(1);
            refusals.insert(at, refuse);
            grants.push((granted, refused));
        }
        let sink = IdentitySink::new(move |notice| match notice {
            Notice::KeyUnknown => drop(wish.try_send(())),
            Notice::Subject { principal, name } => {
                if let Some(audit) = &audit {
                    audit.subject(principal, name);
                }
            }
            Notice::TokenRefused { upstream, token } => {
                if let Some(refuse) = refusals.get(&upstream) {
                    drop(refuse.try_send(token));
                }
            }
            Notice::Exchange { shard, upstream, subject, refused } => {
                if let Some(desk) = desks.get(&upstream) {
                    drop(desk.send(Word::Wanted { shard, subject, refused }));
                }
            }
        });
        Ok(Some((sink, Self { issuer, grants, exchangers })))
    }

    /// The upstreams that are asked with a token, by their places.
    pub(super) fn granted(&self) -> BTreeSet<usize> {
        let granted = self.grants.iter().map(|(granted, _)| granted.upstream);
        granted.chain(self.exchangers.iter().map(|exchanger| exchanger.upstream)).collect()
    }

    /// Fetches from now on, until nobody can wish for anything any more. Nothing waits for the threads: what they
    /// hold is fetched again by the next process.
    pub(super) fn start(self, posts: &[Post]) -> io::Result<()> {
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
        };
        if let Some((mut issuer, wishes)) = self.issuer {
            let posts = posts.to_vec();
            spawn("issuer", Box::new(move || issuer.run(&wishes, &posts)))?;
        }
        for (mut granted, refused) in self.grants {
            let posts = posts.to_vec();
            spawn("grant", Box::new(move || granted.run(&refused, &posts)))?;
        }
        for mut exchanger in self.exchangers {
            exchanger.hire()?;
            let posts = posts.to_vec();
            spawn("exchange", Box::new(move || exchanger.run(&posts)))?;
        }
        Ok(())
    }
}
