//! How a connection begins: what a transport and a legacy client say before the first request. Before the clock runs,
//! one connection after another, on blocking sockets.

#![allow(clippy::disallowed_types, reason = "blocking sockets, before the clock runs")]

pub mod http;
mod lines;
mod websocket;

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::request::Era;
use crate::target::{Protocol, Target, Web};

/// A server that does not answer `initialize` within this time does not work. Some proxies start a process first.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// What a beginning leaves behind.
#[derive(Debug, Default)]
pub struct Begun {
    /// Bytes that came behind the last answer.
    pub carry: Vec<u8>,
    /// The header of the session that was opened over HTTP; empty where there is none.
    pub session: Vec<u8>,
}

/// Begins on `socket`, which is connected to `target`; a legacy client `introduces` itself.
pub fn begin(socket: &TcpStream, target: &Target, introduces: bool) -> Result<Begun, Failure> {
    let failed = || Failure::io("initialize");
    socket.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed())?;
    let begun = match target {
        Target::Tcp(_) | Target::Unix(_) | Target::Stdio(_) => {
            let carry = if introduces { lines::introduce(socket)? } else { Vec::new() };
            Begun { carry, session: Vec::new() }
        }
        Target::Web(web @ Web { protocol: Protocol::WebSocket, .. }) => {
            let carry = websocket::begin(socket, web, introduces)?;
            Begun { carry, session: Vec::new() }
        }
        Target::Web(web @ Web { protocol: Protocol::Http1, .. }) if introduces => {
            let session = http::introduce(socket, web)?;
            Begun { carry: Vec::new(), session }
        }
        // HTTP/2's streams are opened under load; its session comes over a connection of its own.
        Target::Web(web @ Web { protocol: Protocol::Http2, .. }) if introduces => {
            let other = target.open()?.socket;
            other.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed())?;
            Begun { carry: Vec::new(), session: http::introduce(&other, web)? }
        }
        Target::Web(_) => Begun::default(),
    };
    socket.set_read_timeout(None).map_err(failed())?;
    Ok(begun)
}

/// `initialize` with id 0.
fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": Era::Legacy.version(), "capabilities": {},
            "clientInfo": { "name": "ringgate-bench", "version": env!("CARGO_PKG_VERSION") },
        },
    })
}

const INITIALIZED: &str = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";

/// Whether `text` is the answer; a notification may come first.
fn is_answer(text: &[u8]) -> Result<bool, Failure> {
    let version = Era::Legacy.version();
    let message: Value = serde_json::from_slice(text).map_err(|error| {
        let text = String::from_utf8_lossy(text);
        Failure::Server(format!("initialize was answered by {text:?}: {error}"))
    })?;
    if message["id"] != 0 || message.get("method").is_some() {
        return Ok(false);
    }
    if message["result"]["protocolVersion"] != version {
        return Err(Failure::Server(format!("initialize for {version} was answered by {message}")));
    }
    Ok(true)
}

/// Appends what comes next.
fn read(mut socket: &TcpStream, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    use std::io::Read;
    let mut part = [0; 4096];
    let len = socket.read(&mut part).map_err(Failure::io("initialize"))?;
    bytes.extend_from_slice(&part[..len]);
    if len == 0 {
        let text = "the server closed the connection instead of answering initialize";
        return Err(Failure::Server(text.to_owned()));
    }
    Ok(())
}

fn write(mut socket: &TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    socket.write_all(bytes).map_err(Failure::io("initialize"))
}
