//! Draining: no new clients, what is in flight finishes, listen streams end in good order, and then
//! everything is closed. Begun once; ends in [`Report::Drained`]. A child that all shards share is closed last: the
//! calls of other shards may still be under way there when those of this one are answered.

use super::Gateway;
use super::door::{Effect, Effects, Mail};
use super::lane::{Lane, Role};
use super::report::Report;
use super::timer::Alarm;
use crate::base::{Now, ShardId};

#[derive(Debug, Default)]
pub(super) struct Drain {
    stage: Stage,
    /// The time of the limit `drain` is over.
    overdue: bool,
    /// How many of the other shards need nothing any more of the children that live here.
    others_done: usize,
}

/// ```text
/// Serving ──► Noticed ──► Begun ──► Done ──► Told
///    └────────────────────► ┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Serving,
    /// It will begin.
    Noticed,
    Begun,
    /// Nothing is left for clients of this shard.
    Done,
    /// Nor for those of others.
    Told,
}

impl Drain {
    /// Whether it has begun, or is about to.
    pub(super) fn is_near(&self) -> bool {
        self.stage >= Stage::Noticed
    }

    pub(super) fn has_begun(&self) -> bool {
        self.stage >= Stage::Begun
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage >= Stage::Done
    }
}

impl Gateway {
    pub(super) fn give_notice(&mut self) {
        self.drain.stage = self.drain.stage.max(Stage::Noticed);
    }

    pub(super) fn begin_drain(&mut self, now: Now, out: &mut Effects) {
        if self.drain.has_begun() {
            return;
        }
        self.drain.stage = Stage::Begun;
        self.wheel.set(now.at, self.settings.limits.drain, Alarm::Drained);
        self.end_health();
        self.end_pools();
        for key in self.clients.keys() {
            self.end_listens(key, out);
        }
    }

    pub(super) const fn drain_overdue(&mut self) {
        self.drain.overdue = true;
    }

    /// Another shard calls nothing here any more.
    pub(super) const fn other_drained(&mut self) {
        self.drain.others_done += 1;
    }

    /// Ends the drain when nothing is under way any more.
    pub(super) fn check_drained(&mut self, now: Now, out: &mut Effects) {
        if !matches!(self.drain.stage, Stage::Begun | Stage::Done) {
            return;
        }
        if !self.drain.is_done() {
            let is_idle = self.greets.is_empty()
                && self.clients.iter().all(|(_, client)| client.flights.is_empty());
            if !is_idle && !self.drain.overdue {
                return;
            }
            self.drain.stage = Stage::Done;
            self.end_clients(now, out);
        }
        let others = usize::from(self.settings.shards.saturating_sub(1));
        let is_needed = self.drain.others_done < others
            && self.lanes.iter().any(|(_, lane)| self.is_lent(lane));
        if is_needed && !self.drain.overdue {
            return;
        }
        self.drain.stage = Stage::Told;
        for link in self.lanes.iter().filter_map(|(_, lane)| lane.link) {
            out.push(Effect::Close { link, why: "the gateway is draining" });
        }
        out.report(Report::Drained);
    }

    /// Closes what clients have, and tells the shards whose children they used.
    fn end_clients(&mut self, now: Now, out: &mut Effects) {
        for (key, _) in self.exchanges.open() {
            self.send_away(now, key, "the gateway is draining", out);
        }
        for link in self.clients.iter().filter_map(|(_, client)| client.link()) {
            out.push(Effect::Close { link, why: "the gateway is draining" });
        }
        if self.endpoints.iter().any(|endpoint| endpoint.is_stdio) {
            for to in (0..self.settings.shards).map(ShardId).filter(|&to| to != self.shard) {
                out.push(Effect::Mail { to, mail: Mail::Drained });
            }
        }
    }

    /// Whether other shards call on this lane as well.
    fn is_lent(&self, lane: &Lane) -> bool {
        matches!(lane.role, Role::Shared | Role::Probe)
            && !self.other_shards(lane.seat.endpoint).is_empty()
    }
}
