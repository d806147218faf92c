//! DEFLATE back into bytes, within a bound: what grows beyond it is given up before it is held. Shared by
//! WebSocket's messages and HTTP's bodies.

use flate2::{Decompress, FlushDecompress, Status};

/// Room that is made at a time, at least.
pub(super) const STEP_BYTES: usize = 4 << 10;

/// Why bytes are not inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They would be more than the bound.
    TooLarge,
    /// They are not what they are said to be.
    Corrupt,
}

/// How far it went.
pub(super) struct Poured {
    pub(super) consumed: usize,
    /// The stream has ended; what follows is not of it.
    pub(super) is_end: bool,
}

/// Appends what `input` inflates to, until the input or the stream ends. `out` may have `max` bytes after it.
pub(super) fn pour(
    machine: &mut Decompress,
    input: &[u8],
    out: &mut Vec<u8>,
    max: usize,
) -> Result<Poured, Fault> {
    let mut consumed = 0_usize;
    loop {
        if out.len() > max {
            return Err(Fault::TooLarge);
        }
        if out.len() == out.capacity() {
            // One more than the bound, so that going over it shows.
            let room = max.saturating_sub(out.len()).saturating_add(1);
            out.reserve_exact(room.min(out.len().max(STEP_BYTES)));
        }
        let before = (machine.total_in(), out.len());
        let rest = input.get(consumed..).unwrap_or_default();
        let status =
            machine.decompress_vec(rest, out, FlushDecompress::None).map_err(|_| Fault::Corrupt)?;
        let taken = machine.total_in().saturating_sub(before.0);
        consumed = consumed.saturating_add(usize::try_from(taken).unwrap_or(usize::MAX));
        if status == Status::StreamEnd {
            let is_over = out.len() > max;
            let poured = Poured { consumed, is_end: true };
            return if is_over { Err(Fault::TooLarge) } else { Ok(poured) };
        }
        // With room left, all that could come of it has come.
        if out.len() < out.capacity() {
            return match consumed == input.len() {
                true if out.len() <= max => Ok(Poured { consumed, is_end: false }),
                true => Err(Fault::TooLarge),
                false if taken == 0 && out.len() == before.1 => Err(Fault::Corrupt),
                false => continue,
            };
        }
    }
}
