//! How a tool writes its result: the few shapes of a `CallToolResult` (MCP "Tools", "Tool Result").
//! Writes text, decides nothing.

use super::tool::Outcome;
use crate::wire::text::{escape, quote};

const OPEN: &[u8] = br#"{"content":[{"type":"text","text":""#;

/// A result of one text block.
pub fn text(out: &mut Vec<u8>, text: &str) -> Outcome {
    out.extend_from_slice(OPEN);
    escape(out, text);
    out.extend_from_slice(br#""}]}"#);
    Outcome::Done
}

/// As [`text`], where the text is the content of a JSON string already, escapes and all. This is the
/// path of `echo`: what came in as JSON goes out as the same bytes.
#[inline]
pub fn raw_text(out: &mut Vec<u8>, content: &str) -> Outcome {
    const CLOSE: &[u8] = br#""}]}"#;
    out.reserve(OPEN.len().saturating_add(content.len()).saturating_add(CLOSE.len()));
    out.extend_from_slice(OPEN);
    out.extend_from_slice(content.as_bytes());
    out.extend_from_slice(CLOSE);
    Outcome::Done
}

/// A result with structured content, and its JSON text as a text block for clients that know only
/// those. `json` is the text of an object on one line; an older client takes nothing else there.
pub fn structured(out: &mut Vec<u8>, json: &str) -> Outcome {
    out.extend_from_slice(OPEN);
    escape(out, json);
    out.extend_from_slice(br#""}],"structuredContent":"#);
    out.extend_from_slice(json.as_bytes());
    out.push(b'}');
    Outcome::Done
}

/// The tool ran and failed, or did not like its arguments: a result with `isError`, so that a model
/// reads the reason and can try again (2025-11-25, "Input validation errors").
pub fn error(out: &mut Vec<u8>, what: &str) -> Outcome {
    out.extend_from_slice(OPEN);
    escape(out, what);
    out.extend_from_slice(br#""}],"isError":true}"#);
    Outcome::Done
}

/// One question to the client, under `key`: an `inputRequests` object of one member. `params` is
/// JSON text on one line.
pub fn ask(out: &mut Vec<u8>, key: &str, method: &str, params: &str) -> Outcome {
    out.push(b'{');
    quote(out, key);
    out.extend_from_slice(br#":{"method":"#);
    quote(out, method);
    out.extend_from_slice(br#","params":"#);
    out.extend_from_slice(params.as_bytes());
    out.extend_from_slice(b"}}");
    Outcome::Ask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Json;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Outcome) -> String {
        let mut out = Vec::new();
        write(&mut out);
        assert!(Json::from_bytes(&out).is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn raw_content_keeps_its_escapes_and_text_gets_them() {
        assert_eq!(
            written(|out| raw_text(out, r"a\u0062\n")),
            r#"{"content":[{"type":"text","text":"a\u0062\n"}]}"#
        );
        assert_eq!(
            written(|out| text(out, "a\"\n")),
            r#"{"content":[{"type":"text","text":"a\"\n"}]}"#
        );
    }

    #[test]
    fn structured_content_stands_in_the_text_too() {
        assert_eq!(
            written(|out| structured(out, r#"{"sum":3}"#)),
            r#"{"content":[{"type":"text","text":"{\"sum\":3}"}],"structuredContent":{"sum":3}}"#
        );
    }

    #[test]
    fn an_error_is_a_result_that_says_so() {
        assert!(written(|out| error(out, "no")).ends_with(r#""isError":true}"#));
    }
}
