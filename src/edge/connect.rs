//! `ringgate connect`: a stdio MCP server that is the gateway at the other end of a socket. Bytes go
//! through unread (compressed, where that was asked for), since both sides frame by newline and the gateway speaks every era itself. Ends when
//! the gateway closes; the end of stdin is passed on, so that answers under way still arrive.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::address::Address;
use super::socket::Socket;
use crate::transport::stdio::pump;
use crate::wire::block::Codec;

/// Joins stdin and stdout to the gateway at `address` until one of them ends.
pub fn connect(address: &Address, compress: Option<Codec>) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let mut socket = Socket::open(address, compress)?;
    let mut outgoing = socket.again().map_err(text)?;
    // Files of the same descriptors: the library's own stdout would hold back what has no newline.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(text)?);
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(text)?);
    let client_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&client_done);
    // Not joined: when the gateway ends first, it is still waiting for stdin.
    let _detached = thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            // An error is the gateway's end, which the other direction sees and tells.
            if pump(&mut stdin, &mut outgoing).is_ok() {
                done.store(true, Ordering::Release);
            }
            let _gone_already = outgoing.finish();
        })
        .map_err(text)?;
    match pump(&mut socket, &mut stdout) {
        Ok(()) if client_done.load(Ordering::Acquire) => Ok(()),
        Ok(()) => Err(format!("{address} closed the connection")),
        // The client is gone; nobody is left to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(format!("the connection to {address} broke: {error}")),
    }
}
