//! JSON strings: their content to text, text to their content. Not a validator; it reads only what
//! `scan` has passed.

use std::borrow::Cow;

/// The text of a string's content (between its quotes). Borrowed where nothing is escaped.
#[inline]
pub fn unescape(content: &str) -> Cow<'_, str> {
    // Nothing but a backslash can end the run: the scanner has passed it.
    if super::plain::end(content.as_bytes(), 0) == content.len() {
        return Cow::Borrowed(content);
    }
    unescaped(content).into()
}

#[inline(never)]
fn unescaped(content: &str) -> String {
    let mut text = String::with_capacity(content.len());
    let mut rest = content.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let high = hex4(&mut rest);
                let code = if (0xD800..0xDC00).contains(&high) {
                    // The scanner has seen that a pair follows: skip its "\u".
                    rest.next();
                    rest.next();
                    let low = hex4(&mut rest);
                    0x1_0000u32.wrapping_add((high & 0x3FF) << 10).wrapping_add(low & 0x3FF)
                } else {
                    high
                };
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(plain) => text.push(plain),
            None => {}
        }
    }
    text
}

fn hex4(chars: &mut std::str::Chars<'_>) -> u32 {
    let mut value = 0u32;
    for _ in 0..4 {
        value = (value << 4) | chars.next().and_then(|c| c.to_digit(16)).unwrap_or(0);
    }
    value
}

/// Appends `text` as a JSON string, quotes included.
pub fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// `text` as a JSON string, quotes included.
pub fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len().saturating_add(2));
    quote(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends `number` in decimal digits.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    // As many as 2^64 has.
    let mut digits = [b'0'; 20];
    let mut rest = number;
    let mut used = 0usize;
    for place in digits.iter_mut().rev() {
        *place = u8::try_from(rest % 10).unwrap_or(0) | b'0';
        rest /= 10;
        used = used.wrapping_add(1);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len().wrapping_sub(used)..).unwrap_or_default());
}

/// Appends `text` as the content of a JSON string, without quotes.
pub fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, from) = rest.split_at(super::plain::end(rest, 0).min(rest.len()));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = from.split_first() else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                for nibble in [byte >> 4, byte & 15] {
                    out.push(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
                }
            }
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_from_its_quoted_form() {
        for text in ["", "plain", "a\"b\\c", "\n\r\t\u{8}\u{c}\u{0}\u{1f}", "héllo 😀", "\u{7f}"]
        {
            let mut out = Vec::new();
            quote(&mut out, text);
            let quoted = String::from_utf8(out).unwrap();
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
            assert_eq!(unescape(quoted.get(1..quoted.len() - 1).unwrap()), text);
        }
    }

    #[test]
    fn a_number_is_written_as_the_standard_library_writes_it() {
        for number in [0, 7, 10, 99, 100, 1 << 42, (1 << 53) - 1, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn escapes_are_read_as_serde_reads_them() {
        for quoted in [r#""\ud83d\ude00""#, r#""\u00e9\/\b\f""#, r#""a\\nb""#] {
            let expected: String = serde_json::from_str(quoted).unwrap();
            assert_eq!(unescape(quoted.get(1..quoted.len() - 1).unwrap()), expected);
        }
    }
}
