//! The texts in a JSON value, keys and values, in their order and in one pass, however deep they lie; and where
//! the last one was. The value has been validated; of text that was not, some nonsense is read and no more.

use std::borrow::Cow;

use crate::wire::{Json, text};

/// Bytes of a path that are told.
const PATH_BYTES_MAX: usize = 256;

/// See the module.
pub(super) struct Texts<'a> {
    text: &'a str,
    at: usize,
    /// What is open around the place.
    open: Vec<Level<'a>>,
    /// The last text was a key: it is part of no path.
    is_key: bool,
}

enum Level<'a> {
    /// The key whose value comes, as it was written; `None` where a key comes.
    Object(Option<&'a str>),
    Array(usize),
}

impl<'a> Texts<'a> {
    pub(super) const fn of(json: Json<'a>) -> Self {
        Self { text: json.text(), at: 0, open: Vec::new(), is_key: false }
    }

    /// The next text, as its reader sees it.
    pub(super) fn next_text(&mut self) -> Option<Cow<'a, str>> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            match byte {
                b'{' => self.open.push(Level::Object(None)),
                b'[' => self.open.push(Level::Array(0)),
                b'}' | b']' => {
                    self.open.pop();
                }
                b',' => match self.open.last_mut() {
                    Some(Level::Object(key)) => *key = None,
                    Some(Level::Array(index)) => *index += 1,
                    None => {}
                },
                b'"' => {
                    let content = self.content();
                    self.is_key = false;
                    if let Some(Level::Object(key @ None)) = self.open.last_mut() {
                        *key = Some(content);
                        self.is_key = true;
                    }
                    return Some(text::unescape(content));
                }
                _ => {}
            }
        }
    }

    /// A string's content; the place is behind its opening quote, and then behind its closing one.
    fn content(&mut self) -> &'a str {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let mut end = 0;
        while let Some(step) = memchr::memchr2(b'"', b'\\', rest.get(end..).unwrap_or_default()) {
            end += step;
            if rest.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let end = end.min(rest.len());
        self.at = start + end + 1;
        self.text.get(start..start + end).unwrap_or_default()
    }

    /// Where the last text was: a JSON pointer. A key that is itself the text is not repeated: its object is named.
    pub(super) fn path(&self) -> Box<str> {
        let mut path = String::new();
        let depth = self.open.len() - usize::from(self.is_key && !self.open.is_empty());
        for level in self.open.iter().take(depth) {
            match level {
                Level::Object(Some(key)) => {
                    let key = text::unescape(key).replace('~', "~0").replace('/', "~1");
                    path.extend(["/", &key]);
                }
                Level::Object(None) => path.push('/'),
                Level::Array(index) => path.extend(["/", &index.to_string()]),
            }
            if path.len() > PATH_BYTES_MAX {
                path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
                path.push('…');
                break;
            }
        }
        path.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(json: &str) -> Vec<(String, String)> {
        let json = Json::parse(json).unwrap();
        let mut texts = Texts::of(json);
        let mut all = Vec::new();
        while let Some(text) = texts.next_text() {
            all.push((texts.path().into(), text.into_owned()));
        }
        all
    }

    #[test]
    fn every_text_is_found_with_its_place() {
        let found = all(
            r#"{"a":"1","b":[true,"2",{"c/~":"\u0033\"","d":{}},[["4"]]],"e":-1.5e3,"f":null,"":"5"}"#,
        );
        let expected = [
            ("", "a"),
            ("/a", "1"),
            ("", "b"),
            ("/b/1", "2"),
            ("/b/2", "c/~"),
            ("/b/2/c~1~0", "3\""),
            ("/b/2", "d"),
            ("/b/3/0/0", "4"),
            ("", "e"),
            ("", "f"),
            ("", ""),
            ("/", "5"),
        ];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect();
        assert_eq!(found, expected);
        assert_eq!(all("\"x\""), [(String::new(), "x".to_owned())]);
        assert_eq!(all("7"), []);
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let key = "é".repeat(1_000);
        let found = all(&format!(r#"{{"{key}":["x"]}}"#));
        let path = &found.last().unwrap().0;
        assert!(path.len() <= PATH_BYTES_MAX + 3 && path.ends_with('…'), "{path}");
    }
}
