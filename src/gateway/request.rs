//! Requests on their way to an upstream: the client's `params` with the few places changed that the
//! upstream must see otherwise. Translates between the eras; decides nothing.

use super::trace;
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
    /// Members of `_meta` that name the trace it is part of, in place of the client's own.
    pub trace: Option<&'a str>,
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
    // `_meta` is written anew where neighbours may both have to go: as edits they would overlap.
    let is_anew = crosses_down || translation.trace.is_some();
    if let Some(token) = parsed.meta.progress_token.filter(|_| !is_anew) {
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
    let of_connection = match (translation.from, translation.to) {
        (Era::Legacy, Era::Modern) => translation.remembered.as_ref().map(of_the_connection),
        _ => None,
    };
    match parsed.meta_json {
        Some(meta) if is_anew || of_connection.is_some() && !meta.is_object() => {
            let more = [translation.trace, of_connection.as_deref()];
            splice.replace(meta.text(), meta_anew(meta, translation, crosses_down, more));
        }
        Some(meta) => {
            if let Some(of_connection) = of_connection {
                splice.insert_member(meta, of_connection);
            }
        }
        None => {
            let more = [translation.trace, of_connection.as_deref()];
            let more: Vec<&str> = more.into_iter().flatten().collect();
            if !more.is_empty() {
                members.push(format!("\"_meta\":{{{}}}", more.join(",")));
            }
        }
    }
    // What a modern client calls `task` means nothing.
    let has_own =
        parsed.input_responses.is_some() || parsed.request_state.is_some() || parsed.task.is_some();
    if crosses_down && has_own {
        splice.remove_members(params, &["inputResponses", "requestState", "task"]);
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

/// `_meta` written anew, with our progress token and `more` members: on the way to a legacy upstream without what
/// describes the connection, and without the client's trace where ours is among them. One that is no object says
/// nothing; two of them would say two things.
fn meta_anew(
    meta: Json<'_>,
    translation: &Translation<'_>,
    crosses_down: bool,
    more: [Option<&str>; 2],
) -> String {
    let more_bytes: usize = more.iter().flatten().map(|it| it.len()).sum();
    // Our token may be longer than the client's: twenty digits at most.
    let mut kept = String::with_capacity(meta.text().len() + more_bytes + 24);
    kept.push('{');
    for member in meta.members() {
        let name = member.name();
        let is_of_trace = matches!(&*name, trace::PARENT | trace::STATE);
        if crosses_down && meta::OF_THE_CONNECTION.contains(&&*name)
            || is_of_trace && translation.trace.is_some()
        {
            continue;
        }
        if kept.len() > 1 {
            kept.push(',');
        }
        if name == meta::PROGRESS_TOKEN {
            let token = translation.wire_id.to_string();
            kept.extend(["\"", meta::PROGRESS_TOKEN, "\":", &token]);
        } else {
            kept.extend(["\"", member.key, "\":", member.value.text()]);
        }
    }
    for more in more.into_iter().flatten() {
        if kept.len() > 1 {
            kept.push(',');
        }
        kept.push_str(more);
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
        trace: None,
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

    #[test]
    fn a_traced_request_names_our_span_whatever_its_client_wrote_and_in_every_era() {
        let ours = r#""traceparent":"00-a-b-01","tracestate":"x=1""#;
        let theirs = r#"{"name":"e","_meta":{"traceparent":"t","tracestate":"s","progressToken":"p","baggage":"b","io.modelcontextprotocol/protocolVersion":"v"}}"#;
        let remembered = Remembered { capabilities: "{}", info: "{}", level: None };
        for (from, to) in [
            (Era::Legacy, Era::Legacy),
            (Era::Modern, Era::Modern),
            (Era::Modern, Era::Legacy),
            (Era::Legacy, Era::Modern),
        ] {
            for params in [theirs, r#"{"name":"e"}"#, r#"{"name":"e","_meta":{}}"#] {
                let remembered = (from == Era::Legacy).then_some(remembered);
                let translation = Translation { from, to, remembered, trace: Some(ours), ..PLAIN };
                let meta = &translate(params, &translation)["params"]["_meta"];
                assert_eq!(
                    (&meta["traceparent"], &meta["tracestate"]),
                    (&"00-a-b-01".into(), &"x=1".into())
                );
                let has_version = !meta["io.modelcontextprotocol/protocolVersion"].is_null();
                let is_theirs = params == theirs && !(from == Era::Modern && to == Era::Legacy);
                assert_eq!(has_version, is_theirs || (from, to) == (Era::Legacy, Era::Modern));
                if params == theirs {
                    assert_eq!(
                        (&meta["baggage"], &meta["progressToken"]),
                        (&"b".into(), &77.into())
                    );
                }
            }
        }
        // And without one all of it stays as it is.
        assert_eq!(translate(theirs, &PLAIN)["params"]["_meta"]["traceparent"], "t");
    }
}
