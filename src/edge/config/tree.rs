//! What a file says before anybody asks what it means: tables, lists and scalars, each with its place.
//! TOML, YAML, JSON and environment variables all become this. Not here: keys, types or defaults.

use super::fault::Place;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// One key of a table. `place` is the key's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// YAML's and JSON's null: a key without a value.
    Nothing,
    Boolean(bool),
    Integer(i64),
    /// Kept as it was written; no setting is a fraction, so this is only ever reported.
    Float(String),
    Text(String),
    /// What an environment variable holds: text that may also be read as another type.
    Loose(String),
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

impl Value {
    /// For "expected …, found …". Texts are shown, but not whole ones: a secret or a novel may be
    /// in the wrong place.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Boolean(value) => format!("the boolean {value}"),
            Self::Integer(value) => format!("the number {value}"),
            Self::Float(value) => format!("the fraction {value}"),
            Self::Text(text) | Self::Loose(text) if text.is_empty() => "an empty text".to_owned(),
            Self::Text(text) | Self::Loose(text) => {
                let mut shown: String = text.chars().take(40).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                format!("the text {shown:?}")
            }
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

impl Node {
    pub(super) fn table(place: Place, entries: Vec<Entry>) -> Self {
        Self { place, value: Value::Table(entries) }
    }

    /// Where a key of a table below this one was written, each step a key; nowhere if it was not.
    pub(super) fn place_at(&self, path: &[&str]) -> Place {
        let mut place = Place::Default;
        let mut node = self;
        for key in path {
            let Value::Table(entries) = &node.value else { return Place::Default };
            let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
                return Place::Default;
            };
            (place, node) = (entry.place.clone(), &entry.node);
        }
        place
    }

    /// The table of a key, made when it is missing. `None` if the key holds something else, which
    /// whoever reads the section reports.
    pub(super) fn table_at(&mut self, key: &str, place: &Place) -> Option<&mut Vec<Entry>> {
        let Value::Table(entries) = &mut self.value else { return None };
        let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            entries.push(Entry {
                place: place.clone(),
                key: key.to_owned(),
                node: Self::table(place.clone(), Vec::new()),
            });
            entries.len() - 1
        });
        let node = &mut entries[index].node;
        if node.value == Value::Nothing {
            node.value = Value::Table(Vec::new());
        }
        match &mut node.value {
            Value::Table(entries) => Some(entries),
            _ => None,
        }
    }
}

/// Byte offsets to line numbers of one text.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    file: std::sync::Arc<str>,
    text: &'a str,
    /// The offset at which each line starts.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        let starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.into(), text, starts }
    }

    pub(super) const fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn line(&self, line: usize) -> Place {
        Place::Line { file: self.file.clone(), line: line.max(1) }
    }

    pub(super) fn at(&self, offset: usize) -> Place {
        self.line(self.starts.partition_point(|start| *start <= offset))
    }
}
