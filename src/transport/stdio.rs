//! The process's own stdin and stdout as one client, for `serve --stdio`. They may be pipes, files or
//! a terminal, which rings and epoll treat differently, so two threads carry their bytes to and from a
//! socketpair, and the shard sees a socket like any other. Ends with the client.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use crate::gateway::Transport;
use crate::shard::Post;

/// Many messages a system call when they come fast; a pipe holds as much.
const CHUNK_BYTES: usize = 64 << 10;

/// Makes stdin and stdout a client of the shard; `ended` is called when it has gone and all answers to
/// it are written, or cannot be.
pub fn serve(post: &Post, ended: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut incoming = ours.try_clone()?;
    let mut outgoing = ours;
    post.client(theirs.into(), Transport::Stdio);
    // Neither is joined: a read of stdin may outlast everything else.
    let _reader = thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        // However it ends, no more will come from the client.
        let _ended = pump(&mut stdin, &mut outgoing);
        let _gone_already = outgoing.shutdown(Shutdown::Write);
    })?;
    let _writer = thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        let _ended = pump(&mut incoming, &mut stdout);
        ended();
    })?;
    Ok(())
}

/// Copies until the end of `from`, each read written at once.
pub fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(chunk.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
