//! The head of an HTTP/1.1 response, as far as a load asks for it. Not the body: see `chunked` and `events`.

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes.
    pub bytes: usize,
    /// The status.
    pub status: u16,
    /// Where the body ends.
    pub body: Length,
    /// Whether the body is an event stream.
    pub is_stream: bool,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this many bytes.
    Known(usize),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Open,
}

/// Headers of a response that are read; more is a fault.
const HEADERS_MAX: usize = 64;

/// What the head at the start of `bytes` says: `None` when it is not whole yet, `Err` when it is none.
pub fn read(bytes: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.unwrap_or(0);
    let mut head = Head { bytes: length, status, body: Length::Open, is_stream: false };
    // RFC 9112 section 6.3: these have no body whatever their headers say.
    if matches!(status, 100..200 | 204 | 304) {
        head.body = Length::Known(0);
        return Ok(Some(head));
    }
    for header in response.headers {
        let is = |name| header.name.eq_ignore_ascii_case(name);
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if is("content-length") && head.body != Length::Chunked {
            head.body = Length::Known(value.parse().map_err(|_| httparse::Error::HeaderValue)?);
        } else if is("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            head.body = Length::Chunked;
        } else if is("content-type") {
            head.is_stream = value
                .get(..EVENT_STREAM.len())
                .is_some_and(|media| media.eq_ignore_ascii_case(EVENT_STREAM));
        }
    }
    Ok(Some(head))
}

const EVENT_STREAM: &str = "text/event-stream";

/// The value of header `name` in the head that `bytes` begin with.
pub fn value(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(bytes).ok()?;
    let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    Some(found.value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        read(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        let known =
            head("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 7\r\n\r\n");
        assert_eq!((known.status, known.body, known.is_stream), (200, Length::Known(7), false));
        let stream = head(
            "HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        assert_eq!((stream.body, stream.is_stream), (Length::Chunked, true));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").body, Length::Known(0));
        assert_eq!(head("HTTP/1.1 200 OK\r\n\r\n").body, Length::Open);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\ncontent-"), Ok(None));
        assert!(read(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(read(b"{\"jsonrpc\":").is_err());
    }

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let text = b"HTTP/1.1 200 OK\r\nMCP-Session-Id: abc\r\n\r\n{}";
        assert_eq!(value(text, "mcp-session-id"), Some(b"abc".to_vec()));
        assert_eq!(value(text, "etag"), None);
    }
}
