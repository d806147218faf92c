//! Upstreams over HTTP: what the gateway sends on a link becomes exchanges, and what they bring becomes
//! frames. Streamable HTTP in either era, HTTP+SSE of 2024-11-05. To the domain the link is a stream of
//! frames like any other; sessions, resumption, headers and connections are known here alone.

mod about;
mod backlog;
mod connection;
mod exchange;
mod multiplexed;
mod peer;
mod reply;
mod stream;

pub(super) use about::mirror_traces;
pub(super) use connection::request;
pub(in crate::transport) use peer::driver;
