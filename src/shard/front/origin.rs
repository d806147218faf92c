//! Which web pages may talk to this server: the `Origin` of a request (RFC 6454, Fetch section 3.2)
//! against a list, and what the others' browsers are told (CORS). A request without an origin is no
//! browser's cross-site one and passes.

use super::host::{ends_with, is_loopback, split};

/// The origins that pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Any,
    /// Pages served by this machine to itself, on any port and scheme.
    Loopback,
    Exact(Box<str>),
    /// `https://*.example.com` holds `https://` and `.example.com`.
    Under {
        scheme: Box<str>,
        suffix: Box<str>,
    },
}

impl Origins {
    /// None: a request that has an origin is refused.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Pages that this machine serves to itself.
    pub fn loopback() -> Self {
        Self(vec![Origin::Loopback])
    }

    /// Reads a list: `scheme://host[:port]`, `scheme://*.host`, `null`, `*`. The error names the entry
    /// and what would be right.
    pub fn parse(entries: &[String]) -> Result<Self, String> {
        entries.iter().map(|entry| Origin::parse(entry)).collect::<Result<_, _>>().map(Self)
    }

    /// As this, and the loopback origins.
    #[must_use]
    pub fn and_loopback(mut self) -> Self {
        self.0.push(Origin::Loopback);
        self
    }

    pub fn has(&self, origin: &str) -> bool {
        self.0.iter().any(|known| known.is(origin))
    }
}

impl Origin {
    fn parse(entry: &str) -> Result<Self, String> {
        let small = entry.to_ascii_lowercase();
        if small == "*" {
            return Ok(Self::Any);
        }
        if small == "null" {
            return Ok(Self::Exact(small.into()));
        }
        let whole = small.split_once("://").filter(|(scheme, host)| {
            !scheme.is_empty()
                && !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte))
        });
        match whole {
            Some((scheme, host)) => match host.strip_prefix('*') {
                Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') => {
                    Ok(Self::Under { scheme: format!("{scheme}://").into(), suffix: suffix.into() })
                }
                None => Ok(Self::Exact(small.into())),
                Some(_) => Err(wrong(entry)),
            },
            None => Err(wrong(entry)),
        }
    }

    fn is(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => origin
                .split_once("://")
                .is_some_and(|(_, authority)| is_loopback(split(authority).0)),
            Self::Exact(known) => origin.eq_ignore_ascii_case(known),
            Self::Under { scheme, suffix } => {
                origin.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                    && origin.get(scheme.len()..).is_some_and(|host| ends_with(host, suffix))
            }
        }
    }
}

fn wrong(entry: &str) -> String {
    format!(
        "{entry:?} is no origin; write \"https://app.example.com\", without a path, \
         \"https://*.example.com\", or \"*\""
    )
}

/// What browsers are told about requests across origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Methods a page may use.
    pub methods: Vec<String>,
    /// Request headers a page may set, in small letters; `mcp-*` stands for all that begin so.
    pub headers: Vec<String>,
    /// Response headers that a page may read.
    pub exposed: Vec<String>,
    /// Whether cookies and the like may come along.
    pub credentials: bool,
    /// Seconds a browser may remember a preflight's answer.
    pub max_age_secs: u32,
}

impl Default for Cors {
    fn default() -> Self {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            methods: all(&["GET", "POST", "DELETE"]),
            headers: all(&["content-type", "accept", "authorization", "last-event-id", "mcp-*"]),
            exposed: all(&["mcp-session-id", "mcp-protocol-version", "www-authenticate"]),
            credentials: false,
            max_age_secs: 600,
        }
    }
}

impl Cors {
    /// The header lines of any response to a page of `origin`, which has passed. Each ends with CRLF.
    pub fn lines(&self, origin: &str, to: &mut Vec<u8>) {
        line(to, "access-control-allow-origin", origin);
        line(to, "vary", "origin");
        if self.credentials {
            line(to, "access-control-allow-credentials", "true");
        }
        if !self.exposed.is_empty() {
            line(to, "access-control-expose-headers", &self.exposed.join(", "));
        }
    }

    /// The lines that a preflight's answer has beside those: what may be sent. `asked` are the headers
    /// that the page wants to set.
    pub fn preflight_lines(&self, asked: &str, to: &mut Vec<u8>) {
        line(to, "access-control-allow-methods", &self.methods.join(", "));
        let asked = asked.split(',').map(str::trim).filter(|name| self.takes(name));
        let asked = asked.collect::<Vec<_>>().join(", ");
        if !asked.is_empty() {
            line(to, "access-control-allow-headers", &asked);
        }
        line(to, "access-control-max-age", &self.max_age_secs.to_string());
    }

    fn takes(&self, name: &str) -> bool {
        self.headers.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => {
                name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
            }
            None => name.eq_ignore_ascii_case(known),
        })
    }
}

fn line(to: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        to.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_pass_and_those_that_only_look_like_it_do_not() {
        let origins = Origins::loopback();
        for origin in
            ["http://localhost:6274", "https://127.0.0.1", "http://[::1]:80", "HTTP://LOCALHOST"]
        {
            assert!(origins.has(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://localhost.evil.example",
            "http://evil.example#localhost",
            "localhost",
        ] {
            assert!(!origins.has(origin), "{origin}");
        }
    }

    #[test]
    fn a_list_is_exact_about_scheme_and_port() {
        let list: Vec<String> =
            ["https://App.example.com", "https://*.inside.example"].map(str::to_owned).into();
        let origins = Origins::parse(&list).expect("well-formed");
        for origin in ["https://app.example.com", "https://a.b.inside.example"] {
            assert!(origins.has(origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://inside.example",
            "http://a.inside.example",
            "https://x-inside.example",
            "http://localhost",
        ] {
            assert!(!origins.has(origin), "{origin}");
        }
        for wrong in ["app.example.com", "https://x/", "https://*x", "https://"] {
            assert!(Origins::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_preflight_is_told_only_what_may_be_sent() {
        let mut lines = Vec::new();
        Cors::default().preflight_lines("Content-Type, X-Evil, Mcp-Param-Region", &mut lines);
        let lines = String::from_utf8(lines).expect("text");
        assert!(lines.contains("access-control-allow-headers: Content-Type, Mcp-Param-Region\r\n"));
        assert!(!lines.contains("X-Evil"));
    }
}
