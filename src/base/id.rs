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
/// becomes mail; carries a generation, so that a late event of a closed link finds nothing. A busy
/// HTTP connection has a million exchanges in seconds, each a generation of its slot: 32 bits, so that
/// an answer that comes late by mail still names nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// The shard above [`LinkId::SLOT_BITS`] bits of the slot.
    place: u32,
    generation: u32,
}

impl LinkId {
    const SLOT_BITS: u32 = 22;
    /// Slots a shard's table may have: more than a process may have descriptors.
    pub const SLOTS_MAX: u32 = 1 << Self::SLOT_BITS;

    /// Panics on a shard or a slot that is out of range: the tables that give them out are bounded.
    pub const fn new(shard: ShardId, slot: u32, generation: u32) -> Self {
        assert!(shard.0 <= ShardId::MAX && slot < Self::SLOTS_MAX);
        Self { place: (shard.0 as u32) << Self::SLOT_BITS | slot, generation }
    }

    pub const fn shard(self) -> ShardId {
        ShardId((self.place >> Self::SLOT_BITS) as u16)
    }

    /// The place in the owning shard's link table.
    pub const fn slot(self) -> u32 {
        self.place & (Self::SLOTS_MAX - 1)
    }

    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// All of it, for a seal or a hash.
    pub const fn to_bits(self) -> u64 {
        (self.place as u64) << 32 | self.generation as u64
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link{}.{}.{}", self.shard().0, self.slot(), self.generation)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
