//! HTTP/1.1 (RFC 9112) without I/O: heads and bodies out of bytes at any split, responses and requests into
//! bytes. Stricter than the field where leniency is how requests are smuggled; whatever is refused closes the
//! connection, because what follows cannot be told from the rest of it.

pub mod body;
pub mod date;
pub mod head;
mod host;
pub mod response;
pub mod write;

pub use body::{Body, Framing};
pub use head::Head;
pub use host::{host_name, is_host};
pub use response::ResponseHead;

/// Bytes of a head, request line included: proxies and servers take 8 to 64 KiB.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Headers in a head: what most servers take.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a request's target (RFC 9112 section 3 recommends 8,000 at least).
pub const TARGET_BYTES_MAX: usize = 8 << 10;
/// Bytes of all chunk extensions of a body: nobody uses them, and who sends many means harm.
pub const EXTENSION_BYTES_MAX: usize = 1 << 10;
/// Bytes of a body's trailer section, which is read and dropped.
pub const TRAILER_BYTES_MAX: usize = 4 << 10;

/// Why bytes are no HTTP. The connection ends after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub status: u16,
    pub what: &'static str,
}

impl Fault {
    pub(crate) const fn new(status: u16, what: &'static str) -> Self {
        Self { status, what }
    }

    const fn bad(what: &'static str) -> Self {
        Self::new(400, what)
    }
}

/// `reason-phrase` of the statuses that we send.
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
