//! `LineCutter`: any split of a stream gives the same lines as the whole, and keeps the same rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate::wire::LineCutter;

fuzz_target!(|data: &[u8]| {
    // The first byte says how many of the next ones are the sizes of the chunks, over and over.
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((sizes, stream)) = rest.split_at_checked(usize::from(count % 16)) else { return };

    let mut expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let unfinished = expected.pop().unwrap_or_default();
    let expected: Vec<&[u8]> = expected
        .into_iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();

    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut cutter = LineCutter::default();
    let mut buffer = Vec::new();
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| usize::from(*size) + 1);
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        buffer.extend_from_slice(chunk);
        while let Some(line) = cutter.next(&buffer) {
            lines.push(line.to_vec());
        }
        // Dropping what is done with is the caller's to do whenever it likes: here, for even sizes.
        if size % 2 == 0 {
            buffer.drain(..cutter.consumed());
            cutter.shifted();
            assert_eq!(cutter.consumed(), 0);
        }
    }
    assert_eq!(lines, expected);
    assert_eq!(cutter.pending(buffer.len()), unfinished.len());
    assert_eq!(&buffer[cutter.consumed()..], unfinished);
});
