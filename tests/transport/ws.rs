//! A client of WebSocket that blocks and speaks in frames. Its masks are of zeros, which any server must
//! take and which show what is sent.

use ringgate::transport::Server;

use super::web::Client;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

const FIN: u8 = 0x80;

/// A request to upgrade, without the end of its head.
pub(crate) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
pub(crate) const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

/// One connection.
pub(crate) struct Ws(pub Client);

/// A frame as a client sends it.
pub(crate) fn frame(opcode: u8, is_last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if is_last { FIN } else { 0 }];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).expect("short")),
        medium @ 126..=0xffff => {
            bytes.push(0xFE);
            bytes.extend(u16::try_from(medium).expect("medium").to_be_bytes());
        }
        long => {
            bytes.push(0xFF);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

impl Ws {
    pub(crate) fn connect(server: &Server) -> Self {
        let mut client = Client::connect(server);
        client.write(format!("{UPGRADE}{VERSION}\r\n"));
        assert_eq!(client.head().status, 101);
        Self(client)
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.0.write(frame(opcode, true, payload));
    }

    /// The next frame: opcode and payload. None of the server's is in fragments.
    pub(crate) fn next(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.take(2);
        assert_eq!(head[0] & 0xf0, FIN, "whole, and without reserved bits");
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.0.take(2).try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.0.take(8).try_into().expect("eight bytes")),
            short => short.into(),
        };
        (head[0] & 0x0f, self.0.take(usize::try_from(length).expect("a length")))
    }

    pub(crate) fn text(&mut self) -> String {
        let (opcode, payload) = self.next();
        assert_eq!(opcode, TEXT, "{payload:?}");
        String::from_utf8(payload).expect("text")
    }

    /// The code of the Close frame that comes next, and then the end.
    pub(crate) fn closed(mut self) -> u16 {
        let (opcode, payload) = self.next();
        assert_eq!(opcode, CLOSE, "{payload:?}");
        let code = u16::from_be_bytes(payload[..2].try_into().expect("a code"));
        assert_eq!(self.0.end(), b"", "nothing comes behind a Close frame");
        code
    }
}
