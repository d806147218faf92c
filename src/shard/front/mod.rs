//! The HTTP front: what stands between a socket that speaks HTTP or WebSocket and the domain. Which
//! requests pass at all, how long they may take to come, and how answers are put on the wire. Not here:
//! heads and frames as bytes, which are `wire`'s, and what a request means, which is the domain's.

mod host;
mod origin;

pub use host::Hosts;
pub use origin::{Cors, Origins};

/// What the operator wants of it; the same for every shard and listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    pub hosts: Hosts,
    pub origins: Origins,
    pub cors: Cors,
    /// The path that is upgraded to WebSocket.
    pub ws_path: String,
    pub ws_messages: Messages,
}

impl Default for Front {
    /// For a listener on loopback.
    fn default() -> Self {
        Self {
            hosts: Hosts::loopback(),
            origins: Origins::loopback(),
            cors: Cors::default(),
            ws_path: "/ws".to_owned(),
            ws_messages: Messages::Frames,
        }
    }
}

/// What the messages of a WebSocket are to the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Messages {
    /// Text of one or more lines, a frame each; what is sent is cut at its newlines into one message
    /// each. A binary message ends the link with 1003.
    #[default]
    Frames,
    /// Any message as it is, behind a byte that is its opcode (1 text, 2 binary); what is sent has it
    /// too, one message a send. For domains that know WebSocket, such as an echo that suites judge.
    Whole,
}
