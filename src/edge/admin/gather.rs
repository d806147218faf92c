//! Asking every shard what it has counted. A shard that does not answer in time is told as missing; what its thread
//! shares anyway, its meter, is there all the same.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use crate::edge::traces::Exported;
use crate::gateway::census::{EndpointCensus, UpstreamCensus};
use crate::gateway::tally::RATES;
use crate::shard::http::Figures;
use crate::shard::{Census, Ledger, Meter, Post};

/// How long a shard may take: it answers between two turns, which take microseconds.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Whom to ask.
pub(in crate::edge) struct Gatherer {
    posts: Vec<Post>,
    meters: Vec<Arc<Meter>>,
    exported: Option<Arc<Exported>>,
}

impl Gatherer {
    /// `exported`: what became of spans, where any are made.
    pub(in crate::edge) fn new(
        posts: Vec<Post>,
        meters: Vec<Arc<Meter>>,
        exported: Option<Arc<Exported>>,
    ) -> Self {
        Self { posts, meters, exported }
    }

    pub(super) fn gather(&self) -> Gathered {
        let (sender, answers) = mpsc::channel();
        for post in &self.posts {
            post.census(sender.clone());
        }
        drop(sender);
        let mut shards: Vec<Option<Box<Census>>> = self.posts.iter().map(|_| None).collect();
        let mut missing = shards.len();
        while missing > 0
            && let Ok(census) = answers.recv_timeout(ANSWER_MAX)
        {
            if let Some(place) = shards.get_mut(usize::from(census.shard.0)) {
                *place = Some(census);
            }
            missing -= 1;
        }
        let meters = self.meters.iter().map(|meter| meter.read()).collect();
        let spans = self.exported.as_ref().map(|it| (it.taken.get(), it.lost.get()));
        Gathered { shards, meters, spans }
    }
}

/// What was answered, and what of it is told of all shards together.
pub(super) struct Gathered {
    /// By number; `None` for one that did not answer.
    pub(super) shards: Vec<Option<Box<Census>>>,
    /// Every counter of each shard's meter.
    pub(super) meters: Vec<Vec<(&'static str, u64)>>,
    /// Spans that the collector took, and that it did not, where any are made.
    pub(super) spans: Option<(u64, u64)>,
}

/// An upstream, as all shards together see it.
pub(super) struct Whole {
    pub(super) census: UpstreamCensus,
}

impl Gathered {
    pub(super) fn answered(&self) -> impl Iterator<Item = &Census> {
        self.shards.iter().flatten().map(|census| &**census)
    }

    pub(super) fn gateways(&self) -> impl Iterator<Item = &crate::gateway::census::Census> {
        self.answered().filter_map(|census| census.gateway.as_deref())
    }

    /// Microseconds since the process began, by the shard that was asked last.
    pub(super) fn micros(&self) -> u64 {
        self.answered().map(|census| census.at.as_micros()).max().unwrap_or_default()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.answered().any(|census| census.is_draining)
    }

    pub(super) fn http(&self) -> Figures {
        let mut all = Figures::default();
        self.answered().for_each(|census| all.add(&census.http));
        all
    }

    pub(super) fn packed(&self) -> Ledger {
        let mut all = Ledger::default();
        self.answered().for_each(|census| all.add(&census.packed));
        all
    }

    /// A counter of all shards' meters together.
    pub(super) fn meter(&self, name: &str) -> u64 {
        self.meters.iter().flatten().filter(|(is, _)| *is == name).map(|(_, count)| count).sum()
    }

    pub(super) fn sum(&self, of: impl Fn(&crate::gateway::census::Census) -> usize) -> u64 {
        self.gateways().map(|gateway| of(gateway) as u64).sum()
    }

    /// What each certificate is for that is shown, and for how many days it is good. The shards show the same.
    pub(super) fn certificates(&self) -> &[(String, i64)] {
        self.answered().next().map_or(&[], |census| &census.certificates)
    }

    /// Times that each rate was gone over.
    pub(super) fn over(&self) -> [u64; RATES.len()] {
        let mut all = [0; RATES.len()];
        for gateway in self.gateways() {
            for (sum, more) in all.iter_mut().zip(gateway.over) {
                *sum += more;
            }
        }
        all
    }

    /// Upstreams by name, in the order of the configuration: as good as the shard to which it looks worst, and with
    /// what all shards have counted.
    pub(super) fn upstreams(&self) -> Vec<Whole> {
        let mut all: Vec<Whole> = Vec::new();
        for one in self.gateways().flat_map(|gateway| &gateway.upstreams) {
            match all.iter_mut().find(|whole| whole.census.name == one.name) {
                Some(whole) => whole.take(one),
                None => all.push(Whole { census: one.clone() }),
            }
        }
        all
    }
}

impl Whole {
    fn take(&mut self, other: &UpstreamCensus) {
        let census = &mut self.census;
        census.standing = census.standing.max(other.standing);
        census.waiting += other.waiting;
        census.own_lanes += other.own_lanes;
        census.parked_lanes += other.parked_lanes;
        census.traffic.add(&other.traffic);
        for (way, more) in census.endpoints.iter_mut().zip(&other.endpoints) {
            *way = EndpointCensus {
                standing: way.standing.max(more.standing),
                guarded: way.guarded.max(more.guarded),
                lanes: way.lanes + more.lanes,
            };
        }
    }
}
