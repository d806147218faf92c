//! An HTTP domain of a few paths, and a client that blocks and shows what came over the wire.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::http::{Aim, Carried, Request, Verb};
use ringgate::gateway::keys::{Digest, Keys};
use ringgate::gateway::principal::Principals;
use ringgate::gateway::{Effect, Effects, Event, Mail, Report};
use ringgate::shard::Domain;
use ringgate::shard::rt::DriverChoice;
use ringgate::transport::{Bound, Listen, Server, ServerConfig};

use super::PATIENCE;

/// What a shard is asked by its paths:
/// `GET /hello` a text; `POST /echo` the body; `GET /big/N` N bytes; `GET /wait` nothing until
/// `POST /tell` answers all that wait with its body; `GET /stream` a stream that `POST /say` sends pieces
/// to and `POST /end` ends; `GET /flood` a stream that never ends while it can be written; `GET /gone`
/// how many exchanges were given up; `GET /blocked` how often one was blocked; `POST /elsewhere` the
/// body, sent by the next shard, `POST /elsewhere/stream` as a stream.
pub(crate) struct Web {
    pub me: ShardId,
    pub shards: u16,
    waiting: Vec<LinkId>,
    streams: Vec<LinkId>,
    floods: Vec<LinkId>,
    gone: usize,
    blocked: usize,
}

impl Web {
    fn new(me: ShardId, shards: u16) -> Self {
        Self {
            me,
            shards,
            waiting: Vec::new(),
            streams: Vec::new(),
            floods: Vec::new(),
            gone: 0,
            blocked: 0,
        }
    }

    fn exchange(&mut self, link: LinkId, request: &Request<'_>, out: &mut Effects) {
        match (request.verb, request.path) {
            (Verb::Get, "/hello") => respond(out, link, 200, b"hello, this is the front\n"),
            (Verb::Post, "/echo") => respond(out, link, 200, request.body),
            (Verb::Get, "/headers") => {
                let mut body = Vec::new();
                request.headers.for_each(&mut |name, value| {
                    body.extend_from_slice(name.to_ascii_lowercase().as_bytes());
                    body.push(b'=');
                    body.extend_from_slice(value);
                    body.push(b'\n');
                });
                respond(out, link, 200, &body);
            }
            (Verb::Get, "/wait") => self.waiting.push(link),
            (Verb::Post, "/tell") => {
                for waiting in self.waiting.drain(..) {
                    respond(out, waiting, 200, request.body);
                }
                respond(out, link, 202, b"");
            }
            (Verb::Get, "/stream") => {
                self.streams.push(link);
                out.push(Effect::Stream { link, headers: vec![("x-of", "stream".to_owned())] });
            }
            (Verb::Post, "/say") => {
                for &stream in &self.streams {
                    out.send_raw(stream, request.body);
                }
                respond(out, link, 202, b"");
            }
            (Verb::Post, "/end") => {
                for link in self.streams.drain(..) {
                    out.push(Effect::Close { link, why: "asked to" });
                }
                respond(out, link, 202, b"");
            }
            (Verb::Get, "/flood") => {
                self.floods.push(link);
                out.push(Effect::Stream { link, headers: Vec::new() });
                flood(link, out);
            }
            (Verb::Get, "/gone") => respond(out, link, 200, self.gone.to_string().as_bytes()),
            (Verb::Get, "/blocked") => respond(out, link, 200, self.blocked.to_string().as_bytes()),
            (Verb::Post, "/elsewhere" | "/elsewhere/stream") => {
                let to = ShardId((self.me.0 + 1) % self.shards);
                let aim = match request.path {
                    "/elsewhere" => Aim::Retry,
                    _ => Aim::End { session: "".into() },
                };
                let carried = Box::new(Carried {
                    shown: None,
                    principal: request.principal,
                    context: None,
                    aim,
                    body: request.body.into(),
                });
                out.push(Effect::Mail { to, mail: Mail::Exchange { link, carried } });
            }
            (Verb::Get, path) => match path.strip_prefix("/big/").and_then(|n| n.parse().ok()) {
                Some(bytes) => respond(out, link, 200, &vec![b'x'; bytes]),
                None => respond(out, link, 404, b"{}"),
            },
            _ => respond(out, link, 404, b"{}"),
        }
    }

    fn mail(mail: Mail, out: &mut Effects) {
        match mail {
            Mail::Exchange { link, carried } if carried.aim == Aim::Retry => {
                respond(out, link, 200, &carried.body);
            }
            Mail::Exchange { link, carried } => {
                out.push(Effect::Stream { link, headers: Vec::new() });
                out.send_raw(link, &carried.body);
                out.push(Effect::Close { link, why: "all was said" });
            }
            Mail::Respond { link, status, headers, bytes } => {
                let bytes = out.put(&bytes);
                out.push(Effect::Respond { link, status, headers, bytes });
            }
            Mail::Stream { link, headers } => out.push(Effect::Stream { link, headers }),
            Mail::Send { link, bytes } => out.send_raw(link, &bytes),
            Mail::Close { link, why } => out.push(Effect::Close { link, why }),
            _ => {}
        }
    }
}

/// As much as makes an outbox full.
fn flood(link: LinkId, out: &mut Effects) {
    out.send_raw(link, &vec![b'f'; 128 << 10]);
}

pub(crate) fn respond(out: &mut Effects, link: LinkId, status: u16, body: &[u8]) {
    let bytes = out.put(body);
    out.push(Effect::Respond { link, status, headers: Vec::new(), bytes });
}

impl Domain for Web {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Exchange { link, request } => self.exchange(link, &request, out),
            Event::Mail { mail, .. } => Self::mail(mail, out),
            Event::Blocked { .. } => self.blocked += 1,
            Event::Unblocked { link } if self.floods.contains(&link) => flood(link, out),
            Event::Closed { link, .. } => {
                self.gone += 1;
                self.waiting.retain(|it| *it != link);
                self.streams.retain(|it| *it != link);
                self.floods.retain(|it| *it != link);
            }
            Event::Drain => {
                for link in self.streams.drain(..) {
                    out.push(Effect::Close { link, why: "the gateway is draining" });
                }
                for waiting in self.waiting.drain(..) {
                    respond(out, waiting, 200, b"the last answer");
                }
                out.report(Report::Drained);
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

pub(crate) fn http(driver: DriverChoice, shards: u16) -> ServerConfig {
    let listens = vec![Listen::Http("127.0.0.1:0".parse().expect("an address"))];
    ServerConfig { listens, ..super::config(driver, shards) }
}

pub(crate) fn web(config: &ServerConfig) -> Server {
    let shards = config.shard_count();
    Server::start(config, move |me| Web::new(me, shards)).expect("the server starts")
}

/// As `web`, with limits changed.
pub(crate) fn web_with(
    driver: DriverChoice,
    change: impl FnOnce(&mut ringgate::base::limits::Limits),
) -> Server {
    web(&super::with_limits(http(driver, 1), change))
}

pub(crate) fn front(
    mut config: ServerConfig,
    change: impl FnOnce(&mut ringgate::shard::http::Front),
) -> ServerConfig {
    let mut front = (*config.front).clone();
    change(&mut front);
    config.front = Arc::new(front);
    config
}

/// A key, and what makes a server ask for it.
pub(crate) fn keyed() -> (String, impl Fn(ServerConfig) -> ServerConfig) {
    let key = ringgate::gateway::keys::key(&[7; 32]);
    let alice = Principals::default().acting_as("alice");
    let keys = Arc::new(Keys::new(vec![(Digest::of(key.as_bytes()), alice)]));
    (key, move |config| front(config, |front| front.keys = Some(Arc::clone(&keys))))
}

/// One connection.
pub(crate) struct Client {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

/// One answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Client {
    pub(crate) fn connect(server: &Server) -> Self {
        let Bound::Http(address) = server.bound()[0] else { panic!("the first listener is HTTP") };
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.write(get(path));
        self.answer()
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        self.write(post(path, body));
        self.answer()
    }

    /// The next answer as a whole.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.chunk() {
                answer.body.extend_from_slice(&piece);
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body = self.take(length.parse().expect("a length"));
        }
        answer
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            match self.rest.windows(4).position(|it| it == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.more() > 0, "the end, behind {:?}", self.shown()),
            }
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).expect("text");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        Answer { status, head, body: Vec::new() }
    }

    /// The next chunk; `None` for the last.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            match self.rest.windows(2).position(|it| it == b"\r\n") {
                Some(at) => break self.take(at + 2),
                None => assert!(self.more() > 0, "the end, behind {:?}", self.shown()),
            }
        };
        let size = std::str::from_utf8(&line).expect("text").trim_end();
        let size = usize::from_str_radix(size, 16).expect("a size");
        let mut data = self.take(size + 2);
        assert_eq!(data.split_off(size), b"\r\n");
        (size > 0).then_some(data)
    }

    /// Something has come; it is not taken.
    pub(crate) fn peek(&mut self) {
        assert!(!self.rest.is_empty() || self.more() > 0, "the end, before anything");
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.rest.len() < bytes {
            assert!(self.more() > 0, "the end, behind {:?}", self.shown());
        }
        self.rest.drain(..bytes).collect()
    }

    /// Everything up to the end of the connection, however it ends.
    pub(crate) fn end(mut self) -> Vec<u8> {
        while self.more() > 0 {}
        self.rest
    }

    /// What has been read and not taken, as far as one wants to see it.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.rest[..self.rest.len().min(200)]).into_owned()
    }

    fn more(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(n) => {
                self.rest.extend_from_slice(&buffer[..n]);
                n
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}, behind {:?}", self.shown()),
        }
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Asks `path` anew until the answer is `wanted`: for what another connection causes in its own time.
pub(crate) fn until(server: &Server, path: &str, wanted: &str) {
    let mut client = Client::connect(server);
    while client.get(path).text() != wanted {
        std::thread::yield_now();
    }
}
