//! Frames to messages (RFC 6455 section 5). Payloads are unmasked as they are copied out of what was read;
//! text is checked as it comes, so that what is wrong ends the connection before the rest of it has come.

use super::{
    BINARY, CLOSE, CONTINUATION, CONTROL_BYTES_MAX, Fault, INVALID_TEXT, PACKED, PING, PONG,
    PROTOCOL_ERROR, TEXT, TOO_BIG,
};

/// Which end we are: a client's frames are masked, a server's are not (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// A message that is compressed, of which nothing is known yet: to be given to
    /// [`super::deflate::Inflater`], which a shard's connections share.
    Packed {
        is_text: bool,
        payload: &'a [u8],
    },
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    Pong,
    /// The peer closes; to be answered by the same code.
    Close(Option<u16>),
}

/// One step: how many bytes are done with, and what they completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    pub consumed: usize,
    pub event: Option<Event<'a>>,
}

/// See the module.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// Longest message, in bytes.
    max: usize,
    frame: Option<Frame>,
    /// The message that is being put together, and of what kind it is.
    message: Vec<u8>,
    kind: Option<u8>,
    /// Messages may be compressed; and the one that is put together is.
    unpacks: bool,
    is_packed: bool,
    /// Bytes of it that are known to be UTF-8.
    checked: usize,
    /// A control frame's payload: while it comes, and while it is told.
    control: Vec<u8>,
    kept: Vec<u8>,
    /// The message was told; the next call begins another.
    is_told: bool,
}

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    is_final: bool,
    left: u64,
    mask: Option<[u8; 4]>,
    /// Bytes of the payload before this one, modulo 4.
    at: usize,
}

const fn wrong(what: &'static str) -> Fault {
    Fault { code: PROTOCOL_ERROR, what }
}

pub(super) const NOT_UTF8: Fault =
    Fault { code: INVALID_TEXT, what: "a text message must be UTF-8" };

impl Decoder {
    pub const fn new(role: Role, max: usize) -> Self {
        Self {
            role,
            max,
            frame: None,
            message: Vec::new(),
            kind: None,
            unpacks: false,
            is_packed: false,
            checked: 0,
            control: Vec::new(),
            kept: Vec::new(),
            is_told: false,
        }
    }

    /// Messages may be compressed: permessage-deflate was agreed on.
    #[must_use]
    pub const fn unpacking(mut self, unpacks: bool) -> Self {
        self.unpacks = unpacks;
        self
    }

    /// A message has begun and not ended.
    pub const fn is_partial(&self) -> bool {
        self.kind.is_some() && !self.is_told
    }

    /// Takes bytes up to the end of a frame, or all there are. Call again with the rest until nothing is
    /// consumed.
    ///
    /// # Errors
    /// What the connection must be closed for.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Step<'_>, Fault> {
        if std::mem::take(&mut self.is_told) {
            self.kind = None;
            self.checked = 0;
            // A large message's buffer is not kept for small ones.
            if self.message.capacity() > 64 << 10 {
                self.message = Vec::new();
            }
            self.message.clear();
        }
        let mut frame = match self.frame.take() {
            Some(frame) => (frame, 0),
            None => match self.head(bytes)? {
                Some(found) => found,
                None => return Ok(Step { consumed: 0, event: None }),
            },
        };
        let rest = bytes.get(frame.1..).unwrap_or_default();
        let length = usize::try_from(frame.0.left).unwrap_or(usize::MAX).min(rest.len());
        let payload = rest.get(..length).unwrap_or_default();
        let consumed = frame.1.saturating_add(length);
        let into = if frame.0.opcode >= CLOSE { &mut self.control } else { &mut self.message };
        append(into, payload, frame.0.mask, frame.0.at);
        frame.0.at = frame.0.at.wrapping_add(length) & 3;
        frame.0.left = frame.0.left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        let is_whole = frame.0.left == 0;
        let (opcode, is_final) = (frame.0.opcode, frame.0.is_final);
        if !is_whole {
            self.frame = Some(frame.0);
        }
        if opcode < CLOSE {
            self.check_text(is_whole && is_final)?;
        }
        if !is_whole {
            return Ok(Step { consumed, event: None });
        }
        let event = if opcode >= CLOSE {
            Some(self.control_event(opcode)?)
        } else {
            self.message_event(is_final)
        };
        Ok(Step { consumed, event })
    }

    /// Reads a frame's head; `None` if it is not whole yet.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<(Frame, usize)>, Fault> {
        let Some((&first, after)) = bytes.split_first() else { return Ok(None) };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0F);
        // Wrong bits are told before the rest has come. RSV1 stands in a message's first frame only (RFC 7692
        // section 6).
        let is_packed = first & PACKED != 0;
        if first & 0x70 & !PACKED != 0
            || is_packed && !(self.unpacks && matches!(opcode, TEXT | BINARY))
        {
            return Err(wrong("reserved bits are set, and no extension was agreed on"));
        }
        match opcode {
            CONTINUATION if self.kind.is_none() => {
                return Err(wrong("a continuation of nothing"));
            }
            TEXT | BINARY if self.kind.is_some() => {
                return Err(wrong("a message within a message"));
            }
            CLOSE | PING | PONG if !is_final => return Err(wrong("a control frame in pieces")),
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => {}
            _ => return Err(wrong("a reserved opcode")),
        }
        let Some((&second, after)) = after.split_first() else { return Ok(None) };
        let is_masked = second & 0x80 != 0;
        if is_masked != (self.role == Role::Server) {
            return Err(wrong("a client masks its frames, and a server does not"));
        }
        let (left, after) = match second & 0x7F {
            126 => {
                let Some((length, after)) = after.split_first_chunk::<2>() else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(*length));
                if length < 126 {
                    return Err(wrong("a length must be written as shortly as can be"));
                }
                (length, after)
            }
            127 => {
                let Some((length, after)) = after.split_first_chunk::<8>() else { return Ok(None) };
                let length = u64::from_be_bytes(*length);
                if u16::try_from(length).is_ok() || length >> 63 != 0 {
                    return Err(wrong("a length must be written as shortly as can be"));
                }
                (length, after)
            }
            length => (u64::from(length), after),
        };
        if opcode >= CLOSE && left > u64::try_from(CONTROL_BYTES_MAX).unwrap_or(u64::MAX) {
            return Err(wrong("a control frame of more than 125 bytes"));
        }
        let (mask, after) = if is_masked {
            let Some((mask, after)) = after.split_first_chunk::<4>() else { return Ok(None) };
            (Some(*mask), after)
        } else {
            (None, after)
        };
        if opcode < CLOSE {
            let whole =
                usize::try_from(left).ok().and_then(|left| left.checked_add(self.message.len()));
            let begins = opcode != CONTINUATION;
            if begins {
                self.is_packed = is_packed;
            }
            // What cannot be compressed grows: by five bytes in each of its blocks.
            let growth = if self.is_packed { (self.max >> 6).saturating_add(64) } else { 0 };
            if whole.is_none_or(|whole| whole > self.max.saturating_add(growth)) {
                return Err(Fault {
                    code: TOO_BIG,
                    what: "the message is larger than the limit frame_bytes_max",
                });
            }
            if begins {
                self.kind = Some(opcode);
            }
        }
        let length = bytes.len().saturating_sub(after.len());
        Ok(Some((Frame { opcode, is_final, left, mask, at: 0 }, length)))
    }

    /// What has come of a text message must be the beginning of one, and all of it must be one.
    fn check_text(&mut self, is_end: bool) -> Result<(), Fault> {
        if self.kind != Some(TEXT) || self.is_packed {
            return Ok(());
        }
        let unchecked = self.message.get(self.checked..).unwrap_or_default();
        match simdutf8::compat::from_utf8(unchecked) {
            Ok(_) => self.checked = self.message.len(),
            Err(error) if error.error_len().is_none() && !is_end => {
                self.checked = self.checked.saturating_add(error.valid_up_to());
            }
            Err(_) => return Err(NOT_UTF8),
        }
        Ok(())
    }

    fn message_event(&mut self, is_final: bool) -> Option<Event<'_>> {
        if !is_final {
            return None;
        }
        self.is_told = true;
        Some(match self.kind {
            kind if self.is_packed => {
                Event::Packed { is_text: kind == Some(TEXT), payload: &self.message }
            }
            // Checked piece by piece.
            Some(TEXT) => Event::Text(std::str::from_utf8(&self.message).unwrap_or_default()),
            _ => Event::Binary(&self.message),
        })
    }

    fn control_event(&mut self, opcode: u8) -> Result<Event<'_>, Fault> {
        // Its payload is small, and told at once.
        self.kept.clear();
        std::mem::swap(&mut self.control, &mut self.kept);
        match opcode {
            PING => Ok(Event::Ping(&self.kept)),
            PONG => Ok(Event::Pong),
            _ => close(&self.kept),
        }
    }
}

/// Section 5.5.1.
fn close(payload: &[u8]) -> Result<Event<'static>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Event::Close(None)),
            _ => Err(wrong("a Close frame of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(wrong("a Close frame with a code that must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Fault {
            code: INVALID_TEXT,
            what: "the reason of a Close frame must be UTF-8",
        });
    }
    Ok(Event::Close(Some(code)))
}

/// Appends a payload, unmasked: eight bytes at a time, which the compiler makes wider still.
fn append(into: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>, at: usize) {
    let start = into.len();
    into.extend_from_slice(payload);
    let Some(mut mask) = mask else { return };
    mask.rotate_left(at & 3);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let written = into.get_mut(start..).unwrap_or_default();
    let (chunks, rest) = written.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::super::write;
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 250];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                out.push(0xFE);
                out.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        out.extend(MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
        out
    }

    /// What the bytes are, read in pieces of this size; the code that ends them, if one does.
    fn read(bytes: &[u8], step: usize) -> (Vec<String>, Option<u16>) {
        let mut decoder = Decoder::new(Role::Server, 1_000);
        let (mut events, mut from, mut to) = (Vec::new(), 0, 0);
        loop {
            match decoder.next(&bytes[from..to]) {
                Err(fault) => return (events, Some(fault.code)),
                Ok(Step { consumed, event }) => {
                    from += consumed;
                    let is_event = event.is_some();
                    events.extend(event.map(|event| format!("{event:?}")));
                    if consumed == 0 && !is_event {
                        if to == bytes.len() {
                            return (events, None);
                        }
                        to = (to + step).min(bytes.len());
                    }
                }
            }
        }
    }

    fn all(bytes: &[u8]) -> (Vec<String>, Option<u16>) {
        let whole = read(bytes, bytes.len().max(1));
        for step in [1, 2, 3, 5, 9] {
            assert_eq!(read(bytes, step), whole, "in pieces of {step}");
        }
        whole
    }

    fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn messages_come_whole_or_in_fragments_with_control_frames_between() {
        let bytes = joined(&[
            frame(0x81, b"one"),
            frame(0x01, "zw\u{f6}".as_bytes()),
            frame(0x89, b"p"),
            frame(0x00, b""),
            frame(0x80, b"lf"),
            frame(0x82, &[0xFF; 300]),
            frame(0x8A, b""),
            frame(0x81, b""),
            frame(0x88, &[3, 232]),
        ]);
        let (events, code) = all(&bytes);
        assert_eq!(code, None);
        assert_eq!(events[0], "Text(\"one\")");
        assert_eq!(events[1], "Ping([112])");
        assert_eq!(events[2], "Text(\"zw\u{f6}lf\")");
        assert!(events[3].starts_with("Binary([255"));
        assert_eq!(events[4..], ["Pong", "Text(\"\")", "Close(Some(1000))"]);
    }

    #[test]
    fn what_breaks_the_protocol_is_1002() {
        let long = frame(0x89, &[0; 126]);
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7F;
        for bytes in [
            frame(0xC1, b""),
            frame(0x83, b""),
            frame(0x8B, b""),
            frame(0x80, b"x"),
            joined(&[frame(0x01, b"a"), frame(0x81, b"b")]),
            frame(0x09, b""),
            long,
            unmasked,
            vec![0x81, 0xFE, 0, 125, 0, 0, 0, 0],
            vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
            frame(0x88, &[3]),
            frame(0x88, &[3, 236]),
            frame(0x88, &[3, 237]),
            frame(0x88, &[0, 0]),
            frame(0x88, &[19, 136]),
        ] {
            assert_eq!(all(&bytes).1, Some(PROTOCOL_ERROR), "{bytes:?}");
        }
    }

    #[test]
    fn text_that_is_no_utf8_is_1007_as_soon_as_it_shows() {
        for bytes in [
            frame(0x81, &[0xFF]),
            frame(0x81, &[0xC3]),
            joined(&[frame(0x01, &[0xC3]), frame(0x80, b"x")]),
            // Not at the end of the message: as soon as no rest could make it right.
            frame(0x01, &[0xF4, 0x90]),
            frame(0x88, &[3, 232, 0xFF]),
        ] {
            assert_eq!(all(&bytes).1, Some(INVALID_TEXT), "{bytes:?}");
        }
        let mut half = frame(0x81, &[0xF4, 0x90, 0x80, 0x80]);
        half.truncate(8);
        assert_eq!(all(&half).1, Some(INVALID_TEXT), "before the frame has ended");
        let split = joined(&[frame(0x01, &[0xC3]), frame(0x80, &[0xB6])]);
        assert_eq!(all(&split), (vec!["Text(\"\u{f6}\")".to_owned()], None));
    }

    #[test]
    fn a_message_is_bounded_over_all_its_fragments() {
        assert_eq!(all(&frame(0x82, &[0; 1_001])).1, Some(TOO_BIG));
        let parts = joined(&[frame(0x02, &[0; 600]), frame(0x80, &[0; 600])]);
        assert_eq!(all(&parts).1, Some(TOO_BIG));
        assert_eq!(all(&frame(0x82, &[0; 1_000])).1, None);
    }

    #[test]
    fn what_we_write_as_a_client_reads_as_it_was() {
        let mut bytes = Vec::new();
        write::masked(&mut bytes, true, b"hello", MASK);
        assert_eq!(all(&bytes).0, ["Text(\"hello\")"]);
        let mut decoder = Decoder::new(Role::Client, 100);
        let mut bytes = Vec::new();
        write::text(&mut bytes, b"hello");
        assert_eq!(decoder.next(&bytes).unwrap().event, Some(Event::Text("hello")));
    }
}
