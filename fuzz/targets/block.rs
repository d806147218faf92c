//! Blocks: no bytes panic or grow beyond what a block may hold; lines come out the same at any split, or end with the
//! same fault; and what was packed is unpacked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate::base::limits::BLOCK_BYTES_MAX;
use ringgate::wire::block::{Codec, Codecs, Coder, Fault, Hello, hello};

fn unpack(codec: Codec, bytes: &[u8], step: usize) -> (Vec<u8>, Option<Fault>) {
    let (mut coder, mut lines) = (Coder::default(), Vec::new());
    let (mut from, mut to) = (0, 0);
    loop {
        let before = lines.len();
        match coder.unpack(codec, &bytes[from..to], &mut lines) {
            Err(fault) => return (lines, Some(fault)),
            Ok(Some(block)) => {
                assert!(block.lines <= BLOCK_BYTES_MAX && block.lines == lines.len() - before);
                from += block.bytes;
            }
            Ok(None) if to == bytes.len() => return (lines, None),
            Ok(None) => to = (to + step).min(bytes.len()),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, bytes)) = data.split_first() else { return };
    let codec = if size & 1 == 0 { Codec::Lz4 } else { Codec::Zstd };
    let whole = unpack(codec, bytes, bytes.len().max(1));
    assert_eq!(whole, unpack(codec, bytes, usize::from(size >> 1) + 1));

    if let Hello::Agreed { bytes: length, .. } | Hello::Refused { bytes: length, .. } =
        hello(bytes, Codecs::ALL)
    {
        assert!(bytes[..length].ends_with(b"\n"));
    }

    let (mut coder, mut packed, mut done) = (Coder::default(), Vec::new(), 0);
    while done < bytes.len() {
        done += coder.pack(codec, usize::from(size), &bytes[done..], &mut packed).lines;
    }
    assert_eq!(unpack(codec, &packed, packed.len().max(1)), (bytes.to_vec(), None));
});
