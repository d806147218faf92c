//! The process: arguments, configuration, log, a person's client, the doctor. The top floor; it may
//! use sockets, files and the clock, and nothing below knows it.

pub mod address;
mod admin;
pub mod args;
mod audit;
mod blocks;
mod bridge;
pub mod client;
pub mod config;
pub mod connect;
pub mod doctor;
mod expiry;
mod identity;
pub mod keys;
mod listens;
pub mod log;
mod reload;
pub mod screen;
pub mod serve;
pub mod socket;
mod traces;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Args, Command, Files, Keys, Serve, exit};
pub use self::config::Config;
use self::config::{Sources, days_left};

/// The whole program.
pub fn main() -> ExitCode {
    let args = Args::parse();
    ExitCode::from(match args.command.unwrap_or(Command::Serve(args.serve)) {
        Command::Serve(Serve { files, stdio, watch }) => {
            let sources = sources(files);
            match load(&sources) {
                Ok(config) => {
                    log::start(&config.log);
                    for warning in &config.warnings {
                        tracing::warn!("{warning}");
                    }
                    settled(serve::serve(config, sources, stdio, watch))
                }
                Err(code) => code,
            }
        }
        Command::Connect { url, compress } => settled(connect::connect(&url, compress)),
        Command::Tools { url, json, compress } => settled(client::tools(&url, json, compress)),
        Command::Call { url, tool, arguments, json, compress } => {
            settled(client::call((&url, compress), &tool, arguments, json))
        }
        Command::Check(files) => match load(&sources(files)) {
            Ok(config) => {
                for warning in &config.warnings {
                    screen::err(&format!("warning: {warning}"));
                }
                settled(screen::out(&summary(&config)).map_err(|error| error.to_string()))
            }
            Err(code) => code,
        },
        Command::Keys { what: Keys::New { name } } => settled(keys::new(&name)),
        Command::Keys { what: Keys::Hash } => settled(keys::hash()),
        Command::Doctor { json } => match doctor::doctor(json) {
            Ok(true) => exit::DONE,
            Ok(false) => exit::FAILED,
            Err(error) => settled(Err(error.to_string())),
        },
    })
}

fn settled(result: Result<(), String>) -> u8 {
    match result {
        Ok(()) => exit::DONE,
        Err(why) => {
            screen::err(&format!("ringgate: {why}"));
            exit::FAILED
        }
    }
}

fn sources(files: Files) -> Sources {
    let variables = std::env::vars_os()
        // What is not Unicode is neither a setting of ours nor a value that JSON could hold.
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Sources { config: files.config, mcp_json: files.mcp_json, variables }
}

/// The configuration, or the exit code after all that is wrong with it was told.
fn load(sources: &Sources) -> Result<Config, u8> {
    Config::load(sources).map_err(|faults| {
        screen::err(&faults.to_string());
        exit::MISUSED
    })
}

/// What `check` says of a configuration that is right.
fn summary(config: &Config) -> String {
    let mut out = String::from("the configuration is right\n");
    let with = |tls| if tls { " (TLS)" } else { "" };
    let tcp = config.tcp.map_or("off".to_owned(), |it| format!("{it}{}", with(config.tcp_tls)));
    let unix =
        config.unix.as_ref().map_or("off".to_owned(), |unix| unix.path.display().to_string());
    let _infallible = writeln!(out, "tcp {tcp}, unix {unix}");
    for certificate in config.tls.iter().flat_map(|tls| &tls.certificates) {
        let (file, days) = (certificate.file.display(), days_left(certificate.not_after));
        let _infallible = writeln!(out, "certificate {file}: good for {days} days");
    }
    for upstream in &config.upstreams {
        let names = match upstream.prefix.as_str() {
            "" => "names unchanged".to_owned(),
            prefix => format!("names {prefix}{}…", config.separator),
        };
        let _infallible = writeln!(out, "upstream {}: {names}", upstream.name);
    }
    out
}
