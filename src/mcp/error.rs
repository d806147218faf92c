//! JSON-RPC errors: the codes that MCP and this gateway use, and the text of an error answer.

use super::version::Era;
use crate::wire::{Json, text};

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
    /// `execute_tool` names a tool that its server does not know (gateway error, data: `server`, `tool`).
    ToolNotFound,
    /// A rate limit is used up (gateway error, data: `limit`, `retryAfterMs`).
    RateLimited,
    /// The upstream took too long (gateway error, data: `upstream`, `timeoutMs`).
    Timeout,
    /// The upstream is asked on behalf of its callers, and this one it cannot be asked for (gateway error, data:
    /// `upstream`).
    CallerRefused,
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
            Self::ToolNotFound => -32002,
            Self::Timeout => -32004,
            Self::RateLimited => -32005,
            Self::CallerRefused => -32006,
            Self::HeaderMismatch => -32020,
            Self::MissingCapability => -32021,
            Self::UnsupportedVersion => -32022,
        }
    }

    /// The number in answers to clients of an era. In 2026-07-28 -32002 must not be said, and the others from -32000
    /// to -32019 should not (basic "Error codes"): what is named in parameters and is not there, or not for who
    /// asks, is an invalid parameter; what could not be done is an internal error. Which it was, `data.code` says to
    /// clients of any era.
    pub const fn number_in(self, era: Era) -> i32 {
        match (era, self) {
            (Era::Modern, Self::DeniedByPolicy | Self::InvalidAgent | Self::ToolNotFound) => {
                Self::InvalidParams.number()
            }
            (
                Era::Modern,
                Self::ServerUnavailable | Self::Timeout | Self::RateLimited | Self::CallerRefused,
            ) => Self::Internal.number(),
            _ => self.number(),
        }
    }
}

/// Whether an upstream's error says that it has no tool of this name. There is no code for it alone: servers say
/// it with -32602, and in these ways.
pub fn is_unknown_tool(error: Json<'_>) -> bool {
    if error.get("code").and_then(Json::as_i64) != Some(Code::InvalidParams.number().into()) {
        return false;
    }
    let data = error.get("data");
    // A gateway behind us names the tool in other errors as well.
    let code = data.and_then(|data| data.get("code")).and_then(Json::as_str);
    if code.is_some_and(|code| code != "TOOL_NOT_FOUND") {
        return false;
    }
    let names_tool = data.and_then(|data| data.get("tool")).is_some();
    let message = error.get("message").and_then(Json::as_str).unwrap_or_default();
    names_tool || message.get(..12).is_some_and(|head| head.eq_ignore_ascii_case("unknown tool"))
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
    fn an_unknown_tool_is_known_by_what_servers_say_of_it() {
        let says = |text: &str| is_unknown_tool(Json::parse(text).unwrap());
        assert!(says(r#"{"code":-32602,"message":"Unknown tool: x"}"#));
        assert!(says(r#"{"code":-32602,"message":"unknown tool x"}"#));
        assert!(says(r#"{"code":-32602,"message":"no","data":{"tool":"x"}}"#));
        assert!(says(
            r#"{"code":-32602,"message":"no","data":{"code":"TOOL_NOT_FOUND","tool":"x"}}"#
        ));
        assert!(!says(
            r#"{"code":-32602,"message":"no","data":{"code":"DENIED_BY_POLICY","tool":"x"}}"#
        ));
        assert!(!says(r#"{"code":-32602,"message":"Unknown ärgument"}"#));
        assert!(!says(r#"{"code":-32603,"message":"Unknown tool: x"}"#) && !says("{}"));
    }

    #[test]
    fn no_code_of_the_band_that_2026_07_28_leaves_to_older_revisions_is_said_to_its_clients() {
        let gateways = [
            (Code::DeniedByPolicy, -32_602),
            (Code::InvalidAgent, -32_602),
            (Code::ToolNotFound, -32_602),
            (Code::ServerUnavailable, -32_603),
            (Code::Timeout, -32_603),
            (Code::RateLimited, -32_603),
        ];
        for (code, modern) in gateways {
            assert!((-32_019..=-32_000).contains(&code.number_in(Era::Legacy)), "{code:?}");
            assert_eq!(code.number_in(Era::Modern), modern, "{code:?}");
        }
        for code in [Code::Parse, Code::MethodNotFound, Code::HeaderMismatch] {
            assert_eq!(code.number_in(Era::Modern), code.number_in(Era::Legacy));
        }
    }

    #[test]
    fn an_error_answer_is_json_whatever_the_message_holds() {
        let mut out = Vec::new();
        write(&mut out, "\"a\"", Code::Timeout.number(), "say \"no\"\n", Some("{\"timeoutMs\":5}"));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["error"]["message"], "say \"no\"\n");
        assert_eq!(value["error"]["data"]["timeoutMs"], 5);
    }
}
