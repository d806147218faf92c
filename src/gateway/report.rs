//! What the gateway tells its operator: facts, not sentences. The shard logs and counts them; nothing
//! in the domain writes a log.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::LinkId;
use crate::mcp::Method;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An upstream answers: its name and the protocol version spoken with it.
    UpstreamReady { upstream: String, version: String },
    /// An upstream is gone; it is dialled again after `retry_ms`.
    UpstreamDown { upstream: String, why: String, retry_ms: u64 },
    /// An upstream sent something that is no message, or an answer nobody waits for.
    UpstreamOddity { upstream: String, what: &'static str },
    /// A client's link was closed by us, and why.
    ClientClosed { link: LinkId, why: &'static str },
    /// A frame of a client's was no message.
    ClientFault { link: LinkId, what: &'static str },
    /// A client's request ends with an error of ours, and why.
    CallFailed(Box<CallFailed>),
    /// So many calls of an upstream failed in a row that others are refused for a while.
    BreakerOpened { upstream: String },
    /// An endpoint is not quite the server that the others of its upstream are.
    EndpointDiffers { upstream: String, what: &'static str },
    /// It answers again.
    BreakerClosed { upstream: String },
    /// Connections from an address are refused for a while: it went over the rates too often.
    AddressBlocked { address: IpAddr, time: Duration },
    /// No flight is left and no client is served any more.
    Drained,
}

/// A request that failed here, with what it can be found by elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailed {
    /// The client's link, where it has one of its own; else the exchange's, while its peer is there.
    pub link: Option<LinkId>,
    /// The id that its upstream gets it under; none other has it as long as it is under way.
    pub flight: u64,
    pub trace: Option<u128>,
    /// Whom the client acts for, where that is somebody in particular.
    pub agent: Option<String>,
    pub upstream: String,
    pub method: Method,
    pub code: i32,
    pub why: String,
}
