//! Proves that a load notices what a bad server does over HTTP/1.1 and WebSocket, as `checker.rs` does for lines: each
//! server here is right but for one thing, and the report must name that thing and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a helper of a test may panic, and the bends of a server share one signature"
)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the servers of this test are plain threads on blocking sockets"
)]

mod right;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ringgate_bench::args::{RawMode, plain};
use ringgate_bench::load;
use ringgate_bench::plan::Plan;
use ringgate_bench::raw;
use ringgate_bench::report::Report;
use ringgate_bench::request::Era;
use ringgate_bench::target::{Protocol, Target, Web};
use serde_json::{Value, json};

/// What a server writes for an answer; it may keep answers back.
type Bend = fn(count: u64, answer: Value, kept: &mut Vec<Value>) -> Vec<u8>;

/// The bend that is at work from answer 20 on, once.
const BENT: u64 = 20;

fn server(protocol: Protocol, bend: Bend) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || match protocol {
                Protocol::Http1 => converse_http(&stream, bend),
                _ => converse_websocket(&stream, bend),
            });
        }
    });
    Target::Web(Web::new(protocol, address, "/mcp"))
}

fn converse_http(mut stream: &TcpStream, bend: Bend) {
    let (mut reader, mut kept, mut count) = (BufReader::new(stream), Vec::new(), 0);
    while let Some((head, body)) = request(&mut reader) {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let says = |line: &str| head.contains(&format!("\r\n{line}\r\n"));
        let bytes = if asked["method"] == "initialize" {
            let body = right::answer(&asked).unwrap().to_string();
            response("200 OK", "application/json\r\nMCP-Session-Id: of-this-test", &body)
        } else if let Some(answer) = right::answer(&asked) {
            // What the head must say is the load's own duty.
            if asked["params"]["_meta"].is_object() {
                assert!(says("MCP-Protocol-Version: 2026-07-28") && says("Mcp-Method: tools/call"));
            } else {
                assert!(says("Mcp-Session-Id: of-this-test"), "{head}");
            }
            count += 1;
            bend(count, answer, &mut kept)
        } else {
            b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_vec()
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// A request's head and body.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn response(status: &str, media: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn ok(answer: &Value) -> Vec<u8> {
    response("200 OK", "application/json", &answer.to_string())
}

fn stream(messages: &[&Value]) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for message in messages {
        let event = format!("event: message\r\ndata: {message}\r\n\r\n");
        bytes.extend_from_slice(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn converse_websocket(mut stream: &TcpStream, bend: Bend) {
    let mut reader = BufReader::new(stream);
    request(&mut reader).unwrap();
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mcp\r\n\r\n")
        .unwrap();
    let (mut kept, mut count, mut pongs) = (Vec::new(), 0, 0);
    loop {
        let mut head = [0; 2];
        if reader.read_exact(&mut head).is_err() {
            return;
        }
        assert_eq!(head[1] & 0x80, 0x80, "a client masks");
        let mut length = usize::from(head[1] & 0x7F);
        if length == 0x7E {
            let mut long = [0; 2];
            reader.read_exact(&mut long).unwrap();
            length = u16::from_be_bytes(long).into();
        }
        let (mut key, mut payload) = ([0; 4], vec![0; length]);
        if reader.read_exact(&mut key).and_then(|()| reader.read_exact(&mut payload)).is_err() {
            return;
        }
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        if head[0] == 0x8A {
            pongs += 1;
            assert_eq!((pongs, payload.as_slice()), (1, &b"beat"[..]));
            continue;
        }
        let asked: Value = serde_json::from_slice(&payload).unwrap();
        let Some(answer) = right::answer(&asked) else { continue };
        let bytes = if asked["method"] == "initialize" {
            frame(0x81, answer.to_string().as_bytes())
        } else {
            count += 1;
            bend(count, answer, &mut kept)
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    if let Ok(length @ 0..126) = u8::try_from(payload.len()) {
        return [&[first, length][..], payload].concat();
    }
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[first, 0x7E, length[0], length[1]][..], payload].concat()
}

fn text(answer: &Value) -> Vec<u8> {
    frame(0x81, answer.to_string().as_bytes())
}

fn run(protocol: Protocol, era: Era, outstanding: u32, bend: Bend) -> Report {
    let plan = Plan {
        connections: 3,
        outstanding,
        era,
        duration: Duration::from_millis(300),
        warmup: Duration::from_millis(50),
        grace: Duration::from_millis(300),
        ..plain(server(protocol, bend), 120)
    };
    load::run(&plan, &mut |_| ()).unwrap()
}

/// Loads a server and expects these faults, and no others.
fn expect(protocol: Protocol, bend: Bend, names: &[&str]) {
    let report = run(protocol, Era::Legacy, 4, bend);
    for (name, count) in &report.faults {
        let is_expected = names.contains(&name.as_str());
        assert_eq!(*count != 0, is_expected, "{name}: {count}, {:?}", report.samples);
    }
}

#[test]
fn a_right_server_passes_in_both_eras_pipelined_or_not() {
    for (protocol, bend) in [
        (Protocol::Http1, (|_, answer, _| ok(&answer)) as Bend),
        (Protocol::WebSocket, |_, answer, _| text(&answer)),
    ] {
        for (era, outstanding) in [(Era::Legacy, 1), (Era::Modern, 1), (Era::Modern, 8)] {
            let report = run(protocol, era, outstanding, bend);
            assert!(report.is_right(), "{protocol:?} {:?} {:?}", report.samples, report.faults);
            assert!(report.parsed < 100, "most answers are recognized: {}", report.parsed);
        }
    }
}

#[test]
fn an_answer_in_an_event_stream_is_right_and_what_comes_before_it_is_passed_over() {
    let report = run(Protocol::Http1, Era::Legacy, 1, |_, answer, _| {
        let notice = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": {} });
        stream(&[&notice, &answer])
    });
    assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
    assert!(report.notifications >= report.answers);
}

#[test]
fn responses_in_another_order_are_misplaced() {
    let bend: Bend = |count, answer, kept| {
        if count == BENT {
            kept.push(answer);
            return Vec::new();
        }
        kept.pop().map_or_else(|| ok(&answer), |other| [ok(&answer), ok(&other)].concat())
    };
    expect(Protocol::Http1, bend, &["misplaced"]);
}

#[test]
fn a_status_that_is_not_200_is_refused() {
    let bend: Bend = |count, answer, _| {
        if count == BENT {
            response("503 Service Unavailable", "application/json", &answer.to_string())
        } else {
            ok(&answer)
        }
    };
    expect(Protocol::Http1, bend, &["refused"]);
}

#[test]
fn a_stream_without_an_answer_and_one_with_two_are_noticed() {
    let none: Bend = |count, answer, _| if count == BENT { stream(&[]) } else { ok(&answer) };
    expect(Protocol::Http1, none, &["unanswered"]);
    let two: Bend =
        |count, answer, _| if count == BENT { stream(&[&answer, &answer]) } else { ok(&answer) };
    expect(Protocol::Http1, two, &["repeated"]);
}

#[test]
fn one_changed_letter_is_noticed() {
    fn bent(count: u64, answer: &Value) -> Value {
        let text = answer.to_string();
        let text = if count == BENT { text.replacen("quick", "quack", 1) } else { text };
        serde_json::from_str(&text).unwrap()
    }
    expect(Protocol::Http1, |count, answer, _| ok(&bent(count, &answer)), &["wrong_content"]);
    expect(Protocol::WebSocket, |count, answer, _| text(&bent(count, &answer)), &["wrong_content"]);
}

#[test]
fn a_connection_that_ends_is_noticed() {
    let bend: Bend = |count, answer, _| {
        assert!(count < BENT, "the thread ends here, and its socket with it");
        ok(&answer)
    };
    expect(Protocol::Http1, bend, &["closed", "unanswered"]);
}

#[test]
fn frames_in_any_order_and_in_fragments_are_right_and_a_ping_gets_its_pong() {
    let report = run(Protocol::WebSocket, Era::Legacy, 4, |count, answer, kept| match count % 4 {
        1 => {
            kept.push(answer);
            Vec::new()
        }
        2 => {
            let whole = answer.to_string();
            let (first, rest) = whole.as_bytes().split_at(30);
            let ping = if count == 2 { frame(0x89, b"beat") } else { Vec::new() };
            [frame(0x01, first), ping, frame(0x80, rest), text(&kept.pop().unwrap())].concat()
        }
        _ => text(&answer),
    });
    let count = |name: &str| report.faults[name].as_u64().unwrap();
    // The last of all may wait for company that no longer comes.
    assert_eq!(report.faults_sum(), count("unanswered"), "{:?}", report.samples);
    assert!(report.answers > 0 && count("unanswered") <= 3);
}

#[test]
fn a_masked_frame_of_a_server_and_a_close_are_noticed() {
    let masked: Bend = |count, answer, _| {
        if count == BENT { vec![0x81, 0x81, 0, 0, 0, 0, b'x'] } else { text(&answer) }
    };
    expect(Protocol::WebSocket, masked, &["malformed", "unanswered"]);
    let close: Bend = |count, answer, _| {
        if count == BENT { [frame(0x88, &[3, 232]), text(&answer)].concat() } else { text(&answer) }
    };
    expect(Protocol::WebSocket, close, &["refused"]);
}

#[test]
fn the_floor_of_http_returns_the_bodies() {
    for (era, outstanding) in [(Era::Legacy, 1), (Era::Modern, 16)] {
        let bound = raw::bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
        let raw::Bound::Tcp(listener) = &bound else { panic!("a TCP listener was asked for") };
        let web = Web::new(Protocol::Http1, listener.local_addr().unwrap(), "/mcp");
        thread::spawn(move || raw::serve(vec![bound], None, RawMode::Http, None));
        let plan = Plan {
            connections: 3,
            outstanding,
            era,
            raw: true,
            duration: Duration::from_millis(200),
            warmup: Duration::from_millis(50),
            ..plain(Target::Web(web), 40)
        };
        let report = load::run(&plan, &mut |_| ()).unwrap();
        assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
        assert_eq!(report.parsed, 0);
    }
}

#[test]
fn the_floor_of_a_proxied_call_carries_to_a_server_that_is_right_in_both_eras() {
    fn serve(mode: RawMode, to: Option<SocketAddr>) -> SocketAddr {
        let bound = raw::bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
        let raw::Bound::Tcp(listener) = &bound else { panic!("a TCP listener was asked for") };
        let address = listener.local_addr().unwrap();
        thread::spawn(move || raw::serve(vec![bound], None, mode, to));
        address
    }
    let relay = serve(RawMode::Relay, Some(serve(RawMode::Mcp, None)));
    for era in [Era::Legacy, Era::Modern] {
        let plan = Plan {
            connections: 3,
            era,
            duration: Duration::from_millis(200),
            warmup: Duration::from_millis(50),
            ..plain(Target::Web(Web::new(Protocol::Http1, relay, "/mcp")), 40)
        };
        let report = load::run(&plan, &mut |_| ()).unwrap();
        assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
    }
}
