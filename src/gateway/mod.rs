//! The domain: who asked what, where it goes, what comes back. Below the line: runs to its end at
//! each event, knows no socket, clock, task or await.

pub mod builtin;
pub mod door;
pub mod lane;
pub mod report;
pub mod settings;
pub mod upstream;

pub use door::{Effect, Effects, Event, Mail, Transport};
pub use report::Report;
pub use settings::Settings;
