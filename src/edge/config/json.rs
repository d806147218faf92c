//! JSON text to a tree, comments and trailing commas forgiven as editors' `mcp.json` have them. Strict
//! otherwise. Lines come from where the parser's borrowed slices lie in the text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::{Findings, Place};
use super::tree::{Entry, Lines, Node, Value};

/// The value a whole file is. `None` when it is not JSON; the findings say why.
pub(super) fn parse(file: &str, text: &str, findings: &Findings) -> Option<Node> {
    let plain = without_comments(text);
    let lines = Lines::new(file, &plain);
    match serde_json::from_str::<&RawValue>(&plain).and_then(|raw| node(raw, &lines, findings)) {
        Ok(node) => Some(node),
        Err(error) => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            let place = lines.line(error.line());
            findings.fault(&place, "", format!("not JSON: {message}"), "");
            None
        }
    }
}

fn node(raw: &RawValue, lines: &Lines<'_>, findings: &Findings) -> Result<Node, serde_json::Error> {
    let text = raw.get();
    let place = place_of(text, lines);
    let value = match text.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(text)?;
            let mut entries: Vec<Entry> = Vec::with_capacity(pairs.len());
            for (raw_key, value) in pairs {
                let place = place_of(raw_key.get(), lines);
                let key: String = serde_json::from_str(raw_key.get())?;
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let what = format!("written twice; first at {}", first.place);
                    findings.fault(&place, &key, what, "keep one of them");
                    continue;
                }
                entries.push(Entry { place, key, node: node(value, lines, findings)? });
            }
            Value::Table(entries)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Value::List(
                items
                    .into_iter()
                    .map(|item| node(item, lines, findings))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'"') => Value::Text(serde_json::from_str(text)?),
        Some(b't') => Value::Boolean(true),
        Some(b'f') => Value::Boolean(false),
        Some(b'n') => Value::Nothing,
        _ => text.parse().map_or_else(|_| Value::Float(text.to_owned()), Value::Integer),
    };
    Ok(Node { place, value })
}

/// Where a slice that the parser borrowed from the text lies in it.
fn place_of(part: &str, lines: &Lines<'_>) -> Place {
    lines.at(part.as_ptr().addr().saturating_sub(lines.text().as_ptr().addr()))
}

/// An object's pairs in the order of the file, duplicates included, so that they can be reported.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// The same text with `//` and `/* */` comments and trailing commas turned to spaces, so that every
/// other byte keeps its line.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut in_text = false;
    // Where in `out` a comma waits to see whether a bracket follows.
    let mut comma = None;
    // Only a comma behind a value is a trailing one; `[,]` stays the mistake it is.
    let mut behind_value = false;
    while let Some(char) = rest.next() {
        if in_text {
            out.push(char);
            match char {
                '\\' => out.extend(rest.next()),
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match (char, rest.peek()) {
            ('/', Some('/')) => {
                while rest.peek().is_some_and(|next| *next != '\n') {
                    rest.next();
                }
            }
            ('/', Some('*')) => {
                rest.next();
                out.push_str("  ");
                while let Some(inside) = rest.next() {
                    if inside == '*' && rest.peek() == Some(&'/') {
                        rest.next();
                        break;
                    }
                    out.push(if inside == '\n' { '\n' } else { ' ' });
                }
            }
            _ => {
                if matches!(char, '}' | ']')
                    && let Some(at) = comma.take()
                {
                    out.replace_range(at..=at, " ");
                }
                if char == ',' {
                    comma = behind_value.then_some(out.len());
                } else if !char.is_whitespace() {
                    comma = None;
                }
                if !char.is_whitespace() {
                    behind_value = !matches!(char, ',' | ':' | '[' | '{');
                }
                in_text = char == '"';
                out.push(char);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_forgiven_and_lines_kept() {
        let text = "{ // one\n/* two\n */ \"a\": [1, 2,\n], \"b//\": \"/* kept */,}\",\n}";
        let node = parse("m.json", text, &Findings::default()).expect("is JSON");
        let Value::Table(entries) = node.value else { panic!("not a table") };
        assert_eq!(entries[0].key, "a");
        assert_eq!(entries[0].place.to_string(), "m.json:3");
        assert_eq!(entries[1].key, "b//");
        assert_eq!(entries[1].node.value, Value::Text("/* kept */,}".into()));
        assert_eq!(entries[1].place.to_string(), "m.json:4");
    }

    #[test]
    fn what_is_not_json_names_its_line() {
        let findings = Findings::default();
        assert!(parse("m.json", "{\n \"a\": ,\n}", &findings).is_none());
        let faults = findings.settle().unwrap_err();
        assert_eq!(faults.to_string(), "m.json:2: not JSON: expected value");
    }
}
