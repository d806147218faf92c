//! The protocol: versions and eras, methods, `_meta`, capabilities, errors. Knows what MCP says, not
//! who is connected; nothing here has state, and like `wire` nothing here can panic.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

pub mod capability;
pub mod era;
pub mod error;
pub mod header;
pub mod log;
pub mod meta;
pub mod method;
pub mod params;
pub mod version;

pub use capability::{Askable, Features};
pub use error::Code;
pub use log::LogLevel;
pub use meta::Meta;
pub use method::{Method, Notice};
pub use params::Params;
pub use version::{Era, Version};
