//! A pipe: one link with bytes under way in both directions, as the transport of a shard sees it.

use std::collections::VecDeque;

use ringgate::base::LinkId;
use ringgate::wire::LineCutter;

use crate::reader::Reader;

/// Who is at the actor's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client(usize),
    Server(usize),
}

/// How the gateway's end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    /// The gateway has closed it; nothing is read any more.
    Closing,
    Closed,
}

/// See the module.
#[derive(Debug)]
pub struct Pipe {
    pub link: LinkId,
    pub shard: usize,
    pub end: End,
    pub state: State,
    pub paused: bool,
    /// The actor's end is closed, as far as the transport has seen.
    pub ended: bool,
    /// The actor has left: it neither says nor hears anything any more.
    pub is_left: bool,
    pub was_overlong: bool,
    pub buffer: Vec<u8>,
    cutter: LineCutter,
    /// When the last bytes that are under way will be there, in each direction.
    pub inward_at: u64,
    pub outward_at: u64,
    /// What the gateway has written and the actor not got yet.
    pub under_way: VecDeque<Vec<u8>>,
    /// Of a client that reads in its own time: how that stands.
    pub reader: Option<Box<Reader>>,
}

impl Pipe {
    pub fn new(link: LinkId, shard: usize, end: End) -> Self {
        Self {
            link,
            shard,
            end,
            state: State::Open,
            paused: false,
            ended: false,
            is_left: false,
            was_overlong: false,
            buffer: Vec::new(),
            cutter: LineCutter::default(),
            inward_at: 0,
            outward_at: 0,
            under_way: VecDeque::new(),
            reader: None,
        }
    }

    /// The next whole line that has arrived.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let line = self.cutter.next(&self.buffer).map(<[u8]>::to_vec);
        if line.is_none() {
            self.buffer.drain(..self.cutter.consumed());
            self.cutter.shifted();
        }
        line
    }

    /// Whether the transport reads on.
    pub fn is_read(&self) -> bool {
        !self.paused && self.reader.as_ref().is_none_or(|reader| reader.takes())
    }

    pub fn pending(&self) -> usize {
        self.cutter.pending(self.buffer.len())
    }

    pub fn name(&self) -> String {
        match self.end {
            End::Client(client) => format!("client {client} ({})", self.link),
            End::Server(conn) => format!("conn {conn} ({})", self.link),
        }
    }
}
