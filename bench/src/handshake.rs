//! How a legacy client begins: `initialize`, its answer, `notifications/initialized`. Before the clock runs, one
//! connection after another.

#![allow(clippy::disallowed_types, reason = "blocking sockets, before the clock runs")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memchr;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::request::Era;

/// A server that does not answer `initialize` within this time does not work.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Introduces the load on `socket`; returns the bytes that came behind the answer.
pub fn introduce(mut socket: &TcpStream) -> Result<Vec<u8>, Failure> {
    let failed = || Failure::io("initialize");
    let version = Era::Legacy.version();
    let request = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": version, "capabilities": {},
            "clientInfo": { "name": "ringgate-bench", "version": env!("CARGO_PKG_VERSION") },
        },
    });
    socket.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed())?;
    socket.write_all(format!("{request}\n").as_bytes()).map_err(failed())?;
    let mut bytes = Vec::new();
    let answer: Value = loop {
        let end = loop {
            if let Some(end) = memchr(b'\n', &bytes) {
                break end;
            }
            let mut part = [0; 4096];
            let len = socket.read(&mut part).map_err(failed())?;
            if len == 0 {
                return Err(Failure::Server(
                    "the server closed the connection instead of answering initialize".to_owned(),
                ));
            }
            bytes.extend_from_slice(&part[..len]);
        };
        let line: Vec<u8> = bytes.drain(..=end).collect();
        let message: Value = serde_json::from_slice(&line).map_err(|error| {
            Failure::Server(format!(
                "initialize was answered by {:?}: {error}",
                String::from_utf8_lossy(&line)
            ))
        })?;
        // A notification may come first; the answer is what carries our id.
        if message["id"] == 0 && message.get("method").is_none() {
            break message;
        }
    };
    if answer["result"]["protocolVersion"] != version {
        return Err(Failure::Server(format!("initialize for {version} was answered by {answer}")));
    }
    socket
        .write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")
        .map_err(failed())?;
    socket.set_read_timeout(None).map_err(failed())?;
    Ok(bytes)
}
