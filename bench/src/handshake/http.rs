//! Blocking exchanges over HTTP/1.1: a legacy client's session, and the stream on which it is told things.

#![allow(clippy::disallowed_types, reason = "blocking sockets, before the clock runs")]

use std::net::TcpStream;

use super::{ANSWER_WAIT, INITIALIZED, initialize, is_answer, read, write};
use crate::chunked::Chunks;
use crate::digits::ID_MIN;
use crate::events;
use crate::failure::Failure;
use crate::head::{self, Head, Length};
use crate::http1::{self, session_header};
use crate::request::{Era, Kind, Request, Tool};
use crate::target::Web;

/// Opens a session; returns the header that names it, empty where the server has no sessions.
pub(super) fn introduce(socket: &TcpStream, web: &Web) -> Result<Vec<u8>, Failure> {
    let (bytes, answer) = post(socket, web, &[], &initialize().to_string())?;
    let mut has_answered = false;
    for message in &answer {
        has_answered |= is_answer(message)?;
    }
    if !has_answered {
        return Err(Failure::Server("initialize was not answered".to_owned()));
    }
    let id = head::value(&bytes, "mcp-session-id");
    let session = id.map(|id| session_header(&id)).unwrap_or_default();
    post(socket, web, &session, INITIALIZED)?;
    Ok(session)
}

/// One exchange of the modern era, which leaves nothing behind but a connection that is kept alive.
pub fn discover(socket: &TcpStream, web: &Web) -> Result<(), Failure> {
    let tool = Tool { name: String::new(), argument: String::new(), message_bytes: 0 };
    let message = Request::new(Kind::Discover, Era::Modern, &tool);
    let mut request = Vec::new();
    http1::dress(&message, web, Era::Modern, "").render(ID_MIN, 0, b"", &mut request);
    socket.set_read_timeout(Some(ANSWER_WAIT)).map_err(Failure::io("server/discover"))?;
    write(socket, &request)?;
    let (head, mut bytes) = head(socket)?;
    let body = body(socket, head.body, bytes.split_off(head.bytes))?;
    if head.status != 200 {
        let text = String::from_utf8_lossy(&body);
        let status = head.status;
        return Err(Failure::Server(format!(
            "server/discover was answered by HTTP {status}: {text}"
        )));
    }
    Ok(())
}

/// Posts `message` within `session`; returns the response's head and its messages.
pub fn post(
    socket: &TcpStream,
    web: &Web,
    session: &[u8],
    message: &str,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), Failure> {
    // Before a session there is no version to name.
    let version = if session.is_empty() {
        String::new()
    } else {
        format!("MCP-Protocol-Version: {}\r\n", Era::Legacy.version())
    };
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json, text/event-stream\r\n\
         Content-Type: application/json\r\n{version}{}Content-Length: {}\r\n\r\n{message}",
        web.path,
        web.authority,
        String::from_utf8_lossy(session),
        message.len()
    );
    write(socket, request.as_bytes())?;
    let (head, mut bytes) = head(socket)?;
    let rest = bytes.split_off(head.bytes);
    let body = body(socket, head.body, rest)?;
    if !(200..300).contains(&head.status) {
        return Err(Failure::Server(format!(
            "{message} was answered by HTTP {}: {}",
            head.status,
            String::from_utf8_lossy(&body)
        )));
    }
    let messages = if head.is_stream {
        let (mut messages, mut rest, mut joined) = (Vec::new(), body.as_slice(), Vec::new());
        while let Some((used, data)) = events::next(rest, &mut joined) {
            if !data.is_empty() {
                messages.push(data.to_vec());
            }
            rest = &rest[used..];
        }
        messages
    } else if body.is_empty() {
        Vec::new()
    } else {
        vec![body]
    };
    Ok((bytes, messages))
}

/// The request for the stream of a legacy `session`.
pub fn stream_of(web: &Web, session: &[u8]) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nMCP-Protocol-Version: {}\r\n{}\r\n",
        web.path,
        web.authority,
        Era::Legacy.version(),
        String::from_utf8_lossy(session)
    )
}

/// Opens a stream with `request`; returns its head and what has come of its body.
pub fn open_stream(socket: &TcpStream, request: &[u8]) -> Result<(Head, Vec<u8>), Failure> {
    let failed = || Failure::io("open a stream");
    socket.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed())?;
    write(socket, request)?;
    let (head, mut bytes) = head(socket)?;
    socket.set_read_timeout(None).map_err(failed())?;
    let rest = bytes.split_off(head.bytes);
    if head.status != 200 || !head.is_stream {
        return Err(Failure::Server(format!(
            "a stream was asked for and answered by {}",
            String::from_utf8_lossy(&bytes)
        )));
    }
    Ok((head, rest))
}

/// A head, and all bytes that have come: it is their beginning.
fn head(socket: &TcpStream) -> Result<(Head, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    loop {
        read(socket, &mut bytes)?;
        let head = head::read(&bytes).map_err(|error| {
            let text = String::from_utf8_lossy(&bytes);
            Failure::Server(format!("{text:?} is no answer of HTTP: {error}"))
        })?;
        if let Some(head) = head {
            return Ok((head, bytes));
        }
    }
}

/// The whole body, of which `rest` has come.
fn body(socket: &TcpStream, length: Length, mut rest: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match length {
        Length::Known(length) => {
            while rest.len() < length {
                read(socket, &mut rest)?;
            }
            Ok(rest)
        }
        Length::Chunked => {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            loop {
                chunks
                    .feed(&rest, &mut body)
                    .ok_or_else(|| Failure::Server("a body is not in chunks".to_owned()))?;
                if chunks.is_over() {
                    return Ok(body);
                }
                rest.clear();
                read(socket, &mut rest)?;
            }
        }
        Length::Open => Err(Failure::Server(
            "the server ends its answers by closing; a load needs connections that stay".to_owned(),
        )),
    }
}
