//! A fast MCP server of both eras with one tool, `echo`, and one resource that can be watched: what stands behind the
//! gateway, and behind its peers, when a proxied call or a fan-out is measured. It reads what it needs and no more; it is no example of a server.

use std::borrow::Cow;
use std::io::{BufRead, BufWriter, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::request::Era;

/// The resource.
pub const NEWS: &str = "bench://news";

/// What was said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The answer that was appended.
    Answer,
    /// Nothing: it was a notification.
    Nothing,
    /// It was no message.
    NoMessage,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
    #[serde(borrow, rename = "protocolVersion")]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<Cow<'a, str>>,
}

const TOOLS: &str = r#""tools":[{"name":"echo","description":"Returns the message.","inputSchema":{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}}]"#;
const CAPABILITIES: &str = r#"{"tools":{},"resources":{"subscribe":true}}"#;
const RESOURCES: &str = r#""resources":[{"uri":"bench://news","name":"news"}]"#;
const CACHE: &str = r#","ttlMs":60000,"cacheScope":"public""#;
const INFO: &str = r#"{"name":"ringgate-bench","version":"1"}"#;

/// Appends the answer to `bytes`, without a newline.
pub fn answer(bytes: &[u8], out: &mut Vec<u8>) -> Said {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(bytes) else { return Said::NoMessage };
    let (Some(id), Some(method)) = (message.id, &message.method) else { return Said::Nothing };
    let params = &message.params;
    let is_modern = params
        .meta
        .as_ref()
        .and_then(|meta| meta.version.as_deref())
        .is_some_and(|version| version == Era::Modern.version());
    let complete = if is_modern { r#""resultType":"complete","# } else { "" };
    let cache = if is_modern { CACHE } else { "" };
    let version = params.version.as_deref().unwrap_or(Era::Legacy.version());
    // Into a vector, which cannot fail.
    let _written = match &**method {
        "initialize" => write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":{version:?},"capabilities":{CAPABILITIES},"serverInfo":{INFO}}}}}"#
        ),
        "server/discover" if is_modern => write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{{complete}"supportedVersions":["{}"],"capabilities":{CAPABILITIES}{cache}}}}}"#,
            Era::Modern.version()
        ),
        "resources/list" => {
            write!(
                out,
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{{complete}{RESOURCES}{cache}}}}}"#
            )
        }
        "ping" | "resources/subscribe" | "resources/unsubscribe" => {
            write!(out, r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        }
        "tools/list" => {
            write!(out, r#"{{"jsonrpc":"2.0","id":{id},"result":{{{complete}{TOOLS}{cache}}}}}"#)
        }
        "tools/call" => {
            let text = params.arguments.as_ref().and_then(|arguments| arguments.message);
            let text = text.map_or("\"\"", RawValue::get);
            write!(
                out,
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{{complete}"content":[{{"type":"text","text":{text}}}]}}}}"#
            )
        }
        _ => write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Method not found"}}}}"#
        ),
    };
    Said::Answer
}

/// Answers on stdout what comes on stdin, until its end. All lines at hand are answered before anything is written.
pub fn serve() -> Result<(), Failure> {
    let failed = || Failure::io("stdin and stdout");
    let mut input = std::io::BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    let mut output = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let (mut line, mut out) = (Vec::new(), Vec::new());
    while input.read_until(b'\n', &mut line).map_err(failed())? > 0 {
        if answer(&line, &mut out) == Said::Answer {
            out.push(b'\n');
            output.write_all(&out).map_err(failed())?;
        }
        line.clear();
        out.clear();
        if !input.buffer().contains(&b'\n') {
            output.flush().map_err(failed())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Line, judge, sort};
    use crate::request::{Kind, Request, Tool};

    #[test]
    fn what_the_load_asks_is_answered_as_the_load_demands() {
        let tool =
            Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes: 40 };
        for (era, kind) in [
            (Era::Legacy, Kind::Ping),
            (Era::Legacy, Kind::ToolsList),
            (Era::Legacy, Kind::ToolsCall),
            (Era::Modern, Kind::Discover),
            (Era::Modern, Kind::ToolsList),
            (Era::Modern, Kind::ToolsCall),
        ] {
            let (mut sent, mut out) = (Vec::new(), Vec::new());
            Request::new(kind, era, &tool).render(1_234_567_890_123_456, 7, b"", &mut sent);
            assert_eq!(answer(&sent, &mut out), Said::Answer);
            let Line::Answer(id, value) = sort(&out) else { panic!("{kind:?}") };
            assert_eq!(id, Some(1_234_567_890_123_456));
            let message = "0000000000000007The quick brown fox jump";
            assert_eq!(judge(&value, kind, era, message), Ok(()), "{kind:?} {value}");
        }
    }

    #[test]
    fn notifications_and_nonsense_get_no_answer() {
        let mut out = Vec::new();
        let notice = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(answer(notice, &mut out), Said::Nothing);
        assert_eq!(answer(b"{", &mut out), Said::NoMessage);
        assert!(out.is_empty());
    }
}
