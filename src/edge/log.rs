//! The log: to stderr, since stdout may be a protocol; text for people, JSON lines for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::config::{Format, Log};

/// Whether these directives can be understood; the error says which part cannot.
pub fn check(level: &str) -> Result<(), String> {
    EnvFilter::builder().parse(level).map(drop).map_err(|error| error.to_string())
}

/// Starts logging for the whole process. The first call counts; a later one changes nothing.
pub fn start(log: &Log) {
    let mut filter = EnvFilter::builder().parse_lossy(&log.level);
    // It warns of each stranger's fault by itself, so any could fill the log; ours tells of them once a second.
    if !log.level.contains("rustls")
        && let Ok(quiet) = "rustls=off".parse()
    {
        filter = filter.add_directive(quiet);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is there already, as in a test that starts twice.
    let _already = match log.format {
        Format::Text => {
            // Colours only where a terminal shows them.
            builder.with_ansi(std::io::stderr().is_terminal()).try_init()
        }
        Format::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
}
