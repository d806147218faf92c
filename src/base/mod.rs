//! What every room needs and nobody owns: ids, time, limits, bounded containers.
//! Knows no protocol, no socket, no clock.

pub mod calendar;
pub mod histogram;
pub mod id;
pub mod limits;
pub mod pressure;
pub mod slab;
pub mod time;
pub mod wheel;

pub use histogram::Histogram;
pub use id::{LinkId, ShardId};
pub use slab::{Key, Slab};
pub use time::{Moment, Now};
