//! What the domain reports, told to the log. What strangers or a failing server can cause as often as they like is
//! told some times a second, and then how often it was not: a flood must not fill a disk, nor hide what else happens.

use std::fmt;

use super::core::Core;
use super::domain::Domain;
use crate::base::LinkId;
use crate::gateway::Report;

/// Lines of one kind that a shard tells in a second.
const LINES_A_SECOND_MAX: u32 = 10;

/// Kinds of lines that are counted for themselves.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Unauthorized,
    CallFailed,
    ClientClosed,
    ClientFault,
    Oddity,
    Down,
    Slow,
}

/// How much of each kind was told in this second.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    second: u64,
    told: [u32; 7],
    left_out: u64,
}

impl Throttle {
    /// Whether one more of a kind may be told at this second; with it, how many lines were left out before it and
    /// not said yet.
    pub(super) fn admits(&mut self, kind: Kind, second: u64) -> Option<u64> {
        if self.second != second {
            (self.second, self.told) = (second, [0; 7]);
        }
        let told = self.told.get_mut(kind as usize)?;
        if *told >= LINES_A_SECOND_MAX {
            self.left_out += 1;
            return None;
        }
        *told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A link's id where there is one.
struct Shown<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(it) => it.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl<D: Domain> Core<D> {
    /// Whether a line of this kind may be written; says first what was left out.
    pub(super) fn may_tell(&mut self, kind: Kind) -> bool {
        let Some(left_out) = self.throttle.admits(kind, self.now.at.as_millis() / 1_000) else {
            self.meter.log_left_out.add(1);
            return false;
        };
        if left_out > 0 {
            let what = "lines of this shard's log were left out: there were too many of one kind";
            tracing::warn!(shard = self.id.0, left_out, what);
        }
        true
    }

    pub(super) fn report(&mut self, report: &Report) {
        self.meter.reports.add(1);
        match report {
            Report::Drained => self.drained = true,
            Report::UpstreamDown { upstream, why, retry_ms } => {
                if self.may_tell(Kind::Down) {
                    tracing::warn!(upstream, why, retry_ms, "an upstream is down");
                }
            }
            Report::AddressBlocked { address, time } => {
                let seconds = time.as_secs();
                tracing::warn!(%address, seconds, "rates.violations: an address is shut out");
            }
            Report::BreakerOpened { upstream } => {
                tracing::warn!(upstream, "breaker_failures: calls are refused for a while");
            }
            Report::EndpointDiffers { upstream, what } => {
                tracing::warn!(upstream, what, "endpoints of one upstream differ");
            }
            Report::BreakerClosed { upstream } => {
                tracing::info!(upstream, "calls are answered again");
            }
            Report::UpstreamOddity { upstream, what } => {
                if self.may_tell(Kind::Oddity) {
                    tracing::warn!(upstream, what, "an upstream sent something odd");
                }
            }
            Report::CallFailed(call) => {
                self.meter.calls_failed.add(1);
                if self.may_tell(Kind::CallFailed) {
                    tracing::warn!(
                        client = %Shown(call.link),
                        flight = call.flight,
                        trace = call.trace.map(|trace| format!("{trace:032x}")),
                        agent = call.agent,
                        upstream = call.upstream,
                        method = call.method.as_str(),
                        code = call.code,
                        why = call.why,
                        "a request failed"
                    );
                }
            }
            // Strangers cause these.
            Report::ClientClosed { link, why } => self.tell_client(Kind::ClientClosed, *link, why),
            Report::ClientFault { link, what } => self.tell_client(Kind::ClientFault, *link, what),
            Report::UpstreamReady { upstream, version } => {
                tracing::info!(upstream, version, "an upstream is ready");
            }
        }
    }

    fn tell_client(&mut self, kind: Kind, client: LinkId, why: &str) {
        // Asked first: what is not told at this level leaves nothing out.
        if !tracing::enabled!(tracing::Level::DEBUG) || !self.may_tell(kind) {
            return;
        }
        if matches!(kind, Kind::ClientClosed) {
            tracing::debug!(%client, why, "a client's link is closed");
        } else {
            tracing::debug!(%client, why, "a client sent what is no message");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_cut_and_counted_and_hides_no_other() {
        let mut throttle = Throttle::default();
        let mut told = 0;
        for _ in 0..1_000 {
            told += u32::from(throttle.admits(Kind::CallFailed, 7).is_some());
        }
        assert_eq!(told, LINES_A_SECOND_MAX);
        let left_out = Some(1_000 - u64::from(LINES_A_SECOND_MAX));
        assert_eq!(throttle.admits(Kind::Oddity, 7), left_out, "another kind says how many");
        assert_eq!(throttle.admits(Kind::Down, 7), Some(0), "once");
        assert_eq!(throttle.admits(Kind::CallFailed, 7), None);
        assert_eq!(throttle.admits(Kind::CallFailed, 8), Some(1), "another second, another ten");
    }
}
