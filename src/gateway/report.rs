//! What the gateway tells its operator: facts, not sentences. The shard logs and counts them; nothing
//! in the domain writes a log.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::LinkId;

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
