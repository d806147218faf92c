//! Gateway tools: the three tools of the gateway's own by which an agent finds and uses all others, so that its
//! context holds three descriptions and not hundreds. Here: which there are and how they are called; what each
//! does has a file of its own (`servers`, `offer`, `execute`). What they may reach is `permit`'s business.

mod acting;
mod arguments;
mod execute;
mod offer;
mod servers;

pub use acting::Acting;
pub use execute::Execution;
pub use offer::Offer;

use std::borrow::Cow;

use super::builtin::reply;
use super::door::Effects;
use super::inbound::Asked;
use super::{Gateway, answer};
use crate::base::Now;
use crate::mcp::{Code, Era, Method, Version};
use crate::wire::{Json, text};

/// What a client sees of the upstreams' tools. Prompts and resources it sees in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expose {
    /// Each by its name.
    #[default]
    Names,
    /// The gateway tools alone.
    GatewayTools,
    /// The gateway tools, and behind them each by its name.
    Both,
}

impl Expose {
    pub const fn has_tools(self) -> bool {
        matches!(self, Self::GatewayTools | Self::Both)
    }

    pub const fn has_names(self) -> bool {
        matches!(self, Self::Names | Self::Both)
    }

    /// Whether an upstream's own entry is not shown, because a gateway tool is called by that name.
    pub(super) fn hides(self, method: Method, prefix: &str, entry: Json<'_>) -> bool {
        let is_tools = |name: Cow<'_, str>| Tool::named(&name).is_some();
        self.has_tools()
            && method == Method::ToolsList
            && prefix.is_empty()
            && entry.get("name").and_then(Json::as_str).is_some_and(is_tools)
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Servers,
    Offer,
    Execute,
}

impl Tool {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "list_servers" => Some(Self::Servers),
            "get_server_tools" => Some(Self::Offer),
            "execute_tool" => Some(Self::Execute),
            _ => None,
        }
    }
}

/// Their `Tool` objects, with commas between. Without `outputSchema`: a model reads every byte of this.
pub(super) const DESCRIPTORS: &str = concat!(
    r#"{"name":"list_servers","description":"Lists the MCP servers behind this gateway that you may use. Then: get_server_tools for a server's tools, execute_tool to call one.","inputSchema":{"type":"object","properties":{"#,
    r#""agent_id":{"type":"string","description":"Your agent identifier; leave it out if you were not given one"},"#,
    r#""include_metadata":{"type":"boolean","description":"Also tell each server's title, version and instructions","default":false}"#,
    r#"},"additionalProperties":false},"annotations":{"readOnlyHint":true,"openWorldHint":false}},"#,
    r#"{"name":"get_server_tools","description":"Describes tools of one server that you may use, with their input schemas for execute_tool.","inputSchema":{"type":"object","properties":{"#,
    r#""agent_id":{"type":"string","description":"Your agent identifier; leave it out if you were not given one"},"#,
    r#""server":{"type":"string","description":"A server's name from list_servers"},"#,
    r#""names":{"description":"Only tools of these names","anyOf":[{"type":"array","items":{"type":"string"}},{"type":"string","description":"The same, separated by commas"}]},"#,
    r#""pattern":{"type":"string","description":"Only tools whose names match; * stands for anything, as in get_*"},"#,
    r#""max_tokens":{"type":"integer","minimum":1,"description":"A budget for the descriptions together, estimated as a token for every 4 bytes of JSON; what does not fit is named under omitted"}"#,
    r#"},"required":["server"],"additionalProperties":false},"annotations":{"readOnlyHint":true,"openWorldHint":false}},"#,
    r#"{"name":"execute_tool","description":"Calls a tool of a server; the result is that tool's own.","inputSchema":{"type":"object","properties":{"#,
    r#""agent_id":{"type":"string","description":"Your agent identifier; leave it out if you were not given one"},"#,
    r#""server":{"type":"string","description":"A server's name from list_servers"},"#,
    r#""tool":{"type":"string","description":"A tool's name from get_server_tools"},"#,
    r#""args":{"type":"object","description":"The tool's arguments, as its inputSchema wants them"},"#,
    r#""timeout_ms":{"type":"integer","minimum":1,"description":"Give up after so many milliseconds; the gateway's own limit if that is shorter"}"#,
    r#"},"required":["server","tool"],"additionalProperties":false}}"#,
);

/// A name of a stranger's is not repeated whole in a message.
const SHOWN_BYTES_MAX: usize = 128;

pub(super) fn shown(name: &str) -> &str {
    name.get(..name.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default()
}

impl Gateway {
    /// The gateway tool that a call is for, if it is for one.
    #[inline]
    pub(super) fn gateway_tool(&self, method: Method, name: &str) -> Option<Tool> {
        let is_call = method == Method::ToolsCall && self.settings.expose.has_tools();
        if is_call { Tool::named(name) } else { None }
    }

    #[cold]
    pub(super) fn call_gateway_tool(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        tool: Tool,
        out: &mut Effects,
    ) {
        match tool {
            Tool::Servers => self.list_servers(asked, out),
            Tool::Offer => self.get_server_tools(now, asked, out),
            Tool::Execute => self.execute_tool(now, asked, out),
        }
        self.acting = None;
    }

    /// `tools/list` where nothing else is shown. The same for everybody, as long as the process lives.
    #[cold]
    pub(super) fn list_gateway_tools(&mut self, asked: &Asked<'_>, out: &mut Effects) {
        if asked.parsed.cursor.is_some() {
            let message = "params.cursor is not one of ours: the list has a single page";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        }
        let era = asked.version.era();
        self.exchanges.reply(&self.clients, asked.client, asked.exchange, out, |out| {
            answer::open(out, asked.id);
            out.push(b'{');
            if era == Era::Modern {
                // As long as a greeting is good, which tells no more.
                out.extend_from_slice(
                    br#""resultType":"complete","ttlMs":60000,"cacheScope":"public","#,
                );
            }
            out.extend_from_slice(b"\"tools\":[");
            out.extend_from_slice(DESCRIPTORS.as_bytes());
            out.extend_from_slice(b"]}}");
        });
    }

    /// The upstream that the argument `server` names.
    fn server_named(&mut self, asked: &Asked<'_>, name: &str, out: &mut Effects) -> Option<usize> {
        let found = self.used().find(|(_, it)| it.name == name).map(|(index, _)| index);
        if found.is_none() {
            let name = shown(name);
            let message =
                format!("there is no server called {name}; list_servers tells which there are");
            let data = format!(
                "{{\"code\":\"SERVER_UNAVAILABLE\",\"server\":{},\"reason\":\"unknown\"}}",
                text::quoted(name)
            );
            let code = Code::ServerUnavailable.number_in(asked.version.era());
            self.refuse(asked, code, &message, Some(&data), out);
        }
        found
    }

    /// Answers with what a tool found: JSON text of an object.
    fn reply_found(&mut self, asked: &Asked<'_>, json: &str, out: &mut Effects) {
        let version = asked.version;
        self.exchanges.reply(&self.clients, asked.client, asked.exchange, out, |out| {
            write_found(out, asked.id, version, json);
        });
    }

    /// The arguments are wrong: a result with `isError`, so that a model reads the reason and can try again
    /// (2025-11-25 "Input validation errors").
    fn reply_wrong(&mut self, asked: &Asked<'_>, what: &str, out: &mut Effects) {
        let era = asked.version.era();
        self.exchanges.reply(&self.clients, asked.client, asked.exchange, out, |out| {
            let at = answer::open_in(out, asked.id, era, Method::ToolsCall);
            reply::error(out, what);
            answer::close_in(out, at, era);
        });
    }
}

/// Appends the answer of a gateway tool.
pub(super) fn write_found(out: &mut Vec<u8>, id: &str, version: Version, json: &str) {
    let era = version.era();
    let at = answer::open_in(out, id, era, Method::ToolsCall);
    if version >= Version::V2025_06_18 {
        reply::structured(out, json);
    } else {
        reply::text(out, json);
    }
    answer::close_in(out, at, era);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_described_once_under_its_name_with_a_schema_of_an_object() {
        let all = format!("[{DESCRIPTORS}]");
        let tools: Vec<serde_json::Value> = serde_json::from_str(&all).unwrap();
        assert_eq!(tools.len(), 3);
        for tool in &tools {
            assert!(Tool::named(tool["name"].as_str().unwrap()).is_some(), "{tool}");
            let schema = &tool["inputSchema"];
            assert_eq!(schema["type"], "object");
            let properties = schema["properties"].as_object().unwrap();
            assert!(properties.contains_key("agent_id"));
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{required}");
            }
        }
        assert!(!all.contains('\n'));
    }

    #[test]
    fn a_strangers_name_is_cut_between_characters() {
        assert_eq!(shown("abc"), "abc");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 64);
    }
}
