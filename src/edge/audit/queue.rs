//! What waits for the audit log's writer: records by shard, in pieces that are all of one size, so that what a
//! crowd has taken goes back to the allocator as it came; and the names of subjects. Knows nothing of lines.

#![expect(
    clippy::disallowed_types,
    reason = "between one shard and a thread of the edge's, which holds it for a few moves of pointers"
)]

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use crate::base::ShardId;
use crate::gateway::principal::Principal;

/// Records and names that may wait: some hundredths of a second of the fastest shard, and 16 MiB with their names.
pub(super) const QUEUE_MAX: usize = 65_536;
/// Records of a piece. Were pieces as large as turns are, each size would keep pages of its own.
const PIECE: usize = 64;

/// What the subject of a token is called.
pub(super) type Subject = (Principal, Box<str>);

/// Left by shards and by who verifies tokens, taken by the writer.
pub(super) struct Queue<R> {
    /// One of each shard, so that shards do not meet here. The writer holds one for a few moves of pointers.
    lanes: Box<[Mutex<Lane<R>>]>,
    subjects: Mutex<Vec<Subject>>,
    /// What was left and is not written yet.
    waiting: AtomicUsize,
    /// The writer is to be woken. One that waits for room on its disk is not.
    is_asleep: AtomicBool,
    writer: OnceLock<Thread>,
}

struct Lane<R> {
    full: Vec<Vec<R>>,
    last: Vec<R>,
}

impl<R> Lane<R> {
    const fn new() -> Self {
        Self { full: Vec::new(), last: Vec::new() }
    }

    fn push(&mut self, record: R) {
        if self.last.len() == self.last.capacity() {
            let full = mem::replace(&mut self.last, Vec::with_capacity(PIECE));
            // The first one has no room, and nothing in it.
            if !full.is_empty() {
                self.full.push(full);
            }
        }
        self.last.push(record);
    }
}

impl<R> Queue<R> {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            lanes: (0..shards.max(1)).map(|_| Mutex::new(Lane::new())).collect(),
            subjects: Mutex::default(),
            waiting: AtomicUsize::new(0),
            is_asleep: AtomicBool::new(false),
            writer: OnceLock::new(),
        }
    }

    /// Takes all that a turn of a shard has decided; false, and they are lost, if there is no room for it.
    pub(super) fn leave(&self, shard: ShardId, records: &mut Vec<R>) -> bool {
        if !self.has_room(records.len()) {
            records.clear();
            return false;
        }
        if let Some(lane) = self.lanes.get(usize::from(shard.0) % self.lanes.len()) {
            let mut lane = lock(lane);
            for record in records.drain(..) {
                lane.push(record);
            }
        }
        self.wake();
        true
    }

    /// Before the first record of the subject. Where there is no room it is lost: it is said again with the next
    /// token.
    pub(super) fn introduce(&self, subject: Subject) {
        if self.has_room(1) {
            lock(&self.subjects).push(subject);
            self.wake();
        }
    }

    fn has_room(&self, count: usize) -> bool {
        let has_room = self.waiting.fetch_add(count, Ordering::Relaxed) + count <= QUEUE_MAX;
        if !has_room {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
        }
        has_room
    }

    fn wake(&self) {
        // Who is about to fall asleep looks at all lanes behind saying so; their locks order this.
        if self.is_asleep.load(Ordering::Relaxed) {
            self.is_asleep.store(false, Ordering::Relaxed);
            if let Some(writer) = self.writer.get() {
                writer.unpark();
            }
        }
    }

    /// For the writer, in its thread, before all else.
    pub(super) fn is_mine(&self) {
        // There is one writer.
        drop(self.writer.set(std::thread::current()));
    }

    /// For the writer: waits until something may be there.
    pub(super) fn sleep(&self) {
        self.is_asleep.store(true, Ordering::Relaxed);
        let is_empty = |lane: &Mutex<Lane<R>>| lock(lane).last.is_empty();
        if self.lanes.iter().all(is_empty) && lock(&self.subjects).is_empty() {
            std::thread::park();
        }
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    /// For the writer: what waits. Names come behind the records that were taken with them, so none is missing.
    pub(super) fn take(&self, into: &mut Taken<R>) {
        for lane in &self.lanes {
            let mut lane = lock(lane);
            if !lane.last.is_empty() {
                into.pieces.append(&mut lane.full);
                into.pieces.push(mem::replace(&mut lane.last, mem::take(&mut into.spare)));
            }
        }
        into.subjects.append(&mut lock(&self.subjects));
    }

    /// For the writer: so much is written, or given up.
    pub(super) fn is_done(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }
}

/// In the writer's hands.
pub(super) struct Taken<R> {
    pub(super) pieces: Vec<Vec<R>>,
    pub(super) subjects: Vec<Subject>,
    /// An empty one to go on with.
    spare: Vec<R>,
}

impl<R> Taken<R> {
    pub(super) const fn new() -> Self {
        Self { pieces: Vec::new(), subjects: Vec::new(), spare: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.subjects.is_empty()
    }

    /// A piece is written.
    pub(super) fn empty(&mut self, mut piece: Vec<R>) {
        piece.clear();
        self.spare = piece;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held; what is there is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        (Principal::ANONYMOUS, "n".into())
    }

    #[test]
    fn what_finds_no_room_is_refused_as_a_whole_and_room_comes_back() {
        let queue = Queue::<u8>::new(2);
        let turn = || vec![0; PIECE + 1];
        let mut left = 0;
        while queue.leave(ShardId(left % 2), &mut turn()) {
            left += 1;
        }
        assert_eq!(usize::from(left), QUEUE_MAX / (PIECE + 1));
        let mut refused = turn();
        assert!(!queue.leave(ShardId(0), &mut refused), "a full queue takes nothing");
        assert!(refused.is_empty(), "and nobody keeps it");
        assert!(queue.leave(ShardId(0), &mut Vec::new()), "nothing needs no room");
        let mut taken = Taken::new();
        queue.take(&mut taken);
        assert_eq!(
            taken.pieces.iter().map(Vec::len).sum::<usize>(),
            usize::from(left) * (PIECE + 1),
            "what was taken is there"
        );
        assert!(!queue.leave(ShardId(0), &mut turn()), "what is in hand is not written yet");
        queue.is_done(PIECE + 1);
        assert!(queue.leave(ShardId(0), &mut turn()));
    }

    #[test]
    fn pieces_are_of_one_size_and_the_writers_last_one_is_used_again() {
        let queue = Queue::<u8>::new(1);
        let mut taken = Taken::new();
        for count in [1, PIECE, 3 * PIECE + 1, 2] {
            queue.leave(ShardId(0), &mut vec![0; count]);
            queue.take(&mut taken);
            assert!(taken.pieces.iter().all(|piece| piece.capacity() == PIECE), "of {count}");
            assert_eq!(taken.pieces.iter().map(Vec::len).sum::<usize>(), count);
            for piece in mem::take(&mut taken.pieces) {
                taken.empty(piece);
            }
        }
    }

    #[test]
    fn names_of_subjects_are_taken_with_the_records_that_need_them() {
        let queue = Queue::<u8>::new(1);
        let mut taken = Taken::new();
        assert!(taken.is_empty());
        queue.introduce(subject());
        queue.leave(ShardId(0), &mut vec![0]);
        queue.take(&mut taken);
        assert_eq!((taken.subjects.len(), taken.pieces.len()), (1, 1));
    }

    #[test]
    fn who_leaves_something_wakes_the_writer() {
        let queue = std::sync::Arc::new(Queue::<u8>::new(1));
        let writers = std::sync::Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .spawn(move || {
                writers.is_mine();
                let mut taken = Taken::new();
                while taken.pieces.len() < 100 {
                    writers.sleep();
                    writers.take(&mut taken);
                    // One at a time, else there is nothing to wake for.
                    writers.is_done(1);
                }
            })
            .expect("a thread starts");
        while !writer.is_finished() {
            if queue.waiting.load(Ordering::Relaxed) == 0 {
                queue.leave(ShardId(0), &mut vec![0]);
            }
            std::thread::yield_now();
        }
        writer.join().expect("the writer ends");
    }
}
