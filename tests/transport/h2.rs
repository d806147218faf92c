//! A client of HTTP/2 that blocks and speaks in frames, with no more of HPACK than static entries and plain
//! literals.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use ringgate::transport::{Bound, Server};

use super::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `:status` 200, 204 and 400 as entries of the static table.
pub(crate) const STATUS_200: u8 = 0x88;
pub(crate) const STATUS_204: u8 = 0x89;
pub(crate) const STATUS_400: u8 = 0x8c;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// One connection.
pub(crate) struct H2 {
    pub stream: TcpStream,
    /// Frames that came while another stream's were wanted.
    early: Vec<Frame>,
}

impl H2 {
    /// Connects and shakes hands; `settings` are pairs of identifier and value.
    pub(crate) fn connect(server: &Server, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::connect_bare(server);
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        client.settings(settings);
        client
    }

    pub(crate) fn connect_bare(server: &Server) -> Self {
        let Bound::Http(address) = server.bound()[0] else { panic!("the first listener is HTTP") };
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, early: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.write(&bytes);
    }

    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.frame(SETTINGS, 0, 0, &payload);
    }

    /// Lets the peer send this many bytes more on a stream, or on all (0).
    pub(crate) fn widen(&mut self, stream: u32, bytes: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// A request's head with more headers in small letters.
    pub(crate) fn head(&mut self, stream: u32, method: &str, path: &str, more: &[(&str, &str)]) {
        let ends = if method == "POST" { 0 } else { END_STREAM };
        let mut block = vec![0x86];
        match method {
            "GET" => block.push(0x82),
            "POST" => block.push(0x83),
            _ => literal(&mut block, 2, method),
        }
        literal(&mut block, 4, path);
        if !more.iter().any(|(name, _)| *name == ":authority") {
            literal(&mut block, 1, "localhost");
        }
        for (name, value) in more {
            if *name == ":authority" {
                literal(&mut block, 1, value);
                continue;
            }
            block.push(0);
            block.push(u8::try_from(name.len()).expect("short"));
            block.extend(name.as_bytes());
            block.push(u8::try_from(value.len()).expect("short"));
            block.extend(value.as_bytes());
        }
        self.frame(HEADERS, END_HEADERS | ends, stream, &block);
    }

    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.head(stream, "GET", path, &[]);
    }

    pub(crate) fn post(&mut self, stream: u32, path: &str, body: &[u8]) {
        self.head(stream, "POST", path, &[]);
        self.frame(DATA, END_STREAM, stream, body);
    }

    /// The next frame of a stream; those of others are kept, settings acknowledged, the rest passed over.
    pub(crate) fn next(&mut self, stream: u32) -> Frame {
        if let Some(at) = self.early.iter().position(|frame| frame.stream == stream) {
            return self.early.remove(at);
        }
        loop {
            let frame = self.any().expect("the connection goes on");
            if frame.stream == stream && frame.kind != WINDOW_UPDATE {
                return frame;
            }
            if frame.stream != 0 {
                self.early.push(frame);
            }
        }
    }

    /// The first byte of a stream's header block, and its body, which is let through as it comes.
    pub(crate) fn answer(&mut self, stream: u32) -> (u8, Vec<u8>) {
        let head = self.next(stream);
        assert_eq!(head.kind, HEADERS, "{head:?}");
        let mut body = Vec::new();
        let mut last = head.ends();
        while !last {
            let frame = self.next(stream);
            assert_eq!(frame.kind, DATA, "{frame:?}");
            last = frame.ends();
            if !frame.payload.is_empty() && !last {
                let bytes = u32::try_from(frame.payload.len()).expect("a length");
                self.widen(0, bytes);
                self.widen(stream, bytes);
            }
            body.extend(frame.payload);
        }
        (head.payload[0], body)
    }

    /// The next frame but acknowledgements; `None` at the connection's end.
    pub(crate) fn any(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            match self.stream.read_exact(&mut head) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ) =>
                {
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).expect("a whole frame");
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            if frame.kind == PING {
                if frame.flags & ACK == 0 {
                    self.frame(PING, ACK, 0, &frame.payload);
                }
                continue;
            }
            if frame.kind == SETTINGS {
                if frame.flags & ACK == 0 {
                    self.frame(SETTINGS, ACK, 0, b"");
                }
                continue;
            }
            return Some(frame);
        }
    }

    /// The error code of the connection's end; `None` if it ended without a word.
    pub(crate) fn end(mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.any() {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().expect("a code")));
            }
        }
        code
    }
}

/// A literal without indexing, its name from the static table.
fn literal(block: &mut Vec<u8>, name: u8, value: &str) {
    block.extend([name, u8::try_from(value.len()).expect("short")]);
    block.extend(value.as_bytes());
}
