//! How answers leave on an HTTP/1.1 connection: as a whole response, or as the chunks of a stream.

use super::super::revoke::Keyed;
use super::super::tls::Alpn;
use super::figures::Mark;
use super::front::{Front, HSTS};
use crate::base::{LinkId, Moment};
use crate::gateway::http::HeaderPairs;
use crate::wire::coding::{BODY_BYTES_MIN, Coding, Wanted};
use crate::wire::http1::write;

/// What a connection's link knows of the exchange that is under way on it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one exchange")]
pub(in crate::shard) struct HttpFace {
    /// Its id; `None` between exchanges.
    pub(in crate::shard) exchange: Option<LinkId>,
    /// What it is counted as.
    pub(in crate::shard) mark: Mark,
    /// What came in behind the request waits for its end.
    pub(in crate::shard) is_held: bool,
    /// The response's head has left, and its body is under way.
    pub(in crate::shard) is_streaming: bool,
    /// A request has come on the connection, so it is not one of HTTP/2.
    pub(in crate::shard) is_used: bool,
    /// What a connection that is new has to speak, where that was agreed on.
    pub(in crate::shard) alpn: Option<Alpn>,
    /// Since when no request has been under way, where none is.
    pub(in crate::shard) idle_since: Moment,
    /// It came over TLS.
    pub(in crate::shard) is_secure: bool,
    /// A time for what has begun to come in is running.
    pub(in crate::shard) is_timed: bool,
    /// The connection goes on after it.
    pub(in crate::shard) keeps_alive: bool,
    /// HTTP/1.`minor`; a peer of 1.0 knows no chunks.
    pub(in crate::shard) minor: u8,
    /// `HEAD`: the response has no body.
    pub(in crate::shard) is_head: bool,
    /// What its answer may be coded in.
    pub(in crate::shard) wants: Wanted,
    /// The page that asks, where one does and may.
    pub(in crate::shard) origin: Option<Box<str>>,
    /// The key that was shown, as whose.
    pub(in crate::shard) key: Option<Keyed>,
}

impl HttpFace {
    /// Appends a whole response, its body in this coding.
    pub(in crate::shard) fn respond(
        &self,
        out: &mut Vec<u8>,
        front: &Front,
        date: &str,
        status: u16,
        headers: &HeaderPairs,
        (body, coding): (&[u8], Option<Coding>),
    ) {
        write::status(out, self.minor, status);
        self.common(out, front, date, headers);
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            out.extend_from_slice(b"content-type: application/json\r\n");
        }
        // So that a cache in between gives nobody what is not for them.
        if front.packs_answers && (coding.is_some() || body.len() >= BODY_BYTES_MIN) {
            out.extend_from_slice(b"vary: accept-encoding\r\n");
        }
        if let Some(coding) = coding {
            write::header(out, "content-encoding", coding.name().as_bytes());
        }
        if !matches!(status, 100..=199 | 204 | 304) {
            write::length(out, body.len());
        }
        write::end(out);
        if !self.is_head {
            out.extend_from_slice(body);
        }
    }

    /// Appends the head of an event stream.
    pub(in crate::shard) fn stream(
        &mut self,
        out: &mut Vec<u8>,
        front: &Front,
        date: &str,
        headers: &HeaderPairs,
    ) {
        self.is_streaming = true;
        if self.minor == 0 {
            // Without chunks only the connection's end can end it.
            self.keeps_alive = false;
        }
        write::status(out, self.minor, 200);
        self.common(out, front, date, headers);
        out.extend_from_slice(
            b"content-type: text/event-stream\r\ncache-control: no-cache, no-transform\r\n\
              x-accel-buffering: no\r\n",
        );
        if self.minor > 0 {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        write::end(out);
    }

    /// Appends a piece of the stream.
    pub(in crate::shard) fn piece(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        if self.minor > 0 {
            write::chunk(out, bytes);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    /// Appends what ends the stream.
    pub(in crate::shard) fn end(&self, out: &mut Vec<u8>) {
        if self.minor > 0 {
            write::last_chunk(out);
        }
    }

    fn common(&self, out: &mut Vec<u8>, front: &Front, date: &str, headers: &HeaderPairs) {
        write::header(out, "date", date.as_bytes());
        // A body is never what a browser guesses it to be.
        out.extend_from_slice(b"x-content-type-options: nosniff\r\n");
        if self.is_secure {
            write::header(out, HSTS.0, HSTS.1.as_bytes());
        }
        match (self.keeps_alive, self.minor) {
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
            (true, 0) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, _) => {}
        }
        if let Some(origin) = &self.origin {
            write::header(out, "access-control-allow-origin", origin.as_bytes());
            out.extend_from_slice(
                b"access-control-expose-headers: mcp-session-id\r\nvary: origin\r\n",
            );
            if front.cors.credentials {
                out.extend_from_slice(b"access-control-allow-credentials: true\r\n");
            }
        }
        for (name, value) in headers {
            write::header(out, name, value.as_bytes());
        }
    }
}
