//! Changing a few places of a text and keeping every other byte. Edits are given in any order and
//! applied in that of their places.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{Json, range_in};

/// Edits on one text. Overlapping edits are a fault of the caller; the later one is then left out.
#[derive(Debug, Default)]
pub struct Splice<'t> {
    text: &'t str,
    edits: Vec<(Range<usize>, Cow<'t, str>)>,
}

impl<'t> Splice<'t> {
    pub const fn of(text: &'t str) -> Self {
        Self { text, edits: Vec::new() }
    }

    pub fn is_unchanged(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts `with` in the place of `part`, which must be a piece of the text.
    pub fn replace(&mut self, part: &str, with: impl Into<Cow<'t, str>>) {
        if let Some(range) = range_in(part, self.text) {
            self.edits.push((range, with.into()));
        }
    }

    /// Puts `what` before the first byte of `part`.
    pub fn before(&mut self, part: &str, what: impl Into<Cow<'t, str>>) {
        if let Some(range) = range_in(part, self.text) {
            self.edits.push((range.start..range.start, what.into()));
        }
    }

    /// Puts the member text `"key":value` first into `object`, a piece of the text.
    pub fn insert_member(&mut self, object: Json<'_>, member: &str) {
        let Some(range) = object.range_in(self.text) else { return };
        let inside = range.start.saturating_add(1);
        let comma = if object.members().next().is_some() { "," } else { "" };
        self.edits.push((inside..inside, Cow::Owned(format!("{member}{comma}"))));
    }

    /// Takes the member `key` out of `object`, with the comma that goes with it.
    pub fn remove_member(&mut self, object: Json<'_>, key: &str) {
        let Some(outer) = object.range_in(self.text) else { return };
        let mut previous_end = None;
        let mut members = object.members().peekable();
        while let Some(member) = members.next() {
            let Some(value) = member.value.range_in(self.text) else { return };
            if member.is(key) {
                let next = members
                    .peek()
                    .and_then(|next| range_in(next.key, self.text))
                    .map(|key| key.start.saturating_sub(1));
                let here = range_in(member.key, self.text)
                    .map_or(value.start, |key| key.start.saturating_sub(1));
                let range = match (next, previous_end) {
                    // With what follows, up to the next key; else with the comma before.
                    (Some(next), _) => here..next,
                    (None, Some(previous)) => previous..value.end,
                    (None, None) => outer.start.saturating_add(1)..outer.end.saturating_sub(1),
                };
                self.edits.push((range, Cow::Borrowed("")));
                return;
            }
            previous_end = Some(value.end);
        }
    }

    /// Appends the text with its edits to `out`.
    pub fn write(mut self, out: &mut Vec<u8>) {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut at = 0;
        for (range, with) in &self.edits {
            if range.start < at {
                continue;
            }
            out.extend_from_slice(self.text.get(at..range.start).unwrap_or_default().as_bytes());
            out.extend_from_slice(with.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(self.text.get(at..).unwrap_or_default().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, edit: impl FnOnce(&mut Splice<'_>, Json<'_>)) -> String {
        let mut splice = Splice::of(text);
        edit(&mut splice, Json::parse(text).unwrap());
        let mut out = Vec::new();
        splice.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_member_goes_in_first_and_all_else_stays() {
        assert_eq!(apply("{ }", |s, j| s.insert_member(j, "\"a\":1")), "{\"a\":1 }");
        assert_eq!(
            apply("{\"b\": 2.0}", |s, j| s.insert_member(j, "\"a\":1")),
            "{\"a\":1,\"b\": 2.0}"
        );
    }

    #[test]
    fn a_member_goes_out_with_its_comma_wherever_it_stands() {
        let text = r#"{ "a":1, "b":[2] ,"c":3 }"#;
        for (key, left) in [("a", vec!["b", "c"]), ("b", vec!["a", "c"]), ("c", vec!["a", "b"])] {
            let out = apply(text, |s, j| s.remove_member(j, key));
            let json = Json::parse(&out).unwrap();
            assert_eq!(json.members().map(|m| m.key.to_owned()).collect::<Vec<_>>(), left, "{out}");
        }
        assert_eq!(apply(r#"{ "a":1 }"#, |s, j| s.remove_member(j, "a")), "{}");
        assert_eq!(apply(text, |s, j| s.remove_member(j, "x")), text);
    }

    #[test]
    fn edits_apply_in_the_order_of_their_places() {
        let out = apply(r#"{"a":1,"b":2}"#, |s, j| {
            s.replace(j.get("b").unwrap().text(), "20");
            s.replace(j.get("a").unwrap().text(), "10");
        });
        assert_eq!(out, r#"{"a":10,"b":20}"#);
    }
}
