//! Event streams as they are read (WHATWG HTML section 9.2, "Server-sent events"): any line ending, any
//! split, comments skipped. An event without data is told too, because its id counts. Bounded.

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's type; `message` if the stream named none.
    pub kind: &'a str,
    /// Lines joined by newlines; empty for an event that only moves the id on.
    pub data: &'a str,
    /// The last id that the stream has given, this event's included.
    pub id: Option<&'a str>,
}

/// Reads one stream.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of the place in the stream")]
pub struct Decoder {
    line: Vec<u8>,
    kind: String,
    data: String,
    has_data: bool,
    id: Option<String>,
    /// The event that is being read has an id.
    has_id: bool,
    retry_ms: Option<u64>,
    after_cr: bool,
    is_first: bool,
    bytes_max: usize,
}

impl Decoder {
    /// `bytes_max`: the longest event taken.
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            kind: String::new(),
            data: String::new(),
            has_data: false,
            id: None,
            has_id: false,
            retry_ms: None,
            after_cr: false,
            is_first: true,
            bytes_max,
        }
    }

    /// The last id that the stream has given.
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// How long to wait before connecting anew, in milliseconds, if the stream said so.
    pub const fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Takes bytes; tells each event that they complete.
    pub fn push(&mut self, bytes: &[u8], mut tell: impl FnMut(Event<'_>)) -> Result<(), TooLong> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.after_cr && first == b'\n' {
                self.after_cr = false;
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            self.after_cr = false;
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                return self.keep(rest);
            };
            self.keep(rest.get(..end).unwrap_or_default())?;
            self.after_cr = rest.get(end) == Some(&b'\r');
            rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, &mut tell);
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), TooLong> {
        let total = self.line.len().saturating_add(self.data.len()).saturating_add(part.len());
        if total > self.bytes_max {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], tell: &mut impl FnMut(Event<'_>)) {
        let line = if std::mem::take(&mut self.is_first) {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            return self.dispatch(tell);
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.kind),
            "id" if !value.contains('\0') => {
                self.id = Some(value.to_owned());
                self.has_id = true;
            }
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok().or(self.retry_ms);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, tell: &mut impl FnMut(Event<'_>)) {
        if self.has_data || self.has_id {
            let kind = if self.kind.is_empty() { "message" } else { &self.kind };
            tell(Event { kind, data: &self.data, id: self.id.as_deref() });
        }
        self.kind.clear();
        self.data.clear();
        (self.has_data, self.has_id) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Vec<(String, String, Option<String>)> {
        let mut decoder = Decoder::new(1_000);
        let mut events = Vec::new();
        for part in bytes.chunks(step) {
            let tell = |event: Event<'_>| {
                events.push((
                    event.kind.to_owned(),
                    event.data.to_owned(),
                    event.id.map(str::to_owned),
                ));
            };
            decoder.push(part, tell).unwrap();
        }
        events
    }

    #[test]
    fn events_come_out_the_same_however_their_bytes_are_split() {
        let text = "\u{feff}: hi\r\nevent: endpoint\r\ndata: /m?s=1\r\n\r\nid: 1\rdata:a\rdata: b\r\r\
                    id: 2\ndata: \n\nretry: 50\ndata\n\n:\n\nignored: x\ndata: {\"é\":1}\nid: 3\n\nunfinished";
        let whole = read(text.as_bytes(), text.len());
        for step in 1..20 {
            assert_eq!(read(text.as_bytes(), step), whole, "{step}");
        }
        let expected = [
            ("endpoint", "/m?s=1", None),
            ("message", "a\nb", Some("1")),
            ("message", "", Some("2")),
            ("message", "", Some("2")),
            ("message", "{\"é\":1}", Some("3")),
        ];
        let found: Vec<_> =
            whole.iter().map(|(kind, data, id)| (&**kind, &**data, id.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_stream_says_of_itself_is_kept() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"retry: 1500\nretry: x\nid: a\n\nid: b\0\n\n", |_| {}).unwrap();
        assert_eq!((decoder.retry_ms(), decoder.last_id()), (Some(1_500), Some("a")));
    }

    #[test]
    fn an_event_is_bounded_over_all_its_lines() {
        let mut decoder = Decoder::new(100);
        assert_eq!(decoder.push(&[b'a'; 101], |_| {}), Err(TooLong));
        let mut decoder = Decoder::new(100);
        assert_eq!(decoder.push(&b"data: 0123456789\n".repeat(10), |_| {}), Err(TooLong));
        let mut decoder = Decoder::new(100);
        assert_eq!(decoder.push(&b"data: 0123456789\n\n".repeat(10), |_| {}), Ok(()));
    }
}
