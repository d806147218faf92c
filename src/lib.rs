#![doc = include_str!("README.md")]

// Floors, lowest first. A room uses the rooms below it and none above: tests/house.rs.
pub mod base;
pub mod wire;
pub mod mcp;
pub mod gateway;
// Below this line: no socket, no clock, no task, no await.
pub mod shard;
pub mod transport;
pub mod edge;
