//! The audit log: one JSON object a line, written by a thread of its own behind a bounded queue. A shard never
//! waits for it: what does not fit into the queue is lost, and counted by the shard. A file is begun anew when
//! it is full, and the last few are kept.

mod file;
mod line;
mod queue;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use self::file::Out;
use self::line::Scribe;
use self::queue::{Queue, Taken};
use super::config::Audit;
use crate::gateway::Settings;
use crate::gateway::audit::Record;
use crate::gateway::principal::Principal;
use crate::shard::AuditSink;

/// How long a writer that cannot write waits before it tries again; meanwhile the queue fills.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The writer's thread.
pub(super) struct Writer {
    thread: JoinHandle<()>,
    is_ending: Arc<AtomicBool>,
    settings: Sender<Arc<Settings>>,
}

impl Writer {
    /// Starts it, and gives what shards hand their records to.
    pub(super) fn start(
        audit: &Audit,
        shards: usize,
        settings: Arc<Settings>,
        issuer: Option<String>,
    ) -> io::Result<(Desk, Self)> {
        let desk = Desk(Arc::new(Queue::new(shards)));
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut log = Log {
            out: Out::open(audit)?,
            queue: Arc::clone(&desk.0),
            is_ending: Arc::clone(&is_ending),
        };
        let (told, news) = channel();
        let scribe = Scribe::new(settings, news, issuer);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || log.write_all(scribe))?;
        Ok((desk, Self { thread, is_ending, settings: told }))
    }

    /// Records of these settings will come.
    pub(super) fn note(&self, settings: Arc<Settings>) {
        // A writer that has ended wants nothing any more.
        drop(self.settings.send(settings));
    }

    /// Waits until all is written that was left before; nothing that comes behind it is, for a shard that had to
    /// stop may hold its desk for ever. What cannot be written is given up.
    pub(super) fn end(self) {
        self.is_ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the audit log's writer panicked");
        }
    }
}

/// Written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Where others leave what is to be written down.
#[derive(Clone)]
pub(super) struct Desk(Arc<Queue<Record>>);

impl Desk {
    pub(super) fn sink(&self) -> AuditSink {
        let queue = Arc::clone(&self.0);
        AuditSink::new(move |shard, records| queue.leave(shard, records))
    }

    /// A token of this principal was verified.
    pub(super) fn subject(&self, principal: Principal, name: Box<str>) {
        self.0.introduce((principal, name));
    }
}

/// The log, as its writer sees it.
struct Log {
    out: Out,
    queue: Arc<Queue<Record>>,
    is_ending: Arc<AtomicBool>,
}

impl Log {
    fn write_all(&mut self, mut scribe: Scribe) {
        self.queue.is_mine();
        let (mut taken, mut text) = (Taken::new(), Vec::new());
        loop {
            // Before it is looked: what was left before the end is said is there then.
            let is_last = self.is_ending.load(Ordering::Acquire);
            self.queue.take(&mut taken);
            if taken.is_empty() {
                if is_last {
                    return;
                }
                self.queue.sleep();
                continue;
            }
            self.write(&mut taken, &mut scribe, &mut text);
            if is_last {
                return;
            }
        }
    }

    /// What was taken goes out in chunks.
    fn write(&mut self, taken: &mut Taken<Record>, scribe: &mut Scribe, text: &mut Vec<u8>) {
        let names = taken.subjects.len();
        for (principal, name) in taken.subjects.drain(..) {
            scribe.learn(principal, name);
        }
        self.queue.is_done(names);
        for piece in std::mem::take(&mut taken.pieces) {
            for record in &piece {
                scribe.line(text, record);
            }
            self.queue.is_done(piece.len());
            taken.empty(piece);
            if text.len() >= CHUNK_BYTES {
                self.put(text);
            }
        }
        self.put(text);
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
