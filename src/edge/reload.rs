//! A configuration that replaces the running one, all of it or nothing: on SIGHUP, and with `--watch` when one
//! of its files has changed. Listeners that are new are bound first; one that cannot be, and what a running process
//! cannot change (its shards, say), is told, and then nothing changes. How requests that are under way fare is `gateway::reload`'s business.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use signal_hook::consts::SIGHUP;

use super::audit::Writer;
use super::config::{Config, Sources};
use super::expiry::Watch;
use super::listens;
use crate::gateway::settings::{Settings, Upstream};
use crate::shard::Renewal;
use crate::transport::{Ends, Listeners};

/// How often files are looked at. Looking works with any file system, and with links that are turned to another
/// folder, as Kubernetes does with its maps.
const LOOK: Duration = Duration::from_secs(1);

/// What runs, and where another comes from.
pub(super) struct Reloader {
    sources: Sources,
    config: Config,
    /// What the shards were told of it.
    running: Renewal,
    ends: Ends,
    expiry: Watch,
    /// Where files are watched.
    watch: Option<Sender<Vec<PathBuf>>>,
    /// Kept here to the end; none where the gateway is one client's.
    listeners: Option<Listeners>,
}

/// Why nothing has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has errors: a line for each.
    Faults(Vec<String>),
    /// These keys cannot change while the process runs.
    Fixed(Vec<&'static str>),
}

impl Reloader {
    pub(super) fn new(
        sources: Sources,
        config: Config,
        running: Renewal,
        (ends, listeners): (Ends, Option<Listeners>),
    ) -> std::io::Result<Self> {
        let expiry = Watch::start(config.tls.clone())?;
        Ok(Self { sources, config, running, ends, expiry, watch: None, listeners })
    }

    /// Has its files watched, whichever they come to be.
    pub(super) fn watch(&mut self) -> std::io::Result<()> {
        self.watch = Some(watch(self.config.files.clone())?);
        Ok(())
    }

    /// The server that it is told to.
    pub(super) const fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Reads the configuration again and goes by it; the log says what came of it.
    pub(super) fn reload(&mut self, audit: Option<&Writer>) {
        match self.read() {
            Err(Refused::Faults(faults)) => {
                for fault in faults {
                    tracing::error!("{fault}");
                }
                tracing::error!("the configuration has errors; the one before stays");
            }
            Err(Refused::Fixed(keys)) => {
                for key in keys {
                    tracing::error!("{key}: cannot change while the process runs; restart it");
                }
                tracing::error!("nothing of the new configuration is used; the one before stays");
            }
            Ok((config, changes)) if changes.is_empty() => {
                self.follow(&config.files);
                tracing::info!("the configuration is the same");
            }
            Ok((config, changes)) => {
                for warning in &config.warnings {
                    tracing::warn!("{warning}");
                }
                self.follow(&config.files);
                if let Err(why) = self.renew(config, audit) {
                    tracing::error!("{why}");
                    tracing::error!(
                        "nothing of the new configuration is used; the one before stays"
                    );
                    return;
                }
                for change in changes {
                    tracing::info!("{change}");
                }
                tracing::info!(
                    generation = self.running.settings.generation,
                    "the configuration is used"
                );
            }
        }
    }

    /// Watches the files that the configuration has now, if any are watched.
    fn follow(&self, files: &[PathBuf]) {
        if let Some(watch) = &self.watch {
            // A watch that has ended watches nothing more.
            let _ = watch.send(files.to_vec());
        }
    }

    /// The configuration as its sources have it now, and what is different.
    fn read(&self) -> Result<(Config, Vec<String>), Refused> {
        let config = Config::load(&self.sources).map_err(|faults| {
            Refused::Faults(faults.0.iter().map(ToString::to_string).collect())
        })?;
        let fixed = fixed(&self.config, &config);
        if !fixed.is_empty() {
            return Err(Refused::Fixed(fixed));
        }
        let changes = changes(&self.config, &config);
        Ok((config, changes))
    }

    /// Goes by it, or says why nothing of it can be.
    fn renew(&mut self, config: Config, audit: Option<&Writer>) -> Result<(), String> {
        let moves = match &mut self.listeners {
            Some(listeners) => {
                let wanted = listens::wanted(&config);
                let listens: Vec<_> = wanted.iter().map(|one| one.listen.clone()).collect();
                let prepared = listeners.prepare(&listens);
                Some(prepared.map_err(|unbound| listens::fault(&wanted, &unbound).to_string())?)
            }
            None => None,
        };
        let Renewal { settings: before, front, tls, compression } = &self.running;
        // The same as before keeps its tickets: who was here resumes.
        let is_same =
            self.config.tls == config.tls && self.config.certificates == config.certificates;
        let renewed = match config.server_tls(&before.principals) {
            Ok(_) if is_same => tls.clone(),
            Ok(renewed) => renewed,
            Err(why) => return Err(format!("tls: {why}")),
        };
        let next = Renewal {
            settings: Arc::new(config.settings_after(before)),
            // A listener that is closed is the same to its clients, to the end: it asks of nobody less than before.
            front: config.front(&before.principals).map_or_else(|| Arc::clone(front), Arc::new),
            tls: renewed.or_else(|| tls.clone().filter(|_| self.config.tls.is_some())),
            compression: config.compression,
        };
        if self.config.log.level != config.log.level
            && let Err(error) = super::log::set(&config.log.level)
        {
            tracing::error!(error, "log.level stays as it was");
        }
        if let Some(writer) = audit {
            writer.note(Arc::clone(&next.settings));
        }
        // Shards hear of it one after the other and talk to each other meanwhile: so first all learn what
        // there is more, then each goes by it.
        self.ends.renew(&Renewal {
            settings: Arc::new(grown(before, &next.settings)),
            front: Arc::clone(front),
            tls: tls.clone(),
            compression: *compression,
        });
        self.ends.renew(&next);
        self.running = next;
        if let (Some(listeners), Some(moves)) = (&mut self.listeners, moves) {
            for bound in moves.opened() {
                tracing::info!("listening on {bound}");
            }
            // After the rest, by which it is judged who comes.
            listeners.go_by(moves, &self.ends);
        }
        if self.config.tls != config.tls {
            self.expiry.shows(config.tls.clone());
        }
        self.config = config;
        Ok(())
    }
}

/// The settings before, which know of what comes.
fn grown(before: &Settings, next: &Settings) -> Settings {
    Settings {
        upstreams: next.upstreams.clone(),
        tenures: next.tenures.clone(),
        order: Some(before.order().into()),
        principals: next.principals.clone(),
        ..before.clone()
    }
}

/// The keys that differ and cannot.
fn fixed(before: &Config, next: &Config) -> Vec<&'static str> {
    [
        ("shards", before.shards != next.shards),
        ("gateway.separator", before.separator != next.separator),
        ("gateway.state_key", before.state_key != next.state_key),
        ("audit", before.audit != next.audit),
        ("auth.jwt", before.jwt != next.jwt),
        // A grant is fetched for an upstream at its place.
        ("oauth of upstreams", before.grants != next.grants || granted(before) != granted(next)),
        ("admin", before.admin != next.admin),
        ("traces", before.traces != next.traces),
        ("log.format", before.log.format != next.log.format),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

/// The upstreams that are asked with a token of ours.
fn granted(config: &Config) -> Vec<&Upstream> {
    config.upstreams.iter().filter(|it| config.grants.contains_key(&it.name)).collect()
}

/// What differs, a line each. Keys are secrets, or nearly, and rules are long: that they changed is all.
fn changes(before: &Config, next: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let find = |all: &[Upstream], name: &str| all.iter().find(|it| it.name == name).cloned();
    for upstream in &before.upstreams {
        match find(&next.upstreams, &upstream.name) {
            None => lines.push(format!("upstreams.{}: removed", upstream.name)),
            Some(other) if other != *upstream => {
                lines.push(format!("upstreams.{}: changed", upstream.name));
            }
            Some(_) => {}
        }
    }
    for upstream in &next.upstreams {
        if find(&before.upstreams, &upstream.name).is_none() {
            lines.push(format!("upstreams.{}: added", upstream.name));
        }
    }
    let names = |config: &Config| -> Vec<String> {
        config.upstreams.iter().map(|upstream| upstream.name.clone()).collect()
    };
    let place =
        |config: &Config| config.http.as_ref().map(|http| (http.listen, http.tls, http.redirect));
    let rules = |config: &Config| config.http.as_ref().map(|http| http.front.clone());
    let is_reordered = lines.is_empty() && names(before) != names(next);
    let others = [
        ("tcp: moved", (before.tcp, before.tcp_tls) != (next.tcp, next.tcp_tls)),
        ("http: moved", place(before) != place(next)),
        ("unix: moved", before.unix != next.unix),
        ("upstreams: their order changed", is_reordered),
        ("gateway.expose: changed", before.expose != next.expose),
        ("gateway.trust_agent_id: changed", before.trusts_agent_id != next.trusts_agent_id),
        ("policy: changed", before.policy != next.policy),
        ("guard: changed", before.guard != next.guard),
        ("auth.keys: changed", before.keys != next.keys),
        ("auth.certificates: changed", before.certificates != next.certificates),
        ("tls: changed", before.tls != next.tls),
        ("compression of listeners: changed", before.compression != next.compression),
        ("agents of listeners: changed", before.agents != next.agents),
        ("rates: changed", (before.rates, &before.trusted) != (next.rates, &next.trusted)),
        ("limits: changed", before.limits != next.limits),
        ("http: changed", rules(before) != rules(next)),
        ("log.level: changed", before.log.level != next.log.level),
    ];
    lines.extend(others.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.into()));
    lines
}

/// Raises SIGHUP whenever one of the files has changed; for the life of the process. What is sent are other files, to be
/// watched from then on.
pub(super) fn watch(files: Vec<PathBuf>) -> std::io::Result<Sender<Vec<PathBuf>>> {
    let (sender, others) = mpsc::channel();
    let mut watched = Watched::new(files);
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        loop {
            match others.recv_timeout(LOOK) {
                Ok(files) => watched.follow(files),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if watched.have_changed()
                && let Err(error) = signal_hook::low_level::raise(SIGHUP)
            {
                tracing::error!(%error, "the configuration is not read again");
            }
        }
    })?;
    Ok(sender)
}

/// Files, and what each looked like.
struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Look>,
}

impl Watched {
    fn new(files: Vec<PathBuf>) -> Self {
        let seen = looks(&files);
        Self { files, seen }
    }

    /// These from now on. What has been watched before is still compared with what it was.
    fn follow(&mut self, files: Vec<PathBuf>) {
        let before = std::mem::replace(self, Self::new(files));
        for (file, seen) in before.files.iter().zip(before.seen) {
            for (_, look) in self.files.iter().zip(&mut self.seen).filter(|(is, _)| *is == file) {
                *look = seen;
            }
        }
    }

    fn have_changed(&mut self) -> bool {
        let looks = looks(&self.files);
        let before = std::mem::replace(&mut self.seen, looks);
        before != self.seen
    }
}

/// What can be seen of a file without reading it; of one that is not there, nothing.
type Look = Option<[i64; 3]>;

fn looks(files: &[PathBuf]) -> Vec<Look> {
    use std::os::unix::fs::MetadataExt;
    let look = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some([data.mtime(), data.mtime_nsec(), data.ino().cast_signed()])
    };
    files.iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("ringgate-reload-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        let read = Config::load(&Sources { config: Some(path.clone()), ..Sources::default() });
        std::fs::remove_file(path).expect("it was made here");
        read.expect("a right configuration")
    }

    const TWO: &str =
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\n[upstreams.b]\nurl = \"tcp://127.0.0.1:2\"\n";

    #[test]
    fn an_upstream_keeps_its_place_and_a_changed_one_is_another() {
        let first = config(TWO).settings(1).expect("random numbers");
        let next = config(
            "[upstreams.c]\nurl = \"tcp://127.0.0.1:3\"\n[upstreams.b]\nurl = \"tcp://127.0.0.1:2\"\n\
             [upstreams.a]\nurl = \"tcp://127.0.0.1:9\"\n",
        );
        let after = next.settings_after(&first);
        let names: Vec<&str> = after.upstreams.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "a"]);
        assert_eq!(after.order(), [2, 1, 3]);
        assert_eq!((after.generation, after.state_key), (1, first.state_key));
        // What was gone and comes again is another still: of the first, something may be under way.
        let again = config(TWO).settings_after(&after);
        assert_eq!((again.order(), again.upstreams.len()), (vec![4, 1], 5));
    }

    #[test]
    fn what_differs_is_told_and_what_cannot_change_is_named() {
        let before = config(TWO);
        assert_eq!(changes(&before, &config(TWO)), Vec::<String>::new());
        let next = config(
            "[upstreams.b]\nurl = \"tcp://127.0.0.1:3\"\n[upstreams.c]\nurl = \"tcp://127.0.0.1:4\"\n\
             [limits]\nrequest = \"5s\"\n",
        );
        assert_eq!(
            changes(&before, &next),
            [
                "upstreams.a: removed",
                "upstreams.b: changed",
                "upstreams.c: added",
                "limits: changed"
            ]
        );
        assert_eq!(fixed(&before, &next), Vec::<&str>::new());
        let fixed_keys = config("[shards]\nring_entries = 256\n[log]\nformat = \"json\"\n");
        assert_eq!(fixed(&before, &fixed_keys), ["shards", "log.format"]);
        let text = "[tcp]\nlisten = \"127.0.0.1:7\"\n[http]\nlisten = \"off\"\n";
        let moved = config(&format!("{text}{TWO}"));
        assert_eq!(fixed(&before, &moved), Vec::<&str>::new());
        let told = ["tcp: moved", "http: moved", "http: changed"];
        assert_eq!(changes(&before, &moved), told);
    }

    #[test]
    fn each_of_these_alone_is_a_change() {
        let before = config(TWO);
        for (text, told) in [
            ("[guard]\nmode = \"deny\"\n", "guard: changed"),
            ("[gateway]\nexpose = \"both\"\n", "gateway.expose: changed"),
            ("[gateway]\ntrust_agent_id = true\n", "gateway.trust_agent_id: changed"),
            ("[rates]\ntrusted = [\"10.0.0.0/8\"]\n", "rates: changed"),
        ] {
            let next = config(&format!("{text}{TWO}"));
            assert_eq!(fixed(&before, &next), Vec::<&str>::new());
            assert_eq!(changes(&before, &next), [told]);
            assert_eq!(changes(&next, &config(&format!("{text}{TWO}"))), Vec::<String>::new());
        }
    }

    #[test]
    fn a_file_that_was_replaced_looks_other_than_before() {
        let name = format!("ringgate-look-{}", std::process::id());
        let (path, draft) =
            (std::env::temp_dir().join(&name), std::env::temp_dir().join(format!("{name}.new")));
        let files = [path.clone()];
        assert_eq!(looks(&files), [None]);
        std::fs::write(&path, "one").expect("a file");
        let before = looks(&files);
        std::fs::write(&draft, "two").expect("a file");
        std::fs::rename(&draft, &path).expect("a rename");
        assert_ne!(looks(&files), before);
        let mut watched = Watched::new(files.to_vec());
        assert!(!watched.have_changed());
        std::fs::remove_file(&path).expect("it was made here");
        // One that comes to it is as it is now; the others are compared with what they were.
        std::fs::write(&draft, "a key").expect("a file");
        watched.follow(vec![draft.clone(), path]);
        assert!(watched.have_changed() && !watched.have_changed());
        std::fs::remove_file(draft).expect("it was made here");
        assert!(watched.have_changed());
    }
}
