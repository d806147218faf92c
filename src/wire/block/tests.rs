//! What becomes lines again, what is no block, and what an agreement is.
#![allow(clippy::arithmetic_side_effects, reason = "a test's own sums")]

use super::*;
use crate::base::limits::{BLOCK_BYTES_MAX, BLOCK_LONE_BYTES_MIN, BLOCK_MESSAGES_MAX};

const MIN: usize = 1 << 10;

/// Ordinary messages of about so many bytes in all.
fn messages(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut id = 0;
    while text.len() < bytes {
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"row {id}\"}}]}}}}\n"
        );
        text.extend_from_slice(line.as_bytes());
        id += 1;
    }
    text
}

/// Bytes that nothing compresses.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next(&mut state)).collect()
}

fn pack(codec: Codec, mut lines: &[u8]) -> (Vec<u8>, Vec<Packed>) {
    let (mut coder, mut out, mut all) = (Coder::default(), Vec::new(), Vec::new());
    while !lines.is_empty() {
        let packed = coder.pack(codec, MIN, lines, &mut out);
        lines = &lines[packed.lines..];
        all.push(packed);
    }
    (out, all)
}

fn unpack(codec: Codec, mut bytes: &[u8]) -> Result<(Vec<u8>, usize), Fault> {
    let (mut coder, mut lines) = (Coder::default(), Vec::new());
    while let Some(unpacked) = coder.unpack(codec, bytes, &mut lines)? {
        bytes = &bytes[unpacked.bytes..];
    }
    Ok((lines, bytes.len()))
}

#[test]
fn what_was_packed_comes_out_the_same() {
    for codec in Codec::ALL {
        let mut kinds = vec![b"\n".to_vec(), b"{}\n".to_vec(), b"no end".to_vec()];
        for bytes in [1_000, 1_024, 5_000, BLOCK_BYTES_MAX - 1, BLOCK_BYTES_MAX, 65_536, 300_000] {
            kinds.push(messages(bytes));
            kinds.push(noise(bytes));
            kinds.push(vec![b'a'; bytes]);
        }
        for lines in kinds {
            let (bytes, all) = pack(codec, &lines);
            assert_eq!(all.iter().map(|packed| packed.bytes).sum::<usize>(), bytes.len());
            assert!(all.iter().all(|packed| packed.lines <= BLOCK_BYTES_MAX));
            assert!(bytes.len() <= lines.len() + all.len() * HEADER_BYTES);
            assert_eq!(unpack(codec, &bytes), Ok((lines, 0)), "{codec:?}");
        }
    }
}

#[test]
fn a_block_holds_whole_messages_and_not_too_many() {
    for codec in Codec::ALL {
        let (_, all) = pack(codec, &b"{}\n".repeat(250));
        let counts: Vec<_> = all.iter().map(|packed| packed.messages).collect();
        assert_eq!(counts, [BLOCK_MESSAGES_MAX, BLOCK_MESSAGES_MAX, 50]);
        // 3 lines of 30,000 bytes: two fit.
        let line = [vec![b'x'; 29_999], b"\n".to_vec()].concat();
        let (_, all) = pack(codec, &line.repeat(3));
        let sizes: Vec<_> = all.iter().map(|packed| (packed.lines, packed.messages)).collect();
        assert_eq!(sizes, [(60_000, 2), (30_000, 1)]);
        // A line that fits in no block is cut, and what follows it begins a block only where it ends one.
        let long = [vec![b'x'; 100_000], b"\n{}\n".to_vec()].concat();
        let (_, all) = pack(codec, &long);
        let sizes: Vec<_> = all.iter().map(|packed| (packed.lines, packed.messages)).collect();
        assert_eq!(sizes, [(BLOCK_BYTES_MAX, 0), (36_004, 2)]);
    }
}

#[test]
fn small_blocks_and_those_that_do_not_shrink_are_plain() {
    for codec in Codec::ALL {
        let mut lines = vec![b'a'; MIN - 4];
        lines.extend_from_slice(b"\na\n");
        assert_eq!(pack(codec, &lines).0[0], 0, "{codec:?}: below the bound");
        lines.insert(0, b'a');
        assert_eq!(pack(codec, &lines).0[0], codec.id(), "{codec:?}: at the bound");
        assert_eq!(pack(codec, &noise(5_000)).0[0], 0, "{codec:?}: noise");
    }
}

#[test]
fn a_message_that_waits_alone_is_not_held_up_for_compression() {
    for codec in Codec::ALL {
        let mut lone = vec![b'a'; BLOCK_LONE_BYTES_MIN - 2];
        lone.push(b'\n');
        assert_eq!(pack(codec, &lone).0[0], 0, "{codec:?}: below the bound");
        lone.insert(0, b'a');
        assert_eq!(pack(codec, &lone).0[0], codec.id(), "{codec:?}: what is large pays for it");
        let two = [vec![b'a'; 2 * MIN], b"\n{}\n".to_vec()].concat();
        assert_eq!(pack(codec, &two).0[0], codec.id(), "{codec:?}: it is not alone");
    }
}

#[test]
fn a_block_that_unpacks_to_more_messages_than_it_may_hold_is_none() {
    let many = b"\n".repeat(BLOCK_MESSAGES_MAX + 1);
    for (codec, packed) in [
        (Codec::Lz4, lz4_flex::block::compress(&many)),
        (Codec::Zstd, zstd::bulk::compress(&many, 3).unwrap()),
    ] {
        let length = |n: usize| u32::try_from(n).unwrap().to_be_bytes()[1..].to_vec();
        let block = [vec![codec.id()], length(many.len()), length(packed.len()), packed].concat();
        assert_eq!(unpack(codec, &block), Err(Fault::TooMany), "{codec:?}");
    }
}

#[test]
fn ordinary_traffic_shrinks_to_less_than_half() {
    let lines = messages(20_000);
    for codec in Codec::ALL {
        let (bytes, _) = pack(codec, &lines);
        assert!(bytes.len() * 2 < lines.len(), "{codec:?}: {} of {}", bytes.len(), lines.len());
    }
}

#[test]
fn a_block_that_is_cut_anywhere_is_waited_for() {
    for codec in Codec::ALL {
        let (bytes, _) = pack(codec, &messages(3_000));
        for end in 0..bytes.len() {
            assert_eq!(unpack(codec, &bytes[..end]), Ok((Vec::new(), end)), "{codec:?} at {end}");
        }
    }
}

fn block(id: u8, long: u32, short: u32, bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![id];
    block.extend_from_slice(&long.to_be_bytes()[1..]);
    block.extend_from_slice(&short.to_be_bytes()[1..]);
    block.extend_from_slice(bytes);
    block
}

#[test]
fn what_is_no_block_says_why() {
    for codec in Codec::ALL {
        let id = codec.id();
        let other = 3 - id;
        assert_eq!(unpack(codec, &[other]), Err(Fault::Codec), "the other codec");
        assert_eq!(unpack(codec, b"{\"jsonrpc\""), Err(Fault::Codec), "a bare line");
        assert_eq!(unpack(codec, &block(0, 0, 0, b"")), Err(Fault::Empty));
        // Known from the header alone, before anything of it is kept.
        let too_long = u32::try_from(BLOCK_BYTES_MAX).unwrap() + 1;
        assert_eq!(unpack(codec, &block(id, too_long, 9, b"")[..4]), Err(Fault::TooLong));
        assert_eq!(unpack(codec, &block(id, 0xFF_FFFF, 9, b"")), Err(Fault::TooLong));
        assert_eq!(unpack(codec, &block(0, 10, 9, b"")), Err(Fault::Lengths));
        assert_eq!(unpack(codec, &block(id, 10, 10, b"")), Err(Fault::Lengths));
        assert_eq!(unpack(codec, &block(id, 10, 0, b"")), Err(Fault::Lengths));
        assert_eq!(unpack(codec, &block(id, 2_000, 4, b"\xff\xff\xff\xff")), Err(Fault::Corrupt));
    }
}

#[test]
fn a_bomb_is_refused_and_no_more_is_kept_than_it_says() {
    let bomb = vec![b'0'; 10 << 20];
    for codec in Codec::ALL {
        let packed = match codec {
            Codec::Lz4 => lz4_flex::block::compress(&bomb),
            Codec::Zstd => zstd::bulk::compress(&bomb, 19).unwrap(),
        };
        // A file of ten mebibytes, in as many bytes as a block may have at most.
        let packed = &packed[..packed.len().min(50_000)];
        let short = u32::try_from(packed.len()).unwrap();
        let (mut coder, mut lines) = (Coder::default(), b"kept".to_vec());
        let says = block(codec.id(), u32::try_from(BLOCK_BYTES_MAX).unwrap(), short, packed);
        assert_eq!(coder.unpack(codec, &says, &mut lines), Err(Fault::Corrupt), "{codec:?}");
        assert_eq!(lines, b"kept");
        assert!(lines.capacity() <= 2 * BLOCK_BYTES_MAX);
    }
}

#[test]
fn a_block_with_another_byte_in_it_never_panics_nor_grows() {
    for codec in Codec::ALL {
        let (bytes, all) = pack(codec, &messages(2_000));
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xFF] {
                let mut wrong = bytes.clone();
                wrong[at] ^= flip;
                if let Ok((lines, _)) = unpack(codec, &wrong) {
                    assert!(lines.len() <= BLOCK_BYTES_MAX && all.len() == 1);
                }
            }
        }
    }
}

#[test]
fn an_offer_is_agreed_on_by_what_both_want() {
    let agreed = |line: &str, codecs| match hello(line.as_bytes(), codecs) {
        Hello::Agreed { bytes, codec, answer } => {
            assert_eq!(bytes, line.len());
            assert_eq!(read_answer(answer.trim_end().as_bytes(), codec), Ok(()));
            codec
        }
        other => panic!("{other:?}"),
    };
    for codec in Codec::ALL {
        assert_eq!(agreed(&offer(codec), Codecs::ALL), codec);
    }
    assert_eq!(agreed("ringgate-blocks/1 zstd, lz4\r\n", Codecs::ALL), Codec::Zstd);
    assert_eq!(agreed("ringgate-blocks/1 zstd,lz4\n", Codecs::NONE.with(Codec::Lz4)), Codec::Lz4);
    assert_eq!(agreed("ringgate-blocks/1 brotli,lz4\n", Codecs::ALL), Codec::Lz4);
}

#[test]
fn an_offer_that_cannot_be_taken_is_refused_with_the_reason() {
    let refused = |line: &str, codecs| match hello(line.as_bytes(), codecs) {
        Hello::Refused { answer, .. } => {
            read_answer(answer.trim_end().as_bytes(), Codec::Lz4).unwrap_err()
        }
        other => panic!("{other:?}"),
    };
    for (line, codecs, why) in [
        ("ringgate-blocks/1 lz4\n", Codecs::NONE, "this listener's compression is off"),
        (
            "ringgate-blocks/1 lz4\n",
            Codecs::NONE.with(Codec::Zstd),
            "this listener's compression is zstd",
        ),
        ("ringgate-blocks/1 brotli\n", Codecs::ALL, "this listener's compression is lz4, zstd"),
        ("ringgate-blocks/2 lz4\n", Codecs::ALL, "only version 1 is spoken here"),
    ] {
        assert_eq!(refused(line, codecs), format!("compression by lz4 is refused: {why}"));
    }
}

#[test]
fn first_bytes_of_every_other_kind_are_lines() {
    for other in ["{\"jsonrpc\":\"2.0\"}\n", "[", "\n", "GET / HTTP/1.1\r\n", "ringgate\n", "r{"] {
        assert_eq!(hello(other.as_bytes(), Codecs::ALL), Hello::Lines, "{other:?}");
    }
    let line = offer(Codec::Zstd);
    for end in 0..line.len() {
        assert_eq!(hello(&line.as_bytes()[..end], Codecs::ALL), Hello::More, "{end}");
    }
    let endless = [NAME_BYTES, &[b' '; HELLO_BYTES_MAX][..]].concat();
    assert_eq!(hello(&endless, Codecs::ALL), Hello::Lines);
}

const NAME_BYTES: &[u8] = b"ringgate-blocks/1";

#[test]
fn an_answer_that_is_none_says_what_came() {
    let old = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#;
    let why = read_answer(old, Codec::Lz4).unwrap_err();
    assert!(why.starts_with("it does not know compression") && why.contains("-32700"), "{why}");
    let why = read_answer(b"ringgate-blocks/1 zstd", Codec::Lz4).unwrap_err();
    assert!(why.contains("another codec"), "{why}");
}
