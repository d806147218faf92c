//! The one place that writes to the terminal: results on stdout, progress and complaints on stderr.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks to its user here, and only here"
)]

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::load::{self, Progress};
use crate::plan::Plan;
use crate::report::Report;
use crate::table::count;

/// Steps of a progress bar.
const STEPS: u64 = 1000;

/// Shows a result.
pub fn show(text: &str) {
    print!("{text}");
}

/// Says what goes on, beside the result.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Runs a load behind a progress bar.
pub fn load(plan: &Plan, name: &str) -> Result<Report, Failure> {
    behind_a_bar(name, |tell| load::run(plan, tell))
}

/// Runs something that tells its progress behind a bar, which is drawn on a terminal only.
pub fn behind_a_bar(
    name: &str,
    run: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(STEPS)
    } else {
        ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::hidden())
    };
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    let mut last = (0, 0.0);
    let report = run(&mut |progress: Progress| {
        bar.set_position(steps(progress.part));
        let seconds = progress.seconds - last.1;
        if seconds > 0.5 {
            bar.set_message(format!("{}/s", count(rate(progress.answers - last.0, seconds))));
            last = (progress.answers, progress.seconds);
        }
    });
    bar.finish_and_clear();
    report
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part between 0 and 1"
)]
fn steps(part: f64) -> u64 {
    (part * STEPS as f64) as u64
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn rate(answers: u64, seconds: f64) -> f64 {
    answers as f64 / seconds
}
