//! `params._meta`: what a request says of itself. The reserved keys of 2026-07-28 ("Request
//! metadata") and the progress token that all revisions share.

use super::capability::Askable;
use super::log::LogLevel;
use crate::wire::Json;
use crate::wire::keys::keys;

pub const VERSION: &str = MetaKey::Version.as_str();
pub const CLIENT_INFO: &str = MetaKey::ClientInfo.as_str();
pub const CAPABILITIES: &str = MetaKey::Capabilities.as_str();
pub const LOG_LEVEL: &str = MetaKey::LogLevel.as_str();
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// The task that a message belongs to (2025-11-25 "Tasks").
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
pub const PROGRESS_TOKEN: &str = MetaKey::ProgressToken.as_str();
/// What describes the connection rather than the request; it does not cross to the other era.
pub const OF_THE_CONNECTION: [&str; 4] = [VERSION, CLIENT_INFO, CAPABILITIES, LOG_LEVEL];

/// The members of `_meta` that the gateway reads. Absent and of the wrong kind are told apart only
/// where the specification wants an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta<'a> {
    pub version: Option<Json<'a>>,
    pub client_info: Option<Json<'a>>,
    pub capabilities: Option<Json<'a>>,
    pub log_level: Option<Json<'a>>,
    pub progress_token: Option<Json<'a>>,
}

keys! {
    /// What is read of `_meta`.
    pub enum MetaKey {
        Version = "io.modelcontextprotocol/protocolVersion",
        Capabilities = "io.modelcontextprotocol/clientCapabilities",
        ClientInfo = "io.modelcontextprotocol/clientInfo",
        ProgressToken = "progressToken",
        LogLevel = "io.modelcontextprotocol/logLevel",
    }
}

impl<'a> Meta<'a> {
    /// Takes a member of `_meta`. True if it was there already.
    #[inline]
    pub(super) fn put(&mut self, key: MetaKey, value: Json<'a>) -> bool {
        let place = match key {
            MetaKey::Version => &mut self.version,
            MetaKey::Capabilities => &mut self.capabilities,
            MetaKey::ClientInfo => &mut self.client_info,
            MetaKey::ProgressToken => &mut self.progress_token,
            MetaKey::LogLevel => &mut self.log_level,
        };
        place.replace(value).is_some()
    }

    /// A request of the modern era names its version here; a legacy one never does.
    pub const fn is_modern(&self) -> bool {
        self.version.is_some()
    }

    pub fn askable(&self) -> Askable {
        self.capabilities.map_or_else(Askable::default, Askable::read)
    }

    pub fn level(&self) -> Option<LogLevel> {
        self.log_level.and_then(LogLevel::read)
    }
}
