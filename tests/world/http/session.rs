//! Visitors of the legacy eras: their sessions, and what they ask in them. Each request comes to whichever
//! shard it may; what comes on streams is in `stream`.

use ringgate::gateway::http::{HeaderPairs, Verb};

use super::Happening;
use super::exchange::Sent;
use super::visitor::{Errand, Fate, Session};
use crate::shape::Head;
use crate::world::World;

impl World {
    pub fn session_hello(&mut self, visitor: usize) {
        let now = self.now;
        let sessions = &mut self.http.visitors[visitor].sessions;
        sessions.push(Session { used_at: now, ..Session::default() });
        let session = sessions.len() - 1;
        let sent = self.posted(Vec::new(), self.hello(visitor));
        self.send(visitor, session, sent, Errand::Hello);
    }

    /// The headers of a session's requests.
    fn named(&mut self, visitor: usize, session: usize) -> Vec<(&'static str, String)> {
        let now = self.now;
        let found = &mut self.http.visitors[visitor].sessions[session];
        found.gap = found.gap.max(now - found.used_at);
        found.used_at = now;
        let mut headers = vec![("mcp-session-id", found.id.clone().unwrap_or_default())];
        if &*found.version >= "2025-06-18" {
            headers.push(("mcp-protocol-version", found.version.clone()));
        }
        headers
    }

    fn session_posts(&mut self, visitor: usize, session: usize, body: String, errand: Errand) {
        let headers = self.named(visitor, session);
        self.http.visitors[visitor].sessions[session].posts += 1;
        let sent = self.posted(headers, body);
        self.send(visitor, session, sent, errand);
    }

    pub fn session_gets(&mut self, visitor: usize, session: usize, stream: Option<usize>) {
        let mut headers = self.named(visitor, session);
        headers.push(("accept", "text/event-stream".to_owned()));
        let errand = stream.map_or(Errand::Watch, Errand::Resume);
        if let Some(found) = stream.map(|stream| &self.http.visitors[visitor].streams[stream])
            && let Some(key) = &found.key
        {
            headers.push(("last-event-id", format!("{key}-{}", found.last)));
        }
        let sent = Sent { verb: Verb::Get, headers, body: String::new() };
        let exchange = self.send(visitor, session, sent, errand);
        let found = &mut self.http.visitors[visitor];
        if stream.is_none_or(|stream| found.streams[stream].is_own) {
            found.sessions[session].watch = Some(exchange);
        }
        self.http.exchanges[exchange].stream = stream;
    }

    pub fn visitor_tells(&mut self, visitor: usize, session: usize, body: String) {
        let found = &self.http.visitors[visitor];
        if !found.is_gone && !found.sessions[session].is_over && !self.is_draining() {
            self.session_posts(visitor, session, body, Errand::Tell(None));
        }
    }

    pub fn session_acts(&mut self, visitor: usize, session: usize) {
        let manner = self.clients[visitor].manner.clone();
        let habits = self.http.visitors[visitor].habits.clone();
        if self.http.visitors[visitor].sessions[session].watch.is_none()
            && self.dice.percent(habits.watches)
        {
            return self.session_watches(visitor, session);
        }
        if self.dice.percent(manner.sends_garbage) {
            let body = self.garbage(visitor);
            self.session_posts(visitor, session, body, Errand::Garbage);
        } else if self.dice.percent(habits.pries) {
            self.session_pries(visitor, session);
        } else {
            let is_batch = self.clients[visitor].sends_batches && self.dice.percent(manner.batches);
            let count = if is_batch { self.dice.between(1, 5) } else { 1 };
            let frames: Vec<String> = (0..count).map(|_| self.request(visitor)).collect();
            let asked: Vec<usize> =
                frames.iter().map(|frame| self.visitor_asks(visitor, session, frame)).collect();
            let body = if is_batch { format!("[{}]", frames.join(",")) } else { frames.concat() };
            for &asked in &asked {
                self.judge_watching(visitor, asked);
            }
            self.session_posts(visitor, session, body, Errand::Ask(asked));
        }
        if self.dice.percent(manner.cancels) {
            self.session_cancels(visitor, session);
        }
    }

    /// Calls off one of the last requests: whatever comes of it then is right.
    fn session_cancels(&mut self, visitor: usize, session: usize) {
        let asked = &self.http.visitors[visitor].asked;
        let back = self.dice.index(asked.len().min(4));
        let Some(at) = asked.len().checked_sub(1 + back) else { return };
        let found = &self.http.visitors[visitor].asked[at];
        if found.session != session || found.fate != Fate::Waiting {
            return;
        }
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{}}}}}",
            found.open.id
        );
        // It may overtake the request that it is about, and is for nothing then.
        let is_behind = self.now > found.at + self.pace.link_max + self.pace.mail_max;
        self.http.visitors[visitor].asked[at].fate = Fate::Cancelled;
        self.session_posts(visitor, session, body, Errand::Tell(is_behind.then_some(at)));
    }

    /// Uses an id that is not its own: of a session that never was, or of another's stream.
    fn session_pries(&mut self, visitor: usize, session: usize) {
        let mut headers = self.named(visitor, session);
        headers.push(("accept", "text/event-stream".to_owned()));
        // Each shard counts for itself: elsewhere one's own stream may have the name.
        let home = self.http.visitors[visitor].sessions[session].home();
        let others = self.http.visitors.iter().enumerate();
        let keys: Vec<String> = others
            .filter(|(other, _)| *other != visitor)
            .flat_map(|(_, other)| other.streams.iter().map(move |stream| (other, stream)))
            .filter(|(other, stream)| other.sessions[stream.session].home() == home)
            .filter_map(|(_, stream)| stream.key.clone())
            .collect();
        if !keys.is_empty() && self.dice.percent(60) {
            let key = self.dice.pick(&keys);
            headers.push(("last-event-id", format!("{key}-1")));
        } else if let Some(id) = &mut headers[0].1.pop() {
            headers[0].1.push(if *id == '0' { '1' } else { '0' });
        }
        let sent = Sent { verb: Verb::Get, headers, body: String::new() };
        self.send(visitor, session, sent, Errand::Pry);
    }

    pub fn session_watches(&mut self, visitor: usize, session: usize) {
        let found = &self.http.visitors[visitor];
        if found.is_gone || found.sessions[session].is_over || self.is_draining() {
            return;
        }
        let own = found.sessions[session].own;
        let known = own.filter(|&own| found.streams[own].key.is_some());
        let from = known.filter(|_| self.dice.percent(80));
        self.session_gets(visitor, session, from);
    }

    pub fn session_ends(&mut self, visitor: usize, session: usize) {
        let found = &self.http.visitors[visitor].sessions[session];
        if !found.is_over && found.id.is_some() {
            let mut headers = self.named(visitor, session);
            headers.push(("accept", "*/*".to_owned()));
            let sent = Sent { verb: Verb::Delete, headers, body: String::new() };
            self.send(visitor, session, sent, Errand::End);
        }
        self.session_is_over(visitor, session);
    }

    /// Nothing of it is owed any more.
    pub fn session_is_over(&mut self, visitor: usize, session: usize) {
        let found = &mut self.http.visitors[visitor];
        found.sessions[session].is_over = true;
        let own = found.asked.iter_mut().filter(|asked| asked.session == session);
        own.filter(|asked| asked.fate == Fate::Waiting).for_each(|asked| asked.fate = Fate::Lost);
        self.clients[visitor].judge.unsubscribe_all();
    }

    /// The session's `initialize` was answered, and it has an id.
    pub fn session_greeted(&mut self, visitor: usize, session: usize, text: &str) {
        let Ok(head) = Head::read(text.as_bytes()) else {
            return self.wrong("every body is JSON-RPC", text.to_owned());
        };
        let found = &mut self.http.visitors[visitor].sessions[session];
        let version = head.result.map(crate::shape::value);
        let version = version.as_ref().and_then(|result| result["protocolVersion"].as_str());
        match version {
            Some(version) if found.id.is_some() && head.id_text() == "\"hello\"" => {
                version.clone_into(&mut found.version);
                let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
                self.session_posts(visitor, session, body.to_owned(), Errand::Initialized);
            }
            _ if self.is_faultless => {
                self.wrong("in a world without faults every session is opened", text.to_owned());
            }
            _ => self.session_is_over(visitor, session),
        }
    }

    pub fn session_answered(
        &mut self,
        exchange: usize,
        status: u16,
        headers: &HeaderPairs,
        body: &str,
    ) {
        let found = &self.http.exchanges[exchange];
        let (visitor, session, errand) = (found.visitor, found.session, found.errand.clone());
        match (&errand, status) {
            (Errand::Hello, 200) => {
                self.session_named(visitor, session, headers);
                self.session_greeted(visitor, session, body);
            }
            (Errand::Hello, 503) if !self.is_faultless || self.is_draining() => {
                self.session_is_over(visitor, session);
            }
            (Errand::Initialized, 202) => {
                self.http.visitors[visitor].sessions[session].is_ready = true;
                let watches = self.http.visitors[visitor].habits.watches;
                if self.dice.percent(watches) {
                    self.session_watches(visitor, session);
                }
            }
            (Errand::Ask(asked), 200 | 400) => {
                self.judge_documents(visitor, asked, status, body);
            }
            (Errand::Tell(asked), 202) => {
                // It was there in time if nothing had been answered by then.
                if let Some(asked) = asked {
                    let mark = self.http.visitors[visitor].asked[*asked].open.mark.clone();
                    self.clients[visitor].judge.cancelled += 1;
                    self.note_cancelled(mark);
                }
            }
            (Errand::Watch, 409) => {
                self.judge_conflict(visitor, session, exchange);
                self.watch_again(visitor, session, exchange);
            }
            (Errand::Resume(stream), 410) => {
                self.judge_forgotten(visitor, *stream);
                if self.http.visitors[visitor].streams[*stream].is_own {
                    self.http.visitors[visitor].streams[*stream].key = None;
                    self.watch_again(visitor, session, exchange);
                } else {
                    self.stream_is_lost(visitor, *stream);
                }
            }
            (Errand::End, 200 | 404)
            | (Errand::Pry, 404 | 410)
            | (Errand::Garbage, 200 | 202 | 400 | 404) => {}
            (_, 503) if self.is_draining() => self.session_is_over(visitor, session),
            (_, 404) => {
                self.judge_unknown(visitor, session);
                self.session_is_over(visitor, session);
            }
            _ => {
                let what = format!("visitor {visitor}, {errand:?}: {status} {body}");
                self.wrong("a status is that of what was wanted", what);
            }
        }
    }

    pub fn session_named(&mut self, visitor: usize, session: usize, headers: &HeaderPairs) {
        let id = headers.iter().find(|(name, _)| *name == "mcp-session-id");
        self.http.visitors[visitor].sessions[session].id = id.map(|(_, id)| id.clone());
    }

    /// A question has come: it is answered on any shard, some time later.
    pub fn session_is_asked(&mut self, visitor: usize, session: usize, id: &str, method: &str) {
        let body = self.answer_to(visitor, id, method);
        let manner = self.clients[visitor].manner.clone();
        if self.dice.percent(manner.never_answers) {
            return;
        }
        if self.dice.percent(manner.answers_twice) {
            let after = self.dice.below(40_000);
            self.plan_http(after, Happening::Tell { visitor, session, body: body.clone() });
        }
        let after = self.dice.below(40_000);
        self.plan_http(after, Happening::Tell { visitor, session, body });
    }
}
