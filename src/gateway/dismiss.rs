//! Dismissing one client while all others go on: the listener that it came by is closed. As in a drain, streams end in
//! good order and what is under way finishes; whoever is dismissed comes back by another way. What an HTTP session has
//! is kept: only its connections end.

use super::client::{ClientKey, Front};
use super::door::{Effect, Effects, Mail};
use super::exchange::{Exchange, ExchangeKey, Kind};
use super::{Gateway, Peer, answer};
use crate::base::{LinkId, Now};
use crate::mcp::meta;

/// When clients of streams that are closed come back: as soon as SDKs do by themselves.
const RETRY: &[u8] = b"retry: 1000\n\n";
const WHY: &str = "its listener is closed";

impl Gateway {
    /// See [`super::Event::Dismissed`].
    pub(super) fn dismissed(&mut self, now: Now, link: LinkId, overdue: bool, out: &mut Effects) {
        match self.links.get(link) {
            Some(Peer::Client(key)) if overdue => self.close_client(now, key, out),
            Some(Peer::Client(key)) => {
                self.end_listens(key, out);
                self.dismissed.push(key);
            }
            Some(Peer::Exchange(key)) => self.dismiss_exchange(now, key, overdue, out),
            Some(Peer::Elsewhere(to)) => {
                let mail = Mail::Dismissed { link, is_overdue: overdue };
                out.push(Effect::Mail { to, mail });
            }
            Some(Peer::Lane(_)) | None => {}
        }
    }

    /// As [`Gateway::dismissed`], of an exchange that another shard answers.
    pub(super) fn dismissed_here(
        &mut self,
        now: Now,
        link: LinkId,
        overdue: bool,
        out: &mut Effects,
    ) {
        if let Some(&key) = self.foreign.get(&link) {
            self.dismiss_exchange(now, key, overdue, out);
        }
    }

    fn dismiss_exchange(&mut self, now: Now, key: ExchangeKey, overdue: bool, out: &mut Effects) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let client = exchange.client;
        match exchange.kind {
            Kind::Session => self.send_away(now, key, WHY, out),
            Kind::Modern | Kind::Legacy | Kind::Sse if overdue => {
                self.send_away(now, key, WHY, out);
            }
            Kind::Modern => self.end_listens(client, out),
            Kind::Sse => self.dismissed.push(client),
            // Its answers are its end.
            Kind::Legacy | Kind::Line => {}
        }
    }

    /// Closes those that were dismissed and wait for nothing any more.
    pub(super) fn check_dismissed(&mut self, now: Now, out: &mut Effects) {
        for key in std::mem::take(&mut self.dismissed) {
            let Some(client) = self.clients.get(key) else { continue };
            if client.flights.is_empty() && !self.is_greeting(key) {
                self.close_client(now, key, out);
            } else {
                self.dismissed.push(key);
            }
        }
    }

    fn close_client(&mut self, now: Now, key: ClientKey, out: &mut Effects) {
        match self.clients.get(key).map(|client| &client.front) {
            Some(Front::Link(link)) => out.push(Effect::Close { link: *link, why: WHY }),
            Some(Front::Sse(http)) => {
                let stream = http.stream;
                self.send_away(now, stream, WHY, out);
            }
            _ => {}
        }
    }

    /// Closes the response of an exchange, whatever is still to come; where its client knows how to come back for that,
    /// it is told when.
    pub(super) fn send_away(
        &mut self,
        now: Now,
        key: ExchangeKey,
        why: &'static str,
        out: &mut Effects,
    ) {
        let Some(link) = self.exchanges.get(key).and_then(|exchange| exchange.link) else { return };
        if self.exchanges.get(key).is_some_and(Exchange::can_be_resumed) {
            // Before a stream is closed early its client is told when to come back (2025-11-25
            // "Sending Messages to the Server").
            let at = out.bytes.len();
            out.bytes.extend_from_slice(RETRY);
            out.sent(link, at);
        }
        out.push(Effect::Close { link, why });
        // At once: flights that go on and hearts that beat have nobody to tell any more, and that a
        // link of another shard is closed nobody says here.
        self.detach(link);
        self.exchange_broke(now, key, out);
    }

    /// Ends what a client listens to, each with its result (2026-07-28 "Subscriptions").
    pub(super) fn end_listens(&mut self, key: ClientKey, out: &mut Effects) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let listens = std::mem::take(&mut client.listens);
        let exchange = match client.front {
            Front::Exchange(exchange) => Some(exchange),
            _ => None,
        };
        for listen in &listens {
            self.exchanges.reply(&self.clients, key, exchange, out, |out| {
                answer::open(out, &listen.id);
                let text = format!(
                    "{{\"resultType\":\"complete\",\"_meta\":{{\"{}\":{}}}}}}}",
                    meta::SUBSCRIPTION,
                    listen.id
                );
                out.extend_from_slice(text.as_bytes());
            });
        }
        self.unlisten(&listens, &[], out);
    }
}
