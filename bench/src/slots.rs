//! What one connection waits for: a slot for each request outstanding. An id names its slot, so an answer finds
//! its request without a search, in any order. Not the check of the answer's content: see `check`.

use crate::digits::{ID_END, ID_MIN};

/// The requests outstanding on one connection.
#[derive(Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    /// Slots that nobody uses, the last freed on top: it is the warmest in the cache.
    free: Vec<u32>,
    /// An id is `ID_MIN` plus (sequence << bits | slot).
    bits: u32,
    sequence: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The id that waits here, or 0.
    id: u64,
    waiting: Waiting,
}

/// What is known about a request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// When it was sent, or meant to be sent, in nanoseconds since the epoch of the run.
    pub at_ns: u64,
    /// Which request of the mix it is.
    pub request: u8,
}

/// What an id in an answer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A request that waits for its answer.
    Waiting(Waiting),
    /// A request that has had its answer.
    Repeated,
    /// Nothing that was asked here.
    Unknown,
}

impl Slots {
    /// Room for `outstanding` requests, at least one.
    pub fn new(outstanding: u32) -> Self {
        let outstanding = outstanding.max(1);
        let empty = Slot { id: 0, waiting: Waiting { at_ns: 0, request: 0 } };
        Self {
            slots: vec![empty; outstanding as usize],
            free: (0..outstanding).rev().collect(),
            bits: outstanding.next_power_of_two().trailing_zeros(),
            sequence: 0,
        }
    }

    /// Takes a slot for a request; its id, or `None` when all slots are in use.
    pub fn open(&mut self, waiting: Waiting) -> Option<u64> {
        let slot = self.free.pop()?;
        let id = ID_MIN + (self.sequence << self.bits | u64::from(slot));
        assert!(id < ID_END, "a connection sends fewer requests than there are ids");
        self.sequence += 1;
        self.slots[slot as usize] = Slot { id, waiting };
        Some(id)
    }

    /// What `id` stands for.
    pub fn find(&self, id: u64) -> Found {
        let Some(offset) = id.checked_sub(ID_MIN) else { return Found::Unknown };
        let (sequence, at) = (offset >> self.bits, offset & ((1 << self.bits) - 1));
        match usize::try_from(at).ok().and_then(|at| self.slots.get(at)) {
            Some(slot) if slot.id == id => Found::Waiting(slot.waiting),
            // The slot's number is not remembered for old sequences: an id below the sequence counts as answered.
            Some(_) if sequence < self.sequence => Found::Repeated,
            _ => Found::Unknown,
        }
    }

    /// Frees the slot of `id`, which `find` has just found waiting.
    pub fn close(&mut self, id: u64) {
        let at = (id - ID_MIN) & ((1 << self.bits) - 1);
        if let Some(slot) = usize::try_from(at).ok().and_then(|at| self.slots.get_mut(at)) {
            debug_assert_eq!(slot.id, id);
            slot.id = 0;
            self.free.push(u32::try_from(at).unwrap_or(0));
        }
    }

    /// How many requests wait.
    pub fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_waits_until_it_is_closed_and_is_repeated_afterwards() {
        let mut slots = Slots::new(3);
        let waiting = Waiting { at_ns: 7, request: 1 };
        let ids: Vec<u64> = (0..3).map(|_| slots.open(waiting).unwrap()).collect();
        assert_eq!(slots.open(waiting), None);
        assert_eq!(slots.find(ids[1]), Found::Waiting(waiting));
        slots.close(ids[1]);
        assert_eq!(slots.outstanding(), 2);
        assert_eq!(slots.find(ids[1]), Found::Repeated);
        let next = slots.open(waiting).unwrap();
        assert!(!ids.contains(&next));
        assert_eq!(slots.find(ids[1]), Found::Repeated);
        assert_eq!(slots.find(next), Found::Waiting(waiting));
    }

    #[test]
    fn an_id_never_sent_is_unknown() {
        let slots = Slots::new(4);
        for id in [0, 1, ID_MIN, ID_MIN + 3, ID_END, u64::MAX] {
            assert_eq!(slots.find(id), Found::Unknown);
        }
    }
}
