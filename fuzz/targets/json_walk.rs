//! `Json`, `text` and `Splice`: a walk over the views makes serde_json's tree, and an edit of the text
//! makes the tree that the same edit of the tree makes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::{Theirs, has_doubled_keys, theirs, tree};
use ringgate::wire::{Json, Splice, text};
use serde_json::{Map, Value, json};

fuzz_target!(|data: &[u8]| {
    let verdict = Json::from_bytes(data);
    let value = match (theirs(data, verdict.is_ok()), verdict) {
        (Theirs::Value(value), _) => value,
        (_, verdict) => {
            assert!(verdict.is_ok_and(|json| depth(json) <= 128) || verdict.is_err());
            return;
        }
    };
    let json = verdict.expect("both have taken it");
    assert_eq!(tree(json), value);
    strings(json);
    if !has_doubled_keys(json) {
        edits(json);
    }
});

fn depth(json: Json<'_>) -> u32 {
    let deepest = json.members().map(|m| m.value).chain(json.elements()).map(depth).max();
    deepest.map_or(u32::from(matches!(json.text(), "{}" | "[]")), |depth| depth + 1)
}

/// Each string and key comes back from its quoted form, and each value knows where it lies.
fn strings(json: Json<'_>) {
    let again = |text: &str| {
        let mut quoted = Vec::new();
        text::quote(&mut quoted, text);
        let quoted = Json::from_bytes(&quoted).expect("a quoted text is JSON");
        assert_eq!(quoted.as_str().as_deref(), Some(text));
    };
    if let Some(text) = json.as_str() {
        again(&text);
    }
    for member in json.members() {
        assert!(member.is(&member.name()));
        again(&member.name());
        assert!(member.value.range_in(json.text()).is_some());
        strings(member.value);
    }
    for element in json.elements() {
        assert!(element.range_in(json.text()).is_some());
        strings(element);
    }
}

/// One edit of the outermost object after the other, each as it should be done to its tree.
fn edits(json: Json<'_>) {
    let tree_of = |edit: &dyn Fn(&mut Splice<'_>)| -> Value {
        let mut splice = Splice::of(json.text());
        edit(&mut splice);
        let mut out = Vec::new();
        splice.write(&mut out);
        tree(Json::from_bytes(&out).expect("an edited object is JSON"))
    };
    if !json.is_object() {
        return;
    }
    let members: Map<String, Value> =
        json.members().map(|m| (m.name().into_owned(), tree(m.value))).collect();
    let keys: Vec<&str> = members.keys().map(String::as_str).collect();

    let mut more = members.clone();
    more.insert("a key that no seed holds".to_owned(), json!(1));
    assert_eq!(
        tree_of(&|splice| splice.insert_member(json, "\"a key that no seed holds\":1")),
        Value::Object(more)
    );
    for (index, key) in keys.iter().enumerate() {
        let mut less = members.clone();
        less.shift_remove(*key);
        assert_eq!(tree_of(&|splice| splice.remove_members(json, &[key])), Value::Object(less));

        // This one and all that follow it, and this one and all before it.
        for gone in [&keys[index..], &keys[..=index]] {
            let left: Map<String, Value> = members
                .iter()
                .filter(|(key, _)| !gone.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(tree_of(&|splice| splice.remove_members(json, gone)), Value::Object(left));
        }

        let mut other = members.clone();
        other.insert((*key).to_owned(), json!({"new": [true]}));
        let value = json.get(key).expect("it is a key");
        assert_eq!(
            tree_of(&|splice| splice.replace(value.text(), r#"{"new":[true]}"#)),
            Value::Object(other)
        );
    }
}
