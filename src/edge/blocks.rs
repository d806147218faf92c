//! Lines in blocks (`wire::block`) on a blocking connection, for the commands that are a client. What was read at once
//! is what is sent at once: a lone message waits for no other.

use std::io::{self, Read, Write};

use crate::base::limits::{BLOCK_BYTES_MAX, Limits};
use crate::wire::block::{Codec, Coder, HEADER_BYTES};

/// One direction of a connection that blocks were agreed on for.
#[derive(Debug)]
pub(super) struct Blocks {
    codec: Codec,
    coder: Coder,
    /// What has come and is no whole block; then the block that is written.
    bytes: Vec<u8>,
    /// What was in blocks, and how much of it was given.
    lines: Vec<u8>,
    given: usize,
}

impl Blocks {
    pub(super) fn new(codec: Codec) -> Self {
        let coder = Coder::default();
        Self { codec, coder, bytes: Vec::new(), lines: Vec::new(), given: 0 }
    }

    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    pub(super) fn read(&mut self, from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.lines.len() {
            self.lines.clear();
            self.given = 0;
            let block = self
                .coder
                .unpack(self.codec, &self.bytes, &mut self.lines)
                .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.what()))?;
            if let Some(block) = block {
                self.bytes.drain(..block.bytes);
                continue;
            }
            let held = self.bytes.len();
            self.bytes.resize(held + HEADER_BYTES + BLOCK_BYTES_MAX, 0);
            let came = from.read(self.bytes.get_mut(held..).unwrap_or_default());
            self.bytes.truncate(held + *came.as_ref().unwrap_or(&0));
            match came? {
                0 if held == 0 => return Ok(0),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        let rest = self.lines.get(self.given..).unwrap_or_default();
        let n = rest.len().min(into.len());
        if let Some((into, rest)) = into.get_mut(..n).zip(rest.get(..n)) {
            into.copy_from_slice(rest);
        }
        self.given += n;
        Ok(n)
    }

    /// All of `lines`.
    pub(super) fn write(&mut self, to: &mut impl Write, lines: &[u8]) -> io::Result<usize> {
        let bytes_min = Limits::DEFAULT.compress_bytes_min;
        self.bytes.clear();
        let mut done = 0;
        while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
            done += self.coder.pack(self.codec, bytes_min, rest, &mut self.bytes).lines;
        }
        to.write_all(&self.bytes)?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer whose every read brings one byte.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(into.len()).min(1);
            let (now, later) = self.0.split_at(n);
            into[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    #[test]
    fn what_is_written_is_read_and_an_end_within_a_block_is_told() {
        let lines = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n".repeat(300);
        for codec in Codec::ALL {
            let mut sent = Vec::new();
            assert_eq!(Blocks::new(codec).write(&mut sent, &lines).unwrap(), lines.len());
            let read = |bytes: &[u8]| {
                let (mut blocks, mut from) = (Blocks::new(codec), Drops(bytes));
                let (mut all, mut some) = (Vec::new(), [0; 100]);
                loop {
                    match blocks.read(&mut from, &mut some) {
                        Ok(0) => return Ok(all),
                        Ok(n) => all.extend_from_slice(&some[..n]),
                        Err(error) => return Err(error.kind()),
                    }
                }
            };
            assert_eq!(read(&sent), Ok(lines.clone()));
            assert_eq!(read(&sent[..sent.len() - 1]), Err(io::ErrorKind::UnexpectedEof));
            sent[0] = 9;
            assert_eq!(read(&sent), Err(io::ErrorKind::InvalidData));
        }
    }
}
