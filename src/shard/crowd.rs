//! How full listeners are. A listener has `max_connections` on all shards together, and shards share nothing: each
//! counts its own connections in its meter, as it counts everything, and adds up what the meters say before it takes
//! one more. Two shards may do that at the same moment, so that a listener has at most one connection above its bound
//! for each shard but one; none is ever refused below it.
//!
//! What all listeners may open on one shard is another bound (`clients_max`): it is of the shard's memory.

use std::sync::Arc;
use std::time::Duration;

use super::meter::{Count, Meter};
use crate::base::Moment;
use crate::base::limits::Limits;
use crate::gateway::Transport;

/// How often the first shard looks for all.
pub(super) const LOOK: Duration = Duration::from_secs(15);
/// The operator hears of a listener that has been fuller than 4/5 for so long.
const PATIENCE: Duration = Duration::from_mins(5);

/// Those whose connections are counted. A WebSocket begins as HTTP and stays one of that listener's.
pub(super) const LISTENERS: [Transport; 3] = [Transport::Tcp, Transport::Http, Transport::Unix];

/// Where a shard counts the open connections of a listener, and those it turned away; `None` for what comes through no
/// listener.
pub(super) const fn counts(meter: &Meter, transport: Transport) -> Option<(&Count, &Count)> {
    match transport {
        Transport::Tcp => Some((&meter.tcp_connections, &meter.tcp_turned_away)),
        Transport::Http => Some((&meter.http_connections, &meter.http_turned_away)),
        Transport::Unix => Some((&meter.unix_connections, &meter.unix_turned_away)),
        Transport::Stdio | Transport::WebSocket | Transport::Sse => None,
    }
}

/// The bound of a listener: the key `max_connections` of its section.
pub(super) const fn most(limits: &Limits, transport: Transport) -> usize {
    match transport {
        Transport::Tcp => limits.tcp_connections_max,
        Transport::Http => limits.http_connections_max,
        Transport::Unix => limits.unix_connections_max,
        Transport::Stdio | Transport::WebSocket | Transport::Sse => usize::MAX,
    }
}

/// How many connections a listener has open, on all shards.
pub(super) fn open(meters: &[Arc<Meter>], transport: Transport) -> usize {
    let of = |meter: &Arc<Meter>| counts(meter, transport).map_or(0, |(open, _)| open.get());
    usize::try_from(meters.iter().map(of).sum::<u64>()).unwrap_or(usize::MAX)
}

/// Since when each listener has been nearly full.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    since: [Option<Since>; LISTENERS.len()],
}

#[derive(Clone, Copy, Debug)]
struct Since {
    at: Moment,
    is_told: bool,
}

impl Crowd {
    /// Looks at every listener. Those that have been nearly full for too long: each once, until it is not any more.
    pub(super) fn look(
        &mut self,
        now: Moment,
        open_and_most: impl Fn(Transport) -> (usize, usize),
    ) -> Vec<Transport> {
        let mut told = Vec::new();
        for (transport, since) in LISTENERS.into_iter().zip(&mut self.since) {
            let (open, most) = open_and_most(transport);
            if open <= most / 5 * 4 + most % 5 * 4 / 5 {
                *since = None;
                continue;
            }
            let since = since.get_or_insert(Since { at: now, is_told: false });
            if !since.is_told && now.since(since.at) >= PATIENCE {
                since.is_told = true;
                told.push(transport);
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_is_nearly_full_for_five_minutes_is_told_of_once() {
        let mut crowd = Crowd::default();
        let mut told = |minutes: u64, open: usize| {
            let now = Moment::START.after(Duration::from_mins(minutes));
            crowd.look(now, |it| (if it == Transport::Http { open } else { 0 }, 10))
        };
        assert!(told(0, 9).is_empty() && told(4, 9).is_empty());
        assert_eq!(told(5, 10), [Transport::Http]);
        assert!(told(6, 10).is_empty() && told(60, 9).is_empty(), "it was said");
        assert!(told(61, 8).is_empty(), "four fifths are well");
        assert!(told(62, 9).is_empty() && told(66, 9).is_empty(), "the five minutes begin anew");
        assert_eq!(told(67, 9), [Transport::Http]);
    }

    #[test]
    fn bounds_of_any_size_are_four_fifths_full_at_four_fifths() {
        for (most, well) in
            [(1, 0), (4, 3), (5, 4), (10_000, 8_000), (usize::MAX, usize::MAX / 5 * 4)]
        {
            for (open, is_crowded) in [(well, false), (well + 1, true)] {
                let mut crowd = Crowd::default();
                crowd.look(Moment::START, |_| (open, most));
                assert_eq!(crowd.since[0].is_some(), is_crowded, "{open} of {most}");
            }
        }
    }

    #[test]
    fn connections_are_added_up_over_shards() {
        let meters: Vec<Arc<Meter>> = (0..3).map(|_| Arc::default()).collect();
        for (meter, open) in meters.iter().zip([1, 0, 5]) {
            meter.tcp_connections.set(open);
            meter.unix_connections.set(100);
        }
        assert_eq!(open(&meters, Transport::Tcp), 6);
        assert_eq!(open(&meters, Transport::Stdio), 0);
    }
}
