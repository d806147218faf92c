//! Placeholder of the domain's lanes: only the key that the door names. Replaced on merge.

use crate::base::Key;

/// A connection to an upstream, from the domain's side.
#[derive(Debug)]
pub struct Lane;

pub type LaneKey = Key<Lane>;
