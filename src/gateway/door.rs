//! The one door of the domain: what may come in ([`Event`]), what goes out ([`Effects`]). Closed enums,
//! so that what can wake the gateway fits on a screen. No socket and no clock passes through it.

use std::ops::Range;

use super::lane::LaneKey;
use super::report::Report;
use crate::base::{LinkId, ShardId};

/// How a client reached us; for reports and for what differs by transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Stdio,
    Tcp,
    Unix,
}

impl Transport {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }
}

/// What can happen. Frames are borrowed from the transport's buffer and kept only by copying.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client's link is open. Nothing was read from it before this.
    ClientOpened {
        link: LinkId,
        transport: Transport,
    },
    /// The dial that [`Effect::Dial`] asked for has become a link.
    Dialed {
        lane: LaneKey,
        link: LinkId,
    },
    /// The dial failed; there is no link and there will be none.
    DialFailed {
        lane: LaneKey,
        why: &'a str,
    },
    /// One whole line came in on a link of this shard.
    Frame {
        link: LinkId,
        frame: &'a [u8],
    },
    /// A line grew over `frame_bytes_max`. The rest of it is not read.
    Overlong {
        link: LinkId,
    },
    /// The link is gone, whoever ended it. Said once a link; nothing comes from it afterwards.
    Closed {
        link: LinkId,
        why: &'a str,
    },
    /// The link's outbox is over its bound, or under it again.
    Blocked {
        link: LinkId,
    },
    Unblocked {
        link: LinkId,
    },
    /// The moment that [`super::Gateway::deadline`] named has come, or any later one.
    Tick,
    /// Mail from another shard, in the order it was sent.
    Mail {
        from: ShardId,
        mail: Mail,
    },
    /// The text that [`Effect::ReadText`] asked for, or why there is none.
    TextRead {
        ticket: u64,
        text: Result<&'a str, &'a str>,
    },
    /// Stop taking clients, let flights finish, then report [`Report::Drained`].
    Drain,
}

/// What is to be done, in this order. A frame lies in [`Effects::bytes`], its newline included.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Append these bytes to the outbox of a link of this shard. Sends that follow each other to one
    /// link are one effect.
    Send {
        link: LinkId,
        bytes: Range<usize>,
    },
    /// Write out what waits on the link, then close it. [`Event::Closed`] follows.
    Close {
        link: LinkId,
        why: &'static str,
    },
    /// Stop reading from the link, or go on.
    Pause {
        link: LinkId,
    },
    Resume {
        link: LinkId,
    },
    /// Connect or spawn the upstream with this index of the settings. Answered by
    /// [`Event::Dialed`] or [`Event::DialFailed`], exactly one.
    Dial {
        lane: LaneKey,
        upstream: usize,
    },
    /// Hand to another shard.
    Mail {
        to: ShardId,
        mail: Mail,
    },
    /// Read the text file at `path`, which lies in the built-in upstream's folder. Answered by [`Event::TextRead`].
    ReadText {
        ticket: u64,
        path: String,
    },
    /// Something happened that an operator may want to know.
    Report(Report),
}

/// What shards tell each other. Owned, because it crosses threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// A frame for the shared lane of `upstream`, which the receiver owns.
    ToUpstream { upstream: usize, frame: Box<[u8]> },
    /// A frame that the shared lane of `upstream` received for a flight of the receiver's, or for all.
    FromUpstream { upstream: usize, frame: Box<[u8]> },
    /// The shared lane of `upstream` is ready: what it said of itself.
    UpstreamReady { upstream: usize, identity: Box<super::upstream::Identity> },
    /// The shared lane of `upstream` is gone: its flights are lost.
    UpstreamDown { upstream: usize, why: String, retry_ms: u64 },
    /// The receiver's sender wants these kinds of news from the shared lane (see `subscribe`).
    Want { upstream: usize, uris: Vec<String> },
}

/// Where effects are collected. Kept by the shard and used again for each batch of events.
#[derive(Debug, Default)]
pub struct Effects {
    /// The frames of all sends, one behind the other.
    pub bytes: Vec<u8>,
    pub list: Vec<Effect>,
}

impl Effects {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub fn report(&mut self, report: Report) {
        self.list.push(Effect::Report(report));
    }

    /// Sends one frame: what `write` appends, and a newline.
    #[inline]
    pub fn send(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.send_from(link, start);
    }

    /// Sends what was appended to [`Effects::bytes`] from `start` on as one frame, with a newline.
    #[inline]
    pub fn send_from(&mut self, link: LinkId, start: usize) {
        self.bytes.push(b'\n');
        let end = self.bytes.len();
        if let Some(Effect::Send { link: last, bytes }) = self.list.last_mut()
            && *last == link
            && bytes.end == start
        {
            bytes.end = end;
            return;
        }
        self.list.push(Effect::Send { link, bytes: start..end });
    }
}
