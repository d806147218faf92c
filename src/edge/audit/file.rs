//! Where the lines of the audit log go: standard output, or a file that is begun anew when it is full, of which the
//! last few are kept. Writes what it is given, and waits as long as that takes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::edge::config::{Audit, AuditTo};

/// What a pipe that has room takes without making its writer wait: `PIPE_BUF`.
const PIPE_BYTES: usize = 4 << 10;
/// How long a pipe that is full is waited for before the writer hears of it; it may have to end meanwhile.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Where lines go.
pub(super) enum Out {
    /// A file of the same descriptor: what the library's own stdout has taken of a text, it does not say when it fails.
    Stdout {
        file: File,
        patience: Timespec,
    },
    File {
        path: PathBuf,
        file: File,
        bytes: u64,
        bytes_max: u64,
        keep: u32,
    },
}

impl Out {
    pub(super) fn open(audit: &Audit) -> io::Result<Self> {
        let AuditTo::File(path) = &audit.to else {
            let file = io::stdout().as_fd().try_clone_to_owned()?.into();
            return Ok(Self::Stdout { file, patience: PATIENCE });
        };
        let (file, bytes) = append(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be opened: {error}", path.display()))
        })?;
        let (path, bytes_max, keep) = (path.clone(), audit.bytes_max, audit.keep);
        Ok(Self::File { path, file, bytes, bytes_max, keep })
    }

    /// Writes as much as can be; what was written is gone from the text.
    pub(super) fn write(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        if let Self::File { path, file, bytes, bytes_max, keep } = self
            && *bytes > 0
            && *bytes + text.len() as u64 > *bytes_max
        {
            rotate(path, *keep)?;
            (*file, *bytes) = append(path)?;
        }
        while !text.is_empty() {
            match self.write_some(text) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(text.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How much of the text was written.
    fn write_some(&mut self, text: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout { file, patience } => {
                // Whoever reads it may have stopped: a write that waits for them could not be given up at the end.
                let mut fds = [PollFd::new(file, PollFlags::OUT)];
                if poll(&mut fds, Some(patience))? == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                file.write(text.get(..PIPE_BYTES).unwrap_or(text))
            }
            Self::File { file, bytes, .. } => {
                let written = file.write(text)?;
                *bytes += written as u64;
                Ok(written)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and the one beyond `keep` goes.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let old = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    // It may have been moved already: by another program, or by us, and then no new one could be opened. Were
    // the older ones moved again each time, they would be lost one by one.
    if !path.try_exists()? {
        return Ok(());
    }
    if keep == 0 {
        return std::fs::remove_file(path);
    }
    let mut free = 1;
    while free < keep && old(free).try_exists()? {
        free += 1;
    }
    for number in (1..free).rev() {
        std::fs::rename(old(number), old(number + 1))?;
    }
    std::fs::rename(path, old(1))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew_and_costs_none_of_the_older_ones() {
        let name = format!("ringgate-audit-moved-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let audit = Audit { to: AuditTo::File(path.clone()), bytes_max: 10, keep: 3 };
        let mut out = Out::open(&audit).unwrap();
        for text in ["one one\n", "two two\n", "three\n"] {
            out.write(&mut text.as_bytes().to_vec()).unwrap();
        }
        // As when a new file could not be opened behind a rotation, or by another program.
        std::fs::remove_file(&path).unwrap();
        let mut text = b"four four\n".to_vec();
        out.write(&mut text).unwrap();
        assert!(text.is_empty());
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("audit.log"), "four four\n");
        assert_eq!(
            (read("audit.log.1"), read("audit.log.2")),
            ("two two\n".into(), "one one\n".into())
        );
        // And where the newest of the older ones is missing, none has to make room.
        std::fs::remove_file(folder.join("audit.log.1")).unwrap();
        out.write(&mut b"five\n".to_vec()).unwrap();
        assert_eq!(
            (read("audit.log.1"), read("audit.log.2")),
            ("four four\n".into(), "one one\n".into())
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_full_file_is_begun_anew_and_the_last_few_are_kept() {
        let folder = std::env::temp_dir().join(format!("ringgate-audit-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("audit.log");
        let audit = Audit { to: AuditTo::File(path), bytes_max: 10, keep: 2 };
        let mut out = Out::open(&audit).unwrap();
        for text in ["one one\n", "two\n", "three\n", "four four four\n", "five\n"] {
            out.write(&mut text.as_bytes().to_vec()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(read("audit.log"), "five\n");
        assert_eq!(read("audit.log.1"), "four four four\n", "a line longer than a file is whole");
        assert_eq!(read("audit.log.2"), "two\nthree\n");
        assert_eq!(read("audit.log.3"), "", "and no more");
        // A gateway that starts again goes on where it was.
        drop(out);
        Out::open(&audit).unwrap().write(&mut b"six\n".to_vec()).unwrap();
        assert_eq!(read("audit.log"), "five\nsix\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }
    #[test]
    fn a_pipe_that_takes_part_gets_each_line_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        for is_blocking in [true, false] {
            rustix::io::ioctl_fionbio(&file, !is_blocking).unwrap();
            let file = file.try_clone().unwrap();
            let mut out = Out::Stdout { file, patience: Timespec { tv_sec: 0, tv_nsec: 0 } };
            let mut lines = Vec::new();
            for number in 0..50_000 {
                writeln!(lines, "{number}").unwrap();
            }
            let (mut text, mut read, mut failures) = (lines.clone(), Vec::new(), 0);
            while let Err(error) = out.write(&mut text) {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "it is full");
                failures += 1;
                let mut some = [0; 10_000];
                let count = reader.read(&mut some).unwrap();
                read.extend_from_slice(&some[..count]);
            }
            assert!(failures > 10, "{failures}");
            let rest = lines.len() - read.len();
            reader.by_ref().take(rest as u64).read_to_end(&mut read).unwrap();
            assert!(read == lines, "each line once, and in order");
        }
    }
}
