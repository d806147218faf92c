//! What can be wrong with an answer. Each is counted by name; any of them makes the run fail.

/// A way in which a server failed its asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A line that is not a JSON-RPC message, or not the bytes that were sent (raw).
    Malformed,
    /// An answer to an id that this connection never sent.
    UnknownId,
    /// A second answer to an id.
    Repeated,
    /// A JSON-RPC error, or a tool's `isError`.
    ErrorAnswer,
    /// A result that is not what was asked for: another's token, a changed message, a wrong shape.
    WrongContent,
    /// The answer to another request of this connection than the one whose turn it was (HTTP, where place is identity).
    Misplaced,
    /// An HTTP status other than 200, or a WebSocket's close.
    Refused,
    /// A request from the server, to a client that declared no capability.
    Asked,
    /// The connection ended while the run went on.
    Closed,
    /// No answer until the end of the grace time.
    Unanswered,
}

impl Fault {
    /// Every fault, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::UnknownId,
        Self::Repeated,
        Self::ErrorAnswer,
        Self::WrongContent,
        Self::Misplaced,
        Self::Refused,
        Self::Asked,
        Self::Closed,
        Self::Unanswered,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownId => "unknown_id",
            Self::Repeated => "repeated",
            Self::ErrorAnswer => "error_answer",
            Self::WrongContent => "wrong_content",
            Self::Misplaced => "misplaced",
            Self::Refused => "refused",
            Self::Asked => "asked",
            Self::Closed => "closed",
            Self::Unanswered => "unanswered",
        }
    }
}
