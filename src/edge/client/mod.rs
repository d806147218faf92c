//! A person's client: `ringgate tools` and `ringgate call`. Speaks both eras (`talk`), shows answers
//! (`show`) and asks the person what a server wants to know (`ask`). Blocking, one request at a time.

mod ask;
mod show;
mod talk;

use std::io::{self, IsTerminal};

use serde_json::{Map, Value, json};

use self::ask::Terminal;
use self::talk::{Failure, Talk};
use super::address::Address;
use super::screen;
use super::socket::Socket;
use crate::wire::block::Codec;

/// Pages that are followed before a list counts as endless.
const PAGES_MAX: usize = 1_000;

/// Prints the tools at `address`: a table, or the server's objects as a JSON array.
pub fn tools(address: &Address, json: bool, compress: Option<Codec>) -> Result<(), String> {
    let mut talk = open(address, compress)?;
    let mut tools = Vec::new();
    let mut params = Map::new();
    for _page in 0..PAGES_MAX {
        let mut result =
            talk.request("tools/list", params.clone()).map_err(|failure| told(&failure))?;
        if let Some(Value::Array(page)) = result.get_mut("tools").map(Value::take) {
            tools.extend(page);
        }
        let Some(Value::String(cursor)) = result.get_mut("nextCursor").map(Value::take) else {
            let text = if json { show::pretty(&Value::Array(tools)) } else { show::table(&tools) };
            return screen::out(&screen::for_stdout(&text)).map_err(|error| error.to_string());
        };
        params.insert("cursor".to_owned(), json!(cursor));
    }
    Err(format!("the list of tools does not end after {PAGES_MAX} pages"))
}

/// Calls a tool and prints what it answers. The error is also what a tool that failed said.
pub fn call(
    (address, compress): (&Address, Option<Codec>),
    tool: &str,
    arguments: Map<String, Value>,
    json: bool,
) -> Result<(), String> {
    let mut talk = open(address, compress)?;
    let mut params = Map::new();
    params.insert("name".to_owned(), json!(tool));
    params.insert("arguments".to_owned(), Value::Object(arguments));
    let result = talk.answered("tools/call", &params).map_err(|failure| told(&failure))?;
    let failed = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
    if json {
        screen::out(&screen::for_stdout(&show::pretty(&result)))
            .map_err(|error| error.to_string())?;
        return if failed { Err(format!("{tool} failed")) } else { Ok(()) };
    }
    let text = show::content(&result);
    if failed {
        return Err(screen::harmless(&text).trim_end().to_owned());
    }
    screen::out(&screen::for_stdout(&text)).map_err(|error| error.to_string())
}

fn open(address: &Address, compress: Option<Codec>) -> Result<Talk<Socket>, String> {
    let socket = Socket::open(address, compress)?;
    let writer = socket.again().map_err(|error| error.to_string())?;
    // Only where somebody sits at the keyboard is there anybody to ask.
    let person = io::stdin().is_terminal().then(|| Box::new(Terminal) as Box<dyn ask::Person>);
    Talk::open(socket, writer, person, Socket::patience).map_err(|failure| told(&failure))
}

fn told(failure: &Failure) -> String {
    screen::harmless(&failure.to_string())
}
