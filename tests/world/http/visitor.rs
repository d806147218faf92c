//! Visitors: clients over HTTP. What one wants of each exchange, what it remembers, and what it does next;
//! `session` and `modern` are what becomes of it in each era.

use std::collections::{BTreeMap, BTreeSet};

use ringgate::gateway::http::{HeaderPairs, Verb};

use super::Happening;
use super::events::Event;
use super::exchange::Sent;
use crate::judge::{Caps, Open};
use crate::shape::Head;
use crate::world::World;

/// What an exchange is for.
#[derive(Clone, Debug)]
pub enum Errand {
    /// `initialize`.
    Hello,
    /// `notifications/initialized`.
    Initialized,
    /// Requests, of which several are a batch; as indices of what the visitor asked.
    Ask(Vec<usize>),
    /// What is no request, and perhaps the cancellation of one.
    Tell(Option<usize>),
    /// `GET` of the session's own stream.
    Watch,
    /// `GET` of the rest of a stream that broke.
    Resume(usize),
    /// `DELETE`.
    End,
    /// What may be answered with anything, once.
    Garbage,
    /// What belongs to somebody else.
    Pry,
}

/// How a visitor behaves, in percent.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Its links break.
    pub breaks: u64,
    /// It goes on with a stream that broke.
    pub resumes: u64,
    /// It asks for the session's own stream, and again when that breaks.
    pub watches: u64,
    /// It uses ids of others.
    pub pries: u64,
    /// It ends its session in good order when it leaves.
    pub ends: u64,
}

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Waiting,
    Answered,
    /// A `subscriptions/listen` that was acknowledged.
    Listening,
    /// Called off by the visitor: an answer may come or not.
    Cancelled,
    /// Its exchange broke and cannot be gone on with, or its session has ended: no answer is owed.
    Lost,
}

/// A request of a visitor's.
#[derive(Debug)]
pub struct Asked {
    pub open: Open,
    pub at: u64,
    pub session: usize,
    /// The stream that its exchange has become.
    pub stream: Option<usize>,
    pub fate: Fate,
    /// How much progress was heard, the number of the last, and how much all is.
    pub progress: u64,
    pub progress_last: u64,
    pub progress_all: Option<u64>,
    /// More may come of it than is kept.
    pub may_flood: bool,
}

/// An event stream, over however many exchanges it comes.
#[derive(Debug)]
pub struct Stream {
    pub session: usize,
    /// The session's own: `GET` without `Last-Event-ID`.
    pub is_own: bool,
    /// What its ids begin with, once one was heard.
    pub key: Option<String>,
    /// The number of the last event that was heard.
    pub last: u64,
    pub asked: Vec<usize>,
    /// How many POSTs the session had made before it.
    pub posts: u64,
    /// More may have been said on it than is kept.
    pub may_overflow: bool,
}

/// A session of a legacy visitor's, from `initialize` on.
#[derive(Debug, Default)]
pub struct Session {
    pub id: Option<String>,
    pub version: String,
    pub is_ready: bool,
    /// Nothing is owed any more: it was ended, refused or forgotten.
    pub is_over: bool,
    /// Streams by what their ids begin with.
    pub keys: BTreeMap<String, usize>,
    pub own: Option<usize>,
    /// The exchange that carries the own stream.
    pub watch: Option<usize>,
    pub used_at: u64,
    /// The longest time without use, in microseconds.
    pub gap: u64,
    pub posts: u64,
    pub questions: BTreeSet<String>,
    /// All that was ever watched.
    pub watched: BTreeSet<String>,
    /// Updates that were told.
    pub updates: BTreeSet<(String, u64)>,
    /// Something was lost with a link.
    pub has_lost: bool,
}

impl Session {
    /// Where it lives, as its id says before all others.
    pub fn home(&self) -> Option<&str> {
        self.id.as_ref()?.get(..4)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Visitor {
    pub habits: Habits,
    pub sessions: Vec<Session>,
    pub asked: Vec<Asked>,
    pub streams: Vec<Stream>,
    pub is_gone: bool,
    pub resumed: u64,
    pub forgotten: u64,
}

impl World {
    pub fn is_modern_visitor(&self, visitor: usize) -> bool {
        self.clients[visitor].is_modern
    }

    pub fn is_draining(&self) -> bool {
        self.shards.iter().any(|shard| shard.drain_began.is_some())
    }

    /// The headers of every POST.
    pub fn posted(&self, more: Vec<(&'static str, String)>, body: String) -> Sent {
        let mut headers = vec![
            ("accept", "application/json, text/event-stream".to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        headers.extend(more);
        Sent { verb: Verb::Post, headers, body }
    }

    /// Remembers a request; its place among what the visitor asked.
    pub fn visitor_asks(&mut self, visitor: usize, session: usize, frame: &str) -> usize {
        let caps = Caps::read(&self.clients[visitor].caps);
        let now = self.now;
        let found = &mut self.http.visitors[visitor];
        let Ok(head) = Head::read(frame.as_bytes()) else { unreachable!("a request: {frame}") };
        let open = Open::read(&head, caps);
        // Whatever it is asked again for, a call goes through each step of its script once.
        let steps = frame.split(['"', ' ', '+', '/']);
        let progress: u64 = steps
            .map(|step| match step {
                "p" => 1,
                crate::call::BURST => crate::call::BURST_EVENTS,
                _ => 0,
            })
            .sum();
        let is_scripted = frame.contains("\"do\":") || frame.contains("//do/");
        let is_first = open.progress.is_some() && !frame.contains("\"requestState\"");
        // Who answers twice has said all by the first answer.
        let is_once = !frame.contains("twice");
        let progress_all = (is_scripted && is_first && is_once).then_some(progress);
        found.asked.push(Asked {
            open,
            at: now,
            session,
            stream: None,
            fate: Fate::Waiting,
            progress: 0,
            progress_last: 0,
            progress_all,
            may_flood: progress > 90 || frame.contains("flood"),
        });
        found.asked.len() - 1
    }

    pub fn visitor_enters(&mut self, visitor: usize) {
        if self.http.visitors[visitor].is_gone || self.is_draining() {
            return;
        }
        if !self.is_modern_visitor(visitor) {
            self.session_hello(visitor);
        }
        let after = self.dice.between(1, self.clients[visitor].manner.pause_max);
        self.plan_http(after, Happening::Act { visitor });
    }

    pub fn visitor_acts(&mut self, visitor: usize) {
        let found = &self.http.visitors[visitor];
        if found.is_gone || self.clients[visitor].left == 0 || self.is_draining() {
            return;
        }
        if self.is_modern_visitor(visitor) {
            self.clients[visitor].left -= 1;
            self.modern_acts(visitor);
        } else {
            let session = found.sessions.len().wrapping_sub(1);
            match found.sessions.last() {
                Some(last) if last.is_over && found.sessions.len() < 4 => {
                    self.session_hello(visitor);
                }
                Some(last) if last.is_ready && !last.is_over => {
                    self.clients[visitor].left -= 1;
                    self.session_acts(visitor, session);
                }
                Some(last) if last.is_over => return,
                _ => {}
            }
        }
        let after = self.dice.between(1, self.clients[visitor].manner.pause_max);
        self.plan_http(after, Happening::Act { visitor });
    }

    /// A visitor goes: in good order, or it is just not there any more.
    pub fn visitor_leaves(&mut self, visitor: usize) {
        if std::mem::replace(&mut self.http.visitors[visitor].is_gone, true) {
            return;
        }
        self.clients[visitor].left = 0;
        let ends = self.http.visitors[visitor].habits.ends;
        for session in 0..self.http.visitors[visitor].sessions.len() {
            if self.dice.percent(ends) {
                self.session_ends(visitor, session);
            } else {
                self.session_is_over(visitor, session);
            }
        }
        for exchange in 0..self.http.exchanges.len() {
            let found = &self.http.exchanges[exchange];
            if found.visitor == visitor && !matches!(found.errand, Errand::End) {
                self.exchange_breaks(exchange);
            }
        }
    }

    /// A whole response.
    pub fn visitor_answered(
        &mut self,
        exchange: usize,
        status: u16,
        headers: &HeaderPairs,
        body: &str,
    ) {
        let visitor = self.http.exchanges[exchange].visitor;
        self.judge_marks(visitor, body);
        if self.is_modern_visitor(visitor) {
            self.modern_answered(exchange, status, body);
        } else {
            self.session_answered(exchange, status, headers, body);
        }
    }

    pub fn visitor_streams(&mut self, exchange: usize, headers: &HeaderPairs) {
        let visitor = self.http.exchanges[exchange].visitor;
        if !self.is_modern_visitor(visitor) {
            self.session_streams(exchange, headers);
        }
    }

    pub fn visitor_hears(&mut self, exchange: usize, event: &Event) {
        let visitor = self.http.exchanges[exchange].visitor;
        self.judge_marks(visitor, &event.data);
        if self.is_modern_visitor(visitor) {
            self.modern_hears(exchange, event);
        } else {
            self.session_hears(exchange, event);
        }
    }

    /// The stream has come to its end.
    pub fn visitor_ended(&mut self, exchange: usize) {
        let visitor = self.http.exchanges[exchange].visitor;
        if self.is_modern_visitor(visitor) {
            self.modern_ended(exchange);
        } else {
            self.session_ended(exchange);
        }
    }

    /// The link has broken, before its response was over.
    pub fn visitor_lost(&mut self, exchange: usize) {
        let visitor = self.http.exchanges[exchange].visitor;
        if self.is_modern_visitor(visitor) {
            self.modern_lost(exchange);
        } else {
            self.session_lost(exchange);
        }
    }
}
