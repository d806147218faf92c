//! Ids that cross rooms: a shard and a link. Each is a type of its own, so that neighbours in an
//! argument list cannot be swapped. Not here: protocol ids, which are bytes of the peer's.

use std::fmt;

/// One shard: a thread with its ring and all it owns. At most [`ShardId::MAX`] + 1 of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Flight ids give a shard ten bits of the 53 that JavaScript peers keep exactly.
    pub const MAX: u16 = (1 << 10) - 1;
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard{}", self.0)
    }
}

/// A live connection, exchange or child. Carries its shard, so that a send to another shard's link
/// becomes mail; carries a generation, so that a late event of a closed link finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    shard: ShardId,
    generation: u16,
    slot: u32,
}

impl LinkId {
    pub const fn new(shard: ShardId, slot: u32, generation: u16) -> Self {
        Self { shard, generation, slot }
    }

    pub const fn shard(self) -> ShardId {
        self.shard
    }

    /// The place in the owning shard's link table.
    pub const fn slot(self) -> u32 {
        self.slot
    }

    pub const fn generation(self) -> u16 {
        self.generation
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link{}.{}.{}", self.shard.0, self.slot, self.generation)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
