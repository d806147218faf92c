//! HTTP as the gateway sees it: one request with its body, whichever version of HTTP brought it. Heads and
//! framing are `wire`'s, connections the transport's; what an exchange means in MCP is in `exchange`.

use std::fmt;

use super::principal::Principal;
use crate::base::LinkId;

/// Where Streamable HTTP is spoken, all revisions.
pub const ENDPOINT: &str = "/mcp";
/// The stream of HTTP+SSE (2024-11-05).
pub const SSE: &str = "/sse";
/// Where its clients post.
pub const MESSAGE: &str = "/message";
/// REST, for people and scripts.
pub const TOOLS: &str = "/tools";
/// Answers while the process lives.
pub const HEALTH: &str = "/health";
/// Answers 200 while requests are welcome.
pub const READY: &str = "/ready";

/// Response headers beside those that every response has (type, length, date).
pub type HeaderPairs = Vec<(&'static str, String)>;

/// The methods that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Delete,
    Other,
}

/// A request's headers, in the order in which they came.
pub trait Headers {
    /// Visits each, name and value; names in any case (RFC 9110 section 5.1), values without the white
    /// space around them.
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8]));
}

impl Headers for [(&str, &str)] {
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            visit(name, value.as_bytes());
        }
    }
}

impl<const N: usize> Headers for [(&str, &str); N] {
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.as_slice().for_each(visit);
    }
}

/// One HTTP request, whole. Syntax, framing, size, Host and Origin have been judged.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub verb: Verb,
    /// The target's path, as it was sent.
    pub path: &'a str,
    /// What follows the `?`; empty if nothing does.
    pub query: &'a str,
    pub headers: &'a dyn Headers,
    pub body: &'a [u8],
    /// Who it is from, proved to the transport.
    pub principal: Principal,
}

/// An exchange, and whom it acts for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub link: LinkId,
    pub principal: Principal,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers and bodies carry secrets; they stay out of every log.
        f.debug_struct("Request")
            .field("verb", &self.verb)
            .field("path", &self.path)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An exchange on its way to the shard that owns what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub principal: Principal,
    /// What it was proved with, where that is to be exchanged.
    pub shown: Option<std::sync::Arc<super::token::SubjectToken>>,
    /// Its trace, as its headers told it.
    pub context: Option<Box<super::trace::Context>>,
    pub aim: Aim,
    pub body: Box<[u8]>,
}

/// What a carried exchange is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A message in a session, which its id names.
    Message { session: Box<str> },
    /// A message for an HTTP+SSE stream.
    SseMessage { session: Box<str> },
    /// `GET`: the session's stream, or the rest of one that broke.
    Stream { session: Box<str>, last_event: Option<Box<str>> },
    /// `DELETE`.
    End { session: Box<str> },
    /// A modern request that goes on with a held call.
    Retry,
}

/// What a request's headers say that matters in MCP; all others pass unread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    pub takes_json: bool,
    pub takes_events: bool,
    pub is_json: bool,
    /// `MCP-Protocol-Version`
    pub version: Option<&'a str>,
    /// `Mcp-Session-Id`
    pub session: Option<&'a str>,
    /// `Last-Event-ID`
    pub last_event: Option<&'a str>,
    /// `Mcp-Method`
    pub method: Option<&'a [u8]>,
    /// `Mcp-Name`
    pub name: Option<&'a [u8]>,
    /// `traceparent` and `tracestate`; those that stand twice are none
    pub trace_parent: Option<&'a str>,
    pub trace_state: Option<&'a str>,
    /// A header that must stand once stands twice.
    pub doubled: Option<&'static str>,
}

impl<'a> Facts<'a> {
    /// One pass over the headers.
    pub fn read(headers: &'a dyn Headers) -> Self {
        let mut facts = Self::default();
        headers.for_each(&mut |name, value| facts.take(name, value));
        facts
    }

    fn take(&mut self, name: &str, value: &'a [u8]) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        // The length decides for most headers that nothing is to be compared.
        match name.len() {
            6 if is("accept") => self.accept(value),
            8 if is("mcp-name") => {
                once("Mcp-Name", &mut self.name, value, &mut self.doubled);
            }
            10 if is("tracestate") => alone(&mut self.trace_state, value),
            11 if is("traceparent") => alone(&mut self.trace_parent, value),
            10 if is("mcp-method") => {
                once("Mcp-Method", &mut self.method, value, &mut self.doubled);
            }
            12 if is("content-type") => {
                let kind = value.split(|&byte| byte == b';').next().unwrap_or_default();
                self.is_json = kind.trim_ascii().eq_ignore_ascii_case(b"application/json");
            }
            13 if is("last-event-id") => self.last_event = std::str::from_utf8(value).ok(),
            14 if is("mcp-session-id") => {
                // What is no text is no session of ours.
                let id = std::str::from_utf8(value).unwrap_or_default();
                once("Mcp-Session-Id", &mut self.session, id, &mut self.doubled);
            }
            20 if is("mcp-protocol-version") => {
                let version = std::str::from_utf8(value).unwrap_or_default();
                once("MCP-Protocol-Version", &mut self.version, version, &mut self.doubled);
            }
            _ => {}
        }
    }

    /// RFC 9110 section 12.5.1, as far as MCP goes: both types must be named; a type with `q=0` is not.
    fn accept(&mut self, value: &[u8]) {
        for range in value.split(|&byte| byte == b',') {
            let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let kind = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                part.strip_prefix(b"q=")
                    .is_some_and(|q| q.iter().all(|&c| matches!(c, b'0' | b'.')))
            });
            self.takes_json |= !refused && kind.eq_ignore_ascii_case(b"application/json");
            self.takes_events |= !refused && kind.eq_ignore_ascii_case(b"text/event-stream");
        }
    }
}

/// Keeps a text that stands once: of two nobody knows which counts.
fn alone<'a>(place: &mut Option<&'a str>, value: &'a [u8]) {
    let is_first = place.is_none();
    *place = Some(std::str::from_utf8(value).ok().filter(|_| is_first).unwrap_or_default());
}

fn once<T>(
    name: &'static str,
    place: &mut Option<T>,
    value: T,
    doubled: &mut Option<&'static str>,
) {
    if place.replace(value).is_some() {
        *doubled = Some(name);
    }
}

/// The header's parameters that mirror a tool's (`Mcp-Param-<Name>`).
pub const PARAM_PREFIX: &str = "mcp-param-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case_and_doubled_ones_told() {
        let headers = [
            ("ACCEPT", "text/event-stream;q=0.5 , Application/JSON; charset=utf-8"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("mcp-Protocol-version", "2025-11-25"),
            ("Mcp-Session-Id", "a"),
        ];
        let facts = Facts::read(&headers);
        assert!(facts.takes_json && facts.takes_events && facts.is_json);
        assert_eq!((facts.version, facts.session), (Some("2025-11-25"), Some("a")));
        assert_eq!(facts.doubled, None);
        let twice = [("mcp-method", "a"), ("Mcp-Method", "a")];
        assert_eq!(Facts::read(&twice).doubled, Some("Mcp-Method"));
    }

    #[test]
    fn accept_names_types_and_wildcards_are_none() {
        for value in ["*/*", "application/*", "application/json;q=0", ""] {
            let headers = [("accept", value)];
            let facts = Facts::read(&headers);
            assert!(!facts.takes_json && !facts.takes_events, "{value}");
        }
    }
}
