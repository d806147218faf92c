//! Compressed messages (RFC 7692, permessage-deflate): what is offered and agreed on, and the machines that
//! compress and inflate.
//!
//! Neither side keeps its window from one message to the next: a connection that did would hold some 300 KB
//! for it. So one machine of each kind serves all connections of a thread, and a quiet connection holds
//! nothing. The price is the ratio of small messages, which are therefore left as they are.

use flate2::{Compress, Compression, Decompress, FlushCompress};

use super::decoder::NOT_UTF8;
use super::{Event, Fault, INVALID_TEXT, TOO_BIG};
use crate::wire::inflate::{self, pour};

/// Messages below this many bytes leave as they are: 500 bytes compress to 270 in 18 µs, which is no packet
/// less; from here on it is more than half, and a packet.
pub const MESSAGE_BYTES_MIN: usize = 1 << 10;
/// Larger ones leave as they are as well: every other link of the shard would wait for them, some 9 ms a MiB.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Level 1 is three times as fast and leaves a third more bytes; from level 3 on a tenth of the bytes costs
/// half as much time again, and more.
const LEVEL: u32 = 2;
/// Scratch that is kept between messages.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Streams that end within a message (RFC 7692 section 7.2.3.5). Each begins anew, which costs time.
const ENDS_MAX: u32 = 8;

/// What a client of ours offers. It keeps no window itself, so it names no size for it.
pub const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The largest window, in bits; and the smallest that compressing without a header can use.
const BITS_MAX: u8 = 15;
const BITS_MIN: u8 = 9;

/// What a server agreed to: how large its window may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    bits: u8,
    /// The client asked for it.
    is_named: bool,
}

impl Agreed {
    /// What our client has agreed to: its own window is as large as it likes.
    pub const CLIENT: Self = Self { bits: BITS_MAX, is_named: false };

    /// A server's `Sec-WebSocket-Extensions`.
    pub fn answer(self) -> String {
        let mut answer = OFFER.to_owned();
        if self.is_named {
            answer.push_str("; server_max_window_bits=");
            answer.push_str(&self.bits.to_string());
        }
        answer
    }
}

/// A window's size, where it is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    /// Without a number.
    Bare,
    Bits(u8),
}

/// The parameters of an offer or an answer (section 7.1).
#[derive(Debug, Default)]
struct Parameters {
    server_forgets: bool,
    client_forgets: bool,
    server_window: Option<Window>,
    client_window: Option<Window>,
}

impl Parameters {
    /// Those of `permessage-deflate`; `None` for another extension, and where one is unknown, stands twice or
    /// has a value that it cannot have.
    fn read(extension: &str) -> Option<Self> {
        let mut parts = split(extension, ';');
        if !parts.next()?.trim().eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut read = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Window::Bits(bits(value.trim())?)),
                None => (part.trim(), Window::Bare),
            };
            let is_new = match (name, value) {
                ("server_no_context_takeover", Window::Bare) => {
                    !std::mem::replace(&mut read.server_forgets, true)
                }
                ("client_no_context_takeover", Window::Bare) => {
                    !std::mem::replace(&mut read.client_forgets, true)
                }
                ("server_max_window_bits", _) => read.server_window.replace(value).is_none(),
                ("client_max_window_bits", _) => read.client_window.replace(value).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(read)
    }
}

/// A window's size: 8 to 15, without leading zeros, as a token or a quoted string.
fn bits(value: &str) -> Option<u8> {
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let bits: u8 = bare.parse().ok().filter(|bits| (8..=BITS_MAX).contains(bits))?;
    (bits.to_string() == bare).then_some(bits)
}

/// What stands between separators, quoted strings left whole.
fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    list.split(move |c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
}

/// The first offer of a `Sec-WebSocket-Extensions` header that a server can accept. A window of 8 bits is
/// declined: compressing without a header cannot keep to it.
pub fn accept(offers: &[u8]) -> Option<Agreed> {
    let offers = std::str::from_utf8(offers).ok()?;
    split(offers, ',').find_map(|offer| {
        let offer = Parameters::read(offer)?;
        // A client may say that it knows of `client_max_window_bits`; the server's always has a value.
        match offer.server_window {
            None => Some(Agreed { bits: BITS_MAX, is_named: false }),
            Some(Window::Bits(bits)) if bits >= BITS_MIN => Some(Agreed { bits, is_named: true }),
            Some(_) => None,
        }
    })
}

/// Whether a server has accepted [`OFFER`] by this header.
///
/// # Errors
/// It answers what was not offered, or not what was (section 7.1).
pub fn is_accepted(answer: &[u8]) -> Result<bool, &'static str> {
    let answer = std::str::from_utf8(answer).unwrap_or("\u{fffd}").trim();
    if answer.is_empty() {
        return Ok(false);
    }
    let parameters = Parameters::read(answer)
        .ok_or("the server chose an extension that was not offered, or wrote it wrongly")?;
    if parameters.client_window.is_some() || parameters.server_window == Some(Window::Bare) {
        return Err("the server answered permessage-deflate with a window that was not offered");
    }
    if !parameters.server_forgets {
        return Err("the server did not agree to server_no_context_takeover, which was asked for");
    }
    Ok(true)
}

/// Compresses messages, of any connection.
#[derive(Debug, Default)]
pub struct Deflater {
    /// By the window's bits; most use the largest.
    machines: [Option<Compress>; 7],
    packed: Vec<u8>,
}

impl Deflater {
    /// The payload of a compressed message; `None` where it is too small to be, or would not become smaller.
    pub fn message(&mut self, agreed: Agreed, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() < MESSAGE_BYTES_MIN {
            return None;
        }
        let place = usize::from(agreed.bits.checked_sub(BITS_MIN)?);
        let machine = self.machines.get_mut(place)?.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(LEVEL), false, agreed.bits)
        });
        machine.reset();
        if self.packed.capacity() > KEPT_BYTES_MAX {
            self.packed = Vec::new();
        }
        self.packed.clear();
        self.packed.reserve(payload.len());
        machine.compress_vec(payload, &mut self.packed, FlushCompress::Sync).ok()?;
        // With room left everything has been written; without, it has not become smaller.
        if self.packed.len() >= payload.len() {
            return None;
        }
        self.packed.strip_suffix(&[0, 0, 0xFF, 0xFF])
    }
}

/// Inflates messages, of any connection.
#[derive(Debug, Default)]
pub struct Inflater {
    machine: Option<Box<Decompress>>,
    message: Vec<u8>,
}

/// What was taken off the end of a message (section 7.2.2), and behind it an empty last block: a message
/// that was cut off does not end with it.
const TAIL: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];

const CORRUPT: Fault =
    Fault { code: INVALID_TEXT, what: "the message is not compressed as it says" };

impl From<inflate::Fault> for Fault {
    fn from(fault: inflate::Fault) -> Self {
        match fault {
            inflate::Fault::Corrupt => CORRUPT,
            inflate::Fault::TooLarge => Self {
                code: TOO_BIG,
                what: "the message inflates to more than the limit frame_bytes_max",
            },
        }
    }
}

impl Inflater {
    /// The message that `payload` is when it is inflated: text or binary, at most `max` bytes.
    ///
    /// # Errors
    /// What the connection must be closed for.
    pub fn message(
        &mut self,
        is_text: bool,
        payload: &[u8],
        max: usize,
    ) -> Result<Event<'_>, Fault> {
        if self.message.capacity() > KEPT_BYTES_MAX {
            self.message = Vec::new();
        }
        self.message.clear();
        let machine = match &mut self.machine {
            Some(machine) => {
                machine.reset(false);
                machine
            }
            None => self.machine.insert(Box::new(Decompress::new(false))),
        };
        let mut ends = 0_u32;
        let mut is_whole = false;
        for mut rest in [payload, &TAIL] {
            while !rest.is_empty() {
                let poured = pour(machine, rest, &mut self.message, max)?;
                rest = rest.get(poured.consumed..).unwrap_or_default();
                is_whole = poured.is_end;
                if poured.is_end {
                    ends = ends.saturating_add(1);
                    if ends > ENDS_MAX {
                        return Err(CORRUPT);
                    }
                    machine.reset(false);
                }
            }
        }
        if !is_whole {
            return Err(CORRUPT);
        }
        if is_text {
            let text = simdutf8::basic::from_utf8(&self.message).map_err(|_| NOT_UTF8)?;
            return Ok(Event::Text(text));
        }
        Ok(Event::Binary(&self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    fn text(size: usize) -> String {
        "the status of the repository is open, ".chars().cycle().take(size).collect()
    }

    #[test]
    fn an_offer_is_accepted_or_declined_as_the_rfc_has_it() {
        let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let with = |bits| format!("{plain}; server_max_window_bits={bits}");
        for (offer, answer) in [
            ("permessage-deflate", Some(plain.to_owned())),
            ("Permessage-Deflate;client_max_window_bits", Some(plain.to_owned())),
            ("permessage-deflate; client_max_window_bits=8", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=9", Some(with(9))),
            ("permessage-deflate; server_max_window_bits=\"15\"", Some(with(15))),
            (plain, Some(plain.to_owned())),
            // The first that can be accepted.
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate",
                Some(plain.into()),
            ),
            ("x-other; a=\"b, c; d\", permessage-deflate", Some(plain.to_owned())),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(with(10))),
            ("", None),
            ("permessage-bzip2", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=010", None),
            ("permessage-deflate; server_max_window_bits=+10", None),
            ("permessage-deflate; server_max_window_bits=ten", None),
            ("permessage-deflate; client_max_window_bits=16", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover=10", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", None),
            ("permessage-deflate; mode=fast", None),
            ("permessage-deflate;", None),
        ] {
            assert_eq!(accept(offer.as_bytes()).map(Agreed::answer), answer, "{offer}");
        }
        assert_eq!(accept(b"permessage-deflate\xff"), None);
    }

    #[test]
    fn a_servers_answer_must_keep_to_what_was_offered() {
        for (answer, accepted) in [
            ("", Some(false)),
            (OFFER, Some(true)),
            ("permessage-deflate; server_no_context_takeover", Some(true)),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=8",
                Some(true),
            ),
            ("permessage-deflate", None),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits", None),
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=10", None),
            ("permessage-deflate; server_no_context_takeover; x", None),
            ("permessage-deflate; server_no_context_takeover, permessage-deflate", None),
            ("x-webkit-deflate-frame", None),
        ] {
            assert_eq!(is_accepted(answer.as_bytes()).ok(), accepted, "{answer}");
        }
    }

    #[test]
    fn what_is_compressed_inflates_to_what_it_was_with_any_window() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        for bits in BITS_MIN..=BITS_MAX {
            let agreed = Agreed { bits, is_named: true };
            for size in [1_024, 5_000, 100_000, 9_999] {
                let text = text(size);
                let packed = deflater.message(agreed, text.as_bytes()).expect("it gets smaller");
                assert!(packed.len() < size / 2);
                let event = inflater.message(true, packed, MAX);
                assert_eq!(event, Ok(Event::Text(&text)), "{bits} bits, {size} bytes");
            }
        }
        assert!(inflater.message.capacity() <= 2 * KEPT_BYTES_MAX || deflater.packed.is_empty());
    }

    #[test]
    fn what_is_small_or_does_not_shrink_stays_as_it_is() {
        let mut deflater = Deflater::default();
        assert_eq!(deflater.message(Agreed::CLIENT, text(MESSAGE_BYTES_MIN - 1).as_bytes()), None);
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(4_000)
        .collect();
        assert_eq!(deflater.message(Agreed::CLIENT, &noise), None);
    }

    #[test]
    fn the_examples_of_the_rfc_are_hello() {
        let mut inflater = Inflater::default();
        for packed in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            // No compression; the last block marked as such; two blocks.
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            let event = inflater.message(true, packed, 5);
            assert_eq!(event, Ok(Event::Text("Hello")), "{packed:x?}");
        }
        assert_eq!(inflater.message(false, &[0], 0), Ok(Event::Binary(b"")));
    }

    #[test]
    fn a_bomb_is_given_up_at_the_bound() {
        let mut deflater = Deflater::default();
        let zeros = vec![0; 32 << 20];
        let packed = deflater.message(Agreed::CLIENT, &zeros).expect("it gets smaller").to_vec();
        assert!(packed.len() < 64 << 10, "{} bytes", packed.len());
        let mut inflater = Inflater::default();
        let fault = inflater.message(false, &packed, MAX).expect_err("it is too large");
        assert_eq!(fault.code, TOO_BIG);
        assert!(inflater.message.capacity() <= 2 * MAX, "{}", inflater.message.capacity());
        assert!(inflater.message(false, &packed, 32 << 20).is_ok(), "the bound itself is taken");
        assert!(inflater.message(false, &packed, (32 << 20) - 1).is_err());
    }

    #[test]
    fn what_is_cut_off_or_no_deflate_is_1007() {
        let mut inflater = Inflater::default();
        let packed =
            Deflater::default().message(Agreed::CLIENT, text(4_000).as_bytes()).unwrap().to_vec();
        for length in 0..packed.len() {
            let cut = packed.get(..length).unwrap();
            let code = inflater.message(false, cut, MAX).map_err(|fault| fault.code).err();
            assert_eq!(code, Some(INVALID_TEXT), "{length} of {} bytes", packed.len());
        }
        for bytes in [&[0xff; 20][..], &[], &[0x06, 0x00], &[3, 0].repeat(100)] {
            assert_eq!(inflater.message(false, bytes, MAX).map_err(|f| f.code), Err(INVALID_TEXT));
        }
        let not_text = [0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00];
        assert_eq!(inflater.message(true, &not_text, MAX).map_err(|f| f.code), Err(INVALID_TEXT));
        assert_eq!(inflater.message(false, &not_text, MAX), Ok(Event::Binary(&[0xff])));
    }
}
