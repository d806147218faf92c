//! The links of a shard: what waits to be written on each, whether it may read, how it ends. A table
//! of slots with generations, so that a late event of a closed link finds nothing. Does no I/O.
//!
//! ```text
//!          peer sends no more            answers are out
//!   open ───────────────────► ended ───────────────────────┐
//!    │  Close, or over a bound                             ▼
//!    └────────────────────────────────────────────────► closing ──flushed, or late──► gone
//!    └──────────────── broken: nothing can be written ──► dead ─────────────────────► gone
//! ```

use std::borrow::Cow;
use std::task::Waker;

use super::acceptor::Door;
use super::blocks::Blocks;
use super::http::{HttpFace, WsFace};
use super::http2::StreamFace;
use super::lines::Begun;
use super::tls::Alpn;
use super::ways::WayId;
use crate::base::pressure::Pressure;
use crate::base::wheel::TimerKey;
use crate::base::{LinkId, ShardId};
use crate::gateway::Transport;

/// What the shard's wheel holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// The link has been blocked for too long.
    Blocked(LinkId),
    /// The link's last bytes could not be written in time.
    Flush(LinkId),
    /// Time to ask again whether an ended link is owed anything.
    Owes(LinkId),
    /// A request or a line has not come in in time, or no request has come for long.
    Late(LinkId),
    /// Time to ask whether the peer of a WebSocket is there.
    Ping(LinkId),
    /// How a child ended has not been told in time.
    Epitaph(LinkId),
    /// Time to look how full the listeners are.
    Crowd,
    /// The notice is over.
    Leave,
    /// The drain has taken too long.
    Drain,
    /// As these two, of one listener.
    WayNotice(WayId),
    WayDrain(WayId),
}

/// Whom a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client(Transport),
    /// A client's stream on the connection of this link.
    Stream(LinkId),
    Upstream {
        ticket: u64,
        tells_its_end: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Open,
    /// The peer sends no more; answers still reach it.
    Ended,
    /// Nothing more is taken from it; what waits is written, then it is closed.
    Closing,
    /// What waits is lost; its task must end at once.
    Dead,
}

/// What the bytes of a link are.
#[derive(Debug)]
pub(super) enum Face {
    Lines,
    /// Lines, or blocks of them: its first bytes will tell.
    Hello,
    Blocks(Blocks),
    Http(Box<HttpFace>),
    Ws(Box<WsFace>),
    /// A connection of HTTP/2, which is read and written by hyper.
    Http2 {
        /// Those that are open.
        streams: u32,
    },
    /// A stream of such a connection.
    Stream(Box<StreamFace>),
}

impl Face {
    /// That of a client which has come by a listener.
    pub(super) fn of(transport: Transport, alpn: Option<Alpn>) -> Self {
        match transport {
            Transport::Http => Self::Http(Box::new(HttpFace { alpn, ..HttpFace::default() })),
            Transport::Tcp | Transport::Unix => Self::Hello,
            _ => Self::Lines,
        }
    }
}

/// See the module.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state machine: that is `life`"
)]
pub(super) struct Link {
    /// Frames that wait, the writer's share excepted.
    pub(super) outbox: Vec<u8>,
    /// Bytes that the writer has taken and not yet written.
    pub(super) in_flight: usize,
    /// Wakes the link's task.
    pub(super) waker: Option<Waker>,
    /// Set once; the first reason is the one that counts.
    pub(super) why: Option<Cow<'static, str>>,
    pub(super) timer: Option<TimerKey<Due>>,
    pub(super) side: Side,
    pub(super) face: Face,
    pub(super) life: Life,
    /// By which a client came.
    pub(super) door: Door,
    pub(super) way: WayId,
    /// The domain wants nothing from it for now.
    pub(super) paused: bool,
    /// How far its peer is behind.
    pub(super) pressure: Pressure,
    /// Its next read waits for what is being written.
    pub(super) held_back: bool,
    /// A line was too long: what follows is not read.
    pub(super) overlong: bool,
    /// Nothing can be written to it any more; its last words may still be read.
    pub(super) deaf: bool,
    /// Whether a line has begun on it.
    pub(super) line: Begun,
}

impl Link {
    pub(super) const fn new(side: Side) -> Self {
        Self {
            outbox: Vec::new(),
            in_flight: 0,
            waker: None,
            why: None,
            timer: None,
            side,
            face: Face::Lines,
            life: Life::Open,
            door: Door::Plain,
            way: WayId::NONE,
            paused: false,
            pressure: Pressure::NONE,
            held_back: false,
            overlong: false,
            deaf: false,
            line: Begun::No,
        }
    }

    /// Bytes that wait to be written.
    #[inline]
    pub(super) const fn waiting(&self) -> usize {
        self.outbox.len() + self.in_flight
    }

    /// Whether lines may be taken from it. An upstream is read even while its own outbox is full:
    /// its answers are what others wait for.
    #[inline]
    pub(super) fn reads(&self) -> bool {
        self.life == Life::Open
            && !self.paused
            && !self.overlong
            && (self.pressure.takes() || !self.is_client())
            && !matches!(&self.face, Face::Http(face) if face.is_held)
    }

    /// Frames that may be taken from it before it is looked at again: of a client that is behind only some.
    #[inline]
    pub(super) const fn allowance(&self) -> u64 {
        if self.is_client() { self.pressure.allowance() } else { u64::MAX }
    }

    /// Whether what is sent on it waits as it is.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.face, Face::Lines | Face::Blocks(_))
    }

    pub(super) const fn is_http(&self) -> bool {
        matches!(self.face, Face::Http(_))
    }

    #[inline]
    pub(super) const fn is_client(&self) -> bool {
        matches!(self.side, Side::Client(_) | Side::Stream(_))
    }

    /// Whether it counts as a client by itself.
    const fn is_counted(&self) -> bool {
        matches!(self.side, Side::Client(_))
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

struct Slot {
    generation: u32,
    entry: Entry,
}

enum Entry {
    Free,
    Link(Link),
    /// An exchange on the connection of this link.
    Exchange(LinkId),
}

/// See the module.
pub(super) struct Links {
    shard: ShardId,
    slots: Vec<Slot>,
    free: Vec<u32>,
    clients: usize,
    /// Entries that are no link of their own: exchanges, and streams.
    exchanges: usize,
}

impl Links {
    pub(super) const fn new(shard: ShardId) -> Self {
        Self { shard, slots: Vec::new(), free: Vec::new(), clients: 0, exchanges: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.exchanges
    }

    pub(super) const fn clients(&self) -> usize {
        self.clients
    }

    /// Whether no client and no stream should be added: the other half of the slots is for the exchanges of
    /// those that are there.
    pub(super) const fn is_full(&self) -> bool {
        self.slots.len() - self.free.len() >= LinkId::SLOTS_MAX as usize / 2
    }

    pub(super) fn insert(&mut self, link: Link) -> LinkId {
        self.clients += usize::from(link.is_counted());
        self.exchanges += usize::from(matches!(link.side, Side::Stream(_)));
        self.put(Entry::Link(link))
    }

    fn put(&mut self, entry: Entry) -> LinkId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: Entry::Free });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut self.slots[slot as usize];
        debug_assert!(matches!(place.entry, Entry::Free), "a free slot holds no link");
        place.entry = entry;
        LinkId::new(self.shard, slot, place.generation)
    }

    #[inline]
    fn entry(&self, id: LinkId) -> Option<&Entry> {
        let slot = self.slots.get(id.slot() as usize)?;
        let is_it = slot.generation == id.generation() && id.shard() == self.shard;
        is_it.then_some(&slot.entry)
    }

    #[inline]
    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        match self.entry(id)? {
            Entry::Link(link) => Some(link),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        if slot.generation != id.generation() || id.shard() != self.shard {
            return None;
        }
        match &mut slot.entry {
            Entry::Link(link) => Some(link),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.get(id)?;
        let slot = self.slots.get_mut(id.slot() as usize)?;
        let Entry::Link(link) = std::mem::replace(&mut slot.entry, Entry::Free) else {
            return None;
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot());
        self.clients -= usize::from(link.is_counted());
        self.exchanges -= usize::from(matches!(link.side, Side::Stream(_)));
        Some(link)
    }

    /// An id for one exchange on a connection.
    pub(super) fn open_exchange(&mut self, connection: LinkId) -> LinkId {
        self.exchanges += 1;
        self.put(Entry::Exchange(connection))
    }

    /// The connection of an exchange that is under way.
    #[inline]
    pub(super) fn connection(&self, exchange: LinkId) -> Option<LinkId> {
        match self.entry(exchange)? {
            Entry::Exchange(connection) => Some(*connection),
            _ => None,
        }
    }

    /// The exchange is over: its id is worth nothing from now on.
    pub(super) fn close_exchange(&mut self, exchange: LinkId) {
        if self.connection(exchange).is_some()
            && let Some(slot) = self.slots.get_mut(exchange.slot() as usize)
        {
            slot.entry = Entry::Free;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(exchange.slot());
            self.exchanges -= 1;
        }
    }

    /// All links.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.slots.iter().filter_map(|slot| match &slot.entry {
            Entry::Link(link) => Some(link),
            _ => None,
        })
    }

    /// The ids of all, by slot.
    pub(super) fn ids(&self) -> Vec<LinkId> {
        let live =
            self.slots.iter().enumerate().filter(|(_, slot)| matches!(slot.entry, Entry::Link(_)));
        live.map(|(n, slot)| {
            LinkId::new(self.shard, u32::try_from(n).unwrap_or(u32::MAX), slot.generation)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_link_is_not_found_even_when_its_slot_is_taken_again() {
        let mut links = Links::new(ShardId(3));
        let a = links.insert(Link::new(Side::Client(Transport::Tcp)));
        assert_eq!((a.shard(), links.len(), links.clients()), (ShardId(3), 1, 1));
        assert!(links.remove(a).is_some());
        let b = links.insert(Link::new(Side::Upstream { ticket: 0, tells_its_end: false }));
        assert_eq!(a.slot(), b.slot());
        assert!(links.get(a).is_none() && links.remove(a).is_none());
        assert!(links.get(b).is_some());
        assert_eq!((links.len(), links.clients()), (1, 0));
        assert_eq!(links.ids(), [b]);
        let elsewhere = LinkId::new(ShardId(0), b.slot(), b.generation());
        assert!(links.get(elsewhere).is_none(), "a link of another shard is not ours");
    }

    #[test]
    fn a_link_of_ten_thousand_costs_little() {
        assert!(size_of::<Slot>() <= 144, "{} bytes a link", size_of::<Slot>());
    }
}
