//! WebSocket (RFC 6455) without I/O: messages out of bytes at any split, frames into bytes, the handshake.
//! Judged by Autobahn. Knows no MCP.

pub mod decoder;
pub mod deflate;
pub mod handshake;
pub mod write;

pub use decoder::{Decoder, Event, Role};

/// Why a connection ends: the status of its Close frame (RFC 6455 section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: u16,
    pub what: &'static str,
}

/// Its purpose is fulfilled.
pub const NORMAL: u16 = 1000;
/// The server goes, or has waited long enough.
pub const GOING_AWAY: u16 = 1001;
pub const PROTOCOL_ERROR: u16 = 1002;
/// A kind of message that is not taken here.
pub const UNSUPPORTED: u16 = 1003;
/// Text that is no UTF-8.
pub const INVALID_TEXT: u16 = 1007;
pub const POLICY: u16 = 1008;
pub const TOO_BIG: u16 = 1009;
pub const TRY_LATER: u16 = 1013;

/// Bytes of a control frame's payload, at most (section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The bit of a frame's head that says that its message is compressed (RFC 7692 section 6): RSV1.
const PACKED: u8 = 0x40;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
