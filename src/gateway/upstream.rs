//! Upstreams: what is known of each server behind us, however many connections it has. Owns verdict,
//! identity, health and the flights that wait for a verdict; a single connection is a `lane`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::breaker::Breaker;
use super::flight::FlightKey;
use super::lane::LaneKey;
use super::mirror::Mirrors;
use super::settings::{EraPin, Settings, Target};
use crate::base::{Moment, ShardId};
use crate::mcp::{Era, Features, Version};
use crate::wire::Json;

/// What a server said of itself, in `initialize` or `server/discover`. JSON texts as it wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub version: Version,
    pub capabilities: Box<str>,
    pub instructions: Option<Box<str>>,
    pub server_info: Option<Box<str>>,
}

impl Identity {
    pub fn features(&self) -> Features {
        Json::parse(&self.capabilities).map(Features::read).unwrap_or_default()
    }
}

/// How it goes with the shared lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first attempt has not ended yet: requests wait.
    Starting,
    Ready {
        since: Moment,
    },
    /// Requests fail at once, until a later attempt succeeds.
    Down {
        why: String,
    },
}

/// A list of tools that is being read.
#[derive(Debug, Default)]
pub struct Learning {
    /// The request for a page is under way, on this lane.
    pub on: Option<LaneKey>,
    /// The list has changed since it was begun.
    pub is_stale: bool,
    pub pages: usize,
    pub mirrors: Mirrors,
}

/// One server behind us.
#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub is_builtin: bool,
    /// The shard that owns the shared lane.
    pub home: ShardId,
    pub status: Status,
    pub shared: Option<LaneKey>,
    /// The era, and when it was found; `None` until a first probe has ended.
    pub verdict: Option<(Era, Moment)>,
    pub identity: Option<Identity>,
    /// Attempts that failed since it was last ready.
    pub failures: u32,
    /// Flights that wait until the era is known.
    pub waiting: Vec<FlightKey>,
    /// Calls of clients of one exchange that wait for a lane to become free.
    pub line: VecDeque<FlightKey>,
    /// How many lanes of clients' own it has on this shard.
    pub own_lanes: usize,
    /// Resources that clients of this shard watch over the shared lane, each with the number of its
    /// watchers.
    pub wants: BTreeMap<String, u32>,
    /// What other shards want to be told of, when this is the home.
    pub remote_wants: BTreeMap<ShardId, Vec<String>>,
    /// It was used and is not any more.
    pub is_retired: bool,
    /// Which other shards have nothing under way on it any more, when this is the home and it is used no more.
    pub left: BTreeSet<ShardId>,
    /// Own lanes that clients left and others may take, the last left last.
    pub parked: Vec<LaneKey>,
    /// A lane that has been dialled for whoever comes next.
    pub spare: Option<LaneKey>,
    /// What calls to its tools mirror in headers.
    pub mirrors: Mirrors,
    /// The same, while pages of its list are still to come.
    pub learning: Learning,
    pub is_stdio: bool,
    pub breaker: Breaker,
    pinned: EraPin,
}

impl Upstream {
    pub fn new(settings: &Settings, index: usize, shard: ShardId, now: Moment) -> Self {
        let spec = &settings.upstreams[index];
        let is_stdio = matches!(spec.target, Target::Stdio { .. });
        let is_builtin = matches!(spec.target, Target::Builtin { .. });
        let shards = usize::from(settings.shards.max(1));
        // A child is a process: one for all shards. A connection is cheap: one for each.
        let home =
            if is_stdio { ShardId(u16::try_from(index % shards).unwrap_or(0)) } else { shard };
        Self {
            name: spec.name.clone(),
            is_builtin,
            home,
            status: if is_builtin { Status::Ready { since: now } } else { Status::Starting },
            shared: None,
            verdict: match spec.era {
                _ if is_builtin => Some((Era::Modern, now)),
                EraPin::Auto => None,
                EraPin::Legacy => Some((Era::Legacy, now)),
                EraPin::Modern => Some((Era::Modern, now)),
            },
            identity: None,
            failures: 0,
            waiting: Vec::new(),
            line: VecDeque::new(),
            own_lanes: 0,
            wants: BTreeMap::new(),
            remote_wants: BTreeMap::new(),
            is_retired: false,
            left: BTreeSet::new(),
            parked: Vec::new(),
            spare: None,
            mirrors: Mirrors::new(),
            learning: Learning::default(),
            is_stdio,
            breaker: Breaker::default(),
            pinned: spec.era,
        }
    }

    pub fn era(&self) -> Option<Era> {
        self.verdict.map(|(era, _)| era)
    }

    pub const fn is_starting(&self) -> bool {
        matches!(self.status, Status::Starting)
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

    /// What clients are told it offers.
    pub fn features(&self) -> Features {
        let mut features = self.identity.as_ref().map_or(Features::UNKNOWN, Identity::features);
        // A modern server need not declare it: it says what it honours when it is listened to.
        if self.era() == Some(Era::Modern) && !self.is_builtin {
            features.subscribe |= features.resources;
        }
        features
    }
}
