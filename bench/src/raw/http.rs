//! HTTP/1.1 with nothing around it: heads are parsed by httparse, bodies found by their Content-Length, and the answer
//! is either the body itself (the floor) or an MCP server's (the upstream of a proxied call).

#![allow(
    clippy::disallowed_types,
    reason = "the floor has no shard::rt to stand on; this file is where it meets the runtime"
)]

use std::io::Write as _;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};

use super::READ_BYTES;
use crate::upstream::{self, Said};

/// Writes the response to a request of `method` with `body`.
type Reply = fn(method: &str, body: &[u8], out: &mut Vec<u8>);

/// A head as large as the gateway's; the body's length and the empty line follow.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 05:51:19 GMT\r\nx-content-type-options: nosniff\r\n\
content-type: application/json\r\ncontent-length: ";

/// Returns the body.
pub(super) fn echo(_: &str, body: &[u8], out: &mut Vec<u8>) {
    ok(body, out);
}

/// Answers as an MCP server without sessions and streams.
pub(super) fn mcp(method: &str, body: &[u8], out: &mut Vec<u8>) {
    if method != "POST" {
        return out.extend_from_slice(
            b"HTTP/1.1 405 Method Not Allowed\r\nallow: POST\r\ncontent-length: 0\r\n\r\n",
        );
    }
    let mut answer = Vec::new();
    match upstream::answer(body, &mut answer) {
        Said::Answer => ok(&answer, out),
        Said::Nothing => {
            out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        }
        Said::NoMessage => {
            out.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    }
}

fn ok(body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(OK);
    // Into a vector, which cannot fail.
    let _written = write!(out, "{}\r\n\r\n", body.len());
    out.extend_from_slice(body);
}

/// Serves one connection to its end. A request longer than `READ_BYTES` ends it.
pub(super) async fn respond<S: AsyncReadRent + AsyncWriteRent>(mut stream: S, reply: Reply) {
    let mut bytes: Vec<u8> = Vec::with_capacity(READ_BYTES);
    let mut out = Vec::with_capacity(READ_BYTES);
    loop {
        let held = bytes.len();
        if held == READ_BYTES {
            return;
        }
        let (result, slice) = stream.read(bytes.slice_mut(held..READ_BYTES)).await;
        bytes = slice.into_inner();
        let Ok(len @ 1..) = result else { return };
        bytes.truncate(held + len);
        let mut done = 0;
        while let Some(length) = one(&bytes[done..], reply, &mut out) {
            done += length;
        }
        bytes.drain(..done);
        if out.is_empty() {
            continue;
        }
        let (result, back) = stream.write_all(out).await;
        out = back;
        out.clear();
        if result.is_err() {
            return;
        }
    }
}

/// Answers the first request, if it is whole; returns its length.
fn one(bytes: &[u8], reply: Reply, out: &mut Vec<u8>) -> Option<usize> {
    let mut headers = [const { std::mem::MaybeUninit::uninit() }; 32];
    let mut request = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(head)) =
        request.parse_with_uninit_headers(bytes, &mut headers)
    else {
        return None;
    };
    let length = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    let body = bytes.get(head..head.checked_add(length)?)?;
    reply(request.method.unwrap_or_default(), body, out);
    Some(head + length)
}
