//! `add`: the sum of two numbers, as text and as structured content.

use std::borrow::Cow;

use crate::gateway::builtin::tool::{Call, Outcome, Tool};
use crate::gateway::builtin::{argument, reply};
use crate::wire::Json;

pub(super) struct Add;

impl Tool for Add {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"add","title":"Add","description":"Adds two numbers.","#,
            r#""inputSchema":{"type":"object","properties":{"#,
            r#""a":{"type":"number","description":"The first number."},"#,
            r#""b":{"type":"number","description":"The second number."}},"required":["a","b"]},"#,
            r#""outputSchema":{"type":"object","properties":{"sum":{"type":"number"}},"required":["sum"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"#,
            r#""openWorldHint":false}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        match sum(call.arguments) {
            Ok(sum) => reply::structured(out, &format!("{{\"sum\":{sum}}}")),
            Err(what) => reply::error(out, &what),
        }
    }
}

/// The sum's JSON text: exact for integers of 64 bits, else that of two doubles.
fn sum(arguments: Json<'_>) -> Result<String, String> {
    let (a, near_a) = argument::number(arguments, "a")?;
    let (b, near_b) = argument::number(arguments, "b")?;
    if let (Some(a), Some(b)) = (argument::whole(a), argument::whole(b)) {
        return Ok((i128::from(a) + i128::from(b)).to_string());
    }
    let sum = near_a + near_b;
    if !sum.is_finite() {
        return Err("The sum is larger than a double-precision number holds.".to_owned());
    }
    // Debug writes a large or small double with an exponent, Display with up to 300 digits.
    let text = format!("{sum:?}");
    Ok(text.strip_suffix(".0").map_or(text.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_stay_integers_and_exact() {
        for (a, b, expected) in [
            ("1", "2", "3"),
            ("1.5", "1.5", "3"),
            ("2.0", "1e2", "102"),
            ("0.1", "0.2", "0.30000000000000004"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("1e300", "1", "1e300"),
            ("-1", "1", "0"),
            ("1e-9", "0", "1e-9"),
        ] {
            let arguments = format!("{{\"a\":{a},\"b\":{b}}}");
            let sum = sum(Json::parse(&arguments).unwrap()).unwrap();
            assert_eq!(sum, expected, "{a} + {b}");
            assert!(Json::parse(&sum).is_ok());
        }
    }

    #[test]
    fn a_sum_that_no_double_holds_is_an_error() {
        let arguments = Json::parse(r#"{"a":1.7e308,"b":1.7e308}"#).unwrap();
        assert!(sum(arguments).unwrap_err().contains("sum"));
        assert!(sum(Json::EMPTY_OBJECT).unwrap_err().contains("\"a\""));
    }
}
