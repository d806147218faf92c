//! How messages are wrapped on a connection: in lines, in HTTP/1.1 exchanges, or in WebSocket frames. One of the three
//! for each lane; what the messages say is the checker's.

use crate::check::{Checker, Step};
use crate::http1::Exchanges;
use crate::slots::Slots;
use crate::target::{Protocol, Target, Web};
use crate::websocket::Frames;

/// A connection's wrapping, with what it must remember.
#[derive(Debug)]
pub enum Framing {
    /// One message a line: TCP, Unix sockets, stdio.
    Lines,
    /// HTTP/1.1.
    Http(Exchanges),
    /// WebSocket.
    WebSocket(Frames),
}

impl Framing {
    /// The wrapping that `target` asks for.
    pub fn of(target: &Target) -> Self {
        match target {
            Target::Web(Web { protocol: Protocol::Http1, .. }) => Self::Http(Exchanges::default()),
            Target::Web(Web { protocol: Protocol::WebSocket, .. }) => {
                Self::WebSocket(Frames::default())
            }
            Target::Tcp(_) | Target::Unix(_) | Target::Stdio(_) | Target::Web(_) => Self::Lines,
        }
    }

    /// Request `id` has been sent.
    pub fn asked(&mut self, id: u64) {
        if let Self::Http(exchanges) = self {
            exchanges.asked(id);
        }
    }

    /// Judges what `bytes` begin with; what must be said at once goes to `out`.
    pub fn step(
        &mut self,
        bytes: &[u8],
        checker: &mut Checker,
        slots: &mut Slots,
        salt: u64,
        out: &mut Vec<u8>,
    ) -> Step {
        match self {
            Self::Lines => checker.step(bytes, slots, salt),
            Self::Http(exchanges) => exchanges.step(bytes, checker, slots, salt),
            Self::WebSocket(frames) => frames.step(bytes, checker, slots, salt, out),
        }
    }
}
