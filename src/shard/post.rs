//! How other threads reach a shard: a few commands, and a bell that wakes it. Rare by design; what
//! shards tell each other goes by [`super::mail`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::blocks::Compression;
use super::census::Census;
use super::domain::Exchanged;
use super::http::Front;
use super::port::Driver;
use super::rt;
use super::tls::ServerTls;
use super::ways::Moves;
use crate::gateway::Transport;
use crate::gateway::settings::Settings;
use crate::gateway::token::KeySet;
use crate::wire::block::Codec;

/// What other threads may ask of a shard.
pub(super) enum Command {
    /// The answer to a dial.
    Dialed {
        ticket: u64,
        outcome: Result<Dialed, String>,
    },
    /// The answer to a dial: there is no socket, but something that drives a link.
    Driven {
        ticket: u64,
        driver: Driver,
    },
    /// What was dialled has ended by itself: a child's exit.
    Ended {
        ticket: u64,
        why: String,
    },
    /// The answer to an errand.
    TextRead {
        ticket: u64,
        text: Result<String, String>,
    },
    /// A client that was accepted elsewhere.
    Client {
        socket: OwnedFd,
        transport: Transport,
    },
    /// Other settings; the sender hears nothing but its end.
    Renew(Renewal, mpsc::Sender<()>),
    /// Other listeners; the sender as with [`Command::Renew`].
    Move(Moves, mpsc::Sender<()>),
    /// An issuer's keys were fetched.
    Keys(Arc<KeySet>),
    /// A token was granted for requests to an upstream.
    Token {
        upstream: usize,
        token: Arc<str>,
    },
    /// What came of a caller's token.
    Exchanged(Exchanged),
    /// What it has counted is wanted.
    Census(mpsc::Sender<Box<Census>>),
    Leave,
    Drain,
    Stop,
}

/// What a running shard may be told anew, all of it at once.
#[derive(Clone)]
pub struct Renewal {
    /// For the domain, see [`crate::gateway::Event::Settings`]; and the limits of links that are opened from now on
    /// and of waits that begin.
    pub settings: Arc<Settings>,
    /// For requests by HTTP that begin from now on.
    pub front: Arc<Front>,
    /// For connections that come from now on.
    pub tls: Option<Arc<ServerTls>>,
    /// Likewise: what they are given that ask for blocks.
    pub compression: Compression,
}

/// What a dial brought.
#[derive(Debug)]
pub struct Dialed {
    /// A connected stream socket, with TLS or without.
    pub socket: rt::Socket,
    /// Where to write, if that is another socket: a child has one for its input and one for its
    /// output.
    pub input: Option<OwnedFd>,
    /// Blocks of lines were agreed on.
    pub blocks: Option<Codec>,
    /// Whether [`Post::ended`] will tell how it ended; the link's end then waits for it a little.
    pub tells_its_end: bool,
}

/// Leads to one shard from any thread.
#[derive(Clone)]
pub struct Post {
    commands: mpsc::Sender<Command>,
    bell: Arc<Bell>,
}

impl Post {
    pub(super) fn new(bell: Arc<Bell>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel();
        (Self { commands, bell }, receiver)
    }

    /// The answer to a dial: a connected stream socket, or why there is none.
    pub fn dialed(&self, ticket: u64, outcome: Result<Dialed, String>) {
        self.send(Command::Dialed { ticket, outcome });
    }

    /// The answer to a dial whose link has no socket of its own.
    pub fn driven(&self, ticket: u64, driver: Driver) {
        self.send(Command::Driven { ticket, driver });
    }

    /// What was dialled under this ticket has ended, and how.
    pub fn ended(&self, ticket: u64, why: String) {
        self.send(Command::Ended { ticket, why });
    }

    /// Hands over a connected client.
    pub fn client(&self, socket: OwnedFd, transport: Transport) {
        self.send(Command::Client { socket, transport });
    }

    /// Has the shard go by other settings; `done` is dropped when it does, or has ended.
    pub fn renew(&self, renewal: Renewal, done: mpsc::Sender<()>) {
        self.send(Command::Renew(renewal, done));
    }

    /// Has the shard listen elsewhere; `done` as with [`Post::renew`].
    pub fn listen(&self, moves: Moves, done: mpsc::Sender<()>) {
        self.send(Command::Move(moves, done));
    }

    /// Hands over the keys that tokens must be signed by, as they were fetched just now.
    pub fn keys(&self, keys: Arc<KeySet>) {
        self.send(Command::Keys(keys));
    }

    /// Hands over the token for requests to an upstream, as `Authorization` has it.
    pub fn token(&self, upstream: usize, token: Arc<str>) {
        self.send(Command::Token { upstream, token });
    }

    /// Hands over what came of a caller's token.
    pub fn exchanged(&self, exchanged: Exchanged) {
        self.send(Command::Exchanged(exchanged));
    }

    /// Asks for a census; none comes from a shard that has ended.
    pub fn census(&self, sender: mpsc::Sender<Box<Census>>) {
        self.send(Command::Census(sender));
    }

    /// Asks for notice to be given, for `limits.notice`, and a drain after it.
    pub fn leave(&self) {
        self.send(Command::Leave);
    }

    /// Asks for a drain: no new clients, flights may finish, then the shard waits for the others.
    pub fn drain(&self) {
        self.send(Command::Drain);
    }

    /// Ends the shard: links are flushed and closed, for at most two seconds.
    pub fn stop(&self) {
        self.send(Command::Stop);
    }

    pub(super) fn text_read(&self, ticket: u64, text: Result<String, String>) {
        self.send(Command::TextRead { ticket, text });
    }

    fn send(&self, command: Command) {
        // A shard that has ended wants nothing any more.
        if self.commands.send(command).is_ok() {
            self.bell.ring();
        }
    }
}

/// Wakes a shard out of its wait for I/O, by a byte on a socketpair: that works alike with io_uring and
/// with epoll.
pub(super) struct Bell {
    /// Set by the shard before it looks at its mail for the last time; whoever clears it must ring.
    asleep: AtomicBool,
    socket: OwnedFd,
}

impl Bell {
    /// A bell, and the end that the shard listens on.
    pub(super) fn new() -> io::Result<(Arc<Self>, OwnedFd)> {
        let (socket, heard) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Arc::new(Self { asleep: AtomicBool::new(false), socket }), heard))
    }

    /// Wakes the shard whether or not it sleeps.
    pub(super) fn ring(&self) {
        match rustix::net::send(&self.socket, b"!", SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // A full socket holds a wake already; a closed one leads to a shard that has ended.
            Ok(_) | Err(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => tracing::error!(%error, "a shard cannot be woken"),
        }
    }

    /// Wakes the shard if it sleeps, after something was left for it; says whether it did. The fence
    /// pairs with the one in [`Bell::falls_asleep`]: either the shard sees what was left, or we see
    /// that it sleeps.
    pub(super) fn ring_if_asleep(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.ring();
            return true;
        }
        false
    }

    /// The shard is about to sleep; it must look at its mail once more after this.
    pub(super) fn falls_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(super) fn is_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
