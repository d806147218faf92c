//! HTTP as the gateway sees it: one request with its body, whichever version of HTTP brought it. Heads and
//! framing are `wire`'s, connections the transport's; what an exchange means in MCP is in `exchange`.

use std::fmt;

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
    pub aim: Aim,
    pub body: Box<[u8]>,
}

/// What a carried exchange is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A message in a session (its key there).
    Message { session: u64 },
    /// A message for an HTTP+SSE stream.
    SseMessage { session: u64 },
    /// `GET`: the session's stream, or the rest of one that broke.
    Stream { session: u64, last_event: Option<Box<str>> },
    /// `DELETE`.
    End { session: u64 },
    /// A modern request that goes on with a held call.
    Retry,
}
