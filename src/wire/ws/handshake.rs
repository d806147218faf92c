//! The opening handshake (RFC 6455 section 4), as values: who carries the HTTP around it is elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The subprotocol that MCP's SDKs ask for.
pub const SUBPROTOCOL: &str = "mcp";

/// `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// What a server answers to a request that asks for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 101 with this accept, and the subprotocol if it was offered.
    Accepted { accept: String, subprotocol: Option<&'static str> },
    /// 426: another version is spoken here.
    Version,
    /// 400, and why.
    Refused(&'static str),
}

/// Judges a request's headers; that it asks for an upgrade to `websocket` has been seen.
pub fn judge<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Verdict {
    let (mut key, mut version, mut offers) = (None, None, false);
    for (name, value) in headers {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("sec-websocket-key") {
            if key.replace(value).is_some() {
                return Verdict::Refused("the header Sec-WebSocket-Key stands twice");
            }
        } else if is("sec-websocket-version") {
            version = Some(value);
        } else if is("sec-websocket-protocol") {
            offers |= value
                .split(|&byte| byte == b',')
                .any(|offer| offer.trim_ascii() == SUBPROTOCOL.as_bytes());
        }
    }
    if version != Some(b"13") {
        return Verdict::Version;
    }
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
    if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
        return Verdict::Refused("the header Sec-WebSocket-Key must be 16 bytes in base64");
    }
    Verdict::Accepted { accept: accept(key), subprotocol: offers.then_some(SUBPROTOCOL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_key_of_the_rfc_has_its_answer() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_is_judged_by_version_and_key() {
        let judge = |headers: &[(&'static str, &'static [u8])]| judge(headers.iter().copied());
        let version = ("Sec-WebSocket-Version", &b"13"[..]);
        let key = ("Sec-WebSocket-Key", KEY);
        let accepted = |subprotocol| Verdict::Accepted {
            accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
            subprotocol,
        };
        assert_eq!(judge(&[version, key]), accepted(None));
        let offer = ("sec-websocket-protocol", &b"chat, mcp"[..]);
        assert_eq!(judge(&[version, key, offer]), accepted(Some("mcp")));
        assert_eq!(judge(&[key]), Verdict::Version);
        assert_eq!(judge(&[("Sec-WebSocket-Version", b"8"), key]), Verdict::Version);
        assert!(matches!(judge(&[version]), Verdict::Refused(_)));
        assert!(matches!(judge(&[version, key, key]), Verdict::Refused(_)));
        assert!(matches!(judge(&[version, ("sec-websocket-key", b"eA==")]), Verdict::Refused(_)));
    }
}
