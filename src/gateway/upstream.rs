//! Upstreams: what is known of each server behind us, however it is reached. Owns identity and the flights that
//! wait for a verdict; each way to it is an `endpoint`, a single connection a `lane`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::flight::FlightKey;
use super::lane::LaneKey;
use super::mirror::Mirrors;
use super::select::Balance;
use super::settings::{Settings, Target};
use crate::base::Moment;
use crate::mcp::{Era, Features, Version, meta};
use crate::wire::Json;

/// What a server said of itself, in `initialize` or `server/discover`. JSON texts as it wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub version: Version,
    pub capabilities: Box<str>,
    pub instructions: Option<Box<str>>,
    pub server_info: Option<Box<str>>,
    /// It makes tasks of calls.
    pub tasks: bool,
}

impl Identity {
    /// Of a `DiscoverResult` that offers a version we speak.
    pub(super) fn discovered(result: Json<'_>) -> Option<Self> {
        let versions = result.get("supportedVersions")?;
        let speaks = versions
            .elements()
            .any(|version| version.as_str().as_deref() == Some(Version::LATEST.as_str()));
        let info = result.get("_meta").and_then(|meta| meta.get(meta::SERVER_INFO));
        speaks.then(|| Self::read(Version::LATEST, result, info))
    }

    /// Of an `InitializeResult` in a version we speak.
    pub(super) fn initialized(result: Json<'_>) -> Option<Self> {
        let version = Version::parse(&result.get("protocolVersion")?.as_str()?)
            .filter(|version| version.era() == Era::Legacy)?;
        Some(Self::read(version, result, result.get("serverInfo")))
    }

    fn read(version: Version, result: Json<'_>, info: Option<Json<'_>>) -> Self {
        let text = |json: Json<'_>| Box::<str>::from(json.text());
        let capabilities = result.get("capabilities");
        Self {
            version,
            capabilities: capabilities.map_or_else(|| "{}".into(), text),
            instructions: result.get("instructions").filter(|it| it.as_str().is_some()).map(text),
            server_info: info.filter(|info| info.is_object()).map(text),
            tasks: capabilities.is_some_and(|said| Features::read(said).tasks),
        }
    }

    pub fn features(&self) -> Features {
        Json::parse(&self.capabilities).map(Features::read).unwrap_or_default()
    }
}

/// How it goes with the shared lanes, of an endpoint or of all.
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

/// Whether a tool's calls may be tasks or must be (2025-11-25 `ToolExecution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskSupport {
    pub is_required: bool,
}

/// By tool, as the upstream calls it. Most have none and do not stand here.
pub type TaskTools = BTreeMap<Box<str>, TaskSupport>;

/// What one page of `tools/list` says of tasks.
pub fn read_task_support(result: Json<'_>, tools: &mut TaskTools) {
    for tool in result.get("tools").into_iter().flat_map(Json::elements) {
        let support = tool.get("execution").and_then(|execution| execution.get("taskSupport"));
        let is_required = match support.and_then(Json::as_str).as_deref() {
            Some("required") => true,
            Some("optional") => false,
            _ => continue,
        };
        if let Some(name) = tool.get("name").and_then(Json::as_str) {
            tools.insert((&*name).into(), TaskSupport { is_required });
        }
    }
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
    pub harmless: BTreeSet<Box<str>>,
    pub task_tools: TaskTools,
}

/// One server behind us.
#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub is_builtin: bool,
    /// The numbers of its endpoints.
    pub endpoints: Range<usize>,
    /// Ready if any of its endpoints is.
    pub status: Status,
    /// What its first endpoint that was ready said; another only after none was.
    pub identity: Option<Identity>,
    /// Which of its endpoints a call goes to, where there is a choice of lanes.
    pub balance: Option<Box<Balance>>,
    /// Flights that wait until the era is known.
    pub waiting: Vec<FlightKey>,
    /// Calls of clients of one exchange that wait for a lane to become free.
    pub line: VecDeque<FlightKey>,
    /// How many lanes of clients' own it has on this shard.
    pub own_lanes: usize,
    /// Resources that clients of this shard watch over the shared lane, each with the number of its
    /// watchers.
    pub wants: BTreeMap<String, u32>,
    /// It was used and is not any more.
    pub is_retired: bool,
    /// Own lanes that clients left and others may take, the last left last.
    pub parked: Vec<LaneKey>,
    /// A lane that has been dialled for whoever comes next.
    pub spare: Option<LaneKey>,
    /// What calls to its tools mirror in headers.
    pub mirrors: Mirrors,
    /// Its tools that do no more harm twice than once, by its own word, where that is trusted.
    pub harmless: BTreeSet<Box<str>>,
    /// Its tools whose calls may be tasks (2025-11-25).
    pub task_tools: TaskTools,
    /// The same, while pages of its list are still to come.
    pub learning: Learning,
    /// When its clients are told of its tools, prompts and resources again.
    pub paces: [super::news::Pace; 3],
}

impl Upstream {
    pub fn new(settings: &Settings, index: usize, now: Moment) -> Self {
        let spec = &settings.upstreams[index];
        let is_builtin = matches!(spec.target, Target::Builtin { .. });
        let has_choice = !spec.spread.others.is_empty() || spec.spread.pool.max > 1;
        let before = &settings.upstreams[..index];
        let first = super::settings::endpoints(before).count();
        let ranks = spec.endpoints().map(|(_, rank)| rank).enumerate();
        let ranked = ranks.map(|(at, rank)| (first + at, rank));
        Self {
            name: spec.name.clone(),
            is_builtin,
            endpoints: first..first + 1 + spec.spread.others.len(),
            status: if is_builtin { Status::Ready { since: now } } else { Status::Starting },
            identity: None,
            balance: has_choice.then(|| Box::new(Balance::new(spec.spread.select, ranked))),
            waiting: Vec::new(),
            line: VecDeque::new(),
            own_lanes: 0,
            wants: BTreeMap::new(),
            is_retired: false,
            parked: Vec::new(),
            spare: None,
            mirrors: Mirrors::new(),
            harmless: BTreeSet::new(),
            task_tools: TaskTools::new(),
            learning: Learning::default(),
            paces: [super::news::Pace::default(); 3],
        }
    }

    pub const fn is_starting(&self) -> bool {
        matches!(self.status, Status::Starting)
    }

    /// What clients are told it offers.
    pub fn features(&self) -> Features {
        let mut features = self.identity.as_ref().map_or(Features::UNKNOWN, Identity::features);
        // A modern server need not declare it: it says what it honours when it is listened to.
        let era = self.identity.as_ref().map(|identity| identity.version.era());
        if era == Some(Era::Modern) && !self.is_builtin {
            features.subscribe |= features.resources;
        }
        features
    }
}
