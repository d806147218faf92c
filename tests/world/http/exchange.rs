//! Exchanges: one request on its way to a shard and what comes back, as a shard's transport and the peer see
//! it. Plays the transport's part; what a response means is the visitor's business.

use ringgate::base::LinkId;
use ringgate::gateway::Event;
use ringgate::gateway::http::{HeaderPairs, Headers, Request, Verb};

use super::Happening;
use super::events::Events;
use super::visitor::Errand;
use crate::world::World;

/// A request as it was sent.
#[derive(Debug)]
pub struct Sent {
    pub verb: Verb,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Headers for Sent {
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.headers.iter().for_each(|(name, value)| visit(name, value.as_bytes()));
    }
}

/// What of a response is under way.
#[derive(Debug)]
pub enum Part {
    Whole { status: u16, headers: HeaderPairs, body: String },
    Stream { headers: HeaderPairs },
    Bytes(Vec<u8>),
    End,
}

/// How it stands at the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The request is under way.
    Coming,
    /// Not answered yet.
    Waiting,
    Streaming,
    /// The gateway has ended the stream.
    Closing,
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Exchange {
    pub visitor: usize,
    /// In the visitor's count; `usize::MAX` for none.
    pub session: usize,
    pub errand: Errand,
    pub shard: usize,
    pub link: Option<LinkId>,
    pub stage: Stage,
    sent: Sent,
    /// The shard was told that its peer is gone.
    is_broken: bool,
    /// The visitor hears nothing of it any more.
    pub is_left: bool,
    /// When it was over at the shard.
    pub over_at: Option<u64>,
    outward_at: u64,
    /// Bytes of the response after which the link breaks.
    budget: Option<usize>,
    pub events: Events,
    /// An event has come on it.
    pub has_heard: bool,
    /// The stream that it carries, in the visitor's count.
    pub stream: Option<usize>,
}

impl World {
    /// Sends a request to whichever shard it comes to.
    pub fn send(&mut self, visitor: usize, session: usize, sent: Sent, errand: Errand) -> usize {
        let shard = self.dice.index(self.shards.len());
        let exchange = self.http.exchanges.len();
        let is_long = matches!(errand, Errand::Ask(_) | Errand::Watch | Errand::Resume(_));
        let breaks = self.http.visitors[visitor].habits.breaks;
        // What makes a session breaks more seldom, or there would be none.
        let breaks = if is_long { breaks } else { breaks / 8 };
        let mut budget = None;
        if self.dice.percent(breaks) {
            if self.dice.percent(50) {
                let most = *self.dice.pick(&[100, 300, 1_000]);
                budget = Some(self.dice.index(most));
            } else {
                let within = *self.dice.pick(&[2_000, 200_000, 1_000_000]);
                let after = self.dice.below(within);
                self.plan_http(after, Happening::Break { exchange });
            }
        }
        self.trace.note(
            self.now,
            format_args!(
                "visitor {visitor} sends {exchange} to shard {shard}: {errand:?} {:?}",
                sent.verb
            ),
            sent.body.as_bytes(),
        );
        let after = self.delay();
        self.plan_http(after, Happening::Arrive { exchange });
        self.http.exchanges.push(Exchange {
            visitor,
            session,
            errand,
            shard,
            link: None,
            stage: Stage::Coming,
            sent,
            is_broken: false,
            is_left: false,
            over_at: None,
            outward_at: 0,
            budget,
            events: Events::default(),
            has_heard: false,
            stream: None,
        });
        exchange
    }

    pub fn exchange_arrives(&mut self, exchange: usize) {
        let found = &self.http.exchanges[exchange];
        if found.stage != Stage::Coming {
            return;
        }
        let shard = found.shard;
        if self.shards[shard].drained > 0 {
            // Nobody listens there any more.
            return self.exchange_breaks(exchange);
        }
        let link = self.new_link(shard);
        self.http.links.insert(link, exchange);
        let found = &mut self.http.exchanges[exchange];
        (found.link, found.stage) = (Some(link), Stage::Waiting);
        let empty = Sent { verb: found.sent.verb, headers: Vec::new(), body: String::new() };
        let sent = std::mem::replace(&mut found.sent, empty);
        self.trace.note(self.now, format_args!("exchange {exchange} is {link}"), b"");
        let request = Request {
            verb: sent.verb,
            path: "/mcp",
            query: "",
            headers: &sent,
            body: sent.body.as_bytes(),
            principal: ringgate::gateway::principal::Principal::ANONYMOUS,
        };
        self.handle(shard, Event::Exchange { link, request });
    }

    fn exchange_of(&self, link: LinkId) -> Option<usize> {
        self.http.links.get(&link).copied()
    }

    fn exchange_sends(&mut self, exchange: usize, part: Part) {
        let after = self.delay();
        let found = &mut self.http.exchanges[exchange];
        found.outward_at = found.outward_at.max(self.now + after);
        let at = found.outward_at - self.now;
        self.plan_http(at, Happening::Deliver { exchange, part });
    }

    /// The gateway answers as a whole.
    pub fn exchange_answered(
        &mut self,
        link: LinkId,
        status: u16,
        headers: HeaderPairs,
        body: &[u8],
    ) {
        let Some(exchange) = self.exchange_of(link) else { return };
        self.trace.note(
            self.now,
            format_args!("exchange {exchange} <- {status} {headers:?}"),
            body,
        );
        let found = &mut self.http.exchanges[exchange];
        if found.is_broken {
            return;
        }
        if found.stage != Stage::Waiting {
            let what = format!("exchange {exchange}, {:?}", found.stage);
            return self.wrong("an exchange is answered once", what);
        }
        (found.stage, found.over_at) = (Stage::Over, Some(self.now));
        self.free_link(link);
        let Ok(body) = String::from_utf8(body.to_vec()) else {
            return self.wrong("a body is UTF-8", format!("exchange {exchange}"));
        };
        self.exchange_sends(exchange, Part::Whole { status, headers, body });
    }

    /// The gateway answers with a stream.
    pub fn exchange_streams(&mut self, link: LinkId, headers: HeaderPairs) {
        let Some(exchange) = self.exchange_of(link) else { return };
        self.trace.note(self.now, format_args!("exchange {exchange} streams {headers:?}"), b"");
        let found = &mut self.http.exchanges[exchange];
        if found.is_broken {
            return;
        }
        if found.stage != Stage::Waiting {
            let what = format!("exchange {exchange}, {:?}", found.stage);
            return self.wrong("an exchange is answered once", what);
        }
        found.stage = Stage::Streaming;
        self.exchange_sends(exchange, Part::Stream { headers });
    }

    /// The gateway says something on a stream.
    pub fn exchange_told(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(exchange) = self.exchange_of(link) else { return };
        self.trace.note(self.now, format_args!("exchange {exchange} <-"), bytes);
        let found = &self.http.exchanges[exchange];
        if found.is_broken {
            return;
        }
        if found.stage != Stage::Streaming {
            let what = format!("exchange {exchange}, {:?}", found.stage);
            return self.wrong("events come on streams that are open", what);
        }
        self.exchange_sends(exchange, Part::Bytes(bytes.to_vec()));
    }

    /// The gateway ends a stream.
    pub fn exchange_closed(&mut self, link: LinkId, why: &str) {
        let Some(exchange) = self.exchange_of(link) else { return };
        self.trace.note(self.now, format_args!("exchange {exchange} is closed: {why}"), b"");
        let is_drain = why.contains("draining");
        let found = &mut self.http.exchanges[exchange];
        match found.stage {
            _ if found.is_broken => {}
            Stage::Streaming => {
                found.stage = Stage::Closing;
                self.exchange_sends(exchange, Part::End);
                let after = self.dice.below(500);
                self.plan_http(after, Happening::Shut { exchange });
            }
            Stage::Waiting if is_drain => self.exchange_breaks(exchange),
            stage => {
                let what = format!("exchange {exchange}, {stage:?}, {why}");
                self.wrong("only a stream is closed, and once", what);
            }
        }
    }

    /// The shard's transport knows that the peer is gone, or that its own close is done.
    pub fn exchange_gone(&mut self, exchange: usize, why: &'static str) {
        let found = &mut self.http.exchanges[exchange];
        let before = std::mem::replace(&mut found.stage, Stage::Over);
        let (shard, link) = (found.shard, found.link);
        if before == Stage::Over {
            return;
        }
        found.over_at = Some(self.now);
        // A request that broke off before it was whole was never there.
        let Some(link) = link else { return };
        found.is_broken = true;
        self.trace.note(self.now, format_args!("exchange {exchange} gone: {why}"), b"");
        self.handle(shard, Event::Closed { link, why });
        self.free_link(link);
    }

    /// A part of the response is there.
    pub fn exchange_delivers(&mut self, exchange: usize, part: Part) {
        let found = &mut self.http.exchanges[exchange];
        if found.is_left {
            return;
        }
        let bytes = match &part {
            Part::Whole { body, .. } => body.len(),
            Part::Bytes(bytes) => bytes.len(),
            Part::Stream { .. } | Part::End => 0,
        };
        let cut = found.budget.filter(|budget| *budget < bytes);
        found.budget = found.budget.map(|budget| budget.saturating_sub(bytes));
        match part {
            // Half a document is none.
            Part::Whole { .. } if cut.is_some() => {}
            Part::Whole { status, headers, body } => {
                found.is_left = true;
                self.visitor_answered(exchange, status, &headers, &body);
            }
            Part::Stream { headers } => self.visitor_streams(exchange, &headers),
            Part::Bytes(bytes) => {
                let events = found.events.read(&bytes[..cut.unwrap_or(bytes.len())]);
                match events {
                    Ok(events) => {
                        for event in events {
                            if !self.http.exchanges[exchange].is_left {
                                self.visitor_hears(exchange, &event);
                            }
                        }
                    }
                    Err(why) => self.wrong("a stream is made of events", why),
                }
            }
            Part::End => {
                found.is_left = true;
                self.visitor_ended(exchange);
            }
        }
        if cut.is_some() {
            self.exchange_breaks(exchange);
        }
    }

    /// The link breaks: at once for the visitor, some time later for the shard.
    pub fn exchange_breaks(&mut self, exchange: usize) {
        if std::mem::replace(&mut self.http.exchanges[exchange].is_left, true) {
            return;
        }
        self.trace.note(self.now, format_args!("exchange {exchange} breaks"), b"");
        let news = if self.dice.percent(70) { self.pace.link_max } else { 3_000_000 };
        let after = self.dice.between(10, news.max(10));
        self.plan_http(after, Happening::Gone { exchange });
        self.visitor_lost(exchange);
    }

    /// The process ends, and its connections with it.
    pub fn exchanges_end(&mut self, shard: usize) {
        for exchange in 0..self.http.exchanges.len() {
            let found = &self.http.exchanges[exchange];
            let is_open = matches!(found.stage, Stage::Waiting | Stage::Streaming);
            if found.shard == shard && is_open {
                self.plan_http(1, Happening::Break { exchange });
            }
        }
    }
}
