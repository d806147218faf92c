//! What one message costs in `wire` and in the built-in upstream, in nanoseconds: cutting lines, reading
//! envelopes, walking members, a whole echo. Each benchmark checks its answer once before it runs.
//! `cargo bench --bench wire`; ten seconds in all.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringgate::base::Now;
use ringgate::gateway::builtin::{Builtin, Context, Outcome};
use ringgate::wire::envelope::{self, Frame};
use ringgate::wire::{Json, LineCutter, Message};

/// 121 bytes: the request that `src/README.md` compares JSON parsers with.
const PING: &str = r#"{"jsonrpc":"2.0","id":123456,"method":"ping","params":{"_meta":{"progressToken":"abcdefghijklmnopqrstuvwxyz-012345678"}}}"#;
/// 150 bytes: an ordinary small call of a legacy client.
const CALL: &str = r#"{"jsonrpc":"2.0","id":123456,"method":"tools/call","params":{"name":"echo","arguments":{"message":"The quick brown fox jumps over the lazy dog. 01"}}}"#;

/// 2,048 bytes: a call of a modern client, its `_meta` in front, with a long text.
fn long_call() -> String {
    let head = concat!(
        r#"{"jsonrpc":"2.0","id":"0f5a-77","method":"tools/call","params":{"_meta":{"#,
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
        r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{},"sampling":{}},"#,
        r#""io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1.0.0"}},"#,
        r#""name":"echo","arguments":{"message":""#
    );
    let tail = r#""}}}"#;
    let sentence = r#"A line of a source file, with a \"string\" and a tab\t in it.\n"#;
    let mut text = String::from(head);
    while text.len() + sentence.len() + tail.len() <= 2_048 {
        text.push_str(sentence);
    }
    text.push_str(&"x".repeat(2_048 - text.len() - tail.len()));
    text.push_str(tail);
    text
}

fn request(frame: &[u8]) -> (&str, Json<'_>) {
    match envelope::read(frame) {
        Ok(Frame::One(Message::Request { method, params, .. })) => (method, params),
        other => panic!("{other:?}"),
    }
}

fn lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("lines");
    let buffer = format!("{CALL}\n").repeat(100).into_bytes();
    let count = |buffer: &[u8]| {
        let mut cutter = LineCutter::default();
        let mut count = 0;
        while let Some(line) = cutter.next(buffer) {
            black_box(line);
            count += 1;
        }
        count
    };
    assert_eq!(count(&buffer), 100);
    group.throughput(Throughput::Elements(100));
    group.bench_function("cut 100 of 150 B", |b| b.iter(|| count(black_box(&buffer))));
    group.finish();
}

fn envelopes(c: &mut Criterion) {
    let mut group = c.benchmark_group("envelope");
    let long = long_call();
    for (name, frame, method) in [
        ("ping, 121 B", PING, "ping"),
        ("tools/call, 150 B", CALL, "tools/call"),
        ("tools/call, 2 KB", &long, "tools/call"),
    ] {
        assert_eq!(request(frame.as_bytes()).0, method);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |b| b.iter(|| envelope::read(black_box(frame.as_bytes()))));
    }
    group.finish();
}

fn members(c: &mut Criterion) {
    let mut group = c.benchmark_group("members");
    let long = long_call();
    for (name, frame) in [("of a 150 B call's params", CALL), ("of a 2 KB call's params", &long)] {
        let (_, params) = request(frame.as_bytes());
        let walk = |params: Json<'_>| params.members().map(|m| m.value.text().len()).sum::<usize>();
        assert!(walk(params) > 0);
        group.bench_function(name, |b| b.iter(|| walk(black_box(params))));
    }
    group.finish();
}

fn builtin(c: &mut Criterion) {
    let mut group = c.benchmark_group("builtin");
    let context = Context {
        now: Now::default(),
        step: 0,
        text: None,
        answers: None,
        capabilities: Json::EMPTY_OBJECT,
        random: 0,
    };
    let long = long_call();
    let mut builtin = Builtin::new(false);
    let mut out = Vec::with_capacity(4_096);
    for (name, frame) in [("150 B", CALL), ("2 KB", long.as_str())] {
        let (method, params) = request(frame.as_bytes());
        out.clear();
        assert_eq!(builtin.serve(method, params, &context, &mut out), Outcome::Done);
        assert!(Json::from_bytes(&out).is_ok());
        let arguments = params.get("arguments");
        group.bench_function(format!("echo, {name}, call alone"), |b| {
            b.iter(|| {
                out.clear();
                builtin.call(black_box("echo"), black_box(arguments), &context, &mut out)
            });
        });
        group.bench_function(format!("echo, {name}, serve alone"), |b| {
            b.iter(|| {
                out.clear();
                builtin.serve(black_box(method), black_box(params), &context, &mut out)
            });
        });
        group.bench_function(format!("echo, {name}, envelope and serve"), |b| {
            b.iter(|| {
                out.clear();
                let (method, params) = request(black_box(frame.as_bytes()));
                builtin.serve(method, params, &context, &mut out)
            });
        });
    }
    group.finish();
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args()
}

criterion_group! { name = benches; config = settings(); targets = lines, envelopes, members, builtin }
criterion_main!(benches);
