//! The spellings of a URI, for rules to be held against: a server may take `file:///a/../b`, `file:///%62`,
//! `file:/b`, `FILE:///b` and `file:///b?c` for the same, and then so must a rule. Bolder than RFC 3986
//! section 6.2.2, which keeps apart what some servers do not: every escape is undone, and empty segments go.
//! Most servers read URIs as browsers do (WHATWG "URL", which the SDKs use), some by hand: where they
//! differ, each reading is a spelling of its own.

use std::borrow::Cow;

/// What one URI may mean beside what it says. Nothing, if it has one spelling only.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spellings {
    /// Each may be what the server reads: a rule that denies one of them denies the URI, and all must be
    /// allowed.
    pub(super) read: Vec<String>,
    /// The same without a part that most servers go by and some do not: for rules that deny.
    pub(super) loose: Vec<String>,
}

/// Schemes whose URIs have an authority however many slashes there are, with their ports (WHATWG "URL",
/// "special scheme").
const SPECIAL: [(&str, &str); 5] =
    [("http", ":80"), ("https", ":443"), ("ws", ":80"), ("wss", ":443"), ("ftp", ":21")];
const FILE: &str = "file";

/// What `..` goes up to, and what becomes of the host of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authority {
    /// It is as good as a folder, as it is to servers that have schemes of their own.
    Folder,
    Root,
    /// Servers that open files look at the path alone.
    Dropped,
}

/// All spellings; see [`Spellings`].
pub(super) fn spellings(uri: &str) -> Spellings {
    let mut found = Spellings::default();
    if is_plain(uri) {
        return found;
    }
    let clean = clean(uri);
    let (body, suffix) = clean.split_at(clean.find(['?', '#']).unwrap_or(clean.len()));
    let is_file = scheme(&clean).eq_ignore_ascii_case(FILE);
    for authority in [Authority::Folder, Authority::Root] {
        found.read.push(plain(&clean, authority).into_owned());
        if !suffix.is_empty() {
            let bare = plain(body, authority).into_owned();
            found.read.push(format!("{bare}{suffix}"));
            // A file has no query (RFC 8089), so nobody reads one.
            if is_file { &mut found.read } else { &mut found.loose }.push(bare);
        }
    }
    if is_file {
        found.loose.push(plain(body, Authority::Dropped).into_owned());
        found.loose.push(plain(&clean, Authority::Dropped).into_owned());
    }
    for list in [&mut found.read, &mut found.loose] {
        list.sort_unstable();
        list.dedup();
        list.retain(|spelling| spelling != uri);
    }
    found
}

/// As browsers begin: without what is white around it, and without tabs and line breaks anywhere.
fn clean(uri: &str) -> Cow<'_, str> {
    let trimmed = uri.trim_matches(|c: char| c <= ' ');
    if trimmed.contains(['\t', '\n', '\r']) {
        trimmed.replace(['\t', '\n', '\r'], "").into()
    } else {
        trimmed.into()
    }
}

fn scheme(uri: &str) -> &str {
    uri.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// One plain spelling; borrowed if the URI has it already.
fn plain(uri: &str, treats: Authority) -> Cow<'_, str> {
    let decoded = decoded(uri);
    let (scheme, rest) = decoded.split_once(':').unwrap_or(("", &decoded));
    let scheme = scheme.to_ascii_lowercase();
    let port = SPECIAL.iter().find(|(special, _)| *special == scheme).map(|(_, port)| *port);
    let slashed = match port {
        Some(_) => format!("//{}", rest.trim_start_matches('/')),
        None if scheme == FILE && !rest.starts_with("//") => {
            format!("///{}", rest.trim_start_matches('/'))
        }
        None => rest.to_owned(),
    };
    let mut out = scheme;
    if !out.is_empty() {
        out.push(':');
    }
    let (authority, path) = match slashed.strip_prefix("//") {
        Some(rest) => {
            out.push_str("//");
            rest.split_at(rest.find('/').unwrap_or(rest.len()))
        }
        None => ("", &*slashed),
    };
    let mut authority = authority.to_ascii_lowercase();
    if let Some(port) = port {
        let host = authority.rsplit('@').next().unwrap_or_default();
        authority = host.strip_suffix(port).unwrap_or(host).to_owned();
    }
    if treats == Authority::Dropped {
        authority.clear();
    }
    if authority.is_empty() && path.starts_with('/') {
        out.push('/');
    }
    let root = usize::from(treats == Authority::Root && !authority.is_empty());
    let mut segments: Vec<&str> = Vec::new();
    for segment in std::iter::once(&*authority).chain(path.split('/')) {
        match segment {
            "" | "." => {}
            ".." => segments.truncate(segments.len().saturating_sub(1).max(root)),
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
    let scheme = scheme(uri);
    let is_special = SPECIAL.iter().any(|(special, _)| *special == scheme);
    let host = head.get(scheme.len()..).unwrap_or_default();
    !uri.bytes().any(|byte| byte <= b' ' || matches!(byte, b'%' | b'\\' | b'?' | b'#'))
        && !head.bytes().any(|byte| byte.is_ascii_uppercase())
        && !uri.contains("/.")
        && !path.contains("//")
        && !uri.contains(":.")
        && (scheme != FILE || (host == "://" && !path.is_empty()))
        && (!is_special
            || host
                .strip_prefix("://")
                .is_some_and(|host| !host.is_empty() && !host.contains(['@', ':'])))
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

    fn folder(uri: &str) -> Cow<'_, str> {
        plain(uri, Authority::Folder)
    }

    #[test]
    fn spellings_of_the_same_become_one() {
        for uri in [
            "FILE:///srv/secret/x",
            "file:///srv/public/../secret/x",
            "file:///srv/./secret//x",
            "file:///srv/%73ecret/x",
            "file:///srv%2Fsecret%2fx",
            "file:///srv/public/%2e%2E/secret/x",
            "file:///srv\\secret\\x",
            "file:////srv/secret/x",
            "file:/srv/secret/x",
            "file:srv/secret/x",
            "file:///../srv/secret/x",
            " file:///srv/secret/x",
            "file:///srv/sec\tret/x",
            "fi\nle:///srv/public/.\r./secret/x",
        ] {
            assert!(spellings(uri).read.iter().all(|it| it == "file:///srv/secret/x"), "{uri}");
            assert!(!spellings(uri).read.is_empty(), "{uri}");
        }
        assert_eq!(folder("HTTP://Host.example/A/.."), "http://host.example/");
        assert_eq!(folder("note:a/../b"), "note:b");
        assert_eq!(folder("db://Public/../private/x"), "db://private/x");
    }

    #[test]
    fn what_servers_read_differently_is_spelled_in_each_way() {
        let read = |uri: &str, wanted: &str| {
            let read = spellings(uri).read;
            assert!(read.iter().any(|it| it == wanted), "{uri}: {read:?}");
        };
        let loose = |uri: &str, wanted: &str| {
            let loose = spellings(uri).loose;
            assert!(loose.iter().any(|it| it == wanted), "{uri}: {loose:?}");
        };
        // A query is a part of the path, or goes.
        read("file:///srv/%73ecret/x?/../../public/y", "file:///srv/secret/x");
        read("file:///srv/public?/../secret/x", "file:///srv/secret/x");
        read("db://a/%71?all=1/../..", "db://a/q?all=1/../..");
        loose("db://a/b#c", "db://a/b");
        // No way leads up out of a host, or it is a folder.
        read("https://host/../secret/x", "https://host/secret/x");
        read("db://public/../secret/x", "db://secret/x");
        // The host of a file is looked at, or not.
        loose("file://localhost/srv/secret/x", "file:///srv/secret/x");
        loose("file://any/srv/%73ecret/x", "file:///srv/secret/x");
        for uri in [
            "https:host/x",
            "https:/host/x",
            "https:\\host/x",
            "https://u:p@host/x",
            "https://host:443/x",
        ] {
            read(uri, "https://host/x");
        }
    }

    #[test]
    fn what_is_plain_stays_as_it_is() {
        for uri in [
            "file:///a/b.txt",
            "db://main/users/",
            "db://main:7/x",
            "clock://now",
            "https://host/a",
            "x",
            "",
            "urn:a:B:c",
        ] {
            assert_eq!(spellings(uri), Spellings::default(), "{uri}");
        }
        for uri in ["%", "%2", "%zz", "a:%", "//", "../..", "file:///..", "http://h", "\u{fc}:%fc"]
        {
            for treats in [Authority::Folder, Authority::Root, Authority::Dropped] {
                let once = plain(uri, treats).into_owned();
                assert_eq!(plain(&once, treats), once, "{uri}");
            }
        }
    }
}
