//! The built-in upstream: an MCP server in process, of the modern era. The embedded default, the place
//! for tools of one's own ([`Tool`]), and the cheapest thing to measure the gateway against.
//!
//! It speaks no era: results come without `resultType`, `ttlMs`, `cacheScope` and server info, which the
//! gateway adds for who wants them. It keeps nothing between requests.

pub mod argument;
mod path;
mod prompts;
pub mod reply;
mod resources;
#[cfg(test)]
mod tests;
pub mod tool;
mod tools;

use std::fmt;

pub use tool::{Call, Context, Outcome, Tool};

use crate::wire::Json;
use crate::wire::text::{quote, quoted, unescape};

/// The built-in upstream of one shard.
pub struct Builtin {
    has_folder: bool,
    /// In the order of the list. Few, so that looking through them beats hashing a name.
    tools: Vec<Entry>,
    /// The result of `tools/list`, rendered whenever a tool is added.
    tools_list: String,
}

struct Entry {
    name: String,
    tool: Box<dyn Tool>,
}

/// Why a tool was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolError {
    /// The descriptor is no `Tool` object of the specification.
    Descriptor(&'static str),
    /// There is a tool of this name already.
    Doubled(String),
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(what) => write!(f, "the tool's descriptor {what}"),
            Self::Doubled(name) => {
                write!(f, "two tools are called \"{name}\"; give one of them another name")
            }
        }
    }
}

impl std::error::Error for ToolError {}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.tools.iter().map(|entry| &entry.name).collect();
        f.debug_struct("Builtin")
            .field("has_folder", &self.has_folder)
            .field("tools", &names)
            .finish_non_exhaustive()
    }
}

impl Builtin {
    /// The embedded tools, resources and prompts; those that read files only where there is a folder.
    pub fn new(has_folder: bool) -> Self {
        let mut builtin = Self { has_folder, tools: Vec::new(), tools_list: String::new() };
        for (name, tool) in tools::embedded(has_folder) {
            builtin.push(name, &tool.descriptor(), tool);
        }
        builtin
    }

    /// One tool more, behind the others.
    pub fn with(mut self, tool: Box<dyn Tool>) -> Result<Self, ToolError> {
        let descriptor = tool.descriptor();
        let json = Json::parse(&descriptor).map_err(|_| ToolError::Descriptor("is not JSON"))?;
        let name = json.get("name").and_then(Json::as_str).unwrap_or_default();
        if name.is_empty() {
            return Err(ToolError::Descriptor("is no object with a \"name\""));
        }
        if !json.get("inputSchema").is_some_and(Json::is_object) {
            return Err(ToolError::Descriptor("has no object \"inputSchema\""));
        }
        if self.tools.iter().any(|entry| entry.name == name) {
            return Err(ToolError::Doubled(name.into_owned()));
        }
        // Newlines in valid JSON are white space between tokens; in a line they would end the message.
        let line = json.text().replace(['\n', '\r'], " ");
        self.push(&name, &line, tool);
        Ok(self)
    }

    /// There is a folder now, or there is none any more; tools of others stay.
    pub(super) fn set_folder(&mut self, has_folder: bool) {
        if self.has_folder == has_folder {
            return;
        }
        let embedded = tools::embedded(self.has_folder).len();
        let others = self.tools.split_off(embedded.min(self.tools.len()));
        *self = Self::new(has_folder);
        for Entry { name, tool } in others {
            let line = tool.descriptor().replace(['\n', '\r'], " ");
            self.push(&name, &line, tool);
        }
    }

    fn push(&mut self, name: &str, descriptor: &str, tool: Box<dyn Tool>) {
        if self.tools.is_empty() {
            self.tools_list = format!(r#"{{"tools":[{descriptor}]}}"#);
        } else {
            let inside = self.tools_list.len() - "]}".len();
            self.tools_list.insert_str(inside, &format!(",{descriptor}"));
        }
        self.tools.push(Entry { name: name.to_owned(), tool });
    }

    /// The `ServerCapabilities` object, JSON text. Nothing here ever changes, so nothing is announced.
    pub const fn capabilities(&self) -> &'static str {
        r#"{"completions":{},"prompts":{},"resources":{},"tools":{}}"#
    }

    /// What a model should know of this server, plain text.
    pub const fn instructions(&self) -> &'static str {
        if self.has_folder {
            "ringgate's built-in tools: echo, add, clock, sleep, random, ask_name, ask_model, \
             and read_text for the files of the served folder."
        } else {
            "ringgate's built-in tools: echo, add, clock, sleep, random, ask_name, ask_model."
        }
    }

    /// Serves one request, or one more step of it: `tools/list`, `tools/call`, `prompts/list`,
    /// `prompts/get`, `resources/list`, `resources/templates/list`, `resources/read`,
    /// `completion/complete`; −32601 for any other. What is appended to `out` holds no newline.
    pub fn serve(
        &mut self,
        method: &str,
        params: Json<'_>,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match method {
            "tools/call" => {
                let [name, arguments] = parameters(params, ["name", "arguments"]);
                match checked(name, arguments) {
                    Ok((name, arguments)) => {
                        self.call(&unescape(name), Some(arguments), context, out)
                    }
                    Err(what) => Outcome::invalid(what),
                }
            }
            "tools/list" => list(params, &self.tools_list, out),
            "prompts/list" => list(params, prompts::LIST, out),
            "resources/list" => list(params, resources::LIST, out),
            "resources/templates/list" => list(params, self.templates(), out),
            "prompts/get" => {
                let [name, arguments] = parameters(params, ["name", "arguments"]);
                match checked(name, arguments) {
                    Ok((name, arguments)) => prompts::get(&unescape(name), arguments, out),
                    Err(what) => Outcome::invalid(what),
                }
            }
            "resources/read" => match parameters(params, ["uri"]) {
                [Some(uri)] => resources::read(uri, self.has_folder, context.text, out),
                [None] => Outcome::invalid("the parameter \"uri\" is missing"),
            },
            "completion/complete" => self.complete(params, out),
            _ => Outcome::Fault {
                code: -32601,
                message: "the built-in server has no such method".into(),
                data: None,
            },
        }
    }

    /// `tools/call` for who has walked the parameters already: the hot path of the house. `name` is the
    /// tool's name itself, `arguments` the parameter of this name, of whatever kind.
    #[inline]
    pub fn call(
        &mut self,
        name: &str,
        arguments: Option<Json<'_>>,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let arguments = arguments.unwrap_or(Json::EMPTY_OBJECT);
        if !arguments.is_object() {
            return Outcome::invalid(ARGUMENTS);
        }
        let Some(entry) = self.tools.iter_mut().find(|entry| entry.name == name) else {
            return unknown_tool(name);
        };
        let start = out.len();
        let outcome = entry.tool.call(&Call { arguments, context }, out);
        if !matches!(outcome, Outcome::Done | Outcome::Ask) {
            out.truncate(start);
        }
        debug_assert!(!out[start..].contains(&b'\n'), "a tool wrote a newline");
        outcome
    }

    const fn templates(&self) -> &'static str {
        if self.has_folder { resources::TEMPLATES } else { resources::NO_TEMPLATES }
    }

    fn complete(&self, params: Json<'_>, out: &mut Vec<u8>) -> Outcome {
        let string = |object: Option<Json<'_>>, key: &str| {
            object.and_then(|object| object.get(key)).and_then(Json::as_str).map(String::from)
        };
        let reference = params.get("ref");
        let argument = params.get("argument");
        let (Some(argument_name), Some(typed)) = (
            string(argument, "name"),
            argument.and_then(|a| a.get("value")).and_then(argument::raw),
        ) else {
            return Outcome::invalid(
                "the parameter \"argument\" must have the strings \"name\" and \"value\"",
            );
        };
        let values = match string(reference, "type").as_deref() {
            Some("ref/prompt") => string(reference, "name")
                .and_then(|prompt| prompts::completions(&prompt, &argument_name, typed)),
            // Which files there are is not known below the line; that the template is ours is.
            Some("ref/resource") => string(reference, "uri")
                .filter(|uri| self.has_folder && uri == resources::TEXT_TEMPLATE)
                .map(|_| Vec::new()),
            _ => {
                return Outcome::invalid(
                    "the parameter \"ref\" must be a ref/prompt or a ref/resource",
                );
            }
        };
        let Some(values) = values else {
            return Outcome::invalid("the parameter \"ref\" names nothing that is here");
        };
        out.extend_from_slice(br#"{"completion":{"values":["#);
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            quote(out, value);
        }
        let total = values.len();
        out.extend_from_slice(format!(r#"],"total":{total},"hasMore":false}}}}"#).as_bytes());
        Outcome::Done
    }
}

/// The parameters of these names, in one walk. None of them stands twice: the gateway has refused that.
#[inline]
fn parameters<'a, const N: usize>(params: Json<'a>, keys: [&str; N]) -> [Option<Json<'a>>; N] {
    let mut found = [None; N];
    for member in params.members() {
        for (key, place) in keys.iter().zip(&mut found) {
            if member.is(key) {
                *place = Some(member.value);
            }
        }
    }
    found
}

/// The name as it was written, and the arguments.
#[inline]
fn checked<'a>(
    name: Option<Json<'a>>,
    arguments: Option<Json<'a>>,
) -> Result<(&'a str, Json<'a>), &'static str> {
    let Some(name) = name.and_then(argument::raw) else {
        return Err("the parameter \"name\" must be a string");
    };
    match arguments {
        None => Ok((name, Json::EMPTY_OBJECT)),
        Some(arguments) if arguments.is_object() => Ok((name, arguments)),
        Some(_) => Err(ARGUMENTS),
    }
}

const ARGUMENTS: &str = "the parameter \"arguments\" must be an object";

#[cold]
fn unknown_tool(name: &str) -> Outcome {
    Outcome::Fault {
        code: -32602,
        message: "there is no tool of this name".into(),
        data: Some(format!(r#"{{"tool":{}}}"#, quoted(name))),
    }
}

/// A list is one page, so a cursor cannot be one of ours.
fn list(params: Json<'_>, text: &str, out: &mut Vec<u8>) -> Outcome {
    if params.get("cursor").is_some() {
        return Outcome::invalid("the parameter \"cursor\" names no page: this list is one page");
    }
    out.extend_from_slice(text.as_bytes());
    Outcome::Done
}
