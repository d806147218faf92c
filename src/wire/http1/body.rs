//! Bodies: by length, in chunks (RFC 9112 section 7.1), or until the peer closes (responses only). Gives
//! slices of what came in; keeps nothing but its place.

use super::{EXTENSION_BYTES_MAX, Fault, TRAILER_BYTES_MAX};

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes; 0 for no body at all.
    Length(u64),
    Chunked,
    /// With the connection; responses only.
    Close,
}

/// A body that is being read.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    state: State,
    /// Bytes of extensions, and of trailers, so far.
    extensions: usize,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Data {
        left: u64,
    },
    UntilClose,
    /// At the first digit of a chunk's size.
    Size,
    SizeOn {
        size: u64,
    },
    /// Behind a `;`: a name must follow.
    Name {
        size: u64,
        empty: bool,
    },
    /// Behind a `=`: a token or a string must follow.
    Value {
        size: u64,
        empty: bool,
    },
    Quoted {
        size: u64,
        escaped: bool,
    },
    /// Behind a string's closing quote.
    Unquoted {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    ChunkData {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a line behind the last chunk.
    Trailer,
    /// In a trailer's name, and behind its colon.
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// What came out of a piece of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Bytes of the body; may be empty.
    pub data: &'a [u8],
    /// How many bytes of the input are done with, framing included.
    pub consumed: usize,
}

impl Body {
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Data { left },
            Framing::Chunked => State::Size,
            Framing::Close => State::UntilClose,
        };
        Self { state, extensions: 0, trailers: 0 }
    }

    /// All of it has been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection ends it.
    pub fn ends_with_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// The next piece: everything up to the end of a run of data, or all of `bytes` if there is none. Call
    /// again with the rest until nothing is consumed or the body is done.
    ///
    /// # Errors
    /// Framing that has more than one reading; the connection ends.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Piece<'a>, Fault> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data { left } | State::ChunkData { left } => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                    self.state = match (self.state, left) {
                        (State::Data { .. }, 0) => State::Done,
                        (State::Data { .. }, left) => State::Data { left },
                        (_, 0) => State::DataCr,
                        (_, left) => State::ChunkData { left },
                    };
                    let data = rest.get(..length).unwrap_or_default();
                    return Ok(Piece { data, consumed: at.saturating_add(length) });
                }
                State::UntilClose => {
                    let data = bytes.get(at..).unwrap_or_default();
                    return Ok(Piece { data, consumed: bytes.len() });
                }
                State::Done => return Ok(Piece { data: &[], consumed: at }),
                _ => {}
            }
            let Some(&byte) = bytes.get(at) else {
                return Ok(Piece { data: &[], consumed: at });
            };
            at = at.saturating_add(1);
            self.state = self.step(byte)?;
        }
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        let bad = |what| Err(Fault::bad(what));
        let hex = || char::from(byte).to_digit(16).map(u64::from);
        match self.state {
            State::Size => match hex() {
                Some(size) => Ok(State::SizeOn { size }),
                None => bad("a chunk must begin with its size in hexadecimal"),
            },
            State::SizeOn { size } => match (hex(), byte) {
                (Some(digit), _) => {
                    match size.checked_mul(16).and_then(|size| size.checked_add(digit)) {
                        Some(size) => Ok(State::SizeOn { size }),
                        None => bad("a chunk's size is larger than can be"),
                    }
                }
                (None, b'\r') => Ok(State::SizeLf { size }),
                (None, b';') => self.extension(State::Name { size, empty: true }),
                _ => bad("a chunk's size must end with CR LF"),
            },
            State::Name { size, empty } => match byte {
                b'=' if !empty => self.extension(State::Value { size, empty: true }),
                b';' if !empty => self.extension(State::Name { size, empty: true }),
                b'\r' if !empty => Ok(State::SizeLf { size }),
                _ if is_token(byte) => self.extension(State::Name { size, empty: false }),
                _ => bad("a chunk extension must be ;name or ;name=value"),
            },
            State::Value { size, empty } => match byte {
                b'"' if empty => self.extension(State::Quoted { size, escaped: false }),
                b';' if !empty => self.extension(State::Name { size, empty: true }),
                b'\r' if !empty => Ok(State::SizeLf { size }),
                _ if is_token(byte) => self.extension(State::Value { size, empty: false }),
                _ => bad("a chunk extension must be ;name or ;name=value"),
            },
            State::Quoted { size, escaped } => match byte {
                0..=8 | 10..=31 | 127 => bad("a chunk extension has a control character"),
                b'"' if !escaped => self.extension(State::Unquoted { size }),
                b'\\' if !escaped => self.extension(State::Quoted { size, escaped: true }),
                _ => self.extension(State::Quoted { size, escaped: false }),
            },
            State::Unquoted { size } => match byte {
                b';' => self.extension(State::Name { size, empty: true }),
                b'\r' => Ok(State::SizeLf { size }),
                _ => bad("a chunk extension must be ;name or ;name=value"),
            },
            State::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(State::Trailer),
                (b'\n', left) => Ok(State::ChunkData { left }),
                _ => bad("a chunk's size must end with CR LF"),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size),
            State::DataCr | State::DataLf => bad("a chunk must end with CR LF"),
            State::Trailer if byte == b'\r' => Ok(State::EndLf),
            State::Trailer | State::TrailerName => match byte {
                b':' if self.state == State::TrailerName => self.trailer(State::TrailerValue),
                _ if is_token(byte) => self.trailer(State::TrailerName),
                _ => bad("a trailer must be a header"),
            },
            State::TrailerValue => match byte {
                b'\r' => Ok(State::TrailerLf),
                0..=8 | 10..=31 | 127 => bad("a trailer has a control character"),
                _ => self.trailer(State::TrailerValue),
            },
            State::TrailerLf if byte == b'\n' => Ok(State::Trailer),
            State::EndLf if byte == b'\n' => Ok(State::Done),
            State::TrailerLf | State::EndLf => bad("a trailer must end with CR LF"),
            State::Data { .. } | State::ChunkData { .. } | State::UntilClose | State::Done => {
                Ok(self.state)
            }
        }
    }

    fn extension(&mut self, next: State) -> Result<State, Fault> {
        self.extensions = self.extensions.saturating_add(1);
        if self.extensions > EXTENSION_BYTES_MAX {
            return Err(Fault::bad("chunk extensions are longer than the limit of 1 KiB"));
        }
        Ok(next)
    }

    fn trailer(&mut self, next: State) -> Result<State, Fault> {
        self.trailers = self.trailers.saturating_add(1);
        if self.trailers > TRAILER_BYTES_MAX {
            return Err(Fault::new(431, "trailers are longer than the limit of 4 KiB"));
        }
        Ok(next)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// The body and what follows it, read in pieces of this size.
    fn read(framing: Framing, bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Fault> {
        let mut body = Body::new(framing);
        let (mut data, mut from, mut to) = (Vec::new(), 0, 0);
        while !body.is_done() {
            let piece = body.next(&bytes[from..to])?;
            data.extend_from_slice(piece.data);
            from += piece.consumed;
            if piece.consumed == 0 || from == to {
                if to == bytes.len() && from == to {
                    break;
                }
                to = (to + step).min(bytes.len());
            }
        }
        Ok((data, from, body.is_done()))
    }

    fn all(framing: Framing, bytes: &[u8]) -> Result<(Vec<u8>, usize, bool), Fault> {
        let whole = read(framing, bytes, usize::MAX / 2);
        for step in [1, 2, 3, 7] {
            assert_eq!(read(framing, bytes, step), whole, "in pieces of {step}");
        }
        whole
    }

    #[test]
    fn a_body_by_length_ends_there() {
        assert_eq!(all(Framing::Length(5), b"helloGET"), Ok((b"hello".to_vec(), 5, true)));
        assert_eq!(all(Framing::Length(0), b"GET"), Ok((vec![], 0, true)));
        assert_eq!(all(Framing::Length(9), b"hello"), Ok((b"hello".to_vec(), 5, false)));
    }

    #[test]
    fn chunks_are_put_together_and_what_follows_is_left() {
        let text = b"5\r\nhello\r\n1;a;b=c;d=\"e;\\\"\"\r\n!\r\n000\r\nX-T: v\r\n\r\nGET";
        assert_eq!(all(Framing::Chunked, text), Ok((b"hello!".to_vec(), text.len() - 3, true)));
        assert_eq!(
            all(Framing::Chunked, b"A\r\n0123456789\r\n0\r\n\r\n").map(|it| it.0.len()),
            Ok(10)
        );
    }

    #[test]
    fn chunks_with_two_readings_are_refused() {
        for bad in [
            "\r\n",
            " 5\r\n",
            "0x5\r\n",
            "5 \r\nhello\r\n",
            "5\t\r\n",
            "5;\r\nhello",
            "5;=a\r\n",
            "5;a=\r\n",
            "5;a\0\r\n",
            "5;a=\"\x01\"\r\n",
            "5\nhello",
            "5\rhello",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0",
            "5\r\nhelloX\r\n",
            "1_0\r\n",
            "fffffffffffffffff\r\n",
            "-1\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\n: v\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(
                all(Framing::Chunked, bad.as_bytes()).map_err(|it| it.status),
                Err(400),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let text = format!("5;{}\r\n", "a".repeat(EXTENSION_BYTES_MAX));
        assert!(all(Framing::Chunked, text.as_bytes()).is_err());
        let text = format!("0\r\nX: {}\r\n\r\n", "a".repeat(TRAILER_BYTES_MAX));
        assert_eq!(all(Framing::Chunked, text.as_bytes()).unwrap_err().status, 431);
    }
}
