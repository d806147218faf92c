//! What compresses and inflates on a shard: one machine of each kind for all of its links, since none keeps
//! anything from one message to the next. And what that came to. Machines are made when they are first used.

use crate::wire::coding::{Coding, Encoder};
use crate::wire::ws::deflate::{Deflater, Inflater};

/// Ways to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// permessage-deflate.
    WebSocket,
    Gzip,
    Zstd,
}

/// Their names, in metrics.
pub const PACKS: [&str; 3] = ["permessage-deflate", "gzip", "zstd"];

impl From<Coding> for Pack {
    fn from(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip,
            Coding::Zstd => Self::Zstd,
        }
    }
}

/// Messages or bodies that were compressed, and how many bytes they were before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    pub count: u64,
    pub plain_bytes: u64,
    pub packed_bytes: u64,
}

impl Packed {
    /// How many times smaller they became; `None` before there was one.
    #[expect(clippy::cast_precision_loss, reason = "it is told, not calculated with")]
    pub fn ratio(&self) -> Option<f64> {
        (self.packed_bytes > 0).then(|| self.plain_bytes as f64 / self.packed_bytes as f64)
    }

    fn note(&mut self, plain: usize, packed: usize) {
        self.count += 1;
        self.plain_bytes += plain as u64;
        self.packed_bytes += packed as u64;
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.plain_bytes += other.plain_bytes;
        self.packed_bytes += other.packed_bytes;
    }
}

/// What came in and what went out compressed, by [`Pack`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub came: [Packed; PACKS.len()],
    pub left: [Packed; PACKS.len()],
}

impl Ledger {
    /// Takes in what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        let mine = self.came.iter_mut().chain(&mut self.left);
        for (mine, other) in mine.zip(other.came.iter().chain(&other.left)) {
            mine.add(other);
        }
    }

    /// A message or a body came compressed.
    pub fn came(&mut self, pack: Pack, plain: usize, packed: usize) {
        if let Some(count) = self.came.get_mut(pack as usize) {
            count.note(plain, packed);
        }
    }

    /// One left so.
    pub fn left(&mut self, pack: Pack, plain: usize, packed: usize) {
        if let Some(count) = self.left.get_mut(pack as usize) {
            count.note(plain, packed);
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Coders {
    pub deflater: Deflater,
    pub inflater: Inflater,
    pub encoder: Encoder,
    pub ledger: Ledger,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_added_up_by_what_they_packed() {
        let mut one = Ledger::default();
        one.came(Pack::WebSocket, 100, 10);
        one.left(Coding::Zstd.into(), 50, 20);
        let mut all = one.clone();
        all.add(&one);
        assert_eq!(all.came[0], Packed { count: 2, plain_bytes: 200, packed_bytes: 20 });
        assert_eq!(all.left[2], Packed { count: 2, plain_bytes: 100, packed_bytes: 40 });
        assert_eq!(all.left[..2], [Packed::default(); 2]);
    }
}
