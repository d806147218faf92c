//! Frames on their way to a server that has as many exchanges under way as may be. They are taken from the link
//! nevertheless, so that cancellations behind them are seen.

use std::collections::VecDeque;

use super::about::About;
use crate::gateway::mirror::Mirrors;

/// Bytes that wait here, at most one frame beyond; more wait in the link's outbox, which has a bound of its own.
const BYTES_MAX: usize = 1 << 20;

/// Frames that wait for an exchange to end.
#[derive(Default)]
pub(super) struct Backlog {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// No more is taken from the link until some of it has gone.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX
    }

    pub(super) fn push(&mut self, frame: &[u8]) {
        self.bytes += frame.len();
        self.frames.push_back(frame.to_vec());
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Removes the request of an id; false if it does not wait here.
    pub(super) fn remove(&mut self, id: &str, mirrors: &Mirrors) -> bool {
        let is_it = |frame: &Vec<u8>| {
            About::read(frame, mirrors).is_some_and(|about| about.id.as_deref() == Some(id))
        };
        let Some(at) = self.frames.iter().position(is_it) else { return false };
        if let Some(frame) = self.frames.remove(at) {
            self.bytes -= frame.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: u32) -> String {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}")
    }

    #[test]
    fn frames_leave_in_order_but_for_those_that_were_called_off() {
        let mut backlog = Backlog::default();
        for id in 1..=4 {
            backlog.push(call(id).as_bytes());
        }
        assert!(backlog.remove("2", &Mirrors::new()));
        assert!(!backlog.remove("2", &Mirrors::new()));
        assert!(!backlog.remove("9", &Mirrors::new()));
        for id in [1, 3, 4] {
            assert_eq!(backlog.pop(), Some(call(id).into_bytes()));
        }
        assert!(backlog.is_empty() && backlog.bytes == 0);
    }

    #[test]
    fn it_is_full_beyond_its_bytes() {
        let mut backlog = Backlog::default();
        backlog.push(&vec![b'x'; BYTES_MAX]);
        assert!(!backlog.is_full());
        backlog.push(b"x");
        assert!(backlog.is_full());
    }
}
