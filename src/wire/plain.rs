//! Runs of plain string content: finds the next byte that can end one. The innermost loop of all that
//! reads JSON; knows nothing else of it.
#![expect(clippy::inline_always, reason = "the first word of a string must not cost a call")]

/// The next byte from `at` on that can end a run of plain string content, or the end.
#[inline(always)]
pub(super) fn end(bytes: &[u8], at: usize) -> usize {
    // Most keys and many values end within the first word.
    let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) else {
        return end_near(bytes, at);
    };
    match string_stops(u64::from_le_bytes(*word)) {
        0 => end_far(bytes, at.wrapping_add(8)),
        stops => at.wrapping_add(first_byte(stops)),
    }
}

/// As [`end`], for what does not end within a word: blocks that the compiler turns into vector
/// instructions, then words.
#[inline(never)]
fn end_far(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        if block.iter().fold(false, |stop, &byte| stop | is_stop(byte)) {
            break;
        }
        at = at.wrapping_add(16);
    }
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        match string_stops(u64::from_le_bytes(*word)) {
            0 => at = at.wrapping_add(8),
            stops => return at.wrapping_add(first_byte(stops)),
        }
    }
    end_near(bytes, at)
}

/// As [`end`], where less than a word is left.
#[inline(never)]
fn end_near(bytes: &[u8], from: usize) -> usize {
    let left = bytes.len().saturating_sub(from);
    if let Some(word) = bytes.last_chunk::<8>() {
        // The last word of all, without what stands before `from`. The zeros that take its place are
        // stops, so that the end is found where nothing else is.
        let shift = u32::try_from(left).unwrap_or(0).wrapping_mul(8);
        let word = u64::from_le_bytes(*word).checked_shr(64_u32.wrapping_sub(shift));
        return bytes
            .len()
            .wrapping_sub(left)
            .wrapping_add(first_byte(string_stops(word.unwrap_or(0))));
    }
    let rest = bytes.get(from..).unwrap_or_default();
    let plain = rest.iter().position(|&byte| is_stop(byte)).unwrap_or(rest.len());
    bytes.len().wrapping_sub(left).wrapping_add(plain)
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "three comparisons become vector instructions; a match or || becomes branches, twice as slow"
)]
#[inline(always)]
const fn is_stop(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Which byte of a word holds the lowest bit.
#[inline(always)]
pub(super) fn first_byte(bits: u64) -> usize {
    usize::try_from(bits.trailing_zeros() >> 3).unwrap_or(0)
}

/// A non-zero byte for each byte of `word` that can end a run of plain string content: a quote, a
/// backslash, a control character. Only the lowest set bit is exact, and only it is used.
#[inline(always)]
const fn string_stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // "x - n borrows" finds bytes below n; a byte with its high bit set is no candidate. Flipping bit 1
    // keeps control characters below 0x20 and puts the quote (0x22) right above them, and nothing else.
    let control_or_quote = (word ^ ONES.wrapping_mul(0x02)).wrapping_sub(ONES.wrapping_mul(0x21));
    let backslash = (word ^ ONES.wrapping_mul(0x5C)).wrapping_sub(ONES);
    (control_or_quote | backslash) & !word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_any_length_ends_at_its_first_stop() {
        for length in 0..80usize {
            for stop in [b'"', b'\\', 0x00, 0x1F] {
                let mut bytes = vec![b'a'; length];
                assert_eq!(end(&bytes, 0), length);
                bytes.push(stop);
                bytes.extend_from_slice(b"and \"on\"");
                for from in 0..=length {
                    assert_eq!(end(&bytes, from), length);
                }
            }
        }
        assert_eq!(end(b"ab", 7), 2, "from behind the end, the end");
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
