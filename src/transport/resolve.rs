//! Where a server is just now: names are looked up by the system, each time that somebody connects, since a server that
//! has moved is found again only so. Looking up blocks, so a thread does it; its answer comes by a socketpair, which a
//! shard waits on as on any other. What was found is used again for a moment, so that a burst asks once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
#[expect(clippy::disallowed_types, reason = "how old an answer is; no test drives a resolver")]
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::gateway::settings::Host;
use crate::shard::rt;

/// How long an answer is good for.
const KEPT: Duration = Duration::from_secs(1);
/// An answer that is a reason why there is none begins so; no address does.
const WHY: char = '!';

/// Addresses of a name, and when they were found.
#[expect(clippy::disallowed_types, reason = "as above")]
type Found = (Instant, Rc<[SocketAddr]>);

thread_local! {
    /// What this shard has found last, of names that stand in configurations.
    static FOUND: RefCell<BTreeMap<(Arc<str>, u16), Found>> = const { RefCell::new(BTreeMap::new()) };
}

#[expect(clippy::disallowed_types, reason = "as above")]
fn now() -> Instant {
    Instant::now()
}

/// All addresses of a host, in the order in which they are to be tried; at least one.
pub(super) async fn resolve(host: &Host) -> io::Result<Rc<[SocketAddr]>> {
    let (name, port) = match host {
        Host::At(address) => return Ok(Rc::from([*address])),
        Host::Named(name, port) => (Arc::clone(name), *port),
    };
    let key = (Arc::clone(&name), port);
    if let Some((at, found)) = FOUND.with_borrow(|all| all.get(&key).cloned())
        && at.elapsed() < KEPT
    {
        return Ok(found);
    }
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (answer, asked) = pair?;
    let builder = std::thread::Builder::new().name("resolver".to_owned());
    builder.spawn(move || look_up(&name, port, asked))?;
    let text = read_all(answer).await?;
    let found = parse(&text).map_err(|why| {
        // Without the name: callers hear of it, and it is the operator's to know, to whom the upstream's own says it.
        io::Error::new(io::ErrorKind::NotFound, format!("its name cannot be resolved: {why}"))
    })?;
    FOUND.with_borrow_mut(|all| all.insert(key, (now(), Rc::clone(&found))));
    Ok(found)
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

fn parse(text: &str) -> Result<Rc<[SocketAddr]>, String> {
    if let Some(why) = text.strip_prefix(WHY) {
        return Err(why.to_owned());
    }
    let found: Rc<[SocketAddr]> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_addresses_in_their_order_or_a_reason() {
        let found = parse("[::1]:80\n127.0.0.1:80\n").expect("two");
        let addresses = ["[::1]:80", "127.0.0.1:80"].map(|it| it.parse().expect("an address"));
        assert_eq!(*found, addresses);
        assert_eq!(parse("!no such name"), Err("no such name".to_owned()));
        assert_eq!(parse(""), Err("it has no address".to_owned()));
    }
}
