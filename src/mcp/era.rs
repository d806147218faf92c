//! The one table of era differences: which request a client may send in which revision. What else
//! differs between the eras hangs on [`super::Era`] at the place that translates.

use super::method::Method;
use super::version::{Era, Version};

/// Whether a client that speaks `version` may send `method` (the schema's `ClientRequest` of each
/// revision). Tasks are in 2025-11-25 as an experiment and an extension from 2026-07-28 on.
pub fn client_may_send(version: Version, method: Method) -> bool {
    let modern = version.era() == Era::Modern;
    match method {
        Method::ToolsList
        | Method::ToolsCall
        | Method::PromptsList
        | Method::PromptsGet
        | Method::ResourcesList
        | Method::TemplatesList
        | Method::ResourcesRead
        | Method::Complete => true,
        Method::Initialize
        | Method::Ping
        | Method::SetLevel
        | Method::Subscribe
        | Method::Unsubscribe => !modern,
        Method::Discover | Method::Listen | Method::TasksUpdate => modern,
        Method::TasksGet | Method::TasksCancel => version >= Version::V2025_11_25,
        Method::TasksList | Method::TasksResult => version == Version::V2025_11_25,
        Method::Sample | Method::Elicit | Method::RootsList => false,
    }
}

/// Whether a server that speaks `version` may send `method` as a request. A modern server asks inside
/// its results instead.
pub fn server_may_send(version: Version, method: Method) -> bool {
    match method {
        Method::Ping | Method::Sample | Method::RootsList => version.era() == Era::Legacy,
        Method::Elicit => version.era() == Era::Legacy && version >= Version::V2025_06_18,
        _ => false,
    }
}

/// The error code for a resource that is not there (−32002 until 2025-11-25, −32602 since).
pub fn resource_not_found(era: Era) -> i32 {
    match era {
        Era::Legacy => -32002,
        Era::Modern => -32602,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_modern_revision_removed_is_refused_there_and_nowhere_else() {
        for method in [
            Method::Initialize,
            Method::Ping,
            Method::SetLevel,
            Method::Subscribe,
            Method::Unsubscribe,
        ] {
            assert!(!client_may_send(Version::V2026_07_28, method));
            assert!(client_may_send(Version::V2024_11_05, method));
        }
        for method in [Method::Discover, Method::Listen] {
            assert!(client_may_send(Version::V2026_07_28, method));
            assert!(!client_may_send(Version::V2025_11_25, method));
        }
    }

    #[test]
    fn a_modern_server_sends_no_requests() {
        for &method in Method::ALL {
            assert!(!server_may_send(Version::V2026_07_28, method));
        }
    }
}
