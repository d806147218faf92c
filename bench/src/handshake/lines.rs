//! A legacy client begins in lines: `initialize`, its answer, `notifications/initialized`.

#![allow(clippy::disallowed_types, reason = "blocking sockets, before the clock runs")]

use std::net::TcpStream;

use memchr::memchr;

use super::{INITIALIZED, initialize, is_answer, read, write};
use crate::failure::Failure;

/// Introduces the load on `socket`; returns the bytes that came behind the answer.
pub(super) fn introduce(socket: &TcpStream) -> Result<Vec<u8>, Failure> {
    write(socket, format!("{}\n", initialize()).as_bytes())?;
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = memchr(b'\n', &bytes) {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            if is_answer(&line)? {
                write(socket, format!("{INITIALIZED}\n").as_bytes())?;
                return Ok(bytes);
            }
        }
        read(socket, &mut bytes)?;
    }
}
