//! Blocks: what a byte stream carries instead of bare lines once both ends have agreed on it (`hello`). A
//! block is a piece of the stream of lines, as a rule a batch of whole ones, compressed where that pays. Each
//! stands for itself, so one that is lost or wrong says nothing about another. Knows no message, and no link.
//!
//! ```text
//! codec: 1 byte (0 plain, 1 LZ4 block, 2 Zstandard frame) | bytes of the lines: 3 | bytes that follow: 3 | bytes
//! ```
//!
//! Numbers are in network order. Ends that agreed on a codec may send blocks of that one, and plain ones.

mod coder;
mod hello;

pub use coder::{Coder, Fault, Packed, Unpacked};
pub use hello::{HELLO_BYTES_MAX, Hello, hello, offer, read_answer, refusal};

/// Bytes of a block's header.
pub const HEADER_BYTES: usize = 7;

/// How the lines of a block are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Lz4,
    /// At [`ZSTD_LEVEL`].
    Zstd,
}

/// Where more of it costs more time than a link of 1 Gbit/s gains by it.
pub const ZSTD_LEVEL: i32 = 3;

impl Codec {
    pub const ALL: [Self; 2] = [Self::Lz4, Self::Zstd];

    /// As it stands in the agreement and in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    const fn id(self) -> u8 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }
}

/// A set of codecs: what one end takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codecs {
    lz4: bool,
    zstd: bool,
}

impl Codecs {
    pub const ALL: Self = Self { lz4: true, zstd: true };
    pub const NONE: Self = Self { lz4: false, zstd: false };

    #[must_use]
    pub const fn with(self, codec: Codec) -> Self {
        match codec {
            Codec::Lz4 => Self { lz4: true, ..self },
            Codec::Zstd => Self { zstd: true, ..self },
        }
    }

    pub const fn has(self, codec: Codec) -> bool {
        match codec {
            Codec::Lz4 => self.lz4,
            Codec::Zstd => self.zstd,
        }
    }
}

#[cfg(test)]
mod tests;
