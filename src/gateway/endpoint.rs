//! Endpoints: each way to a server behind us, and how it goes there. Owns verdict, status, breaker and the seats of
//! the lanes that clients share; what is known of the server whichever way it is reached is in `upstream`, and
//! which endpoint a call takes is decided in `spread`.
//!
//! Most upstreams have one endpoint with one seat, and never choose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::breaker::Breaker;
use super::health::Health;
use super::lane::LaneKey;
use super::pool::Pool;
use super::settings::{EraPin, Target, Upstream as Spec};
use super::timer::AlarmKey;
use super::upstream::Status;
use crate::base::{Moment, ShardId};
use crate::mcp::Era;

/// A place for a lane that clients share: of which endpoint, and which of its pool. The same on every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    pub endpoint: usize,
    pub number: usize,
}

impl Seat {
    /// The one that is always kept.
    pub const fn first(endpoint: usize) -> Self {
        Self { endpoint, number: 0 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    pub upstream: usize,
    pub is_stdio: bool,
    /// The shard that owns the shared lanes.
    pub home: ShardId,
    pub status: Status,
    /// The shared lanes, or what is to become one, by the numbers of their seats: as many as the pool may have.
    pub seats: Vec<Option<LaneKey>>,
    /// The era, and when it was found; `None` until a first probe has ended.
    pub verdict: Option<(Era, Moment)>,
    /// Attempts that failed since it was last ready.
    pub failures: u32,
    pub breaker: Breaker,
    pub health: Health,
    /// How full the seats are.
    pub pool: Pool,
    /// How often a lane was given up because there were more than are needed.
    pub retired: u32,
    /// What other shards want to be told of, when this is the home.
    pub remote_wants: BTreeMap<ShardId, Vec<String>>,
    /// Which other shards have nothing under way on it any more, when this is the home and its upstream is used no
    /// more.
    pub left: BTreeSet<ShardId>,
    /// When the operator was told last that it had answered otherwise than most.
    pub outvoted: Option<Moment>,
    /// Its upstream is used no more, and it has ended here.
    pub has_ended: bool,
    /// It has at its home as well, of which nothing more will be heard about it.
    pub is_over: bool,
    pinned: EraPin,
}

impl Endpoint {
    /// Endpoint `number` of `shards` shards, as `shard` sees it.
    pub fn new(
        spec: &Spec,
        (upstream, target): (usize, &Target),
        number: usize,
        (shard, shards): (ShardId, u16),
        now: Moment,
    ) -> Self {
        let is_stdio = matches!(target, Target::Stdio { .. });
        let is_builtin = matches!(target, Target::Builtin { .. });
        let shards = usize::from(shards.max(1));
        // A child is a process: one for all shards. A connection is cheap: one for each.
        let home =
            if is_stdio { ShardId(u16::try_from(number % shards).unwrap_or(0)) } else { shard };
        Self {
            upstream,
            is_stdio,
            home,
            status: if is_builtin { Status::Ready { since: now } } else { Status::Starting },
            seats: vec![None; spec.spread.pool.max.max(1)],
            verdict: match spec.era {
                _ if is_builtin => Some((Era::Modern, now)),
                EraPin::Auto => None,
                EraPin::Legacy => Some((Era::Legacy, now)),
                EraPin::Modern => Some((Era::Modern, now)),
            },
            failures: 0,
            breaker: Breaker::default(),
            health: Health::default(),
            pool: Pool::default(),
            retired: 0,
            remote_wants: BTreeMap::new(),
            left: BTreeSet::new(),
            outvoted: None,
            has_ended: false,
            is_over: false,
            pinned: spec.era,
        }
    }

    pub fn era(&self) -> Option<Era> {
        self.verdict.map(|(era, _)| era)
    }

    pub const fn is_ready(&self) -> bool {
        matches!(self.status, Status::Ready { .. })
    }

    /// What is set for it in the wheel.
    pub fn alarms(&self) -> impl Iterator<Item = AlarmKey> {
        self.health.alarm.into_iter().chain(self.pool.alarm)
    }

    /// The lane in the first seat.
    pub fn shared(&self) -> Option<LaneKey> {
        self.seats.first().copied().flatten()
    }

    /// Gives a seat to a lane, or takes it away. A number that no pool has is nobody's.
    pub fn seat(&mut self, number: usize, lane: Option<LaneKey>) {
        if let Some(seat) = self.seats.get_mut(number) {
            *seat = lane;
        }
    }

    /// An old verdict "legacy" is not believed for ever: the server may have been upgraded, and
    /// being spoken to in the old era would succeed silently.
    pub fn forget_stale_verdict(&mut self, now: Moment, after: Duration) {
        if self.pinned == EraPin::Auto
            && let Some((Era::Legacy, at)) = self.verdict
            && now.since(at) >= after
        {
            self.verdict = None;
        }
    }

    /// The old handshake failed: what was taken for a legacy server by its silence or its end may be a
    /// modern one that was dying just then, so the next attempt asks anew.
    pub fn doubt_verdict(&mut self) {
        if self.pinned == EraPin::Auto {
            self.verdict = None;
        }
    }

    /// How long to wait before the next attempt. A connection that is refused costs nothing, so it is
    /// tried often enough that a server is back within 100 ms of being able to; a child that keeps
    /// dying is started ever more slowly.
    pub fn retry_after(&self, could_spawn: bool) -> Duration {
        const OFTEN: Duration = Duration::from_millis(50);
        const SELDOM: Duration = Duration::from_secs(5);
        if !self.is_stdio || !could_spawn {
            return OFTEN;
        }
        match self.failures {
            0 => Duration::ZERO,
            n => SELDOM.min(OFTEN * 2u32.saturating_pow(n - 1).min(1_000)),
        }
    }
}
