//! What the load generator could do if sockets cost nothing: one lane answers itself in memory. A load near this figure
//! says more about the generator than about the server.

use crate::check::Checker;
use crate::clock::{Clock, Window, seconds};
use crate::failure::Failure;
use crate::framing::Framing;
use crate::lane::{Desk, Lane};
use crate::plan::Plan;
use crate::process::usage;
use crate::tally::Tally;

/// Messages a second of CPU time that one core builds, sends to nobody and checks. The answers are the requests (raw), so each is
/// compared in full, as an answer of that length would be.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn measure(plan: &Plan) -> Result<f64, Failure> {
    plan.check()?;
    let window = Window::new(plan.warmup, plan.duration, plan.grace);
    let requests = plan.requests();
    let mut desk = Desk {
        checker: Checker::new(requests, plan.era, plan.tool.message_bytes, true),
        tally: Tally::new(window, false)?,
        round: plan.mix.round(),
        window,
        paced: false,
    };
    let mut lanes: Vec<Lane> = (0..plan.connections)
        .map(|number| {
            let salt = u64::from(number);
            let round = desk.round.len();
            Lane::new(number, salt, Framing::Lines, Vec::new(), plan.outstanding, round)
        })
        .collect();
    let clock = Clock::start();
    for lane in &mut lanes {
        lane.fill(&desk, clock.now_ns());
    }
    let mut bytes = Vec::new();
    let before = usage(std::process::id())?;
    while clock.now_ns() < window.close_ns {
        for lane in &mut lanes {
            std::mem::swap(&mut bytes, &mut lane.out);
            lane.receive(&mut desk, &bytes, clock.now_ns());
            bytes.clear();
        }
    }
    let after = usage(std::process::id())?;
    Ok(desk.tally.answers_ever as f64 / seconds(after.cpu_ns - before.cpu_ns))
}
