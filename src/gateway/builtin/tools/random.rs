//! `random`: an integer between two bounds, each as likely as any other. Not for secrets.

use std::borrow::Cow;

use crate::gateway::builtin::argument::{self, INTEGER_MAX};
use crate::gateway::builtin::reply;
use crate::gateway::builtin::tool::{Call, Outcome, Tool};
use crate::wire::Json;

pub(super) struct Random;

impl Tool for Random {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"random","title":"Random number","#,
            r#""description":"Draws an integer from min to max, both included, each as likely as any other. Not for secrets.","#,
            r#""inputSchema":{"type":"object","properties":{"#,
            r#""min":{"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991,"#,
            r#""description":"The smallest number that may come."},"#,
            r#""max":{"type":"integer","minimum":-9007199254740991,"maximum":9007199254740991,"#,
            r#""description":"The largest number that may come."}},"required":["min","max"]},"#,
            r#""outputSchema":{"type":"object","properties":{"number":{"type":"integer"}},"required":["number"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":false,"#,
            r#""openWorldHint":false}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        match bounds(call.arguments) {
            Ok((min, max)) => {
                // Both within 2^53: neither the width nor the sum overflows.
                let drawn = below(max.abs_diff(min) + 1, call.random);
                let number = min.saturating_add_unsigned(drawn);
                reply::structured(out, &format!("{{\"number\":{number}}}"))
            }
            Err(what) => reply::error(out, &what),
        }
    }
}

fn bounds(arguments: Json<'_>) -> Result<(i64, i64), String> {
    let range = -INTEGER_MAX..=INTEGER_MAX;
    let min = argument::integer(arguments, "min", None, &range)?;
    let max = argument::integer(arguments, "max", None, &range)?;
    if min > max {
        return Err("The argument \"min\" must not be larger than \"max\".".to_owned());
    }
    Ok((min, max))
}

/// A number below `bound`. A plain remainder would prefer small numbers: 2^64 is no multiple of
/// `bound`. So what lies behind the last whole multiple is thrown away and drawn again.
fn below(bound: u64, mut random: u64) -> u64 {
    debug_assert!(bound > 0);
    // 2^64 mod bound, without 2^64.
    let surplus = (u64::MAX % bound + 1) % bound;
    while random > u64::MAX - surplus {
        random = scrambled(random);
    }
    random % bound
}

/// The next number of a sequence that goes on from one fresh random number: an odd step and a
/// multiply-and-shift on it, both one to one, so that no value is lost or preferred.
const fn scrambled(random: u64) -> u64 {
    let mixed = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_the_bound_and_reach_both_ends() {
        for bound in [1, 2, 3, 10, (1 << 54) - 1] {
            for random in [0, 1, 2, 9, u64::MAX, u64::MAX - 1, u64::MAX / 2] {
                assert!(below(bound, random) < bound);
            }
        }
        assert_eq!(below(10, 0), 0);
        assert_eq!(below(10, 9), 9);
    }

    #[test]
    fn what_would_make_small_numbers_likelier_is_drawn_again() {
        // 2^64 mod 10 is 6: the last six values are the surplus.
        assert_eq!(below(10, u64::MAX - 6), (u64::MAX - 6) % 10);
        assert_eq!(below(10, u64::MAX - 6), 9);
        assert_eq!(below(10, u64::MAX - 5), scrambled(u64::MAX - 5) % 10);
        // A power of two has no surplus.
        assert_eq!(below(1 << 20, u64::MAX), (1 << 20) - 1);
    }

    #[test]
    fn each_number_comes_about_as_often_as_any_other() {
        let mut counts = [0u32; 7];
        let mut random = 1;
        for _ in 0..70_000 {
            random = scrambled(random);
            counts[usize::try_from(below(7, random)).unwrap()] += 1;
        }
        // Six standard deviations; the sequence is fixed, so this is no matter of luck.
        assert!(counts.iter().all(|count| (9_444..=10_556).contains(count)), "{counts:?}");
    }

    #[test]
    fn bounds_in_the_wrong_order_are_an_error() {
        let arguments = Json::parse(r#"{"min":2,"max":1}"#).unwrap();
        assert!(bounds(arguments).unwrap_err().contains("min"));
    }
}
