//! Proves that a load notices what a bad server does, over real sockets: each server here is right but for one thing,
//! and the report must name that thing and nothing else. Also that a right server passes in every way of loading it.

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

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ringgate_bench::args::RawMode;
use ringgate_bench::plan::Plan;
use ringgate_bench::report::Report;
use ringgate_bench::request::{Era, Tool};
use ringgate_bench::target::Target;
use ringgate_bench::{load, raw};
use serde_json::{Value, json};

/// What a server does to the answers of one connection; it gets each answer and may keep or change them.
type Bend = fn(count: u64, answer: Value, kept: &mut Vec<Value>) -> Vec<String>;

fn unbent(_: u64, answer: Value, _: &mut Vec<Value>) -> Vec<String> {
    vec![answer.to_string()]
}

/// Serves on a port of its own until its clients are gone.
fn server(bend: Bend) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || converse(&stream.unwrap(), bend));
        }
    });
    Target::Tcp(address)
}

fn converse(stream: &TcpStream, bend: Bend) {
    stream.set_nodelay(true).unwrap();
    let mut kept = Vec::new();
    let mut count = 0;
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap();
        let Some(answer) = right::answer(&request) else { continue };
        let lines = if request["method"] == "initialize" {
            vec![answer.to_string()]
        } else {
            count += 1;
            bend(count, answer, &mut kept)
        };
        for line in lines {
            if (&mut &*stream).write_all(format!("{line}\n").as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn plan(target: Target) -> Plan {
    Plan {
        target,
        connections: 4,
        outstanding: 8,
        duration: Duration::from_millis(300),
        warmup: Duration::from_millis(50),
        grace: Duration::from_millis(300),
        mix: "tools/call=1".parse().unwrap(),
        rate: None,
        era: Era::Legacy,
        tool: Tool { name: "echo".to_owned(), argument: "message".to_owned(), message_bytes: 48 },
        cores: Vec::new(),
        raw: false,
        server_pid: Some(std::process::id()),
    }
}

fn run(plan: &Plan) -> Report {
    load::run(plan, &mut |_| ()).unwrap()
}

/// Loads a server and expects these faults, and no others.
fn expect(bend: Bend, names: &[&str]) {
    let report = run(&plan(server(bend)));
    assert!(!report.is_right());
    for (name, count) in &report.faults {
        assert_eq!(
            *count != 0,
            names.contains(&name.as_str()),
            "{name}: {count}, {:?}",
            report.samples
        );
    }
}

#[test]
fn a_right_server_passes_in_both_eras_and_every_mix() {
    for (era, mix) in [
        (Era::Legacy, "ping=1,tools/list=1,tools/call=8"),
        (Era::Modern, "server/discover=1,tools/list=1,tools/call=8"),
    ] {
        let report = run(&Plan { era, mix: mix.parse().unwrap(), ..plan(server(unbent)) });
        assert!(report.is_right(), "{:?}", report.samples);
        assert!(
            report.parsed < 100,
            "most answers are recognized without parsing: {}",
            report.parsed
        );
        assert!(report.server.is_some_and(|server| server.cpu_ns_per_message > 0.0));
        assert!(
            report.latency_us.p50 <= report.latency_us.p99
                && report.latency_us.p99 <= report.latency_us.max
        );
    }
}

#[test]
fn a_right_server_passes_at_a_rate_and_gets_that_rate() {
    let report = run(&Plan { rate: Some(2000.0), ..plan(server(unbent)) });
    assert!(report.is_right(), "{:?}", report.samples);
    // Every request of the window is answered in the end and counted once: the rate is the load's, not the server's.
    assert!(report.answers > 0 && report.answers <= 700, "{}", report.answers);
}

#[test]
fn messages_larger_than_the_sockets_can_hold_do_not_lock_both_sides() {
    let tool = Tool {
        name: "echo".to_owned(),
        argument: "message".to_owned(),
        message_bytes: 1024 * 1024,
    };
    let report =
        run(&Plan { tool, connections: 1, grace: Duration::from_secs(30), ..plan(server(unbent)) });
    assert!(report.faults_sum() == 0, "{:?}", report.samples);
}

#[test]
fn answers_in_any_order_are_right() {
    expect_right(|count, answer, kept| {
        kept.push(answer);
        // Eight are outstanding: the server may wait for four of them.
        if count % 4 == 0 {
            kept.drain(..).rev().map(|answer| answer.to_string()).collect()
        } else {
            Vec::new()
        }
    });
}

#[test]
fn blank_lines_and_notifications_are_passed_over() {
    expect_right(|_, answer, _| {
        vec![
            String::new(),
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#.to_owned(),
            answer.to_string(),
        ]
    });
}

fn expect_right(bend: Bend) {
    let report = run(&plan(server(bend)));
    // The last few may wait for company that no longer comes.
    let others: u64 = report
        .faults
        .iter()
        .filter(|(name, _)| *name != "unanswered")
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    assert!(others == 0 && report.answers > 0, "{:?}", report.samples);
}

#[test]
fn swapped_ids_are_noticed() {
    expect(
        |count, mut answer, kept| {
            if count == 20 {
                kept.push(answer);
                return Vec::new();
            }
            let Some(mut other) = kept.pop() else { return vec![answer.to_string()] };
            std::mem::swap(&mut answer["id"], &mut other["id"]);
            vec![answer.to_string(), other.to_string()]
        },
        &["wrong_content"],
    );
}

#[test]
fn a_second_answer_is_noticed() {
    expect(
        |count, answer, _| vec![answer.to_string(); if count == 20 { 2 } else { 1 }],
        &["repeated"],
    );
}

#[test]
fn an_answer_to_nothing_is_noticed() {
    expect(
        |count, answer, _| {
            let mut stranger = answer.clone();
            stranger["id"] = json!(17);
            if count == 20 {
                vec![stranger.to_string(), answer.to_string()]
            } else {
                vec![answer.to_string()]
            }
        },
        &["unknown_id"],
    );
}

#[test]
fn one_changed_letter_is_noticed() {
    expect(
        |count, answer, _| {
            let text = answer.to_string();
            vec![if count == 20 { text.replacen("quick", "quack", 1) } else { text }]
        },
        &["wrong_content"],
    );
}

#[test]
fn a_missing_answer_is_noticed() {
    expect(
        |count, answer, _| if count == 20 { Vec::new() } else { vec![answer.to_string()] },
        &["unanswered"],
    );
}

#[test]
fn an_error_is_noticed() {
    expect(
        |count, answer, _| {
            let error = json!({ "jsonrpc": "2.0", "id": answer["id"], "error": { "code": -32603, "message": "no" } });
            vec![if count == 20 { error } else { answer }.to_string()]
        },
        &["error_answer"],
    );
}

#[test]
fn a_broken_line_is_noticed() {
    expect(
        |count, answer, _| {
            if count == 20 {
                vec!["{".to_owned(), answer.to_string()]
            } else {
                vec![answer.to_string()]
            }
        },
        &["malformed"],
    );
}

#[test]
fn a_question_of_the_server_is_noticed() {
    expect(
        |count, answer, _| {
            let question = r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#.to_owned();
            if count == 20 { vec![question, answer.to_string()] } else { vec![answer.to_string()] }
        },
        &["asked"],
    );
}

#[test]
fn a_connection_that_ends_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Reads one request and goes away.
            BufReader::new(stream.unwrap()).lines().next();
        }
    });
    let report = run(&Plan { era: Era::Modern, ..plan(target) });
    assert!(
        report.faults["closed"] == 4 && report.faults["unanswered"] == 32,
        "{:?}",
        report.faults
    );
}

#[test]
fn the_raw_floor_returns_what_it_gets_on_both_kinds_of_socket() {
    let directory = std::env::temp_dir().join(format!("ringgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for listen in [Target::Tcp("127.0.0.1:0".parse().unwrap()), Target::Unix(directory.join("raw"))]
    {
        let bound = raw::bind(&listen).unwrap();
        let target = match &bound {
            raw::Bound::Tcp(listener) => Target::Tcp(listener.local_addr().unwrap()),
            raw::Bound::Unix(_) => listen,
        };
        thread::spawn(move || raw::serve(vec![bound], None, RawMode::Echo, None));
        let report = run(&Plan { raw: true, outstanding: 16, ..plan(target) });
        assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
        assert_eq!(report.parsed, 0);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn raw_notices_a_server_that_changes_bytes() {
    let report = run(&Plan { raw: true, ..plan(server(unbent)) });
    assert!(report.faults["malformed"] != 0, "{:?}", report.faults);
}

#[test]
fn a_child_on_stdio_is_loaded_like_a_socket() {
    // A shell that answers pings: what it is does not matter, only that it speaks on stdin and stdout.
    let script = std::env::temp_dir().join(format!("ringgate-bench-{}.sh", std::process::id()));
    std::fs::write(
        &script,
        r#"while IFS= read -r line; do
             id=${line#*'"id":'}; id=${id%%,*}
             case $line in
               *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}\n' "$id" ;;
               *'"ping"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id" ;;
             esac
           done
        "#,
    )
    .unwrap();
    let target: Target = format!("stdio:sh {}", script.display()).parse().unwrap();
    let report = run(&Plan {
        connections: 2,
        mix: "ping=1".parse().unwrap(),
        server_pid: None,
        ..plan(target)
    });
    std::fs::remove_file(&script).unwrap();
    assert!(report.is_right(), "{:?} {:?}", report.samples, report.faults);
    assert!(report.server.is_some(), "the child is the server that is measured");
}
