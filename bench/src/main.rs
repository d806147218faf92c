//! The load generator's entry point: runs one command and turns its outcome into an exit code: 0 right, 1 wrong
//! answers, 2 no result. Not part of the gateway: its dependencies never reach it.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use ringgate_bench::args::{
    Args, BlocksArgs, CeilingArgs, Command, IdleArgs, LoadArgs, RawArgs, SuiteArgs,
};
use ringgate_bench::failure::Failure;
use ringgate_bench::record::write_json;
use ringgate_bench::report::Report;
use ringgate_bench::{
    blocks, ceiling, html, idle, process, raw, ring, table, terminal, upstream, verdict,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = process::raise_descriptors().and_then(|()| match &args.command {
        Command::Load(args) => load(args),
        Command::Raw(args) => serve_raw(args),
        Command::Upstream => upstream::serve().map(|()| true),
        Command::Idle(args) => hold_idle(args),
        Command::Suite(args) => run_suite(args),
        Command::Blocks(args) => show_blocks(args),
        Command::Ceiling(args) => show_ceiling(args),
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
        write_json(path, &report)?;
    }
    if let Some(path) = &args.html {
        write_page(path, "ringgate load", &[("load".to_owned(), &report)])?;
    }
    Ok(report.is_right())
}

fn serve_raw(args: &RawArgs) -> Result<bool, Failure> {
    let bound: Result<Vec<raw::Bound>, Failure> = args.listen.iter().map(raw::bind).collect();
    raw::serve(bound?, args.core, args.mode, args.to).map(|()| true)
}

fn hold_idle(args: &IdleArgs) -> Result<bool, Failure> {
    let report = idle::run(&args.idle(), &mut |plan, name| terminal::load(plan, name))?;
    terminal::show(&table::idle(&report));
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    Ok([&report.without, &report.with].into_iter().flatten().all(Report::is_right))
}

/// True when every row was measured and every answer was right; a bar that is missed is a result, not a failure.
fn run_suite(args: &SuiteArgs) -> Result<bool, Failure> {
    let record = args.suite().run(&mut |plan, name| {
        terminal::note(name);
        terminal::load(plan, name)
    })?;
    let machine = &record.machine;
    terminal::show(&format!(
        "{} · commit {}{} · {} × {} · kernel {}\n",
        record.date,
        record.commit,
        if record.changed { " with changes" } else { "" },
        machine.cores,
        machine.cpu,
        machine.kernel
    ));
    terminal::show(&verdict::table(&record.rows));
    if args.record {
        let path = record.keep(Path::new("bench/record"))?;
        terminal::note(&format!("kept as {}", path.display()));
    }
    if let Some(path) = &args.json {
        record.write(path)?;
    }
    if let Some(path) = &args.html {
        let reports: Vec<(String, &Report)> =
            record.reports.iter().map(|(name, report)| (name.clone(), report)).collect();
        write_page(path, "ringgate suite", &reports)?;
    }
    Ok(record.is_right())
}

fn show_blocks(args: &BlocksArgs) -> Result<bool, Failure> {
    let measured = blocks::run(&args.blocks())?;
    let line = serde_json::to_string(&measured).unwrap_or_default();
    terminal::show(&format!("{line}\n"));
    Ok(true)
}

fn show_ceiling(args: &CeilingArgs) -> Result<bool, Failure> {
    if let Some(core) = args.core {
        ring::pin(core)?;
    }
    let messages_per_s = ceiling::measure(&args.plan())?;
    terminal::show(&format!(
        "{} msg/s built and checked by one core without sockets\n",
        table::count(messages_per_s)
    ));
    Ok(true)
}

fn write_page(path: &Path, title: &str, reports: &[(String, &Report)]) -> Result<(), Failure> {
    std::fs::write(path, html::page(title, reports))
        .map_err(Failure::io(path.display().to_string()))
}
