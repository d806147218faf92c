//! WebSocket around messages (RFC 6455 section 5): a client's masked text frames, a server's frames. Not the upgrade:
//! see `handshake`.

use std::ops::Range;

use crate::check::{Checker, Step};
use crate::fault::Fault;
use crate::request::Request;
use crate::slots::Slots;

/// The key of every frame that a load sends. It need not be a secret here, but it must have no byte 0, or a server
/// would be spared the unmasking.
pub const KEY: [u8; 4] = [0x5A, 0xC3, 0x17, 0xE8];

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// In place of a length: it follows in two bytes, or in eight.
const LONG: u8 = 0x7E;
const LONGER: u8 = 0x7F;

/// Puts a message into a masked text frame: it is masked once, and id and token are masked as they are written.
pub fn dress(message: &Request) -> Request {
    let payload = message.bytes.strip_suffix(b"\n").unwrap_or(&message.bytes);
    let mut bytes = Vec::new();
    frame(TEXT, payload, &mut bytes);
    let shift = bytes.len() - payload.len();
    Request {
        message: shift..bytes.len(),
        bytes,
        id_at: message.id_at + shift,
        token_at: message.token_at.map(|at| at + shift),
        mask: Some(KEY),
        kind: message.kind,
        session_at: None,
    }
}

/// Appends a masked text message.
pub fn text(payload: &[u8], out: &mut Vec<u8>) {
    frame(TEXT, payload, out);
}

fn frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | LONG);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | LONGER);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// What the frame at the start of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    opcode: u8,
    is_final: bool,
    /// Where its payload lies; its end is the frame's.
    pub payload: Range<usize>,
}

/// Bytes that a server must not send.
#[derive(Debug, PartialEq, Eq)]
pub struct NoFrame;

impl Frame {
    /// The frame at the start of `bytes`: `None` when it is not whole yet, `Err` when a server must not send it.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, NoFrame> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        // Reserved bits belong to extensions, of which none was offered; a server does not mask.
        if first & 0x70 != 0 || second & MASKED != 0 {
            return Err(NoFrame);
        }
        let (start, length): (usize, usize) = match second {
            LONG => match bytes.get(2..4).map(<[u8; 2]>::try_from) {
                Some(Ok(length)) => (4, usize::from(u16::from_be_bytes(length))),
                _ => return Ok(None),
            },
            LONGER => match bytes.get(2..10).map(<[u8; 8]>::try_from) {
                Some(Ok(length)) => {
                    (10, usize::try_from(u64::from_be_bytes(length)).map_err(|_| NoFrame)?)
                }
                _ => return Ok(None),
            },
            length => (2, usize::from(length)),
        };
        let end = start.checked_add(length).ok_or(NoFrame)?;
        let frame =
            Self { opcode: first & 0x0F, is_final: first & FINAL != 0, payload: start..end };
        Ok((bytes.len() >= end).then_some(frame))
    }

    /// Whether it is a whole message by itself, as nearly all are.
    pub fn is_whole(&self) -> bool {
        self.opcode == TEXT && self.is_final
    }
}

/// The frames of one connection.
#[derive(Debug, Default)]
pub struct Frames {
    /// A message that comes in fragments.
    begun: Option<Vec<u8>>,
}

impl Frames {
    /// Judges the frame that `bytes` begin with; a pong goes to `out`.
    pub fn step(
        &mut self,
        bytes: &[u8],
        checker: &mut Checker,
        slots: &mut Slots,
        salt: u64,
        out: &mut Vec<u8>,
    ) -> Step {
        // What is no frame leaves no place where the next one could begin.
        let broken = Step::Wrong(bytes.len(), Fault::Malformed, None);
        let frame = match Frame::read(bytes) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Step::Partial,
            Err(NoFrame) => return broken,
        };
        let len = frame.payload.end;
        let payload = &bytes[frame.payload];
        let step = match (frame.opcode, frame.is_final, self.begun.take()) {
            (PING, true, begun) => {
                self.begun = begun;
                self::frame(PONG, payload, out);
                Step::Passed(len)
            }
            (PONG, true, begun) => {
                self.begun = begun;
                Step::Passed(len)
            }
            (CLOSE, ..) => Step::Wrong(len, Fault::Refused, None),
            (TEXT, true, None) => checker.whole(payload, slots, salt, None),
            (TEXT, false, None) => {
                self.begun = Some(payload.to_vec());
                return Step::Passed(len);
            }
            (0, is_final, Some(mut begun)) => {
                begun.extend_from_slice(payload);
                if is_final {
                    checker.whole(&begun, slots, salt, None)
                } else {
                    self.begun = Some(begun);
                    return Step::Passed(len);
                }
            }
            _ => return broken,
        };
        match step {
            Step::Right(_, waiting) => Step::Right(len, waiting),
            Step::Wrong(_, fault, waiting) => Step::Wrong(len, fault, waiting),
            Step::Passed(_) | Step::Partial => Step::Passed(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Era, Kind, Tool};

    #[test]
    fn a_dressed_request_unmasks_to_the_message() {
        for message_bytes in [16, 40, 70_000] {
            let tool =
                Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes };
            let plain = Request::new(Kind::ToolsCall, Era::Legacy, &tool);
            let dressed = dress(&plain);
            let (mut line, mut framed) = (Vec::new(), Vec::new());
            plain.render(1_234_567_890_123_456, 0xABCD, b"", &mut line);
            dressed.render(1_234_567_890_123_456, 0xABCD, b"", &mut framed);
            let payload: Vec<u8> = framed[dressed.message.clone()]
                .iter()
                .zip(KEY.iter().cycle())
                .map(|(byte, key)| byte ^ key)
                .collect();
            assert_eq!([payload.as_slice(), b"\n"].concat(), line);
        }
    }

    #[test]
    fn a_frame_is_cut_by_its_length_and_a_masked_one_is_refused() {
        assert_eq!(Frame::read(&[0x81, 2, b'h']), Ok(None));
        let frame = Frame::read(&[0x81, 2, b'h', b'i', 0x81]).unwrap().unwrap();
        assert!(frame.is_whole());
        assert_eq!(frame.payload, 2..4);
        let long = [&[0x81, 126, 1, 0][..], &[b'x'; 256]].concat();
        assert_eq!(Frame::read(&long).unwrap().unwrap().payload, 4..260);
        assert_eq!(Frame::read(&[0x81, 0x82, 0, 0, 0, 0, 1, 1]), Err(NoFrame));
        assert_eq!(Frame::read(&[0xC1, 0]), Err(NoFrame));
    }
}
