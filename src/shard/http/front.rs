//! The front's guards: who may be asked for (`Host`), who may ask from a browser (`Origin`), and what such a
//! page is told (CORS). Stands before everything else, so that a page that rebinds its name to this address
//! gets nowhere (MCP "Security Warning").

use std::sync::Arc;

use super::bearer::{Denied, Gate, Identified, Shown, Ways};
use super::resource;
use crate::gateway::http::HeaderPairs;
use crate::gateway::keys::Keys;
use crate::gateway::principal::Principal;
use crate::gateway::token::Rules;
use crate::shard::acceptor::Door;
use crate::wire::http1::{Fault, host_name};

/// What an HTTP listener is told. The same for all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Front {
    /// Names that requests may be for, without port; `None`: any. Default: the loopback's.
    pub hosts: Option<Vec<String>>,
    /// Origins that pages may ask from, as browsers write them; `*`: any. Those of the loopback's names are
    /// allowed where `hosts` is the default.
    pub origins: Vec<String>,
    pub cors: Cors,
    /// The path that a `WebSocket` is opened at.
    pub websocket: &'static str,
    /// Whose keys open it; with neither keys nor tokens everybody may ask, and is nobody in particular.
    pub keys: Option<Arc<Keys>>,
    /// Whose tokens do.
    pub tokens: Option<Arc<Rules>>,
    /// Whether clients are known by their certificates: then one without must show a key or a token.
    pub certificates: bool,
    /// Whether `/metrics` tells the counters of all shards.
    pub metrics: bool,
    /// Whether answers may be compressed, where their client takes that.
    pub packs_answers: bool,
    /// Whether messages of a `WebSocket` may be compressed, where its client offers it.
    pub packs_messages: bool,
    /// For tests of this code as such: binary messages are as good as text.
    pub takes_binary: bool,
}

/// What pages of allowed origins are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whether they may send cookies and the like.
    pub credentials: bool,
    /// Headers that they may send beside the protocol's own.
    pub headers: Vec<String>,
    /// How long a browser may remember the answer, in seconds.
    pub max_age: u32,
}

impl Default for Front {
    fn default() -> Self {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        Self {
            hosts: Some(names.map(str::to_owned).to_vec()),
            origins: Vec::new(),
            cors: Cors { credentials: false, headers: Vec::new(), max_age: 3_600 },
            websocket: "/ws",
            keys: None,
            tokens: None,
            certificates: false,
            metrics: true,
            packs_answers: false,
            packs_messages: false,
            takes_binary: false,
        }
    }
}

/// Headers that MCP's own clients send across origins.
const OWN_HEADERS: &str = "accept, authorization, content-type, last-event-id, mcp-method, mcp-name, \
                           mcp-protocol-version, mcp-session-id";

/// What the front says of a request; with the page that asks, where one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Guarded {
    Passes {
        origin: Option<Box<str>>,
        who: Identified,
    },
    /// A browser asks whether a page may ask.
    Preflight(Option<Box<str>>),
    /// Anybody may read what tokens are taken here.
    Document {
        origin: Option<Box<str>>,
        text: String,
    },
    Refused(Refused),
}

/// What a request is refused with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Refused {
    pub(in crate::shard) status: u16,
    pub(in crate::shard) what: &'static str,
    pub(in crate::shard) headers: HeaderPairs,
    /// What the peer is not told.
    pub(in crate::shard) reason: Option<&'static str>,
}

impl Refused {
    pub(in crate::shard) const fn new(status: u16, what: &'static str) -> Self {
        Self { status, what, headers: HeaderPairs::new(), reason: None }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::new(fault.status, fault.what)
    }
}

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Asking<'a> {
    pub(in crate::shard) method: &'a str,
    pub(in crate::shard) path: &'a str,
    pub(in crate::shard) host: Option<&'a str>,
    pub(in crate::shard) origin: Option<&'a [u8]>,
    /// It has `Access-Control-Request-Method`.
    pub(in crate::shard) is_preflight: bool,
    pub(in crate::shard) shown: Shown<'a>,
    pub(in crate::shard) query: &'a str,
    /// How the connection came, and who it is by its certificate, until when.
    pub(in crate::shard) arrived: (Door, Option<(Principal, u64)>),
}

impl Front {
    /// Judges a request by its Host, its Origin and its key, in this order: a page that may not ask here does
    /// not learn whether a key is good.
    pub(in crate::shard) fn judge(
        &self,
        asking: &Asking<'_>,
        gate: &mut Gate,
        now_secs: u64,
    ) -> Guarded {
        let refused = |status, what| Guarded::Refused(Refused::new(status, what));
        if let Some(hosts) = &self.hosts {
            let host = asking.host.map(host_name).unwrap_or_default();
            if !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
                return refused(421, "this name is not served here: see http.hosts");
            }
        }
        let (door, certified) = asking.arrived;
        if let Door::Redirect(port) = door {
            return Guarded::Refused(redirect(asking, port));
        }
        let origin = asking.origin.map(|origin| std::str::from_utf8(origin).unwrap_or_default());
        if origin.is_some_and(|origin| !self.allows(origin)) {
            return refused(403, "pages of this origin may not ask here: see http.origins");
        }
        let origin = origin.map(Into::into);
        // A browser shows no key when it asks whether it may (Fetch, "CORS-preflight fetch").
        if origin.is_some() && asking.method == "OPTIONS" && asking.is_preflight {
            return Guarded::Preflight(origin);
        }
        if let Some(rules) = &self.tokens
            && matches!(asking.method, "GET" | "HEAD")
            && let Some(text) = resource::document(rules, asking.path)
        {
            return Guarded::Document { origin, text };
        }
        // What a request shows itself counts for more than what its connection has.
        if let (Some((principal, until)), Shown::Nothing) = (certified, asking.shown)
            && now_secs <= until
        {
            return Guarded::Passes { origin, who: Identified { principal, until, key: None } };
        }
        let ways = Ways { keys: self.keys.as_deref(), certificates: self.certificates };
        match gate.identify(ways, asking.path, asking.shown, now_secs) {
            Ok(who) => Guarded::Passes { origin, who },
            Err(denied) => Guarded::Refused(self.challenge(denied)),
        }
    }

    /// What whoever is not let in is told (RFC 6750 section 3, RFC 9728 section 5.1, RFC 9110 section 11.6.1).
    fn challenge(&self, denied: Denied) -> Refused {
        let rules = self.tokens.as_deref();
        let needed = match rules {
            Some(_) => "a token or a key is needed here: Authorization: Bearer …",
            None => "a key is needed here: Authorization: Bearer …",
        };
        let (status, what, error, reason) = match denied {
            Denied::Unknown(reason) => (401, needed, None, reason),
            Denied::Wrong(reason) => (401, needed, Some("invalid_token"), reason),
            Denied::Scope(reason) => {
                (403, "the token grants too little here", Some("insufficient_scope"), reason)
            }
            Denied::Later(reason) => {
                let what = "whether the token is good is not known yet: try again";
                let headers = vec![("retry-after", "1".to_owned())];
                return Refused { status: 503, what, headers, reason: Some(reason) };
            }
        };
        let challenge = resource::challenge(rules, error);
        let headers = vec![("www-authenticate", challenge)];
        Refused { status, what, headers, reason: Some(reason) }
    }

    fn allows(&self, origin: &str) -> bool {
        let listed = |known: &String| known == "*" || known.eq_ignore_ascii_case(origin);
        // A page from the loopback is the user's own; one that is served under a host of ours is ours.
        let is_own = self.hosts.as_ref().is_some_and(|hosts| {
            let host =
                origin.split_once("://").map(|(_, host)| host_name(host)).unwrap_or_default();
            !host.is_empty() && hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
        });
        self.origins.iter().any(listed) || is_own
    }

    /// The answer to a browser that asks whether it may ask (Fetch, "CORS-preflight fetch").
    pub(in crate::shard) fn preflight(&self) -> Vec<(&'static str, String)> {
        let mut headers = OWN_HEADERS.to_owned();
        for header in &self.cors.headers {
            headers.extend([", ", header]);
        }
        vec![
            ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS".to_owned()),
            ("access-control-allow-headers", headers),
            ("access-control-max-age", self.cors.max_age.to_string()),
        ]
    }
}

/// The same at HTTPS, for good (RFC 9110 section 15.4.2). Whoever sends a body there as well is told so too: it has
/// been in clear once already.
fn redirect(asking: &Asking<'_>, port: u16) -> Refused {
    let host = asking.host.map(host_name).unwrap_or_default();
    let mut location = format!("https://{host}");
    if port != 443 {
        location.extend([":", &port.to_string()]);
    }
    location.push_str(asking.path);
    if !asking.query.is_empty() {
        location.extend(["?", asking.query]);
    }
    let headers = vec![("location", location)];
    Refused { status: 301, what: "HTTPS is spoken here", headers, reason: None }
}

/// What a page that came over TLS makes a browser do for a year: come so again, whatever name below this one it is
/// asked for (RFC 6797).
pub(in crate::shard) const HSTS: (&str, &str) =
    ("strict-transport-security", "max-age=31536000; includeSubDomains");

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(front: &Front, host: &str, origin: Option<&str>) -> u16 {
        let asking = Asking {
            method: "GET",
            path: "/mcp",
            host: Some(host),
            origin: origin.map(str::as_bytes),
            is_preflight: false,
            shown: Shown::Nothing,
            query: "",
            arrived: (Door::Plain, None),
        };
        match front.judge(&asking, &mut Gate::default(), 0) {
            Guarded::Passes { origin: None, .. } => 0,
            Guarded::Passes { .. } | Guarded::Document { .. } => 200,
            Guarded::Preflight(_) => 204,
            Guarded::Refused(refused) => refused.status,
        }
    }

    #[test]
    fn only_the_loopback_is_served_unless_told_otherwise() {
        let front = Front::default();
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7421", "[::1]:7421", "[::1]"] {
            assert_eq!(judge(&front, host, None), 0, "{host}");
        }
        for host in ["evil.test", "localhost.evil.test", "127.0.0.2", "[::2]"] {
            assert_eq!(judge(&front, host, None), 421, "{host}");
        }
        let any = Front { hosts: None, ..Front::default() };
        assert_eq!(judge(&any, "evil.test", None), 0);
    }

    #[test]
    fn who_has_a_certificate_needs_no_key_and_who_has_not_needs_one() {
        let front = Front { certificates: true, ..Front::default() };
        let alice = crate::gateway::principal::Principals::default().acting_as("alice");
        let ask = |certified, shown, now| {
            let asking = Asking {
                method: "POST",
                path: "/mcp",
                host: Some("localhost"),
                origin: None,
                is_preflight: false,
                shown,
                query: "",
                arrived: (Door::Tls, certified),
            };
            match front.judge(&asking, &mut Gate::default(), now) {
                Guarded::Passes { who, .. } => Ok(who.principal),
                Guarded::Refused(refused) => Err(refused.status),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(Some((alice, 10)), Shown::Nothing, 10), Ok(alice));
        assert_eq!(ask(Some((alice, 10)), Shown::Nothing, 11), Err(401), "it has expired since");
        assert_eq!(ask(Some((alice, 10)), Shown::One(b"Bearer x"), 0), Err(401));
        assert_eq!(ask(None, Shown::Nothing, 0), Err(401));
    }

    #[test]
    fn a_redirect_leads_to_the_same_place_of_a_name_that_is_served() {
        let ask = |host, port| {
            let asking = Asking {
                method: "GET",
                path: "/mcp",
                host: Some(host),
                origin: None,
                is_preflight: false,
                shown: Shown::Nothing,
                query: "a=b",
                arrived: (Door::Redirect(port), None),
            };
            match Front::default().judge(&asking, &mut Gate::default(), 0) {
                Guarded::Refused(refused) => (refused.status, refused.headers),
                other => panic!("{other:?}"),
            }
        };
        let to = |location: &str| (301, vec![("location", location.to_owned())]);
        assert_eq!(ask("localhost:80", 443), to("https://localhost/mcp?a=b"));
        assert_eq!(ask("[::1]:80", 8443), to("https://[::1]:8443/mcp?a=b"));
        assert_eq!(ask("evil.test", 443).0, 421);
    }

    #[test]
    fn pages_ask_from_where_they_may() {
        let front = Front { origins: vec!["https://app.test".to_owned()], ..Front::default() };
        for origin in
            ["https://app.test", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:1"]
        {
            assert_eq!(judge(&front, "localhost", Some(origin)), 200, "{origin}");
        }
        for origin in ["https://evil.test", "http://app.test", "null", "", "localhost", "http://"] {
            assert_eq!(judge(&front, "localhost", Some(origin)), 403, "{origin}");
        }
        let all = Front { origins: vec!["*".to_owned()], hosts: None, ..Front::default() };
        assert_eq!(judge(&all, "x", Some("https://evil.test")), 200);
        let none = Front { hosts: None, ..Front::default() };
        assert_eq!(judge(&none, "x", Some("http://localhost")), 403);
    }
}
