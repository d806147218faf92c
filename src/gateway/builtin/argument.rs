//! Reads one argument of a call and says, in a sentence a model can act on, what is wrong with it.
//! Knows no JSON Schema: a tool in process checks what it uses.

use std::ops::RangeInclusive;

use crate::wire::Json;

/// The largest integer that every JSON reader keeps exact: 2^53 − 1 (RFC 8259 section 6).
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// The content of a JSON string as it was written, escapes and all; `None` for anything else.
#[inline]
pub fn raw(json: Json<'_>) -> Option<&str> {
    json.text().strip_prefix('"')?.strip_suffix('"')
}

/// The content of the string argument `key`, as written.
#[inline]
pub fn string<'a>(arguments: Json<'a>, key: &str) -> Result<&'a str, String> {
    match arguments.get(key) {
        Some(value) => {
            raw(value).ok_or_else(|| format!("The argument \"{key}\" must be a string."))
        }
        None => Err(format!("The argument \"{key}\" is missing; it must be a string.")),
    }
}

/// The number argument `key`: its JSON text, and its value as near as a double comes.
pub fn number<'a>(arguments: Json<'a>, key: &str) -> Result<(Json<'a>, f64), String> {
    let Some(json) = arguments.get(key) else {
        return Err(format!("The argument \"{key}\" is missing; it must be a number."));
    };
    match json.as_f64() {
        Some(value) if value.is_finite() => Ok((json, value)),
        Some(_) => {
            Err(format!("The argument \"{key}\" is larger than a double-precision number holds."))
        }
        None => Err(format!("The argument \"{key}\" must be a number.")),
    }
}

/// The integer argument `key`, or `default` if there is none.
pub fn integer(
    arguments: Json<'_>,
    key: &str,
    default: Option<i64>,
    range: &RangeInclusive<i64>,
) -> Result<i64, String> {
    let expected = || format!("an integer from {} to {}", range.start(), range.end());
    let Some(json) = arguments.get(key) else {
        return default.ok_or_else(|| {
            format!("The argument \"{key}\" is missing; it must be {}.", expected())
        });
    };
    whole(json)
        .filter(|value| range.contains(value))
        .ok_or_else(|| format!("The argument \"{key}\" must be {}.", expected()))
}

/// The integer that `json` is, however it is spelled: JSON Schema calls `1.0` and `1e2` integers too.
pub fn whole(json: Json<'_>) -> Option<i64> {
    json.as_i64().or_else(|| {
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact as a double")]
        let max = INTEGER_MAX as f64;
        let value = json.as_f64().filter(|v| v.fract() == 0.0 && v.abs() <= max)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, so exact")]
        Some(value as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text).unwrap()
    }

    #[test]
    fn an_integer_may_be_spelled_as_a_float_but_not_be_a_fraction() {
        for (text, value) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7e2", Some(700)),
            ("-0.0", Some(0)),
            ("9007199254740991.0", Some(INTEGER_MAX)),
            ("7.5", None),
            ("1e300", None),
            ("1e999", None),
            ("\"7\"", None),
            ("null", None),
        ] {
            assert_eq!(whole(json(text)), value, "{text}");
        }
    }

    #[test]
    fn a_fault_names_the_argument_and_what_it_must_be() {
        let arguments = json(r#"{"a":"x","b":12,"c":1e999}"#);
        assert_eq!(string(arguments, "a"), Ok("x"));
        assert!(string(arguments, "b").unwrap_err().contains("\"b\" must be a string"));
        assert!(string(arguments, "z").unwrap_err().contains("\"z\" is missing"));
        assert!(number(arguments, "a").unwrap_err().contains("must be a number"));
        assert!(number(arguments, "c").unwrap_err().contains("double"));
        assert!(number(arguments, "z").unwrap_err().contains("missing"));
        assert_eq!(integer(arguments, "b", None, &(0..=12)), Ok(12));
        assert_eq!(integer(arguments, "z", Some(5), &(0..=12)), Ok(5));
        assert!(integer(arguments, "b", None, &(0..=11)).unwrap_err().contains("from 0 to 11"));
        assert!(integer(arguments, "z", None, &(0..=11)).unwrap_err().contains("missing"));
    }
}
