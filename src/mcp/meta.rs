//! `params._meta`: what a request says of itself. The reserved keys of 2026-07-28 ("Request
//! metadata") and the progress token that all revisions share.

use super::capability::Askable;
use super::log::LogLevel;
use crate::wire::Json;

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
    pub subscription: Option<Json<'a>>,
    pub server_info: Option<Json<'a>>,
}

impl<'a> Meta<'a> {
    /// One walk over `_meta`.
    pub fn read(json: Json<'a>) -> Self {
        let mut meta = Self::default();
        for member in json.members() {
            let place = match &*member.name() {
                VERSION => &mut meta.version,
                CLIENT_INFO => &mut meta.client_info,
                CAPABILITIES => &mut meta.capabilities,
                LOG_LEVEL => &mut meta.log_level,
                SUBSCRIPTION => &mut meta.subscription,
                SERVER_INFO => &mut meta.server_info,
                PROGRESS_TOKEN => &mut meta.progress_token,
                _ => continue,
            };
            *place = Some(member.value);
        }
        meta
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
