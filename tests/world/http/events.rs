//! Event streams as a visitor reads them (HTML Living Standard "Server-sent events", as far as MCP uses it).
//! What is cut off in the middle of an event is no event.

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub data: String,
}

/// The bytes of a stream that make no whole event yet.
#[derive(Debug, Default)]
pub struct Events {
    buffer: Vec<u8>,
}

impl Events {
    /// The events that these bytes complete. Comments say only that the stream lives.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8(block).map_err(|error| error.to_string())?;
            let retry = block.trim_end().strip_prefix("retry: ");
            if block.starts_with(':') || retry.is_some_and(|ms| ms.parse::<u32>().is_ok()) {
                continue;
            }
            let mut event = Event { id: None, data: String::new() };
            for line in block.lines().filter(|line| !line.is_empty()) {
                match line.split_once(": ") {
                    Some(("id", id)) if event.id.is_none() => event.id = Some(id.to_owned()),
                    Some(("event", "message")) => {}
                    Some(("data", data)) if event.data.is_empty() => {
                        data.clone_into(&mut event.data);
                    }
                    _ => return Err(format!("a line that is no field: {line}")),
                }
            }
            events.push(event);
        }
        Ok(events)
    }
}
