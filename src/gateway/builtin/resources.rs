//! The resources that are part of the program, and the files of the configured folder as resources.
//! Opens nothing; it asks the gateway for a file's text.

use super::argument::raw;
use super::path;
use super::tool::Outcome;
use super::tools::{SLEEP_MS_MAX, SLEEP_STEPS_MAX, TOKENS_MAX};
use crate::wire::Json;
use crate::wire::text::quote;

/// The result of `resources/list`.
pub(super) const LIST: &str = concat!(
    r#"{"resources":["#,
    r#"{"uri":"ringgate://about","name":"about","title":"About","#,
    r#""description":"What this server is.","mimeType":"text/plain"},"#,
    r#"{"uri":"ringgate://limits","name":"limits","title":"Limits","#,
    r#""description":"What the built-in tools take at most.","mimeType":"application/json"}"#,
    r#"]}"#
);

pub(super) const NO_TEMPLATES: &str = r#"{"resourceTemplates":[]}"#;

/// The result of `resources/templates/list` where a folder is configured.
pub(super) const TEMPLATES: &str = concat!(
    r#"{"resourceTemplates":[{"uriTemplate":"ringgate://text/{path}","name":"text","title":"Text file","#,
    r#""description":"A text file of the served folder.","mimeType":"text/plain"}]}"#
);

pub(super) const TEXT_TEMPLATE: &str = "ringgate://text/{path}";

const TEXT_PREFIX: &str = "ringgate://text/";

const ABOUT: &str = "ringgate: one address in front of all your MCP servers. \
    This is its built-in server: a few tools, resources and prompts to try a client with. \
    Put your own servers behind the gateway in its configuration.";

/// One `resources/read`. `uri` is the parameter as it came; `text` is what an earlier step asked for.
pub(super) fn read(
    uri: Json<'_>,
    has_folder: bool,
    text: Option<Result<&str, &str>>,
    out: &mut Vec<u8>,
) -> Outcome {
    let Some(written) = raw(uri) else {
        return Outcome::invalid("the parameter \"uri\" must be a string");
    };
    let name = uri.as_str().unwrap_or_default();
    match name.as_ref() {
        "ringgate://about" => write(out, written, "text/plain", ABOUT),
        "ringgate://limits" => write(out, written, "application/json", &limits()),
        name => {
            let file = name.strip_prefix(TEXT_PREFIX).filter(|_| has_folder);
            let Some(path) = file.and_then(path::percent_decoded) else { return missing(uri) };
            match text {
                Some(Ok(text)) => write(out, written, "text/plain", text),
                None if path::check(&path).is_ok() => Outcome::Read { path },
                // Why a file cannot be read is not told: "denied" would say that there is one.
                None | Some(Err(_)) => missing(uri),
            }
        }
    }
}

/// `uri` is a JSON string's content as written, `text` is plain.
fn write(out: &mut Vec<u8>, uri: &str, mime: &str, text: &str) -> Outcome {
    for part in [r#"{"contents":[{"uri":""#, uri, r#"","mimeType":""#, mime, r#"","text":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    quote(out, text);
    out.extend_from_slice(b"}]}");
    Outcome::Done
}

/// −32602 with the URI, as 2026-07-28 has it. Earlier versions call it −32002; the gateway knows to
/// whom it speaks.
fn missing(uri: Json<'_>) -> Outcome {
    Outcome::Fault {
        code: -32602,
        message: "there is no such resource".into(),
        data: Some(format!(r#"{{"uri":{}}}"#, uri.text())),
    }
}

fn limits() -> String {
    let path_bytes_max = path::PATH_BYTES_MAX;
    format!(
        r#"{{"sleep_ms_max":{SLEEP_MS_MAX},"sleep_steps_max":{SLEEP_STEPS_MAX},"ask_model_tokens_max":{TOKENS_MAX},"path_bytes_max":{path_bytes_max}}}"#
    )
}
