//! The load generator's entry point: runs one command and turns its outcome into an exit code: 0 right, 1 wrong
//! answers, 2 no result. Not part of the gateway: its dependencies never reach it.

use std::fs;
use std::process::ExitCode;

use clap::Parser;

use ringgate_bench::args::{Args, Command, LoadArgs, RawArgs, RawMode};
use ringgate_bench::failure::Failure;
use ringgate_bench::{process, raw, table, terminal};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = process::raise_descriptors().and_then(|()| match &args.command {
        Command::Load(args) => load(args),
        Command::Raw(args) => serve_raw(args),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            terminal::note(&format!("ringgate-bench: {failure}"));
            ExitCode::from(2)
        }
    }
}

/// True when every answer was right.
fn load(args: &LoadArgs) -> Result<bool, Failure> {
    let report = terminal::load(&args.plan(), "load")?;
    terminal::show(&table::report(&report));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::Io("report".to_owned(), error.into()))?;
        fs::write(path, text + "\n").map_err(Failure::io(path.display().to_string()))?;
    }
    Ok(report.is_right())
}

fn serve_raw(args: &RawArgs) -> Result<bool, Failure> {
    let RawMode::Echo = args.mode;
    let bound = raw::bind(&args.listen)?;
    terminal::note(&format!("raw echo on {}", args.listen));
    raw::serve(bound, args.core).map(|()| true)
}
