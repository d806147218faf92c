//! TOML text to a tree. All syntax errors of a file are reported, not only the first.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Findings, Place};
use super::tree::{Entry, Lines, Node, Value};

/// The table a whole file is. `None` when it is not TOML; the findings say why.
pub(super) fn parse(lines: &Lines<'_>, findings: &Findings) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(lines.text());
    for error in &errors {
        let place = lines.at(error.span().map_or(0, |span| span.start));
        findings.fault(&place, "", format!("not TOML: {}", error.message()), "");
    }
    errors
        .is_empty()
        .then(|| Node::table(lines.line(1), entries(table.get_ref(), &|span| lines.at(span.start))))
}

/// One value, for lists and tables in environment variables.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    Some(node(&value, &|_| place.clone()).value)
}

fn entries(table: &DeTable<'_>, at: &dyn Fn(Range<usize>) -> Place) -> Vec<Entry> {
    // The parser orders keys by name; the file's order is that of their spans.
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    keys.into_iter()
        .map(|(key, value)| Entry {
            place: at(key.span()),
            key: key.get_ref().clone().into_owned(),
            node: node(value, at),
        })
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>, at: &dyn Fn(Range<usize>) -> Place) -> Node {
    let place = at(value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| Value::Float(integer.to_string()), Value::Integer),
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, at)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, at)),
    };
    Node { place, value }
}
