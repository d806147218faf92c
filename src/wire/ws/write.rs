//! Frames into bytes: a server's, unmasked, and a client's, masked.

use super::{BINARY, CLOSE, PACKED, PING, PONG, TEXT};

/// Appends a text message of a server's.
pub fn text(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, TEXT, payload);
}

/// Appends a binary message of a server's.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, BINARY, payload);
}

/// Appends a message of a server's whose payload is compressed ([`super::deflate::Deflater`]).
pub fn packed(out: &mut Vec<u8>, is_text: bool, payload: &[u8]) {
    frame(out, PACKED | if is_text { TEXT } else { BINARY }, payload);
}

/// Appends a ping without payload.
pub fn ping(out: &mut Vec<u8>) {
    frame(out, PING, b"");
}

/// Appends the pong that answers a ping.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, PONG, payload);
}

/// Appends a Close frame.
pub fn close(out: &mut Vec<u8>, code: u16) {
    frame(out, CLOSE, &code.to_be_bytes());
}

/// Appends a message of a client's, masked with a key that nobody can foresee (RFC 6455 section 5.3).
pub fn masked(out: &mut Vec<u8>, is_text: bool, payload: &[u8], key: [u8; 4]) {
    mask(out, if is_text { TEXT } else { BINARY }, payload, key);
}

/// Appends a message of a client's whose payload is compressed.
pub fn masked_packed(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    mask(out, PACKED | TEXT, payload, key);
}

/// Appends a client's ping without payload.
pub fn masked_ping(out: &mut Vec<u8>, key: [u8; 4]) {
    mask(out, PING, b"", key);
}

/// Appends a client's answer to a ping.
pub fn masked_pong(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    mask(out, PONG, payload, key);
}

/// Appends a client's Close frame.
pub fn masked_close(out: &mut Vec<u8>, code: u16, key: [u8; 4]) {
    mask(out, CLOSE, &code.to_be_bytes(), key);
}

fn mask(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) {
    head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// In place of a length: it follows in two bytes, or in eight.
const LONG: u8 = 0x7E;
const LONGER: u8 = 0x7F;

fn head(out: &mut Vec<u8>, opcode: u8, length: usize, mask: u8) {
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => out.push(mask | length),
        (_, Ok(length)) => {
            out.push(mask | LONG);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(mask | LONGER);
            out.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_shortly_as_can_be() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            text(&mut out, &vec![0; length]);
            assert_eq!(out.get(..head.len()), Some(head));
            assert_eq!(out.len(), head.len().saturating_add(length));
        }
    }
}
