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
//!   finding where a key ends: 12 ns ([`Scanner::take_key`]).
#![expect(
    clippy::inline_always,
    reason = "without it the compiler leaves some of the small steps as calls that return through memory"
)]

use std::fmt;

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

/// A cursor over JSON text. All methods leave it behind what they read.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    last_key: StringToken,
}

/// A string token: where its content lies, and whether it holds escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringToken {
    /// First content byte, behind the opening quote.
    pub start: usize,
    /// One past the last content byte: the closing quote's place.
    pub end: usize,
    pub escaped: bool,
}

impl<'a> Scanner<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, last_key: StringToken { start: 0, end: 0, escaped: false } }
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips the four bytes that RFC 8259 section 2 calls white space.
    #[inline(always)]
    pub fn space(&mut self) {
        self.at = token(self.bytes, self.at).0;
    }

    /// Takes `byte` if it is next.
    #[inline(always)]
    pub fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        if here {
            self.at = next(self.at);
        }
        here
    }

    /// Nothing but white space may follow.
    #[inline]
    pub fn end(&mut self) -> Result<(), ScanError> {
        self.space();
        if self.at < self.bytes.len() {
            fail("something follows the JSON value", self.at)
        } else {
            Ok(())
        }
    }

    /// Reads one value of any kind, with all that is in it.
    #[inline(always)]
    pub fn value(&mut self) -> Result<(), ScanError> {
        self.at = value(self.bytes, self.at, byte(self.bytes, self.at))?;
        Ok(())
    }

    /// Reads a member's key and its colon, up to the first byte of the value. What the key is says
    /// [`Scanner::last_key`]; as a result it would go through memory.
    #[inline(always)]
    pub fn key(&mut self) -> Result<(), ScanError> {
        let mut escaped = false;
        let end = string(self.bytes, self.at, byte(self.bytes, self.at), &mut escaped)?;
        self.last_key = StringToken { start: next(self.at), end, escaped };
        self.at = colon(self.bytes, next(end))?;
        Ok(())
    }

    /// The key that was read last.
    pub const fn last_key(&self) -> StringToken {
        self.last_key
    }

    /// Takes `key`, a key with its quotes and its colon, if just that is next, up to the first byte of
    /// the value. Cheaper than to find where a key ends: what follows need not wait for it.
    #[inline(always)]
    pub fn take_key(&mut self, key: &'static [u8]) -> bool {
        let here = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(key));
        if here {
            self.at = token(self.bytes, self.at.wrapping_add(key.len())).0;
        }
        here
    }

    /// Behind a value: goes on to the next one and says true if a comma stands there, or takes the
    /// bracket `close` and says false.
    #[inline(always)]
    pub fn more(&mut self, close: u8) -> Result<bool, ScanError> {
        let (at, here) = token(self.bytes, self.at);
        if here == b',' {
            self.at = token(self.bytes, next(at)).0;
            return Ok(true);
        }
        if here == close {
            self.at = next(at);
            return Ok(false);
        }
        fail(if close == b'}' { "expected ',' or '}'" } else { "expected ',' or ']'" }, at)
    }
}

// The scanner's work is done by functions from a place to a place: a place in a local variable stays in
// a register, one behind `&mut self` is written to memory at each step.

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
const fn fail<T>(what: &'static str, at: usize) -> Result<T, ScanError> {
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

/// Reads a key and its colon, up to the first byte of the value.
#[inline(always)]
fn key(bytes: &[u8], at: usize, here: u8) -> Result<usize, ScanError> {
    colon(bytes, next(string(bytes, at, here, &mut false)?))
}

#[inline(always)]
fn value(bytes: &[u8], at: usize, here: u8) -> Result<usize, ScanError> {
    match here {
        b'"' => Ok(next(string(bytes, at, here, &mut false)?)),
        b'{' | b'[' => container(bytes, at),
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
    let rest = bytes.get(from..).unwrap_or_default();
    match rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()) {
        0 => fail("expected a digit", from),
        count => Ok(from.wrapping_add(count)),
    }
}

/// Reads an object or an array; its opening bracket is next.
fn container(bytes: &[u8], from: usize) -> Result<usize, ScanError> {
    // A bit a level, the innermost lowest: 1 is an object, 0 an array.
    let mut stack = 0u128;
    let mut depth = 0u32;
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
                        at = key(bytes, at, here)?;
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
                    at = key(bytes, at, here)?;
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
            if depth == 0 {
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
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.space();
        scanner.value()?;
        scanner.end()
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
