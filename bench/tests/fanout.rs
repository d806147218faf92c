//! Proves that a fan-out notices streams that miss, repeat or change events: each server here is right but for one
//! thing on one stream, and the report must name that thing and nothing else.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the servers of this test are plain threads on blocking sockets"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ringgate_bench::args::{RawMode, plain};
use ringgate_bench::fanout;
use ringgate_bench::news::News;
use ringgate_bench::plan::Plan;
use ringgate_bench::raw;
use ringgate_bench::report::Report;
use ringgate_bench::target::{Protocol, Target};

const STREAMS: u32 = 5;
/// The event from which on one stream is treated badly.
const BENT: u64 = 20;

/// What the first stream gets for each event; it may keep events back.
type Bend = fn(count: u64, event: &str, kept: &mut Vec<String>) -> Vec<String>;

fn server(bend: Bend) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        // The source connects first.
        let source = BufReader::new(listener.accept().unwrap().0);
        let streams: Vec<TcpStream> = (0..STREAMS).map(|_| open(&listener)).collect();
        let mut kept = Vec::new();
        for (count, event) in (1..).zip(source.lines()) {
            let Ok(event) = event else { return };
            for (at, mut stream) in streams.iter().enumerate() {
                let events =
                    if at == 0 { bend(count, &event, &mut kept) } else { vec![event.clone()] };
                for event in events {
                    let event = format!("id: {count}\r\ndata: {event}\r\n\r\n");
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    // A client that has hung up has seen what it came for.
                    let _gone = stream.write_all(chunk.as_bytes());
                }
            }
        }
    });
    Target::Tcp(address)
}

/// Answers a GET with a stream.
fn open(listener: &TcpListener) -> TcpStream {
    let mut stream = listener.accept().unwrap().0;
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while !lines.next().unwrap().unwrap().is_empty() {}
    stream.set_nodelay(true).unwrap();
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n: hi\n\r\n1\r\n\n\r\n";
    stream.write_all(head).unwrap();
    stream
}

fn run(target: &Target) -> Report {
    let news = News::of_floor(target).unwrap();
    let plan = Plan {
        connections: STREAMS,
        outstanding: 4,
        raw: true,
        duration: Duration::from_millis(300),
        warmup: Duration::from_millis(50),
        grace: Duration::from_millis(300),
        ..plain(target.over(Protocol::Http1, "/mcp"), 16)
    };
    fanout::run(&plan, &news, &mut |_| ()).unwrap()
}

/// Expects these faults, and no others.
fn expect(bend: Bend, names: &[&str]) {
    let report = run(&server(bend));
    for (name, count) in &report.faults {
        let is_expected = names.contains(&name.as_str());
        assert_eq!(*count != 0, is_expected, "{name}: {count}, {:?}", report.samples);
    }
}

fn twice(text: &str) -> Vec<String> {
    vec![text.to_owned(), text.to_owned()]
}

#[test]
fn a_right_server_passes_and_every_stream_hears_the_same() {
    let report = run(&server(|_, event, _| vec![event.to_owned()]));
    assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
    assert!(report.parsed <= 10, "events equal the first: {}", report.parsed);
}

#[test]
fn an_event_that_comes_twice_is_repeated() {
    expect(
        |count, event, _| if count == BENT { twice(event) } else { vec![event.to_owned()] },
        &["repeated"],
    );
}

#[test]
fn an_event_that_is_left_out_is_unanswered() {
    expect(
        |count, event, _| if count == BENT { Vec::new() } else { vec![event.to_owned()] },
        &["unanswered"],
    );
}

#[test]
fn an_event_that_overtakes_another_is_noticed() {
    // The one that is late counts as left out, and then as told again.
    expect(
        |count, event, kept| {
            if count == BENT {
                kept.push(event.to_owned());
                return Vec::new();
            }
            [event.to_owned()].into_iter().chain(kept.pop()).collect()
        },
        &["unanswered", "repeated"],
    );
}

#[test]
fn a_changed_token_and_nonsense_are_noticed() {
    expect(
        |count, event, _| {
            let bent = event.replace("\"token\":\"", "\"token\":\"x");
            vec![if count == BENT { bent } else { event.to_owned() }]
        },
        &["wrong_content", "unanswered"],
    );
    expect(
        |count, event, _| {
            let before = if count == BENT {
                "{"
            } else {
                r#"{"jsonrpc":"2.0","method":"notifications/other"}"#
            };
            vec![before.to_owned(), event.to_owned()]
        },
        &["malformed"],
    );
}

#[test]
fn the_floor_tells_every_stream_everything() {
    let bound = raw::bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
    let raw::Bound::Tcp(listener) = &bound else { panic!("a TCP listener was asked for") };
    let target = Target::Tcp(listener.local_addr().unwrap());
    thread::spawn(move || raw::serve(vec![bound], None, RawMode::Events, None));
    let report = run(&target);
    assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
}
