//! Expectations over time: what must have come of updates, cancellations and departures by the end.

use crate::pipe::{End, State};
use crate::world::World;

/// An update that was told by a server, and the clients that had watched it long enough.
#[derive(Debug)]
pub struct Update {
    uri: String,
    serial: u64,
    at: u64,
    watchers: Vec<usize>,
}

/// How long a subscription may take to reach the server: dial, a probe that is ignored for the whole of
/// the limit `probe` (10 s), initialize, subscribe.
const SETTLES: u64 = 11_000_000;

impl World {
    /// A server changes one of its resources; who must hear of it is remembered.
    pub fn update_expected(&mut self, server: usize) {
        let own = format!("res://sub/{}", self.dice.below(3));
        let upstream = self.upstream_of(server);
        let uri = self.called(upstream, &own, true);
        let at = self.now;
        let serial = self.server_updates(server, &own);
        // Of several endpoints one is listened to; which, is not known here.
        let is_one_of_several = !self.settings.upstreams[upstream].spread.others.is_empty();
        let is_counted_on = self.is_faultless && at >= SETTLES && !is_one_of_several;
        if !is_counted_on || !self.servers[server].subscribe {
            return;
        }
        // While it moves to the upstream that comes, nobody may be watching.
        if self.renewals.iter().any(|&renewal| at + SETTLES > renewal && at < renewal + SETTLES) {
            return;
        }
        let watchers = (0..self.clients.len())
            .filter(|&client| self.clients[client].judge.watches_since(&uri, at - SETTLES))
            .collect();
        self.updates.push(Update { uri, serial, at, watchers });
    }

    /// A subscriber that stayed has got each update, once for each way in which it watches.
    pub fn check_updates(&mut self) {
        for update in std::mem::take(&mut self.updates) {
            for &client in &update.watchers {
                let judge = &self.clients[client].judge;
                let stayed = judge.watches_since(&update.uri, update.at - SETTLES);
                let told = judge
                    .updates
                    .iter()
                    .filter(|(uri, serial)| *uri == update.uri && *serial == update.serial)
                    .count();
                let ways = judge.ways_to_watch(&update.uri);
                if stayed && (told == 0 || told > ways) {
                    self.wrong(
                        "a subscriber gets each update once",
                        format!("client {client} got {update:?} {told} times"),
                    );
                }
            }
        }
    }

    /// Whoever worked on what nobody waits for was told so.
    pub fn check_cancelled(&mut self) {
        let cancelled = std::mem::take(&mut self.cancelled);
        let untold: Vec<String> = self
            .conns
            .iter()
            .filter(|conn| !conn.is_gone)
            .flat_map(|conn| conn.calls.values())
            .filter(|call| !call.is_answered && !call.is_told && cancelled.contains(&call.mark))
            .map(|call| call.mark.clone())
            .collect();
        if !untold.is_empty() {
            self.wrong("the upstream of a cancelled request is told", format!("{untold:?}"));
        }
    }

    /// After all clients have gone nothing of theirs is left.
    pub fn check_nothing_left(&mut self) {
        for shard in 0..self.shards.len() {
            let errands: u64 = self
                .conns
                .iter()
                .filter(|conn| conn.shard == shard && !conn.is_gone)
                .map(|conn| conn.errands + 1)
                .sum();
            let footprint = self.shards[shard].gateway.footprint();
            if footprint as u64 > errands {
                self.wrong(
                    "nothing of clients is left when they are gone",
                    format!("shard {shard}: {footprint} entries, {errands} errands"),
                );
            }
        }
        for pipe in 0..self.pipes.len() {
            let End::Server(conn) = self.pipes[pipe].end else { continue };
            if self.pipes[pipe].state == State::Open && self.conns[conn].owner.is_some() {
                self.wrong("connections of clients' own go with them", self.pipes[pipe].name());
            }
        }
    }
}
