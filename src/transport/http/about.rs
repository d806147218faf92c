//! What a frame on its way to a server is about: enough to send it as a POST and to know its answer.

use std::cell::Cell;

use crate::gateway::mirror::Mirrors;
use crate::gateway::trace;
use crate::mcp::{Method, Params, header};
use crate::wire::envelope::{self, Frame};
use crate::wire::{Id, Json, Message, text};

thread_local! {
    /// Whether headers say of which trace a request is. The thread's, as credentials are (`transport::credential`).
    static MIRRORS_TRACES: Cell<bool> = const { Cell::new(false) };
}

/// Whether headers say of which trace a request is, on this shard.
pub(in crate::transport) fn mirror_traces(does: bool) {
    MIRRORS_TRACES.set(does);
}

/// See the module. Texts are copies: the frame goes on its way meanwhile.
#[derive(Debug)]
pub(super) struct About {
    /// The id of a request, as it is written; `None` for anything else.
    pub(super) id: Option<String>,
    /// Empty for a response.
    pub(super) method: String,
    /// The version that a modern request names.
    pub(super) version: Option<String>,
    /// Headers that mirror the body (2026-07-28 "Transports").
    pub(super) headers: Vec<(String, String)>,
    /// For `notifications/cancelled`: the request that is not wanted any more.
    pub(super) cancels: Option<String>,
}

impl About {
    /// Reads a frame of the gateway's own making; `None` for what is none.
    pub(super) fn read(frame: &[u8], mirrors: &Mirrors) -> Option<Self> {
        let mut params = Params::default();
        let Ok(Frame::One(message)) = envelope::read_to(frame, &mut params) else { return None };
        let (id, method, json) = match message {
            Message::Request { id, method, params } => (Some(id), method, Some(params)),
            Message::Notification { method, params } => (None, method, Some(params)),
            Message::Response { .. } | Message::Failure { .. } => (None, "", None),
        };
        let method = text::unescape(method).into_owned();
        let version = params.meta.version.and_then(Json::as_str).map(std::borrow::Cow::into_owned);
        let cancels = json
            .filter(|_| method == "notifications/cancelled")
            .and_then(|params| params.get("requestId"))
            .map(|id| id.text().to_owned());
        let mut about = Self {
            id: id.map(|id| id.text().to_owned()),
            method,
            version,
            headers: Vec::new(),
            cancels,
        };
        if about.version.is_some() {
            about.mirror(&params, mirrors);
        }
        if MIRRORS_TRACES.get() {
            about.mirror_trace(&params);
        }
        Some(about)
    }

    fn mirror(&mut self, params: &Params<'_>, mirrors: &Mirrors) {
        self.headers.push(("mcp-method".to_owned(), self.method.clone()));
        let named = match Method::parse(&self.method) {
            Some(Method::ToolsCall | Method::PromptsGet) => params.name,
            Some(Method::ResourcesRead) => params.uri,
            Some(Method::TasksGet | Method::TasksCancel | Method::TasksUpdate) => params.task_id,
            _ => None,
        };
        let Some(name) = named.and_then(Json::as_str) else { return };
        self.headers.push(("mcp-name".to_owned(), header::encode(&name).into_owned()));
        for mirror in mirrors.get(&*name).into_iter().flatten() {
            let arguments = params.arguments.unwrap_or(Json::EMPTY_OBJECT);
            let value = mirror.path.iter().try_fold(arguments, |json, key| json.get(key));
            if let Some(value) = value.and_then(header::of_parameter) {
                let name = format!("mcp-param-{}", mirror.header);
                self.headers.push((name, header::encode(&value).into_owned()));
            }
        }
    }

    /// The trace that `_meta` names (W3C Trace Context section 3.2), so that servers' own libraries find it, too.
    fn mirror_trace(&mut self, params: &Params<'_>) {
        let Some(meta) = params.meta_json else { return };
        for name in [trace::PARENT, trace::STATE] {
            let value = meta.get(name).and_then(Json::as_str);
            let is_shown = |byte: u8| (0x20..0x7F).contains(&byte);
            if let Some(value) = value.filter(|value| value.bytes().all(is_shown)) {
                self.headers.push((name.to_owned(), value.into_owned()));
            }
        }
    }

    pub(super) const fn is_request(&self) -> bool {
        self.id.is_some()
    }

    /// Whether a frame that came is the answer to this request.
    pub(super) fn is_answered_by(&self, frame: &[u8]) -> bool {
        let answers = |id: Id<'_>| self.id.as_deref() == Some(id.text());
        match envelope::read(frame) {
            Ok(Frame::One(
                Message::Response { id, .. } | Message::Failure { id: Some(id), .. },
            )) => answers(id),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::mirror::Mirror;

    #[test]
    fn a_modern_call_is_mirrored_and_a_legacy_one_is_not() {
        let mut mirrors = Mirrors::new();
        let mirror = Mirror { path: vec!["r".into()], header: "Region".into() };
        mirrors.insert("é".into(), vec![mirror]);
        let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"é","arguments":{"r":"eu"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let about = About::read(call.as_bytes(), &mirrors).unwrap();
        assert_eq!(about.id.as_deref(), Some("7"));
        assert_eq!(about.version.as_deref(), Some("2026-07-28"));
        let find = |name: &str| {
            about.headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(find("mcp-method"), Some("tools/call"));
        assert_eq!(find("mcp-name"), Some("=?base64?w6k=?="));
        assert_eq!(find("mcp-param-Region"), Some("eu"));
        let call = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}"#;
        assert!(About::read(call, &mirrors).unwrap().headers.is_empty());
    }

    #[test]
    fn an_answer_is_known_by_its_id() {
        let ping = br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
        let about = About::read(ping, &Mirrors::new()).unwrap();
        assert!(about.is_answered_by(br#"{"jsonrpc":"2.0","id":7,"result":{}}"#));
        assert!(
            about.is_answered_by(br#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}"#)
        );
        assert!(!about.is_answered_by(br#"{"jsonrpc":"2.0","id":8,"result":{}}"#));
        assert!(!about.is_answered_by(br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#));
        let cancel =
            br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
        assert_eq!(About::read(cancel, &Mirrors::new()).unwrap().cancels.as_deref(), Some("7"));
    }
}
