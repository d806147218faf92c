//! One connection of the admin listener: requests come in one after the other, and are answered. HTTP/1.1 by `wire`'s
//! codec over a socket that blocks, with a time for everything; bodies are a few words.

#![expect(clippy::disallowed_types, reason = "blocking sockets: no shard runs on this thread")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::routes::{Answer, Desk};
use crate::wire::http1::{Framing, HEAD_BYTES_MAX, head, write};

/// How long a request may take to come in, and an idle connection is kept.
const READ_MAX: Duration = Duration::from_secs(15);
/// How long some of an answer may take to be read.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// A level of the log, most often.
const BODY_BYTES_MAX: usize = 4 << 10;
/// How often whoever looks at the dashboard is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) fn serve(mut socket: TcpStream, desk: &Desk) -> io::Result<()> {
    socket.set_read_timeout(Some(READ_MAX))?;
    socket.set_write_timeout(Some(WRITE_MAX))?;
    socket.set_nodelay(true)?;
    let mut bytes = Vec::new();
    let mut until = Instant::now() + READ_MAX;
    loop {
        let (taken, goes_on) = match request(&bytes, desk) {
            Step::More if bytes.len() > HEAD_BYTES_MAX + BODY_BYTES_MAX => return Ok(()),
            Step::More => {
                let mut piece = [0; 4 << 10];
                // Of the whole request: who sends a byte now and then holds a thread no longer.
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                socket.set_read_timeout(Some(left))?;
                let read = socket.read(&mut piece)?;
                if read == 0 {
                    return Ok(());
                }
                bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
                continue;
            }
            Step::Answered { taken, answer, is_head, goes_on } => {
                socket.write_all(&response(&answer, is_head, goes_on))?;
                (taken, goes_on)
            }
            Step::Watches => return watch(&mut socket, desk),
        };
        if !goes_on {
            return Ok(());
        }
        bytes.drain(..taken);
        until = Instant::now() + READ_MAX;
    }
}

/// What came of what has come in.
enum Step {
    More,
    Answered {
        /// Bytes of the request.
        taken: usize,
        answer: Answer,
        is_head: bool,
        goes_on: bool,
    },
    /// It wants to be told for as long as it listens.
    Watches,
}

fn request(bytes: &[u8], desk: &Desk) -> Step {
    let refused = |status, what: &str| {
        let answer = Answer::wrong(status, what);
        Step::Answered { taken: bytes.len(), answer, is_head: false, goes_on: false }
    };
    let mut slots = head::slots();
    let (head, length) = match head::read(bytes, &mut slots) {
        Ok(Some(read)) => read,
        Ok(None) => return Step::More,
        Err(fault) => return refused(fault.status, fault.what),
    };
    let Framing::Length(body) = head.framing else {
        return refused(411, "a body needs a Content-Length here");
    };
    let Some(body) = usize::try_from(body).ok().filter(|body| *body <= BODY_BYTES_MAX) else {
        return refused(413, "the body is too large");
    };
    let Some(body) = bytes.get(length..length + body) else { return Step::More };
    match desk.answer(&head, body) {
        Some(answer) => Step::Answered {
            taken: length + body.len(),
            answer,
            is_head: head.method == "HEAD",
            goes_on: head.keeps_alive,
        },
        None => Step::Watches,
    }
}

fn response(answer: &Answer, is_head: bool, goes_on: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.body.len() + 512);
    begin(&mut out, answer, goes_on);
    write::length(&mut out, answer.body.len());
    write::end(&mut out);
    if !is_head {
        out.extend_from_slice(answer.body.as_bytes());
    }
    out
}

fn begin(out: &mut Vec<u8>, answer: &Answer, goes_on: bool) {
    write::status(out, 1, answer.status);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("content-type", answer.kind),
    ] {
        write::header(out, name, value.as_bytes());
    }
    for (name, value) in &answer.headers {
        write::header(out, name, value.as_bytes());
    }
    if !goes_on {
        write::header(out, "connection", b"close");
    }
}

/// Tells as long as somebody listens. The stream ends with its connection.
fn watch(socket: &mut TcpStream, desk: &Desk) -> io::Result<()> {
    let mut out = Vec::new();
    begin(&mut out, &Answer::new(200, "text/event-stream", String::new()), false);
    write::end(&mut out);
    let mut watch = desk.watch();
    loop {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(watch.look().as_bytes());
        out.extend_from_slice(b"\n\n");
        socket.write_all(&out)?;
        out.clear();
        std::thread::park_timeout(TELL_EVERY);
    }
}
