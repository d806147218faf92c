//! Bytes to frames and back: JSON text, JSON-RPC envelopes, lines, blocks of lines. Everything a stranger sends passes
//! here first, so nothing in this room can panic: no indexing, no unwrap, no unchecked arithmetic.
//! Knows no MCP method and no socket.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

pub mod block;
pub mod coding;
pub mod envelope;
pub mod http1;
mod inflate;
pub mod json;
pub mod keys;
pub mod lines;
mod plain;
pub mod scan;
mod skip;
pub mod splice;
pub mod sse;
pub mod text;
pub mod ws;

pub use envelope::{Fault, Id, Message};
pub use json::Json;
pub use lines::LineCutter;
pub use splice::Splice;
