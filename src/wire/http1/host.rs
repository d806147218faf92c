//! The authority of a request: what `Host` and an absolute target may hold (RFC 9110 section 7.2, RFC 3986
//! section 3.2). No user, no path, no list: each has been used to make two servers see two hosts.

/// Whether a value is one host, with or without a port.
pub fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let is_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            let (address, after) = rest.split_at(end);
            if address.is_empty() || !address.iter().all(is_address) {
                return false;
            }
            match after {
                [_] => return true,
                [_, b':', port @ ..] => (&b"x"[..], port),
                _ => return false,
            }
        }
        _ => match memchr::memchr(b':', value) {
            Some(at) => (
                value.get(..at).unwrap_or_default(),
                value.get(at.saturating_add(1)..).unwrap_or_default(),
            ),
            None => (value, &b"0"[..]),
        },
    };
    let is_name = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
    };
    !host.is_empty()
        && host.iter().all(is_name)
        && !port.is_empty()
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}

/// A host without its port.
pub fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').and_then(|end| host.get(..=end)).unwrap_or(host);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn a_host_is_one_name_or_address_with_or_without_a_port() {
        for good in ["a", "a.test", "127.0.0.1:80", "[::1]", "[::1]:8080", "x_y-z.example:65535"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:x", "a:123456", "u@a", "a/b", "a,b", "a b", "a\tb", "[::1", "[]",
            "[::1]x", "a#b", "a?b", "a\\b", "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
