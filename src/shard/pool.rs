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
    /// An empty buffer of at least [`HOT_BYTES`]: to read into.
    pub(super) fn take_hot(&mut self) -> Vec<u8> {
        let Some(buffer) = self.hot.pop() else { return Vec::with_capacity(HOT_BYTES) };
        self.bytes -= buffer.capacity();
        buffer
    }

    /// An empty buffer of any size, also of none: to write from.
    #[inline]
    pub(super) fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.other.pop() else { return Vec::new() };
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Takes back what was read into, whatever is in it. A quiet link's own is not kept: one comes with each
    /// connection, and none is taken.
    pub(super) fn give_hot(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() >= HOT_BYTES
            && let Some(buffer) = self.keep(buffer)
        {
            self.hot.push(buffer);
        }
    }

    /// Takes back what was written from, whatever is in it. However large it has become, it is kept among its
    /// like: else there would be more of the others each time.
    #[inline]
    pub(super) fn give(&mut self, buffer: Vec<u8>) {
        if let Some(buffer) = self.keep(buffer) {
            self.other.push(buffer);
        }
    }

    #[inline]
    fn keep(&mut self, mut buffer: Vec<u8>) -> Option<Vec<u8>> {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > KEPT_BYTES_MAX || self.bytes + capacity > POOL_BYTES_MAX {
            return None;
        }
        buffer.clear();
        self.bytes += capacity;
        Some(buffer)
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
            pool.give_hot(Vec::with_capacity(HOT_BYTES));
        }
        assert!(pool.bytes <= POOL_BYTES_MAX);
        pool.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert!(pool.bytes <= POOL_BYTES_MAX);
        assert!(pool.take_hot().capacity() >= HOT_BYTES);
    }

    #[test]
    fn a_pool_holds_no_more_buffers_than_were_in_use_at_once() {
        let mut pool = Pool::default();
        for size in [100, HOT_BYTES, 20_000, 300].repeat(1_000) {
            let mut written = pool.take();
            written.resize(size, 0);
            pool.give(written);
            let quiet = Vec::with_capacity(512);
            pool.give_hot(quiet);
            let read = pool.take_hot();
            pool.give_hot(read);
        }
        assert_eq!((pool.hot.len(), pool.other.len()), (1, 1));
    }
}
