//! The judge of visitors: sees what they send and hear, and says what is wrong. What an answer says is
//! judged as on any link (`crate::judge`); here stands what exchanges and streams add.

use serde_json::Value;
use serde_json::value::RawValue;

use super::events::Event;
use super::exchange::Stage;
use super::visitor::Fate;
use crate::marks;
use crate::shape::{self, Head, value};
use crate::world::World;

impl World {
    pub fn judge_marks(&mut self, visitor: usize, text: &str) {
        let other = marks::tokens(text).find(|(whose, _)| *whose != visitor);
        if let Some((whose, mark)) = other {
            let what = format!("visitor {visitor} got {mark} of {whose}: {text}");
            self.wrong("nothing reaches another client", what);
        }
    }

    /// An answer to a request; false if it changes nothing any more.
    pub fn judge_asked_answered(
        &mut self,
        visitor: usize,
        asked: usize,
        head: &Head<'_>,
        text: &str,
    ) -> bool {
        let is_modern = self.is_modern_visitor(visitor);
        let is_windy = self.http.is_windy;
        let found = &mut self.http.visitors[visitor];
        let has_lost =
            found.sessions.get(found.asked[asked].session).is_some_and(|session| session.has_lost);
        let asked = &mut found.asked[asked];
        let open = asked.open.clone();
        if head.id_text() != open.id {
            self.wrong("an answer is that of its request", format!("{open:?}: {text}"));
            return false;
        }
        let (progress, all) = (asked.progress, asked.progress_all);
        match asked.fate {
            Fate::Answered => {
                self.wrong("no request is answered twice or unasked", text.to_owned());
                return false;
            }
            Fate::Cancelled | Fate::Lost => return false,
            Fate::Waiting | Fate::Listening => asked.fate = Fate::Answered,
        }
        let is_question = is_modern && text.contains("\"input_required\"");
        if let Some(all) =
            all.filter(|&all| head.result.is_some() && !is_question && all != progress)
        {
            let what = format!("visitor {visitor}, {open:?}: {progress} of {all}");
            self.wrong("all progress comes before the answer", what);
        }
        if is_windy && head.result.is_none() && !open.may_fail && !has_lost {
            let what = format!("visitor {visitor}, {open:?}: {text}");
            self.wrong("where only links break what they do not carry succeeds", what);
        }
        if open.method == "resources/subscribe" && head.result.is_some() {
            let session = self.http.visitors[visitor].asked.iter().filter(|other| {
                other.open.about == open.about && other.open.method.ends_with("subscribe")
            });
            // Of two at once nobody knows which was the last.
            if session.count() == 1 {
                self.clients[visitor].judge.subscribe(&open.about, self.now);
            }
        }
        self.clients[visitor].judge.answered += 1;
        self.judge_content(visitor, &open, head, text);
        true
    }

    /// What is sent may end what was watched.
    pub fn judge_watching(&mut self, visitor: usize, asked: usize) {
        let asked = &self.http.visitors[visitor].asked[asked];
        let (about, session) = (asked.open.about.clone(), asked.session);
        match &*asked.open.method {
            "resources/subscribe" => {
                self.http.visitors[visitor].sessions[session].watched.insert(about);
            }
            "resources/unsubscribe" => self.clients[visitor].judge.unsubscribe(&about),
            _ => {}
        }
    }

    /// The one document that answers a POST of a session.
    pub fn judge_documents(&mut self, visitor: usize, asked: &[usize], status: u16, body: &str) {
        if status != 200 {
            let what = format!("visitor {visitor}: {status} {body}");
            return self.wrong("a legal request is answered with 200", what);
        }
        if body.starts_with('[') {
            self.judge_batch(visitor, asked, body);
        } else {
            self.judge_one_answer(visitor, asked, body);
        }
        let found = &self.http.visitors[visitor].asked;
        let missing: Vec<&str> = asked
            .iter()
            .filter(|&&asked| found[asked].fate == Fate::Waiting)
            .map(|&asked| &*found[asked].open.id)
            .collect();
        if !missing.is_empty() {
            let what = format!("visitor {visitor}: no {missing:?} in {body}");
            self.wrong("a document holds all answers", what);
        }
    }

    fn judge_batch(&mut self, visitor: usize, asked: &[usize], text: &str) {
        let elements: Result<Vec<&RawValue>, _> = serde_json::from_str(text);
        let Ok(elements) = elements else {
            return self.wrong("every body is JSON-RPC", text.to_owned());
        };
        elements.iter().for_each(|one| self.judge_one_answer(visitor, asked, one.get()));
    }

    fn judge_one_answer(&mut self, visitor: usize, asked: &[usize], text: &str) {
        let head = match Head::read(text.as_bytes()) {
            Ok(head) => head,
            Err(why) => return self.wrong("every body is JSON-RPC", format!("{why}: {text}")),
        };
        let found = &self.http.visitors[visitor].asked;
        let at = asked.iter().find(|&&asked| found[asked].open.id == head.id_text());
        match at {
            Some(&at) if head.method.is_none() => {
                self.judge_asked_answered(visitor, at, &head, text);
            }
            _ => self.wrong("an answer comes to where it was asked for", text.to_owned()),
        }
    }

    /// Events are numbered through, on whichever exchanges they come, and each stream for itself.
    pub fn judge_event(&mut self, exchange: usize, stream: usize, event: &Event) -> bool {
        let found = &mut self.http.exchanges[exchange];
        let is_first = !std::mem::replace(&mut found.has_heard, true);
        let is_fresh = is_first && matches!(found.errand, super::visitor::Errand::Watch);
        let visitor = found.visitor;
        let asked_version = self.clients[visitor].version;
        let found = &mut self.http.visitors[visitor];
        let stream_of = &mut found.streams[stream];
        let session = &mut found.sessions[stream_of.session];
        let id = event.id.as_deref().and_then(|id| id.split_once('-'));
        let id = id.and_then(|(key, number)| Some((key, number.parse::<u64>().ok()?)));
        let Some((key, number)) = id else {
            self.wrong("events of a session have ids", format!("{event:?}"));
            return false;
        };
        let is_its = *session.keys.entry(key.to_owned()).or_insert(stream) == stream
            && stream_of.key.as_ref().is_none_or(|own| own == key);
        let last = stream_of.last;
        let is_next = number == last + 1 || (is_fresh && number > last);
        stream_of.key = Some(key.to_owned());
        stream_of.last = number;
        let is_primed = !matches!(asked_version, "2024-11-05" | "2025-03-26" | "2025-06-18");
        let may_be_empty = is_primed && number == 1 && !stream_of.is_own;
        if !is_its {
            let what = format!("visitor {visitor}, exchange {exchange}: {event:?}");
            self.wrong("no event of one stream appears on another", what);
        } else if !is_next {
            let what = format!("visitor {visitor}, exchange {exchange}: {last}, then {event:?}");
            self.wrong("each event comes once, in order, without a gap", what);
        }
        if event.data.is_empty() && !may_be_empty {
            self.wrong("only newer clients are primed", format!("{asked_version}: {event:?}"));
        }
        is_its && is_next
    }

    /// What an event of a session says.
    pub fn judge_spoken(&mut self, visitor: usize, stream: usize, text: &str) {
        let found = &self.http.visitors[visitor].streams[stream];
        let (session, asked) = (found.session, found.asked.clone());
        if text.starts_with('[') {
            return self.judge_batch(visitor, &asked, text);
        }
        let head = match Head::read(text.as_bytes()) {
            Ok(head) => head,
            Err(why) => return self.wrong("every event is JSON-RPC", format!("{why}: {text}")),
        };
        match (head.method.as_deref(), head.id) {
            (None, _) => self.judge_one_answer(visitor, &asked, text),
            (Some(method), Some(_)) => {
                let id = head.id_text();
                let caps = crate::judge::Caps::read(&self.clients[visitor].caps);
                let found = &mut self.http.visitors[visitor].sessions[session];
                let may = caps.allows(method)
                    && (method != "elicitation/create" || &*found.version >= "2025-06-18");
                if !found.questions.insert(id.to_owned()) {
                    self.wrong("a question comes once", text.to_owned());
                }
                if !may {
                    self.wrong("a question goes only to who declared it", text.to_owned());
                }
                self.session_is_asked(visitor, session, id, method);
            }
            (Some(method), None) => {
                let params = head.params.map_or(Value::Null, value);
                self.judge_notice(visitor, stream, method, &params, text);
            }
        }
    }

    fn judge_notice(
        &mut self,
        visitor: usize,
        stream: usize,
        method: &str,
        params: &Value,
        text: &str,
    ) {
        if let Err(why) = shape::notification(method, false, params) {
            self.wrong("a notification has the shape of its era", why);
        }
        let found = &mut self.http.visitors[visitor];
        let session = &mut found.sessions[found.streams[stream].session];
        let (check, holds) = match method {
            "notifications/progress" => {
                let token = params["progressToken"].to_string();
                let own = found.streams[stream].session;
                let asked = found.asked.iter_mut().find(|asked| {
                    asked.session == own && asked.open.progress.as_deref() == Some(&*token)
                });
                let holds = asked.is_some_and(|asked| {
                    // Where the exchange broke before it was a stream, only the session's is left.
                    let is_lost = matches!(asked.fate, Fate::Lost | Fate::Cancelled);
                    let is_there = asked.stream == Some(stream) || is_lost;
                    asked.progress += 1;
                    // A call that is made anew begins anew.
                    let number = params["progress"].as_u64().unwrap_or_default();
                    let before = std::mem::replace(&mut asked.progress_last, number);
                    let is_next =
                        number == before + 1 || number == 1 || asked.progress_all.is_none();
                    // The session's stream may be opened anew without what was on its way.
                    is_there && (is_next || is_lost) && asked.fate != Fate::Answered
                });
                ("progress comes on the stream of its request, in order", holds)
            }
            "notifications/resources/updated" => {
                let uri = params["uri"].as_str().unwrap_or_default().to_owned();
                let serial = params["serial"].as_u64();
                let is_new = serial.is_none_or(|s| session.updates.insert((uri.clone(), s)));
                let holds = session.watched.contains(&uri) && is_new;
                if let Some(serial) = serial {
                    self.clients[visitor].judge.updates.push((uri, serial));
                }
                ("updates go to subscribers only, and once", holds)
            }
            "notifications/cancelled" => {
                let id = params["requestId"].to_string();
                // What was put on a stream that broke may be withdrawn on another.
                let may_break = found.habits.breaks > 0;
                let is_known = session.questions.contains(&id) || may_break;
                ("only a question that was asked is withdrawn", is_known)
            }
            _ => ("a session is told what is for sessions", session.id.is_some()),
        };
        if !holds {
            self.wrong(check, format!("visitor {visitor}: {text}"));
        }
    }

    pub fn judge_modern_notice(
        &mut self,
        visitor: usize,
        asked: usize,
        method: &str,
        params: &Value,
        text: &str,
    ) {
        if let Err(why) = shape::notification(method, true, params) {
            self.wrong("a notification has the shape of its era", why);
        }
        let now = self.now;
        let judge = &mut self.clients[visitor].judge;
        let asked = &mut self.http.visitors[visitor].asked[asked];
        let subscription = params["_meta"]["io.modelcontextprotocol/subscriptionId"].to_string();
        let is_its = subscription == asked.open.id && asked.fate == Fate::Listening;
        let holds = match method {
            "notifications/progress" => {
                let token = params["progressToken"].to_string();
                asked.progress += 1;
                asked.open.progress.as_deref() == Some(&*token) && asked.fate != Fate::Answered
            }
            "notifications/message" => asked.open.wants_logs,
            "notifications/subscriptions/acknowledged" => {
                let is_first = asked.fate == Fate::Waiting && subscription == asked.open.id;
                asked.fate = Fate::Listening;
                judge.listen(&subscription, &params["notifications"], now);
                is_first && asked.open.method == "subscriptions/listen"
            }
            "notifications/resources/updated" => {
                let uri = params["uri"].as_str().unwrap_or_default();
                if let Some(serial) = params["serial"].as_u64() {
                    judge.updates.push((uri.to_owned(), serial));
                }
                is_its
                    && judge.listens_to(&subscription, |wants| {
                        wants["resourceSubscriptions"]
                            .as_array()
                            .is_some_and(|uris| uris.iter().any(|watched| watched == uri))
                    })
            }
            _ => {
                let list = method.trim_start_matches("notifications/");
                let key = list.replace("/list_changed", "ListChanged");
                is_its && judge.listens_to(&subscription, |wants| wants[&key] == true)
            }
        };
        if !holds {
            let what = format!("visitor {visitor}: {text}");
            self.wrong("an exchange is told what is about its request", what);
        }
    }

    /// What has not been answered and should have been.
    pub fn judge_missing(&mut self) {
        for visitor in 0..self.http.visitors.len() {
            let asked = self.http.visitors[visitor].asked.iter();
            let missing: Vec<String> = asked
                .filter(|asked| asked.fate == Fate::Waiting)
                .map(|asked| format!("{} {}", asked.open.id, asked.open.method))
                .collect();
            if !missing.is_empty() {
                self.wrong("every request is answered", format!("visitor {visitor}: {missing:?}"));
            }
        }
        for (at, found) in self.http.exchanges.iter().enumerate() {
            if found.stage == Stage::Waiting && !found.is_left {
                let what = format!("exchange {at}: {:?}", found.errand);
                return self.wrong("every exchange is answered", what);
            }
        }
    }
}
