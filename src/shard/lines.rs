//! The time that a line has: one that a client has begun must end, for what has come of it is held. Who sends it slowly
//! and steadily has as long as a body over HTTP. Not here: how lines are cut, and how long they may be.

use super::core::Core;
use super::domain::Domain;
use super::links::{Due, Life, Side};
use crate::base::LinkId;
use crate::gateway::Transport;

const LATE: &str = "a line has not ended within the time of limits.body";

/// Whether a line has begun on a link. The timer of one that has ended is left to run, and is the next one's that is
/// under way when it is due: busy clients end reads within lines all the time, and would set and cancel it with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    No,
    /// While the timer of another ran.
    Since,
    /// Its timer runs.
    Timed,
}

impl<D: Domain> Core<D> {
    /// After a read: whether a line is under way, and another than before. True if it has a time to end in. Clients on
    /// the gateway's own standard streams have started it, and may take what time they want.
    #[inline(never)]
    pub(super) fn time_line(&mut self, id: LinkId, is_begun: bool, is_another: bool) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        if !matches!(link.side, Side::Client(Transport::Tcp | Transport::Unix)) {
            return false;
        }
        if !is_begun {
            link.line = Begun::No;
            return false;
        }
        if is_another || link.line == Begun::No {
            link.line = Begun::Since;
        }
        if link.timer.is_none() {
            self.begin_line(id);
        }
        true
    }

    /// The time runs from now on.
    fn begin_line(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.line = Begun::Timed;
            self.set_timer(id, self.limits.body, Due::Late(id));
        }
    }

    /// The link's timer was needed for something else, and is free again.
    pub(super) fn go_on_timing(&mut self, id: LinkId) {
        if self.links.get(id).is_some_and(|link| link.line != Begun::No) {
            self.begin_line(id);
        }
    }

    /// The time is over. Who was not read from meanwhile could not end his line.
    pub(super) fn late_line(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id).filter(|link| link.life == Life::Open) else { return };
        match link.line {
            Begun::No => {}
            Begun::Timed if link.reads() => {
                tracing::info!(link = %id, "{LATE}: the connection is closed");
                self.refuse_input(id, LATE);
            }
            Begun::Since | Begun::Timed => self.begin_line(id),
        }
    }
}
