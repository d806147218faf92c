//! HTTP/1.1 around messages: a request's head, and which response answers which request. On one connection responses
//! come in the order of their requests (RFC 9112 section 9.3.2), so an answer has a place as well as an id, and both
//! must be right. Not the opening of a session: see `handshake`.

use std::collections::VecDeque;

use crate::check::{Checker, Step};
use crate::chunked::Chunks;
use crate::events;
use crate::fault::Fault;
use crate::head::{self, Head, Length};
use crate::request::{Era, Kind, Request};
use crate::slots::{Found, Slots, Waiting};
use crate::target::Web;

/// Puts the head of a POST before the message. A legacy request has a place for the header that names its session.
pub fn dress(message: &Request, web: &Web, era: Era, tool: &str) -> Request {
    let body = message.bytes.strip_suffix(b"\n").unwrap_or(&message.bytes);
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n",
        web.path, web.authority
    );
    for (name, value) in routing(message.kind, era, tool) {
        head.extend([name, ": ", &value, "\r\n"]);
    }
    let session_at = (era == Era::Legacy).then_some(head.len());
    head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
    let shift = head.len();
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    Request {
        message: shift..bytes.len(),
        bytes,
        id_at: message.id_at + shift,
        token_at: message.token_at.map(|at| at + shift),
        session_at,
        kind: message.kind,
        mask: None,
    }
}

/// The headers that say what the body says (MCP 2026-07-28, "HTTP headers on every POST").
pub fn routing(kind: Kind, era: Era, tool: &str) -> Vec<(&'static str, String)> {
    let mut headers = vec![("MCP-Protocol-Version", era.version().to_owned())];
    if era == Era::Modern {
        headers.push(("Mcp-Method", kind.method().to_owned()));
        if kind == Kind::ToolsCall {
            headers.push(("Mcp-Name", tool.to_owned()));
        }
    }
    headers
}

/// The header that names a session, as it stands in a head.
pub fn session_header(id: &[u8]) -> Vec<u8> {
    [b"Mcp-Session-Id: ", id, b"\r\n"].concat()
}

/// The exchanges of one connection.
#[derive(Debug, Default)]
pub struct Exchanges {
    /// Ids of requests whose responses have not come, in the order they were sent.
    waiting: VecDeque<u64>,
    /// The last head and what it said: a head that equals it needs no second parse.
    last: Option<(Vec<u8>, Head)>,
    body: Vec<u8>,
    joined: Vec<u8>,
}

impl Exchanges {
    /// Request `id` has been sent.
    pub fn asked(&mut self, id: u64) {
        self.waiting.push_back(id);
    }

    /// Judges the response that `bytes` begin with.
    pub fn step(
        &mut self,
        bytes: &[u8],
        checker: &mut Checker,
        slots: &mut Slots,
        salt: u64,
    ) -> Step {
        // What is no response leaves no place where the next one could begin.
        let broken = Step::Wrong(bytes.len(), Fault::Malformed, None);
        let head = match self.head(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return Step::Partial,
            Err(_) => return broken,
        };
        if (100..200).contains(&head.status) {
            return Step::Passed(head.bytes);
        }
        let rest = &bytes[head.bytes..];
        let (len, body) = match head.body {
            Length::Known(length) => match rest.get(..length) {
                Some(body) => (head.bytes + length, body),
                None => return Step::Partial,
            },
            Length::Chunked => {
                let mut chunks = Chunks::default();
                self.body.clear();
                match chunks.feed(rest, &mut self.body) {
                    Some(used) if chunks.is_over() => (head.bytes + used, self.body.as_slice()),
                    Some(_) => return Step::Partial,
                    None => return broken,
                }
            }
            Length::Open => return broken,
        };
        let Some(id) = self.waiting.pop_front() else {
            return Step::Wrong(len, Fault::UnknownId, None);
        };
        let Found::Waiting(waiting) = slots.find(id) else {
            return Step::Wrong(len, Fault::UnknownId, None);
        };
        let exchange = Exchange { id, status: head.status, is_stream: head.is_stream, body };
        match exchange.judge(&mut self.joined, checker, slots, salt) {
            Ok(_) => Step::Right(len, waiting),
            Err(fault) => Step::Wrong(len, fault, Some(waiting)),
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<Head>, httparse::Error> {
        if let Some((last, head)) = &self.last
            && bytes.starts_with(last)
        {
            return Ok(Some(*head));
        }
        let head = head::read(bytes)?;
        if let Some(head) = head {
            self.last = Some((bytes[..head.bytes].to_vec(), head));
        }
        Ok(head)
    }
}

/// A whole response to a request that waits, over whatever HTTP.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The request's id.
    pub id: u64,
    /// The response's status.
    pub status: u16,
    /// Whether its body is an event stream.
    pub is_stream: bool,
    /// All of its body.
    pub body: &'a [u8],
}

impl Exchange<'_> {
    /// Judges it; the request waits no more, whatever came of it. `joined` is room for data of several lines.
    pub fn judge(
        &self,
        joined: &mut Vec<u8>,
        checker: &mut Checker,
        slots: &mut Slots,
        salt: u64,
    ) -> Result<Waiting, Fault> {
        let step = if self.status != 200 {
            Step::Wrong(0, Fault::Refused, None)
        } else if self.is_stream {
            stream(self.body, joined, checker, slots, (salt, self.id))
        } else {
            checker.whole(self.body, slots, salt, Some(self.id))
        };
        match step {
            Step::Right(_, waiting) => Ok(waiting),
            Step::Wrong(_, fault, Some(_)) => Err(fault),
            // The exchange is over, though nothing in it named this request.
            Step::Wrong(_, fault, None) => {
                slots.close(self.id);
                Err(fault)
            }
            Step::Passed(_) | Step::Partial => {
                slots.close(self.id);
                Err(Fault::Unanswered)
            }
        }
    }
}

/// An answer in an event stream: notifications may come before it, nothing may come behind it.
fn stream(
    mut body: &[u8],
    joined: &mut Vec<u8>,
    checker: &mut Checker,
    slots: &mut Slots,
    (salt, id): (u64, u64),
) -> Step {
    let mut answer = Step::Passed(0);
    while let Some((used, data)) = events::next(body, joined) {
        body = &body[used..];
        if data.is_empty() {
            continue;
        }
        match (checker.whole(data, slots, salt, Some(id)), &answer) {
            (Step::Passed(_), Step::Passed(_)) => checker.passed += 1,
            (step, Step::Passed(_)) => answer = step,
            (Step::Wrong(len, fault, _), Step::Right(_, waiting)) => {
                answer = Step::Wrong(len, fault, Some(*waiting));
            }
            (_, Step::Right(len, waiting)) => {
                answer = Step::Wrong(*len, Fault::Repeated, Some(*waiting));
            }
            (_, Step::Wrong(..) | Step::Partial) => {}
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Tool;
    use crate::target::Target;

    fn call(era: Era) -> Request {
        let tool =
            Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes: 40 };
        let Target::Web(web) = "http://127.0.0.1:80/mcp".parse().unwrap() else { panic!() };
        dress(&Request::new(Kind::ToolsCall, era, &tool), &web, era, "echo")
    }

    #[test]
    fn a_dressed_request_is_a_post_with_its_length_and_routing() {
        let mut out = Vec::new();
        call(Era::Modern).render(1_234_567_890_123_456, 7, b"", &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n"), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert!(body.contains("1234567890123456") && body.contains("0000000000000007"));
    }

    #[test]
    fn a_session_stands_in_the_head_and_nowhere_else() {
        let mut out = Vec::new();
        call(Era::Legacy).render(1_234_567_890_123_456, 7, &session_header(b"abc"), &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nMcp-Session-Id: abc\r\nContent-Length: "), "{head}");
        let message: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(message["id"], 1_234_567_890_123_456_u64);
        assert!(body.contains("\"0000000000000007The"), "{body}");
    }
}
