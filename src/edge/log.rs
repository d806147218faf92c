//! The log: to stderr, since stdout may be a protocol; text for people, JSON lines for machines. How much is told may
//! change while the process runs: by the configuration, by the admin listener, by SIGUSR1 (one level more) and
//! SIGUSR2 (one less).

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::config::{Format, Log};

/// The filter of the process's log, once there is one.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Levels from the quietest on.
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// Whether these directives can be understood; the error says which part cannot.
pub fn check(level: &str) -> Result<(), String> {
    EnvFilter::builder().parse(level).map(drop).map_err(|error| error.to_string())
}

/// Starts logging for the whole process. The first call counts; a later one changes nothing.
pub fn start(log: &Log) {
    let (filter, handle) = reload::Layer::new(without_strangers(
        &log.level,
        EnvFilter::builder().parse_lossy(&log.level),
    ));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match log.format {
        // Colours only where a terminal shows them.
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
    };
    // An error means that a subscriber is there already, as in a test that starts twice.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

const STRANGERS_OFF: &str = "rustls=off";

/// rustls warns of each stranger's fault by itself, so any could fill the log; ours tells of them once a second.
fn without_strangers(level: &str, filter: EnvFilter) -> EnvFilter {
    match STRANGERS_OFF.parse() {
        Ok(quiet) if !level.contains("rustls") => filter.add_directive(quiet),
        _ => filter,
    }
}

/// The directives that hold now; `None` where there is no log of ours.
pub fn level() -> Option<String> {
    let all = FILTER.get()?.with_current(ToString::to_string).ok()?;
    // What we added is nothing that anybody asked for.
    let asked: Vec<&str> = all.split(',').filter(|it| *it != STRANGERS_OFF).collect();
    Some(asked.join(","))
}

/// Has other directives hold from now on, a level or what `RUST_LOG` may be; the error says what is wrong with them.
pub fn set(level: &str) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(level).map_err(|error| error.to_string())?;
    let filter = without_strangers(level, filter);
    let told = format!("log.level is {filter}");
    match FILTER.get() {
        Some(handle) => handle.reload(filter).map_err(|error| error.to_string())?,
        None => return Err("there is no log of ours".to_owned()),
    }
    // Below what an operator may have asked for it says nothing, which is what was asked for.
    tracing::warn!("{told}");
    Ok(())
}

/// Tells one level more, or one less, than the most that is told of anything now.
pub fn step(more: bool) {
    let most = FILTER.get().and_then(|handle| {
        handle.with_current(tracing_subscriber::layer::Filter::<Registry>::max_level_hint).ok()
    });
    let Some(level) = next(most.flatten().unwrap_or(LevelFilter::INFO), more) else { return };
    if let Err(error) = set(&level.to_string()) {
        tracing::error!(error, "the level of the log stays");
    }
}

fn next(level: LevelFilter, more: bool) -> Option<LevelFilter> {
    let at = LEVELS.iter().position(|it| *it == level)?;
    let at = if more { at + 1 } else { at.checked_sub(1)? };
    LEVELS.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_up_and_down_by_one_and_end_at_both_ends() {
        assert_eq!(next(LevelFilter::INFO, true), Some(LevelFilter::DEBUG));
        assert_eq!(next(LevelFilter::INFO, false), Some(LevelFilter::WARN));
        assert_eq!(next(LevelFilter::TRACE, true), None);
        assert_eq!(next(LevelFilter::OFF, false), None);
    }

    #[test]
    fn what_is_no_level_is_said_so() {
        assert!(check("warn,ringgate=debug").is_ok());
        assert!(check("ringgate=lots").is_err());
    }
}
