//! What a shard says of itself when it is asked: a copy of what it has counted, and of how much it holds just now.
//! Its links are gone through for that, which is all that a look costs and nothing that passes does; how long it
//! took is told as well.

use std::time::Duration;

use super::coders::Ledger;
use super::core::{Core, Phase};
use super::domain::Domain;
use super::http::Figures;
use super::links::{Face, Link, Side};
use super::press::GivenUp;
use crate::base::pressure::State;
use crate::base::{Histogram, Moment, ShardId};
use crate::gateway::Transport;

/// Kinds of links.
pub const KINDS: [&str; 9] =
    ["tcp", "unix", "stdio", "http", "websocket", "http2", "http2_stream", "upstream", "other"];

/// See the module.
#[derive(Clone, Debug)]
pub struct Census {
    pub shard: ShardId,
    /// When it was asked, since the process began.
    pub at: Moment,
    /// How long it took to answer.
    pub took: Duration,
    pub is_draining: bool,
    /// Links of each of [`KINDS`], and how many of them do not read what waits for them.
    pub links: [u64; KINDS.len()],
    pub blocked: u64,
    /// How many are slowed down, because they read too little of it.
    pub backing_up: u64,
    /// Links that were given up, because they did not read.
    pub given_up: GivenUp,
    /// Bytes that wait to be written.
    pub outbox_bytes: u64,
    /// Lines and messages that came in from clients, by transport; requests of HTTP are `http`'s.
    pub frames: [u64; Transport::ALL.len()],
    pub http: Box<Figures>,
    /// What was compressed.
    pub packed: Ledger,
    /// How long turns of the loop took.
    pub turns: Box<Histogram>,
    /// What each certificate is for that listeners show, and for how many days it is good.
    pub certificates: Vec<(String, i64)>,
    /// What the domain says of itself, where it does.
    pub gateway: Option<Box<crate::gateway::census::Census>>,
}

/// What of it is counted as it happens.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) frames: [u64; Transport::ALL.len()],
    pub(super) given_up: GivenUp,
    pub(super) http: Box<Figures>,
    pub(super) turns: Box<Histogram>,
}

impl Counted {
    pub(super) fn frames(&mut self, side: Side, count: u64) {
        if let Side::Client(transport) = side
            && let Some(frames) = self.frames.get_mut(transport as usize)
        {
            *frames += count;
        }
    }
}

impl<D: Domain> Core<D> {
    /// See the module.
    pub(super) fn census(&mut self) -> Box<Census> {
        let now = self.clock.now();
        let (began, now_secs) = (now.at, now.unix_ms / 1_000);
        let mut links = [0; KINDS.len()];
        let (mut blocked, mut backing_up, mut outbox_bytes) = (0, 0, 0);
        for link in self.links.iter() {
            if let Some(count) = links.get_mut(kind(link)) {
                *count += 1;
            }
            blocked += u64::from(link.pressure.is_blocked());
            backing_up += u64::from(link.pressure.state() == State::BackingUp);
            outbox_bytes += link.waiting() as u64;
        }
        let mut census = Box::new(Census {
            shard: self.id,
            at: began,
            took: Duration::ZERO,
            is_draining: self.phase >= Phase::Leaving,
            links,
            blocked,
            backing_up,
            given_up: self.counted.given_up,
            outbox_bytes,
            frames: self.counted.frames,
            http: self.counted.http.clone(),
            packed: self.coders.ledger.clone(),
            turns: self.counted.turns.clone(),
            certificates: self.tls.as_ref().map_or_else(Vec::new, |tls| tls.days(now_secs)),
            gateway: self.domain.census(self.now),
        });
        census.took = self.clock.now().at.since(began);
        census
    }
}

/// The place of a link in [`KINDS`].
pub(super) fn kind(link: &Link) -> usize {
    let name = match (&link.face, link.side) {
        (_, Side::Upstream { .. }) => "upstream",
        (Face::Http2 { .. }, _) => "http2",
        (Face::Stream(_), _) | (_, Side::Stream(_)) => "http2_stream",
        (Face::Ws(_), _) => "websocket",
        (Face::Http(_), _) => "http",
        (Face::Lines | Face::Hello | Face::Blocks(_), Side::Client(transport)) => transport.name(),
    };
    KINDS.iter().position(|kind| *kind == name).unwrap_or(KINDS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_that_is_a_link_has_a_kind() {
        for transport in [Transport::Tcp, Transport::Unix, Transport::Stdio] {
            let place = kind(&Link::new(Side::Client(transport)));
            assert_eq!(KINDS.get(place), Some(&transport.name()));
        }
        let upstream = Link::new(Side::Upstream { ticket: 0, tells_its_end: false });
        assert_eq!(KINDS.get(kind(&upstream)), Some(&"upstream"));
    }
}
