//! What a server answered, as a person reads it. Pure: text in, text out.

use std::fmt::Write as _;

use serde_json::Value;

/// Longest line of a description that a table shows.
const DESCRIPTION_CHARS_MAX: usize = 100;

/// One line a tool: its name, and the first line of its description.
pub(super) fn table(tools: &[Value]) -> String {
    let text =
        |tool: &Value, key| tool.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let width =
        tools.iter().map(|tool| text(tool, "name").chars().count()).max().unwrap_or_default();
    let mut out = String::new();
    for tool in tools {
        let mut name = text(tool, "name");
        let description = text(tool, "description");
        let first = description.trim().lines().next().unwrap_or_default();
        let mut short: String = first.chars().take(DESCRIPTION_CHARS_MAX).collect();
        if short.len() < first.len() {
            short.push('…');
        }
        if !short.is_empty() {
            name.extend(std::iter::repeat_n(' ', width - name.chars().count() + 2));
        }
        name.push_str(&short);
        out.push_str(&name);
        out.push('\n');
    }
    out
}

/// The content of a tool's result: texts as they are, anything else by its kind and size.
pub(super) fn content(result: &Value) -> String {
    let mut out = String::new();
    let blocks = result.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for block in blocks {
        let text = |pointer: &str| block.pointer(pointer).and_then(Value::as_str);
        let kind = text("/type").unwrap_or_default();
        let line = match kind {
            "text" => text("/text").unwrap_or_default().to_owned(),
            "image" | "audio" => format!(
                "[{kind} {}, {} characters of base64; --json shows it]",
                text("/mimeType").unwrap_or("of no type"),
                text("/data").unwrap_or_default().len()
            ),
            "resource_link" => format!(
                "[resource {} {}]",
                text("/uri").unwrap_or_default(),
                text("/name").unwrap_or_default()
            ),
            "resource" => match text("/resource/text") {
                Some(text) => text.to_owned(),
                None => format!("[resource {}]", text("/resource/uri").unwrap_or_default()),
            },
            _ => block.to_string(),
        };
        out.push_str(&line);
        if !line.ends_with('\n') {
            out.push('\n');
        }
    }
    if blocks.is_empty()
        && let Some(structured) = result.get("structuredContent")
    {
        out = pretty(structured);
    }
    out
}

/// JSON for people, with a newline at its end.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// `notifications/progress`: `3/10 message`.
pub(super) fn progress(params: &Value) -> String {
    let mut line = params.get("progress").map(Value::to_string).unwrap_or_default();
    if let Some(total) = params.get("total").filter(|total| !total.is_null()) {
        let _infallible = write!(line, "/{total}");
    }
    if let Some(message) = params.get("message").and_then(Value::as_str) {
        let _infallible = write!(line, " {message}");
    }
    line
}

/// `notifications/message`: `[info] text`.
pub(super) fn log(params: &Value) -> String {
    let level = params.get("level").and_then(Value::as_str).unwrap_or("info");
    match params.get("data") {
        Some(Value::String(text)) => format!("[{level}] {text}"),
        Some(data) => format!("[{level}] {data}"),
        None => format!("[{level}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_lines_up_and_shows_first_lines_only() {
        let tools = [
            json!({"name": "add", "description": "Adds.\nLonger."}),
            json!({"name": "gettime", "description": "x".repeat(150)}),
            json!({"name": "bare"}),
        ];
        let wanted = format!("add      Adds.\ngettime  {}…\nbare\n", "x".repeat(100));
        assert_eq!(table(&tools), wanted);
    }

    #[test]
    fn every_kind_of_content_is_shown() {
        let result = json!({"content": [
            {"type": "text", "text": "hello"},
            {"type": "text", "text": "line\n"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource_link", "uri": "a://b", "name": "n"},
            {"type": "resource", "resource": {"uri": "a://c", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "a://d", "blob": "AA"}},
            {"type": "future", "x": 1},
        ]});
        assert_eq!(
            content(&result),
            "hello\nline\n[image image/png, 4 characters of base64; --json shows it]\n\
             [resource a://b n]\ninside\n[resource a://d]\n{\"type\":\"future\",\"x\":1}\n"
        );
        assert_eq!(content(&json!({"structuredContent": {"a": 1}})), "{\n  \"a\": 1\n}\n");
        assert_eq!(content(&json!({})), "");
    }

    #[test]
    fn progress_and_logs_are_one_line() {
        assert_eq!(progress(&json!({"progress": 3, "total": 10, "message": "m"})), "3/10 m");
        assert_eq!(progress(&json!({"progress": 0.5})), "0.5");
        assert_eq!(log(&json!({"level": "warning", "data": {"a": 1}})), "[warning] {\"a\":1}");
    }
}
