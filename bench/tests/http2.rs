//! Proves that a load over HTTP/2 notices what a bad server does, as `checker.rs` does for lines: a server of the h2
//! crate that is right but for one thing, and the floor, which returns bodies.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the server of this test is a thread with a ring of its own"
)]

mod right;

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use monoio::net::{TcpListener, TcpStream};
use ringgate_bench::args::{RawMode, plain};
use ringgate_bench::pipe::Pipe;
use ringgate_bench::plan::Plan;
use ringgate_bench::report::Report;
use ringgate_bench::request::Era;
use ringgate_bench::target::{Protocol, Target, Web};
use ringgate_bench::{load, raw, ring};
use serde_json::Value;

/// Status and body for an answer; `other` is what the stream before this one was answered.
type Bend = fn(count: u64, answer: Value, other: &Value) -> (u16, String);

const BENT: u64 = 20;

fn server(bend: Bend) -> Target {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        ring::runtime().unwrap().block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                monoio::spawn(converse(stream, bend));
            }
        });
    });
    Target::Web(Web::new(Protocol::Http2, address, "/mcp"))
}

async fn converse(stream: TcpStream, bend: Bend) {
    let mut connection = h2::server::handshake(Pipe::on(stream)).await.unwrap();
    let last = Rc::new(RefCell::new((0, Value::Null)));
    while let Some(Ok((request, respond))) = connection.accept().await {
        monoio::spawn(answer(request, respond, Rc::clone(&last), bend));
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    last: Rc<RefCell<(u64, Value)>>,
    bend: Bend,
) -> Option<()> {
    assert_eq!(request.headers()["mcp-method"], "tools/call");
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(part) = body.data().await {
        bytes.extend_from_slice(&part.ok()?);
    }
    let right = right::answer(&serde_json::from_slice(&bytes).unwrap()).unwrap();
    let (status, text) = {
        let (count, other) = &mut *last.borrow_mut();
        *count += 1;
        bend(*count, right.clone(), &std::mem::replace(other, right))
    };
    let response = Response::builder().status(status).body(()).unwrap();
    respond.send_response(response, false).ok()?.send_data(text.into(), true).ok()
}

fn run(target: Target, raw: bool) -> Report {
    let plan = Plan {
        connections: 3,
        outstanding: 4,
        era: Era::Modern,
        raw,
        duration: Duration::from_millis(300),
        warmup: Duration::from_millis(50),
        grace: Duration::from_millis(300),
        ..plain(target, 60)
    };
    load::run(&plan, &mut |_| ()).unwrap()
}

/// Loads a server and expects these faults, and no others.
fn expect(bend: Bend, names: &[&str]) {
    let report = run(server(bend), false);
    for (name, count) in &report.faults {
        let is_expected = names.contains(&name.as_str());
        assert_eq!(*count != 0, is_expected, "{name}: {count}, {:?}", report.samples);
    }
}

#[test]
fn a_right_server_passes() {
    let report = run(server(|_, answer, _| (200, answer.to_string())), false);
    assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
    assert!(report.parsed < 100, "most answers are recognized: {}", report.parsed);
}

#[test]
fn an_answer_on_the_stream_of_another_is_misplaced() {
    expect(
        |count, answer, other| (200, if count == BENT { other } else { &answer }.to_string()),
        &["misplaced"],
    );
}

#[test]
fn a_status_that_is_not_200_is_refused() {
    expect(
        |count, answer, _| (if count == BENT { 503 } else { 200 }, answer.to_string()),
        &["refused"],
    );
}

#[test]
fn one_changed_letter_is_noticed() {
    expect(
        |count, answer, _| {
            let text = answer.to_string();
            (200, if count == BENT { text.replacen("quick", "quack", 1) } else { text })
        },
        &["wrong_content"],
    );
}

#[test]
fn the_floor_returns_the_bodies() {
    let bound = raw::bind(&"tcp://127.0.0.1:0".parse().unwrap()).unwrap();
    let raw::Bound::Tcp(listener) = &bound else { panic!("a TCP listener was asked for") };
    let target = Target::Tcp(listener.local_addr().unwrap());
    thread::spawn(move || raw::serve(vec![bound], None, RawMode::H2, None));
    let report = run(target.over(Protocol::Http2, "/mcp"), true);
    assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
    assert_eq!(report.parsed, 0);
}
