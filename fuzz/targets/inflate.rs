//! What strangers compress: no bytes panic, nothing grows over its bound, what we compress comes back, and a body
//! is the same in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate::wire::coding::{Coding, Decoder, Encoder, Wanted, decoded};
use ringgate::wire::ws::Event;
use ringgate::wire::ws::deflate::{Agreed, Deflater, Inflater, accept, is_accepted};

const MAX: usize = 64 << 10;

fn in_pieces(decoder: Option<Decoder>, bytes: &[u8], step: usize) -> Option<Vec<u8>> {
    let (mut decoder, mut out) = (decoder?, Vec::new());
    for piece in bytes.chunks(step) {
        decoder.push(piece, &mut out, MAX).ok()?;
        assert!(out.len() <= MAX);
    }
    decoder.is_whole().then_some(out)
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, bytes)) = data.split_first() else { return };
    let step = usize::from(size) + 1;
    let mut inflater = Inflater::default();
    for is_text in [false, true] {
        match inflater.message(is_text, bytes, MAX) {
            Ok(Event::Text(text)) => assert!(text.len() <= MAX),
            Ok(Event::Binary(bytes)) => assert!(bytes.len() <= MAX),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    // A machine that has met anything serves the next message as a new one does.
    if let Some(packed) = Deflater::default().message(Agreed::CLIENT, bytes) {
        assert_eq!(inflater.message(false, packed, bytes.len()), Ok(Event::Binary(bytes)));
    }
    let mut encoder = Encoder::default();
    for coding in [Coding::Gzip, Coding::Zstd] {
        let whole = decoded(coding, bytes, MAX).ok();
        assert_eq!(in_pieces(Decoder::new(coding), bytes, step), whole);
        // An event stream may have more frames, and has what a body has.
        if whole.is_some() {
            assert_eq!(in_pieces(Decoder::of_stream(coding), bytes, step), whole);
        }
        let coded = encoder.body(coding, bytes, true).expect("it can be coded");
        assert_eq!(decoded(coding, coded, bytes.len()).as_deref(), Ok(bytes));
    }
    let wanted = Wanted::read(bytes);
    assert!(wanted.coding.is_some() || !wanted.only);
    if let Some(agreed) = accept(bytes) {
        assert_eq!(is_accepted(agreed.answer().as_bytes()), Ok(true), "we take what we answer");
    }
    let _either_way = is_accepted(bytes);
});
