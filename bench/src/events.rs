//! Server-sent events (HTML Living Standard, section 9.2): the data of each, as it comes. Ids, names and comments are
//! passed over.

use memchr::memchr;

/// The next event in `bytes`: how many bytes it takes and its data, `None` when it is not whole yet. An event without
/// data (a comment, a priming id) has empty data.
pub fn next<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> Option<(usize, &'a [u8])> {
    let mut at = 0;
    let mut data: Option<&[u8]> = None;
    joined.clear();
    loop {
        let end = at + memchr(b'\n', &bytes[at..])?;
        let line = bytes[at..end].strip_suffix(b"\r").unwrap_or(&bytes[at..end]);
        at = end + 1;
        if line.is_empty() {
            let data = data.unwrap_or_default();
            return Some((at, if joined.is_empty() { data } else { joined }));
        }
        let Some(value) = line.strip_prefix(b"data:") else { continue };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if let Some(first) = data {
            // Of several lines: rare, so only they are copied.
            if joined.is_empty() {
                joined.extend_from_slice(first);
            }
            joined.push(b'\n');
            joined.extend_from_slice(value);
        } else {
            data = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_empty_lines_and_only_their_data_counts() {
        let text = b": beat\n\nid: 4\r\nevent: message\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\n\ndata: half";
        let mut joined = Vec::new();
        let mut at = 0;
        let mut heard = Vec::new();
        while let Some((used, data)) = next(&text[at..], &mut joined) {
            heard.push(String::from_utf8_lossy(data).into_owned());
            at += used;
        }
        assert_eq!(heard, ["", "{\"a\":1}", "x\ny"]);
        assert_eq!(&text[at..], b"data: half");
    }
}
