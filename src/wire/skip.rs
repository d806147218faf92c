//! Finds where values end in text that `scan` has passed. Not a validator: it looks only at quotes,
//! backslashes and brackets, and takes the rest for granted. In other text it finds some end, and no
//! further than the text's own.

use super::plain;
use super::scan::{byte, next, token};

/// Where a string's content ends, from its first byte on: the closing quote's place. And whether the
/// content holds escapes.
#[inline]
pub(super) fn string_end(bytes: &[u8], from: usize) -> (usize, bool) {
    let end = plain::end(bytes, from);
    if byte(bytes, end) == b'\\' { (escaped_string_end(bytes, end), true) } else { (end, false) }
}

/// As [`string_end`], from the first backslash on.
fn escaped_string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while byte(bytes, at) == b'\\' {
        // What a backslash escapes may be a quote, but no part of what follows "\u" can be one.
        at = plain::end(bytes, at.wrapping_add(2));
    }
    at
}

/// Where the value that begins at `at` ends: the place behind its last byte.
#[inline]
pub(super) fn value_end(bytes: &[u8], at: usize) -> usize {
    match byte(bytes, at) {
        b'"' => next(string_end(bytes, next(at)).0),
        b'{' | b'[' => container_end(bytes, at),
        _ => scalar_end(bytes, at),
    }
}

fn container_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0u32;
    let mut at = from;
    loop {
        match byte(bytes, at) {
            b'"' => at = string_end(bytes, next(at)).0,
            b'{' | b'[' => depth = depth.wrapping_add(1),
            b'}' | b']' => {
                depth = depth.wrapping_sub(1);
                if depth == 0 {
                    return next(at);
                }
            }
            0 => return at,
            _ => {}
        }
        at = next(at);
    }
}

fn scalar_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | 0..=b' '));
    from.wrapping_add(length.unwrap_or(rest.len()))
}

/// Behind an opening bracket or a value: where the next key or element begins; `None` if none does.
#[inline]
pub(super) fn following(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut at, mut here) = token(bytes, at);
    if here == b',' {
        (at, here) = token(bytes, next(at));
    }
    (!matches!(here, b'}' | b']' | 0)).then_some(at)
}

/// Behind a key's closing quote and its colon: where its value begins.
#[inline]
pub(super) fn value_start(bytes: &[u8], at: usize) -> usize {
    let (colon, _) = token(bytes, at);
    token(bytes, next(colon)).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_end_where_the_validator_says() {
        for text in [
            "null",
            "true",
            "-1.5e+10",
            r#""""#,
            r#""a \"quoted\" \\""#,
            r#""\\\\""#,
            r#""\u005c\"}]""#,
            "[]",
            "{}",
            r#"{"a":[1,{"b}":"]\""},[[]]],"c":-0}"#,
            r#"[ "x" , { "y" : [ ] } ]"#,
        ] {
            for behind in ["", ",1", " ", "]", "}"] {
                let whole = format!("{text}{behind}");
                assert_eq!(value_end(whole.as_bytes(), 0), text.len(), "{whole}");
            }
        }
    }

    #[test]
    fn text_that_is_not_json_has_some_end_too() {
        for text in ["", "\"", "\"\\", "{", "[[\"]", "{\"a\":\"\\\"", "}", "\0", "[\0]", "\"a\nb"] {
            for at in 0..=text.len() {
                assert!(value_end(text.as_bytes(), at) <= text.len() + 2, "{text:?} from {at}");
            }
        }
    }
}
