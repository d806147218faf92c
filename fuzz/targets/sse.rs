//! Event streams: no bytes panic, and the events are the same at any split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate::wire::sse::{Decoder, TooLong};

type Events = Vec<(String, String, Option<String>)>;

fn events<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Events, Result<(), TooLong>) {
    let mut decoder = Decoder::new(1 << 10);
    let mut events = Vec::new();
    for part in parts {
        let told = decoder.push(part, |event| {
            let id = event.id.map(str::to_owned);
            events.push((event.kind.to_owned(), event.data.to_owned(), id));
        });
        if told.is_err() {
            return (events, told);
        }
    }
    (events, Ok(()))
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = events(std::iter::once(stream));
    let split = events(stream.chunks(usize::from(size) + 1));
    assert_eq!(whole, split);
});
