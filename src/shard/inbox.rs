//! What a link has read and not yet handed on: a buffer that fits the link's pace, and where its lines
//! stand. Small while the link is quiet, pooled while it is busy, as large as a line must be.

use super::http::Reading;
use super::pool::{HOT_BYTES, Pool};
use crate::wire::LineCutter;

/// A quiet link's own buffer: holds an ordinary request, so that one at a time never costs more.
const QUIET_BYTES: usize = 512;
/// Reads that would have fit the small buffer, in a row, after which a link counts as quiet again.
const QUIET_READS: u8 = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    cutter: LineCutter,
    /// The last read left no room: more was waiting, probably.
    filled: bool,
    quiet_reads: u8,
    /// The time runs of a line that has begun.
    pub(super) is_timed: bool,
    /// Of HTTP: where the request that comes in stands.
    pub(super) reading: Reading,
}

impl Inbox {
    /// The next whole line.
    #[inline]
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        self.cutter.next(&self.buffer)
    }

    /// What has not been handed on, for readers that know no lines.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.cutter.consumed()..).unwrap_or_default()
    }

    /// Bytes of [`Inbox::rest`] are done with.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        self.cutter.skip(bytes);
    }

    /// Where more lines are appended, other than by reading. What was handed on is dropped from it.
    pub(super) fn gather(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..self.cutter.consumed());
        self.cutter.shifted();
        &mut self.buffer
    }

    /// Gives the buffer to the pool if nothing is left in it.
    pub(super) fn release(&mut self, pool: &mut Pool) {
        if self.cutter.consumed() == self.buffer.len() {
            self.discard(pool);
        }
    }

    /// All that has not been handed on, for another to go on with.
    pub(super) fn into_rest(mut self) -> Vec<u8> {
        self.buffer.drain(..self.cutter.consumed());
        self.buffer
    }

    /// Bytes of the line that has not ended yet.
    pub(super) fn unfinished(&self) -> usize {
        self.cutter.pending(self.buffer.len())
    }

    /// Whether something has come that has not ended yet: of a line, or of what brings lines.
    #[inline]
    pub(super) fn is_begun(&self) -> bool {
        !self.rest().is_empty()
            || matches!(&self.reading, Reading::Blocks(lines) if lines.is_begun())
    }

    /// Hands out the buffer for a read that appends to it. Lines that were taken are dropped from it,
    /// and its size is fitted to the link's pace.
    pub(super) fn lend(&mut self, pool: &mut Pool) -> Vec<u8> {
        let done = self.cutter.consumed();
        if done == self.buffer.len() {
            self.buffer.clear();
        } else if done > 0 {
            self.buffer.copy_within(done.., 0);
            self.buffer.truncate(self.buffer.len() - done);
        }
        self.cutter.shifted();
        let (held, capacity) = (self.buffer.len(), self.buffer.capacity());
        if capacity <= QUIET_BYTES {
            if self.filled || held == capacity && capacity > 0 {
                self.change(pool.take_hot(), pool);
            } else if capacity == 0 {
                self.buffer.reserve_exact(QUIET_BYTES);
            }
        } else if self.quiet_reads >= QUIET_READS && held <= QUIET_BYTES / 2 {
            self.change(Vec::with_capacity(QUIET_BYTES), pool);
        } else if capacity > 4 * HOT_BYTES && held < HOT_BYTES {
            // A long line has passed.
            self.change(pool.take_hot(), pool);
        } else if held > capacity / 4 * 3 {
            // A long line is coming.
            self.buffer.reserve_exact(capacity);
        }
        std::mem::take(&mut self.buffer)
    }

    /// Takes the buffer back after a read of `n` bytes.
    #[inline]
    pub(super) fn take_back(&mut self, buffer: Vec<u8>, n: usize) {
        self.filled = n > 0 && buffer.len() == buffer.capacity();
        self.quiet_reads =
            if n <= QUIET_BYTES / 2 { self.quiet_reads.saturating_add(1) } else { 0 };
        self.buffer = buffer;
    }

    /// Forgets everything, and gives the buffer to the pool.
    pub(super) fn discard(&mut self, pool: &mut Pool) {
        self.cutter = LineCutter::default();
        self.is_timed = false;
        self.reading = Reading::Head;
        pool.give_hot(std::mem::take(&mut self.buffer));
    }

    fn change(&mut self, mut to: Vec<u8>, pool: &mut Pool) {
        to.extend_from_slice(&self.buffer);
        pool.give_hot(std::mem::replace(&mut self.buffer, to));
        self.filled = false;
        self.quiet_reads = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a read that brings as much of `stream` as fits, at most `step`.
    fn read(inbox: &mut Inbox, pool: &mut Pool, stream: &mut &[u8], step: usize) -> usize {
        let mut buffer = inbox.lend(pool);
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0, "a read without room would look like the end of the stream");
        let n = room.min(step).min(stream.len());
        buffer.extend_from_slice(&stream[..n]);
        *stream = &stream[n..];
        inbox.take_back(buffer, n);
        n
    }

    #[test]
    fn lines_of_every_length_pass_at_every_split() {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for length in [1usize, 10, 500, 1_023, 1_024, 5_000, 16_384, 70_000, 300_000, 3, 120] {
            let line = vec![b'a' + u8::try_from(length % 26).unwrap(); length];
            stream.extend_from_slice(&line);
            stream.push(b'\n');
            expected.push(line);
        }
        for step in [1usize, 7, 1_024, 4_096, 1 << 20] {
            let (mut inbox, mut pool) = (Inbox::default(), Pool::default());
            let mut rest = &stream[..];
            let mut lines = Vec::new();
            while read(&mut inbox, &mut pool, &mut rest, step) > 0 {
                while let Some(line) = inbox.next() {
                    lines.push(line.to_vec());
                }
            }
            assert!(lines == expected, "step {step}");
        }
    }

    #[test]
    fn a_link_that_has_gone_quiet_gives_its_large_buffer_back() {
        let (mut inbox, mut pool) = (Inbox::default(), Pool::default());
        let burst = b"{\"jsonrpc\":\"2.0\"}\n".repeat(1_000);
        let mut rest = &burst[..];
        while read(&mut inbox, &mut pool, &mut rest, 1 << 20) > 0 {
            while inbox.next().is_some() {}
        }
        assert!(inbox.buffer.capacity() >= HOT_BYTES);
        for _ in 0..=QUIET_READS {
            let mut one = &b"{}\n"[..];
            read(&mut inbox, &mut pool, &mut one, 10);
            while inbox.next().is_some() {}
        }
        let mut none = &b""[..];
        read(&mut inbox, &mut pool, &mut none, 1);
        assert!(inbox.buffer.capacity() <= QUIET_BYTES);
    }
}
