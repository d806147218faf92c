//! The front's guards: who may be asked for (`Host`), who may ask from a browser (`Origin`), and what such a
//! page is told (CORS). Stands before everything else, so that a page that rebinds its name to this address
//! gets nowhere (MCP "Security Warning").

/// What an HTTP listener is told. The same for all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// Names that requests may be for, without port; `None`: any. Default: the loopback's.
    pub hosts: Option<Vec<String>>,
    /// Origins that pages may ask from, as browsers write them; `*`: any. Those of the loopback's names are
    /// allowed where `hosts` is the default.
    pub origins: Vec<String>,
    pub cors: Cors,
    /// The path that a `WebSocket` is opened at.
    pub websocket: &'static str,
    /// Whether `/metrics` tells the counters of all shards.
    pub metrics: bool,
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
            metrics: true,
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
    Passes(Option<Box<str>>),
    /// A browser asks whether a page may ask.
    Preflight(Option<Box<str>>),
    Refused {
        status: u16,
        what: &'static str,
    },
}

impl Front {
    /// Judges a request by its Host and Origin; `asks` says that it has `Access-Control-Request-Method`.
    pub(in crate::shard) fn judge(
        &self,
        method: &str,
        host: Option<&str>,
        origin: Option<&[u8]>,
        asks: bool,
    ) -> Guarded {
        if let Some(hosts) = &self.hosts {
            let host = host.map(name_of).unwrap_or_default();
            if !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
                let what = "this name is not served here: see http.hosts";
                return Guarded::Refused { status: 421, what };
            }
        }
        let Some(origin) = origin else { return Guarded::Passes(None) };
        let origin = std::str::from_utf8(origin).unwrap_or_default();
        if !self.allows(origin) {
            let what = "pages of this origin may not ask here: see http.origins";
            Guarded::Refused { status: 403, what }
        } else if method == "OPTIONS" && asks {
            Guarded::Preflight(Some(origin.into()))
        } else {
            Guarded::Passes(Some(origin.into()))
        }
    }

    fn allows(&self, origin: &str) -> bool {
        let listed = |known: &String| known == "*" || known.eq_ignore_ascii_case(origin);
        // A page from the loopback is the user's own; one that is served under a host of ours is ours.
        let is_own = self.hosts.as_ref().is_some_and(|hosts| {
            let host = origin.split_once("://").map(|(_, host)| name_of(host)).unwrap_or_default();
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

/// A host without its port.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').and_then(|end| host.get(..=end)).unwrap_or(host);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(front: &Front, host: &str, origin: Option<&str>) -> u16 {
        match front.judge("GET", Some(host), origin.map(str::as_bytes), false) {
            Guarded::Passes(None) => 0,
            Guarded::Passes(Some(_)) => 200,
            Guarded::Preflight(_) => 204,
            Guarded::Refused { status, .. } => status,
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
