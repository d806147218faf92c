//! The JSON validator: RFC 8259 over bytes that are known to be UTF-8, one pass, no recursion, no
//! allocation. Finds where a value ends; builds nothing.
//!
//! The plain algorithm is a loop over the next byte with a stack of open brackets. Three things make
//! it fast: strings advance eight bytes at a time (a word has no quote, backslash or control byte
//! unless a bit trick says so), the stack is one `u128` with a bit a level, and nothing is looked at twice.

use std::fmt;

/// How deep brackets may nest: the bits of the stack, and what serde accepts too. A document deeper
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
        Self { bytes, at: 0 }
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn step(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    const fn fail<T>(&self, what: &'static str) -> Result<T, ScanError> {
        Err(ScanError { what, at: self.at })
    }

    /// Skips the four bytes that RFC 8259 section 2 calls white space.
    #[inline]
    pub fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    /// Takes `byte` if it is next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        if here {
            self.step();
        }
        here
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), ScanError> {
        self.space();
        if self.at < self.bytes.len() {
            self.fail("something follows the JSON value")
        } else {
            Ok(())
        }
    }

    /// Reads one string token; the opening quote must be next.
    pub fn string(&mut self) -> Result<StringToken, ScanError> {
        if !self.take(b'"') {
            return self.fail("expected a string");
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            while let Some(word) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let stops = string_stops(u64::from_le_bytes(*word));
                if stops == 0 {
                    self.at = self.at.wrapping_add(8);
                } else {
                    let ahead = usize::try_from(stops.trailing_zeros() >> 3).unwrap_or(0);
                    self.at = self.at.wrapping_add(ahead);
                    break;
                }
            }
            match self.peek() {
                Some(b'"') => {
                    let end = self.at;
                    self.step();
                    return Ok(StringToken { start, end, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(byte) if byte < 0x20 => {
                    return self.fail("unescaped control character in a string");
                }
                Some(_) => self.step(),
                None => return self.fail("string without end"),
            }
        }
    }

    /// Reads one escape sequence. A surrogate must come as a pair: a lone one names no character and
    /// could not be passed on as UTF-8.
    fn escape(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        self.step();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step();
                Ok(())
            }
            Some(b'u') => {
                self.step();
                match self.hex4()? {
                    0xD800..=0xDBFF => {
                        let low = if self.take(b'\\') && self.take(b'u') {
                            self.hex4().ok()
                        } else {
                            None
                        };
                        match low {
                            Some(0xDC00..=0xDFFF) => Ok(()),
                            _ => Err(ScanError { what: "lone surrogate in a string", at: start }),
                        }
                    }
                    0xDC00..=0xDFFF => {
                        Err(ScanError { what: "lone surrogate in a string", at: start })
                    }
                    _ => Ok(()),
                }
            }
            _ => Err(ScanError { what: "unknown escape in a string", at: start }),
        }
    }

    fn hex4(&mut self) -> Result<u32, ScanError> {
        let mut value = 0u32;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return self.fail("expected four hexadecimal digits") };
            value = (value << 4) | digit;
            self.step();
        }
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail("expected a digit");
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.step();
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), ScanError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.step();
            if let Some(b'+' | b'-') = self.peek() {
                self.step();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), ScanError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at = self.at.wrapping_add(word.len());
            Ok(())
        } else {
            self.fail("expected a JSON value")
        }
    }

    /// Reads one value of any kind, with all that is in it.
    pub fn value(&mut self) -> Result<(), ScanError> {
        // A bit a level, the innermost lowest: 1 is an object, 0 an array.
        let mut stack = 0u128;
        let mut depth = 0u32;
        loop {
            // Here a value is due.
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                Some(open @ (b'{' | b'[')) => {
                    if depth == DEPTH_MAX {
                        return self.fail("brackets nest deeper than the limit depth_max (128)");
                    }
                    let is_object = open == b'{';
                    self.step();
                    self.space();
                    if !self.take(if is_object { b'}' } else { b']' }) {
                        depth = depth.wrapping_add(1);
                        stack = (stack << 1) | u128::from(is_object);
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(_) => return self.fail("expected a JSON value"),
                None => return self.fail("the text ends where a value is due"),
            }
            // Here a value has ended: close what ends with it, then go on to the next.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.space();
                let is_object = stack & 1 == 1;
                if self.take(b',') {
                    self.space();
                    if is_object {
                        self.key()?;
                    }
                    break;
                }
                if !self.take(if is_object { b'}' } else { b']' }) {
                    return self.fail(if is_object {
                        "expected ',' or '}'"
                    } else {
                        "expected ',' or ']'"
                    });
                }
                stack >>= 1;
                depth = depth.wrapping_sub(1);
            }
        }
    }

    /// Reads a member's key and its colon, up to the first byte of the value.
    #[inline]
    pub fn key(&mut self) -> Result<StringToken, ScanError> {
        let key = self.string()?;
        self.space();
        if !self.take(b':') {
            return self.fail("expected ':' behind a key");
        }
        self.space();
        Ok(key)
    }
}

/// A non-zero byte for each byte of `word` that can end a run of plain string content: a quote, a
/// backslash, a control character. Only the lowest set bit is exact, and only it is used.
#[inline]
const fn string_stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // "x - n borrows" finds bytes below n; a byte with its high bit set is no candidate.
    let control = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word;
    let quote = word ^ ONES.wrapping_mul(0x22);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = word ^ ONES.wrapping_mul(0x5C);
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
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

    #[test]
    fn the_word_trick_stops_where_the_plain_loop_would() {
        let plain =
            |bytes: &[u8; 8]| bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
        for stop in [b'"', b'\\', 0x00, 0x1F] {
            for place in 0..8 {
                for fill in [b'a', 0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7F, 0x80, 0xA2, 0xDC, 0xFF] {
                    let mut word = [fill; 8];
                    word[place] = stop;
                    let stops = string_stops(u64::from_le_bytes(word));
                    assert_eq!(
                        Some(usize::try_from(stops.trailing_zeros() / 8).unwrap()),
                        plain(&word)
                    );
                    assert_eq!(string_stops(u64::from_le_bytes([fill; 8])), 0);
                }
            }
        }
    }
}
