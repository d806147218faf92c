//! `envelope::read`: no bytes make it panic, it calls JSON what serde_json calls JSON, and the parts it
//! finds are pieces of the frame and what serde_json finds under their keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::{Theirs, theirs, tree};
use ringgate::wire::envelope::{self, Frame, ID_BYTES_MAX, METHOD_BYTES_MAX};
use ringgate::wire::json::range_in;
use ringgate::wire::{Fault, Json, Message};
use serde_json::Value;

fuzz_target!(|frame: &[u8]| {
    let verdict = envelope::read(frame);
    let is_json = !matches!(verdict, Err(Fault { code: -32700, .. }));
    let value = match theirs(frame, is_json) {
        Theirs::Value(value) => Some(value),
        Theirs::Stricter => None,
        Theirs::Refused => {
            assert!(verdict.unwrap_err().at <= frame.len());
            return;
        }
    };
    let text = std::str::from_utf8(frame).expect("JSON is UTF-8");
    match verdict {
        Err(fault) => check_fault(&fault, text),
        Ok(Frame::One(message)) => check(&message, text, value.as_ref()),
        Ok(Frame::Batch(batch)) => {
            assert!(batch.range_in(text).is_some());
            let values = value.as_ref().map(|value| value.as_array().expect("a batch is an array"));
            assert!(values.is_none_or(|values| values.len() == batch.elements().count()));
            for (index, element) in batch.elements().enumerate() {
                match envelope::read_element(element) {
                    Err(fault) => check_fault(&fault, element.text()),
                    Ok(message) => check(&message, text, values.map(|values| &values[index])),
                }
            }
        }
    }
});

fn check_fault(fault: &Fault<'_>, text: &str) {
    assert!(matches!(fault.code, -32600 | -32602), "{fault:?}");
    assert!(fault.at <= text.len(), "{fault:?}");
    assert!(fault.id.is_none_or(|id| range_in(id.text(), text).is_some()), "{fault:?}");
}

fn check(message: &Message<'_>, text: &str, value: Option<&Value>) {
    let part = |json: Json<'_>, key: &str| {
        assert!(json.range_in(text).is_some(), "{key} lies elsewhere: {message:?}");
        if let Some(value) = value {
            assert_eq!(tree(json), value[key]);
        }
    };
    let params = |params: Json<'_>| match value.and_then(|value| value.get("params")) {
        // Absent parameters are an empty object, which lies in no frame.
        None if params == Json::EMPTY_OBJECT => {}
        _ => part(params, "params"),
    };
    let method = |method: &str| {
        assert!(range_in(method, text).is_some() && method.len() <= METHOD_BYTES_MAX);
        if let Some(value) = value {
            let quoted = format!("\"{method}\"");
            assert_eq!(serde_json::from_str::<Value>(&quoted).unwrap(), value["method"]);
        }
    };
    match *message {
        Message::Request { method: name, params: given, .. }
        | Message::Notification { method: name, params: given } => {
            method(name);
            params(given);
        }
        Message::Response { result, .. } => part(result, "result"),
        Message::Failure { error, .. } => part(error, "error"),
    }
    let id = match *message {
        Message::Request { id, .. } | Message::Response { id, .. } => Some(id),
        Message::Notification { .. } => None,
        Message::Failure { id, .. } => id,
    };
    if let Some(id) = id {
        assert!(range_in(id.text(), text).is_some() && id.text().len() <= ID_BYTES_MAX);
        // serde_json calls -0 a float; as an integer it is one.
        assert!(value.is_none_or(|value| {
            value["id"].is_string() || value["id"].is_i64() || id.text() == "-0"
        }));
        assert!(value.is_none_or(|value| {
            serde_json::from_str::<Value>(id.text()).is_ok_and(|id| id == value["id"])
        }));
    } else {
        assert!(value.is_none_or(|value| value["id"].is_null()));
    }
}
