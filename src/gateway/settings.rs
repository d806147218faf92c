//! What the gateway is told at its start: upstreams, names, limits. Plain data; where it came from
//! (TOML, YAML, environment, an `mcp.json`) is the edge's business.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::address::Network;
use super::policy::Policy;
use super::principal::{Entrances, Principals};
use super::rate::Rates;
use crate::base::limits::Limits;

/// Everything one gateway needs to know. The same for every shard.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// In the order in which lists are merged.
    pub upstreams: Vec<Upstream>,
    /// Between an upstream's prefix and a name: `<prefix><separator><name>`. Default `__`.
    pub separator: String,
    pub limits: Limits,
    /// Who may what; `None` where everybody may everything.
    pub policy: Option<Arc<Policy>>,
    pub principals: Principals,
    /// How much may come in a second; `None` where nothing is limited.
    pub rates: Option<Rates>,
    /// Addresses that are not limited as one: those of balancers, behind which is everybody.
    pub trusted: Vec<Network>,
    /// Each use of a thing is written down.
    pub audits: bool,
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

/// One MCP server behind us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As the operator wrote it; unique.
    pub name: String,
    /// Stands before names and, in lower case with `-` for what a URI scheme cannot hold, before URIs.
    /// Empty for an only upstream: its names pass unchanged.
    pub prefix: String,
    pub target: Target,
    pub era: EraPin,
    pub share: Share,
    /// A server that a client will need to itself is started before one does (stdio).
    pub warm: bool,
}

/// One way to reach an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The upstream that is part of this program; its text tool reads files of `folder`.
    Builtin {
        folder: Option<PathBuf>,
    },
    Tcp {
        address: SocketAddr,
    },
    Unix {
        path: PathBuf,
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

/// A server behind a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    pub address: SocketAddr,
    /// What stands in `Host`: the URL's host, and its port unless it is 80.
    pub host: String,
    /// The URL's path and query.
    pub path: String,
    /// Headers of the operator's, in every request.
    pub headers: Vec<(String, String)>,
    /// Without meaning for a WebSocket.
    pub speaks: Speaks,
    /// HTTP/2 by prior knowledge (RFC 9113 section 3.3).
    pub is_http2: bool,
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

/// Which clients share a connection to a legacy upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Share {
    /// Clients that can be asked (sampling, elicitation, roots) or that set a log level get a
    /// connection of their own, because a legacy server's questions name no caller; others share one.
    #[default]
    Auto,
    /// All share one: the upstream's questions are refused and its logs dropped.
    Always,
}
