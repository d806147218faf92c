//! Lines into blocks, and blocks into lines. What compression needs to work with is kept here, for all links of a
//! shard: a block stands for itself, so a link needs none of its own.

use std::fmt;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use zstd::bulk::{Compressor, Decompressor};

use super::{Codec, HEADER_BYTES, ZSTD_LEVEL};
use crate::base::limits::{BLOCK_BYTES_MAX, BLOCK_LONE_BYTES_MIN, BLOCK_MESSAGES_MAX};

/// Why a block is none. After it nothing on the stream means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Neither plain nor what was agreed on.
    Codec,
    /// It says that it holds nothing.
    Empty,
    /// It says that it holds more than [`BLOCK_BYTES_MAX`].
    TooLong,
    /// It holds more than [`BLOCK_MESSAGES_MAX`] messages.
    TooMany,
    /// It says that it is longer than what it holds; or, of a plain one, shorter.
    Lengths,
    /// It does not hold what it says: too much, too little, or nothing that makes sense.
    Corrupt,
}

impl Fault {
    pub const fn what(self) -> &'static str {
        match self {
            Self::Codec => "a block of a codec that was not agreed on",
            Self::Empty => "an empty block",
            Self::TooLong => "a block that holds more than block_bytes_max (64000 bytes)",
            Self::TooMany => "a block of more than block_messages_max (100) messages",
            Self::Lengths => "a block whose lengths contradict each other",
            Self::Corrupt => "a corrupt block: it does not hold what it says",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())
    }
}

/// A block that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Bytes of the lines that are in it.
    pub lines: usize,
    /// Of the block, its header included.
    pub bytes: usize,
    /// Lines that end in it.
    pub messages: usize,
}

/// A block that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Of the block, its header included.
    pub bytes: usize,
    /// Bytes of the lines that were in it.
    pub lines: usize,
}

/// See the module.
#[derive(Default)]
pub struct Coder {
    table: Option<CompressTable>,
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    /// Where a block is compressed to before it is known whether that pays.
    scratch: Vec<u8>,
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coder").finish_non_exhaustive()
    }
}

impl Coder {
    /// Appends to `out` one block of what `lines` begins with: as many whole lines as fit, or a piece of one that
    /// fits in no block. Fewer than `bytes_min` bytes are not compressed, nor is a message that waits alone and has
    /// fewer than [`BLOCK_LONE_BYTES_MIN`]: nobody is to wait for its sake.
    pub fn pack(
        &mut self,
        codec: Codec,
        bytes_min: usize,
        lines: &[u8],
        out: &mut Vec<u8>,
    ) -> Packed {
        let (end, messages) = cut(lines);
        let is_lone = messages == 1 && end == lines.len();
        let bytes_min = if is_lone { bytes_min.max(BLOCK_LONE_BYTES_MIN) } else { bytes_min };
        let lines = lines.get(..end).unwrap_or_default();
        if lines.is_empty() {
            return Packed::default();
        }
        let before = out.len();
        // A tenth less, or it does not pay for unpacking.
        let worth = lines.len().saturating_sub(lines.len().div_ceil(10));
        let packed = self.compressed(codec, bytes_min, lines).filter(|bytes| bytes.len() <= worth);
        let (id, bytes) = packed.map_or((0, lines), |bytes| (codec.id(), bytes));
        header(out, id, lines.len(), bytes.len());
        out.extend_from_slice(bytes);
        Packed { lines: end, bytes: out.len().saturating_sub(before), messages }
    }

    fn compressed(&mut self, codec: Codec, bytes_min: usize, lines: &[u8]) -> Option<&[u8]> {
        if lines.len() < bytes_min {
            return None;
        }
        if self.scratch.is_empty() {
            self.scratch.resize(get_maximum_output_size(BLOCK_BYTES_MAX), 0);
        }
        let room = self.scratch.as_mut_slice();
        let bytes = match codec {
            Codec::Lz4 => {
                let table = self.table.get_or_insert_with(CompressTable::small);
                compress_into_with_table(lines, room, table).ok()
            }
            Codec::Zstd => {
                if self.compressor.is_none() {
                    self.compressor = Compressor::new(ZSTD_LEVEL).ok();
                }
                // No memory for it: plain blocks are blocks as well.
                self.compressor.as_mut()?.compress_to_buffer(lines, room).ok()
            }
        };
        self.scratch.get(..bytes?)
    }

    /// Appends to `lines` what the block holds that `bytes` begin with; `None` where it has not come as a whole.
    pub fn unpack(
        &mut self,
        codec: Codec,
        bytes: &[u8],
        lines: &mut Vec<u8>,
    ) -> Result<Option<Unpacked>, Fault> {
        let Some((id, rest)) = bytes.split_first() else { return Ok(None) };
        let is_packed = *id == codec.id();
        if !is_packed && *id != 0 {
            return Err(Fault::Codec);
        }
        let Some((long, rest)) = number(rest) else { return Ok(None) };
        // Before anything is kept for it.
        match long {
            0 => return Err(Fault::Empty),
            long if long > BLOCK_BYTES_MAX => return Err(Fault::TooLong),
            _ => {}
        }
        let Some((short, rest)) = number(rest) else { return Ok(None) };
        let fits = if is_packed { short < long && short > 0 } else { short == long };
        if !fits {
            return Err(Fault::Lengths);
        }
        let Some(block) = rest.get(..short) else { return Ok(None) };
        let from = lines.len();
        if is_packed {
            lines.resize(from.saturating_add(long), 0);
            let room = lines.get_mut(from..).unwrap_or_default();
            let held = match codec {
                Codec::Lz4 => decompress_into(block, room).ok(),
                Codec::Zstd => self.inflate(block, room),
            };
            if held != Some(long) {
                lines.truncate(from);
                return Err(Fault::Corrupt);
            }
        } else {
            lines.extend_from_slice(block);
        }
        // What is small on the way must not be work without end where it arrives.
        let held = lines.get(from..).unwrap_or_default();
        if memchr::memchr_iter(b'\n', held).count() > BLOCK_MESSAGES_MAX {
            lines.truncate(from);
            return Err(Fault::TooMany);
        }
        Ok(Some(Unpacked { bytes: short.saturating_add(HEADER_BYTES), lines: long }))
    }

    fn inflate(&mut self, block: &[u8], room: &mut [u8]) -> Option<usize> {
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        self.decompressor.as_mut()?.decompress_to_buffer(block, room).ok()
    }
}

/// Where a block of these lines ends, and how many end in it.
fn cut(lines: &[u8]) -> (usize, usize) {
    let most = lines.get(..BLOCK_BYTES_MAX).unwrap_or(lines);
    let ends = memchr::memchr_iter(b'\n', most).take(BLOCK_MESSAGES_MAX);
    let (last, messages) =
        ends.fold((None, 0_usize), |(_, count), at| (Some(at), count.saturating_add(1)));
    match last {
        Some(at) => (at.saturating_add(1), messages),
        None => (most.len(), 0),
    }
}

fn header(out: &mut Vec<u8>, id: u8, long: usize, short: usize) {
    out.push(id);
    for length in [long, short] {
        debug_assert!(
            length <= BLOCK_BYTES_MAX,
            "what a block holds is bounded, and it is no longer than that"
        );
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(length.get(1..).unwrap_or_default());
    }
}

/// Three bytes in network order.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let ([a, b, c], rest) = bytes.split_first_chunk::<3>()?;
    let number = u32::from_be_bytes([0, *a, *b, *c]);
    Some((usize::try_from(number).ok()?, rest))
}
