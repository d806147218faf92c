//! The built-in upstream: an MCP server in process, of the modern era. The embedded default, the place
//! for tools of one's own ([`Tool`]), and the cheapest thing to measure the gateway against.

pub mod tool;

pub use tool::{Call, Outcome, Tool};
