//! What a right server says to each request: shared by the tests that bend it.

use serde_json::{Value, json};

/// The answer to `request`; `None` to a notification.
pub(crate) fn answer(request: &Value) -> Option<Value> {
    let id = request.get("id")?;
    let params = &request["params"];
    let mut result = match request["method"].as_str().unwrap() {
        "initialize" => {
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "t", "version": "1" } })
        }
        "ping" => json!({}),
        "tools/list" => {
            json!({ "tools": [{ "name": "echo", "inputSchema": { "type": "object" } }] })
        }
        "server/discover" => json!({ "supportedVersions": ["2026-07-28"] }),
        _ => {
            let message = params["arguments"]["message"].as_str().unwrap();
            json!({ "content": [{ "type": "text", "text": format!("Echo: {message}") }] })
        }
    };
    if params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28" {
        result["resultType"] = json!("complete");
    }
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}
