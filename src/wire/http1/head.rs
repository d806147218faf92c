//! The head of a request: request line and headers as slices of the bytes they came in, judged whole before
//! anything is done with them. What its body is framed by is said here, and read in `body`.

use std::mem::MaybeUninit;

use super::body::Framing;
use super::host::is_host;
use super::{Fault, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};

/// Header slots on a caller's stack; not initialized, because most are never used.
pub type Slots<'b> = [MaybeUninit<httparse::Header<'b>>; HEADERS_MAX];

/// Slots for [`read`].
pub const fn slots<'b>() -> Slots<'b> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// A request's head.
#[derive(Debug)]
pub struct Head<'h, 'b> {
    /// As sent; methods are case-sensitive.
    pub method: &'b str,
    /// The target's path; `*` for `OPTIONS *`.
    pub path: &'b str,
    /// What follows the first `?`; empty if nothing does.
    pub query: &'b str,
    /// The host that the request is for, port included; `None` only in HTTP/1.0.
    pub host: Option<&'b str>,
    /// HTTP/1.`minor`: 0 or 1.
    pub minor: u8,
    /// Whether the connection may go on after the response (RFC 9112 section 9.3).
    pub keeps_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    pub framing: Framing,
    /// The value of `Upgrade`, where `Connection` names it.
    pub upgrade: Option<&'b [u8]>,
    /// The values of `Content-Encoding` and `Accept-Encoding`; the latter's first line, where it has several.
    pub encoding: Option<&'b [u8]>,
    pub accepts: Option<&'b [u8]>,
    headers: &'h [httparse::Header<'b>],
}

impl<'b> Head<'_, 'b> {
    /// All headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The first header of this name.
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.headers().find(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads a head from the front of `bytes`: the head and its length, or `None` if it is not whole yet.
///
/// # Errors
/// What must be answered with an error; the connection ends after it.
pub fn read<'h, 'b>(
    bytes: &'b [u8],
    slots: &'h mut Slots<'b>,
) -> Result<Option<(Head<'h, 'b>, usize)>, Fault> {
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(bytes, slots);
    let length = match status {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => {
            // What can never become right is refused at once, not when more of it has come.
            let lines = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
            return if has_bare_line_feed(lines) { Err(BARE_LF) } else { Ok(None) };
        }
        Ok(_) => return Err(too_large(bytes)),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Fault::new(431, "more headers than the limit of 100"));
        }
        Err(httparse::Error::Version) if is_other_version(bytes) => {
            return Err(Fault::new(505, "HTTP/1.1 and HTTP/1.0 are spoken here"));
        }
        Err(httparse::Error::Version) => {
            return Err(Fault::bad("the request line has no HTTP version"));
        }
        Err(httparse::Error::HeaderName) => return Err(Fault::bad("a header's name is no token")),
        Err(httparse::Error::HeaderValue) => {
            return Err(Fault::bad("a header's value has a character that cannot stand there"));
        }
        Err(httparse::Error::NewLine) => return Err(Fault::bad("a line must end with CR LF")),
        Err(_) => return Err(Fault::bad("the request line is not METHOD TARGET HTTP/1.1")),
    };
    if has_bare_line_feed(bytes.get(..length).unwrap_or_default()) {
        return Err(BARE_LF);
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Fault::bad("the request line is not METHOD TARGET HTTP/1.1"));
    };
    let headers: &'h [httparse::Header<'b>] = request.headers;
    let seen = Seen::of(headers)?;
    let (authority, path, query) = split(method, target)?;
    let host = match (seen.host, minor) {
        (Some(host), _) if is_host(host) => std::str::from_utf8(host).ok(),
        (Some(_), _) => return Err(Fault::bad("the header Host must be one host")),
        (None, 0) => None,
        (None, _) => return Err(Fault::bad("the header Host is missing")),
    };
    if authority
        .is_some_and(|authority| host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)))
    {
        return Err(Fault::bad("the target's host and the header Host differ"));
    }
    let framing = seen.framing(minor)?;
    let expects_continue = match seen.expect {
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => minor >= 1,
        Some(_) => return Err(Fault::new(417, "only 100-continue can be expected here")),
        None => false,
    };
    let keeps_alive = !seen.says_close && (minor >= 1 || seen.says_keep_alive);
    let upgrade = seen.upgrade.filter(|_| seen.says_upgrade && minor >= 1);
    let host = authority.or(host);
    let head = Head {
        method,
        path,
        query,
        host,
        minor,
        keeps_alive,
        expects_continue,
        framing,
        upgrade,
        encoding: seen.encoding,
        accepts: seen.accepts,
        headers,
    };
    Ok(Some((head, length)))
}

const BARE_LF: Fault = Fault::bad("a line must end with CR LF");

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes)
        .any(|at| at.checked_sub(1).and_then(|at| bytes.get(at)) != Some(&b'\r'))
}

/// `HTTP/` with a version of ours or another: what is no version at all is another fault.
fn is_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    memchr::memchr_iter(b' ', line).count() == 2
        && matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn too_large(bytes: &[u8]) -> Fault {
    let line = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    if line > TARGET_BYTES_MAX {
        return Fault::new(414, "the target is longer than the limit of 8 KiB");
    }
    Fault::new(431, "the head is longer than the limit of 16 KiB")
}

/// Authority, path and query of a target (RFC 9112 section 3.2).
fn split<'b>(method: &str, target: &'b str) -> Result<(Option<&'b str>, &'b str, &'b str), Fault> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(Fault::new(414, "the target is longer than the limit of 8 KiB"));
    }
    let is_graphic = |byte: u8| (0x21..=0x7E).contains(&byte) && byte != b'#';
    if !target.bytes().all(is_graphic) {
        return Err(Fault::bad("the target has a character that must be percent-encoded"));
    }
    if method == "CONNECT" {
        return Err(Fault::new(501, "this is no proxy: CONNECT is not served"));
    }
    if target == "*" {
        return if method == "OPTIONS" {
            Ok((None, target, ""))
        } else {
            Err(Fault::bad("only OPTIONS may have the target *"))
        };
    }
    let scheme = ["http://", "https://"].iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme))
    });
    let (authority, rest) = match scheme {
        Some(scheme) => {
            let rest = target.get(scheme.len()..).unwrap_or_default();
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            if !is_host(authority.as_bytes()) {
                return Err(Fault::bad("the target's host must be one host"));
            }
            (Some(authority), if rest.is_empty() { "/" } else { rest })
        }
        None => (None, target),
    };
    if !rest.starts_with('/') {
        return Err(Fault::bad("the target must be a path that begins with /"));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Ok((authority, path, query))
}

/// What the headers say that HTTP itself is about.
#[derive(Default)]
struct Seen<'b> {
    host: Option<&'b [u8]>,
    length: Option<&'b [u8]>,
    coding: Option<&'b [u8]>,
    expect: Option<&'b [u8]>,
    upgrade: Option<&'b [u8]>,
    encoding: Option<&'b [u8]>,
    accepts: Option<&'b [u8]>,
    says_close: bool,
    says_keep_alive: bool,
    says_upgrade: bool,
}

impl<'b> Seen<'b> {
    fn of(headers: &[httparse::Header<'b>]) -> Result<Self, Fault> {
        let mut seen = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // The length decides for most headers that nothing is to be compared.
            let (place, twice) = match header.name.len() {
                4 if is("host") => (&mut seen.host, "the header Host stands twice"),
                6 if is("expect") => (&mut seen.expect, "the header Expect stands twice"),
                7 if is("upgrade") => (&mut seen.upgrade, "the header Upgrade stands twice"),
                10 if is("connection") => {
                    seen.connection(header.value);
                    continue;
                }
                14 if is("content-length") => {
                    (&mut seen.length, "the header Content-Length stands twice")
                }
                15 if is("accept-encoding") => {
                    seen.accepts.get_or_insert(header.value);
                    continue;
                }
                16 if is("content-encoding") => {
                    (&mut seen.encoding, "the header Content-Encoding stands twice")
                }
                17 if is("transfer-encoding") => {
                    (&mut seen.coding, "the header Transfer-Encoding stands twice")
                }
                _ => continue,
            };
            if place.replace(header.value).is_some() {
                return Err(Fault::bad(twice));
            }
        }
        Ok(seen)
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.says_close |= option.eq_ignore_ascii_case(b"close");
            self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.says_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// RFC 9112 section 6.3, with nothing left to be read in two ways.
    fn framing(&self, minor: u8) -> Result<Framing, Fault> {
        match (self.coding, self.length) {
            (None, None) => Ok(Framing::Length(0)),
            (None, Some(length)) => number(length)
                .map(Framing::Length)
                .ok_or(Fault::bad("the header Content-Length must be one decimal number")),
            (Some(_), Some(_)) => {
                Err(Fault::bad("Content-Length and Transfer-Encoding exclude each other"))
            }
            (Some(_), None) if minor == 0 => Err(Fault::bad("HTTP/1.0 has no Transfer-Encoding")),
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (Some(coding), None) if is_list_of_tokens(coding) && !names_chunked(coding) => {
                Err(Fault::new(501, "only the transfer coding chunked is understood"))
            }
            (Some(_), None) => Err(Fault::bad("the header Transfer-Encoding must be chunked")),
        }
    }
}

/// A decimal number without sign, space or leading zeros.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let is_plain = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 19;
    if !is_plain || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit & 15)))
}

fn is_list_of_tokens(value: &[u8]) -> bool {
    let is_token = |token: &[u8]| {
        !token.is_empty()
            && token
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
    };
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).all(is_token)
}

fn names_chunked(value: &[u8]) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<Option<(String, String, Framing, bool)>, Fault> {
        let mut slots = slots();
        read(text.as_bytes(), &mut slots).map(|found| {
            found.map(|(head, _)| {
                (head.path.to_owned(), head.query.to_owned(), head.framing, head.keeps_alive)
            })
        })
    }

    fn status(text: &str) -> u16 {
        judged(text).expect_err(text).status
    }

    fn with(headers: &str) -> String {
        format!("POST /mcp HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n")
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = "POST /mcp?a=b?c HTTP/1.1\r\nHost: a.test:80\r\nContent-Length: 5\r\n\r\nhello";
        let end = text.len() - 5;
        for cut in 0..end {
            assert_eq!(judged(&text[..cut]), Ok(None), "{cut}");
        }
        let mut slots = slots();
        let (head, length) = read(text.as_bytes(), &mut slots).unwrap().unwrap();
        assert_eq!((head.path, head.query, length), ("/mcp", "a=b?c", end));
        assert_eq!((head.framing, head.host), (Framing::Length(5), Some("a.test:80")));
        assert_eq!(head.get("content-LENGTH"), Some(&b"5"[..]));
    }

    #[test]
    fn hosts_are_one_and_there() {
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400);
        assert_eq!(status("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert!(judged("GET http://A.test/x HTTP/1.1\r\nHost: a.TEST\r\n\r\n").unwrap().is_some());
        assert!(judged("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn targets_are_what_their_method_allows() {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        for target in ["*", "a", "http://", "http:///x", "/a#b", "/\u{e9}", "/a b", "//u@h\u{7f}"] {
            assert_eq!(status(&get(target)), 400, "{target}");
        }
        assert!(judged("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().is_some());
        assert_eq!(status("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
        assert_eq!(status(&get(&format!("/{}", "a".repeat(TARGET_BYTES_MAX)))), 414);
    }

    #[test]
    fn framing_has_one_reading_only() {
        for bad in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -0\r\n",
            "Content-Length: 05\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: ,chunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
            " X: a\r\n",
            "X\r\n",
            "X: a\nY: b\r\n",
        ] {
            assert_eq!(status(&with(bad)), 400, "{bad:?}");
        }
        assert_eq!(status(&with("Transfer-Encoding: gzip\r\n")), 501);
        assert_eq!(status("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        let framing = |headers: &str| judged(&with(headers)).unwrap().unwrap().2;
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
        assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
        assert_eq!(framing(""), Framing::Length(0));
    }

    #[test]
    fn a_bare_line_feed_is_refused_as_soon_as_it_is_seen() {
        assert_eq!(status("GET / HTTP/1.1\nHost: a\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\n\n"), 400);
    }

    #[test]
    fn connections_go_on_as_their_version_says() {
        let keeps = |text: &str| judged(text).unwrap().unwrap().3;
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n"));
    }

    #[test]
    fn versions_and_sizes_have_their_statuses() {
        assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("GET / http/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET /\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status(&with(&format!("X: {}\r\n", "a".repeat(HEAD_BYTES_MAX)))), 431);
        assert_eq!(status(&with(&"X: a\r\n".repeat(HEADERS_MAX + 1))), 431);
        assert_eq!(status(&with("Expect: tea\r\n")), 417);
    }
}
