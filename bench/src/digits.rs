//! Sixteen bytes at a fixed place: decimal ids and hexadecimal tokens, written and read without a loop over
//! bytes. Not a general number formatter: the width never changes, so a request is patched, not formatted.

/// Width of an id and of a token, in bytes.
pub const WIDTH: usize = 16;
/// The least id: it has sixteen digits.
pub const ID_MIN: u64 = 1_000_000_000_000_000;
/// One more than the greatest id: every id is below 2^53, so a peer that holds numbers as doubles returns it.
pub const ID_END: u64 = 9_000_000_000_000_000;

const HALF: u64 = 100_000_000;

/// Writes `id` as sixteen decimal digits. Ids outside `ID_MIN..ID_END` are a fault of the caller.
pub fn id_bytes(id: u64) -> [u8; WIDTH] {
    debug_assert!((ID_MIN..ID_END).contains(&id));
    let mut bytes = [0; WIDTH];
    bytes[..8].copy_from_slice(&eight_digits(id / HALF).to_le_bytes());
    bytes[8..].copy_from_slice(&eight_digits(id % HALF).to_le_bytes());
    bytes
}

/// Reads an id at the start of `bytes`; `None` when there are not sixteen digits.
pub fn read_id(bytes: &[u8]) -> Option<u64> {
    let (high, rest) = bytes.split_first_chunk::<8>()?;
    let (low, _) = rest.split_first_chunk::<8>()?;
    Some(read_eight(u64::from_le_bytes(*high))? * HALF + read_eight(u64::from_le_bytes(*low))?)
}

/// Writes `token` as sixteen lower-case hexadecimal digits.
pub fn token_bytes(token: u64) -> [u8; WIDTH] {
    let mut bytes = [0; WIDTH];
    bytes[..8].copy_from_slice(&eight_hex(token >> 32).to_le_bytes());
    bytes[8..].copy_from_slice(&eight_hex(token & 0xFFFF_FFFF).to_le_bytes());
    bytes
}

/// Scatters the bits of `x` (the finalizer of splitmix64): neighbouring ids get unrelated tokens.
pub fn scatter(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Eight decimal digits of `n < 10^8`, first digit in the lowest byte: divides two, then four lanes at once.
fn eight_digits(n: u64) -> u64 {
    let fours = (n / 10_000) | ((n % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    (tens | ((twos - tens * 10) << 8)) + 0x3030_3030_3030_3030
}

fn read_eight(chunk: u64) -> Option<u64> {
    let digits = chunk.wrapping_sub(0x3030_3030_3030_3030);
    let not_digits = (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080;
    if not_digits != 0 {
        return None;
    }
    let twos = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF)
}

/// Eight hexadecimal digits of `n < 2^32`, first digit in the lowest byte.
fn eight_hex(n: u64) -> u64 {
    let n = u64::from(u32::try_from(n).unwrap_or(u32::MAX).swap_bytes());
    let n = (n | (n << 16)) & 0x0000_FFFF_0000_FFFF;
    let n = (n | (n << 8)) & 0x00FF_00FF_00FF_00FF;
    // Each byte, high nibble first, becomes two bytes.
    let nibbles = ((n >> 4) & 0x000F_000F_000F_000F) | ((n & 0x000F_000F_000F_000F) << 8);
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    nibbles + 0x3030_3030_3030_3030 + letters * 39
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_format_does_and_read_back() {
        let mut id = ID_MIN;
        for round in 0..200_000_u64 {
            let written = id_bytes(id);
            assert_eq!(written.as_slice(), format!("{id:016}").as_bytes());
            assert_eq!(read_id(&written), Some(id));
            id = ID_MIN + scatter(round) % (ID_END - ID_MIN);
        }
        assert_eq!(read_id(&id_bytes(ID_END - 1)), Some(ID_END - 1));
    }

    #[test]
    fn what_is_not_sixteen_digits_is_not_an_id() {
        assert_eq!(read_id(b"100000000000000"), None);
        for place in 0..WIDTH {
            for byte in 0..=255_u8 {
                let mut bytes = *b"1234567890123456";
                bytes[place] = byte;
                assert_eq!(
                    read_id(&bytes).is_some(),
                    byte.is_ascii_digit(),
                    "byte {byte} at {place}"
                );
            }
        }
    }

    #[test]
    fn a_token_is_written_as_format_does() {
        for round in 0..200_000_u64 {
            let token = scatter(round);
            assert_eq!(token_bytes(token).as_slice(), format!("{token:016x}").as_bytes());
        }
    }
}
