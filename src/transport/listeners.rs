//! What a server listens on, and how that is changed while it runs: what is new is bound first, all of it or nothing;
//! then the shards are told. What becomes of the clients of a listener that is closed is `shard::ways`' business.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::server::Ends;
use super::unix::SocketFile;
use super::{tcp, unix};
use crate::gateway::Transport;
use crate::shard::{Door, Listening, Moves, Way, WayId};

/// Where clients come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Port 0 takes a free one.
    Tcp(SocketAddr),
    /// HTTP of all kinds, by the rules of [`super::ServerConfig::front`].
    Http(SocketAddr),
    /// As [`Listen::Tcp`] and [`Listen::Http`], over TLS, by [`super::ServerConfig::tls`].
    Tls(SocketAddr),
    Https(SocketAddr),
    /// HTTP whose requests are all sent to HTTPS on this port.
    Redirect {
        from: SocketAddr,
        to: u16,
    },
    /// `mode` of the socket's file.
    Unix {
        path: PathBuf,
        mode: u32,
    },
}

/// Where the server listens, as it turned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    Tcp(SocketAddr),
    Http(SocketAddr),
    Tls(SocketAddr),
    Https(SocketAddr),
    Redirect(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Http(address) | Self::Redirect(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Https(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// One listener that runs.
#[derive(Debug)]
struct Running {
    way: Way,
    listen: Listen,
    bound: Bound,
    file: Option<SocketFile>,
}

/// A listener that was asked for and cannot be had; nothing has changed.
#[derive(Debug)]
pub struct Unbound {
    /// Its place among those that were asked for.
    pub index: usize,
    pub error: io::Error,
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// What was bound and is not served yet. Dropped, it was never there.
#[derive(Debug)]
pub struct Prepared {
    running: Vec<Running>,
    moves: Vec<Moves>,
}

impl Prepared {
    /// Where those that are new listen.
    pub fn opened(&self) -> impl Iterator<Item = &Bound> {
        let first = self.moves.first();
        let is_new = move |it: &&Running| {
            first.is_some_and(|moves| {
                let mut opened = moves.opened.iter().map(|listening| listening.way.id);
                let mut became = moves.became.iter().map(|(_, way)| way.id);
                opened.any(|id| id == it.way.id) || became.any(|id| id == it.way.id)
            })
        };
        self.running.iter().filter(is_new).map(|it| &it.bound)
    }
}

/// All that run. Dropping it removes the files of sockets, and closes nothing.
#[derive(Debug)]
pub struct Listeners {
    running: Vec<Running>,
    shards: usize,
    /// Ways that were numbered so far.
    ways: u32,
}

impl Listeners {
    /// Binds everything; the sockets by shard.
    pub(super) fn bind(
        listens: &[Listen],
        shards: usize,
    ) -> io::Result<(Self, Vec<Vec<Listening>>)> {
        let mut none = Self { running: Vec::new(), shards, ways: 0 };
        let Prepared { running, moves } = none.prepare(listens).map_err(|unbound| unbound.error)?;
        none.running = running;
        Ok((none, moves.into_iter().map(|moves| moves.opened).collect()))
    }

    pub(super) fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.running.iter().map(|running| &running.bound)
    }

    /// Binds what runs not yet of `listens`, which is all that is to run. What runs goes on as it is meanwhile.
    pub fn prepare(&mut self, listens: &[Listen]) -> Result<Prepared, Unbound> {
        let mut prepared = Prepared { running: Vec::new(), moves: Vec::new() };
        prepared.moves.resize_with(self.shards, Moves::default);
        // Those that go on as what they are, first: the same address may be another listener's as well.
        let mut free: Vec<&Running> = self.running.iter().collect();
        let mut found: Vec<Option<&Running>> = Vec::new();
        for listen in listens {
            let same = free.iter().position(|it| it.listen == *listen);
            found.push(same.map(|at| free.remove(at)));
        }
        for ((index, listen), same) in listens.iter().enumerate().zip(found) {
            let place = || free.iter().position(|it| it.listen.is_at(listen));
            let (before, is_same) = match same {
                Some(running) => (Some(running), true),
                None => (place().map(|at| free.remove(at)), false),
            };
            self.ways += u32::from(!is_same);
            let own = Own { ways: self.ways, shards: self.shards, running: &self.running };
            let running = match before {
                Some(before) => own.goes_on(before, listen, is_same, &mut prepared.moves),
                None => own
                    .open(listen, &mut prepared.moves)
                    .map_err(|error| Unbound { index, error })?,
            };
            prepared.running.push(running);
        }
        for moves in &mut prepared.moves {
            moves.closed = free.iter().map(|running| running.way.id).collect();
        }
        Ok(prepared)
    }

    /// Has the server listen where that was prepared for, and nowhere else.
    pub fn go_by(&mut self, prepared: Prepared, server: &Ends) {
        let Prepared { mut running, moves } = prepared;
        for one in &mut running {
            let before = self.running.iter_mut().find(|it| it.bound == one.bound);
            let mut is_other = false;
            if let Some(before) = before.filter(|_| one.file.is_none()) {
                is_other = before.listen != one.listen;
                one.file = before.file.take();
            }
            if let (Listen::Unix { path, mode }, Some(file)) = (&one.listen, &one.file)
                && is_other
                && let Err(error) = file.permit(*mode)
            {
                tracing::error!(%error, path = %path.display(), "unix.mode stays as it was");
            }
        }
        server.listen(moves);
        // The files of sockets that nobody listens on any more go here.
        self.running = running;
    }
}

/// What a new listener is made beside.
struct Own<'a> {
    ways: u32,
    shards: usize,
    running: &'a [Running],
}

impl Own<'_> {
    /// The listener at the address of one that runs: the same, or with another door.
    fn goes_on(
        &self,
        before: &Running,
        listen: &Listen,
        is_same: bool,
        moves: &mut [Moves],
    ) -> Running {
        let (transport, door) = listen.way();
        let is_same_way = is_same || (before.way.transport, before.way.door) == (transport, door);
        let id = if is_same_way { before.way.id } else { WayId(self.ways) };
        let way = Way { id, transport, door };
        if !is_same_way {
            for moves in moves {
                moves.became.push((before.way.id, way));
            }
        }
        let bound = listen.bound_at(before.bound.address());
        Running { way, listen: listen.clone(), bound, file: None }
    }

    fn open(&self, listen: &Listen, moves: &mut [Moves]) -> io::Result<Running> {
        let (transport, door) = listen.way();
        let way = Way { id: WayId(self.ways), transport, door };
        let (bound, file, sockets) = match listen {
            Listen::Unix { path, mode } => {
                let (file, sockets) = unix::listen(path, *mode, self.shards)
                    .map_err(|error| at(&error, &path.display()))?;
                (listen.bound_at(None), Some(file), sockets)
            }
            Listen::Tcp(address)
            | Listen::Http(address)
            | Listen::Tls(address)
            | Listen::Https(address)
            | Listen::Redirect { from: address, .. } => {
                let mut own = self.running.iter().filter_map(|it| it.bound.address());
                let is_ours = own.any(|own| own.port() == address.port());
                let (address, sockets) = tcp::listen(*address, self.shards, is_ours)
                    .map_err(|error| at(&error, address))?;
                (listen.bound_at(Some(address)), None, sockets)
            }
        };
        for (moves, socket) in moves.iter_mut().zip(sockets) {
            moves.opened.push(Listening { socket, way });
        }
        Ok(Running { way, listen: listen.clone(), bound, file })
    }
}

impl Listen {
    /// What clients speak there, and what they meet first.
    const fn way(&self) -> (Transport, Door) {
        match self {
            Self::Tcp(_) => (Transport::Tcp, Door::Plain),
            Self::Tls(_) => (Transport::Tcp, Door::Tls),
            Self::Http(_) => (Transport::Http, Door::Plain),
            Self::Https(_) => (Transport::Http, Door::Tls),
            Self::Redirect { to, .. } => (Transport::Http, Door::Redirect(*to)),
            Self::Unix { .. } => (Transport::Unix, Door::Plain),
        }
    }

    const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address)
            | Self::Tls(address)
            | Self::Http(address)
            | Self::Https(address)
            | Self::Redirect { from: address, .. } => Some(*address),
            Self::Unix { .. } => None,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether both are at one address: then a socket can go from one to the other. Port 0 is another each time.
    fn is_at(&self, other: &Self) -> bool {
        let is_fixed = self.address().is_none_or(|address| address.port() != 0);
        is_fixed && (self.address(), self.path()) == (other.address(), other.path())
    }

    fn bound_at(&self, address: Option<SocketAddr>) -> Bound {
        let at = |asked: SocketAddr| address.unwrap_or(asked);
        match self {
            Self::Tcp(asked) => Bound::Tcp(at(*asked)),
            Self::Tls(asked) => Bound::Tls(at(*asked)),
            Self::Http(asked) => Bound::Http(at(*asked)),
            Self::Https(asked) => Bound::Https(at(*asked)),
            Self::Redirect { from, .. } => Bound::Redirect(at(*from)),
            Self::Unix { path, .. } => Bound::Unix(path.clone()),
        }
    }
}

impl Bound {
    const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address)
            | Self::Http(address)
            | Self::Tls(address)
            | Self::Https(address)
            | Self::Redirect(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

fn at(error: &io::Error, place: &dyn fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {place}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn numbers(prepared: &Prepared) -> (Vec<u32>, Vec<(u32, u32)>, Vec<u32>) {
        let Moves { opened, became, closed } = &prepared.moves[0];
        (
            opened.iter().map(|it| it.way.id.0).collect(),
            became.iter().map(|(before, way)| (before.0, way.id.0)).collect(),
            closed.iter().map(|id| id.0).collect(),
        )
    }

    #[test]
    fn what_stays_is_left_alone_and_the_rest_is_opened_and_closed() {
        let (mut all, sockets) =
            Listeners::bind(&[Listen::Tcp(any()), Listen::Http(any())], 2).expect("loopback");
        assert_eq!(sockets.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        let same = all.prepare(&[Listen::Tcp(any()), Listen::Http(any())]).expect("nothing new");
        assert_eq!(numbers(&same), (vec![], vec![], vec![]));
        let path = std::env::temp_dir().join(format!("ringgate-moves-{}", std::process::id()));
        let unix = Listen::Unix { path: path.clone(), mode: 0o600 };
        let moved = all.prepare(&[Listen::Http(any()), unix]).expect("one new");
        assert_eq!(numbers(&moved), (vec![3], vec![], vec![1]));
        assert_eq!(moved.opened().collect::<Vec<_>>(), [&Bound::Unix(path.clone())]);
        drop(moved);
        assert!(!path.exists(), "what was prepared and not used leaves nothing behind");
    }

    #[test]
    fn another_door_at_an_address_takes_its_socket_over() {
        let (mut all, _sockets) = Listeners::bind(&[Listen::Http(any())], 1).expect("loopback");
        let address = all.running[0].bound.address().expect("an address");
        all.running[0].listen = Listen::Http(address);
        let secure = all.prepare(&[Listen::Https(address)]).expect("nothing is bound");
        assert_eq!(numbers(&secure), (vec![], vec![(1, 2)], vec![]));
        assert_eq!(secure.opened().collect::<Vec<_>>(), [&Bound::Https(address)]);
        // On the same port, all addresses: the kernel lets a process share with itself alone.
        let wide = SocketAddr::from(([0, 0, 0, 0], address.port()));
        let moved = all.prepare(&[Listen::Http(wide)]).expect("the port is our own");
        assert_eq!(numbers(&moved), (vec![2 + 1], vec![], vec![1]));
    }

    #[test]
    fn one_that_cannot_be_bound_is_named_and_nothing_changes() {
        let (mut all, _sockets) = Listeners::bind(&[Listen::Tcp(any())], 1).expect("loopback");
        let (taken, _other) = tcp::listen(any(), 1, false).expect("loopback");
        let wanted = [Listen::Tcp(any()), Listen::Http(any()), Listen::Tls(taken)];
        let unbound = all.prepare(&wanted).expect_err("it is taken");
        assert_eq!((unbound.index, unbound.error.kind()), (2, io::ErrorKind::AddrInUse));
        assert!(unbound.to_string().contains(&taken.to_string()), "{unbound}");
        assert_eq!(all.running.len(), 1);
    }
}
