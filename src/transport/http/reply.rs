//! What a server answers: the head, and a body that comes in pieces, over either version of HTTP.

use std::io;

use super::connection::Connection;
use super::multiplexed::Stream;

/// What a response's head says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) session: Option<String>,
}

/// The body of a response. Dropping it before its end gives the exchange up.
pub(super) enum Reply {
    /// HTTP/1.1: the connection that brings it.
    One(Connection),
    /// HTTP/2: a stream among others.
    Many(Stream),
}

impl Reply {
    /// Appends the next piece to `data`; false at the end.
    pub(super) async fn piece(&mut self, data: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::One(connection) => connection.piece(data).await,
            Self::Many(stream) => stream.piece(data).await,
        }
    }

    /// The rest, up to `max` bytes.
    pub(super) async fn rest(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        while self.piece(&mut data).await? {
            if data.len() > max {
                return Err(io::Error::other(
                    "the response is larger than the limit frame_bytes_max",
                ));
            }
        }
        Ok(data)
    }
}
