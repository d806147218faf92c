//! What one decision looks like in the audit log: a JSON object, in a line of its own, in the words of the settings
//! that it was made under. Writes into memory, and knows nothing of files.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::base::calendar;
use crate::gateway::Settings;
use crate::gateway::audit::Record;
use crate::gateway::policy::Kind;
use crate::gateway::principal::{Principal, Subject};
use crate::wire::text;

/// Names of subjects that are kept: some times as many as the tokens that a shard remembers by default. Those
/// that go first are written as null.
const SUBJECTS_MAX: usize = 100_000;
/// Settings that are remembered for records that were begun under them: a call lasts minutes at most.
const GENERATIONS_MAX: usize = 64;

/// Writes lines, and knows what the numbers in records stand for.
pub(super) struct Scribe {
    chronicle: Chronicle,
    subjects: Subjects,
    /// When the record before was made, in milliseconds, and how that is written: most are made in the same.
    time: (u64, String),
}

impl Scribe {
    /// `news` tells of settings before the first record of theirs comes.
    pub(super) fn new(
        settings: Arc<Settings>,
        news: Receiver<Arc<Settings>>,
        issuer: Option<String>,
    ) -> Self {
        let chronicle = Chronicle { known: [settings].into(), news, nothing: Settings::default() };
        let subjects = Subjects { issuer, ..Subjects::default() };
        Self { chronicle, subjects, time: (0, calendar::iso(0)) }
    }

    /// What the subject of a token is called.
    pub(super) fn learn(&mut self, principal: Principal, name: Box<str>) {
        self.subjects.learn(principal, name);
    }

    /// Appends one record. Who has a token is called what its issuer calls it, and the issuer named.
    pub(super) fn line(&mut self, out: &mut Vec<u8>, record: &Record) {
        if self.time.0 != record.unix_ms {
            self.time = (record.unix_ms, calendar::iso(record.unix_ms));
        }
        let settings = self.chronicle.of(record.generation);
        let policy = settings.policy.as_deref();
        let subject = record.principal.subject() != Subject::NONE;
        let principal = if subject {
            self.subjects.name(record.principal)
        } else {
            settings.principals.agent(record.principal)
        };
        let rule = policy.zip(record.decision).map(|(policy, it)| policy.text(it.reason));
        let upstream = settings.upstreams.get(record.upstream);
        put(out, "{\"time\":", Some(&self.time.1));
        put(out, ",\"principal\":", principal);
        put(out, ",\"agent\":", policy.and_then(|policy| policy.agent_name(record.agent)));
        put(out, ",\"transport\":", Some(record.transport.name()));
        put(out, ",\"method\":", Some(record.method.as_str()));
        put(out, ",\"upstream\":", upstream.map(|upstream| &*upstream.name));
        if subject {
            put(out, ",\"issuer\":", self.subjects.issuer.as_deref());
        }
        out.push(b',');
        text::quote(out, record.kind.map_or("task", Kind::noun));
        put(out, ":", Some(&record.name));
        put(out, ",\"rule\":", rule.as_deref());
        put(out, ",\"verdict\":", Some(if record.is_allowed() { "allow" } else { "deny" }));
        if let Some(found) = &record.found {
            put(out, ",\"guard\":{\"pattern\":", Some(&found.pattern));
            put(out, ",\"argument\":", Some(&found.path));
            out.push(b'}');
        }
        out.extend_from_slice(b",\"duration_us\":");
        text::decimal(out, u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX));
        out.extend_from_slice(b"}\n");
    }
}

/// Appends what stands before a value, and the value.
fn put(out: &mut Vec<u8>, before: &str, value: Option<&str>) {
    out.extend_from_slice(before.as_bytes());
    match value {
        Some(value) => text::quote(out, value),
        None => out.extend_from_slice(b"null"),
    }
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
        if !self.known.iter().rev().any(is_it) {
            self.known.extend(self.news.try_iter());
            let over = self.known.len().saturating_sub(GENERATIONS_MAX);
            self.known.drain(..over);
        }
        // Most are of the latest.
        self.known
            .iter()
            .rev()
            .find(|settings| is_it(settings))
            .map_or(&self.nothing, |settings| settings)
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
