//! What a gateway counts of what passes through it: plain integers of one writer, added to where something happens
//! and copied when somebody asks ([`super::census`]). No names: an upstream is its place.

use super::door::Effects;
use super::flight::{Asker, Flight, FlightKey};
use super::rate::Budget;
use super::report::{CallFailed, Report};
use super::{Gateway, trace};
use crate::base::{Histogram, Moment};
use crate::mcp::{Code, Method};

/// How a request of a client's ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a result. What a tool itself calls an error (`isError`) is one.
    Answered,
    /// With an error of its upstream's.
    Failed,
    /// There is no such tool.
    NotFound,
    /// Policy or guard refused it.
    Denied,
    /// Its upstream was not there, or its breaker open.
    Unavailable,
    /// It took too long.
    TimedOut,
    /// Its client wanted no answer any more, or is gone.
    Cancelled,
    /// Any other refusal of ours: a limit, most often.
    Refused,
}

impl End {
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Failed,
        Self::NotFound,
        Self::Denied,
        Self::Unavailable,
        Self::TimedOut,
        Self::Cancelled,
        Self::Refused,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }

    /// Of an error of ours.
    pub const fn of(code: Code) -> Self {
        match code {
            Code::DeniedByPolicy | Code::InvalidAgent => Self::Denied,
            Code::ServerUnavailable => Self::Unavailable,
            Code::Timeout => Self::TimedOut,
            _ => Self::Refused,
        }
    }
}

/// Counts by how things ended, in the order of [`End::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends([u64; End::ALL.len()]);

impl Ends {
    #[inline]
    pub fn count(&mut self, end: End) {
        self.add(end, 1);
    }

    #[inline]
    pub fn add(&mut self, end: End, more: u64) {
        if let Some(count) = self.0.get_mut(end as usize) {
            *count += more;
        }
    }

    pub fn of(&self, end: End) -> u64 {
        self.0.get(end as usize).copied().unwrap_or_default()
    }
}

/// What went to one upstream and came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests of clients, as they ended.
    pub ends: Ends,
    /// Of these, calls of tools; and how long those took that were sent, from the request to its end.
    pub calls: Ends,
    pub call_time: Histogram,
    /// From when a request left until its answer came: lists and questions of the gateway's own are in it.
    pub answer_time: Histogram,
    /// Requests that the built-in upstream answered at once; and of these, calls of tools.
    at_once: [u64; 2],
}

impl Traffic {
    /// With what was answered at once where it belongs: among what was answered, in no time.
    fn told(&self) -> Self {
        let mut told = self.clone();
        let [others, calls] = told.at_once;
        told.at_once = [0; 2];
        told.ends.add(End::Answered, others + calls);
        told.calls.add(End::Answered, calls);
        told.call_time.record_at_once(calls);
        told.answer_time.record_at_once(others + calls);
        told
    }

    /// Takes in what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        for end in End::ALL {
            self.ends.add(end, other.ends.of(end));
            self.calls.add(end, other.calls.of(end));
        }
        self.call_time.add(&other.call_time);
        self.answer_time.add(&other.answer_time);
    }
}

/// Rates that messages can go over, as the configuration's `[rates]` calls them. Connections are counted where they
/// come in.
pub const RATES: [&str; 4] = ["messages", "calls", "subscriptions", "all"];

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By the places of upstreams, as far as anything went there.
    upstreams: Vec<Traffic>,
    /// Messages that were within all rates, where there are any.
    pub within: u64,
    /// Times that a rate was gone over, in the order of [`RATES`].
    pub over: [u64; RATES.len()],
}

impl Tally {
    #[inline]
    fn traffic(&mut self, upstream: usize) -> &mut Traffic {
        if self.upstreams.len() <= upstream {
            self.upstreams.resize(upstream + 1, Traffic::default());
        }
        &mut self.upstreams[upstream]
    }

    /// The built-in upstream has answered a request within the event that brought it.
    #[inline]
    pub fn answered_at_once(&mut self, upstream: usize, method: Method) {
        let at_once = &mut self.traffic(upstream).at_once;
        at_once[usize::from(method == Method::ToolsCall)] += 1;
    }

    /// A request ended before it had a flight.
    #[cold]
    pub fn refused(&mut self, upstream: usize, method: Method, end: End) {
        let traffic = self.traffic(upstream);
        traffic.ends.count(end);
        if method == Method::ToolsCall {
            traffic.calls.count(end);
        }
    }

    /// A flight has ended.
    #[inline]
    pub fn ended(&mut self, now: Moment, flight: &Flight, end: End) {
        if !matches!(flight.asker, Asker::Client { .. }) {
            return;
        }
        let traffic = self.traffic(flight.upstream);
        traffic.ends.count(end);
        if flight.method == Method::ToolsCall {
            traffic.calls.count(end);
            traffic.call_time.record(flight.begun, now);
        }
    }

    /// An answer came for what was sent then.
    #[inline]
    pub fn answered(&mut self, upstream: usize, sent: Moment, now: Moment) {
        self.traffic(upstream).answer_time.record(sent, now);
    }

    #[cold]
    pub fn over(&mut self, budget: Budget) {
        let name = budget.name();
        if let Some(at) = RATES.iter().position(|rate| *rate == name) {
            self.over[at] += 1;
        }
    }

    /// Another upstream begins at this place.
    pub fn forget(&mut self, upstream: usize) {
        if let Some(traffic) = self.upstreams.get_mut(upstream) {
            *traffic = Traffic::default();
        }
    }

    /// What went to one upstream, as it is told.
    pub fn of(&self, upstream: usize) -> Traffic {
        self.upstreams.get(upstream).map(Traffic::told).unwrap_or_default()
    }
}

impl Gateway {
    /// A client's request ends with an error of ours: the operator hears of it.
    #[cold]
    pub(super) fn note_failed(
        &self,
        key: FlightKey,
        flight: &Flight,
        code: Code,
        why: &str,
        out: &mut Effects,
    ) {
        let Asker::Client { client, exchange, .. } = &flight.asker else { return };
        let found = self.clients.get(*client);
        let of_exchange = exchange.and_then(|key| self.exchanges.get(key)?.link);
        let principal = found.map(|client| client.who.principal).unwrap_or_default();
        let (id, trace) = trace::identity(self.shard, key, flight);
        let upstream = self.upstreams.get(flight.upstream);
        out.report(Report::CallFailed(Box::new(CallFailed {
            link: found.and_then(super::client::Client::link).or(of_exchange),
            flight: id,
            trace,
            agent: self.settings.principals.agent(principal).map(str::to_owned),
            upstream: upstream.map_or_else(String::new, |upstream| upstream.name.clone()),
            method: flight.method,
            code: code.number(),
            why: why.to_owned(),
        })));
    }

    /// A flight of a client's has ended, and how: it is counted, and its span is over.
    #[inline]
    pub(super) fn settle_flight(&mut self, flight: &mut Flight, end: End, out: &mut Effects) {
        self.tally.ended(self.exchanges.now, flight, end);
        if let Some(span) = flight.span.take() {
            self.write_span(span, end, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_at_once_is_told_as_answered_in_no_time() {
        let mut tally = Tally::default();
        tally.answered_at_once(1, Method::ToolsCall);
        tally.answered_at_once(1, Method::PromptsGet);
        let told = tally.of(1);
        assert_eq!((told.ends.of(End::Answered), told.calls.of(End::Answered)), (2, 1));
        assert_eq!((told.answer_time.count(), told.call_time.count()), (2, 1));
        assert_eq!(told.answer_time.micros(), 0);
        // Asked twice it says the same.
        assert_eq!(tally.of(1), told);
        assert_eq!(tally.of(0), Traffic::default());
        assert_eq!(tally.of(7), Traffic::default());
    }

    #[test]
    fn every_end_has_a_place_and_a_name_of_its_own() {
        let mut ends = Ends::default();
        for (at, end) in (1..).zip(End::ALL) {
            ends.add(end, at);
        }
        for (at, end) in (1..).zip(End::ALL) {
            assert_eq!(ends.of(end), at);
            assert_eq!(End::ALL.iter().filter(|other| other.name() == end.name()).count(), 1);
        }
    }

    #[test]
    fn the_rates_that_are_counted_are_those_that_there_are() {
        let mut tally = Tally::default();
        for budget in [
            Budget::Messages(super::super::principal::Principal::ANONYMOUS),
            Budget::Calls(super::super::principal::Principal::ANONYMOUS),
            Budget::Subscriptions(super::super::principal::Principal::ANONYMOUS),
            Budget::All,
        ] {
            tally.over(budget);
        }
        assert_eq!(tally.over, [1; RATES.len()]);
    }
}
