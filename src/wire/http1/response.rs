//! The head of a response, as a client reads it: status, framing, and whether the connection can be used
//! again. As strict about framing as for requests.

use super::body::Framing;
use super::head::{Slots, number};
use super::{Fault, HEAD_BYTES_MAX};

/// A response's head.
#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    pub status: u16,
    pub framing: Framing,
    pub keeps_alive: bool,
    headers: &'h [httparse::Header<'b>],
}

impl<'b> ResponseHead<'_, 'b> {
    /// All headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.headers().find(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads a head from the front of `bytes`: the head and its length, or `None` if it is not whole yet. A
/// 1xx head (but 101) comes before another and has no body. `to_head`: the request was `HEAD`.
///
/// # Errors
/// What is no response, or one with framing of more than one reading.
pub fn read<'h, 'b>(
    bytes: &'b [u8],
    to_head: bool,
    slots: &'h mut Slots<'b>,
) -> Result<Option<(ResponseHead<'h, 'b>, usize)>, Fault> {
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut response, bytes, slots) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => {
            return Err(Fault::new(502, "the response's head is longer than the limit of 16 KiB"));
        }
        Err(_) => return Err(Fault::new(502, "what came is no HTTP response")),
    };
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err(Fault::new(502, "what came is no HTTP response"));
    };
    let headers: &'h [httparse::Header<'b>] = response.headers;
    let (mut content_length, mut coding) = (None, None);
    let mut keeps_alive = minor >= 1;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            10 if is("connection") => {
                for option in header.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    keeps_alive &= !option.eq_ignore_ascii_case(b"close");
                }
            }
            14 if is("content-length") => {
                let length = number(header.value)
                    .ok_or(Fault::new(502, "the response's Content-Length is no number"))?;
                if content_length.replace(length).is_some_and(|before| before != length) {
                    return Err(Fault::new(502, "the response has two Content-Lengths"));
                }
            }
            17 if is("transfer-encoding") && coding.replace(header.value).is_some() => {
                return Err(Fault::new(502, "the response has two Transfer-Encodings"));
            }
            _ => {}
        }
    }
    let framing = match (coding, content_length) {
        _ if to_head || matches!(status, 100..=199 | 204 | 304) => Framing::Length(0),
        (Some(_), Some(_)) => {
            return Err(Fault::new(502, "the response has Content-Length and Transfer-Encoding"));
        }
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        (Some(_), None) => {
            return Err(Fault::new(502, "the response has a transfer coding other than chunked"));
        }
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::Close,
    };
    let keeps_alive = keeps_alive && framing != Framing::Close;
    Ok(Some((ResponseHead { status, framing, keeps_alive, headers }, length)))
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test fails by panicking")]
mod tests {
    use super::super::head::slots;
    use super::*;

    fn judged(text: &str) -> Result<Option<(u16, Framing, bool, usize)>, Fault> {
        let mut slots = slots();
        read(text.as_bytes(), false, &mut slots).map(|found| {
            found.map(|(head, length)| (head.status, head.framing, head.keeps_alive, length))
        })
    }

    #[test]
    fn a_response_says_how_its_body_ends() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(judged(text), Ok(Some((200, Framing::Length(5), true, text.len()))));
        assert_eq!(judged(&text[..20]), Ok(None));
        let of = |headers: &str| {
            judged(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).map(|it| it.map(|it| (it.1, it.2)))
        };
        assert_eq!(of("Transfer-Encoding: chunked\r\n"), Ok(Some((Framing::Chunked, true))));
        assert_eq!(of(""), Ok(Some((Framing::Close, false))));
        assert_eq!(
            of("Content-Length: 1\r\nConnection: close\r\n"),
            Ok(Some((Framing::Length(1), false)))
        );
        assert!(of("Content-Length: 1\r\nContent-Length: 2\r\n").is_err());
        assert!(of("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n").is_err());
        assert!(of("Transfer-Encoding: gzip, chunked\r\n").is_err());
        assert!(judged("SSH-2.0-x\r\n\r\n").is_err());
    }

    #[test]
    fn some_statuses_have_no_body_whatever_their_headers_say() {
        for status in [100, 101, 204, 304] {
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(judged(&text).unwrap().unwrap().1, Framing::Length(0));
        }
    }
}
