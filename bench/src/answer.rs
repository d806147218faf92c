//! The full check of one answer, by parsing it, and the shape that is learned from an answer that passed: the same
//! bytes but for id and token. An answer that equals a shape needs no parsing, because it equals one that was parsed.

use std::ops::Range;

use memchr::memmem;
use serde_json::Value;

use crate::digits::{WIDTH, id_bytes, read_id, token_bytes};
use crate::fault::Fault;
use crate::request::{Era, Kind};

/// A line as the parser sees it.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// An answer: its id and its whole.
    Answer(Option<u64>, Value),
    /// A notification.
    Notification,
    /// A request of the server.
    Request,
    /// Not a message.
    Malformed,
}

/// Sorts a line.
pub fn sort(line: &[u8]) -> Line {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Line::Malformed };
    if !value.is_object() || value["jsonrpc"] != "2.0" {
        return Line::Malformed;
    }
    match (value.get("method").is_some(), value.get("id").is_some()) {
        (true, true) => Line::Request,
        (true, false) => Line::Notification,
        (false, _) => Line::Answer(value["id"].as_u64(), value),
    }
}

/// Checks that `answer` is the result that a request of `kind` must get; `message` is what was sent to the echo.
pub fn judge(answer: &Value, kind: Kind, era: Era, message: &str) -> Result<(), Fault> {
    let Some(result) = answer.get("result") else { return Err(Fault::ErrorAnswer) };
    if answer.get("error").is_some() || result["isError"] == true {
        return Err(Fault::ErrorAnswer);
    }
    let complete = era == Era::Legacy || result["resultType"] == "complete";
    let right = match kind {
        Kind::Ping => result.is_object(),
        Kind::Discover => result["supportedVersions"].is_array(),
        Kind::ToolsList => result["tools"].as_array().is_some_and(|tools| !tools.is_empty()),
        Kind::ToolsCall => result["content"].as_array().is_some_and(|content| {
            let mut texts = content.iter().filter_map(|part| part["text"].as_str());
            texts.any(|text| text.contains(message))
        }),
    };
    if complete && right { Ok(()) } else { Err(Fault::WrongContent) }
}

/// The bytes of an answer that was checked in full, with holes for id and tokens.
#[derive(Debug)]
pub struct Shape {
    bytes: Vec<u8>,
    id_at: usize,
    tokens_at: Vec<usize>,
    /// What stands between the holes; newline included.
    fixed: Vec<Range<usize>>,
}

impl Shape {
    /// Learns from `line` (newline included), which answered `id` and returned `token`. `None` when it does not show
    /// where its id stands, or shows no token where one was sent.
    pub fn learn(line: &[u8], id: u64, token: Option<u64>) -> Option<Self> {
        let mut ids = memmem::find_iter(line, &id_bytes(id)).collect::<Vec<_>>();
        let tokens_at = match token {
            Some(token) => memmem::find_iter(line, &token_bytes(token)).collect::<Vec<_>>(),
            None => Vec::new(),
        };
        let id_at = ids.pop().filter(|_| ids.is_empty())?;
        if token.is_some() && tokens_at.is_empty() {
            return None;
        }
        Some(Self::with_holes(line, id_at, tokens_at))
    }

    /// The shape of `line` with the holes given; they do not overlap.
    pub fn with_holes(line: &[u8], id_at: usize, tokens_at: Vec<usize>) -> Self {
        let mut holes = tokens_at.clone();
        holes.push(id_at);
        holes.sort_unstable();
        let mut fixed = Vec::new();
        let mut from = 0;
        for hole in holes {
            fixed.push(from..hole);
            from = hole + WIDTH;
        }
        fixed.push(from..line.len());
        fixed.retain(|range| !range.is_empty());
        Self { bytes: line.to_vec(), id_at, tokens_at, fixed }
    }

    /// Length with the newline.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The id that `bytes` would answer if they had this shape.
    pub fn id(&self, bytes: &[u8]) -> Option<u64> {
        if bytes.len() < self.bytes.len() {
            return None;
        }
        read_id(&bytes[self.id_at..])
    }

    /// Whether `bytes` begin with this shape and return `token`; `id` has found the id in them.
    pub fn fits(&self, bytes: &[u8], token: u64) -> bool {
        let Some(bytes) = bytes.get(..self.bytes.len()) else { return false };
        let expected = token_bytes(token);
        self.tokens_at.iter().all(|at| bytes[*at..*at + WIDTH] == expected)
            && self.fixed.iter().all(|range| bytes[range.clone()] == self.bytes[range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits::ID_MIN;

    fn echo(id: u64, text: &str) -> Vec<u8> {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n").into_bytes()
    }

    fn judged(line: &[u8], kind: Kind, era: Era) -> Result<(), Fault> {
        let Line::Answer(_, value) = sort(line) else { return Err(Fault::Malformed) };
        judge(&value, kind, era, "hello")
    }

    #[test]
    fn only_the_echo_of_the_message_is_right() {
        assert_eq!(judged(&echo(1, "Echo: hello"), Kind::ToolsCall, Era::Legacy), Ok(()));
        assert_eq!(
            judged(&echo(1, "Echo: hullo"), Kind::ToolsCall, Era::Legacy),
            Err(Fault::WrongContent)
        );
        assert_eq!(
            judged(&echo(1, "hello"), Kind::ToolsList, Era::Legacy),
            Err(Fault::WrongContent)
        );
        assert_eq!(
            judged(&echo(1, "hello"), Kind::ToolsCall, Era::Modern),
            Err(Fault::WrongContent),
            "no resultType"
        );
    }

    #[test]
    fn errors_are_errors_in_both_of_their_forms() {
        let rpc = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"hello"}}"#;
        assert_eq!(judged(rpc, Kind::ToolsCall, Era::Legacy), Err(Fault::ErrorAnswer));
        let tool = br#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[{"type":"text","text":"hello"}]}}"#;
        assert_eq!(judged(tool, Kind::ToolsCall, Era::Legacy), Err(Fault::ErrorAnswer));
    }

    #[test]
    fn lines_are_sorted_by_method_and_id() {
        assert_eq!(
            sort(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#),
            Line::Notification
        );
        assert_eq!(sort(br#"{"jsonrpc":"2.0","method":"ping","id":1}"#), Line::Request);
        assert_eq!(sort(br#"{"jsonrpc":"1.0","id":1,"result":{}}"#), Line::Malformed);
        assert_eq!(sort(b"{"), Line::Malformed);
    }

    #[test]
    fn a_shape_fits_its_like_and_nothing_that_differs_in_a_byte() {
        let text = |token: u64| format!("Echo: {token:016x} and more");
        let shape = Shape::learn(&echo(ID_MIN, &text(7)), ID_MIN, Some(7)).unwrap();
        let other = echo(ID_MIN + 5, &text(9));
        assert_eq!(shape.id(&other), Some(ID_MIN + 5));
        assert!(shape.fits(&other, 9));
        assert!(!shape.fits(&other, 7), "another's token");
        let id_at = memmem::find(&other, &id_bytes(ID_MIN + 5)).unwrap();
        for at in (0..other.len()).filter(|at| !(id_at..id_at + WIDTH).contains(at)) {
            let mut bent = other.clone();
            bent[at] ^= 1;
            assert!(!shape.fits(&bent, 9), "byte {at}");
        }
    }

    #[test]
    fn nothing_is_learned_from_an_answer_that_hides_its_id() {
        let twice = echo(ID_MIN, &format!("{ID_MIN} {:016x}", 7));
        assert!(Shape::learn(&twice, ID_MIN, Some(7)).is_none());
        assert!(Shape::learn(&echo(ID_MIN, "no token"), ID_MIN, Some(7)).is_none());
    }
}
