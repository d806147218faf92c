//! One connection to a server: a request goes out, a response comes back in pieces. Reused while the server
//! keeps it open and says so.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::reply::Answer;
use crate::base::Moment;
use crate::shard::rt::{self, Reader, Socket, Writer};
use crate::wire::http1::{self, Body, Framing, head, response, write};

/// How long a connection is kept without a request: shorter than servers do (uvicorn and Node: 5 s), so
/// that none closes it just as a request is sent.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// Room for a read.
const READ_BYTES: usize = 16 << 10;

/// See the module.
pub(super) struct Connection {
    reader: Reader,
    writer: Writer,
    /// The same socket, to look at without reading.
    twin: OwnedFd,
    buffer: Vec<u8>,
    body: Body,
    keeps_alive: bool,
    /// When the last response ended.
    used: Moment,
}

impl Connection {
    pub(super) fn adopt(socket: Socket, now: Moment) -> io::Result<Self> {
        let twin = socket.twin()?;
        let (reader, writer) = rt::adopt(socket)?;
        Ok(Self {
            reader,
            writer,
            twin,
            buffer: Vec::new(),
            body: Body::new(Framing::Length(0)),
            keeps_alive: true,
            used: now,
        })
    }

    /// Whether another request can be sent on it: the last response has ended, and the server has neither
    /// closed it nor said anything since.
    pub(super) fn is_fit(&mut self, now: Moment) -> bool {
        self.keeps_alive
            && self.body.is_done()
            && self.buffer.is_empty()
            && now.since(self.used) < IDLE_MAX
            && self.reader.is_quiet(&self.twin)
    }

    /// Sends a whole request.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.writer.write_all(bytes).await
    }

    /// Reads the head of the response.
    pub(super) async fn answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.take_head()? {
                return Ok(answer);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The head, if it is whole. Not in the future that waits for it, of which it would be the most.
    fn take_head(&mut self) -> io::Result<Option<Answer>> {
        loop {
            let mut slots = head::slots();
            let found = response::read(&self.buffer, false, &mut slots).map_err(invalid)?;
            let Some((head, length)) = found else { return Ok(None) };
            let text = |name: &str| {
                head.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
            };
            let answer = Answer {
                status: head.status,
                content_type: text("content-type").unwrap_or_default().to_ascii_lowercase(),
                session: text("mcp-session-id"),
                encoding: text("content-encoding"),
            };
            let (keeps_alive, framing) = (head.keeps_alive, head.framing);
            self.buffer.drain(..length);
            // Others come before the one that counts.
            if !matches!(answer.status, 100..=199) {
                self.keeps_alive = keeps_alive;
                self.body = Body::new(framing);
                return Ok(Some(answer));
            }
        }
    }

    /// The connection is not used from now on.
    pub(super) const fn rest_since(&mut self, now: Moment) {
        self.used = now;
    }

    /// Appends the next piece of the body to `data`; false at its end.
    pub(super) async fn piece(&mut self, data: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            if self.body.is_done() {
                return Ok(false);
            }
            let piece = self.body.next(&self.buffer).map_err(invalid)?;
            let (consumed, has_data) = (piece.consumed, !piece.data.is_empty());
            data.extend_from_slice(piece.data);
            self.buffer.drain(..consumed);
            if has_data {
                return Ok(true);
            }
            if consumed == 0 && self.fill().await? == 0 {
                self.keeps_alive = false;
                if self.body.ends_with_close() {
                    self.body = Body::new(Framing::Length(0));
                    return Ok(false);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.reserve(READ_BYTES);
        loop {
            let (read, back) = self.reader.read(buffer).await;
            buffer = back;
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    self.buffer = buffer;
                    return read;
                }
            }
        }
    }
}

/// A request, head and body.
pub(in crate::transport) fn request(
    verb: &str,
    path: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + body.map_or(0, <[u8]>::len));
    write::request(&mut out, verb, path);
    write::header(&mut out, "host", host.as_bytes());
    for (name, value) in headers {
        write::header(&mut out, name, value.as_bytes());
    }
    if let Some(body) = body {
        write::length(&mut out, body.len());
    }
    write::end(&mut out);
    out.extend_from_slice(body.unwrap_or_default());
    out
}

fn invalid(fault: http1::Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault.what)
}
