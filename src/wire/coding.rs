//! Content codings of HTTP (RFC 9110 section 8.4): which one a peer wants, bodies into it and back. Inflating is
//! bounded, and gives up before it holds more than the bound. Knows no head and no connection.
//!
//! `zstd` at level 3 makes bodies as small as gzip at its level 6 does, in a fifth of the time; `gzip` is for
//! whoever knows nothing else. `br` is not offered: at the speed of either it is no smaller.

use flate2::{Compress, Compression, Decompress, FlushCompress, Status};
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

use super::inflate::{STEP_BYTES, pour};

pub use super::inflate::Fault;

/// A coding that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Zstd,
}

/// `Accept-Encoding` of ours: what is decoded here.
pub const TAKEN: &str = "zstd, gzip";
/// Bodies below this many bytes are left as they are: they fit a packet.
pub const BODY_BYTES_MIN: usize = 1 << 10;
/// Larger ones likewise: every other link of the shard would wait for them, up to 9 ms a MiB. It bounds what the machines
/// keep as well: of zstd 1.3 MB a shard.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// As [`super::ws::deflate`] has it.
const GZIP_LEVEL: u32 = 2;
const ZSTD_LEVEL: i32 = 3;
/// Scratch that is kept between bodies.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// The largest window of `zstd` in HTTP is 8 MB (RFC 9659 section 3), in bits.
const WINDOW_BITS_MAX: u32 = 23;
/// Frames of `zstd` that a body may consist of: each begins anew, for a quarter of a microsecond, and may have no more
/// than nine bytes. Of an event stream, those that bring nothing, one after the other.
const FRAMES_MAX: u32 = 16;

impl Coding {
    /// Its name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("zstd") {
            Some(Self::Zstd)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else {
            None
        }
    }

    /// What a body with this `Content-Encoding` is coded in; `None` for nothing.
    ///
    /// # Errors
    /// In something that is not spoken here, or in several codings, one over the other.
    pub fn of_body(encoding: &[u8]) -> Result<Option<Self>, Unknown> {
        let name = encoding.trim_ascii();
        if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
            return Ok(None);
        }
        Self::named(name).map(Some).ok_or(Unknown)
    }
}

/// A coding that is not spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

/// What a client wants its answer coded in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub coding: Option<Coding>,
    /// It takes no answer that is not coded, however small.
    pub only: bool,
}

impl Wanted {
    /// Reads `Accept-Encoding` (RFC 9110 section 12.5.3). Of codings that are wanted alike, `zstd`.
    pub fn read(accept: &[u8]) -> Self {
        let (mut gzip, mut zstd, mut identity, mut others) = (None, None, None, None);
        for item in accept.split(|&byte| byte == b',') {
            let mut parts = item.split(|&byte| byte == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let Some(weight) = weight(parts) else { continue };
            match Coding::named(name) {
                Some(Coding::Gzip) => gzip = Some(weight),
                Some(Coding::Zstd) => zstd = Some(weight),
                None if name == b"*" => others = Some(weight),
                None if name.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
                None => {}
            }
        }
        let of = |named: Option<u16>| named.or(others).unwrap_or(0);
        let (gzip, zstd) = (of(gzip), of(zstd));
        let best = if gzip > zstd { (gzip, Coding::Gzip) } else { (zstd, Coding::Zstd) };
        // Not to be coded is a choice only if the client says so; without a word it merely may be.
        let plain = identity.unwrap_or(0);
        let coding = (best.0 > 0 && best.0 >= plain).then_some(best.1);
        let only = coding.is_some() && identity.or(others) == Some(0);
        Self { coding, only }
    }
}

/// `q`, in thousandths; 1,000 where there is none, and nothing where it is wrong.
fn weight<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let mut weight = 1_000;
    for parameter in parameters {
        let parameter = parameter.trim_ascii();
        let Some(value) = parameter.strip_prefix(b"q=").or(parameter.strip_prefix(b"Q=")) else {
            continue;
        };
        let (whole, part) = match value {
            [whole] => (whole, &b""[..]),
            [whole, b'.', part @ ..] if part.len() <= 3 => (whole, part),
            _ => return None,
        };
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digit = |at: usize| part.get(at).map_or(0, |digit| u16::from(digit & 15));
        let part = digit(0).saturating_mul(100).saturating_add(digit(1).saturating_mul(10));
        let part = part.saturating_add(digit(2));
        weight = match (whole, part) {
            (b'0', part) => part,
            (b'1', 0) => 1_000,
            _ => return None,
        };
    }
    Some(weight)
}

/// Codes bodies. Its machines serve one body after the other, and are made when they are first used.
#[derive(Default)]
pub struct Encoder {
    gzip: Option<Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    coded: Vec<u8>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    /// The body in this coding; `None` where that would not make it smaller, unless it `must`.
    pub fn body(&mut self, coding: Coding, body: &[u8], must: bool) -> Option<&[u8]> {
        if self.coded.capacity() > KEPT_BYTES_MAX {
            self.coded = Vec::new();
        }
        self.coded.clear();
        // What does not shrink grows by a few bytes in a thousand, and by a head.
        let growth = if must { (body.len() >> 6).saturating_add(256) } else { 0 };
        let room = body.len().saturating_add(growth);
        self.coded.reserve_exact(room);
        match coding {
            Coding::Gzip => {
                let machine = self
                    .gzip
                    .get_or_insert_with(|| Compress::new_gzip(Compression::new(GZIP_LEVEL), 15));
                machine.reset();
                let status = machine.compress_vec(body, &mut self.coded, FlushCompress::Finish);
                (status.ok()? == Status::StreamEnd).then_some(())?;
            }
            Coding::Zstd => {
                let machine = match &mut self.zstd {
                    Some(machine) => machine,
                    None => self.zstd.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()?),
                };
                machine.compress_to_buffer(body, &mut self.coded).ok()?;
            }
        }
        (must || self.coded.len() < body.len()).then_some(&self.coded)
    }
}

/// Decodes one body, in pieces. Made for each: what it holds goes by what the body wants.
pub struct Decoder {
    machine: Machine,
    /// Between two frames, or behind the last.
    is_whole: bool,
    /// Those that count towards [`FRAMES_MAX`].
    frames: u32,
    /// Its frames are forgotten when they have brought something.
    is_stream: bool,
}

enum Machine {
    Gzip(Box<Decompress>),
    Zstd(Box<zstd::stream::raw::Decoder<'static>>),
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("is_whole", &self.is_whole).finish_non_exhaustive()
    }
}

impl Decoder {
    /// Of a body that is wanted as a whole. `None` if there is no memory for it.
    pub fn new(coding: Coding) -> Option<Self> {
        let machine = match coding {
            Coding::Gzip => Machine::Gzip(Box::new(Decompress::new_gzip(15))),
            Coding::Zstd => {
                let mut machine = zstd::stream::raw::Decoder::new().ok()?;
                machine.set_parameter(DParameter::WindowLogMax(WINDOW_BITS_MAX)).ok()?;
                Machine::Zstd(Box::new(machine))
            }
        };
        Some(Self { machine, is_whole: false, frames: 0, is_stream: false })
    }

    /// Of an event stream, which has no last byte. Servers whose library ends a frame where it is asked to flush send
    /// one for each event.
    pub fn of_stream(coding: Coding) -> Option<Self> {
        Some(Self { is_stream: true, ..Self::new(coding)? })
    }

    /// Appends what these bytes decode to. `out` may have `max` bytes after it.
    ///
    /// # Errors
    /// It would have more, or the bytes are not coded so.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Fault> {
        match &mut self.machine {
            Machine::Gzip(_) if bytes.is_empty() => Ok(()),
            // A second member is allowed by RFC 1952 and sent by nobody.
            Machine::Gzip(_) if self.is_whole => Err(Fault::Corrupt),
            Machine::Gzip(machine) => {
                let poured = pour(machine, bytes, out, max)?;
                self.is_whole = poured.is_end;
                if poured.consumed == bytes.len() { Ok(()) } else { Err(Fault::Corrupt) }
            }
            Machine::Zstd(machine) => {
                let mut input = InBuffer::around(bytes);
                while input.pos() < bytes.len() || out.len() == out.capacity() && !self.is_whole {
                    if out.len() > max {
                        return Err(Fault::TooLarge);
                    }
                    if out.len() == out.capacity() {
                        let room = max.saturating_sub(out.len()).saturating_add(1);
                        out.reserve_exact(room.min(out.len().max(STEP_BYTES)));
                    }
                    let before = (input.pos(), out.len());
                    let left = {
                        let mut output = OutBuffer::around_pos(out, before.1);
                        machine.run(&mut input, &mut output).map_err(|_| Fault::Corrupt)?
                    };
                    self.is_whole = left == 0;
                    if self.is_stream && out.len() > before.1 {
                        self.frames = 0;
                    }
                    self.frames = self.frames.saturating_add(u32::from(self.is_whole));
                    let is_stuck = before == (input.pos(), out.len());
                    if self.frames > FRAMES_MAX || is_stuck && input.pos() < bytes.len() {
                        return Err(Fault::Corrupt);
                    }
                    if is_stuck {
                        // The room was full by chance: there was no more to come.
                        break;
                    }
                }
                if out.len() > max { Err(Fault::TooLarge) } else { Ok(()) }
            }
        }
    }

    /// Whether what came is a whole body.
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }
}

/// Decodes a whole body, which may then have `max` bytes.
///
/// # Errors
/// As [`Decoder::push`], and where its end is missing.
pub fn decoded(coding: Coding, body: &[u8], max: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(coding).ok_or(Fault::Corrupt)?;
    decoder.push(body, &mut out, max)?;
    if decoder.is_whole() { Ok(out) } else { Err(Fault::Corrupt) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Coding; 2] = [Coding::Gzip, Coding::Zstd];
    const MAX: usize = 1 << 20;

    fn text(size: usize) -> Vec<u8> {
        b"the status of the repository is open, ".iter().copied().cycle().take(size).collect()
    }

    fn coded(coding: Coding, body: &[u8]) -> Vec<u8> {
        Encoder::default().body(coding, body, true).expect("it can be coded").to_vec()
    }

    #[test]
    fn a_client_gets_what_it_wants_most() {
        let (gzip, zstd) = (Some(Coding::Gzip), Some(Coding::Zstd));
        for (accept, coding, only) in [
            ("", None, false),
            ("gzip", gzip, false),
            ("x-gzip", gzip, false),
            ("gzip, deflate, br, zstd", zstd, false),
            ("gzip, deflate, br", gzip, false),
            ("GZIP;Q=0.5 , zstd ; q=0.1", gzip, false),
            ("zstd;q=0.5, gzip;q=0.50", zstd, false),
            ("gzip;q=0", None, false),
            ("gzip;q=0.000", None, false),
            ("gzip;q=0.001", gzip, false),
            ("br", None, false),
            ("*", zstd, false),
            ("*, zstd;q=0", gzip, false),
            ("zstd;q=0, gzip;q=0, *", None, false),
            ("identity", None, false),
            ("identity, gzip;q=0.5", None, false),
            ("identity;q=0.5, gzip;q=0.5", gzip, false),
            ("identity;q=0, gzip", gzip, true),
            ("gzip, *;q=0", gzip, true),
            ("identity, gzip, *;q=0", gzip, false),
            ("identity;q=0", None, false),
            ("*;q=0", None, false),
            // Weights that are none.
            ("gzip;q=2", None, false),
            ("gzip;q=1.001", None, false),
            ("gzip;q=0.1234", None, false),
            ("gzip;q=-1, zstd;q=", None, false),
            (";;;,,,=", None, false),
        ] {
            assert_eq!(Wanted::read(accept.as_bytes()), Wanted { coding, only }, "{accept}");
        }
    }

    #[test]
    fn a_body_says_what_it_is_coded_in() {
        assert_eq!(Coding::of_body(b" GZIP "), Ok(Some(Coding::Gzip)));
        assert_eq!(Coding::of_body(b"zstd"), Ok(Some(Coding::Zstd)));
        assert_eq!((Coding::of_body(b"identity"), Coding::of_body(b"")), (Ok(None), Ok(None)));
        for unknown in ["br", "deflate", "gzip, gzip", "gzip, identity", "*"] {
            assert_eq!(Coding::of_body(unknown.as_bytes()), Err(Unknown), "{unknown}");
        }
    }

    #[test]
    fn bodies_of_any_size_come_back_from_both_codings_in_pieces_of_any_size() {
        let mut encoder = Encoder::default();
        for coding in BOTH {
            for size in [0, 1, 1_000, 5_000, 100_000, 300_000, 2_000] {
                let body = text(size);
                let coded = encoder.body(coding, &body, true).expect("it can be coded").to_vec();
                assert_eq!(decoded(coding, &coded, size), Ok(body.clone()), "{coding:?} {size}");
                for step in [1, 7, 1_000] {
                    let mut decoder = Decoder::new(coding).unwrap();
                    let mut out = Vec::new();
                    for piece in coded.chunks(step) {
                        decoder.push(piece, &mut out, size).unwrap();
                    }
                    assert!(decoder.is_whole() && out == body, "{coding:?} {size} {step}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is_unless_it_must_be_coded() {
        let mut encoder = Encoder::default();
        for coding in BOTH {
            assert_eq!(encoder.body(coding, b"short", false), None, "{coding:?}");
            let coded = encoder.body(coding, b"short", true).expect("it must be").to_vec();
            assert_eq!(decoded(coding, &coded, 5), Ok(b"short".to_vec()));
        }
    }

    #[test]
    fn a_bomb_is_given_up_at_the_bound() {
        for coding in BOTH {
            let bomb = coded(coding, &vec![0; 64 << 20]);
            assert!(bomb.len() < 400 << 10, "{coding:?}: {} bytes", bomb.len());
            let mut out = Vec::new();
            let fault = Decoder::new(coding).unwrap().push(&bomb, &mut out, MAX);
            assert_eq!(fault, Err(Fault::TooLarge), "{coding:?}");
            assert!(out.capacity() <= 2 * MAX, "{coding:?}: {}", out.capacity());
            let fault = decoded(coding, &coded(coding, &text(1_001)), 1_000);
            assert_eq!(fault, Err(Fault::TooLarge), "{coding:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_refused() {
        for coding in BOTH {
            let body = text(4_000);
            let whole = coded(coding, &body);
            for length in 0..whole.len() {
                let cut = whole.get(..length).unwrap();
                assert_eq!(decoded(coding, cut, MAX), Err(Fault::Corrupt), "{coding:?} {length}");
            }
            assert_eq!(decoded(coding, b"{\"jsonrpc\":\"2.0\"}", MAX), Err(Fault::Corrupt));
            let behind = [&whole[..], b"{}"].concat();
            assert_eq!(decoded(coding, &behind, MAX), Err(Fault::Corrupt), "{coding:?}");
        }
        // Its check sum.
        let mut damaged = coded(Coding::Gzip, &text(4_000));
        let last = damaged.len().checked_sub(5).and_then(|at| damaged.get_mut(at)).unwrap();
        *last ^= 1;
        assert_eq!(decoded(Coding::Gzip, &damaged, MAX), Err(Fault::Corrupt));
        let frames = |count| coded(Coding::Zstd, b"x").repeat(count);
        assert_eq!(decoded(Coding::Zstd, &frames(16), MAX), Ok(vec![b'x'; 16]));
        assert_eq!(decoded(Coding::Zstd, &frames(17), MAX), Err(Fault::Corrupt));
    }
    /// What a server sends of an event stream, one piece an event: flushed, so that its reader has it at once.
    fn flushed(coding: Coding, events: &[Vec<u8>]) -> Vec<Vec<u8>> {
        use flate2::write::GzEncoder;
        use std::io::Write as _;
        let mut pieces = Vec::new();
        match coding {
            Coding::Gzip => {
                let mut machine = GzEncoder::new(Vec::new(), Compression::new(6));
                for event in events {
                    machine.write_all(event).unwrap();
                    machine.flush().unwrap();
                    pieces.push(std::mem::take(machine.get_mut()));
                }
            }
            Coding::Zstd => {
                let mut machine = zstd::stream::Encoder::new(Vec::new(), ZSTD_LEVEL).unwrap();
                for event in events {
                    machine.write_all(event).unwrap();
                    machine.flush().unwrap();
                    pieces.push(std::mem::take(machine.get_mut()));
                }
            }
        }
        pieces
    }

    /// Each event is there with its piece, whatever came before.
    fn follow(coding: Coding, events: &[Vec<u8>], pieces: &[Vec<u8>]) {
        let mut decoder = Decoder::of_stream(coding).unwrap();
        let mut out = Vec::new();
        for (number, (event, piece)) in events.iter().zip(pieces).enumerate() {
            out.clear();
            decoder.push(piece, &mut out, 16 << 10).unwrap_or_else(|fault| {
                panic!("{coding:?}: event {number} is {fault:?}");
            });
            assert_eq!(&out, event, "{coding:?}: event {number}");
        }
        assert!(out.capacity() <= 64 << 10, "{coding:?}: what is handed on is not kept");
    }

    fn events(count: usize) -> Vec<Vec<u8>> {
        let event = |n: usize| match n % 5 {
            0 => b":\n\n".to_vec(),
            1 => [b"data: ", &*text(n % 9_000), b"\n\n"].concat(),
            _ => {
                format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{n},\"result\":{{}}}}\n\n").into_bytes()
            }
        };
        (0..count).map(event).collect()
    }

    #[test]
    fn a_long_event_stream_is_decoded_event_by_event() {
        let events = events(3_000);
        for coding in BOTH {
            follow(coding, &events, &flushed(coding, &events));
        }
    }

    #[test]
    fn an_event_stream_may_have_a_frame_for_each_event() {
        let events = events(200);
        let frames: Vec<_> = events.iter().map(|event| coded(Coding::Zstd, event)).collect();
        follow(Coding::Zstd, &events, &frames);
        // Many of them may lie in one piece.
        let mut out = Vec::new();
        let mut decoder = Decoder::of_stream(Coding::Zstd).unwrap();
        decoder.push(&frames.concat(), &mut out, MAX).unwrap();
        assert_eq!(out, events.concat());
        // What brings nothing is work for nothing.
        let empty = coded(Coding::Zstd, b"");
        assert_eq!(decoder.push(&empty.repeat(15), &mut out, MAX), Ok(()), "behind one event");
        assert_eq!(decoder.push(&empty.repeat(2), &mut out, MAX), Err(Fault::Corrupt));
    }
}
