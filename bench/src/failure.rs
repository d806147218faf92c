//! Why a command could not do its work, with the remedy where there is one. Not a wrong answer: see `fault`.

use std::{fmt, io};

/// Why a command ended without a result.
#[derive(Debug)]
pub enum Failure {
    /// The arguments contradict each other or ask for the impossible.
    Usage(String),
    /// The system refused; the text says what was tried.
    Io(String, io::Error),
    /// The server did not do what a run needs before it can begin.
    Server(String),
}

impl Failure {
    /// For `map_err`: the system refused while `doing`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::Io(doing.into(), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Server(text) => f.write_str(text),
            Self::Io(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}
