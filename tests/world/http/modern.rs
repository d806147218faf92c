//! Visitors of the modern era: each request is an exchange of its own, and to leave it is to call it off.

use serde_json::Value;

use super::Happening;
use super::events::Event;
use super::exchange::Sent;
use super::visitor::{Errand, Fate};
use crate::shape::{Head, value};
use crate::world::World;

const NONE: usize = usize::MAX;

impl World {
    pub fn modern_acts(&mut self, visitor: usize) {
        let manner = self.clients[visitor].manner.clone();
        if self.dice.percent(manner.sends_garbage) {
            let body = self.garbage(visitor);
            let version = ("mcp-protocol-version", "2026-07-28".to_owned());
            let sent = self.posted(vec![version], body);
            self.send(visitor, NONE, sent, Errand::Garbage);
            return;
        }
        let frame = self.request(visitor);
        let exchange = self.modern_sends(visitor, &frame);
        if frame.contains("\"method\":\"subscriptions/listen\"") {
            // A listen ends when the visitor has had enough of it.
            let after = self.dice.below(9_000_000);
            self.plan_http(after, Happening::Break { exchange });
        } else if self.dice.percent(manner.cancels) {
            let after = self.dice.below(30_000);
            self.plan_http(after, Happening::Break { exchange });
        }
    }

    fn modern_sends(&mut self, visitor: usize, frame: &str) -> usize {
        let asked = self.visitor_asks(visitor, NONE, frame);
        let sent = self.modern_request(frame);
        self.send(visitor, NONE, sent, Errand::Ask(vec![asked]))
    }

    /// A modern request with what its headers repeat.
    fn modern_request(&self, frame: &str) -> Sent {
        let json: Value = serde_json::from_str(frame).unwrap_or_default();
        let mut headers = vec![("mcp-protocol-version", "2026-07-28".to_owned())];
        let method = json["method"].as_str().unwrap_or_default();
        headers.push(("mcp-method", method.to_owned()));
        let name = json["params"]["name"].as_str().or_else(|| json["params"]["uri"].as_str());
        headers.extend(name.map(|name| ("mcp-name", name.to_owned())));
        self.posted(headers, frame.to_owned())
    }

    pub fn visitor_retries(&mut self, visitor: usize, frame: String) {
        if !self.http.visitors[visitor].is_gone && !self.is_draining() {
            self.modern_sends(visitor, &frame);
        }
    }

    fn asked_in(&self, exchange: usize) -> Option<usize> {
        match &self.http.exchanges[exchange].errand {
            Errand::Ask(asked) => asked.first().copied(),
            _ => None,
        }
    }

    pub fn modern_answered(&mut self, exchange: usize, status: u16, body: &str) {
        let visitor = self.http.exchanges[exchange].visitor;
        let Some(asked) = self.asked_in(exchange) else {
            if !matches!(status, 200 | 202 | 400 | 404 | 503) {
                self.wrong("what is no request is told so", format!("{status} {body}"));
            }
            return;
        };
        let head = match Head::read(body.as_bytes()) {
            Ok(head) => head,
            Err(why) => return self.wrong("every body is JSON-RPC", format!("{why}: {body}")),
        };
        let code = head.error.map(|error| value(error)["code"].as_i64().unwrap_or_default());
        let fits = match status {
            200 => !matches!(code, Some(-32_601 | -32_700 | -32_600 | -32_022..=-32_020)),
            400 => code.is_some_and(|code| code != -32_601),
            404 => code == Some(-32_601),
            503 => code.is_some() && (!self.is_faultless || self.is_draining()),
            _ => false,
        };
        if !fits {
            self.wrong("a status is that of its error", format!("{status} {body}"));
        }
        self.modern_answer(visitor, asked, &head, body);
    }

    fn modern_answer(&mut self, visitor: usize, asked: usize, head: &Head<'_>, text: &str) {
        if !self.judge_asked_answered(visitor, asked, head, text) {
            return;
        }
        // Whoever is asked by an answer makes the request anew, on any shard.
        let Some(result) = head.result.filter(|result| result.get().contains("input_required"))
        else {
            return;
        };
        let manner = self.clients[visitor].manner.clone();
        if self.dice.percent(manner.never_answers) {
            return;
        }
        let Some(frame) = self.retry(visitor, head.id_text(), &value(result)) else { return };
        if self.dice.percent(manner.answers_twice) {
            let after = self.dice.below(40_000);
            self.plan_http(after, Happening::Retry { visitor, frame: frame.clone() });
        }
        let after = self.dice.below(40_000);
        self.plan_http(after, Happening::Retry { visitor, frame });
    }

    pub fn modern_hears(&mut self, exchange: usize, event: &Event) {
        let visitor = self.http.exchanges[exchange].visitor;
        let Some(asked) = self.asked_in(exchange) else { return };
        if event.id.is_some() || event.data.is_empty() {
            return self.wrong("streams of the modern era cannot be resumed", format!("{event:?}"));
        }
        let text = &*event.data;
        let head = match Head::read(text.as_bytes()) {
            Ok(head) => head,
            Err(why) => return self.wrong("every event is JSON-RPC", format!("{why}: {text}")),
        };
        let open = &self.http.visitors[visitor].asked[asked].open;
        let other =
            crate::marks::tokens(text).find(|(_, mark)| open.mark.as_deref() != Some(*mark));
        if let Some((_, mark)) = other {
            self.wrong("no event of one exchange appears on another", format!("{mark}: {text}"));
        }
        match (head.method.as_deref(), head.id) {
            (None, _) => self.modern_answer(visitor, asked, &head, text),
            (Some(_), Some(_)) => self.wrong("a modern client gets no request", text.to_owned()),
            (Some(method), None) => {
                let params = head.params.map_or(Value::Null, value);
                self.judge_modern_notice(visitor, asked, method, &params, text);
            }
        }
    }

    pub fn modern_ended(&mut self, exchange: usize) {
        let visitor = self.http.exchanges[exchange].visitor;
        let Some(asked) = self.asked_in(exchange) else { return };
        let fate = self.http.visitors[visitor].asked[asked].fate;
        if matches!(fate, Fate::Waiting | Fate::Listening) && !self.is_draining() {
            let what = format!("exchange {exchange} of visitor {visitor}");
            self.wrong("a stream ends with its answer", what);
        }
        self.http.visitors[visitor].asked[asked].fate = Fate::Answered;
    }

    /// To go is to call off.
    pub fn modern_lost(&mut self, exchange: usize) {
        let visitor = self.http.exchanges[exchange].visitor;
        let Some(asked) = self.asked_in(exchange) else { return };
        let found = &mut self.http.visitors[visitor].asked[asked];
        if matches!(found.fate, Fate::Waiting | Fate::Listening) {
            found.fate = Fate::Cancelled;
            let (mark, id) = (found.open.mark.clone(), found.open.id.clone());
            self.note_cancelled(mark);
            self.clients[visitor].judge.cancelled += 1;
            self.clients[visitor].judge.unlisten(&id);
        }
    }
}
