//! JSON-RPC errors: the codes that MCP and this gateway use, and the text of an error answer.

use crate::wire::text;

/// An error code with a name. Others pass through as the upstream wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not JSON.
    Parse,
    /// JSON, but no request.
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    Internal,
    /// The policy denies it (gateway error, data: `agent`, `server`, the thing, `rule`).
    DeniedByPolicy,
    /// There are no rules for the client's agent (gateway error, data: `agent`, `rule`).
    InvalidAgent,
    /// The upstream is not there (gateway error, data: `upstream`, `retryAfterMs`).
    ServerUnavailable,
    /// A rate limit is used up (gateway error, data: `limit`, `retryAfterMs`).
    RateLimited,
    /// The upstream took too long (gateway error, data: `upstream`, `timeoutMs`).
    Timeout,
    /// 2026-07-28: a header does not say what the body says.
    HeaderMismatch,
    /// 2026-07-28: the client lacks a capability that the request needs.
    MissingCapability,
    /// 2026-07-28: a version that is not spoken here.
    UnsupportedVersion,
}

impl Code {
    pub const fn number(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::DeniedByPolicy => -32000,
            Self::InvalidAgent => -32003,
            Self::ServerUnavailable => -32001,
            Self::Timeout => -32004,
            Self::RateLimited => -32005,
            Self::HeaderMismatch => -32020,
            Self::MissingCapability => -32021,
            Self::UnsupportedVersion => -32022,
        }
    }
}

/// Appends an error answer. `id` is the request's id as JSON text, `null` where it is unknown;
/// `data` is JSON text.
pub fn write(out: &mut Vec<u8>, id: &str, code: i32, message: &str, data: Option<&str>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    text::quote(out, message);
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_bytes());
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_is_json_whatever_the_message_holds() {
        let mut out = Vec::new();
        write(&mut out, "\"a\"", Code::Timeout.number(), "say \"no\"\n", Some("{\"timeoutMs\":5}"));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["error"]["message"], "say \"no\"\n");
        assert_eq!(value["error"]["data"]["timeoutMs"], 5);
    }
}
