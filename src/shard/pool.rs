//! Buffers that are used again: what a hot link reads into and what waits to be written. An idle link
//! holds none of them. Bounded in bytes; what does not fit goes back to the allocator.

/// Bytes a hot link reads into: a pipelining client's burst in one read.
pub(super) const HOT_BYTES: usize = 16 << 10;
/// Largest buffer kept. A line of 4 MiB is rare, its buffer not worth keeping.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Kept in all, a shard: 256 hot links' worth.
const POOL_BYTES_MAX: usize = 4 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pool {
    hot: Vec<Vec<u8>>,
    other: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// An empty buffer of at least [`HOT_BYTES`].
    pub(super) fn take_hot(&mut self) -> Vec<u8> {
        let Some(buffer) = self.hot.pop() else { return Vec::with_capacity(HOT_BYTES) };
        self.bytes -= buffer.capacity();
        buffer
    }

    /// An empty buffer of any size, also of none.
    #[inline]
    pub(super) fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.other.pop() else { return Vec::new() };
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Takes a buffer back, whatever is in it.
    #[inline]
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > KEPT_BYTES_MAX || self.bytes + capacity > POOL_BYTES_MAX {
            return;
        }
        buffer.clear();
        self.bytes += capacity;
        if capacity >= HOT_BYTES {
            self.hot.push(buffer);
        } else {
            self.other.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_back_what_it_got_and_keeps_no_more_than_its_bound() {
        let mut pool = Pool::default();
        pool.give(b"old".to_vec());
        let buffer = pool.take();
        assert!(buffer.is_empty() && buffer.capacity() >= 3);
        assert_eq!(pool.bytes, 0);
        for _ in 0..10_000 {
            pool.give(Vec::with_capacity(HOT_BYTES));
        }
        assert!(pool.bytes <= POOL_BYTES_MAX);
        pool.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert!(pool.bytes <= POOL_BYTES_MAX);
        assert!(pool.take_hot().capacity() >= HOT_BYTES);
    }
}
