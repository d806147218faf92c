//! Unix socket listeners: the socket's file, its mode, and what an earlier process left behind.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Only the owner may connect, unless the operator says otherwise.
pub const MODE_DEFAULT: u32 = 0o600;

/// A socket file that is ours; removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    mark: Mark,
}

/// Which file it is: an inode alone may be another file's as soon as ours is removed.
type Mark = (u64, u64, Option<Duration>);

fn mark(path: &Path) -> io::Result<Mark> {
    let data = fs::symlink_metadata(path)?;
    let born = data.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Ok((data.dev(), data.ino(), born))
}

impl SocketFile {
    /// Whether it still is at its path; another process may have taken that meanwhile.
    fn is_there(&self) -> bool {
        mark(&self.path).is_ok_and(|mark| mark == self.mark)
    }

    /// Lets others connect, or not.
    pub fn permit(&self, mode: u32) -> io::Result<()> {
        if self.is_there() {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path` with one socket that `shards` share. A socket file that nobody listens on any
/// more is replaced; anything else at that path is an error.
pub fn listen(path: &Path, mode: u32, shards: usize) -> io::Result<(SocketFile, Vec<OwnedFd>)> {
    make_room(path)?;
    // Made beside it and moved: the path never shows a socket with a mode that is not the wanted one.
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let socket = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(mode))?;
    fs::rename(&beside, path)?;
    let file = SocketFile { path: path.to_owned(), mark: mark(path)? };
    let first = OwnedFd::from(socket);
    let mut sockets = Vec::with_capacity(shards);
    for _ in 1..shards {
        sockets.push(first.try_clone()?);
    }
    sockets.push(first);
    Ok((file, sockets))
}

fn make_room(path: &Path) -> io::Result<()> {
    let Ok(data) = fs::symlink_metadata(path) else { return Ok(()) };
    if !data.file_type().is_socket() {
        let what = format!("{} exists and is no socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    if UnixStream::connect(path).is_ok() {
        let what = format!("another process listens on {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    }
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ringgate-{name}-{}.sock", std::process::id()))
    }

    #[test]
    fn a_socket_file_has_its_mode_and_goes_with_its_owner() {
        let path = scratch("mode");
        let (file, sockets) = listen(&path, MODE_DEFAULT, 2).expect("a socket");
        assert_eq!(sockets.len(), 2);
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, MODE_DEFAULT);
        let busy = listen(&path, MODE_DEFAULT, 1).expect_err("somebody listens");
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        drop((file, sockets));
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_another_took_is_left_to_it() {
        let path = scratch("taken");
        let (file, _sockets) = listen(&path, MODE_DEFAULT, 1).expect("a socket");
        fs::remove_file(&path).expect("somebody clears up");
        let _other = UnixListener::bind(&path).expect("and listens");
        file.permit(0o666).expect("nothing to be done");
        assert_ne!(fs::metadata(&path).expect("theirs").mode() & 0o777, 0o666);
        drop(file);
        assert!(path.exists(), "it is another's");
        fs::remove_file(&path).expect("cleaned up");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_not() {
        let path = scratch("stale");
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "it is stale now");
        let (file, _sockets) = listen(&path, MODE_DEFAULT, 1).expect("replaced");
        drop(file);
        fs::write(&path, "precious").expect("a file");
        let kept = listen(&path, MODE_DEFAULT, 1).expect_err("no socket");
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("kept"), b"precious");
        fs::remove_file(&path).expect("cleaned up");
    }
}
