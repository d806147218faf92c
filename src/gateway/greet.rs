//! Greetings: `initialize` and `server/discover`. What the gateway says of itself is what its
//! upstreams said, so a greeting waits until each has been heard or given up, for a bounded time.

use super::client::ClientKey;
use super::door::Effects;
use super::exchange::ExchangeKey;
use super::timer::{Alarm, AlarmKey};
use super::upstream::Upstream;
use super::{Gateway, answer};
use crate::base::{Key, Now};
use crate::mcp::{Features, Version, meta};
use crate::wire::text;

pub type GreetKey = Key<Greet>;

/// Greetings of one client that wait. One is usual; what is beyond is answered with what is known, since whoever waits for
/// nothing may ask on and on.
const GREETS_MAX: usize = 16;

/// A greeting that waits.
#[derive(Debug)]
pub struct Greet {
    client: ClientKey,
    id: Box<str>,
    exchange: Option<ExchangeKey>,
    /// The version to answer in.
    version: Version,
    alarm: AlarmKey,
}

/// `serverInfo` of the gateway itself.
pub const SERVER_INFO: &str = concat!(
    "{\"name\":\"ringgate\",\"title\":\"ringgate MCP gateway\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"}"
);

impl Gateway {
    /// Answers a greeting, now or when the upstreams are known.
    pub(super) fn greet(
        &mut self,
        now: Now,
        client: ClientKey,
        id: &str,
        exchange: Option<ExchangeKey>,
        version: Version,
        out: &mut Effects,
    ) {
        let limits = &self.settings.limits;
        let may_wait = self.greets.len() < limits.flights_max
            && self.clients.get(client).is_some_and(|client| client.greets < GREETS_MAX);
        if !may_wait || !self.is_starting() {
            self.write_greeting(client, id, exchange, version, out);
            return;
        }
        if let Some(client) = self.clients.get_mut(client) {
            client.greets += 1;
        }
        let wait = self.settings.limits.connect;
        let wheel = &mut self.wheel;
        self.greets.insert_with(|key| Greet {
            client,
            id: id.into(),
            exchange,
            version,
            alarm: wheel.set(now.at, wait, Alarm::Greet(key)),
        });
    }

    fn is_starting(&self) -> bool {
        self.used().any(|(_, upstream)| upstream.is_starting())
    }

    /// An upstream has been heard or given up: greetings may be answered now.
    pub(super) fn settle_greets(&mut self, out: &mut Effects) {
        if self.is_starting() {
            return;
        }
        for key in self.greets.keys() {
            self.end_greet(key, out);
        }
    }

    /// Answers with what is known by now.
    pub(super) fn end_greet(&mut self, key: GreetKey, out: &mut Effects) {
        if let Some(greet) = self.greets.remove(key) {
            self.wheel.cancel(greet.alarm);
            if let Some(client) = self.clients.get_mut(greet.client) {
                client.greets = client.greets.saturating_sub(1);
            }
            self.write_greeting(greet.client, &greet.id, greet.exchange, greet.version, out);
        }
    }

    pub(super) fn is_greeting(&self, client: ClientKey) -> bool {
        self.clients.get(client).is_some_and(|client| client.greets > 0)
    }

    /// A client that is gone waits for nothing.
    pub(super) fn drop_greets(&mut self, client: ClientKey) {
        if !self.is_greeting(client) {
            return;
        }
        for key in self.greets.keys() {
            if self.greets.get(key).is_some_and(|greet| greet.client == client)
                && let Some(greet) = self.greets.remove(key)
            {
                self.wheel.cancel(greet.alarm);
            }
        }
    }

    fn write_greeting(
        &mut self,
        client: ClientKey,
        id: &str,
        exchange: Option<ExchangeKey>,
        version: Version,
        out: &mut Effects,
    ) {
        let greeting = self.greeting(client, version);
        self.exchanges.reply(&self.clients, client, exchange, out, |out| {
            answer::open(out, id);
            out.extend_from_slice(greeting.as_bytes());
            out.push(b'}');
        });
    }

    /// The result object: `InitializeResult` or `DiscoverResult`.
    fn greeting(&self, client: ClientKey, version: Version) -> String {
        let mut capabilities = Vec::new();
        self.features(client).write(version, &mut capabilities);
        let capabilities = String::from_utf8(capabilities).unwrap_or_default();
        let info = self.server_info(client);
        let instructions = self
            .instructions(client)
            .map(|text| format!(",\"instructions\":{text}"))
            .unwrap_or_default();
        if version == Version::V2026_07_28 {
            return format!(
                "{{\"resultType\":\"complete\",\"supportedVersions\":[\"{}\"],\"capabilities\":{capabilities}{instructions},\
                 \"ttlMs\":60000,\"cacheScope\":\"private\",\"_meta\":{{\"{}\":{info}}}}}",
                Version::LATEST.as_str(),
                meta::SERVER_INFO,
            );
        }
        format!(
            "{{\"protocolVersion\":\"{}\",\"capabilities\":{capabilities},\"serverInfo\":{info}{instructions}}}",
            version.as_str()
        )
    }

    /// The upstreams that the client may know of.
    fn seen(&self, client: ClientKey) -> impl Iterator<Item = &Upstream> {
        self.used()
            .filter(move |(index, _)| self.sees(client, *index))
            .map(|(_, upstream)| upstream)
    }

    /// What all upstreams offer together. Those that have not said yet may offer anything.
    fn features(&self, client: ClientKey) -> Features {
        let own = Features { tools: self.settings.expose.has_tools(), ..Features::default() };
        self.seen(client).fold(own, |all, upstream| all.or(upstream.features()))
    }

    /// One upstream's own; of several, the gateway's.
    fn server_info(&self, client: ClientKey) -> &str {
        match *self.routes.order() {
            [only] if self.sees(client, only) => {
                let identity = self.upstreams[only].identity.as_ref();
                identity.and_then(|identity| identity.server_info.as_deref())
            }
            _ => None,
        }
        .unwrap_or(SERVER_INFO)
    }

    /// One upstream's own; of several, each under its name. A JSON string.
    fn instructions(&self, client: ClientKey) -> Option<String> {
        let said: Vec<(&str, &str)> = self
            .seen(client)
            .filter_map(|upstream| {
                Some((&*upstream.name, &**upstream.identity.as_ref()?.instructions.as_ref()?))
            })
            .collect();
        if let ([_], [(_, only)]) = (self.routes.order(), said.as_slice()) {
            return Some((*only).to_owned());
        }
        let mut merged = String::new();
        for (name, instructions) in said {
            if !merged.is_empty() {
                merged.push_str("\n\n");
            }
            let plain = instructions
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'))
                .unwrap_or_default();
            merged.extend([
                "# ",
                name,
                "
",
                &*text::unescape(plain),
            ]);
        }
        (!merged.is_empty()).then(|| text::quoted(&merged))
    }
}
