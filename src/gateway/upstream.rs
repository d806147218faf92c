//! Placeholder of the domain's upstreams: only what the door names. Replaced on merge.

/// What an upstream said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Identity;
