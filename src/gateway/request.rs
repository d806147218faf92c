//! Requests on their way to an upstream: the client's `params` with the few places changed that the
//! upstream must see otherwise. Translates between the eras; decides nothing.

use crate::mcp::{Era, LogLevel, Method, Params, Version, meta};
use crate::wire::{Json, Splice, text};

/// What a legacy session puts into each request to a modern upstream.
#[derive(Clone, Copy, Debug)]
pub struct Remembered<'a> {
    pub capabilities: &'a str,
    pub info: &'a str,
    pub level: Option<LogLevel>,
}

/// How a request is to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Translation<'a> {
    pub wire_id: u64,
    pub method: Method,
    pub from: Era,
    pub to: Era,
    /// For legacy to modern.
    pub remembered: Option<Remembered<'a>>,
    /// The upstream's own name or URI of the thing, where it is called otherwise here.
    pub renamed: Option<&'a str>,
    /// For a retry: the `inputResponses` object and the `requestState` string, as JSON texts.
    pub retry: Option<(&'a str, Option<&'a str>)>,
    /// A member that is put to `params`.
    pub extra: Option<&'a str>,
}

/// Appends the request, without a newline. `parsed` is what [`Params::read`] found in `params`.
pub fn write(
    out: &mut Vec<u8>,
    translation: &Translation<'_>,
    params: Json<'_>,
    parsed: &Params<'_>,
) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    text::decimal(out, translation.wire_id);
    out.extend_from_slice(b",\"method\":\"");
    out.extend_from_slice(translation.method.as_str().as_bytes());
    out.extend_from_slice(b"\",\"params\":");
    let from = out.len();
    edit(translation, params, parsed).write(out);
    one_line(out, from);
    out.push(b'}');
}

/// Line framing knows no newline inside a message. Outside of strings it is white space, inside of
/// them it cannot stand, so a space does as well. Only frames that did not come in a line have any.
pub fn one_line(out: &mut [u8], from: usize) {
    let Some(written) = out.get_mut(from..) else { return };
    if memchr::memchr2(b'\n', b'\r', written).is_some() {
        for byte in written.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
}

fn edit<'t>(translation: &Translation<'_>, params: Json<'t>, parsed: &Params<'t>) -> Splice<'t> {
    let mut splice = Splice::of(params.text());
    if let Some(own) = translation.renamed
        && let Some(place) = named(translation.method, parsed)
    {
        splice.replace(place.text(), text::quoted(own));
    }
    let crosses_down = translation.from == Era::Modern && translation.to == Era::Legacy;
    if let Some(token) = parsed.meta.progress_token.filter(|_| !crosses_down) {
        splice.replace(token.text(), translation.wire_id.to_string());
    }
    let mut members: Vec<String> = Vec::new();
    members.extend(translation.extra.map(str::to_owned));
    if let Some((answers, state)) = translation.retry {
        members.push(format!("\"inputResponses\":{answers}"));
        if let Some(state) = state {
            members.push(format!("\"requestState\":{state}"));
        }
    }
    match (translation.from, translation.to) {
        (Era::Modern, Era::Legacy) => {
            if let Some(meta) = parsed.meta_json {
                splice.replace(meta.text(), request_meta(meta, translation.wire_id));
            }
            // What a modern client calls `task` means nothing.
            if parsed.input_responses.is_some()
                || parsed.request_state.is_some()
                || parsed.task.is_some()
            {
                splice.remove_members(params, &["inputResponses", "requestState", "task"]);
            }
        }
        (Era::Legacy, Era::Modern) => {
            if let Some(remembered) = &translation.remembered {
                let of_connection = of_the_connection(remembered);
                match parsed.meta_json.filter(|meta| meta.is_object()) {
                    Some(meta) => splice.insert_member(meta, of_connection),
                    None if parsed.meta_json.is_some() => {
                        // A `_meta` that is no object says nothing; two of them would say two things.
                        let meta = parsed.meta_json.map_or("", Json::text);
                        splice.replace(meta, format!("{{{of_connection}}}"));
                    }
                    None => members.push(format!("\"_meta\":{{{of_connection}}}")),
                }
            }
        }
        _ => {}
    }
    if !members.is_empty() {
        splice.insert_member(params, members.join(","));
    }
    splice
}

/// The value of `params` that names what the request is about.
pub fn named<'t>(method: Method, parsed: &Params<'t>) -> Option<Json<'t>> {
    match method {
        Method::ToolsCall | Method::PromptsGet => parsed.name,
        Method::ResourcesRead | Method::Subscribe | Method::Unsubscribe => parsed.uri,
        Method::Complete => {
            let reference = parsed.reference?;
            reference.get("name").or_else(|| reference.get("uri"))
        }
        Method::TasksGet | Method::TasksCancel | Method::TasksResult | Method::TasksUpdate => {
            parsed.task_id
        }
        _ => None,
    }
}

/// The members that make a request modern.
pub fn of_the_connection(remembered: &Remembered<'_>) -> String {
    // Keys, version and level are shorter than this together.
    const REST_BYTES: usize = 256;
    let length = remembered.capabilities.len() + remembered.info.len();
    let mut members = String::with_capacity(length + REST_BYTES);
    members.extend(["\"", meta::VERSION, "\":\"", Version::LATEST.as_str(), "\",\""]);
    members.extend([meta::CAPABILITIES, "\":", remembered.capabilities, ",\""]);
    members.extend([meta::CLIENT_INFO, "\":", remembered.info]);
    if let Some(level) = remembered.level {
        members.extend([",\"", meta::LOG_LEVEL, "\":\"", level.as_str(), "\""]);
    }
    members
}

/// `_meta` without what describes the connection, and with our progress token. Written anew, because
/// neighbours that both go would overlap as edits.
fn request_meta(object: Json<'_>, token: u64) -> String {
    // Our token may be longer than the client's: twenty digits at most.
    let mut kept = String::with_capacity(object.text().len() + 20);
    kept.push('{');
    for member in object.members() {
        let name = member.name();
        if meta::OF_THE_CONNECTION.contains(&&*name) {
            continue;
        }
        if kept.len() > 1 {
            kept.push(',');
        }
        if name == meta::PROGRESS_TOKEN {
            kept.extend(["\"", meta::PROGRESS_TOKEN, "\":", &token.to_string()]);
        } else {
            kept.extend(["\"", member.key, "\":", member.value.text()]);
        }
    }
    kept.push('}');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate(params: &str, translation: &Translation<'_>) -> serde_json::Value {
        let json = Json::parse(params).unwrap();
        let mut out = Vec::new();
        write(&mut out, translation, json, &Params::read(json));
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
    }

    const PLAIN: Translation<'static> = Translation {
        wire_id: 77,
        method: Method::ToolsCall,
        from: Era::Legacy,
        to: Era::Legacy,
        remembered: None,
        renamed: None,
        retry: None,
        extra: None,
    };

    #[test]
    fn within_an_era_only_id_name_and_token_change() {
        let params = r#"{ "name":"a__echo", "arguments":{"x":1.50}, "_meta":{"progressToken":"p","k":[1]} }"#;
        let mut out = Vec::new();
        let json = Json::parse(params).unwrap();
        write(&mut out, &Translation { renamed: Some("echo"), ..PLAIN }, json, &Params::read(json));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{ "name":"echo", "arguments":{"x":1.50}, "_meta":{"progressToken":77,"k":[1]} }}"#
        );
    }

    #[test]
    fn what_describes_the_connection_stays_behind_on_the_way_to_a_legacy_upstream() {
        let params = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":"t","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"traceparent":"00-1"},"name":"e","requestState":"s","inputResponses":{}}"#;
        let value = translate(params, &Translation { from: Era::Modern, ..PLAIN });
        assert_eq!(
            value["params"],
            serde_json::json!({"_meta": {"progressToken": 77, "traceparent": "00-1"}, "name": "e"})
        );
    }

    #[test]
    fn a_legacy_request_becomes_modern_by_what_its_session_remembers() {
        let remembered = Remembered {
            capabilities: r#"{"sampling":{}}"#,
            info: r#"{"name":"c","version":"1"}"#,
            level: Some(LogLevel::Info),
        };
        for params in [
            r#"{"name":"e"}"#,
            r#"{"name":"e","_meta":{"k":1}}"#,
            r#"{"_meta":{},"name":"e"}"#,
            r#"{"name":"e","_meta":7}"#,
        ] {
            let value = translate(
                params,
                &Translation { to: Era::Modern, remembered: Some(remembered), ..PLAIN },
            );
            let meta = &value["params"]["_meta"];
            assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
            assert_eq!(
                meta["io.modelcontextprotocol/clientCapabilities"],
                serde_json::json!({"sampling": {}})
            );
            assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "c");
            assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info");
            assert_eq!(value["params"]["name"], "e");
        }
    }

    #[test]
    fn a_retry_carries_answers_and_state() {
        let translation = Translation {
            to: Era::Modern,
            retry: Some((r#"{"k":{"a":1}}"#, Some("\"st\""))),
            ..PLAIN
        };
        let value = translate(r#"{"name":"e"}"#, &translation);
        assert_eq!(value["params"]["inputResponses"]["k"]["a"], 1);
        assert_eq!(value["params"]["requestState"], "st");
    }

    #[test]
    fn a_newline_between_tokens_does_not_reach_a_line_framed_peer() {
        let value = translate("{\n  \"name\": \"e\"\r\n}", &PLAIN);
        assert_eq!(value["params"]["name"], "e");
    }
}
