//! What the fuzz targets share: serde_json's opinion beside ours. Not a target itself.

use std::collections::BTreeSet;

use ringgate::wire::Json;
use ringgate::wire::json::Kind;
use serde_json::Value;

/// What serde_json makes of bytes that `wire` called JSON or not.
#[derive(Debug)]
pub enum Theirs {
    /// It agrees that this is JSON.
    Value(Value),
    /// It agrees that this is none.
    Refused,
    /// It refuses what we take on purpose: numbers of any size, and brackets nested 128 deep.
    Stricter,
}

/// Asserts that serde_json agrees with `taken`, our verdict on `bytes`.
pub fn theirs(bytes: &[u8], taken: bool) -> Theirs {
    match (taken, serde_json::from_slice::<Value>(bytes)) {
        (true, Ok(value)) => Theirs::Value(value),
        (false, Err(_)) => Theirs::Refused,
        (true, Err(error)) => {
            let why = error.to_string();
            assert!(
                why.starts_with("number out of range") || why.starts_with("recursion limit"),
                "we take what serde_json refuses: {why}"
            );
            Theirs::Stricter
        }
        (false, Ok(_)) => panic!("we refuse what serde_json takes"),
    }
}

/// The tree that a walk over our views makes.
pub fn tree(json: Json<'_>) -> Value {
    match json.kind() {
        Kind::Object => json.members().map(|m| (m.name().into_owned(), tree(m.value))).collect(),
        Kind::Array => json.elements().map(tree).collect(),
        Kind::String => json.as_str().expect("a string has a text").into_owned().into(),
        Kind::Number => json.text().parse().map(Value::Number).expect("a number is one"),
        Kind::Bool => json.as_bool().expect("a bool has a value").into(),
        Kind::Null => Value::Null,
    }
}

/// Whether a key of an object, at any depth, stands twice in it: what editing one of them means then is
/// nobody's promise.
pub fn has_doubled_keys(json: Json<'_>) -> bool {
    let mut seen = BTreeSet::new();
    json.members().any(|m| !seen.insert(m.name().into_owned()) || has_doubled_keys(m.value))
        || json.elements().any(has_doubled_keys)
}
