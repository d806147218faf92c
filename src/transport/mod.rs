//! Sockets, pipes and children on one side, shards on the other: what listens, what dials, and the
//! server that starts and ends it all. Moves bytes and knows no message.

pub mod child;
pub mod credential;
pub mod dial;
pub mod exchanged;
pub mod http;
mod listeners;
pub mod nursery;
mod reach;
mod resolve;
pub mod server;
pub mod stdio;
pub mod tcp;
pub mod unix;
mod websocket;

pub use listeners::{Bound, Listen, Listeners, Prepared, Unbound};
pub use server::{Ends, Server, ServerConfig};
