//! The one door of the domain: what may come in ([`Event`]), what goes out ([`Effects`]). Closed enums,
//! so that what can wake the gateway fits on a screen. No socket and no clock passes through it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::audit::Record;
use super::endpoint::Seat;
use super::http::{Carried, HeaderPairs, Request};
use super::lane::LaneKey;
use super::principal::Principal;
use super::rate::Budget;
use super::report::Report;
use super::settings::Settings;
use super::token::SubjectToken;
use crate::base::{LinkId, ShardId};

/// How a client reached us; for reports and for what differs by transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Stdio,
    Tcp,
    Unix,
    WebSocket,
    /// Streamable HTTP: many exchanges, on any connection of any shard.
    Http,
    /// HTTP+SSE of 2024-11-05: one stream, and exchanges that only bring messages.
    Sse,
}

impl Transport {
    pub const ALL: [Self; 6] =
        [Self::Stdio, Self::Tcp, Self::Unix, Self::WebSocket, Self::Http, Self::Sse];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::WebSocket => "websocket",
            Self::Http => "http",
            Self::Sse => "sse",
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
        /// Who proved to be at its other end.
        principal: Principal,
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
    /// A whole HTTP request came in; the link is this one exchange. It is answered by
    /// [`Effect::Respond`] or by [`Effect::Stream`], exactly one, now or later, unless
    /// [`Event::Closed`] comes first: then the peer went before its answer was over.
    Exchange {
        link: LinkId,
        request: Request<'a>,
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
    /// A request that was sent on the link has no answer and will have none, but the link goes on: what carried it
    /// was an exchange of its own. `id` is the one it was sent under, as JSON text.
    Undelivered {
        link: LinkId,
        id: &'a str,
        /// Its peer has not seen a byte of it.
        is_unsent: bool,
        why: &'a str,
    },
    /// The request of this id was not made, or not taken, because of whom it was for: no token could be had in
    /// exchange for its caller's, or its server refuses that one. The link goes on.
    Unauthorized {
        link: LinkId,
        id: &'a str,
        why: &'a str,
    },
    /// The client on this link, whose end it is that was proved, has proved it with this token. Said right after
    /// [`Event::ClientOpened`]; an exchange has it in its headers.
    Shown {
        link: LinkId,
        token: &'a [u8],
    },
    /// These frames, whole lines, were sent on the link and never left: its peer has not seen a byte of them. Said
    /// before [`Event::Closed`], of a link to an upstream, as far as it is known.
    Unsent {
        link: LinkId,
        frames: &'a [u8],
    },
    /// The link is gone, whoever ended it. Said once a link; nothing comes from it afterwards. Not said
    /// of an exchange that [`Effect::Respond`] answered.
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
    /// Who is at this address went over a rate: [`Effect::Violation`] was about a link from there.
    Violated {
        address: IpAddr,
    },
    /// A drain will begin: say so to who asks at `/ready`.
    Leave,
    /// Stop taking clients, let flights finish, then report [`Report::Drained`].
    Drain,
    /// The listener that the link's client came by is closed: streams end in good order, and the link is closed when
    /// nothing is under way for it. Others are not concerned.
    Dismissed {
        link: LinkId,
        /// The time for that is over.
        is_overdue: bool,
    },
    /// Go by these settings from now on. What is under way ends by those it began with. They keep every
    /// upstream in its place, and what cannot change while the process runs (see `edge::reload`) as it was.
    Settings(Arc<Settings>),
}

/// What is to be done, in this order. A frame lies in [`Effects::bytes`], its newline included.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Append these bytes to the outbox of a link. Sends that follow each other to one link are one
    /// effect. Like every effect on a link of another shard it becomes mail, which that shard does.
    Send {
        link: LinkId,
        bytes: Range<usize>,
    },
    /// Answer an HTTP exchange as a whole; the gateway has forgotten its link. The body is JSON unless
    /// the headers name another type; none if `bytes` is empty.
    Respond {
        link: LinkId,
        status: u16,
        headers: HeaderPairs,
        bytes: Range<usize>,
    },
    /// Answer an HTTP exchange with 200 and an event stream: what is sent on the link from now on are
    /// encoded events, until it is closed.
    Stream {
        link: LinkId,
        headers: HeaderPairs,
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
    /// Connect or spawn the endpoint of this number (see [`super::settings::endpoints`]). Answered by
    /// [`Event::Dialed`] or [`Event::DialFailed`], exactly one.
    Dial {
        lane: LaneKey,
        endpoint: usize,
    },
    /// Requests on this link to an upstream are made on behalf of whom this token proves, from now on.
    Bear {
        link: LinkId,
        subject: Arc<SubjectToken>,
    },
    /// Who is at the other end of this link went over a rate. Answered by [`Event::Violated`], where it has an
    /// address.
    Violation {
        link: LinkId,
    },
    /// Close every client's link from this address ([`super::address::counted`]).
    Expel {
        address: IpAddr,
    },
    /// Hand to another shard.
    Mail {
        to: ShardId,
        mail: Mail,
    },
    /// Read the text file at `path`, which lies in the built-in upstream's folder. Answered by [`Event::TextRead`].
    ReadText {
        ticket: u64,
        /// What the file must lie in, links followed.
        folder: String,
        /// Relative to the folder.
        path: String,
    },
    /// A request that is traced is over.
    Span(Box<super::trace::Span>),
    /// Something happened that an operator may want to know.
    Report(Report),
}

/// What shards tell each other. Owned, because it crosses threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// A frame for the shared lane in this seat, which the receiver owns.
    ToUpstream {
        seat: Seat,
        frame: Box<[u8]>,
    },
    /// A frame that the shared lane in this seat received for a flight of the receiver's, or for all.
    FromUpstream {
        seat: Seat,
        frame: Box<[u8]>,
    },
    /// The shared lane in this seat is ready: what it said of itself.
    UpstreamReady {
        seat: Seat,
        identity: Box<super::upstream::Identity>,
    },
    /// The shared lane in this seat is gone: its flights are lost.
    UpstreamDown {
        seat: Seat,
        why: String,
        retry_ms: u64,
    },
    /// An exchange of the sender's shard about something that lives at the receiver's.
    Exchange {
        link: LinkId,
        carried: Box<Carried>,
    },
    /// The client of an exchange that was mailed has gone.
    Gone {
        link: LinkId,
    },
    /// The client of an exchange that was mailed reads too slowly, or reads again.
    Behind {
        link: LinkId,
        is_behind: bool,
    },
    /// [`Event::Dismissed`], of an exchange that was mailed.
    Dismissed {
        link: LinkId,
        is_overdue: bool,
    },
    /// The effects of the same names, on a link of the receiver's shard.
    Send {
        link: LinkId,
        bytes: Box<[u8]>,
    },
    Respond {
        link: LinkId,
        status: u16,
        headers: HeaderPairs,
        bytes: Box<[u8]>,
    },
    Stream {
        link: LinkId,
        headers: HeaderPairs,
    },
    Close {
        link: LinkId,
        why: &'static str,
    },
    /// What calls to the tools of `upstream` mirror in headers, which of them do no harm twice, and which
    /// may be tasks.
    Mirrors {
        upstream: usize,
        mirrors: super::mirror::Mirrors,
        harmless: BTreeSet<Box<str>>,
        task_tools: super::upstream::TaskTools,
    },
    /// The sender has used so many of a budget of the receiver's on credit, and wants a lease.
    LeaseAsked {
        budget: Budget,
        used: u32,
        wanted: u32,
    },
    /// The answer: a lease, or how long there will be none.
    Leased {
        budget: Budget,
        tokens: u32,
        wait: Duration,
    },
    /// The effect of the same name, on a link of the receiver's shard.
    Violation {
        link: LinkId,
    },
    /// Who is at this address, whose home the receiver is, went over a rate.
    Violated {
        address: IpAddr,
    },
    /// Nothing is taken from this address for a while.
    ShutOut {
        address: IpAddr,
        time: Duration,
    },
    /// The sender has learnt of an endpoint whose shared lanes the receiver owns, and may have missed what was
    /// told of it.
    Met {
        endpoint: usize,
    },
    /// The sender has nothing under way any more on an endpoint whose upstream is used no more.
    Left {
        endpoint: usize,
    },
    /// An endpoint whose upstream is used no more has ended at its home, which is the sender: it says nothing more of
    /// that.
    Ended {
        endpoint: usize,
    },
    /// More than what the receiver's lanes of this endpoint hold is in use.
    Crowded {
        endpoint: usize,
    },
    /// The sender's drain is over: it needs the receiver's children no more.
    Drained,
    /// The lane in this seat, which is the sender's, is given up: no more calls. For the `round`th time.
    Retire {
        seat: Seat,
        round: u32,
    },
    /// It is needed after all.
    Reinstated {
        seat: Seat,
    },
    /// The sender has no calls on a lane that the receiver gives up.
    Vacated {
        seat: Seat,
        round: u32,
    },
    /// The sender wants to be told of these resources by this endpoint's shared lane (see `subscribe`).
    Want {
        endpoint: usize,
        uris: Vec<String>,
    },
}

/// Where effects are collected. Kept by the shard and used again for each batch of events.
#[derive(Debug, Default)]
pub struct Effects {
    /// The frames of all sends, one behind the other.
    pub bytes: Vec<u8>,
    pub list: Vec<Effect>,
    /// What was decided about uses of things, for the audit log. Beside the list: they have no order with what is done, and the answers of one
    /// read must stay one send.
    pub records: Vec<Record>,
}

impl Effects {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        self.records.clear();
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

    /// Appends bytes for an effect to name.
    pub fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Sends bytes that are framed already.
    pub fn send_raw(&mut self, link: LinkId, bytes: &[u8]) {
        let start = self.put(bytes).start;
        self.sent(link, start);
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
        self.sent(link, start);
    }

    /// Sends what has been appended since `start`.
    #[inline]
    pub fn sent(&mut self, link: LinkId, start: usize) {
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
