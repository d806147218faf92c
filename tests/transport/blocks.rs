//! A client that blocks were agreed on with.

use std::io::{Read, Write};
use std::net::TcpStream;

use ringgate::transport::Server;
use ringgate::wire::block::{Codec, Coder, Fault, offer};

use super::connect;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    codec: Codec,
    coder: Coder,
    came: Vec<u8>,
    lines: Vec<u8>,
}

impl Client {
    pub(crate) fn new(server: &Server, codec: Codec) -> Self {
        let mut stream = connect(server);
        stream.write_all(offer(codec).as_bytes()).expect("the server reads");
        let answer = line(&mut stream);
        assert_eq!(answer, format!("ringgate-blocks/1 {}", codec.name()));
        let coder = Coder::default();
        Self { stream, codec, coder, came: Vec::new(), lines: Vec::new() }
    }

    /// These lines in blocks of this codec; all of them compressed where `bytes_min` is 0.
    pub(crate) fn blocks(codec: Codec, bytes_min: usize, mut lines: &[u8]) -> Vec<u8> {
        let (mut coder, mut bytes) = (Coder::default(), Vec::new());
        while !lines.is_empty() {
            let packed = coder.pack(codec, bytes_min, lines, &mut bytes);
            lines = &lines[packed.lines..];
        }
        bytes
    }

    pub(crate) fn send(&mut self, lines: &[u8]) {
        let bytes = Self::blocks(self.codec, 1 << 10, lines);
        self.raw(&bytes);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Reads until so many bytes of lines have come, and gives them.
    pub(crate) fn lines(&mut self, bytes: usize) -> Vec<u8> {
        while self.lines.len() < bytes {
            assert!(self.more(), "closed after {} of {bytes} bytes", self.lines.len());
        }
        self.lines.drain(..bytes).collect()
    }

    /// Everything up to the end of the stream, which must not come within a block.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        assert!(self.came.is_empty(), "it ended within a block");
        std::mem::take(&mut self.lines)
    }

    fn more(&mut self) -> bool {
        let mut room = [0; 1 << 13];
        let n = self.stream.read(&mut room).expect("the peer closes in order");
        self.came.extend_from_slice(&room[..n]);
        while let Some(block) = self.unpack().expect("a block") {
            self.came.drain(..block);
        }
        n > 0
    }

    fn unpack(&mut self) -> Result<Option<usize>, Fault> {
        let block = self.coder.unpack(self.codec, &self.came, &mut self.lines)?;
        Ok(block.map(|block| block.bytes))
    }
}

/// One line, and not a byte more.
pub(crate) fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).expect("the peer answers") == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("it is text")
}
