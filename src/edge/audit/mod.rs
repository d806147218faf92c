//! The audit log: one JSON object a line, written by a thread of its own behind a bounded queue. A shard never
//! waits for it: what does not fit into the queue is lost, and counted by the shard. A file is begun anew when
//! it is full, and the last few are kept.

mod file;
mod line;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use self::file::Out;
use self::line::Scribe;
use super::config::Audit;
use crate::gateway::Settings;
use crate::gateway::audit::Record;
use crate::gateway::principal::Principal;
use crate::shard::AuditSink;

/// Records that may wait: some hundredths of a second of the fastest shard, and 16 MiB with their names.
const QUEUE_MAX: usize = 65_536;
/// How long a writer that cannot write waits before it tries again; meanwhile the queue fills.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The writer's thread.
pub(super) struct Writer {
    thread: JoinHandle<()>,
    entries: Sender<Entry>,
    is_ending: Arc<AtomicBool>,
    settings: Sender<Arc<Settings>>,
}

impl Writer {
    /// Starts it, and gives what shards hand their records to.
    pub(super) fn start(
        audit: &Audit,
        settings: Arc<Settings>,
        issuer: Option<String>,
    ) -> io::Result<(Desk, Self)> {
        let (sender, entries) = channel();
        let last = sender.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut log = Log {
            out: Out::open(audit)?,
            waiting: Arc::clone(&waiting),
            is_ending: Arc::clone(&is_ending),
        };
        let (told, news) = channel();
        let scribe = Scribe::new(settings, news, issuer);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || log.write_all(&entries, scribe))?;
        Ok((Desk { sender, waiting }, Self { thread, entries: last, is_ending, settings: told }))
    }

    /// Records of these settings will come.
    pub(super) fn note(&self, settings: Arc<Settings>) {
        // A writer that has ended wants nothing any more.
        drop(self.settings.send(settings));
    }

    /// Waits until all is written that was left before. What cannot be written is given up.
    pub(super) fn end(self) {
        self.is_ending.store(true, Ordering::Relaxed);
        drop(self.entries.send(Entry::End));
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the audit log's writer panicked");
        }
    }
}

/// Written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What the writer is told.
enum Entry {
    /// What was decided in a turn of a shard.
    Records(Vec<Record>),
    /// What the subject of a token is called: said before the first record of its.
    Subject { principal: Principal, name: Box<str> },
    /// Nothing that comes behind it is written: a shard that had to stop may hold its desk for ever.
    End,
}

impl Entry {
    /// How much of the queue it takes.
    const fn size(&self) -> usize {
        match self {
            Self::Records(records) => records.len(),
            Self::Subject { .. } => 1,
            Self::End => 0,
        }
    }
}

/// Where others leave what is to be written down.
#[derive(Clone)]
pub(super) struct Desk {
    sender: Sender<Entry>,
    /// What was left and is not written yet.
    waiting: Arc<AtomicUsize>,
}

impl Desk {
    pub(super) fn sink(&self) -> AuditSink {
        let desk = self.clone();
        AuditSink::new(move |records| desk.leave(Entry::Records(records)))
    }

    /// A token of this principal was verified.
    pub(super) fn subject(&self, principal: Principal, name: Box<str>) {
        // Where the queue is full, lines are lost too; it is said again with the next token.
        self.leave(Entry::Subject { principal, name });
    }

    /// False if there is no room for it.
    fn leave(&self, entry: Entry) -> bool {
        let size = entry.size();
        let has_room = self.waiting.fetch_add(size, Ordering::Relaxed) + size <= QUEUE_MAX;
        if has_room && self.sender.send(entry).is_ok() {
            return true;
        }
        self.waiting.fetch_sub(size, Ordering::Relaxed);
        false
    }
}

/// The log, as its writer sees it.
struct Log {
    out: Out,
    waiting: Arc<AtomicUsize>,
    is_ending: Arc<AtomicBool>,
}

impl Log {
    fn write_all(&mut self, entries: &Receiver<Entry>, mut scribe: Scribe) {
        let mut text = Vec::new();
        let mut is_last = false;
        while !is_last && let Ok(first) = entries.recv() {
            let mut next = Some(first);
            // What waits goes out together.
            while let Some(entry) = next {
                let size = entry.size();
                match entry {
                    Entry::Records(records) => {
                        for record in &records {
                            scribe.line(&mut text, record);
                        }
                    }
                    Entry::Subject { principal, name } => scribe.learn(principal, name),
                    Entry::End => is_last = true,
                }
                self.waiting.fetch_sub(size, Ordering::Relaxed);
                next = if text.len() < CHUNK_BYTES && !is_last {
                    entries.try_recv().ok()
                } else {
                    None
                };
            }
            self.put(&mut text);
        }
    }

    /// Writes the text, however long it takes, and empties it.
    fn put(&mut self, text: &mut Vec<u8>) {
        let mut is_told = false;
        while let Err(error) = self.out.write(text) {
            if !std::mem::replace(&mut is_told, true) {
                let what = "the audit log cannot be written; its queue fills, then lines are lost";
                tracing::error!(%error, "{what}");
            }
            if self.is_ending.load(Ordering::Relaxed) {
                tracing::error!(bytes = text.len(), "the end of the audit log is lost");
                return text.clear();
            }
            std::thread::park_timeout(RETRY_AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_refused_as_a_whole_and_room_comes_back() {
        let (sender, entries) = channel();
        let desk = Desk { sender, waiting: Arc::default() };
        let subject = || Entry::Subject { principal: Principal::ANONYMOUS, name: "n".into() };
        for _ in 0..QUEUE_MAX {
            assert!(desk.leave(subject()));
        }
        assert!(!desk.leave(subject()), "a full queue takes nothing");
        assert!(desk.leave(Entry::Records(Vec::new())), "nothing needs no room");
        assert_eq!(desk.waiting.load(Ordering::Relaxed), QUEUE_MAX, "what was refused holds none");
        let taken = entries.try_recv().map(|entry| entry.size());
        desk.waiting.fetch_sub(taken.unwrap_or_default(), Ordering::Relaxed);
        assert!(desk.leave(subject()));
        drop(entries);
        assert!(!desk.leave(Entry::Records(Vec::new())), "the writer has gone");
    }
}
