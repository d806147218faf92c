//! What `wire` makes of the examples of JSON-RPC 2.0 (section 7): which are requests, notifications and
//! faults, and with which code. What a method answers is decided above the wire and not looked at here.
//!
//! The vectors are `RINGGATE_JSONRPC_VECTORS`, or `shared/reference/jsonrpc_vectors.json` beside the
//! checkout: `[{"n": name, "in": text, "out": answer}]`. Without them the test says so and passes.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says why it is skipped, and helpers of tests fail by panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use ringgate::wire::envelope::{self, Frame};
use ringgate::wire::{Fault, Message};
use serde_json::Value;

fn vectors_file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("RINGGATE_JSONRPC_VECTORS") {
        return Some(file.into());
    }
    let beside = ["shared", "reference", "jsonrpc_vectors.json"].iter().collect::<PathBuf>();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|parent| parent.join(&beside)).find(|file| file.is_file())
}

fn vectors() -> Vec<Value> {
    let Some(file) = vectors_file() else {
        println!("skipped: no JSON-RPC examples; set RINGGATE_JSONRPC_VECTORS to their file");
        return Vec::new();
    };
    let text = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let vectors: Vec<Value> = serde_json::from_slice(&text).unwrap();
    assert!(vectors.len() >= 12, "{}: only {} vectors", file.display(), vectors.len());
    vectors
}

/// Whether one message is judged so that the answer `expected` (null for none) can follow.
fn check(name: &str, sent: &Value, verdict: &Result<Message<'_>, Fault<'_>>, expected: &Value) {
    let positional = sent["params"].is_array();
    let id_text = expected["id"].to_string();
    match (expected["error"].as_i64(), verdict) {
        // A fault of the envelope. None of these examples has an id that could be told.
        (Some(code @ (-32700 | -32600)), Err(fault)) => {
            assert_eq!(i64::from(fault.code), code, "{name}: {fault:?}");
            assert_eq!(fault.id, None, "{name}");
            assert!(expected["id"].is_null(), "{name}");
        }
        // JSON-RPC lets parameters go by position, MCP does not: −32602, under the request's id, and
        // without one for a notification, which gets no answer.
        (None | Some(-32601), Err(fault)) if positional => {
            assert_eq!(fault.code, -32602, "{name}: {fault:?}");
            let told = fault.id.map(|id| id.text().to_owned());
            assert_eq!(told, (!expected.is_null()).then_some(id_text), "{name}");
        }
        (None | Some(-32601), Ok(Message::Request { id, method, .. })) if !positional => {
            assert_eq!(id.text(), id_text, "{name}");
            assert_eq!(sent["method"], *method, "{name}");
        }
        (None, Ok(Message::Notification { method, .. })) if !positional && expected.is_null() => {
            assert_eq!(sent["method"], *method, "{name}");
        }
        (expected, verdict) => panic!("{name}: {verdict:?}, but expected {expected:?}"),
    }
}

#[test]
fn the_examples_of_json_rpc_are_judged_as_it_says_and_as_mcp_narrows_it() {
    for vector in vectors() {
        let name = vector["n"].as_str().unwrap();
        let text = vector["in"].as_str().unwrap();
        let expected = &vector["out"];
        let sent: Value = serde_json::from_str(text).unwrap_or_default();
        match envelope::read(text.as_bytes()) {
            Ok(Frame::One(message)) => check(name, &sent, &Ok(message), expected),
            Err(fault) => check(name, &sent, &Err(fault), expected),
            Ok(Frame::Batch(batch)) => {
                let sent = sent.as_array().unwrap();
                assert_eq!(batch.elements().count(), sent.len(), "{name}");
                if sent.is_empty() {
                    // An empty batch is one fault; who reads batches sees that it has no element.
                    assert_eq!(expected["error"], -32600, "{name}");
                    continue;
                }
                // The answers lack those of the notifications, and stand in the order of the requests.
                let mut answers = expected.as_array().into_iter().flatten();
                for (element, sent) in batch.elements().zip(sent) {
                    let is_notification = sent["method"].is_string() && sent["id"].is_null();
                    let none = Value::Null;
                    let answer = if is_notification { &none } else { answers.next().unwrap() };
                    check(name, sent, &envelope::read_element(element), answer);
                }
                assert_eq!(answers.next(), None, "{name}");
            }
        }
    }
}
