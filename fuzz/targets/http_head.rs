//! HTTP/1.1 heads and bodies: no bytes panic, a head that was read says what it is, and a body comes out the same
//! at any split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate::wire::http1::{Body, Framing, head, response};

fn body(framing: Framing, bytes: &[u8], sizes: &[u8]) -> Option<(Vec<u8>, usize, bool)> {
    let mut body = Body::new(framing);
    let (mut data, mut from, mut to) = (Vec::new(), 0, 0);
    let mut sizes = sizes.iter().cycle();
    while !body.is_done() {
        let piece = body.next(&bytes[from..to]).ok()?;
        data.extend_from_slice(piece.data);
        from += piece.consumed;
        if piece.consumed == 0 {
            if to == bytes.len() {
                break;
            }
            to = (to + sizes.next().map_or(bytes.len(), |size| usize::from(*size) + 1)).min(bytes.len());
        }
    }
    Some((data, from, body.is_done()))
}

fuzz_target!(|data: &[u8]| {
    let Some((sizes, bytes)) = data.split_at_checked(4) else { return };
    let mut slots = head::slots();
    if let Ok(Some((head, length))) = head::read(bytes, &mut slots) {
        assert!(length <= bytes.len() && length <= ringgate::wire::http1::HEAD_BYTES_MAX);
        assert!(head.minor == 0 || head.host.is_some_and(|host| !host.is_empty()));
        assert!(head.path == "*" || head.path.starts_with('/'));
        let rest = &bytes[length..];
        assert_eq!(body(head.framing, rest, sizes), body(head.framing, rest, &[]));
    }
    let mut slots = head::slots();
    if let Ok(Some((head, length))) = response::read(bytes, false, &mut slots) {
        let rest = &bytes[length..];
        assert_eq!(body(head.framing, rest, sizes), body(head.framing, rest, &[]));
    }
});
