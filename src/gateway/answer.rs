//! Answers on their way to a client: the upstream's result with the few places changed that this
//! client must see otherwise. Translates between the eras; decides nothing.

use std::borrow::Cow;

use super::route::Routes;
use crate::mcp::{Era, Method, era};
use crate::wire::{Json, Splice};

/// How a result is to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Translation<'a> {
    pub method: Method,
    pub from: Era,
    pub to: Era,
    pub upstream: usize,
    pub routes: &'a Routes,
}

/// Appends the answer that carries `result`, without a newline.
pub fn write_result(out: &mut Vec<u8>, id: &str, result: Json<'_>, translation: &Translation<'_>) {
    open(out, id);
    let from = out.len();
    edit(result, translation).write(out);
    super::request::one_line(out, from);
    out.push(b'}');
}

/// A result alone.
pub fn result_text(result: Json<'_>, translation: &Translation<'_>) -> String {
    let mut out = Vec::new();
    edit(result, translation).write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends the answer that carries `error`, an error object as the upstream wrote it.
pub fn write_error(out: &mut Vec<u8>, id: &str, error: Json<'_>, translation: &Translation<'_>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"error\":");
    let from = out.len();
    let mut splice = Splice::of(error.text());
    // A missing resource has another code in each era.
    let missing = era::resource_not_found(translation.from).to_string();
    if translation.from != translation.to
        && translation.method == Method::ResourcesRead
        && let Some(code) = error.get("code").filter(|code| code.text() == missing)
        && (translation.from == Era::Legacy
            || error.get("data").is_some_and(|data| data.get("uri").is_some()))
    {
        splice.replace(code.text(), era::resource_not_found(translation.to).to_string());
    }
    splice.write(out);
    super::request::one_line(out, from);
    out.push(b'}');
}

/// Appends the beginning of a result's answer; the result's text and `}` follow.
pub fn open(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
}

/// Appends the beginning of an answer whose result the built-in upstream appends next, up to
/// [`close_in`]; gives the place of that result.
///
/// What 2026-07-28 wants in a result stands before it, as an object that lacks its end: the built-in
/// upstream's own object becomes the rest of it, where it was written, without a copy and a walk.
#[inline]
pub fn open_in(out: &mut Vec<u8>, id: &str, era: Era, method: Method) -> usize {
    open(out, id);
    if era == Era::Modern {
        out.push(b'{');
        let is_cacheable = method.is_cacheable();
        out.extend_from_slice(if is_cacheable { MODERN_CACHEABLE } else { MODERN }.as_bytes());
    }
    out.len()
}

/// Ends what [`open_in`] began; the object at `at` is an object of the built-in upstream, which has
/// none of the members that are ours to add.
#[inline]
pub fn close_in(out: &mut Vec<u8>, at: usize, era: Era) {
    debug_assert!(
        Json::from_bytes(out.get(at..).unwrap_or_default()).is_ok_and(|result| {
            result.is_object()
                && !result.members().any(|m| matches!(m.key, "resultType" | "ttlMs" | "cacheScope"))
        }),
        "a result without the members that the gateway adds"
    );
    if era == Era::Modern {
        let inside = out.get(at..).unwrap_or_default().iter().skip(1);
        let is_empty = inside.copied().find(|byte| !byte.is_ascii_whitespace()) == Some(b'}');
        if let Some(bracket) = out.get_mut(at) {
            *bracket = if is_empty { b' ' } else { b',' };
        }
    }
    out.push(b'}');
}

fn edit<'t>(result: Json<'t>, translation: &Translation<'_>) -> Splice<'t> {
    let mut splice = Splice::of(result.text());
    match (translation.from, translation.to) {
        (Era::Legacy, Era::Modern) => {
            let members = modern_members(result, translation.method);
            if !members.is_empty() {
                splice.insert_member(result, members);
            }
        }
        (Era::Modern, Era::Legacy) => splice.remove_members(result, &["resultType"]),
        _ => {}
    }
    let prefix = translation.routes.uri_prefix(translation.upstream);
    if !prefix.is_empty() {
        prefix_uris(&mut splice, result, translation.method, prefix);
    }
    splice
}

const MODERN: &str = r#""resultType":"complete""#;
const MODERN_CACHEABLE: &str = r#""resultType":"complete","ttlMs":0,"cacheScope":"private""#;

/// What 2026-07-28 wants in every result (`resultType`) and in cacheable ones, as far as a legacy
/// server's result lacks it. Nothing it said may be stored: it never said for how long.
pub fn modern_members(result: Json<'_>, method: Method) -> Cow<'static, str> {
    let (mut kind, mut ttl, mut scope) = (true, method.is_cacheable(), method.is_cacheable());
    for member in result.members() {
        match &*member.name() {
            "resultType" => kind = false,
            "ttlMs" => ttl = false,
            "cacheScope" => scope = false,
            _ => {}
        }
    }
    match (kind, ttl, scope) {
        (true, true, true) => Cow::Borrowed(MODERN_CACHEABLE),
        (true, false, false) => Cow::Borrowed(MODERN),
        _ => {
            let parts = [
                (kind, r#""resultType":"complete""#),
                (ttl, r#""ttlMs":0"#),
                (scope, r#""cacheScope":"private""#),
            ];
            Cow::Owned(
                parts
                    .iter()
                    .filter(|(wanted, _)| *wanted)
                    .map(|(_, text)| *text)
                    .collect::<Vec<_>>()
                    .join(","),
            )
        }
    }
}

/// Puts the upstream's prefix before every URI of a resource that the result names, so that the client
/// can read it here.
fn prefix_uris(splice: &mut Splice<'_>, result: Json<'_>, method: Method, prefix: &str) {
    match method {
        Method::ToolsCall => {
            for block in result.get("content").into_iter().flat_map(Json::elements) {
                prefix_block(splice, block, prefix);
            }
        }
        Method::PromptsGet => {
            for message in result.get("messages").into_iter().flat_map(Json::elements) {
                let Some(content) = message.get("content") else { continue };
                if content.is_object() {
                    prefix_block(splice, content, prefix);
                } else {
                    content.elements().for_each(|block| prefix_block(splice, block, prefix));
                }
            }
        }
        Method::ResourcesRead => {
            for content in result.get("contents").into_iter().flat_map(Json::elements) {
                prefix_uri(splice, content, prefix);
            }
        }
        _ => {}
    }
}

/// A content block names a resource as a link (its own `uri`) or embedded (its `resource.uri`).
fn prefix_block(splice: &mut Splice<'_>, block: Json<'_>, prefix: &str) {
    match block.get("type").and_then(Json::as_str).as_deref() {
        Some("resource_link") => prefix_uri(splice, block, prefix),
        Some("resource") => {
            if let Some(resource) = block.get("resource") {
                prefix_uri(splice, resource, prefix);
            }
        }
        _ => {}
    }
}

fn prefix_uri(splice: &mut Splice<'_>, holder: Json<'_>, prefix: &str) {
    if let Some(uri) = holder.get("uri") {
        prefix_string(splice, uri, prefix);
    }
}

/// Puts `prefix` (plain ASCII without escapes) into a string, behind its opening quote.
pub fn prefix_string(splice: &mut Splice<'_>, string: Json<'_>, prefix: &str) {
    if let Some(content) = string.text().get(1..).filter(|_| string.text().starts_with('"')) {
        splice.before(content, prefix.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::settings::{EraPin, Settings, Share, Spread, Target, Upstream};

    fn routes(prefix: &str) -> Routes {
        Routes::new(&Settings {
            upstreams: vec![Upstream {
                name: "a".to_owned(),
                prefix: prefix.to_owned(),
                target: Target::Builtin { folder: None },
                era: EraPin::Auto,
                share: Share::Auto,
                warm: false,
                spread: Spread::default(),
            }],
            separator: "__".to_owned(),
            ..Settings::default()
        })
    }

    fn result(text: &str, method: Method, from: Era, to: Era, prefix: &str) -> String {
        let mut out = Vec::new();
        let routes = routes(prefix);
        let translation = Translation { method, from, to, upstream: 0, routes: &routes };
        write_result(&mut out, "\"x\"", Json::parse(text).unwrap(), &translation);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn within_an_era_a_result_keeps_every_byte() {
        let text = r#"{ "content" : [], "x":1.0 }"#;
        for era in [Era::Legacy, Era::Modern] {
            assert_eq!(
                result(text, Method::ToolsCall, era, era, ""),
                format!(r#"{{"jsonrpc":"2.0","id":"x","result":{text}}}"#)
            );
        }
    }

    #[test]
    fn a_legacy_result_becomes_modern_and_back() {
        let modern = result(r#"{"tools":[]}"#, Method::ToolsList, Era::Legacy, Era::Modern, "");
        assert!(
            modern
                .contains(r#""resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]"#),
            "{modern}"
        );
        let called = result("{}", Method::ToolsCall, Era::Legacy, Era::Modern, "");
        assert!(called.contains(r#""result":{"resultType":"complete"}"#), "{called}");
        let legacy = result(
            r#"{"resultType":"complete","content":[]}"#,
            Method::ToolsCall,
            Era::Modern,
            Era::Legacy,
            "",
        );
        assert!(legacy.contains(r#""result":{"content":[]}"#), "{legacy}");
    }

    #[test]
    fn a_result_written_in_place_is_the_one_that_a_translation_writes() {
        for text in ["{}", "{ }", r#"{"content":[]}"#, r#"{ "tools" : [{}] }"#] {
            for (method, to) in [
                (Method::ToolsCall, Era::Legacy),
                (Method::ToolsCall, Era::Modern),
                (Method::ToolsList, Era::Modern),
            ] {
                let mut out = b"before".to_vec();
                let at = open_in(&mut out, "\"x\"", to, method);
                out.extend_from_slice(text.as_bytes());
                close_in(&mut out, at, to);
                let written: serde_json::Value = serde_json::from_slice(&out[6..]).unwrap();
                let translated = result(text, method, Era::Legacy, to, "");
                let translated: serde_json::Value = serde_json::from_str(&translated).unwrap();
                assert_eq!(written, translated, "{text}");
            }
        }
    }

    #[test]
    fn every_uri_that_can_be_read_here_gets_its_prefix() {
        let text = r#"{"content":[{"type":"resource_link","uri":"u://1"},{"type":"resource","resource":{"uri":"u://2","text":"u://3"}},{"type":"text","text":"u://4"}]}"#;
        let out = result(text, Method::ToolsCall, Era::Legacy, Era::Legacy, "My_A");
        assert!(out.contains("\"my-a+u://1\"") && out.contains("\"my-a+u://2\""), "{out}");
        assert!(out.contains("\"u://3\"") && out.contains("\"u://4\""), "{out}");
    }

    #[test]
    fn a_missing_resource_has_the_code_of_the_clients_era() {
        let mut out = Vec::new();
        let routes = routes("");
        let translation = Translation {
            method: Method::ResourcesRead,
            from: Era::Legacy,
            to: Era::Modern,
            upstream: 0,
            routes: &routes,
        };
        write_error(
            &mut out,
            "1",
            Json::parse(r#"{"code":-32002,"message":"gone"}"#).unwrap(),
            &translation,
        );
        assert!(String::from_utf8(out).unwrap().contains("\"code\":-32602"));
    }
}
