//! HTTP/2 to a server (RFC 9113), by h2: one connection, a stream for each exchange. Prior knowledge; opened
//! anew when the server has closed it.

use std::io;

use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Request, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};

use super::reply::Answer;
use crate::shard::rt::{self, Reader, Socket, Writer};
use crate::wire::http1::HEAD_BYTES_MAX;

/// Bytes between h2 and the socket, each way.
const PIPE_BYTES: usize = 64 << 10;
/// Bytes of one answer, and of all, that may be under way: as for our own clients (`shard::http2`).
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) struct Multiplexed {
    sender: SendRequest<Bytes>,
}

impl Multiplexed {
    /// Shakes hands on a connected socket. The connection lives until the server ends it, or this and all
    /// its streams are dropped.
    pub(super) async fn adopt(socket: Socket) -> io::Result<Self> {
        let (reader, writer) = rt::adopt(socket)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (from, to) = tokio::io::split(theirs);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
        // The preface waits in the pipe until somebody carries it.
        rt::spawn(write_on(writer, from));
        rt::spawn(read_on(reader, to));
        let (sender, connection) = builder.handshake(ours).await.map_err(broken)?;
        rt::spawn(async move {
            // How it ended is told to each stream.
            drop(connection.await);
        });
        Ok(Self { sender })
    }

    /// Whether another request can be sent; waits while the server allows no more streams.
    pub(super) async fn is_fit(&mut self) -> bool {
        match self.sender.clone().ready().await {
            Ok(sender) => {
                self.sender = sender;
                true
            }
            Err(_) => false,
        }
    }

    /// Sends a whole request and reads the head of its response.
    pub(super) async fn ask(
        &mut self,
        verb: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<(Stream, Answer)> {
        let mut request = Request::builder().method(verb).uri(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| io::Error::other(error.to_string()))?;
        let (response, mut stream) =
            self.sender.send_request(request, body.is_none()).map_err(broken)?;
        if let Some(body) = body {
            // h2 keeps what the server's window does not take yet: one message, at most.
            stream.send_data(Bytes::copy_from_slice(body), true).map_err(broken)?;
        }
        let (head, body) = response.await.map_err(broken)?.into_parts();
        let text = |name| text(&head.headers, name);
        let answer = Answer {
            status: head.status.as_u16(),
            content_type: text("content-type").unwrap_or_default().to_ascii_lowercase(),
            session: text("mcp-session-id"),
            encoding: text("content-encoding"),
        };
        Ok((Stream { body }, answer))
    }
}

fn text(headers: &HeaderMap<header::HeaderValue>, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The body of one response. Dropped before its end it resets its stream, which to a modern server cancels
/// the call (2026-07-28 "Transports").
pub(super) struct Stream {
    body: RecvStream,
}

impl Stream {
    /// Appends the next piece to `data`; false at the end.
    pub(super) async fn piece(&mut self, data: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let Some(piece) = self.body.data().await else { return Ok(false) };
            let piece = piece.map_err(broken)?;
            data.extend_from_slice(&piece);
            // What was taken may come again.
            self.body.flow_control().release_capacity(piece.len()).map_err(broken)?;
            if !piece.is_empty() {
                return Ok(true);
            }
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    if error.reason() == Some(Reason::REFUSED_STREAM) {
        return io::Error::other("the server refuses more streams");
    }
    error.into_io().unwrap_or_else(|| io::Error::other("the server broke off the HTTP/2 exchange"))
}

/// Carries what h2 says to the server.
async fn write_on(mut writer: Writer, mut from: ReadHalf<DuplexStream>) {
    let mut bytes = Vec::with_capacity(PIPE_BYTES);
    loop {
        bytes.clear();
        match from.read_buf(&mut bytes).await {
            Ok(n) if n > 0 => {}
            _ => break,
        }
        let mut done = 0;
        while done < bytes.len() {
            let (written, back) = writer.write(bytes, done).await;
            bytes = back;
            match written {
                Ok(n) if n > 0 => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
    writer.shutdown().await;
}

/// Carries what the server says to h2.
async fn read_on(mut reader: Reader, mut to: WriteHalf<DuplexStream>) {
    let mut bytes = Vec::with_capacity(PIPE_BYTES);
    loop {
        bytes.clear();
        let (read, back) = reader.read(bytes).await;
        bytes = back;
        match read {
            Ok(n) if n > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => break,
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // An error says nothing more than that h2 has gone before.
    drop(to.shutdown().await);
}
