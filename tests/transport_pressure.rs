//! Proves that who does not read holds up its source and nothing else, whatever they speak: a client's own upstream is
//! not read while its client does not read, and goes on where it stopped; a WebSocket that is given up is told so. What
//! stops for clients is shown beside each transport's other tests. On both drivers.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringgate::base::{LinkId, Moment, Now};
use ringgate::gateway::lane::LaneKey;
use ringgate::gateway::settings::{EraPin, HttpTarget, Share, Speaks, Spread, Target, Upstream};
use ringgate::gateway::{Effect, Effects, Event, Report};
use ringgate::shard::Domain;
use ringgate::shard::rt::DriverChoice;
use ringgate::transport::nursery::Patience;
use ringgate::transport::{Bound, Listen, Server, ServerConfig};

use transport::web::http;
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

#[test]
fn a_websocket_that_is_given_up_is_told_to_try_later_once_it_reads() {
    for driver in DRIVERS {
        let limited = with_limits(http(driver, 1), |limits| {
            limits.outbox_bytes_max = 64 << 10;
            limits.blocked = Duration::from_millis(300);
        });
        let server = echo(&limited);
        let mut slow = Ws::connect(&server);
        let ask = frame(TEXT, true, b"big 16000");
        for _ in 0..2_000 {
            if slow.0.stream.write_all(&ask).is_err() {
                break;
            }
        }
        while count(&server, "closed_slow") == 0 {
            std::thread::yield_now();
        }
        let code = loop {
            match slow.next() {
                (TEXT, _) => {}
                (CLOSE, code) => break code,
                other => panic!("{driver:?}: {other:?}"),
            }
        };
        assert_eq!(code, 1013_u16.to_be_bytes(), "{driver:?}");
        drop(slow);
        assert_eq!(count(&server, "closed_slow"), 1, "{driver:?}: it is counted once");
        finish(server);
    }
}
