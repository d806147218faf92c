//! The requests that a load sends: each is built once, then copied and patched with an id and a token.
//! Not the answers: see `answer`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::digits::{WIDTH, id_bytes, token_bytes};

/// Which way of speaking the protocol the load uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    /// 2025-11-25: `initialize` first, then plain requests.
    Legacy,
    /// 2026-07-28: no handshake; every request carries its version and capabilities.
    Modern,
}

impl Era {
    /// The protocol version that requests of this era name.
    pub fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }

    /// The era's name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ping` (legacy only: the modern revision removed it).
    Ping,
    /// `server/discover` (modern only).
    Discover,
    /// `tools/list`, first page.
    ToolsList,
    /// `tools/call` of the echo tool, with a token of its own.
    ToolsCall,
}

impl Kind {
    /// The method on the wire.
    pub fn method(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Discover => "server/discover",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
        }
    }
}

/// How often each kind is sent, as whole-number weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(pub Vec<(Kind, u32)>);

/// Weights of a mix may add up to this much: the order of sending is laid out once, in full.
const WEIGHT_SUM_MAX: u32 = 10_000;

impl Mix {
    /// One round of the mix as indices into it, with equal kinds spread evenly rather than in runs.
    pub fn round(&self) -> Vec<u8> {
        let sum: u32 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut credit = vec![0_i64; self.0.len()];
        let mut round = Vec::new();
        for _ in 0..sum {
            for (credit, (_, weight)) in credit.iter_mut().zip(&self.0) {
                *credit += i64::from(*weight);
            }
            let next =
                (0..credit.len()).max_by_key(|at| (credit[*at], usize::MAX - at)).unwrap_or(0);
            credit[next] -= i64::from(sum);
            round.push(u8::try_from(next).unwrap_or(0));
        }
        round
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = [Kind::Ping, Kind::Discover, Kind::ToolsList, Kind::ToolsCall]
                .into_iter()
                .find(|kind| kind.method() == name.trim())
                .ok_or_else(|| format!("unknown request {name:?}: use ping, server/discover, tools/list or tools/call"))?;
            let weight = weight
                .trim()
                .parse()
                .map_err(|_| format!("the weight of {name} is not a whole number"))?;
            if weight == 0 || mix.iter().any(|(other, _)| *other == kind) {
                return Err(format!("{name} has weight 0 or stands twice in the mix"));
            }
            mix.push((kind, weight));
        }
        if mix.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>() > u64::from(WEIGHT_SUM_MAX)
        {
            return Err(format!("the weights add up to more than {WEIGHT_SUM_MAX}"));
        }
        Ok(Self(mix))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, weight)) in self.0.iter().enumerate() {
            write!(f, "{}{}={weight}", if at == 0 { "" } else { "," }, kind.method())?;
        }
        Ok(())
    }
}

/// The tool that `tools/call` calls.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The argument that carries the message.
    pub argument: String,
    /// Length of the message; at least the token's sixteen bytes.
    pub message_bytes: usize,
}

/// One request, ready but for its id and its token.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it asks for.
    pub kind: Kind,
    /// All that is sent: a line with its newline, or what a transport has made of it.
    pub bytes: Vec<u8>,
    /// Where the message lies in them; of a line, all of it.
    pub message: Range<usize>,
    /// Where the sixteen digits of the id stand.
    pub id_at: usize,
    /// Where the token stands; the rest of the message follows it. Only in `ToolsCall`.
    pub token_at: Option<usize>,
    /// Where the header of a session goes, before id and token.
    pub session_at: Option<usize>,
    /// The key that masks the message.
    pub mask: Option<[u8; 4]>,
}

impl Request {
    /// Builds the request of `kind` as `era` writes it.
    pub fn new(kind: Kind, era: Era, tool: &Tool) -> Self {
        let hole = "0".repeat(WIDTH);
        let mut params = serde_json::Map::new();
        if kind == Kind::ToolsCall {
            params.insert("name".to_owned(), json!(tool.name));
            let message = String::from_utf8(message(&hole, tool.message_bytes)).unwrap_or_default();
            params.insert(
                "arguments".to_owned(),
                Value::Object([(tool.argument.clone(), json!(message))].into_iter().collect()),
            );
        }
        if era == Era::Modern {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": era.version(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".to_owned(), meta);
        }
        let head = "{\"jsonrpc\":\"2.0\",\"id\":";
        let mut line = format!("{head}{hole},\"method\":\"{}\"", kind.method());
        let mut token_at = None;
        if !params.is_empty() {
            line.push_str(",\"params\":");
            let params = Value::Object(params).to_string();
            if kind == Kind::ToolsCall {
                // The argument's value is the only thing in params that starts with the hole behind a quote and a colon.
                let key = format!("{}:\"{hole}", json!(tool.argument));
                token_at = params.find(&key).map(|at| line.len() + at + key.len() - WIDTH);
            }
            line.push_str(&params);
        }
        line.push_str("}\n");
        Self {
            kind,
            message: 0..line.len(),
            bytes: line.into_bytes(),
            id_at: head.len(),
            token_at,
            session_at: None,
            mask: None,
        }
    }

    /// The same without the newline: a body.
    #[must_use]
    pub fn into_body(mut self) -> Self {
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
            self.message.end -= 1;
        }
        self
    }

    /// Appends the request with this id and token to `out`; `session` is the header of its session, or nothing.
    pub fn render(&self, id: u64, token: u64, session: &[u8], out: &mut Vec<u8>) {
        let mut start = out.len();
        if let Some(at) = self.session_at {
            out.extend_from_slice(&self.bytes[..at]);
            out.extend_from_slice(session);
            out.extend_from_slice(&self.bytes[at..]);
            start += session.len();
        } else {
            out.extend_from_slice(&self.bytes);
        }
        self.patch(self.id_at, id_bytes(id), &mut out[start..]);
        if let Some(token_at) = self.token_at {
            self.patch(token_at, token_bytes(token), &mut out[start..]);
        }
    }

    fn patch(&self, at: usize, mut digits: [u8; WIDTH], out: &mut [u8]) {
        if let Some(key) = self.mask {
            let keys = key.iter().cycle().skip((at - self.message.start) % key.len());
            for (digit, key) in digits.iter_mut().zip(keys) {
                *digit ^= key;
            }
        }
        out[at..at + WIDTH].copy_from_slice(&digits);
    }
}

/// The message of `bytes` length that starts with `token`: what the echo must return.
pub fn message(token: &str, bytes: usize) -> Vec<u8> {
    let filler = b"The quick brown fox jumps over the lazy dog. ";
    let mut message = token.as_bytes().to_vec();
    message.extend(filler.iter().cycle().take(bytes.saturating_sub(token.len())));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(message_bytes: usize) -> Tool {
        Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes }
    }

    #[test]
    fn a_rendered_call_is_json_with_its_id_and_token_in_place() {
        for era in [Era::Legacy, Era::Modern] {
            let request = Request::new(Kind::ToolsCall, era, &tool(100));
            let mut out = b"before".to_vec();
            request.render(1_234_567_890_123_456, 0xABCD, b"", &mut out);
            let value: Value = serde_json::from_slice(&out[6..]).unwrap();
            assert_eq!(value["id"], 1_234_567_890_123_456_u64);
            let sent = value["params"]["arguments"]["message"].as_str().unwrap();
            assert!(sent.starts_with("000000000000abcd"));
            assert_eq!(sent.len(), 100);
            assert_eq!(value["params"]["_meta"].is_object(), era == Era::Modern);
        }
    }

    #[test]
    fn a_mix_is_spread_evenly() {
        let mix: Mix = "ping=1,tools/list=1,tools/call=2".parse().unwrap();
        assert_eq!(mix.round(), [2, 0, 1, 2]);
        assert_eq!(mix.to_string(), "ping=1,tools/list=1,tools/call=2");
    }

    #[test]
    fn a_mix_names_what_is_wrong_with_it() {
        assert!("pong=1".parse::<Mix>().unwrap_err().contains("pong"));
        assert!("ping=x".parse::<Mix>().unwrap_err().contains("whole number"));
        assert!("ping=1,ping=2".parse::<Mix>().unwrap_err().contains("twice"));
        assert!("ping=9999999".parse::<Mix>().unwrap_err().contains("add up"));
    }
}
