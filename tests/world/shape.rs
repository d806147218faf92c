//! Shapes: what a frame must look like in its era, as far as a few lines can say it. Hand-written from
//! the specification's schemas; not the schemas themselves.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of a JSON-RPC message, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head<'a> {
    #[serde(borrow)]
    pub jsonrpc: Cow<'a, str>,
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

impl<'a> Head<'a> {
    /// One message, which must be one of JSON-RPC 2.0's.
    pub fn read(line: &'a [u8]) -> Result<Self, String> {
        let head: Head<'a> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let kinds = [head.method.is_some(), head.result.is_some(), head.error.is_some()];
        if kinds.into_iter().filter(|is| *is).count() != 1 {
            return Err("not one of method, result and error".to_owned());
        }
        if head.jsonrpc != "2.0" {
            return Err("jsonrpc is not 2.0".to_owned());
        }
        if head.params.is_some_and(|params| !params.get().starts_with('{')) {
            return Err("params are no object".to_owned());
        }
        if let Some(error) = head.error {
            let error: Value = value(error);
            if !error["code"].is_i64() || !error["message"].is_string() {
                return Err("an error without code or message".to_owned());
            }
        }
        Ok(head)
    }

    pub fn id_text(&self) -> &'a str {
        self.id.map_or("null", RawValue::get)
    }
}

pub fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or(Value::Null)
}

/// Whether `result` answers `method` in the era.
pub fn result(method: &str, is_modern: bool, result: &Value) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what} in the result of {method}: {result}"));
    let Some(object) = result.as_object() else { return fail("no object") };
    let kind = object.get("resultType").and_then(Value::as_str);
    if !is_modern && (object.contains_key("resultType") || object.contains_key("inputRequests")) {
        return fail("a modern member");
    }
    if is_modern {
        match kind {
            Some("complete") => {}
            Some("input_required") => {
                let may = matches!(method, "tools/call" | "prompts/get" | "resources/read");
                let asks = object.get("inputRequests").and_then(Value::as_object);
                let are_whole =
                    asks.is_none_or(|asks| asks.values().all(|ask| ask["method"].is_string()));
                let state = object.get("requestState").is_none_or(Value::is_string);
                let some = asks.is_some() || object.contains_key("requestState");
                return if may && are_whole && state && some {
                    Ok(())
                } else {
                    fail("a wrong input_required")
                };
            }
            _ => return fail("no resultType"),
        }
        let is_cacheable = matches!(
            method,
            "server/discover"
                | "tools/list"
                | "prompts/list"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
        );
        if is_cacheable && !(result["ttlMs"].is_u64() && result["cacheScope"].is_string()) {
            return fail("no ttlMs or cacheScope");
        }
    }
    let all = |list: &str, wanted: &[&str]| {
        result[list]
            .as_array()
            .is_some_and(|list| list.iter().all(|it| wanted.iter().all(|key| it[key].is_string())))
    };
    let is_whole = match method {
        "initialize" => {
            result["protocolVersion"].is_string()
                && result["capabilities"].is_object()
                && result["serverInfo"]["name"].is_string()
                && result["serverInfo"]["version"].is_string()
        }
        "server/discover" => {
            result["supportedVersions"].is_array() && result["capabilities"].is_object()
        }
        "tools/list" => all("tools", &["name"]),
        "prompts/list" => all("prompts", &["name"]),
        "resources/list" => all("resources", &["name", "uri"]),
        "resources/templates/list" => all("resourceTemplates", &["name", "uriTemplate"]),
        "tools/call" => all("content", &["type"]),
        "prompts/get" => result["messages"].is_array(),
        "resources/read" => all("contents", &["uri"]),
        "completion/complete" => result["completion"]["values"].is_array(),
        _ => true,
    };
    if is_whole { Ok(()) } else { fail("something missing") }
}

/// Whether a notification may be sent to a client of the era, and has what it needs.
pub fn notification(method: &str, is_modern: bool, params: &Value) -> Result<(), String> {
    let subscription = &params["_meta"]["io.modelcontextprotocol/subscriptionId"];
    let is_whole = match method {
        "notifications/progress" => {
            !params["progressToken"].is_null() && params["progress"].is_number()
        }
        "notifications/message" => params["level"].is_string() && !params["data"].is_null(),
        "notifications/cancelled" => !is_modern && !params["requestId"].is_null(),
        "notifications/subscriptions/acknowledged" => is_modern && !subscription.is_null(),
        "notifications/resources/updated" => {
            params["uri"].is_string() && is_modern != subscription.is_null()
        }
        "notifications/tools/list_changed"
        | "notifications/prompts/list_changed"
        | "notifications/resources/list_changed" => is_modern != subscription.is_null(),
        _ => false,
    };
    if is_whole { Ok(()) } else { Err(format!("{method} with {params}")) }
}
