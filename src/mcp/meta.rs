//! `params._meta`: what a request says of itself. The reserved keys of 2026-07-28 ("Request
//! metadata") and the progress token that all revisions share.

use super::capability::Askable;
use super::log::LogLevel;
use crate::wire::Json;
use crate::wire::json::Member;

pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
pub const PROGRESS_TOKEN: &str = "progressToken";
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

impl<'a> Meta<'a> {
    /// Takes a member of `_meta`. True if it is one that we read and had already.
    pub(super) fn put(&mut self, member: &Member<'a>) -> bool {
        let place = match &*member.name() {
            VERSION => &mut self.version,
            CLIENT_INFO => &mut self.client_info,
            CAPABILITIES => &mut self.capabilities,
            LOG_LEVEL => &mut self.log_level,
            PROGRESS_TOKEN => &mut self.progress_token,
            _ => return false,
        };
        place.replace(member.value).is_some()
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
