//! HTTP in the simulated world: visitors, whose every request is an exchange on whichever shard it comes to,
//! and links that break under them. Heads, framing and connections are the transport's and are not here.

pub mod events;
pub mod exchange;
pub mod excuse;
pub mod judge;
pub mod modern;
pub mod seed;
pub mod session;
pub mod stream;
pub mod visitor;

use exchange::{Exchange, Part};
use ringgate::base::LinkId;
use std::collections::BTreeMap;
use visitor::Visitor;

use crate::world::World;

/// What the queue holds of it.
#[derive(Debug)]
pub enum Happening {
    /// A request has come to its shard.
    Arrive {
        exchange: usize,
    },
    /// A part of a response has come to its visitor.
    Deliver {
        exchange: usize,
        part: Part,
    },
    /// A link breaks under a visitor, or the visitor gives it up.
    Break {
        exchange: usize,
    },
    /// The shard hears of it.
    Gone {
        exchange: usize,
    },
    /// The gateway's close has come through.
    Shut {
        exchange: usize,
    },
    Enter {
        visitor: usize,
    },
    Act {
        visitor: usize,
    },
    /// A visitor of a session posts what is no request.
    Tell {
        visitor: usize,
        session: usize,
        body: String,
    },
    /// A modern visitor makes a request anew.
    Retry {
        visitor: usize,
        frame: String,
    },
    /// A visitor goes on with a stream that broke.
    Resume {
        visitor: usize,
        stream: usize,
    },
    Leave {
        visitor: usize,
    },
}

/// All there is of HTTP in a world.
#[derive(Debug, Default)]
pub struct Http {
    /// Visitor N is client N of the world.
    pub visitors: Vec<Visitor>,
    pub exchanges: Vec<Exchange>,
    /// Every link that an exchange has had; its generation makes it one of a kind.
    pub links: BTreeMap<LinkId, usize>,
    /// Links break, and nothing else goes wrong.
    pub is_windy: bool,
}

impl World {
    pub fn http_happens(&mut self, what: Happening) {
        match what {
            Happening::Arrive { exchange } => self.exchange_arrives(exchange),
            Happening::Deliver { exchange, part } => self.exchange_delivers(exchange, part),
            Happening::Break { exchange } => self.exchange_breaks(exchange),
            Happening::Gone { exchange } => self.exchange_gone(exchange, "the peer closed it"),
            Happening::Shut { exchange } => self.exchange_gone(exchange, "closed here"),
            Happening::Enter { visitor } => self.visitor_enters(visitor),
            Happening::Act { visitor } => self.visitor_acts(visitor),
            Happening::Tell { visitor, session, body } => {
                self.visitor_tells(visitor, session, body);
            }
            Happening::Retry { visitor, frame } => self.visitor_retries(visitor, frame),
            Happening::Resume { visitor, stream } => self.visitor_resumes(visitor, stream),
            Happening::Leave { visitor } => self.visitor_leaves(visitor),
        }
    }

    pub fn plan_http(&mut self, after: u64, what: Happening) {
        self.plan_in(after, crate::world::Happening::Http(what));
    }
}
