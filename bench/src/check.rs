//! The check of every answer: is it one line, to a request that waits on this very connection, the first for its id,
//! a result, and what was asked for? Most answers equal a learned `Shape` and cost two comparisons; all others are
//! parsed. Not the reaction: `lane` sends on and counts.

use memchr::memchr;

use crate::answer::{Line, Shape, judge, sort};
use crate::digits::{scatter, token_bytes};
use crate::fault::Fault;
use crate::request::{Era, Kind, Request, message};
use crate::slots::{Found, Slots, Waiting};

/// Shapes kept for one request: a server that answers in more ways than this is checked by parsing alone.
const SHAPES_MAX: usize = 4;

/// What the bytes at hand begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Less than a line.
    Partial,
    /// A right answer of this many bytes; its slot is free again.
    Right(usize, Waiting),
    /// A line to be passed over: a notification, or an empty line.
    Passed(usize),
    /// A wrong line. With `Waiting` it was the answer to that request, whose slot is free again.
    Wrong(usize, Fault, Option<Waiting>),
}

/// Checks the answers of all connections of a thread.
#[derive(Debug)]
pub struct Checker {
    requests: Vec<Request>,
    shapes: Vec<Vec<Shape>>,
    era: Era,
    message_bytes: usize,
    /// Raw: the only right answer is the request itself.
    raw: bool,
    /// Answers that were parsed, for the curious: all others equalled a shape.
    pub parsed: u64,
    /// Notifications that came along with an answer.
    pub passed: u64,
}

impl Checker {
    /// A checker of answers to `requests`.
    pub fn new(requests: Vec<Request>, era: Era, message_bytes: usize, raw: bool) -> Self {
        let shape = |request: &Request| {
            let start = request.message.start;
            let tokens_at = request.token_at.iter().map(|at| at - start).collect();
            if raw {
                let message = &request.bytes[request.message.clone()];
                vec![Shape::with_holes(message, request.id_at - start, tokens_at)]
            } else {
                Vec::new()
            }
        };
        let shapes = requests.iter().map(shape).collect();
        Self { requests, shapes, era, message_bytes, raw, parsed: 0, passed: 0 }
    }

    /// Judges the line that `bytes` begin with. `salt` is the connection's own: tokens of two connections never agree.
    pub fn step(&mut self, bytes: &[u8], slots: &mut Slots, salt: u64) -> Step {
        if let Some(step) = self.recognize(bytes, slots, salt, |_, _| true) {
            return step;
        }
        match memchr(b'\n', bytes) {
            Some(end) => self.parse(&bytes[..=end], slots, salt, None),
            None => Step::Partial,
        }
    }

    /// Judges `message`, whose end something else has found. With `turn`, only the answer to that id is right here.
    pub fn whole(
        &mut self,
        message: &[u8],
        slots: &mut Slots,
        salt: u64,
        turn: Option<u64>,
    ) -> Step {
        let fits = |id, len| len == message.len() && turn.is_none_or(|turn| turn == id);
        match self.recognize(message, slots, salt, fits) {
            Some(step) => step,
            None => self.parse(message, slots, salt, turn),
        }
    }

    /// An answer that equals a shape; `fits` asks for more of its id and length.
    fn recognize(
        &self,
        bytes: &[u8],
        slots: &mut Slots,
        salt: u64,
        fits: impl Fn(u64, usize) -> bool,
    ) -> Option<Step> {
        for (request, shapes) in self.shapes.iter().enumerate() {
            for shape in shapes {
                let Some(id) = shape.id(bytes) else { continue };
                let Found::Waiting(waiting) = slots.find(id) else { continue };
                if usize::from(waiting.request) == request
                    && fits(id, shape.len_bytes())
                    && shape.fits(bytes, token(salt, id))
                {
                    slots.close(id);
                    return Some(Step::Right(shape.len_bytes(), waiting));
                }
            }
        }
        None
    }

    /// Appends request number `request` to `out`, as sent under `id` on the connection of `salt` in `session`.
    pub fn render(&self, request: u8, id: u64, salt: u64, session: &[u8], out: &mut Vec<u8>) {
        self.requests[usize::from(request)].render(id, token(salt, id), session, out);
    }

    fn parse(&mut self, line: &[u8], slots: &mut Slots, salt: u64, turn: Option<u64>) -> Step {
        self.parsed += 1;
        let len = line.len();
        if self.raw {
            // A right echo would have fitted; no request is a line of its own, so a wrong one names nobody.
            return Step::Wrong(len, Fault::Malformed, None);
        }
        let (id, answer) = match sort(line) {
            Line::Answer(Some(id), answer) => (id, answer),
            Line::Answer(None, answer) if answer.get("error").is_some() => {
                return Step::Wrong(len, Fault::ErrorAnswer, None);
            }
            Line::Answer(None, _) => return Step::Wrong(len, Fault::UnknownId, None),
            Line::Notification => return Step::Passed(len),
            Line::Request => return Step::Wrong(len, Fault::Asked, None),
            Line::Malformed if line.trim_ascii().is_empty() => return Step::Passed(len),
            Line::Malformed => return Step::Wrong(len, Fault::Malformed, None),
        };
        let waiting = match slots.find(id) {
            Found::Waiting(_) | Found::Repeated if turn.is_some_and(|turn| turn != id) => {
                return Step::Wrong(len, Fault::Misplaced, None);
            }
            Found::Waiting(waiting) => waiting,
            Found::Repeated => return Step::Wrong(len, Fault::Repeated, None),
            Found::Unknown => return Step::Wrong(len, Fault::UnknownId, None),
        };
        slots.close(id);
        let number = usize::from(waiting.request);
        let kind = self.requests[number].kind;
        let token = token(salt, id);
        let sent = match kind {
            Kind::ToolsCall => {
                message(&String::from_utf8_lossy(&token_bytes(token)), self.message_bytes)
            }
            Kind::Ping | Kind::Discover | Kind::ToolsList => Vec::new(),
        };
        if let Err(fault) = judge(&answer, kind, self.era, &String::from_utf8_lossy(&sent)) {
            return Step::Wrong(len, fault, Some(waiting));
        }
        let shapes = &mut self.shapes[number];
        if shapes.len() < SHAPES_MAX {
            shapes.extend(Shape::learn(line, id, (kind == Kind::ToolsCall).then_some(token)));
        }
        Step::Right(len, waiting)
    }
}

/// The token of request `id` on the connection of `salt`.
pub fn token(salt: u64, id: u64) -> u64 {
    scatter(salt ^ id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Tool;

    const SALT: u64 = 99;

    fn desk(raw: bool) -> (Checker, Slots) {
        let tool =
            Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes: 40 };
        let requests = vec![
            Request::new(Kind::ToolsCall, Era::Legacy, &tool),
            Request::new(Kind::Ping, Era::Legacy, &tool),
        ];
        (Checker::new(requests, Era::Legacy, 40, raw), Slots::new(8))
    }

    fn ask(slots: &mut Slots, request: u8) -> (u64, Waiting) {
        let waiting = Waiting { at_ns: 1, request };
        (slots.open(waiting).unwrap(), waiting)
    }

    fn echo(id: u64, salt: u64) -> Vec<u8> {
        let text = String::from_utf8(message(&format!("{:016x}", token(salt, id)), 40)).unwrap();
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n").into_bytes()
    }

    #[test]
    fn right_answers_are_parsed_once_and_then_compared() {
        let (mut checker, mut slots) = desk(false);
        for _ in 0..20 {
            let (id, waiting) = ask(&mut slots, 0);
            let line = echo(id, SALT);
            assert_eq!(checker.step(&line, &mut slots, SALT), Step::Right(line.len(), waiting));
        }
        assert_eq!(checker.parsed, 1);
        assert_eq!(slots.outstanding(), 0);
    }

    #[test]
    fn the_answer_of_another_connection_is_wrong_before_and_after_learning() {
        let (mut checker, mut slots) = desk(false);
        for _ in 0..2 {
            let (id, waiting) = ask(&mut slots, 0);
            let line = echo(id, SALT + 1);
            assert_eq!(
                checker.step(&line, &mut slots, SALT),
                Step::Wrong(line.len(), Fault::WrongContent, Some(waiting))
            );
            let (id, _) = ask(&mut slots, 0);
            assert!(matches!(checker.step(&echo(id, SALT), &mut slots, SALT), Step::Right(..)));
        }
    }

    #[test]
    fn a_second_answer_and_a_stranger_are_told_apart() {
        let (mut checker, mut slots) = desk(false);
        let (id, _) = ask(&mut slots, 0);
        let line = echo(id, SALT);
        assert!(matches!(checker.step(&line, &mut slots, SALT), Step::Right(..)));
        assert_eq!(
            checker.step(&line, &mut slots, SALT),
            Step::Wrong(line.len(), Fault::Repeated, None)
        );
        let line = echo(id + (1 << 30), SALT);
        assert_eq!(
            checker.step(&line, &mut slots, SALT),
            Step::Wrong(line.len(), Fault::UnknownId, None)
        );
    }

    #[test]
    fn an_answer_of_one_kind_does_not_serve_another() {
        let (mut checker, mut slots) = desk(false);
        let (ping, _) = ask(&mut slots, 1);
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{ping},\"result\":{{}}}}\n").into_bytes();
        assert!(matches!(checker.step(&line, &mut slots, SALT), Step::Right(..)));
        let (call, waiting) = ask(&mut slots, 0);
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{call},\"result\":{{}}}}\n").into_bytes();
        assert_eq!(
            checker.step(&line, &mut slots, SALT),
            Step::Wrong(line.len(), Fault::WrongContent, Some(waiting))
        );
    }

    #[test]
    fn raw_takes_the_request_itself_and_nothing_else() {
        let (mut checker, mut slots) = desk(true);
        let (id, waiting) = ask(&mut slots, 0);
        let mut line = Vec::new();
        checker.render(0, id, SALT, b"", &mut line);
        let mut bent = line.clone();
        bent[3] ^= 1;
        assert_eq!(
            checker.step(&bent, &mut slots, SALT),
            Step::Wrong(line.len(), Fault::Malformed, None)
        );
        assert_eq!(checker.step(&line[..line.len() - 1], &mut slots, SALT), Step::Partial);
        assert_eq!(checker.step(&line, &mut slots, SALT), Step::Right(line.len(), waiting));
        assert_eq!(checker.parsed, 1);
    }
}
