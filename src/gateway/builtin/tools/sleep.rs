//! `sleep`: waits, and tells how far it is. Holds nothing while it waits; the gateway calls again.

use std::borrow::Cow;
use std::time::Duration;

use crate::gateway::builtin::tool::{Call, Outcome, Tool};
use crate::gateway::builtin::{argument, reply};
use crate::wire::Json;

/// Longest sleep. A flight is held for as long.
pub(crate) const MS_MAX: i64 = 60_000;
/// Most progress notifications of one call.
pub(crate) const STEPS_MAX: i64 = 100;

pub(super) struct Sleep;

impl Tool for Sleep {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"sleep","title":"Sleep","#,
            r#""description":"Waits, and reports its progress in steps of equal length.","#,
            r#""inputSchema":{"type":"object","properties":{"#,
            r#""ms":{"type":"integer","minimum":0,"maximum":60000,"#,
            r#""description":"How long, in milliseconds."},"#,
            r#""steps":{"type":"integer","minimum":1,"maximum":100,"default":1,"#,
            r#""description":"In how many steps."}},"required":["ms"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"#,
            r#""openWorldHint":false}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        let (ms, steps) = match plan(call.arguments) {
            Ok(plan) => plan,
            Err(what) => return reply::error(out, &what),
        };
        if ms == 0 || call.step >= steps {
            return reply::text(out, &format!("Slept {ms} ms."));
        }
        // The ends of the steps are counted from the start, so that their rounding does not add up.
        let micros_at = |step: u32| ms * 1_000 * u64::from(step) / u64::from(steps);
        Outcome::Wait {
            after: Duration::from_micros(micros_at(call.step + 1) - micros_at(call.step)),
            progress: Some((f64::from(call.step), f64::from(steps))),
        }
    }
}

/// Milliseconds and steps.
fn plan(arguments: Json<'_>) -> Result<(u64, u32), String> {
    let ms = argument::integer(arguments, "ms", None, &(0..=MS_MAX))?;
    let steps = argument::integer(arguments, "steps", Some(1), &(1..=STEPS_MAX))?;
    // Both lie in their ranges, which have no negative number.
    Ok((ms.unsigned_abs(), u32::try_from(steps).unwrap_or(1)))
}
