//! A body in chunks (RFC 9112 section 7.1), as it comes. Not a judge of it: trailers are passed over.

/// Takes the chunks of one body apart.
#[derive(Debug, Default, Clone, Copy)]
pub struct Chunks {
    at: At,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The line of a chunk's size, of which this much has been read; the flag is set behind its digits.
    Size(usize, bool),
    /// A chunk's data, of which so much is left.
    Data(usize),
    /// The end of the line behind a chunk's data.
    Gap,
    /// Trailers and the empty line behind them; the flag says whether the line has bytes.
    Trailer(bool),
    #[default]
    Begin,
    End,
}

/// A size of more digits is no size that a load meets.
const SIZE_MAX: usize = usize::MAX >> 4;

impl Chunks {
    /// Appends the data in `bytes` to `body`; returns how many bytes were used, or `None` when they are no chunks.
    pub fn feed(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Option<usize> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            self.at = match self.at {
                At::End => break,
                At::Begin => At::Size(size(0, byte)?, false),
                At::Size(0, _) if byte == b'\n' => At::Trailer(false),
                At::Size(left, _) if byte == b'\n' => At::Data(left),
                At::Size(left, true) => At::Size(left, true),
                At::Size(left, false) if matches!(byte, b'\r' | b';' | b' ') => {
                    At::Size(left, true)
                }
                At::Size(left, false) => At::Size(size(left, byte)?, false),
                At::Data(left) => {
                    let part = left.min(bytes.len() - used);
                    body.extend_from_slice(&bytes[used..used + part]);
                    used += part;
                    self.at = if part == left { At::Gap } else { At::Data(left - part) };
                    continue;
                }
                At::Gap if byte == b'\r' => At::Gap,
                At::Gap if byte == b'\n' => At::Begin,
                At::Gap => return None,
                At::Trailer(false) if byte == b'\n' => At::End,
                At::Trailer(_) if byte == b'\n' => At::Trailer(false),
                At::Trailer(has) => At::Trailer(has || byte != b'\r'),
            };
            used += 1;
        }
        Some(used)
    }

    /// Whether the last chunk and the trailers have come.
    pub fn is_over(&self) -> bool {
        self.at == At::End
    }
}

fn size(so_far: usize, digit: u8) -> Option<usize> {
    let digit = char::from(digit).to_digit(16)?;
    (so_far <= SIZE_MAX).then_some((so_far & SIZE_MAX) << 4 | digit as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"4\r\nWiki\r\nA;x=y\r\n0123456789\r\n0\r\nEtag: x\r\n\r\nHTTP/1.1";

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        for cut in 0..BODY.len() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            let first = chunks.feed(&BODY[..cut], &mut body).unwrap();
            let second = chunks.feed(&BODY[first..], &mut body).unwrap();
            assert_eq!(body, b"Wiki0123456789", "cut at {cut}");
            assert!(chunks.is_over());
            assert_eq!(first + second, BODY.len() - "HTTP/1.1".len());
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in [&b"x\r\n"[..], b"4\r\nWikiX", b"ffffffffffffffffff\r\n"] {
            assert_eq!(Chunks::default().feed(bad, &mut Vec::new()), None);
        }
    }
}
