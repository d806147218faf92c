//! What the transport tests share: both drivers, a few small domains, and clients that block.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

pub(crate) mod blocks;
pub(crate) mod h2;
pub(crate) mod tls;
pub(crate) mod web;
pub(crate) mod ws;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::{Effects, Event, Report};
use ringgate::shard::Domain;
use ringgate::shard::rt::DriverChoice;
use ringgate::transport::{Bound, Listen, Server, ServerConfig};

/// Every test runs on both. Where io_uring is forbidden, its half fails rather than passes unseen.
pub(crate) const DRIVERS: [DriverChoice; 2] = [DriverChoice::IoUring, DriverChoice::Epoll];

/// Long enough that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config(driver: DriverChoice, shards: u16) -> ServerConfig {
    ServerConfig {
        listens: vec![Listen::Tcp("127.0.0.1:0".parse().expect("an address"))],
        shards: Some(shards),
        // Tests run beside each other.
        pin: false,
        driver,
        ring_entries: 256,
        ..ServerConfig::default()
    }
}

pub(crate) fn with_limits(
    mut config: ServerConfig,
    change: impl FnOnce(&mut Limits),
) -> ServerConfig {
    let mut limits = Limits::DEFAULT;
    change(&mut limits);
    config.limits = Arc::new(limits);
    config
}

pub(crate) fn connect(server: &Server) -> TcpStream {
    let Bound::Tcp(address) = server.bound()[0] else { panic!("the first listener is TCP") };
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

pub(crate) fn finish(server: Server) {
    server.drain();
    server.join().expect("the shards end well");
}

/// The sum of a counter over all shards.
pub(crate) fn count(server: &Server, name: &str) -> u64 {
    let of = |read: Vec<(&'static str, u64)>| read.into_iter().find(|(n, _)| *n == name);
    server.meters().iter().map(|meter| of(meter.read()).expect("a counter").1).sum()
}

/// The same once the server has ended, when all is counted.
pub(crate) fn count_after(server: Server, name: &str) -> u64 {
    let meters = server.meters().to_vec();
    finish(server);
    let of = |read: Vec<(&'static str, u64)>| read.into_iter().find(|(n, _)| *n == name);
    meters.iter().map(|meter| of(meter.read()).expect("a counter").1).sum()
}

/// Everything up to the end of the stream.
pub(crate) fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the peer closes in order");
    all
}

pub(crate) fn lines(stream: TcpStream) -> impl Iterator<Item = String> {
    BufReader::new(stream).lines().map(|line| line.expect("a line"))
}

pub(crate) fn write(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the server reads");
}

/// Answers each line by itself; a line `big N` by N bytes; `close` by a last word and the end;
/// `panic` by a panic.
#[derive(Default)]
pub(crate) struct Echo {
    pub owed: Vec<LinkId>,
}

impl Domain for Echo {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Frame { link, frame: b"close" } => {
                out.send(link, |bytes| bytes.extend_from_slice(b"bye"));
                out.push(ringgate::gateway::Effect::Close { link, why: "asked to" });
            }
            Event::Frame { frame: b"panic", .. } => panic!("asked to"),
            Event::Frame { link, frame } => {
                let big = frame.strip_prefix(b"big ").and_then(|n| std::str::from_utf8(n).ok());
                match big.and_then(|n| n.parse::<usize>().ok()) {
                    Some(n) => out.send(link, |bytes| bytes.resize(bytes.len() + n, b'x')),
                    None => out.send(link, |bytes| bytes.extend_from_slice(frame)),
                }
            }
            Event::Overlong { link } => {
                out.send(link, |bytes| bytes.extend_from_slice(b"frame_bytes_max"));
                out.push(ringgate::gateway::Effect::Close { link, why: "frame_bytes_max" });
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

pub(crate) fn echo(config: &ServerConfig) -> Server {
    Server::start(config, |_: ShardId| Echo::default()).expect("the server starts")
}

/// Sends every frame back as it is.
struct Mirror;

impl Domain for Mirror {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Frame { link, frame } => out.send_raw(link, frame),
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

pub(crate) fn mirror(config: &ServerConfig) -> Server {
    Server::start(config, |_: ShardId| Mirror).expect("the server starts")
}
