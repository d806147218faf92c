//! Tenures: the time that one upstream has its place in the tables. Flights, lanes, tasks, mail and audit records name
//! an upstream by its place, so another may have that only when nothing names it any more, on no shard: each says so
//! once, and who makes other settings looks whether all have. So a configuration that changes for ever needs no more
//! places than there are upstreams, and those that are about to end.
//!
//! How an upstream ends is `reload`'s business. Between two gateways nothing is shared but this count, which each
//! lowers once in an upstream's life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::settings::{Settings, Share, Upstream as Spec};
use super::upstream::Upstream;
use super::{Endpoint, Gateway};
use crate::base::Now;

/// See the module. Two are the same if they are one.
#[derive(Clone, Debug)]
pub struct Tenure {
    /// Shards on which something may name its place.
    left: Arc<AtomicU16>,
}

impl PartialEq for Tenure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.left, &other.left)
    }
}

impl Eq for Tenure {}

impl Tenure {
    /// One that begins, with so many shards.
    pub fn new(shards: u16) -> Self {
        Self { left: Arc::new(AtomicU16::new(shards.max(1))) }
    }

    /// Whether no shard names its place any more.
    pub fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// One shard, which has not said so before, does not name it any more.
    fn leave(&self) {
        self.left.fetch_sub(1, Ordering::Release);
    }
}

impl Settings {
    /// These upstreams in place of those that are used. One that is the same keeps its place; others get one that is
    /// free, where as many endpoints were as they have, or one that is new.
    #[must_use]
    pub fn with_upstreams(mut self, wanted: &[Spec]) -> Self {
        let shards = self.shards;
        self.tenures.resize_with(self.upstreams.len(), || Tenure::new(shards));
        let mut used = self.order();
        let mut order = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            if let Some(at) =
                used.iter().position(|&place| self.upstreams.get(place) == Some(wanted))
            {
                order.push(used.swap_remove(at));
                continue;
            }
            let is_free = |(was, tenure): (&Spec, &Tenure)| {
                tenure.is_over() && was.endpoints().count() == wanted.endpoints().count()
            };
            let free = self.upstreams.iter().zip(&self.tenures).position(is_free);
            // What exchanges tokens for callers knows its upstream by the place it began with.
            let free = free.filter(|_| wanted.share != Share::Never);
            let place = free.unwrap_or(self.upstreams.len());
            if free.is_none() {
                self.upstreams.push(wanted.clone());
                self.tenures.push(Tenure::new(shards));
            } else {
                self.upstreams[place] = wanted.clone();
                self.tenures[place] = Tenure::new(shards);
            }
            order.push(place);
        }
        self.order = Some(order.into());
        self
    }
}

impl Gateway {
    /// The places that are another upstream's by other settings.
    pub(super) fn taken_places(&self, next: &Settings) -> Vec<usize> {
        let both = self.settings.tenures.iter().zip(&next.tenures).enumerate();
        both.filter(|(_, (before, next))| before != next).map(|(index, _)| index).collect()
    }

    /// Another upstream begins in the place of one that nothing names any more.
    pub(super) fn succeed(&mut self, now: Now, index: usize) {
        let numbers = self.upstreams[index].endpoints.clone();
        let here = (self.shard, self.settings.shards);
        let spec = &self.settings.upstreams[index];
        for (number, (target, _)) in numbers.zip(spec.endpoints()) {
            let next = Endpoint::new(spec, (index, target), number, here, now.at);
            let before = std::mem::replace(&mut self.endpoints[number], next);
            for alarm in before.alarms() {
                self.wheel.cancel(alarm);
            }
        }
        self.upstreams[index] = Upstream::new(&self.settings, index, now.at);
        self.tally.forget(index);
    }

    /// An upstream has ended. If nothing names its place on this shard, that may be another's; false if something
    /// does.
    pub(super) fn vacate(&self, index: usize) -> bool {
        let numbers = self.upstreams[index].endpoints.clone();
        if self.endpoints[numbers].iter().any(|endpoint| !endpoint.is_over) || self.names(index) {
            return false;
        }
        if let Some(tenure) = self.settings.tenures.get(index) {
            tenure.leave();
        }
        true
    }

    /// Whether anything of this shard names the place of an upstream that has ended.
    fn names(&self, index: usize) -> bool {
        let of_clients = || {
            self.clients.iter().any(|(_, client)| {
                let listens = || client.listens.iter();
                let of_session = client.session.iter().flat_map(|it| &it.subscriptions);
                let mut watched = of_session.chain(listens().flat_map(|it| &it.uris));
                let mut tasks = listens().flat_map(|it| &it.tasks);
                watched.any(|it| it.upstream == index)
                    || tasks.any(|known| known.id.upstream == index)
                    || client.lanes.iter().any(|own| own.upstream == index)
            })
        };
        self.flights.iter().any(|(_, flight)| flight.upstream == index)
            || self.lanes.iter().any(|(_, lane)| lane.upstream == index)
            || self.gathers.iter().any(|(_, gather)| gather.names(index))
            || self.quorums.iter().any(|(_, quorum)| quorum.upstream() == index)
            || self.fetches.iter().any(|(_, fetch)| fetch.upstream() == index)
            || self.tasks.after(0).any(|(_, task)| task.known.id.upstream == index)
            || of_clients()
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{EraPin, Spread, Target};
    use super::*;

    fn upstream(port: u16) -> Spec {
        Spec {
            name: "a".to_owned(),
            prefix: String::new(),
            target: Target::Tcp { address: ([127, 0, 0, 1], port).into() },
            era: EraPin::Auto,
            share: Share::Auto,
            warm: false,
            spread: Spread::default(),
        }
    }

    fn first() -> Settings {
        let nothing = Settings { shards: 2, ..Settings::default() };
        nothing.with_upstreams(&[upstream(1), upstream(2)])
    }

    #[test]
    fn a_place_is_free_when_every_shard_has_left_it() {
        let second = first().with_upstreams(&[upstream(2)]);
        assert_eq!(second.order(), [1]);
        second.tenures[0].leave();
        let third = second.clone().with_upstreams(&[upstream(3), upstream(2)]);
        assert_eq!(third.order(), [2, 1], "the other shard still names it");
        second.tenures[0].leave();
        let third = second.clone().with_upstreams(&[upstream(3), upstream(2), upstream(4)]);
        assert_eq!((third.order(), third.upstreams.len()), (vec![0, 1, 2], 3));
        assert_ne!(third.tenures[0], second.tenures[0]);
        assert_eq!(third.tenures[1], second.tenures[1], "it is the same upstream");
    }

    #[test]
    fn who_has_more_endpoints_takes_no_place_of_one_that_had_fewer() {
        let second = first().with_upstreams(&[upstream(2)]);
        second.tenures[0].leave();
        second.tenures[0].leave();
        let mut wider = upstream(3);
        let other = super::super::settings::Endpoint {
            target: wider.target.clone(),
            rank: super::super::settings::Rank::default(),
        };
        wider.spread.others.push(other);
        assert_eq!(second.with_upstreams(&[wider]).order(), [2]);
    }
}
