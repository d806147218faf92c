//! Where a server is just now: names are looked up by the system, each time that somebody connects, since a server that
//! has moved is found again only so. Looking up blocks, so a thread does it; its answer comes by a socketpair, which a
//! shard waits on as on any other. Whoever wants the same meanwhile waits for the same answer, and what was found, or
//! was not, is used again for a moment, so that a burst asks once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
#[expect(clippy::disallowed_types, reason = "how old an answer is; no test drives a resolver")]
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::gateway::settings::Host;
use crate::shard::rt;

/// How long an answer is good for.
const KEPT: Duration = Duration::from_secs(1);
/// An answer that is a reason why there is none begins so; no address does.
const WHY: char = '!';

/// A name and a port.
type Key = (Arc<str>, u16);

/// All addresses of a name, or why there are none.
type Found = Result<Rc<[SocketAddr]>, Rc<str>>;

enum Entry {
    /// Somebody asks; these wait for it too.
    Asked(Vec<Waker>),
    /// Since then.
    #[expect(clippy::disallowed_types, reason = "as above")]
    Known(Instant, Found),
}

thread_local! {
    /// What this shard has found last, of names that stand in configurations.
    static ENTRIES: RefCell<BTreeMap<Key, Entry>> = const { RefCell::new(BTreeMap::new()) };
}

#[expect(clippy::disallowed_types, reason = "as above")]
fn now() -> Instant {
    Instant::now()
}

/// All addresses of a host, in the order in which they are to be tried; at least one.
pub(super) async fn resolve(host: &Host) -> io::Result<Rc<[SocketAddr]>> {
    let key = match host {
        Host::At(address) => return Ok(Rc::from([*address])),
        Host::Named(name, port) => (Arc::clone(name), *port),
    };
    let known = poll_fn(|cx| {
        ENTRIES.with_borrow_mut(|all| match all.get_mut(&key) {
            Some(Entry::Known(at, found)) if at.elapsed() < KEPT => {
                Poll::Ready(Some(found.clone()))
            }
            Some(Entry::Asked(waiters)) => {
                waiters.push(cx.waker().clone());
                Poll::Pending
            }
            _ => {
                all.insert(key.clone(), Entry::Asked(Vec::new()));
                Poll::Ready(None)
            }
        })
    });
    let found = match known.await {
        Some(found) => found,
        None => ask(&key).await?,
    };
    // Without the name: callers hear of it, and it is the operator's to know, to whom the upstream's own says it.
    let error = |why| io::Error::new(io::ErrorKind::NotFound, format!("its name {why}"));
    found.map_err(error)
}

/// Asks the system, and tells those who wait.
async fn ask(key: &Key) -> io::Result<Found> {
    // Also if whoever asks does not wait any more: then the next asks.
    let mut asking = Asking { key, found: None };
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (answer, asked) = pair?;
    let builder = std::thread::Builder::new().name("resolver".to_owned());
    let (name, port) = key.clone();
    builder.spawn(move || look_up(&name, port, asked))?;
    let found = parse(&read_all(answer).await?);
    asking.found = Some(found.clone());
    Ok(found)
}

/// A question that is under way.
struct Asking<'a> {
    key: &'a Key,
    found: Option<Found>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let before = ENTRIES.with_borrow_mut(|all| match self.found.take() {
            Some(found) => all.insert(self.key.clone(), Entry::Known(now(), found)),
            None => all.remove(self.key),
        });
        if let Some(Entry::Asked(waiters)) = before {
            waiters.into_iter().for_each(Waker::wake);
        }
    }
}

/// On a thread of its own. Whoever asked may have gone meanwhile.
fn look_up(name: &str, port: u16, answer: OwnedFd) {
    let text = match (name, port).to_socket_addrs() {
        Ok(addresses) => {
            let lines: Vec<String> = addresses.map(|address| address.to_string()).collect();
            lines.join("\n")
        }
        Err(error) => format!("{WHY}{error}"),
    };
    let _ = File::from(answer).write_all(text.as_bytes());
}

async fn read_all(answer: OwnedFd) -> io::Result<String> {
    let mut reader = rt::adopt_reader(answer)?;
    let mut text = Vec::new();
    loop {
        let (read, bytes) = reader.read(Vec::with_capacity(512)).await;
        match read {
            Ok(0) => break,
            Ok(_) => text.extend_from_slice(&bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(text).map_err(io::Error::other)
}

fn parse(text: &str) -> Found {
    if let Some(why) = text.strip_prefix(WHY) {
        return Err(format!("cannot be resolved: {why}").into());
    }
    let found: Rc<[SocketAddr]> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if found.is_empty() { Err("has no address".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_addresses_in_their_order_or_a_reason() {
        let found = parse("[::1]:80\n127.0.0.1:80\n").expect("two");
        let addresses = ["[::1]:80", "127.0.0.1:80"].map(|it| it.parse().expect("an address"));
        assert_eq!(*found, addresses);
        assert_eq!(parse("!no such name"), Err("cannot be resolved: no such name".into()));
        assert_eq!(parse(""), Err("has no address".into()));
    }
}
