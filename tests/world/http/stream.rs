//! Streams of legacy visitors: what comes on them, how they end and break, and how a visitor goes on with
//! them (MCP 2025-11-25 "Resumability and Redelivery").

use ringgate::gateway::http::HeaderPairs;

use super::Happening;
use super::events::Event;
use super::visitor::{Errand, Fate, Stream};
use crate::world::World;

impl World {
    pub fn visitor_resumes(&mut self, visitor: usize, stream: usize) {
        let found = &self.http.visitors[visitor];
        let session = found.streams[stream].session;
        if found.is_gone || found.sessions[session].is_over || self.is_draining() {
            return self.stream_is_lost(visitor, stream);
        }
        if found.streams[stream].is_own {
            if found.sessions[session].watch.is_none() {
                self.session_watches(visitor, session);
            }
            return;
        }
        self.http.visitors[visitor].resumed += 1;
        self.session_gets(visitor, session, Some(stream));
    }

    pub fn session_streams(&mut self, exchange: usize, headers: &HeaderPairs) {
        let found = &self.http.exchanges[exchange];
        let (visitor, session, errand) = (found.visitor, found.session, found.errand.clone());
        let is_own = matches!(errand, Errand::Watch);
        let asked = match errand {
            Errand::Hello => {
                self.session_named(visitor, session, headers);
                Vec::new()
            }
            Errand::Ask(asked) => asked,
            Errand::Watch | Errand::Garbage => Vec::new(),
            Errand::Resume(_) => return,
            _ => {
                let what = format!("visitor {visitor}, {errand:?}");
                return self.wrong("streams answer what may stream", what);
            }
        };
        let found = &mut self.http.visitors[visitor];
        if let Some(own) = found.sessions[session].own.filter(|_| is_own) {
            self.http.exchanges[exchange].stream = Some(own);
            return;
        }
        found.streams.push(Stream {
            session,
            is_own,
            key: None,
            last: 0,
            posts: found.sessions[session].posts,
            may_overflow: asked.iter().any(|&asked| found.asked[asked].may_flood),
            asked: asked.clone(),
        });
        let stream = found.streams.len() - 1;
        if is_own {
            found.sessions[session].own = Some(stream);
        }
        asked.iter().for_each(|&asked| found.asked[asked].stream = Some(stream));
        self.http.exchanges[exchange].stream = Some(stream);
    }

    pub fn session_hears(&mut self, exchange: usize, event: &Event) {
        let found = &self.http.exchanges[exchange];
        let (visitor, session) = (found.visitor, found.session);
        let Some(stream) = found.stream else {
            return self.wrong("events come on streams", format!("exchange {exchange}: {event:?}"));
        };
        let is_hello = matches!(found.errand, Errand::Hello);
        let is_garbage = matches!(found.errand, Errand::Garbage);
        if !self.judge_event(exchange, stream, event) || is_garbage || event.data.is_empty() {
            return;
        }
        if is_hello {
            return self.session_greeted(visitor, session, &event.data);
        }
        self.judge_spoken(visitor, stream, &event.data);
    }

    pub fn session_ended(&mut self, exchange: usize) {
        let found = &self.http.exchanges[exchange];
        let (visitor, session) = (found.visitor, found.session);
        let Some(stream) = found.stream else { return };
        let is_own = self.http.visitors[visitor].streams[stream].is_own;
        if is_own {
            self.watch_again(visitor, session, exchange);
        }
        let found = &self.http.visitors[visitor];
        let asked = &found.streams[stream].asked;
        let waits = asked.iter().any(|&asked| found.asked[asked].fate == Fate::Waiting);
        if !is_own && !waits {
            return;
        }
        if found.sessions[session].is_over || self.is_draining() {
            self.stream_is_lost(visitor, stream);
        } else if self.judge_overtaken(exchange) {
            self.stream_breaks(visitor, stream);
        } else {
            let what = format!("visitor {visitor}, exchange {exchange}, own: {is_own}");
            self.wrong("a stream ends with its answer, and a session's with it", what);
        }
    }

    /// The own stream has gone, and the visitor wants it back.
    pub fn watch_again(&mut self, visitor: usize, session: usize, exchange: usize) {
        let found = &mut self.http.visitors[visitor];
        if found.sessions[session].watch != Some(exchange) {
            return;
        }
        found.sessions[session].watch = None;
        let own = found.sessions[session].own;
        if let Some(stream) = own
            && self.dice.percent(self.http.visitors[visitor].habits.watches)
        {
            let after = self.dice.below(600_000);
            self.plan_http(after, Happening::Resume { visitor, stream });
        }
    }

    /// A stream of a POST has broken: it is gone on with, or not.
    pub fn stream_breaks(&mut self, visitor: usize, stream: usize) {
        let is_named = self.http.visitors[visitor].streams[stream].key.is_some();
        if is_named && self.dice.percent(self.http.visitors[visitor].habits.resumes) {
            let within = *self.dice.pick(&[500, 50_000, 2_000_000]);
            let after = self.dice.below(within);
            self.plan_http(after, Happening::Resume { visitor, stream });
        } else {
            self.stream_is_lost(visitor, stream);
        }
    }

    pub fn stream_is_lost(&mut self, visitor: usize, stream: usize) {
        let asked = self.http.visitors[visitor].streams[stream].asked.clone();
        self.asked_are_lost(visitor, &asked);
    }

    pub fn asked_are_lost(&mut self, visitor: usize, asked: &[usize]) {
        for &asked in asked {
            let found = &mut self.http.visitors[visitor];
            if found.asked[asked].fate == Fate::Waiting {
                found.asked[asked].fate = Fate::Lost;
                let session = found.asked[asked].session;
                found.sessions[session].has_lost = true;
            }
        }
    }

    pub fn session_lost(&mut self, exchange: usize) {
        let found = &self.http.exchanges[exchange];
        let (visitor, session, errand) = (found.visitor, found.session, found.errand.clone());
        let stream = found.stream;
        match errand {
            Errand::Hello | Errand::Initialized => self.session_is_over(visitor, session),
            Errand::Watch => self.watch_again(visitor, session, exchange),
            Errand::Ask(_) | Errand::Resume(_) => {
                let Some(stream) = stream else {
                    if let Errand::Ask(asked) = errand {
                        self.asked_are_lost(visitor, &asked);
                    }
                    return;
                };
                let found = &self.http.visitors[visitor];
                if found.streams[stream].is_own {
                    return self.watch_again(visitor, session, exchange);
                }
                self.stream_breaks(visitor, stream);
            }
            // A reply or a request to watch that is lost with its link.
            _ => self.http.visitors[visitor].sessions[session].has_lost = true,
        }
    }
}
