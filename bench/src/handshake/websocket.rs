//! The upgrade to WebSocket with the subprotocol `mcp` (RFC 6455 section 4.1), and a legacy client's beginning on it.

#![allow(clippy::disallowed_types, reason = "blocking sockets, before the clock runs")]

use std::net::TcpStream;

use super::{INITIALIZED, initialize, is_answer, read, write};
use crate::failure::Failure;
use crate::head;
use crate::target::Web;
use crate::websocket::{Frame, text};

/// A key and its answer, both from section 1.3 of the RFC: a load needs no secret, and so no SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Upgrades `socket`; returns the bytes that came behind the last answer.
pub(super) fn begin(socket: &TcpStream, web: &Web, introduces: bool) -> Result<Vec<u8>, Failure> {
    let mut bytes = upgrade(socket, web)?;
    if !introduces {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    text(initialize().to_string().as_bytes(), &mut out);
    write(socket, &out)?;
    loop {
        let frame = Frame::read(&bytes)
            .map_err(|_| Failure::Server("a frame is not as servers send them".to_owned()))?;
        let Some(frame) = frame else {
            read(socket, &mut bytes)?;
            continue;
        };
        let has_answered = frame.is_whole() && is_answer(&bytes[frame.payload.clone()])?;
        bytes.drain(..frame.payload.end);
        if has_answered {
            break;
        }
    }
    out.clear();
    text(INITIALIZED.as_bytes(), &mut out);
    write(socket, &out)?;
    Ok(bytes)
}

fn upgrade(socket: &TcpStream, web: &Web) -> Result<Vec<u8>, Failure> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: mcp\r\n\r\n",
        web.path, web.authority
    );
    write(socket, request.as_bytes())?;
    let mut bytes = Vec::new();
    let length = loop {
        read(socket, &mut bytes)?;
        if let Ok(Some(head)) = head::read(&bytes) {
            break head.bytes;
        }
    };
    let rest = bytes.split_off(length);
    let says = |name, value: &[u8]| head::value(&bytes, name).as_deref() == Some(value);
    if !bytes.starts_with(b"HTTP/1.1 101 ")
        || !says("sec-websocket-accept", ACCEPT)
        || !says("sec-websocket-protocol", b"mcp")
    {
        let text = String::from_utf8_lossy(&bytes);
        return Err(Failure::Server(format!("the upgrade to WebSocket was answered by {text:?}")));
    }
    Ok(rest)
}
