//! Reading a tree by key and type. A reader remembers which keys it was asked for, so that the known
//! keys stand once, in the code that uses them, and every other key in the file is an error.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::{Findings, Place, nearest};
use super::toml::parse_value;
use super::tree::{Entry, Node, Value};
use super::units;

/// One table.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) place: Place,
    /// Dotted path of the table; empty for the file.
    pub(super) path: String,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    findings: &'a Findings,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, path: &str, findings: &'a Findings) -> Self {
        let entries = match &node.value {
            Value::Table(entries) => entries.as_slice(),
            Value::Nothing => &[],
            other => {
                let what = format!("expected a table, found {}", other.describe());
                findings.fault(&node.place, path, what, "");
                &[]
            }
        };
        let (place, path) = (node.place.clone(), path.to_owned());
        Self { place, path, entries, asked: Vec::new(), findings }
    }

    pub(super) fn field(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.asked.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field::new(entry, join(&self.path, key), self.findings))
    }

    /// The table under a key; an empty one if there is none.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        match self.field(key) {
            Some(field) => field.table(),
            None => Self {
                place: self.place.clone(),
                path: join(&self.path, key),
                entries: &[],
                asked: Vec::new(),
                findings: self.findings,
            },
        }
    }

    /// Every key, whatever its name: for tables whose keys are the operator's.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + use<'a> {
        let (path, findings) = (self.path.clone(), self.findings);
        self.entries.iter().map(move |entry| {
            (entry.key.as_str(), Field::new(entry, join(&path, &entry.key), findings))
        })
    }

    /// A fault about one entry of this table, at a place of the caller's choice.
    pub(super) fn fault_at(
        &self,
        place: &Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.fault(place, join(&self.path, key), what, remedy);
    }

    /// A warning about one entry of this table, likewise.
    pub(super) fn warn_at(
        &self,
        place: &Place,
        key: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.warn(place, join(&self.path, key), what, remedy);
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        let kind = if self.path.is_empty() { "section" } else { "key" };
        for entry in self.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let remedy = nearest(&entry.key, self.asked.iter().copied()).map_or_else(
                || format!("known here: {}", self.asked.join(", ")),
                |known| format!("did you mean {known:?}?"),
            );
            let path = join(&self.path, &entry.key);
            self.findings.fault(&entry.place, path, format!("unknown {kind}"), remedy);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// One value under its key. The reading functions report what does not fit and give `None`.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) place: Place,
    pub(super) path: String,
    node: &'a Node,
    findings: &'a Findings,
}

impl<'a> Field<'a> {
    fn new(entry: &'a Entry, path: String, findings: &'a Findings) -> Self {
        // A scalar is reported where it stands; a table where its key does, since a TOML table's
        // own span starts elsewhere.
        let place = match entry.node.value {
            Value::Table(_) | Value::List(_) => entry.place.clone(),
            _ => entry.node.place.clone(),
        };
        Self { place, path, node: &entry.node, findings }
    }

    pub(super) fn fault(&self, what: impl Into<String>, remedy: impl Into<String>) {
        self.findings.fault(&self.place, self.path.clone(), what, remedy);
    }

    pub(super) fn warn(&self, what: impl Into<String>, remedy: impl Into<String>) {
        self.findings.warn(&self.place, self.path.clone(), what, remedy);
    }

    pub(super) const fn value(&self) -> &'a Value {
        &self.node.value
    }

    fn expected<T>(&self, expected: &str) -> Option<T> {
        self.fault(format!("expected {expected}, found {}", self.node.value.describe()), "");
        None
    }

    /// A text that is not empty.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) | Value::Loose(text) if !text.is_empty() => Some(text),
            _ => self.expected(expected),
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Boolean(value) => Some(*value),
            Value::Loose(text) if text == "true" => Some(true),
            Value::Loose(text) if text == "false" => Some(false),
            _ => self.expected("true or false"),
        }
    }

    /// A number, also when it is meant to be one of several forms: `None` reports nothing.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match &self.node.value {
            Value::Integer(value) => Some(*value),
            Value::Loose(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A text of any kind, reporting nothing.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) | Value::Loose(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match self.as_integer().and_then(|value| u64::try_from(value).ok()) {
            Some(value) if range.contains(&value) => Some(value),
            _ => self.expected(&expected),
        }
    }

    /// Bytes: `"4MiB"` or a number.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let value = match self.as_integer() {
            Some(bytes) => u64::try_from(bytes).ok(),
            None => self.as_text().and_then(units::size),
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            Some(_) => self.expected(&format!(
                "a size from {} to {}",
                units::show_size(*range.start()),
                units::show_size(*range.end())
            )),
            None => self.expected("a size such as \"4MiB\", \"100KiB\" or a number of bytes"),
        }
    }

    /// A time: `"30s"`, `"500ms"` or a number of milliseconds.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let value = match self.as_integer() {
            Some(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            None => self.as_text().and_then(units::duration),
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            Some(_) => {
                self.expected(&format!("a time from {:?} to {:?}", range.start(), range.end()))
            }
            None => self.expected("a time such as \"30s\", \"500ms\" or a number of milliseconds"),
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        if let Some(text) = self.as_text() {
            if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
                return Some(*value);
            }
            if let Some(word) = nearest(text, words.iter().map(|(word, _)| *word)) {
                let what = self.node.value.describe();
                let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                let what = format!("expected {}, found {what}", all.join(" or "));
                self.fault(what, format!("did you mean {word:?}?"));
                return None;
            }
        }
        let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.expected(&all.join(" or "))
    }

    /// A list of texts; numbers and booleans count as the text they were written as.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let expected = "a list of texts such as [\"a\", \"b\"]";
        let from_variable;
        let items = match &self.node.value {
            Value::List(items) => items,
            Value::Loose(text) => match parse_value(text, &self.place) {
                Some(Value::List(items)) => {
                    from_variable = items;
                    &from_variable
                }
                _ => return self.expected(expected),
            },
            _ => return self.expected(expected),
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Some(text) = scalar(&item.value) else {
                let path = format!("{}[{index}]", self.path);
                let what = format!("expected a text, found {}", item.value.describe());
                self.findings.fault(&item.place, path, what, "");
                return None;
            };
            texts.push(text);
        }
        Some(texts)
    }

    /// A list of tables, each as a field of its own.
    pub(super) fn tables(&self) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            return self.expected("a list of tables");
        };
        let each = items.iter().enumerate().map(|(index, node)| {
            let (place, path) = (node.place.clone(), format!("{}[{index}]", self.path));
            Self { place, path, node, findings: self.findings }
        });
        Some(each.collect())
    }

    /// A table from text to text.
    pub(super) fn text_table(&self) -> Option<BTreeMap<String, String>> {
        let expected = "a table of texts such as { KEY = \"value\" }";
        let from_variable;
        let entries = match &self.node.value {
            Value::Table(entries) => entries,
            Value::Loose(text) => match parse_value(text, &self.place) {
                Some(Value::Table(entries)) => {
                    from_variable = entries;
                    &from_variable
                }
                _ => return self.expected(expected),
            },
            _ => return self.expected(expected),
        };
        let mut table = BTreeMap::new();
        for entry in entries {
            let Some(text) = scalar(&entry.node.value) else {
                let path = join(&self.path, &entry.key);
                let what = format!("expected a text, found {}", entry.node.value.describe());
                self.findings.fault(&entry.place, path, what, "");
                return None;
            };
            table.insert(entry.key.clone(), text);
        }
        Some(table)
    }

    /// A path; a relative one starts at the folder of the file that names it.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text("a path").map(|path| self.place.folder().join(path))
    }

    pub(super) fn table(&self) -> Reader<'a> {
        Reader { place: self.place.clone(), ..Reader::new(self.node, &self.path, self.findings) }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Loose(text) | Value::Float(text) => Some(text.clone()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::Nothing | Value::List(_) | Value::Table(_) => None,
    }
}
