//! Newline framing (MCP stdio transport: one UTF-8 message a line, no newline inside; byte streams
//! reuse it). Finds lines in a buffer that is filled from the front. Owns no buffer and copies nothing.

/// Where the search stands in a buffer whose first byte begins a line. After the lines it gave have
/// been handled, the caller drops [`LineCutter::consumed`] bytes from the front and calls
/// [`LineCutter::shifted`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LineCutter {
    /// Bytes before this belong to lines that were given.
    start: usize,
    /// Bytes before this hold no newline that was not given: a long line is searched once.
    searched: usize,
}

impl LineCutter {
    /// The next whole line of `buffer`, without its newline, its carriage return and blank lines.
    pub fn next<'b>(&mut self, buffer: &'b [u8]) -> Option<&'b [u8]> {
        loop {
            let from = self.searched.max(self.start);
            let rest = buffer.get(from..)?;
            let Some(newline) = memchr::memchr(b'\n', rest) else {
                self.searched = buffer.len();
                return None;
            };
            let end = from.wrapping_add(newline);
            let line = buffer.get(self.start..end)?;
            self.start = end.wrapping_add(1);
            self.searched = self.start;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some(line);
            }
        }
    }

    /// Bytes were taken in another way than line by line.
    pub const fn skip(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
        self.searched = self.start;
    }

    /// How many bytes at the front of the buffer are done with.
    pub const fn consumed(&self) -> usize {
        self.start
    }

    /// The caller has dropped [`LineCutter::consumed`] bytes from the front.
    pub fn shifted(&mut self) {
        self.searched = self.searched.saturating_sub(self.start);
        self.start = 0;
    }

    /// Length of the unfinished line in a buffer of `len` bytes: what a limit is compared with.
    pub const fn pending(&self, len: usize) -> usize {
        len.saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_the_same_however_the_bytes_are_split() {
        let stream =
            b"{\"a\":1}\r\n\n\n{\"b\":2}\n{\"long\":\"xxxxxxxxxxxxxxxxxxxxxxxx\"}\n{}\nrest";
        let expected: Vec<&[u8]> =
            vec![b"{\"a\":1}", b"{\"b\":2}", b"{\"long\":\"xxxxxxxxxxxxxxxxxxxxxxxx\"}", b"{}"];
        for step in 1..stream.len() {
            let mut cutter = LineCutter::default();
            let mut buffer = Vec::new();
            let mut lines: Vec<Vec<u8>> = Vec::new();
            for chunk in stream.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(line) = cutter.next(&buffer) {
                    lines.push(line.to_vec());
                }
                buffer.drain(..cutter.consumed());
                cutter.shifted();
            }
            assert_eq!(lines, expected, "step {step}");
            assert_eq!(buffer, b"rest");
            assert_eq!(cutter.pending(buffer.len()), 4);
        }
    }
}
