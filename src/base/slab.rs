//! A table with stable keys: insert, look up and remove in O(1), and a key that outlives its entry
//! finds nothing. Bounded by the caller; does not shrink.

use std::fmt;
use std::marker::PhantomData;

/// A key of a [`Slab`]: slot and generation. The type parameter keeps keys of different tables apart.
pub struct Key<T> {
    slot: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// How many bits of a generation are kept; [`Key::from_bits`] needs no more.
    pub const GENERATION_BITS: u32 = 20;
    /// The largest number of entries a slab can hold at once.
    pub const SLOTS_MAX: u32 = 1 << 22;

    /// Slot and generation in 42 bits, for ids that travel.
    pub const fn to_bits(self) -> u64 {
        ((self.slot as u64) << Self::GENERATION_BITS) | self.generation as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked to the bits that fit")]
    pub const fn from_bits(bits: u64) -> Self {
        let generation = (bits & ((1 << Self::GENERATION_BITS) - 1)) as u32;
        let slot = ((bits >> Self::GENERATION_BITS) & (Self::SLOTS_MAX as u64 - 1)) as u32;
        Self { slot, generation, of: PhantomData }
    }

    pub const fn slot(self) -> u32 {
        self.slot
    }

    pub const fn generation(self) -> u32 {
        self.generation
    }
}

// Written out, because a derive would ask T for what only the key needs.
impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.generation == other.generation
    }
}
impl<T> Eq for Key<T> {}
impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.slot, self.generation).cmp(&(other.slot, other.generation))
    }
}
impl<T> std::hash::Hash for Key<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.slot, self.generation).hash(state);
    }
}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

#[derive(Debug)]
enum Slot<T> {
    Taken { generation: u32, value: T },
    Free { generation: u32, next: Option<u32> },
}

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: None, len: 0 }
    }
}

impl<T> Slab<T> {
    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes `value` in; panics past [`Key::SLOTS_MAX`] entries, which every caller's own limit forbids.
    pub fn insert(&mut self, value: T) -> Key<T> {
        self.insert_with(|_| value)
    }

    /// As [`Slab::insert`], for a value that wants to know its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key<T>) -> T) -> Key<T> {
        self.len += 1;
        if let Some(slot) = self.free {
            let entry = &mut self.slots[slot as usize];
            let Slot::Free { generation, next } = *entry else {
                unreachable!("the free list names only free slots")
            };
            self.free = next;
            let key = Key { slot, generation, of: PhantomData };
            *entry = Slot::Taken { generation, value: make(key) };
            return key;
        }
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        assert!(
            slot < Key::<T>::SLOTS_MAX,
            "a slab holds at most 4 Mi entries; its owner's limit must be lower"
        );
        let key = Key { slot, generation: 0, of: PhantomData };
        self.slots.push(Slot::Taken { generation: 0, value: make(key) });
        key
    }

    pub fn get(&self, key: Key<T>) -> Option<&T> {
        match self.slots.get(key.slot as usize) {
            Some(Slot::Taken { generation, value }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        match self.slots.get_mut(key.slot as usize) {
            Some(Slot::Taken { generation, value }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    pub fn contains(&self, key: Key<T>) -> bool {
        self.get(key).is_some()
    }

    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        let entry = self.slots.get_mut(key.slot as usize)?;
        match entry {
            Slot::Taken { generation, .. } if *generation == key.generation => {}
            _ => return None,
        }
        let generation = key.generation.wrapping_add(1) & ((1 << Key::<T>::GENERATION_BITS) - 1);
        let old = std::mem::replace(entry, Slot::Free { generation, next: self.free });
        self.free = Some(key.slot);
        self.len -= 1;
        match old {
            Slot::Taken { value, .. } => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// Entries in the order of their slots: the same in every run.
    pub fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| match entry {
            Slot::Taken { generation, value } => Some((
                Key {
                    slot: u32::try_from(slot).unwrap_or(u32::MAX),
                    generation: *generation,
                    of: PhantomData,
                },
                value,
            )),
            Slot::Free { .. } => None,
        })
    }

    pub fn keys(&self) -> Vec<Key<T>> {
        self.iter().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_finds_nothing_even_when_its_slot_is_taken_again() {
        let mut slab = Slab::default();
        let a = slab.insert("a");
        assert_eq!(slab.remove(a), Some("a"));
        let b = slab.insert("b");
        assert_eq!(a.slot(), b.slot());
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get(b), Some(&"b"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_key_survives_its_way_through_bits() {
        let mut slab = Slab::default();
        for round in 0..100 {
            let key = slab.insert(round);
            assert_eq!(Key::from_bits(key.to_bits()), key);
            slab.remove(key);
        }
    }
}
