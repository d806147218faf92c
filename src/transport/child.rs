//! One child: an upstream that is a process and speaks on its standard streams. Spawning it, its words
//! on stderr, the signals it gets. Not here: when; that is the nursery's.
//!
//! Input and output are a socketpair each. Pipes cannot be waited for by every driver; one pair for
//! both directions would show a child that watches its output (Python's asyncio does) its own input
//! there, which it takes for our end.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child as Process, Command, ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The upstream's name, for the log.
    pub name: String,
    pub command: String,
    pub args: Vec<String>,
    /// Beside what we have ourselves.
    pub env: BTreeMap<String, String>,
    pub cwd: Option<PathBuf>,
}

/// A running child, leader of a process group of its own.
pub(super) struct Child {
    process: Process,
    pid: Pid,
    exit: OwnedFd,
    pub(super) stderr: Option<OwnedFd>,
}

/// Our ends of a child's streams.
pub(super) struct Streams {
    /// What it writes.
    pub(super) output: OwnedFd,
    /// What it reads.
    pub(super) input: OwnedFd,
}

impl Child {
    /// Starts it; takes as long as the exec does.
    pub(super) fn spawn(spec: &Spec) -> io::Result<(Self, Streams)> {
        let (input, its_input) = pair()?;
        let (output, its_output) = pair()?;
        let mut command = Command::new(&spec.command);
        command.args(&spec.args).envs(&spec.env).process_group(0);
        command.stdin(Stdio::from(its_input)).stdout(Stdio::from(its_output));
        command.stderr(Stdio::piped());
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
        let mut process = command.spawn()?;
        let stderr = process.stderr.take().map(OwnedFd::from);
        if let Some(stderr) = &stderr {
            rustix::io::ioctl_fionbio(stderr, true)?;
        }
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
        let exit = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok((Self { process, pid, exit, stderr }, Streams { output, input }))
    }

    /// Readable once it has exited.
    pub(super) fn exit(&self) -> BorrowedFd<'_> {
        self.exit.as_fd()
    }

    /// Signals its whole group; false where nobody is left in it.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        rustix::process::kill_process_group(self.pid, signal) != Err(Errno::SRCH)
    }

    /// Whether any of its group is left. Only after it was reaped: before, it counts itself.
    pub(super) fn has_kin(&self) -> bool {
        rustix::process::test_kill_process_group(self.pid) != Err(Errno::SRCH)
    }

    /// How it ended, if it has.
    pub(super) fn reap(&mut self) -> Option<String> {
        match self.process.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(epitaph(status)),
            Err(error) => Some(format!("the child was lost: {error}")),
        }
    }
}

/// Ours and the child's end. Blocking, as children expect.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

fn epitaph(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the child exited with status {code}"),
        (None, Some(signal)) => format!("the child was killed by signal {signal}"),
        (None, None) => "the child ended".to_owned(),
    }
}

/// A child's words on stderr, line by line into the log, so many a second and no more: a child in a
/// loop must not fill the disk.
pub(super) struct Mutter {
    name: String,
    line: Vec<u8>,
    /// Lines logged since `second` began, and lines dropped.
    said: u32,
    dropped: u32,
    second: u64,
}

const LINE_BYTES_MAX: usize = 4 << 10;
const LINES_A_SECOND: u32 = 50;

impl Mutter {
    pub(super) const fn new(name: String) -> Self {
        Self { name, line: Vec::new(), said: 0, dropped: 0, second: 0 }
    }

    /// Takes what was read, in the second `now` of whatever clock.
    pub(super) fn hear(&mut self, bytes: &[u8], now: u64) {
        for &byte in bytes {
            if byte == b'\n' {
                self.say(now);
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
        }
    }

    /// Logs the line at hand, also one without its newline.
    pub(super) fn say(&mut self, now: u64) {
        let line = std::mem::take(&mut self.line);
        let text = clean(&line);
        if text.is_empty() {
            return;
        }
        if now != self.second {
            self.second = now;
            self.said = 0;
            let dropped = std::mem::take(&mut self.dropped);
            if dropped > 0 {
                tracing::warn!(upstream = self.name, dropped, "stderr lines were not logged");
            }
        }
        if self.said >= LINES_A_SECOND {
            self.dropped += 1;
            return;
        }
        self.said += 1;
        tracing::info!(upstream = self.name, "stderr: {text}");
    }
}

/// Text without what a terminal would obey.
fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end()
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talkative_child_is_cut_short_and_told_so() {
        let mut mutter = Mutter::new("loud".to_owned());
        for _ in 0..1_000 {
            mutter.hear(b"word\n", 7);
        }
        assert_eq!(mutter.said, LINES_A_SECOND);
        assert_eq!(mutter.dropped, 1_000 - LINES_A_SECOND);
        mutter.hear(&[b'x'; 10_000], 8);
        assert_eq!(mutter.line.len(), LINE_BYTES_MAX);
        mutter.hear(b"\n", 8);
        assert_eq!((mutter.said, mutter.dropped), (1, 0));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean(b"a\x1b[31mred\x07\r"), "a\u{fffd}[31mred\u{fffd}");
    }

    #[test]
    fn each_end_has_its_words() {
        assert_eq!(epitaph(ExitStatus::from_raw(3 << 8)), "the child exited with status 3");
        assert_eq!(epitaph(ExitStatus::from_raw(9)), "the child was killed by signal 9");
    }
}
