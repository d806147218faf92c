//! Parked lanes: connections that a client had to itself and left in good order. A client of one exchange
//! would else start a server for each of its calls. Who takes one must have declared the same capabilities.

use super::Gateway;
use super::client::ClientKey;
use super::door::Effects;
use super::lane::{Hello, LaneKey, Role};
use super::timer::Alarm;
use crate::base::Now;
use crate::mcp::Era;

impl Gateway {
    /// A client leaves: those of its lanes that nothing is under way on wait for the next.
    pub(super) fn park_lanes(&mut self, now: Now, key: ClientKey) {
        let idle = self.settings.limits.lane_idle;
        let Some(client) = self.clients.get_mut(key) else { return };
        let own = std::mem::take(&mut client.lanes);
        for own in own {
            let is_quiet = self.lanes.get(own.lane).is_some_and(|lane| {
                let asks_nothing = lane.asks.is_empty() && lane.wants.is_empty();
                lane.is_ready()
                    && lane.era() == Era::Legacy
                    && lane.queue.is_empty()
                    && asks_nothing
            });
            if !is_quiet || !self.flights_of(own.lane).is_empty() {
                if let Some(client) = self.clients.get_mut(key) {
                    client.lanes.push(own);
                }
                continue;
            }
            let alarm = self.wheel.set(now.at, idle, Alarm::Parked(own.lane));
            if let Some(lane) = self.lanes.get_mut(own.lane) {
                lane.role = Role::Parked;
                lane.alarm = Some(alarm);
            }
            self.upstreams[own.upstream].parked.push(own.lane);
        }
    }

    /// A parked lane that serves a client of this kind; it is that client's from now on.
    pub(super) fn parked_lane(
        &mut self,
        client: ClientKey,
        index: usize,
        hello: &Hello,
    ) -> Option<LaneKey> {
        let lanes = &self.lanes;
        let fits = |key: &LaneKey| {
            lanes.get(*key).and_then(|lane| lane.hello.as_deref()).is_some_and(|said| {
                said.capabilities == hello.capabilities
                    && said.era == hello.era
                    && said.version == hello.version
            })
        };
        let parked = &mut self.upstreams[index].parked;
        // The one that was used last: the others may grow old.
        let key = parked.remove(parked.iter().rposition(fits)?);
        let lane = self.lanes.get_mut(key)?;
        lane.role = Role::Own(client);
        if let Some(alarm) = lane.alarm.take() {
            self.wheel.cancel(alarm);
        }
        Some(key)
    }

    /// Nobody has wanted a parked lane within its time.
    pub(super) fn parked_due(&mut self, key: LaneKey, out: &mut Effects) {
        if let Some(lane) = self.lanes.get(key).filter(|lane| lane.role == Role::Parked) {
            self.upstreams[lane.upstream].parked.retain(|&parked| parked != key);
            self.drop_lane(key, "idle for the time of the limit lane_idle", out);
        }
    }
}
