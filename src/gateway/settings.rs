//! What the gateway is told at its start: upstreams, names, limits. Plain data; where it came from
//! (TOML, YAML, environment, an `mcp.json`) is the edge's business.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::address::Network;
use super::guard::Guard;
use super::policy::{Pattern, Policy};
use super::principal::{Entrances, Principals};
use super::rate::Rates;
use super::tenure::Tenure;
use super::tools::Expose;
use crate::base::limits::Limits;
use crate::wire::block::Codec;

/// Everything one gateway needs to know. The same for every shard.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// How often they were replaced since the start.
    pub generation: u32,
    /// All that there are or were: an upstream keeps its place as long as flights, mail or records may name it by
    /// that (`tenure`).
    pub upstreams: Vec<Upstream>,
    /// The tenure of each of them; where there is none, its place is never another's.
    pub tenures: Vec<Tenure>,
    /// Those that are used, in the order in which lists are merged; `None` for all, as they stand.
    pub order: Option<Box<[usize]>>,
    /// Between an upstream's prefix and a name: `<prefix><separator><name>`. Default `__`.
    pub separator: String,
    /// What clients see of the upstreams' tools.
    pub expose: Expose,
    /// Who has not proved to be anybody is the agent that `agent_id` of a gateway tool names.
    pub trusts_agent_id: bool,
    pub limits: Limits,
    /// Who may what; `None` where everybody may everything.
    pub policy: Option<Arc<Policy>>,
    pub principals: Principals,
    /// What is looked for in the arguments of tools; `None` where nothing is.
    pub guard: Option<Arc<Guard>>,
    /// How much may come in a second; `None` where nothing is limited.
    pub rates: Option<Rates>,
    /// Addresses that are not limited as one: those of balancers, behind which is everybody.
    pub trusted: Vec<Network>,
    /// Each use of a thing is written down.
    pub audits: bool,
    /// Which requests are traced; `None` where none is.
    pub traces: Option<super::trace::Tracing>,
    /// Who comes in by which way, where nobody proves to be another.
    pub entrances: Entrances,
    /// Seals request states. The same key on every shard; random for each process unless configured.
    pub state_key: [u8; 32],
    /// Makes nonces of different processes differ under one key. Random.
    pub nonce_seed: [u8; 12],
    /// Tools are asked for before a client does: calls over HTTP are held against their schemas.
    pub learns_tools: bool,
    /// How many shards there are; a shared stdio child lives on one of them.
    pub shards: u16,
}

impl Settings {
    /// The places of the upstreams that are used, in the order in which lists are merged.
    pub fn order(&self) -> Vec<usize> {
        match &self.order {
            Some(order) => order.to_vec(),
            None => (0..self.upstreams.len()).collect(),
        }
    }

    /// Whether a built-in upstream that is used has a folder to read from.
    pub fn has_folder(&self) -> bool {
        self.order()
            .into_iter()
            .filter_map(|index| self.upstreams.get(index))
            .any(|upstream| matches!(upstream.target, Target::Builtin { folder: Some(_) }))
    }
}

/// One MCP server behind us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As the operator wrote it; unique.
    pub name: String,
    /// Stands before names and, in lower case with `-` for what a URI scheme cannot hold, before URIs.
    /// Empty for an only upstream: its names pass unchanged.
    pub prefix: String,
    /// How it is reached: the first of its endpoints, and mostly the only one.
    pub target: Target,
    pub era: EraPin,
    pub share: Share,
    /// A server that a client will need to itself is started before one does (stdio).
    pub warm: bool,
    /// How its calls are spread, where there is more than one way for them.
    pub spread: Spread,
}

impl Upstream {
    /// All its endpoints, the first one first: where each leads to, and its rank.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Target, Rank)> {
        let others = self.spread.others.iter().map(|other| (&other.target, other.rank));
        std::iter::once((&self.target, self.spread.rank)).chain(others)
    }
}

/// Every endpoint there is, by its number: upstream by upstream, so that what comes later changes no number. With
/// it stands the index of its upstream.
pub fn endpoints(upstreams: &[Upstream]) -> impl Iterator<Item = (usize, &Target)> {
    upstreams
        .iter()
        .enumerate()
        .flat_map(|(index, upstream)| upstream.endpoints().map(move |(target, _)| (index, target)))
}

/// How the calls of one upstream are spread over its endpoints and connections.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Spread {
    /// The rank of the first endpoint.
    pub rank: Rank,
    /// The endpoints besides, at most [`ENDPOINTS_MAX`] in all.
    pub others: Vec<Endpoint>,
    pub select: Select,
    /// Connections to each endpoint that clients share.
    pub pool: Pool,
    /// Tools whose calls may be made again elsewhere when one was lost on its way.
    pub idempotent: Vec<Pattern>,
    /// So may those that the server itself calls idempotent or read-only (`annotations`).
    pub trusts_annotations: bool,
    /// Tools whose calls go to all endpoints at once (`gateway::quorum`); `idempotent` has them all.
    pub multiplex: Vec<Pattern>,
}

/// More endpoints than one gateway needs to one server; they stand in a set of so many bits.
pub const ENDPOINTS_MAX: usize = 32;

/// One more way to reach an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub target: Target,
    pub rank: Rank,
}

/// Where an endpoint stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// 1 is used first; 2 while no endpoint of 1 can be used; and so on.
    pub priority: u32,
    /// Its share among those of its priority.
    pub weight: u32,
}

impl Default for Rank {
    fn default() -> Self {
        Self { priority: 1, weight: 1 }
    }
}

/// Which endpoint a call goes to, of those that can be used. `gateway::select` says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Select {
    #[default]
    RoundRobin,
    LeastLoaded,
    LeastLatency,
    Weighted,
    Adaptive,
}

/// How many connections, or children, clients share at one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub min: usize,
    pub max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

/// Where a byte stream leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(Host),
    Unix(PathBuf),
}

/// One way to reach an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The upstream that is part of this program; its text tool reads files of `folder`.
    Builtin {
        folder: Option<PathBuf>,
    },
    Tcp {
        address: Host,
    },
    Unix {
        path: PathBuf,
    },
    /// Lines in blocks (`wire::block`), to another gateway.
    Blocks {
        peer: Peer,
        codec: Codec,
    },
    /// Lines over TLS.
    Tls {
        address: Host,
        trust: Arc<Trust>,
    },
    /// Streamable HTTP, or HTTP+SSE.
    Http(HttpTarget),
    /// A connection that begins as an HTTP request.
    WebSocket(HttpTarget),
    Stdio {
        command: String,
        args: Vec<String>,
        env: BTreeMap<String, String>,
        cwd: Option<PathBuf>,
    },
}

/// Where a server is: at an address, or wherever its name leads when it is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    At(SocketAddr),
    /// And the port.
    Named(Arc<str>, u16),
}

impl Host {
    /// Whether it is on this machine for sure.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::At(address) => address.ip().is_loopback(),
            Self::Named(name, _) => is_localhost(name),
        }
    }

    /// Whether it is certain to be this address.
    pub fn is(&self, address: SocketAddr) -> bool {
        match self {
            Self::At(own) => *own == address,
            Self::Named(name, port) => {
                is_localhost(name) && *port == address.port() && address.ip().is_loopback()
            }
        }
    }
}

/// RFC 6761 section 6.3.
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

impl From<SocketAddr> for Host {
    fn from(address: SocketAddr) -> Self {
        Self::At(address)
    }
}

impl From<([u8; 4], u16)> for Host {
    fn from(address: ([u8; 4], u16)) -> Self {
        Self::At(address.into())
    }
}

/// A server behind a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    pub address: Host,
    /// What stands in `Host`: the URL's host, and its port unless it is 80.
    pub host: String,
    /// The URL's path and query.
    pub path: String,
    /// Headers of the operator's, in every request.
    pub headers: Vec<(String, String)>,
    /// Without meaning for a WebSocket.
    pub speaks: Speaks,
    /// HTTP/2: by prior knowledge (RFC 9113 section 3.3), or agreed on in the handshake of TLS (section 3.2).
    pub is_http2: bool,
    /// What is sent and answered may be compressed: offered to a WebSocket, asked of an HTTP server.
    pub packs: bool,
    /// `https` and `wss`.
    pub trust: Option<Arc<Trust>>,
}

/// How a server behind TLS proves who it is, and we to it. Certificates are DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The name that its certificate must be for.
    pub name: String,
    /// Who may have signed it; `None`: whom the system believes.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// What we show it, where it asks.
    pub identity: Option<Identity>,
    /// Keys of which its own must be one, while any of them has not expired.
    pub pins: Vec<Pin>,
}

/// A certificate of ours, its chain behind it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub chain: Vec<Vec<u8>>,
    pub key: PrivateKey,
}

/// A private key, DER, that stays out of every log.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(pub Vec<u8>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// The SHA-256 of a key as certificates have it (SPKI), good until a second since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    pub digest: [u8; 32],
    pub until: u64,
}

/// Which of MCP's HTTP transports a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Speaks {
    /// Streamable HTTP; HTTP+SSE if it refuses to be initialized so (2025-03-26 "Backwards
    /// Compatibility").
    #[default]
    Auto,
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

/// Which era an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EraPin {
    /// Found by a probe: `server/discover` on a connection of its own.
    #[default]
    Auto,
    Legacy,
    Modern,
}

/// Which clients share a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Share {
    /// Clients that can be asked (sampling, elicitation, roots) or that set a log level get a
    /// connection of their own, because a legacy server's questions name no caller; others share one.
    #[default]
    Auto,
    /// All share one: the upstream's questions are refused and its logs dropped.
    Always,
    /// None do, whatever the upstream's era: it is asked with tokens that are exchanged for those of its callers
    /// (RFC 8693; see `gateway::behalf`).
    Never,
}
