//! WebSocket frames: no bytes panic, and the messages are the same at any split, or end with the same code.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate::wire::ws::{Decoder, Role};

fn messages(role: Role, packs: bool, bytes: &[u8], step: usize) -> (Vec<String>, Option<u16>) {
    let mut decoder = Decoder::new(role, 1 << 10).unpacking(packs);
    let (mut events, mut from, mut to) = (Vec::new(), 0, 0);
    loop {
        match decoder.next(&bytes[from..to]) {
            Err(fault) => return (events, Some(fault.code)),
            Ok(step_) => {
                from += step_.consumed;
                let is_event = step_.event.is_some();
                events.extend(step_.event.map(|event| format!("{event:?}")));
                if step_.consumed == 0 && !is_event {
                    if to == bytes.len() {
                        return (events, None);
                    }
                    to = (to + step).min(bytes.len());
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, bytes)) = data.split_first() else { return };
    let role = if size & 1 == 0 { Role::Server } else { Role::Client };
    let packs = size & 2 != 0;
    let whole = messages(role, packs, bytes, bytes.len().max(1));
    let split = messages(role, packs, bytes, usize::from(size >> 2) + 1);
    // A fault may be told before events that a larger piece would have completed; never other ones.
    assert_eq!(whole.1, split.1);
    assert_eq!(whole.0, split.0);
});
