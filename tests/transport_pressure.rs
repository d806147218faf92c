//! Proves that who does not read holds up its source and nothing else, whatever they speak: a client's own upstream is
//! not read while its client does not read, and goes on where it stopped. And that who stays so is given up, whatever
//! else its link waits for meanwhile, a WebSocket with a word why. What stops for clients is shown beside each
//! transport's other tests. On both drivers.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::base::{LinkId, Moment, Now};
use ringgate::gateway::lane::LaneKey;
use ringgate::gateway::settings::{EraPin, HttpTarget, Share, Speaks, Spread, Target, Upstream};
use ringgate::gateway::{Effect, Effects, Event, Report, Settings};
use ringgate::shard::rt::DriverChoice;
use ringgate::shard::{Domain, Renewal};
use ringgate::transport::nursery::Patience;
use ringgate::transport::{Bound, Listen, Server, ServerConfig};

use transport::web::{Client, get, http, web};
use transport::ws::*;
use transport::*;

const POUR: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#;
/// More of these than any kernel's buffers hold are asked for, and none of them by a test that hangs.
const LOOKS_MAX: usize = 200_000;

/// Once asked, says more than anybody wants to hear, whenever its outbox has room.
#[derive(Default)]
struct Fountain {
    is_stopped: Arc<AtomicBool>,
    /// An exchange: what is said are events.
    exchange: Option<LinkId>,
}

impl Fountain {
    fn pour(&self, link: LinkId, out: &mut Effects) {
        let (before, after) =
            if self.exchange == Some(link) { ("data: ", "\n\n") } else { ("", "\n") };
        let text = "x".repeat(1_000);
        let line = format!(
            r#"{before}{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":"{text}"}}}}{after}"#
        );
        out.send_raw(link, line.repeat(200).as_bytes());
    }
}

impl Domain for Fountain {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::Frame { link, .. } => self.pour(link, out),
            Event::Exchange { link, .. } => {
                self.exchange = Some(link);
                out.push(Effect::Stream { link, headers: Vec::new() });
                self.pour(link, out);
            }
            Event::Blocked { .. } => self.is_stopped.store(true, Ordering::SeqCst),
            Event::Unblocked { link } => {
                self.is_stopped.store(false, Ordering::SeqCst);
                self.pour(link, out);
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

/// Answers each frame by much, and is drained when its clients have left by themselves.
#[derive(Default)]
struct Loyal {
    clients: usize,
    is_draining: bool,
    has_begun: Arc<AtomicBool>,
}

impl Domain for Loyal {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::ClientOpened { .. } => self.clients += 1,
            Event::Closed { .. } => self.clients -= 1,
            Event::Frame { link, .. } => {
                out.send(link, |bytes| bytes.resize(bytes.len() + 16_000, b'x'));
            }
            Event::Drain => {
                self.is_draining = true;
                self.has_begun.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
        if self.is_draining && self.clients == 0 {
            out.report(Report::Drained);
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

/// Owes something to whoever says anything, for ever; `pay` is for who came first.
#[derive(Default)]
struct Debtor {
    first: Option<LinkId>,
    is_asked: Arc<AtomicBool>,
}

impl Domain for Debtor {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::ClientOpened { link, .. } => {
                self.first.get_or_insert(link);
            }
            Event::Frame { frame: b"pay", .. } => {
                let link = self.first.expect("somebody came first");
                // More than any kernel's buffers hold, and less than ends a link at once.
                out.send(link, |bytes| bytes.resize(bytes.len() + (48 << 20), b'x'));
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }

    fn owes(&self, link: LinkId) -> bool {
        if Some(link) == self.first {
            self.is_asked.store(true, Ordering::SeqCst);
        }
        true
    }
}

/// One client, one upstream, whose frames are counted: `dial`, `pour`, `hold`, `let go`, and `count` that tells.
#[derive(Default)]
struct Valve {
    client: Option<LinkId>,
    upstream: Option<LinkId>,
    frames: usize,
}

impl Domain for Valve {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        let say = |client: Option<LinkId>, text: String, out: &mut Effects| {
            out.send(client.expect("a client asked"), |bytes| bytes.extend(text.as_bytes()));
        };
        match event {
            Event::ClientOpened { link, .. } => self.client = Some(link),
            Event::Frame { link, .. } if Some(link) == self.upstream => self.frames += 1,
            Event::Frame { frame, .. } => match (frame, self.upstream) {
                (b"pour", Some(link)) => out.send(link, |bytes| bytes.extend_from_slice(POUR)),
                (b"hold", Some(link)) => out.push(Effect::Pause { link }),
                (b"let go", Some(link)) => out.push(Effect::Resume { link }),
                (b"count", _) => say(self.client, self.frames.to_string(), out),
                _ => out.push(Effect::Dial { lane: LaneKey::from_bits(7), endpoint: 0 }),
            },
            Event::Dialed { link, .. } => {
                self.upstream = Some(link);
                say(self.client, "dialed".to_owned(), out);
            }
            Event::DialFailed { why, .. } => say(self.client, why.to_owned(), out),
            Event::Closed { link, why } if Some(link) == self.upstream => {
                say(self.client, format!("closed: {why}"), out);
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

struct Talk {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Talk {
    fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).expect("the server reads");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn count(&mut self) -> usize {
        self.say("count");
        let heard = self.hear();
        heard.parse().unwrap_or_else(|_| panic!("{heard}"))
    }
}

/// An upstream that never ends is held up and let go.
fn is_held_up(driver: DriverChoice, target: Target, stops: impl Fn() -> bool) {
    let what = format!("{driver:?} {target:?}");
    let upstream = Upstream {
        name: "there".to_owned(),
        prefix: String::new(),
        target,
        era: EraPin::Auto,
        share: Share::Auto,
        warm: false,
        spread: Spread::default(),
    };
    let quick = Duration::from_millis(50);
    let config = ServerConfig {
        upstreams: Arc::from([upstream]),
        patience: Patience { close: quick, term: quick },
        ..config(driver, 1)
    };
    let server = Server::start(&config, |_| Valve::default()).expect("the server starts");
    let stream = connect(&server);
    let answers = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut talk = Talk { stream, answers };
    talk.say("dial");
    assert_eq!(talk.hear(), "dialed", "{what}");
    talk.say("pour");
    for round in 0..3 {
        let before = talk.count();
        let flows = (0..LOOKS_MAX).any(|_| talk.count() > before + 1_000);
        assert!(flows, "{what}: nothing comes in round {round}");
        talk.say("hold");
        let mut last = talk.count();
        // As long as others take a hundred answers it stands still, and so does who speaks.
        let mut same = 0;
        let stands = (0..LOOKS_MAX).any(|_| {
            let now = talk.count();
            same = if now == last && stops() { same + 1 } else { 0 };
            last = now;
            same > 100
        });
        assert!(stands, "{what}: it is read on in round {round}");
        talk.say("let go");
    }
    drop(talk);
    finish(server);
}

fn fountain(driver: DriverChoice) -> (Server, Arc<AtomicBool>) {
    let listens = vec![
        Listen::Tcp("127.0.0.1:0".parse().expect("an address")),
        Listen::Http("127.0.0.1:0".parse().expect("an address")),
    ];
    let is_stopped = Arc::<AtomicBool>::default();
    let config = with_limits(ServerConfig { listens, ..http(driver, 1) }, |limits| {
        limits.blocked = PATIENCE;
    });
    let seen = Arc::clone(&is_stopped);
    let server =
        Server::start(&config, move |_| Fountain { is_stopped: Arc::clone(&seen), exchange: None });
    (server.expect("the server starts"), is_stopped)
}

#[test]
fn an_upstream_of_a_client_that_does_not_read_is_not_read_either_whatever_it_speaks() {
    for driver in DRIVERS {
        for way in ["tcp", "websocket", "http", "http2"] {
            let (server, is_stopped) = fountain(driver);
            let [tcp, web] = [0, 1].map(|at| match server.bound()[at] {
                Bound::Tcp(address) | Bound::Http(address) => address,
                _ => panic!("no address"),
            });
            let target = |path: &str| HttpTarget {
                address: web.into(),
                host: "localhost".to_owned(),
                path: path.to_owned(),
                headers: Vec::new(),
                speaks: Speaks::StreamableHttp,
                is_http2: way == "http2",
                packs: false,
                trust: None,
            };
            let target = match way {
                "tcp" => Target::Tcp { address: tcp.into() },
                "websocket" => Target::WebSocket(target("/ws")),
                _ => Target::Http(target("/mcp")),
            };
            is_held_up(driver, target, || is_stopped.load(Ordering::SeqCst));
            finish(server);
        }
    }
}

#[test]
fn a_child_of_a_client_that_does_not_read_is_not_read_either() {
    for driver in DRIVERS {
        let line = "x".repeat(1_000);
        let target = Target::Stdio {
            command: "/bin/sh".to_owned(),
            args: vec!["-c".to_owned(), format!("read line; exec yes {line}")],
            env: BTreeMap::new(),
            cwd: None,
        };
        is_held_up(driver, target, || true);
    }
}

/// How the server of these tests gives up who does not read: soon, or for nothing else within a test's time.
fn impatient(config: ServerConfig, outbox_bytes_max: usize) -> ServerConfig {
    with_limits(config, |limits| {
        (limits.outbox_bytes_max, limits.outbox_bytes_hard_max) = (outbox_bytes_max, 96 << 20);
        limits.blocked = Duration::from_millis(300);
        (limits.head, limits.body, limits.keep_alive) = (PATIENCE * 9, PATIENCE * 9, PATIENCE * 9);
    })
}

/// Waits until so many were given up. A test that waits for one in vain is ended by its runner.
fn given_up(server: &Server, links: u64) {
    while count(server, "closed_slow") < links {
        std::thread::yield_now();
    }
    assert_eq!(count(server, "closed_slow"), links, "each is counted once");
}

/// Asks for more than any buffers hold, and takes nothing.
fn ask_for_too_much(stream: &mut TcpStream, ask: &[u8]) {
    for _ in 0..2_000 {
        if stream.write_all(ask).is_err() {
            break;
        }
    }
}

/// The code that a WebSocket is closed with, behind whatever was under way.
fn code(mut ws: Ws) -> u16 {
    loop {
        match ws.next() {
            (TEXT, _) => {}
            (CLOSE, code) => break u16::from_be_bytes(code.try_into().expect("a code")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_websocket_that_is_given_up_is_told_to_try_later_once_it_reads() {
    for driver in DRIVERS {
        let server = echo(&impatient(http(driver, 1), 64 << 10));
        let mut slow = Ws::connect(&server);
        ask_for_too_much(&mut slow.0.stream, &frame(TEXT, true, b"big 16000"));
        given_up(&server, 1);
        assert_eq!(code(slow), 1013, "{driver:?}");
        finish(server);
    }
}

#[test]
fn a_websocket_that_is_given_up_while_the_gateway_drains_is_told_that_it_goes_away() {
    for driver in DRIVERS {
        let has_begun = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&has_begun);
        let server = Server::start(&impatient(http(driver, 1), 64 << 10), move |_| Loyal {
            has_begun: Arc::clone(&seen),
            ..Loyal::default()
        });
        let server = server.expect("the server starts");
        let mut slow = Ws::connect(&server);
        server.drain();
        while !has_begun.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        ask_for_too_much(&mut slow.0.stream, &frame(TEXT, true, b"more"));
        given_up(&server, 1);
        assert_eq!(code(slow), 1001, "{driver:?}");
        server.join().expect("the shards end well");
    }
}

#[test]
fn a_websocket_whose_message_is_over_a_bound_that_was_lowered_meanwhile_is_closed_with_a_code() {
    // More than any kernel's buffers hold, so that the rest of it is still to be written.
    const BIG: usize = 48 << 20;
    for driver in DRIVERS {
        let config = with_limits(http(driver, 1), |limits| limits.outbox_bytes_hard_max = 2 * BIG);
        let server = echo(&config);
        let mut slow = Ws::connect(&server);
        slow.send(TEXT, format!("big {BIG}").as_bytes());
        slow.0.peek();
        let mut limits = Limits::DEFAULT;
        limits.outbox_bytes_hard_max = 1 << 20;
        server.ends().renew(&Renewal {
            settings: Arc::new(Settings { limits, ..Settings::default() }),
            front: Arc::clone(&config.front),
            tls: None,
            compression: config.compression,
        });
        server.drain();
        assert_eq!(code(slow), 1001, "{driver:?}");
        server.join().expect("the shards end well");
    }
}

#[test]
fn who_asks_in_halves_and_then_reads_nothing_is_given_up_nevertheless() {
    for driver in DRIVERS {
        // Much may wait, so that it stays behind with what the kernel takes at once.
        let server = web(&impatient(http(driver, 1), 8 << 20));
        let mut slow = Client::connect(&server);
        let mut asking = slow.stream.try_clone().expect("a second handle");
        // What is read at once ends within a request nearly always: the time for its rest begins, and ends.
        let asks = get("/big/16000").repeat(64);
        let asker = std::thread::Builder::new()
            .spawn(move || while asking.write_all(asks.as_bytes()).is_ok() {})
            .expect("a thread");
        // It is behind all the time, and takes little at once: so it is stopped and let go on many times.
        let mut taken = 0;
        while taken < 96 << 20 {
            match slow.stream.read(&mut [0; 4 << 10]) {
                Ok(n @ 1..) => taken += n,
                _ => break,
            }
        }
        given_up(&server, 1);
        asker.join().expect("nobody takes more of it");
        finish(server);
    }
}

#[test]
fn who_says_no_more_and_is_owed_something_that_it_does_not_read_is_given_up() {
    for driver in DRIVERS {
        let config = impatient(config(driver, 1), 64 << 10);
        let is_asked = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&is_asked);
        let server = Server::start(&config, move |_| Debtor {
            is_asked: Arc::clone(&seen),
            ..Debtor::default()
        });
        let server = server.expect("the server starts");
        let mut slow = connect(&server);
        write(&mut slow, b"hello\n");
        slow.shutdown(Shutdown::Write).expect("half-closed");
        while !is_asked.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        write(&mut connect(&server), b"pay\n");
        given_up(&server, 1);
        drop(slow);
        finish(server);
    }
}
