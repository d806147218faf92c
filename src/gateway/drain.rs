//! Draining: no new clients, what is in flight finishes, listen streams end in good order, and then
//! everything is closed. Begun once; ends in [`Report::Drained`].

use super::client::Front;
use super::door::{Effect, Effects};
use super::exchange::Exchange;
use super::report::Report;
use super::timer::Alarm;
use super::{Gateway, answer};
use crate::base::Now;
use crate::mcp::meta;

/// When clients of streams that are closed come back: as soon as SDKs do by themselves.
const RETRY: &[u8] = b"retry: 1000\n\n";

#[derive(Debug, Default)]
pub(super) struct Drain {
    begun: bool,
    /// The time of the limit `drain` is over.
    overdue: bool,
    done: bool,
}

impl Drain {
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) const fn is_done(&self) -> bool {
        self.done
    }
}

impl Gateway {
    pub(super) fn begin_drain(&mut self, now: Now, out: &mut Effects) {
        if std::mem::replace(&mut self.drain.begun, true) {
            return;
        }
        self.wheel.set(now.at, self.settings.limits.drain, Alarm::Drained);
        self.end_health();
        self.end_pools();
        for key in self.clients.keys() {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let listens = std::mem::take(&mut client.listens);
            let exchange = match client.front {
                Front::Exchange(exchange) => Some(exchange),
                _ => None,
            };
            for listen in listens {
                // A stream that the server ends has a result (2026-07-28 "Subscriptions").
                self.exchanges.reply(&self.clients, key, exchange, out, |out| {
                    answer::open(out, &listen.id);
                    let text = format!(
                        "{{\"resultType\":\"complete\",\"_meta\":{{\"{}\":{}}}}}}}",
                        meta::SUBSCRIPTION,
                        listen.id
                    );
                    out.extend_from_slice(text.as_bytes());
                });
                self.unlisten(&listen, out);
            }
        }
    }

    pub(super) const fn drain_overdue(&mut self) {
        self.drain.overdue = true;
    }

    /// Ends the drain when nothing is under way any more.
    pub(super) fn check_drained(&mut self, now: Now, out: &mut Effects) {
        if !self.drain.begun || self.drain.done {
            return;
        }
        let is_idle = self.greets.is_empty()
            && self.clients.iter().all(|(_, client)| client.flights.is_empty());
        if !is_idle && !self.drain.overdue {
            return;
        }
        self.drain.done = true;
        for (key, link) in self.exchanges.open() {
            if self.exchanges.get(key).is_some_and(Exchange::can_be_resumed) {
                // Before a stream is closed early its client is told when to come back (2025-11-25
                // "Sending Messages to the Server").
                let at = out.bytes.len();
                out.bytes.extend_from_slice(RETRY);
                out.sent(link, at);
            }
            out.push(Effect::Close { link, why: "the gateway is draining" });
            // At once: flights that go on and hearts that beat have nobody to tell any more, and that a
            // link of another shard is closed nobody says here.
            self.detach(link);
            self.exchange_broke(now, key, out);
        }
        let clients = self.clients.iter().filter_map(|(_, client)| client.link());
        let lanes = self.lanes.iter().filter_map(|(_, lane)| lane.link);
        for link in clients.chain(lanes) {
            out.push(Effect::Close { link, why: "the gateway is draining" });
        }
        out.report(Report::Drained);
    }
}
