//! Proves that upstreams are reached over TCP, Unix sockets and as children; that their ends are told;
//! and that no child outlives the server, not even one that ignores SIGTERM. On both drivers.
#![allow(clippy::disallowed_types, reason = "the clients of these tests are plain blocking ones")]

mod transport;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::base::{LinkId, Moment, Now};
use ringgate::gateway::lane::LaneKey;
use ringgate::gateway::settings::{
    EraPin, HttpTarget, Pin, Share, Speaks, Spread, Target, Trust, Upstream,
};
use ringgate::gateway::{Effect, Effects, Event, Report};
use ringgate::shard::Domain;
use ringgate::shard::rt::DriverChoice;
use ringgate::transport::nursery::Patience;
use ringgate::transport::{Server, ServerConfig};
use ringgate::wire::coding::{Coding, Encoder};

use transport::*;

/// One client, one upstream. `dial` reaches upstream 0, `hang up` closes it; every other line goes to
/// the upstream, and its lines come back. What happens to the upstream is told to the client.
#[derive(Default)]
struct Relay {
    client: Option<LinkId>,
    upstream: Option<LinkId>,
}

impl Relay {
    fn tell(&self, text: &str, out: &mut Effects) {
        if let Some(client) = self.client {
            out.send(client, |bytes| bytes.extend_from_slice(text.as_bytes()));
        }
    }
}

impl Domain for Relay {
    fn handle(&mut self, _now: Now, event: Event<'_>, out: &mut Effects) {
        match event {
            Event::ClientOpened { link, .. } => self.client = Some(link),
            Event::Frame { link, frame } if Some(link) == self.upstream => {
                let client = self.client.expect("a client asked");
                out.send(client, |bytes| bytes.extend_from_slice(frame));
            }
            Event::Frame { frame: b"dial", .. } => {
                let lane = LaneKey::from_bits(7);
                out.push(Effect::Dial { lane, endpoint: 0 });
            }
            Event::Frame { frame: b"hang up", .. } => {
                let link = self.upstream.expect("it was dialled");
                out.push(Effect::Close { link, why: "hung up" });
            }
            Event::Frame { frame, .. } => {
                if let Some(upstream) = self.upstream {
                    out.send(upstream, |bytes| bytes.extend_from_slice(frame));
                }
            }
            Event::Dialed { link, .. } => {
                self.upstream = Some(link);
                self.tell("dialed", out);
            }
            Event::Undelivered { id, why, .. } => {
                self.tell(&format!("undelivered {id}: {why}"), out);
            }
            Event::DialFailed { why, .. } => self.tell(&format!("failed: {why}"), out),
            Event::Closed { link, why } if Some(link) == self.upstream => {
                self.upstream = None;
                self.tell(&format!("closed: {why}"), out);
            }
            Event::Drain => out.report(Report::Drained),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }
}

fn to(driver: DriverChoice, target: Target) -> ServerConfig {
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
    ServerConfig {
        upstreams: Arc::from([upstream]),
        patience: Patience { close: quick, term: quick },
        ..config(driver, 1)
    }
}

fn shell(script: &str) -> Target {
    Target::Stdio {
        command: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        cwd: Some("/".into()),
    }
}

/// A talk with a relay: what is sent, and what must come back, line by line.
fn talk(config: &ServerConfig, steps: &[(&str, &[&str])]) {
    let server = Server::start(config, |_| Relay::default()).expect("the server starts");
    let mut stream = connect(&server);
    let mut answers = lines(stream.try_clone().expect("a second handle"));
    for (say, hear) in steps {
        if !say.is_empty() {
            write(&mut stream, format!("{say}\n").as_bytes());
        }
        for expected in *hear {
            let line = answers.next().expect("an answer");
            assert!(line.starts_with(expected), "{say:?}: {line:?} instead of {expected:?}");
        }
    }
    finish(server);
}

/// Whether a process with this number is there and is no zombie.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    status.is_ok_and(|text| !text.contains(") Z "))
}

#[test]
fn an_upstream_on_tcp_is_reached_and_its_end_is_told() {
    for driver in DRIVERS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let upstream = std::thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = listener.accept().expect("dialled");
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
                reader.read_line(&mut line).expect("a line");
                stream.write_all(format!("got {line}last words").as_bytes()).expect("read");
                stream.write_all(b"\n").expect("read");
            })
            .expect("a thread");
        talk(
            &to(driver, Target::Tcp { address: address.into() }),
            &[("dial", &["dialed"]), ("x", &["got x", "last words", "closed: the peer closed it"])],
        );
        upstream.join().expect("the upstream ends");
    }
}

/// An HTTP server that answers each request on one connection with the next of these: head and body.
fn http_upstream(
    answers: Vec<Vec<u8>>,
) -> (std::net::SocketAddr, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let thread = std::thread::Builder::new().spawn(move || {
        let (mut stream, _) = listener.accept().expect("dialled");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut heads = Vec::new();
        for answer in answers {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a line") > 0, "no request came");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().expect("a length"));
            reader.read_exact(&mut vec![0; length]).expect("a body");
            heads.push(head);
            stream.write_all(&answer).expect("read");
        }
        heads
    });
    (address, thread.expect("a thread"))
}

fn http_target(address: std::net::SocketAddr) -> HttpTarget {
    HttpTarget {
        address: address.into(),
        host: "there".to_owned(),
        path: "/mcp".to_owned(),
        headers: Vec::new(),
        speaks: Speaks::StreamableHttp,
        is_http2: false,
        packs: true,
        trust: None,
    }
}

/// A body in chunks of so many bytes, behind a head that says so.
fn chunked(headers: &str, body: &[u8], step: usize) -> Vec<u8> {
    let mut all =
        format!("HTTP/1.1 200 OK\r\n{headers}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.chunks(step) {
        all.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        all.extend(piece);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\n\r\n");
    all
}

#[test]
fn a_servers_answers_are_decoded_as_they_come_and_within_the_bound() {
    let coded = |coding, body: &str| {
        Encoder::default().body(coding, body.as_bytes(), true).expect("it can be").to_vec()
    };
    let said = |id: u32| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"{id}\"}}");
    let json = |encoding: &str, body: &[u8]| {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {encoding}\r\n");
        chunked(&headers, body, 5)
    };
    let events = format!("data: {}\n\n", said(3));
    let stream = "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n";
    // A frame for each event, as libraries write them that end one where they are flushed.
    let many = "content-type: text/event-stream\r\ncontent-encoding: zstd\r\n";
    let mut frames = coded(Coding::Zstd, ": still at it\n\n").repeat(100);
    frames.extend(coded(Coding::Zstd, &format!("data: {}\n\n", said(4))));
    for driver in DRIVERS {
        let (address, upstream) = http_upstream(vec![
            json("gzip", &coded(Coding::Gzip, &said(1))),
            json("zstd", &coded(Coding::Zstd, &said(2))),
            chunked(stream, &coded(Coding::Gzip, &events), 3),
            chunked(many, &frames, 100),
            json("zstd", &coded(Coding::Zstd, &" ".repeat(8 << 20))),
        ]);
        let target = http_target(address);
        let ask = |id: u32| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}");
        talk(
            &to(driver, Target::Http(target)),
            &[
                ("dial", &["dialed"]),
                (&ask(1), &[&said(1)]),
                (&ask(2), &[&said(2)]),
                (&ask(3), &[&said(3)]),
                (&ask(4), &[&said(4)]),
                (&ask(5), &["undelivered 5: the server cannot be reached: the response is larger"]),
            ],
        );
        for head in upstream.join().expect("the upstream ends") {
            assert!(head.contains("accept-encoding: zstd, gzip\r\n"), "{driver:?}: {head}");
        }
    }
}

/// An HTTP server that does what the method of a request says, and never ends anything by itself. It tells what it was
/// asked, and what was asked last on a connection that the other side has closed.
fn tenacious_upstream() -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (tell, told) = mpsc::channel();
    let accepting = move || {
        for stream in listener.incoming() {
            let (stream, tell) = (stream.expect("a connection"), tell.clone());
            let serving = move || serve_tenaciously(&stream, &tell);
            std::thread::Builder::new().spawn(serving).expect("a thread");
        }
    };
    std::thread::Builder::new().spawn(accepting).expect("a thread");
    (address, told)
}

fn serve_tenaciously(mut stream: &TcpStream, tell: &mpsc::Sender<String>) {
    // A stored block of nothing, which is not the last (RFC 1951 section 3.2.4).
    let barren: Vec<u8> = [0, 0, 0, 0xFF, 0xFF].repeat(1_000);
    let mut reader = BufReader::new(stream);
    let mut last = "nothing".to_owned();
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                // Whoever is told may have heard enough.
                drop(tell.send(format!("closed {last}")));
                return;
            }
            if let Some(given) = line.strip_prefix("content-length: ") {
                length = given.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let body = String::from_utf8(body).expect("text");
        let method = body.split("\"method\":\"").nth(1).and_then(|rest| rest.split('"').next());
        method.expect("a method").clone_into(&mut last);
        drop(tell.send(format!("asked {last}")));
        let said = match last.as_str() {
            "initialize" => {
                let body = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}"#;
                let length = body.len();
                format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            }
            "stream" => {
                let event = "data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n";
                format!("content-type: text/event-stream\r\n\r\n{event}")
            }
            "barren" => {
                "content-type: application/json\r\ncontent-encoding: gzip\r\n\r\n".to_owned()
            }
            _ => continue,
        };
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{said}").as_bytes()).expect("read");
        if last == "barren" {
            stream.write_all(b"\x1F\x8B\x08\0\0\0\0\0\0\xFF").expect("read");
            while stream.write_all(&barren).is_ok() {}
        }
    }
}

/// Waits until the upstream has told all of these, in whatever order.
fn until_told(told: &mpsc::Receiver<String>, wanted: &[&str]) {
    let mut wanted = wanted.to_vec();
    while !wanted.is_empty() {
        let what = told.recv_timeout(Duration::from_secs(20));
        let what = what.unwrap_or_else(|_| panic!("never told: {wanted:?}"));
        wanted.retain(|wanted| *wanted != what);
    }
}

#[test]
fn an_exchange_that_is_over_gives_its_connection_up_whatever_the_server_does() {
    for driver in DRIVERS {
        let (address, told) = tenacious_upstream();
        let config = to(driver, Target::Http(http_target(address)));
        let quick = Duration::from_millis(100);
        let config = with_limits(config, |limits| limits.request = quick);
        let server = Server::start(&config, |_| Relay::default()).expect("the server starts");
        let mut stream = connect(&server);
        let mut answers = lines(stream.try_clone().expect("a second handle"));
        let mut say = |line: &str| write(&mut stream, format!("{line}\n").as_bytes());
        say("dial");
        assert_eq!(answers.next().as_deref(), Some("dialed"), "{driver:?}");
        say(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
        assert!(answers.next().is_some_and(|line| line.contains("2025-11-25")), "{driver:?}");
        // A stream that is not ended behind its answer.
        say(r#"{"jsonrpc":"2.0","id":2,"method":"stream"}"#);
        assert!(answers.next().is_some_and(|line| line.contains("\"id\":2")), "{driver:?}");
        until_told(&told, &["asked stream", "closed stream"]);
        // A notification that is not answered.
        say(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
        until_told(&told, &["asked notifications/x", "closed notifications/x"]);
        // A request that is given up: the server is told, and nothing waits for it any more.
        say(r#"{"jsonrpc":"2.0","id":3,"method":"hang"}"#);
        until_told(&told, &["asked hang"]);
        say(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
        until_told(&told, &["asked notifications/cancelled", "closed hang"]);
        finish(server);
    }
}

#[test]
fn an_answer_that_decodes_to_nothing_without_end_is_given_up() {
    for driver in DRIVERS {
        let (address, told) = tenacious_upstream();
        talk(
            &to(driver, Target::Http(http_target(address))),
            &[
                ("dial", &["dialed"]),
                (
                    r#"{"jsonrpc":"2.0","id":1,"method":"barren"}"#,
                    &["undelivered 1: the server cannot be reached: the response goes on and on"],
                ),
            ],
        );
        until_told(&told, &["asked barren", "closed barren"]);
    }
}

/// Waits for one client, who must shake hands or fail to, and answers its first line.
fn secure_upstream(
    config: Arc<rustls::ServerConfig>,
) -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let thread = std::thread::Builder::new().spawn(move || {
        let (stream, _) = listener.accept().expect("dialled");
        let connection = rustls::ServerConnection::new(config).expect("a session");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        if let Some(line) = tls::line(&mut stream) {
            stream.write_all(format!("got {line}\n").as_bytes()).expect("read");
            stream.conn.send_close_notify();
            stream.flush().expect("read");
        }
    });
    (address, thread.expect("a thread"))
}

fn shows(pair: &tls::Pair, asks: Option<&tls::Authority>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match asks {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.certificate.clone()).expect("an authority");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let chain = vec![pair.certificate.clone()];
    Arc::new(builder.with_single_cert(chain, pair.key()).expect("a pair"))
}

#[test]
fn an_upstream_behind_tls_is_believed_by_name_authority_and_pin() {
    let authority = tls::Authority::new();
    let pair = authority.host(&["there.test"]);
    let own = authority.client("spiffe://house.test/gateway", [2020, 4000]);
    let pin = |digest, until| vec![Pin { digest, until }];
    let trust = || authority.trust("there.test");
    let good = [
        (trust(), None),
        (Trust { pins: pin(pair.pin, u64::MAX), ..trust() }, None),
        // Pins that have expired hold nobody.
        (Trust { pins: pin([1; 32], 1), ..trust() }, None),
        (Trust { identity: Some(own.identity()), ..trust() }, Some(&authority)),
    ];
    let bad = [
        (
            authority.trust("elsewhere.test"),
            "failed: invalid peer certificate: certificate not valid for name",
        ),
        (tls::Authority::new().trust("there.test"), "failed: invalid peer certificate: "),
        (
            Trust { pins: pin([1; 32], u64::MAX), ..trust() },
            "failed: invalid peer certificate: Other(OtherError(PinMismatch",
        ),
    ];
    for driver in DRIVERS {
        for (trust, asks) in &good {
            let (address, upstream) = secure_upstream(shows(&pair, *asks));
            let target = Target::Tls { address: address.into(), trust: Arc::new(trust.clone()) };
            let steps =
                [("dial", &["dialed"][..]), ("x", &["got x", "closed: the peer closed it"][..])];
            talk(&to(driver, target), &steps);
            upstream.join().expect("the upstream ends");
        }
        for (trust, why) in &bad {
            let (address, upstream) = secure_upstream(shows(&pair, None));
            let target = Target::Tls { address: address.into(), trust: Arc::new(trust.clone()) };
            let config = to(driver, target);
            let server = Server::start(&config, |_| Relay::default()).expect("the server starts");
            let mut stream = connect(&server);
            write(&mut stream, b"dial\n");
            let said = lines(stream).next().expect("an answer");
            assert!(said.starts_with(why), "{said}");
            upstream.join().expect("the upstream ends");
            let counter =
                if trust.pins.is_empty() { "tls_upstream_failures" } else { "tls_pin_mismatches" };
            assert_eq!(count_after(server, counter), 1, "{driver:?} {why}");
        }
    }
}

#[test]
fn an_upstream_that_does_not_shake_hands_is_given_up_in_time() {
    let authority = tls::Authority::new();
    for driver in DRIVERS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let target =
            Target::Tls { address: address.into(), trust: Arc::new(authority.trust("there.test")) };
        let config = with_limits(to(driver, target), |limits| {
            limits.connect = Duration::from_millis(300);
        });
        talk(&config, &[("dial", &["failed: the TLS handshake took too long"])]);
        drop(listener);
    }
}

#[test]
fn an_upstream_that_refuses_is_told_with_its_reason() {
    for driver in DRIVERS {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        talk(
            &to(driver, Target::Tcp { address: address.into() }),
            &[("dial", &["failed: Connection refused"])],
        );
        let nowhere = Target::Unix { path: "/nonexistent/socket".into() };
        talk(&to(driver, nowhere), &[("dial", &["failed: No such file"])]);
        let nothing = Target::Stdio {
            command: "/nonexistent/program".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
        };
        talk(&to(driver, nothing), &[("dial", &["failed: cannot run /nonexistent/program"])]);
    }
}

#[test]
fn a_child_speaks_on_its_standard_streams() {
    for driver in DRIVERS {
        let target = shell("echo \"$GREETING from $PWD\"; echo noise >&2; exec cat");
        talk(
            &to(driver, target),
            &[
                ("dial", &["dialed", "hello from /"]),
                ("{\"id\":1}", &["{\"id\":1}"]),
                ("not json at all \u{1}", &["not json at all \u{1}"]),
                ("hang up", &["closed: hung up"]),
                ("dial", &["dialed", "hello from /"]),
            ],
        );
    }
}

#[test]
fn a_child_that_exits_is_told_by_its_status_after_its_last_words() {
    for driver in DRIVERS {
        let target = shell("read line; echo \"last words\"; exit 3");
        talk(
            &to(driver, target),
            &[
                ("dial", &["dialed"]),
                ("x", &["last words", "closed: the child exited with status 3"]),
                ("dial", &["dialed"]),
                ("x", &["last words", "closed: the child exited with status 3"]),
            ],
        );
    }
}

#[test]
fn a_child_that_is_killed_is_told_by_its_signal() {
    for driver in DRIVERS {
        let target = shell("kill -9 $$");
        let ends: &[&str] = &["dialed", "closed: the child was killed by signal 9"];
        talk(&to(driver, target), &[("dial", ends)]);
    }
}

#[test]
fn a_child_that_closes_its_output_and_lives_is_told_too() {
    for driver in DRIVERS {
        let target = shell("exec 1>&-; exec sleep 1000");
        let ends: &[&str] = &["dialed", "closed: the upstream closed its output"];
        talk(&to(driver, target), &[("dial", ends)]);
    }
}

#[test]
fn no_child_outlives_the_server_not_even_one_that_ignores_signals() {
    for driver in DRIVERS {
        for script in [
            // Obeys the close of its input; SIGTERM; only SIGKILL; and one with a child of its own.
            "echo $$; exec cat",
            "echo $$; exec sleep 1000",
            "trap '' TERM; echo $$; while :; do sleep 1000; done",
            "sleep 1000 & echo $!; wait",
        ] {
            let config = to(driver, shell(script));
            let server = Server::start(&config, |_| Relay::default()).expect("the server starts");
            let mut stream = connect(&server);
            write(&mut stream, b"dial\n");
            let mut answers = lines(stream);
            assert_eq!(answers.next().as_deref(), Some("dialed"));
            let pid = answers.next().expect("its number");
            assert!(lives(&pid), "{driver:?}: {script}");
            finish(server);
            assert!(!lives(&pid), "{driver:?}: {script}: {pid} was left behind");
        }
    }
}

#[test]
fn an_upstream_that_does_not_read_is_given_up_before_what_waits_fills_the_memory() {
    let limits = Limits { upstream_outbox_bytes_max: 64 << 10, ..Limits::DEFAULT };
    let long = vec!["x".repeat(10_000); 100].join("\n");
    for driver in DRIVERS {
        let config = ServerConfig {
            limits: Arc::new(limits.clone()),
            ..to(driver, shell("exec sleep 1000"))
        };
        talk(&config, &[("dial", &["dialed"]), (&long, &["closed: it does not read: twice"])]);
    }
}

#[test]
fn a_child_that_floods_does_not_keep_others_from_being_served() {
    for driver in DRIVERS {
        let server = Server::start(&to(driver, shell("exec yes")), |_| Relay::default())
            .expect("the server starts");
        let mut flooded = connect(&server);
        write(&mut flooded, b"dial\n");
        let mut some = [0; 4_096];
        flooded.read_exact(&mut some).expect("a flood");
        drop(flooded);
        finish(server);
    }
}
