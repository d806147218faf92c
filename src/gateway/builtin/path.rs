//! Which paths may be asked of the configured folder. The first of two checks: whoever opens the file
//! must not follow a link out of the folder either, and only it can know.

/// Longest path taken, in bytes: what Linux takes (`PATH_MAX`, its closing NUL left out).
pub(super) const PATH_BYTES_MAX: usize = 4_095;

/// Takes a path relative to the folder that cannot climb out of it.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("The path is empty.");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("The path is longer than the limit path_bytes_max (4095).");
    }
    if path.contains('\0') {
        return Err("The path holds a NUL character.");
    }
    if path.starts_with('/') {
        return Err("The path is absolute; it must be relative to the served folder.");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("The path holds \"..\"; it must stay in the served folder.");
    }
    Ok(())
}

/// Undoes percent-encoding (RFC 3986 section 2.1). `None` for a broken escape or bytes that are not
/// UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        for path in ["", "/etc/passwd", "..", "../a", "a/../../b", "a/..", "a\0b"] {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check(&"x".repeat(PATH_BYTES_MAX + 1)).is_err());
        for path in ["a", "a/b.txt", "./a", "..a", "a..", "...", "a\\..\\b", "ä/ß"] {
            assert!(check(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn percent_escapes_are_undone_or_refused() {
        assert_eq!(percent_decoded("a%2Fb%20%C3%A4").as_deref(), Some("a/b ä"));
        for broken in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }
}
