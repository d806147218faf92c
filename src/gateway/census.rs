//! What a gateway says of itself when it is asked: how much of everything there is just now, and what was counted
//! since it began ([`super::tally`]). A copy, so that whoever asked may take their time; nothing is remembered of it.

use super::Gateway;
use super::endpoint::Endpoint;
use super::lane::LaneKey;
use super::tally::{RATES, Traffic};
use super::upstream::{Status, Upstream};
use crate::base::Moment;

/// How calls fare at an endpoint's breaker, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarded {
    Closed,
    HalfOpen,
    Open,
}

/// How it goes with an upstream or with a way to it, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Ready,
    Starting,
    Down,
}

impl Standing {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Down => "down",
        }
    }

    const fn of(status: &Status) -> Self {
        match status {
            Status::Ready { .. } => Self::Ready,
            Status::Starting => Self::Starting,
            Status::Down { .. } => Self::Down,
        }
    }
}

/// One shard's gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// How often its settings were replaced.
    pub generation: u32,
    /// Clients that it serves, and of these those with a legacy session.
    pub clients: usize,
    pub sessions: usize,
    /// Requests under way; and of these, those that wait to be sent.
    pub flights: usize,
    pub waiting: usize,
    /// Exchanges of HTTP that are not over, streams among them.
    pub exchanges: usize,
    /// Bytes of upstreams' lists that are kept.
    pub lists_bytes: usize,
    /// Messages that were within all rates, and times that one was gone over, in the order of [`RATES`].
    pub within: u64,
    pub over: [u64; RATES.len()],
    /// Those that are used.
    pub upstreams: Vec<UpstreamCensus>,
}

/// One upstream, as a shard sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCensus {
    pub name: String,
    pub standing: Standing,
    /// Requests that wait for it.
    pub waiting: usize,
    /// Lanes of clients' own, and of those that wait for another client.
    pub own_lanes: usize,
    pub parked_lanes: usize,
    pub endpoints: Vec<EndpointCensus>,
    pub traffic: Box<Traffic>,
}

/// One way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointCensus {
    pub standing: Standing,
    pub guarded: Guarded,
    /// Shared lanes.
    pub lanes: usize,
}

impl Gateway {
    /// See the module. `now` is when it is asked.
    pub fn census(&self, now: Moment) -> Census {
        let upstreams: Vec<UpstreamCensus> = self
            .used()
            .map(|(index, upstream)| self.upstream_census(now, index, upstream))
            .collect();
        Census {
            generation: self.settings.generation,
            clients: self.clients.len(),
            sessions: self.clients.iter().filter(|(_, client)| client.session.is_some()).count(),
            flights: self.flights.len(),
            waiting: upstreams.iter().map(|upstream| upstream.waiting).sum(),
            exchanges: self.exchanges.len(),
            lists_bytes: self.catalog.bytes(),
            within: self.tally.within,
            over: self.tally.over,
            upstreams,
        }
    }

    fn upstream_census(&self, now: Moment, index: usize, upstream: &Upstream) -> UpstreamCensus {
        let ways = self.endpoints.get(upstream.endpoints.clone()).unwrap_or_default();
        let queued = |lane: &LaneKey| self.lanes.get(*lane).map_or(0, |lane| lane.queue.len());
        let seated = ways.iter().flat_map(|way| way.seats.iter().flatten());
        let in_lanes: usize = seated.map(queued).sum();
        UpstreamCensus {
            name: upstream.name.clone(),
            standing: Standing::of(&upstream.status),
            waiting: upstream.waiting.len() + upstream.line.len() + in_lanes,
            own_lanes: upstream.own_lanes,
            parked_lanes: upstream.parked.len(),
            endpoints: ways.iter().map(|way| endpoint_census(now, way)).collect(),
            traffic: Box::new(self.tally.of(index)),
        }
    }
}

fn endpoint_census(now: Moment, endpoint: &Endpoint) -> EndpointCensus {
    let guarded = if endpoint.breaker.is_closed() {
        Guarded::Closed
    } else if endpoint.breaker.is_open(now) {
        Guarded::Open
    } else {
        Guarded::HalfOpen
    };
    EndpointCensus {
        standing: Standing::of(&endpoint.status),
        guarded,
        lanes: endpoint.seats.iter().flatten().count(),
    }
}
