//! Errands: work that may block, done beside the shard by one helper thread of its own. Today only
//! reading a text file for the built-in upstream. Started when the first errand comes.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc;

use super::post::Post;
use crate::base::ShardId;

struct Errand {
    ticket: u64,
    folder: String,
    path: String,
}

/// A shard's helper.
pub(super) struct Errands {
    shard: ShardId,
    post: Post,
    /// As it was when the helper was started.
    pub(super) bytes_max: usize,
    helper: Option<mpsc::Sender<Errand>>,
}

impl Errands {
    /// A text longer than `bytes_max` is refused: it would not fit a frame.
    pub(super) const fn new(shard: ShardId, post: Post, bytes_max: usize) -> Self {
        Self { shard, post, bytes_max, helper: None }
    }

    /// Reads the file at `path` in `folder`; the answer comes by post under the same ticket.
    pub(super) fn read_text(&mut self, ticket: u64, folder: String, path: String) {
        let helper = match &self.helper {
            Some(helper) => helper,
            None => match self.start() {
                Ok(helper) => self.helper.insert(helper),
                Err(error) => {
                    return self.post.text_read(ticket, Err(format!("no helper thread: {error}")));
                }
            },
        };
        if helper.send(Errand { ticket, folder, path }).is_err() {
            self.helper = None;
            self.post.text_read(ticket, Err("the helper thread has ended".to_owned()));
        }
    }

    fn start(&self) -> std::io::Result<mpsc::Sender<Errand>> {
        let (sender, errands) = mpsc::channel::<Errand>();
        let (post, bytes_max) = (self.post.clone(), self.bytes_max);
        std::thread::Builder::new().name(format!("errand-{}", self.shard.0)).spawn(move || {
            while let Ok(errand) = errands.recv() {
                let text = read(Path::new(&errand.folder), &errand.path, bytes_max);
                post.text_read(errand.ticket, text);
            }
        })?;
        Ok(sender)
    }
}

fn read(folder: &Path, path: &str, bytes_max: usize) -> Result<String, String> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    // A link in the folder may lead out of it; what it leads to is what is read.
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let path = folder.join(path).canonicalize().map_err(|error| error.to_string())?;
    if !path.starts_with(&folder) {
        return Err("it lies outside of the folder".to_owned());
    }
    // Asked before it is opened: opening a pipe waits for its other end.
    if !std::fs::metadata(&path).map_err(|error| error.to_string())?.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut limited = file.take(limit.saturating_add(1));
    limited.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() > bytes_max {
        return Err(format!("longer than frame_bytes_max ({bytes_max} bytes)"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_no_file_outside_of_the_folder() {
        let name = format!("ringgate-errand-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("in.txt"), "inside").expect("a file");
        std::os::unix::fs::symlink("in.txt", folder.join("link.txt")).expect("a link");
        std::os::unix::fs::symlink("/etc/hostname", folder.join("out.txt")).expect("a link");
        assert_eq!(read(&folder, "in.txt", 100).as_deref(), Ok("inside"));
        assert_eq!(read(&folder, "link.txt", 100).as_deref(), Ok("inside"));
        assert!(read(&folder, "out.txt", 100).is_err_and(|why| why.contains("outside")));
        assert!(read(&folder, "../x", 100).is_err());
        assert!(read(&folder, "in.txt", 3).is_err_and(|why| why.contains("frame_bytes_max")));
        std::fs::remove_dir_all(&folder).expect("it was made here");
    }
}
