//! Ids of tasks, as clients have them: where a task lives and what it is called there, sealed for the principal that
//! made it. The same task has the same id whenever it is named.

use super::super::Gateway;
use super::super::catalog::digest;
use super::super::lane::{LaneKey, Role};
use super::super::principal::Principal;
use super::table::TaskKey;
use crate::base::{Key, ShardId};
use crate::mcp::Era;

/// The form of what is sealed.
const FORM: u8 = 1;
/// Form, upstream, endpoint, kind of place, shard, number or key.
const HEAD_BYTES: usize = 1 + 8 + 2 + 1 + 2 + 8;

/// Which connection a task lives behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any: the server does not tell its connections apart.
    Anywhere,
    /// The shared one in this seat of the endpoint, as this shard has it.
    Seat { shard: ShardId, number: u16 },
    /// One that is a client's own.
    Own { shard: ShardId, lane: LaneKey },
    /// None: it had ended before it began, and its result is kept in this shard's table.
    Kept { shard: ShardId, task: TaskKey },
}

/// A task of an upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskId {
    pub upstream: usize,
    /// The endpoint's place among those of its upstream.
    pub endpoint: u16,
    pub place: Place,
    /// What the upstream calls it.
    pub own: Box<str>,
}

/// A task, and the id that its client has for it.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: TaskId,
    pub token: Box<str>,
}

impl TaskId {
    /// `upstream` is the digest of its name: its place may be another when the gateway starts again. `process`
    /// tells this one from those before: what lives in its tables does not live in theirs.
    fn to_bytes(&self, upstream: u64, process: u64) -> Vec<u8> {
        let (kind, shard, number) = match self.place {
            Place::Anywhere => (0, ShardId(0), 0),
            Place::Seat { shard, number } => (1, shard, u64::from(number)),
            Place::Own { shard, lane } => (2, shard, lane.to_bits()),
            Place::Kept { shard, task } => (3, shard, task.to_bits()),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 8 + self.own.len());
        bytes.push(FORM);
        bytes.extend_from_slice(&upstream.to_le_bytes());
        bytes.extend_from_slice(&self.endpoint.to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&shard.0.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        if kind >= 2 {
            bytes.extend_from_slice(&process.to_le_bytes());
        }
        bytes.extend_from_slice(self.own.as_bytes());
        bytes
    }

    /// As above; `upstream` finds the place of a name's digest.
    fn from_bytes(
        bytes: &[u8],
        process: u64,
        upstream: impl FnOnce(u64) -> Option<usize>,
    ) -> Option<Self> {
        let (head, mut own) = bytes.split_at_checked(HEAD_BYTES)?;
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let small = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
        if *head.first()? != FORM {
            return None;
        }
        let (kind, shard, key) = (*head.get(11)?, ShardId(small(12)?), number(14)?);
        if kind >= 2 {
            let (of, rest) = own.split_at_checked(8)?;
            if of != process.to_le_bytes() {
                return None;
            }
            own = rest;
        }
        let place = match kind {
            0 => Place::Anywhere,
            1 => Place::Seat { shard, number: u16::try_from(key).ok()? },
            2 => Place::Own { shard, lane: Key::from_bits(key) },
            3 => Place::Kept { shard, task: Key::from_bits(key) },
            _ => return None,
        };
        let own = std::str::from_utf8(own).ok()?.into();
        Some(Self { upstream: upstream(number(1)?)?, endpoint: small(9)?, place, own })
    }
}

impl Gateway {
    /// The task that a lane's server calls `own`, and what `principal` calls it.
    pub(in super::super) fn know_task(
        &self,
        principal: Principal,
        lane: LaneKey,
        own: &str,
    ) -> Option<Known> {
        Some(self.name_task(principal, self.task_id(lane, own)?))
    }

    /// Which task it is that an upstream calls so there: others may have one of the same name elsewhere.
    pub(super) fn task_id(&self, lane: LaneKey, own: &str) -> Option<TaskId> {
        let found = self.lanes.get(lane)?;
        let (upstream, seat) = (found.upstream, found.seat);
        let endpoint = self.endpoints.get(seat.endpoint)?;
        let here = self.shard;
        let place = match found.role {
            // To a modern server the token says whose task it is, on whatever lane.
            Role::Own(_) | Role::Parked
                if found.era() == Era::Modern && self.is_for_callers(upstream) =>
            {
                Place::Anywhere
            }
            Role::Own(_) | Role::Parked => Place::Own { shard: here, lane },
            _ if found.era() == Era::Modern && !endpoint.is_stdio => Place::Anywhere,
            _ => Place::Seat { shard: endpoint.home, number: u16::try_from(seat.number).ok()? },
        };
        let first = self.upstreams.get(upstream)?.endpoints.start;
        let endpoint = u16::try_from(seat.endpoint.checked_sub(first)?).ok()?;
        Some(TaskId { upstream, endpoint, place, own: own.into() })
    }

    pub(super) fn name_task(&self, principal: Principal, id: TaskId) -> Known {
        let name = self.upstreams.get(id.upstream).map_or("", |upstream| &*upstream.name);
        let plain = id.to_bytes(digest(name), self.process());
        let token = self.sealer.seal_stable(&plain, &context(principal)).into();
        Known { id, token }
    }

    /// The task that a principal calls so; `None` if it is none of its.
    pub(in super::super) fn open_task(&self, principal: Principal, token: &str) -> Option<Known> {
        let plain = self.sealer.open(token, &context(principal))?;
        let find = |wanted| {
            self.used().find(|(_, upstream)| digest(&upstream.name) == wanted).map(|(at, _)| at)
        };
        let id = TaskId::from_bytes(&plain, self.process(), find)?;
        Some(Known { id, token: token.into() })
    }

    /// A number of this process's own: another gateway may have the same key, and so may this one when it starts again.
    pub(in super::super) fn process(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(self.settings.nonce_seed).for_each(|(to, from)| *to = from);
        u64::from_le_bytes(bytes)
    }
}

/// Whose id it is. Of another length than the contexts of other tokens, so that none is taken for another.
fn context(principal: Principal) -> [u8; 24] {
    let mut context = *b"task....................";
    context.iter_mut().skip(4).zip(principal.bytes()).for_each(|(to, from)| *to = from);
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(place: Place) -> TaskId {
        TaskId { upstream: 2, endpoint: 1, place, own: "786512e2 \"é\"".into() }
    }

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let shard = ShardId(3);
        for place in [
            Place::Anywhere,
            Place::Seat { shard, number: 7 },
            Place::Own { shard, lane: Key::from_bits(5) },
            Place::Kept { shard, task: Key::from_bits(6) },
        ] {
            let bytes = task(place).to_bytes(9, 11);
            let find = |wanted| (wanted == 9).then_some(2);
            assert_eq!(TaskId::from_bytes(&bytes, 11, find), Some(task(place)));
            assert_eq!(TaskId::from_bytes(&bytes, 11, |_| None), None, "its upstream is no more");
            for cut in 0..HEAD_BYTES {
                assert_eq!(TaskId::from_bytes(&bytes[..cut], 11, find), None);
            }
        }
    }

    #[test]
    fn what_lived_in_the_tables_of_a_process_before_is_not_found_in_those_of_this_one() {
        let find = |_| Some(2);
        let own = task(Place::Own { shard: ShardId(0), lane: Key::from_bits(5) });
        assert_eq!(TaskId::from_bytes(&own.to_bytes(9, 11), 12, find), None);
        let seat = task(Place::Seat { shard: ShardId(0), number: 0 });
        assert_eq!(TaskId::from_bytes(&seat.to_bytes(9, 11), 12, find), Some(seat));
    }
}
