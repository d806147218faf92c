//! The audit log: one JSON object a line, written by a thread of its own behind a bounded queue. A shard never
//! waits for it: what does not fit into the queue is lost, and counted by the shard. A file is begun anew when
//! it is full, and the last few are kept.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use super::config::{Audit, AuditTo};
use crate::base::calendar;
use crate::gateway::Settings;
use crate::gateway::audit::Record;
use crate::gateway::principal::{Principal, Subject};
use crate::shard::AuditSink;

/// Records that may wait: some tenths of a second of the fastest shard, and 8 MiB at most.
const QUEUE_MAX: usize = 65_536;
/// Names of subjects that are kept: some times as many as the tokens that a shard remembers by default. Those
/// that go first are written as null.
const SUBJECTS_MAX: usize = 100_000;
/// How long a writer that cannot write waits before it tries again; meanwhile the queue fills.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Settings that are remembered for records that were begun under them: a call lasts minutes at most.
const GENERATIONS_MAX: usize = 64;

/// The writer's thread.
pub(super) struct Writer {
    thread: JoinHandle<()>,
    is_ending: Arc<AtomicBool>,
    settings: Sender<Arc<Settings>>,
}

/// The settings that records may name things of, the latest last.
struct Chronicle {
    known: VecDeque<Arc<Settings>>,
    news: Receiver<Arc<Settings>>,
    /// In place of those that are forgotten.
    nothing: Settings,
}

impl Chronicle {
    /// Those of this generation: they were told of before any record of them.
    fn of(&mut self, generation: u32) -> &Settings {
        let is_it = |settings: &Arc<Settings>| settings.generation == generation;
        if !self.known.iter().any(is_it) {
            self.known.extend(self.news.try_iter());
            let over = self.known.len().saturating_sub(GENERATIONS_MAX);
            self.known.drain(..over);
        }
        self.known
            .iter()
            .find(|settings| is_it(settings))
            .map_or(&self.nothing, |settings| settings)
    }
}

impl Writer {
    /// Starts it, and gives what shards hand their records to.
    pub(super) fn start(
        audit: &Audit,
        settings: Arc<Settings>,
        issuer: Option<String>,
    ) -> io::Result<(Desk, Self)> {
        let (sender, entries) = sync_channel(QUEUE_MAX);
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut log = Log { out: Out::open(audit)?, is_ending: Arc::clone(&is_ending) };
        let (told, news) = channel();
        let chronicle = Chronicle { known: [settings].into(), news, nothing: Settings::default() };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            let subjects = Subjects { issuer, ..Subjects::default() };
            log.write_all(&entries, chronicle, subjects);
        })?;
        Ok((Desk(sender), Self { thread, is_ending, settings: told }))
    }

    /// Records of these settings will come.
    pub(super) fn note(&self, settings: Arc<Settings>) {
        // A writer that has ended wants nothing any more.
        drop(self.settings.send(settings));
    }

    /// Waits until all is written; all desks and sinks must be gone. What cannot be written is given up.
    pub(super) fn end(self) {
        self.is_ending.store(true, Ordering::Relaxed);
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
    Record(Box<Record>),
    /// What the subject of a token is called: said before the first record of its.
    Subject {
        principal: Principal,
        name: Box<str>,
    },
}

/// Where others leave what is to be written down.
#[derive(Clone)]
pub(super) struct Desk(SyncSender<Entry>);

impl Desk {
    pub(super) fn sink(&self) -> AuditSink {
        let sender = self.0.clone();
        AuditSink::new(move |record| sender.try_send(Entry::Record(record)).is_ok())
    }

    /// A token of this principal was verified.
    pub(super) fn subject(&self, principal: Principal, name: Box<str>) {
        // Where the queue is full, lines are lost too; it is said again with the next token.
        drop(self.0.try_send(Entry::Subject { principal, name }));
    }
}

/// What the subjects of tokens are called, those of the last tokens at least: a shard remembers fewer.
#[derive(Default)]
struct Subjects {
    issuer: Option<String>,
    young: BTreeMap<Principal, Box<str>>,
    old: BTreeMap<Principal, Box<str>>,
}

impl Subjects {
    fn learn(&mut self, principal: Principal, name: Box<str>) {
        if self.young.len() >= SUBJECTS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(principal, name);
    }

    fn name(&self, principal: Principal) -> Option<&str> {
        self.young.get(&principal).or_else(|| self.old.get(&principal)).map(|name| &**name)
    }
}

/// Appends one record. Who has a token is called what its issuer calls it, and the issuer named.
fn line(text: &mut Vec<u8>, record: &Record, chronicle: &mut Chronicle, subjects: &Subjects) {
    let settings = chronicle.of(record.generation);
    let policy = settings.policy.as_deref();
    let rule = policy.zip(record.decision).map(|(policy, it)| policy.text(it.reason));
    let mut object = json!({
        "time": calendar::iso(record.unix_ms),
        "principal": settings.principals.agent(record.principal),
        "agent": policy.and_then(|policy| policy.agent_name(record.agent)),
        "transport": record.transport.name(),
        "method": record.method.as_str(),
        "upstream": settings.upstreams.get(record.upstream).map(|upstream| &upstream.name),
    });
    if record.principal.subject() != Subject::NONE {
        object["principal"] = subjects.name(record.principal).into();
        object["issuer"] = subjects.issuer.as_deref().into();
    }
    object[record.kind.map_or("task", |kind| kind.noun())] = record.name.as_ref().into();
    object["rule"] = rule.into();
    object["verdict"] = if record.is_allowed() { "allow" } else { "deny" }.into();
    if let Some(found) = &record.found {
        object["guard"] = json!({"pattern": found.pattern, "argument": found.path});
    }
    object["duration_us"] = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX).into();
    text.extend_from_slice(object.to_string().as_bytes());
    text.push(b'\n');
}

/// The log, as its writer sees it.
struct Log {
    out: Out,
    is_ending: Arc<AtomicBool>,
}

impl Log {
    fn write_all(
        &mut self,
        entries: &Receiver<Entry>,
        mut chronicle: Chronicle,
        mut subjects: Subjects,
    ) {
        let mut text = Vec::new();
        let mut take = |text: &mut Vec<u8>, entry| match entry {
            Entry::Record(record) => line(text, &record, &mut chronicle, &subjects),
            Entry::Subject { principal, name } => subjects.learn(principal, name),
        };
        while let Ok(entry) = entries.recv() {
            take(&mut text, entry);
            // What waits goes out together.
            while text.len() < CHUNK_BYTES
                && let Ok(entry) = entries.try_recv()
            {
                take(&mut text, entry);
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

/// Where lines go.
enum Out {
    Stdout,
    File { path: PathBuf, file: File, bytes: u64, bytes_max: u64, keep: u32 },
}

impl Out {
    fn open(audit: &Audit) -> io::Result<Self> {
        let AuditTo::File(path) = &audit.to else { return Ok(Self::Stdout) };
        let (file, bytes) = append(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be opened: {error}", path.display()))
        })?;
        let (path, bytes_max, keep) = (path.clone(), audit.bytes_max, audit.keep);
        Ok(Self::File { path, file, bytes, bytes_max, keep })
    }

    /// Writes as much as can be; what was written is gone from the text.
    fn write(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        if let Self::File { path, file, bytes, bytes_max, keep } = self
            && *bytes > 0
            && *bytes + text.len() as u64 > *bytes_max
        {
            rotate(path, *keep)?;
            (*file, *bytes) = append(path)?;
        }
        while !text.is_empty() {
            let written = match self {
                Self::Stdout => {
                    let mut out = io::stdout().lock();
                    out.write_all(text).and_then(|()| out.flush())?;
                    text.len()
                }
                Self::File { file, bytes, .. } => {
                    let written = file.write(text)?;
                    *bytes += written as u64;
                    written
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            text.drain(..written);
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and the one beyond `keep` goes.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let old = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // It may have been moved already: by another program, or by us, and then no new one could be opened. Were
    // the older ones moved again each time, they would be lost one by one.
    if !path.try_exists()? {
        return Ok(());
    }
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    let mut free = 1;
    while free < keep && old(free).try_exists()? {
        free += 1;
    }
    for number in (1..free).rev() {
        std::fs::rename(old(number), old(number + 1))?;
    }
    std::fs::rename(path, old(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_and_costs_none_of_the_older_ones() {
        let name = format!("ringgate-audit-moved-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let audit = Audit { to: AuditTo::File(path.clone()), bytes_max: 10, keep: 3 };
        let mut out = Out::open(&audit).unwrap();
        for text in ["one one\n", "two two\n", "three\n"] {
            out.write(&mut text.as_bytes().to_vec()).unwrap();
        }
        // As when a new file could not be opened behind a rotation, or by another program.
        std::fs::remove_file(&path).unwrap();
        let mut text = b"four four\n".to_vec();
        out.write(&mut text).unwrap();
        assert!(text.is_empty());
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("audit.log"), "four four\n");
        assert_eq!(
            (read("audit.log.1"), read("audit.log.2")),
            ("two two\n".into(), "one one\n".into())
        );
        // And where the newest of the older ones is missing, none has to make room.
        std::fs::remove_file(folder.join("audit.log.1")).unwrap();
        out.write(&mut b"five\n".to_vec()).unwrap();
        assert_eq!(
            (read("audit.log.1"), read("audit.log.2")),
            ("four four\n".into(), "one one\n".into())
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_file_is_begun_anew_and_the_last_few_are_kept() {
        let folder = std::env::temp_dir().join(format!("ringgate-audit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let audit = Audit { to: AuditTo::File(path), bytes_max: 10, keep: 2 };
        let mut out = Out::open(&audit).unwrap();
        for text in ["one one\n", "two\n", "three\n", "four four four\n", "five\n"] {
            out.write(&mut text.as_bytes().to_vec()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("audit.log"), "five\n");
        assert_eq!(read("audit.log.1"), "four four four\n", "a line longer than a file is whole");
        assert_eq!(read("audit.log.2"), "two\nthree\n");
        assert_eq!(read("audit.log.3"), "", "and no more");
        // A gateway that starts again goes on where it was.
        drop(out);
        Out::open(&audit).unwrap().write(&mut b"six\n".to_vec()).unwrap();
        assert_eq!(read("audit.log"), "five\nsix\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
