//! The JSON validator: RFC 8259 over bytes that are known to be UTF-8, one pass, no recursion, no
//! allocation. Finds where a value ends; builds nothing.
//!
//! The plain algorithm is a loop over the next byte with a stack of open brackets, one `u128` with a bit
//! a level. What makes it fast, and what each bought for a 121-byte request (141 ns to 82 ns with the
//! envelope around it, least of many runs on one core of an EPYC virtual machine; `benches/wire.rs`):
//! - A string's first eight bytes are tested as one word, then blocks of sixteen that the compiler turns
//!   into vector instructions (`plain`): 2 ns, and more the longer the strings.
//! - The work is done by functions from a place to a place, not by methods behind `&mut self`: a place in
//!   a local variable stays in a register. With white space and escapes moved out of the way: 31 ns.
//! - Results of the inlined functions have one word. A larger one travels through memory, and reading it
//!   back as a whole right after it was written in parts stalls the processor: 15 ns.
//! - The envelope compares the keys it knows with what is next, quotes and colon included, instead of
//!   finding where a key ends: 12 ns (`keys`).
#![expect(
    clippy::inline_always,
    reason = "without it the compiler leaves some of the small steps as calls that return through memory"
)]

use std::fmt;
use std::ops::Range;

use super::plain;

/// How deep brackets may nest: the bits of the stack, and one more than serde accepts. A document deeper
/// than this is an attack on somebody's recursion.
pub const DEPTH_MAX: u32 = 128;

/// Why text is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    pub what: &'static str,
    /// Byte offset into the scanned text.
    pub at: usize,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for ScanError {}

/// A string token: where its content lies, and whether it holds escapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StringToken {
    /// First content byte, behind the opening quote.
    pub start: usize,
    /// One past the last content byte: the closing quote's place.
    pub end: usize,
    pub escaped: bool,
}

/// Reads `bytes` as one value with white space around it: where the value begins and ends.
pub fn document(bytes: &[u8]) -> Result<Range<usize>, ScanError> {
    let start = token(bytes, 0).0;
    let at = value(bytes, start, 0)?;
    end(bytes, at)?;
    Ok(start..at)
}

/// Nothing but white space may follow.
#[inline]
pub(super) fn end(bytes: &[u8], at: usize) -> Result<(), ScanError> {
    let at = token(bytes, at).0;
    if at < bytes.len() { fail("something follows the JSON value", at) } else { Ok(()) }
}

// All of it is done by functions from a place to a place: a place in a local variable stays in a
// register, one behind `&mut self` would be written to memory at each step.

/// The byte at `at`, or NUL behind the end: NUL is legal nowhere, so few places must tell the two apart.
#[inline(always)]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline(always)]
pub(super) const fn next(at: usize) -> usize {
    at.wrapping_add(1)
}

#[cold]
#[inline(never)]
pub(super) const fn fail<T>(what: &'static str, at: usize) -> Result<T, ScanError> {
    Err(ScanError { what, at })
}

/// The place of the next byte that is no white space, and that byte.
#[inline(always)]
pub(super) fn token(bytes: &[u8], at: usize) -> (usize, u8) {
    match byte(bytes, at) {
        0..=b' ' => spaces(bytes, at),
        here => (at, here),
    }
}

/// Most messages have no white space between tokens.
#[cold]
#[inline(never)]
fn spaces(bytes: &[u8], from: usize) -> (usize, u8) {
    let mut at = from;
    loop {
        match byte(bytes, at) {
            b' ' | b'\t' | b'\n' | b'\r' => at = next(at),
            here => return (at, here),
        }
    }
}

/// Reads a string token up to its closing quote; `here` is the byte at `at`.
#[inline(always)]
fn string(bytes: &[u8], at: usize, here: u8, is_escaped: &mut bool) -> Result<usize, ScanError> {
    if here != b'"' {
        return fail("expected a string", at);
    }
    let end = plain::end(bytes, next(at));
    if byte(bytes, end) == b'"' {
        return Ok(end);
    }
    *is_escaped = true;
    escaped(bytes, end)
}

/// The end of a string token from its first escape on, if that is what stands there.
#[inline(never)]
fn escaped(bytes: &[u8], from: usize) -> Result<usize, ScanError> {
    let mut at = from;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => at = escape(bytes, at)?,
            Some(_) => return fail("unescaped control character in a string", at),
            None => return fail("string without end", at),
        }
        at = plain::end(bytes, at);
    }
}

/// Reads one escape sequence. A surrogate must come as a pair: a lone one names no character and
/// could not be passed on as UTF-8.
#[inline]
fn escape(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let at = next(start);
    match byte(bytes, at) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(next(at)),
        b'u' => unicode(bytes, start),
        _ => fail("unknown escape in a string", start),
    }
}

fn unicode(bytes: &[u8], start: usize) -> Result<usize, ScanError> {
    let (code, at) = hex4(bytes, start.wrapping_add(2))?;
    match code {
        0xD800..=0xDBFF => {
            let low = if bytes.get(at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
                hex4(bytes, at.wrapping_add(2)).ok()
            } else {
                None
            };
            match low {
                Some((0xDC00..=0xDFFF, at)) => Ok(at),
                _ => fail("lone surrogate in a string", start),
            }
        }
        0xDC00..=0xDFFF => fail("lone surrogate in a string", start),
        _ => Ok(at),
    }
}

fn hex4(bytes: &[u8], from: usize) -> Result<(u32, usize), ScanError> {
    let mut value = 0u32;
    let mut at = from;
    for _ in 0..4 {
        let Some(digit) = char::from(byte(bytes, at)).to_digit(16) else {
            return fail("expected four hexadecimal digits", at);
        };
        value = (value << 4) | digit;
        at = next(at);
    }
    Ok((value, at))
}

/// Reads the colon behind a key, up to the first byte of the value.
#[inline(always)]
fn colon(bytes: &[u8], at: usize) -> Result<usize, ScanError> {
    let (at, here) = token(bytes, at);
    if here != b':' {
        return fail("expected ':' behind a key", at);
    }
    Ok(token(bytes, next(at)).0)
}

/// Reads a key and its colon, up to the first byte of the value; `token` is told what the key is.
#[inline(always)]
pub(super) fn key(
    bytes: &[u8],
    at: usize,
    here: u8,
    token: &mut StringToken,
) -> Result<usize, ScanError> {
    token.start = next(at);
    token.end = string(bytes, at, here, &mut token.escaped)?;
    colon(bytes, next(token.end))
}

/// Reads one value that lies in `outer` brackets.
#[inline(always)]
pub(super) fn value(bytes: &[u8], at: usize, outer: u32) -> Result<usize, ScanError> {
    let here = byte(bytes, at);
    match here {
        b'"' => Ok(next(string(bytes, at, here, &mut false)?)),
        b'{' | b'[' => container(bytes, at, outer),
        _ => scalar(bytes, at, here),
    }
}

/// Reads a number or a word.
#[inline(always)]
fn scalar(bytes: &[u8], at: usize, here: u8) -> Result<usize, ScanError> {
    match here {
        b'-' | b'0'..=b'9' => number(bytes, at),
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => no_value(bytes, at),
    }
}

#[cold]
#[inline(never)]
const fn no_value(bytes: &[u8], at: usize) -> Result<usize, ScanError> {
    if at < bytes.len() {
        fail("expected a JSON value", at)
    } else {
        fail("the text ends where a value is due", at)
    }
}

fn word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, ScanError> {
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(word)) {
        Ok(at.wrapping_add(word.len()))
    } else {
        fail("expected a JSON value", at)
    }
}

fn number(bytes: &[u8], from: usize) -> Result<usize, ScanError> {
    let mut at = if byte(bytes, from) == b'-' { next(from) } else { from };
    at = if byte(bytes, at) == b'0' { next(at) } else { digits(bytes, at)? };
    if byte(bytes, at) == b'.' {
        at = digits(bytes, next(at))?;
    }
    if let b'e' | b'E' = byte(bytes, at) {
        at = next(at);
        if let b'+' | b'-' = byte(bytes, at) {
            at = next(at);
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

#[inline(always)]
fn digits(bytes: &[u8], from: usize) -> Result<usize, ScanError> {
    let at = digits_end(bytes, from);
    if at == from { fail("expected a digit", from) } else { Ok(at) }
}

/// Behind the digits that begin at `from`, of which there may be none.
#[inline]
pub(super) fn digits_end(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = from;
    // Eight at once: of what is left of a digit without 0x30, less than ten, 0x76 more stays below 0x80.
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let rest = u64::from_le_bytes(*word) ^ ONES.wrapping_mul(0x30);
        let others = (rest.wrapping_add(ONES.wrapping_mul(0x76)) | rest) & ONES.wrapping_mul(0x80);
        if others != 0 {
            return at.wrapping_add(plain::first_byte(others));
        }
        at = at.wrapping_add(8);
    }
    while byte(bytes, at).is_ascii_digit() {
        at = next(at);
    }
    at
}

/// Reads an object or an array that lies in `outer` others; its opening bracket is next.
fn container(bytes: &[u8], from: usize, outer: u32) -> Result<usize, ScanError> {
    // A bit a level, the innermost lowest: 1 is an object, 0 an array.
    let mut stack = 0u128;
    let mut depth = outer;
    let mut at = from;
    let mut here = byte(bytes, at);
    loop {
        // Here a value is due, and `here` is its first byte.
        match here {
            b'"' => at = next(string(bytes, at, here, &mut false)?),
            b'{' | b'[' => {
                if depth == DEPTH_MAX {
                    return fail("brackets nest deeper than the limit depth_max (128)", at);
                }
                let is_object = here == b'{';
                depth = depth.wrapping_add(1);
                stack = (stack << 1) | u128::from(is_object);
                (at, here) = token(bytes, next(at));
                if here != close(is_object) {
                    if is_object {
                        at = key(bytes, at, here, &mut StringToken::default())?;
                        here = byte(bytes, at);
                    }
                    continue;
                }
                // An empty one: the loop below takes its bracket.
            }
            _ => at = scalar(bytes, at, here)?,
        }
        // Here a value has ended: close what ends with it, then go on to the next.
        loop {
            (at, here) = token(bytes, at);
            let is_object = stack & 1 == 1;
            if here == b',' {
                (at, here) = token(bytes, next(at));
                if is_object {
                    at = key(bytes, at, here, &mut StringToken::default())?;
                    here = byte(bytes, at);
                }
                break;
            }
            if here != close(is_object) {
                return fail(
                    if is_object { "expected ',' or '}'" } else { "expected ',' or ']'" },
                    at,
                );
            }
            at = next(at);
            stack >>= 1;
            depth = depth.wrapping_sub(1);
            if depth == outer {
                return Ok(at);
            }
        }
    }
}

#[inline(always)]
const fn close(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Result<(), ScanError> {
        document(text.as_bytes()).map(|_| ())
    }

    #[test]
    fn values_of_every_kind_pass() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0",
            "1.5e+10",
            "-3E-7",
            "\"\"",
            "\"a\\u00e9\\n\"",
            "[]",
            "{}",
            "[1,[2,[3]],{\"a\":[]}]",
            "{\"a\":{\"b\":{}},\"c\":\"\\ud83d\\ude00\"}",
            "\"\\u0000\"",
        ] {
            assert_eq!(judge(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("nul", 0),
            ("01", 1),
            ("1.", 2),
            ("+1", 0),
            ("\"a", 2),
            ("\"\n\"", 1),
            ("[1,]", 3),
            ("{\"a\":1,}", 7),
            ("{\"a\" 1}", 5),
            ("[1 2]", 3),
            ("\"\\x\"", 1),
            ("\"\\ud800\"", 1),
            ("\"\\udc00\"", 1),
            ("{} {}", 3),
            ("[", 1),
            ("1e", 2),
            ("'a'", 0),
        ] {
            assert_eq!(judge(text).map_err(|e| e.at), Err(at), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit_and_not_before() {
        let depth = usize::try_from(DEPTH_MAX).unwrap();
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(judge(&nested(depth)), Ok(()));
        assert!(judge(&nested(depth + 1)).unwrap_err().what.contains("depth_max"));
        assert!(judge(&"[".repeat(100_000)).is_err());
    }
}
