//! Header values that mirror the body (2026-07-28 "Transports", "Standard headers" and "Custom headers
//! from tool parameters"): plain where a header can carry them, else `=?base64?…?=` around their UTF-8.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::wire::Json;
use crate::wire::json::Kind;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// The text that a header's value stands for; `None` if it is not decodable.
pub fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let Some(coded) = value.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) else {
        let is_plain = value.bytes().all(|byte| byte == b'\t' || (b' '..0x7F).contains(&byte));
        return is_plain.then_some(Cow::Borrowed(value));
    };
    String::from_utf8(STANDARD.decode(coded).ok()?).ok().map(Cow::Owned)
}

/// The header value that stands for a text.
pub fn encode(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| (b' '..0x7F).contains(&byte))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.starts_with(OPEN);
    if is_plain {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(text)))
    }
}

/// What a header says of a parameter: a string as itself, numbers and booleans as JSON writes them;
/// `None` for what no header mirrors.
pub fn of_parameter(value: Json<'_>) -> Option<String> {
    match value.kind() {
        Kind::String => value.as_str().map(Cow::into_owned),
        Kind::Number | Kind::Bool => Some(value.text().to_owned()),
        _ => None,
    }
}

/// Whether a decoded header value says the same as a parameter. Integers are compared as numbers.
pub fn says(header: &str, value: Json<'_>) -> bool {
    match value.kind() {
        Kind::Number => {
            header == value.text()
                || matches!((header.parse::<f64>(), value.as_f64()), (Ok(a), Some(b)) if (a - b).abs() < f64::EPSILON * a.abs().max(1.0))
        }
        _ => of_parameter(value).is_some_and(|text| text == header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        for text in ["x", "a b", " lead", "trail ", "Zürich", "=?base64?x?=", "", "a\nb"] {
            assert_eq!(decode(encode(text).as_bytes()).as_deref(), Some(text));
        }
        assert_eq!(encode("us-west1"), "us-west1");
        assert!(encode("Zürich").starts_with(OPEN));
    }

    #[test]
    fn what_cannot_be_decoded_is_nothing() {
        for value in [&b"=?base64?!!?="[..], b"=?base64?/w==?=", b"\xff", b"a\x01b"] {
            assert_eq!(decode(value), None, "{value:?}");
        }
        assert_eq!(decode(b"=?BASE64?eA==?=").as_deref(), Some("=?BASE64?eA==?="));
    }

    #[test]
    fn integers_are_compared_as_numbers() {
        let json = |text| Json::parse(text).unwrap();
        assert!(says("42", json("42")) && says("42.0", json("42")) && says("42", json("4.2e1")));
        assert!(!says("41", json("42")) && !says("x", json("42")));
        assert!(says("true", json("true")) && !says("True", json("true")));
        assert!(says("a", json("\"a\"")) && !says("", json("null")));
    }
}
