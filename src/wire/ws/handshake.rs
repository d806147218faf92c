//! The opening handshake (RFC 6455 section 4), as values: who carries the HTTP around it is elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::deflate::{self, Agreed};

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
    /// 101 with this accept, the subprotocol if it was offered, and permessage-deflate likewise.
    Accepted { accept: String, subprotocol: Option<&'static str>, packs: Option<Agreed> },
    /// 426: another version is spoken here.
    Version,
    /// 400, and why.
    Refused(&'static str),
}

/// Judges a request's headers; that it asks for an upgrade to `websocket` has been seen. `packs`: whether
/// messages may be compressed.
pub fn judge<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>, packs: bool) -> Verdict {
    let (mut key, mut version, mut offers, mut agreed) = (None, None, false, None);
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
        } else if packs && agreed.is_none() && is("sec-websocket-extensions") {
            agreed = deflate::accept(value);
        }
    }
    if version != Some(b"13") {
        return Verdict::Version;
    }
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
    if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
        return Verdict::Refused("the header Sec-WebSocket-Key must be 16 bytes in base64");
    }
    let subprotocol = offers.then_some(SUBPROTOCOL);
    Verdict::Accepted { accept: accept(key), subprotocol, packs: agreed }
}

/// A client's key: 16 random bytes in base64.
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Judges a server's answer to a client that sent `key` and offered [`SUBPROTOCOL`], and [`deflate::OFFER`]
/// if it `offers` that (RFC 6455 section 4.1). Says what was agreed on for compressed messages.
///
/// # Errors
/// What is wrong with the answer.
pub fn answered<'a>(
    status: u16,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    key: &str,
    offers: bool,
) -> Result<Option<Agreed>, &'static str> {
    if status != 101 {
        return Err("the server does not upgrade to a WebSocket");
    }
    let (mut upgrades, mut connects, mut accepts) = (false, false, false);
    let mut packs = None;
    for (name, value) in headers {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let lists = |wanted: &[u8]| {
            value
                .split(|&byte| byte == b',')
                .any(|one| one.trim_ascii().eq_ignore_ascii_case(wanted))
        };
        if is("upgrade") {
            upgrades |= lists(b"websocket");
        } else if is("connection") {
            connects |= lists(b"upgrade");
        } else if is("sec-websocket-accept") {
            accepts = value.trim_ascii() == accept(key).as_bytes();
        } else if is("sec-websocket-protocol") && value.trim_ascii() != SUBPROTOCOL.as_bytes() {
            return Err("the server chose a subprotocol that was not offered");
        } else if is("sec-websocket-extensions") && !value.trim_ascii().is_empty() {
            if !offers || packs.is_some() {
                return Err("the server chose an extension that was not offered");
            }
            packs = deflate::is_accepted(value)?.then_some(Agreed::CLIENT);
        }
    }
    match (upgrades && connects, accepts) {
        (false, _) => Err("the server's 101 is not for a WebSocket"),
        (true, false) => Err("the server's Sec-WebSocket-Accept is not for our key"),
        (true, true) => Ok(packs),
    }
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
    fn an_answer_is_judged_by_status_upgrade_and_accept() {
        let accept = ("Sec-WebSocket-Accept", &b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]);
        let upgrade = ("Upgrade", &b"WebSocket"[..]);
        let connection = ("Connection", &b"keep-alive, Upgrade"[..]);
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let judged = |status, headers: &[(&'static str, &'static [u8])]| {
            answered(status, headers.iter().copied(), key, false)
        };
        assert_eq!(judged(101, &[upgrade, connection, accept]), Ok(None));
        let mcp = ("Sec-WebSocket-Protocol", &b"mcp"[..]);
        assert_eq!(judged(101, &[upgrade, connection, accept, mcp]), Ok(None));
        assert!(judged(200, &[upgrade, connection, accept]).is_err());
        assert!(judged(101, &[upgrade, accept]).is_err());
        assert!(judged(101, &[connection, accept]).is_err());
        assert!(judged(101, &[upgrade, connection]).is_err());
        assert!(judged(101, &[upgrade, connection, ("sec-websocket-accept", b"x")]).is_err());
        let other = ("Sec-WebSocket-Protocol", &b"chat"[..]);
        assert!(judged(101, &[upgrade, connection, accept, other]).is_err());
        let deflate = ("Sec-WebSocket-Extensions", &b"permessage-deflate"[..]);
        assert!(judged(101, &[upgrade, connection, accept, deflate]).is_err());
        let deflate = ("Sec-WebSocket-Extensions", deflate::OFFER.as_bytes());
        let offered = [upgrade, connection, accept, deflate];
        assert!(judged(101, &offered).is_err());
        let answer = answered(101, offered.iter().copied(), key, true);
        assert_eq!(answer, Ok(Some(Agreed::CLIENT)));
    }

    #[test]
    fn a_request_is_judged_by_version_and_key() {
        let judge =
            |headers: &[(&'static str, &'static [u8])]| judge(headers.iter().copied(), false);
        let version = ("Sec-WebSocket-Version", &b"13"[..]);
        let key = ("Sec-WebSocket-Key", KEY);
        let accepted = |subprotocol| Verdict::Accepted {
            accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
            subprotocol,
            packs: None,
        };
        assert_eq!(judge(&[version, key]), accepted(None));
        let deflate = ("Sec-WebSocket-Extensions", &b"permessage-deflate"[..]);
        assert_eq!(judge(&[version, key, deflate]), accepted(None), "it is not wanted here");
        let offer = ("sec-websocket-protocol", &b"chat, mcp"[..]);
        assert_eq!(judge(&[version, key, offer]), accepted(Some("mcp")));
        assert_eq!(judge(&[key]), Verdict::Version);
        assert_eq!(judge(&[("Sec-WebSocket-Version", b"8"), key]), Verdict::Version);
        assert!(matches!(judge(&[version]), Verdict::Refused(_)));
        assert!(matches!(judge(&[version, key, key]), Verdict::Refused(_)));
        assert!(matches!(judge(&[version, ("sec-websocket-key", b"eA==")]), Verdict::Refused(_)));
    }
}
