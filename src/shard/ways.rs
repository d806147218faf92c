//! The ways in: which listeners of the shard take clients, and how one that is closed is left. It goes the way of the
//! whole shard ([`super::leave`]), for its own connections alone: notice, then a drain, and after `limits.drain` the
//! end. Who moves to another listener of ours loses nothing by it. What a drain means for what is under way is the
//! domain's ([`Event::Dismissed`]).
//!
//! ```text
//!   open ──closed──► leaving ──limits.notice──► draining ──limits.drain──► gone
//!    └─becomes another: as closed, but its socket goes on under the other's name
//! ```

use std::borrow::Cow;
use std::rc::Rc;

use super::acceptor::{self, Door, Listening};
use super::core::{Core, Phase};
use super::domain::Domain;
use super::links::{Due, Side};
use super::rt;
use crate::base::LinkId;
use crate::gateway::{Event, Transport};

/// A listener, by a number that no other ever has. Of what came through none it is [`WayId::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WayId(pub u32);

impl WayId {
    pub const NONE: Self = Self(0);
}

/// A listener, as its clients meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub id: WayId,
    /// What its clients speak.
    pub transport: Transport,
    pub door: Door,
}

/// What a running shard listens on from now on.
#[derive(Debug, Default)]
pub struct Moves {
    pub opened: Vec<Listening>,
    /// The socket of the first goes on as the second: another door at the same address.
    pub became: Vec<(WayId, Way)>,
    pub closed: Vec<WayId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Those that take clients.
    open: Vec<WayId>,
    /// What sockets go on as.
    became: Vec<(WayId, Way)>,
    /// Those that are closed, and have or may have connections.
    going: Vec<(WayId, Phase)>,
}

impl Ways {
    pub(super) fn open(&mut self, id: WayId) {
        self.open.push(id);
    }

    pub(super) fn is_open(&self, id: WayId) -> bool {
        self.open.contains(&id)
    }

    /// What the socket of a way that is closed is from now on, if anything.
    pub(super) fn after(&self, id: WayId) -> Option<Way> {
        self.became.iter().find(|(before, _)| *before == id).map(|(_, way)| *way)
    }

    fn close(&mut self, id: WayId) {
        self.open.retain(|open| *open != id);
    }

    fn phase(&self, id: WayId) -> Phase {
        let going = self.going.iter().find(|(going, _)| *going == id);
        going.map_or(Phase::Serving, |(_, phase)| *phase)
    }

    fn set(&mut self, id: WayId, phase: Phase) {
        self.going.retain(|(going, _)| *going != id);
        self.going.push((id, phase));
    }
}

impl<D: Domain> Core<D> {
    /// What this link has to expect: the shard's phase, or that of the way it came, whichever is further.
    #[inline]
    pub(super) fn phase_of(&self, id: LinkId) -> Phase {
        if self.ways.going.is_empty() {
            return self.phase;
        }
        self.phase.max(self.ways.phase(self.way_of(id)))
    }

    /// Whether a client that came this way a moment ago can still be let in.
    pub(super) fn takes_by(&self, way: WayId, transport: Transport) -> bool {
        // The request that an HTTP connection was opened for is answered; of a line we know nothing yet.
        transport == Transport::Http || self.ways.phase(way) < Phase::Draining
    }

    fn way_of(&self, id: LinkId) -> WayId {
        match self.links.get(id).map(|link| (link.side, link.way)) {
            Some((Side::Stream(connection), _)) => {
                self.links.get(connection).map_or(WayId::NONE, |link| link.way)
            }
            Some((_, way)) => way,
            None => WayId::NONE,
        }
    }

    /// Listens elsewhere.
    pub(super) fn move_to(&mut self, moves: Moves) {
        let Some(shard) = self.me.upgrade() else { return };
        let notice = self.limits.notice;
        for Listening { socket, way } in moves.opened {
            match rt::Listener::adopt(socket) {
                Ok(listener) => {
                    self.ways.open(way.id);
                    rt::spawn(acceptor::accept(Rc::clone(&shard), listener, way));
                }
                Err(error) => tracing::error!(%error, "a listener cannot be waited on"),
            }
        }
        for (before, way) in moves.became {
            self.ways.close(before);
            self.ways.open(way.id);
            self.ways.became.push((before, way));
            self.begin_leaving(before, notice);
        }
        for way in moves.closed {
            self.begin_leaving(way, notice);
        }
        // Acceptors, and connections of HTTP/2, which say goodbye by themselves.
        self.on_phase.wake();
    }

    fn begin_leaving(&mut self, way: WayId, notice: std::time::Duration) {
        if notice.is_zero() {
            return self.drain_way(way);
        }
        self.ways.set(way, Phase::Leaving);
        self.wheel.set(self.now.at, notice, Due::WayNotice(way));
    }

    /// Takes nobody more by this way, and closes what is idle; what is under way may finish.
    pub(super) fn drain_way(&mut self, way: WayId) {
        self.ways.close(way);
        self.ways.set(way, Phase::Draining);
        self.on_phase.wake();
        self.wheel.set(self.now.at, self.limits.drain, Due::WayDrain(way));
        for id in self.came_by(way) {
            if self.is_idle(id) {
                self.close(id, Cow::Borrowed("its listener is closed"));
            } else {
                self.dismiss(id, false);
            }
        }
    }

    /// Ends what the drain has left.
    pub(super) fn end_way(&mut self, way: WayId) {
        for id in self.came_by(way) {
            self.dismiss(id, true);
            self.close(id, Cow::Borrowed("its listener is closed, and limits.drain is over"));
        }
        self.ways.going.retain(|(going, _)| *going != way);
    }

    fn dismiss(&mut self, id: LinkId, is_overdue: bool) {
        if let Some(link) = self.told_as(id) {
            self.handle(Event::Dismissed { link, is_overdue });
        }
    }

    fn came_by(&self, way: WayId) -> Vec<LinkId> {
        self.links.ids().into_iter().filter(|id| self.way_of(*id) == way).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_open_until_it_is_closed_and_its_socket_may_go_on_as_another() {
        let (first, second) = (WayId(1), WayId(2));
        let mut ways = Ways::default();
        ways.open(first);
        assert!(ways.is_open(first) && !ways.is_open(second));
        assert_eq!(ways.phase(first), Phase::Serving);
        let way = Way { id: second, transport: Transport::Tcp, door: Door::Tls };
        ways.close(first);
        ways.open(second);
        ways.became.push((first, way));
        ways.set(first, Phase::Leaving);
        ways.set(first, Phase::Draining);
        assert_eq!((ways.after(first), ways.after(second)), (Some(way), None));
        assert_eq!((ways.phase(first), ways.phase(second)), (Phase::Draining, Phase::Serving));
        assert_eq!(ways.going.len(), 1, "the phases of a way replace each other");
    }
}
