//! What a shard counts of HTTP: requests by what was asked and how it was answered, how long that took, and who was
//! let in. Plain integers of one writer; whoever asks gets a copy ([`crate::shard::Census`]).

use std::collections::BTreeMap;

use crate::base::{Histogram, Moment};
use crate::gateway::http;

/// Methods that are told apart; the last is all others.
const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "OPTIONS", "HEAD", "other"];
/// Paths that are told apart; the last is all others, so that strangers cannot invent any.
const ENDPOINTS: [&str; 9] = [
    http::ENDPOINT,
    http::SSE,
    http::MESSAGE,
    http::TOOLS,
    "/ws",
    http::HEALTH,
    http::READY,
    "/metrics",
    "other",
];
/// Statuses that are sent; the last is all others.
const STATUSES: [u16; 24] = [
    200, 202, 101, 204, 301, 400, 401, 403, 404, 405, 406, 408, 409, 413, 414, 415, 421, 426, 429,
    431, 500, 502, 503, 0,
];

/// What a request is counted as, kept with it until it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct Mark {
    /// Places in [`METHODS`] and [`ENDPOINTS`].
    method: u8,
    endpoint: u8,
    begun: Moment,
}

impl Mark {
    pub(in crate::shard) fn new(method: &str, path: &str, begun: Moment) -> Self {
        // `/tools/NAME` is one endpoint, whatever the name.
        let path = if path.starts_with("/tools/") { http::TOOLS } else { path };
        let place = |all: &[&str], it: &str| {
            let at = all.iter().position(|known| *known == it).unwrap_or(all.len() - 1);
            u8::try_from(at).unwrap_or_default()
        };
        Self { method: place(&METHODS, method), endpoint: place(&ENDPOINTS, path), begun }
    }

    /// Of what was no request.
    pub(in crate::shard) fn unknown(begun: Moment) -> Self {
        Self::new("", "", begun)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    answered: [[[u64; STATUSES.len()]; METHODS.len()]; ENDPOINTS.len()],
    /// From when a request was whole until its answer, or the head of its stream, was given to the connection.
    times: [Histogram; ENDPOINTS.len()],
    /// Bodies of requests that were let in, and of answers that were no streams.
    pub request_bodies: u64,
    pub request_bytes: u64,
    pub response_bodies: u64,
    pub response_bytes: u64,
    /// Requests that showed a good key or token.
    pub let_in: u64,
    /// Why others were not.
    pub turned_away: BTreeMap<&'static str, u64>,
}

impl Figures {
    pub(in crate::shard) fn came(&mut self, bytes: usize) {
        self.request_bodies += 1;
        self.request_bytes += bytes as u64;
    }

    /// A request is answered; `bytes` of body, unless it is a stream.
    pub(in crate::shard) fn answered(
        &mut self,
        mark: Mark,
        status: u16,
        now: Moment,
        bytes: Option<usize>,
    ) {
        let (method, endpoint) = (usize::from(mark.method), usize::from(mark.endpoint));
        let at = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        if let Some(count) = self
            .answered
            .get_mut(endpoint)
            .and_then(|of| of.get_mut(method))
            .and_then(|of| of.get_mut(at))
        {
            *count += 1;
        }
        if let Some(times) = self.times.get_mut(endpoint) {
            times.record(mark.begun, now);
        }
        if let Some(bytes) = bytes {
            self.response_bodies += 1;
            self.response_bytes += bytes as u64;
        }
    }

    pub(in crate::shard) fn turned_away(&mut self, reason: &'static str) {
        *self.turned_away.entry(reason).or_default() += 1;
    }

    /// Each endpoint, method and status of which there were any, and how many.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u16, u64)> {
        ENDPOINTS.into_iter().zip(&self.answered).flat_map(|(endpoint, of)| {
            METHODS.into_iter().zip(of).flat_map(move |(method, of)| {
                let counted = STATUSES.into_iter().zip(of).filter(|(_, count)| **count > 0);
                counted.map(move |(status, count)| (endpoint, method, status, *count))
            })
        })
    }

    /// How long requests took, by endpoint.
    pub fn times(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        ENDPOINTS.into_iter().zip(&self.times)
    }

    /// Takes in what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        let mine = self.answered.iter_mut().flatten().flatten();
        for (count, more) in mine.zip(other.answered.iter().flatten().flatten()) {
            *count += more;
        }
        for (times, more) in self.times.iter_mut().zip(&other.times) {
            times.add(more);
        }
        self.request_bodies += other.request_bodies;
        self.request_bytes += other.request_bytes;
        self.response_bodies += other.response_bodies;
        self.response_bytes += other.response_bytes;
        self.let_in += other.let_in;
        for (reason, more) in &other.turned_away {
            *self.turned_away.entry(reason).or_default() += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_invent_is_counted_as_one() {
        let mut figures = Figures::default();
        for (method, path, status) in [
            ("POST", "/mcp", 200),
            ("POST", "/mcp", 200),
            ("POST", "/tools/add", 200),
            ("BREW", "/pot", 418),
            ("get", "/mcp/", 499),
        ] {
            figures.answered(Mark::new(method, path, Moment::START), status, Moment::START, None);
        }
        let each: Vec<_> = figures.each().collect();
        assert_eq!(
            each,
            [("/mcp", "POST", 200, 2), ("/tools", "POST", 200, 1), ("other", "other", 0, 2),]
        );
        let mut twice = figures.clone();
        twice.add(&figures);
        assert_eq!(twice.each().map(|(.., count)| count).collect::<Vec<_>>(), [4, 2, 4]);
        assert_eq!(twice.times().map(|(_, times)| times.count()).sum::<u64>(), 10);
    }
}
