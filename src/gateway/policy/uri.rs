//! The plain spelling of a URI, for rules to be held against: a server may take `file:///a/../b`,
//! `file:///%62` and `FILE:///b` for the same, and then so must a rule. Bolder than RFC 3986 section 6.2.2,
//! which keeps apart what some servers do not: every escape is undone, and empty segments go.

use std::borrow::Cow;

/// The plain spelling; borrowed if the URI has it already.
pub(super) fn plain(uri: &str) -> Cow<'_, str> {
    if is_plain(uri) {
        return Cow::Borrowed(uri);
    }
    let decoded = decoded(uri);
    let (scheme, rest) = decoded.split_once(':').unwrap_or(("", &decoded));
    let mut out = scheme.to_ascii_lowercase();
    if !scheme.is_empty() {
        out.push(':');
    }
    // What looks like an authority is a folder to servers that have schemes of their own.
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            out.push_str("//");
            rest.split_at(rest.find('/').unwrap_or(rest.len()))
        }
        None => ("", rest),
    };
    let authority = authority.to_ascii_lowercase();
    if authority.is_empty() && path.starts_with('/') {
        out.push('/');
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in std::iter::once(&*authority).chain(path.split('/')) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    out.push_str(&segments.join("/"));
    let is_folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    if is_folder && !segments.is_empty() {
        out.push('/');
    }
    if out == uri { Cow::Borrowed(uri) } else { Cow::Owned(out) }
}

/// Whether nothing in it could be spelled otherwise. May err on the side of no.
fn is_plain(uri: &str) -> bool {
    let authority = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let end = uri.len() - authority.len() + authority.find('/').unwrap_or(authority.len());
    let (head, path) = uri.split_at(end);
    !head.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'%')
        && !path.bytes().any(|byte| matches!(byte, b'%' | b'\\'))
        && !uri.contains("/.")
        && !path.contains("//")
        && !uri.contains(":.")
}

/// Escapes undone, and `\` as the `/` that some take it for.
fn decoded(uri: &str) -> String {
    let mut bytes = Vec::with_capacity(uri.len());
    let mut rest = uri.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        let escaped =
            (*byte == b'%').then(|| u8::try_from(digit(0)? * 16 + digit(1)?).ok()).flatten();
        let plain = match escaped {
            Some(escaped) => {
                rest = tail.get(2..).unwrap_or_default();
                escaped
            }
            None => *byte,
        };
        bytes.push(if plain == b'\\' { b'/' } else { plain });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_the_same_become_one() {
        for uri in [
            "file:///srv/secret/x",
            "FILE:///srv/secret/x",
            "file:///srv/public/../secret/x",
            "file:///srv/./secret//x",
            "file:///srv/%73ecret/x",
            "file:///srv%2Fsecret%2fx",
            "file:///srv/public/%2e%2E/secret/x",
            "file:///srv\\secret\\x",
            "file:////srv/secret/x",
        ] {
            assert_eq!(plain(uri), "file:///srv/secret/x", "{uri}");
        }
        assert_eq!(plain("HTTP://Host.example/A/.."), "http://host.example/");
        assert_eq!(plain("note:a/../b"), "note:b");
        assert_eq!(plain("db://Public/../private/x"), "db://private/x");
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        for uri in ["file:///a/b.txt", "db://main/users/", "clock://now", "x", "", "urn:a:B:c"] {
            assert!(matches!(plain(uri), Cow::Borrowed(same) if same == uri), "{uri}");
        }
        for uri in ["%", "%2", "%zz", "a:%", "//", "../..", "file:///..", "http://h", "\u{fc}:%fc"]
        {
            let once = plain(uri).into_owned();
            assert_eq!(plain(&once), once, "{uri}");
        }
    }
}
