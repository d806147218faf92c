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

    /// Puts the member text `"key":value` (or several, with their commas) first into `object`, a piece of
    /// the text.
    pub fn insert_member(&mut self, object: Json<'_>, member: impl Into<Cow<'t, str>>) {
        let Some(range) = object.range_in(self.text) else { return };
        let inside = range.start.saturating_add(1);
        self.edits.push((inside..inside, member.into()));
        if object.members().next().is_some() {
            self.edits.push((inside..inside, Cow::Borrowed(",")));
        }
    }

    /// Takes the members called `keys` out of `object`, with the commas that go with them.
    pub fn remove_members(&mut self, object: Json<'_>, keys: &[&str]) {
        // Where the last member that stays ends, and where the run of those that go began.
        let mut kept_end = None;
        let mut gone: Option<Range<usize>> = None;
        for member in object.members() {
            let Some(key) = range_in(member.key, self.text) else { return };
            let Some(value) = member.value.range_in(self.text) else { return };
            let start = key.start.saturating_sub(1);
            if keys.iter().any(|key| member.is(key)) {
                gone = Some(gone.map_or(start, |run| run.start)..value.end);
                continue;
            }
            if let Some(run) = gone.take() {
                self.edits.push((run.start..start, Cow::Borrowed("")));
            }
            kept_end = Some(value.end);
        }
        if let Some(run) = gone {
            self.edits.push((kept_end.unwrap_or(run.start)..run.end, Cow::Borrowed("")));
        }
    }

    /// The text with its edits.
    pub fn into_text(self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Appends the text with its edits to `out`.
    pub fn write(mut self, out: &mut Vec<u8>) {
        // A stable sort: edits of one place stay in the order in which they were given.
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
        let all = ["a", "b", "c"];
        for gone in 0..8usize {
            let keys: Vec<&str> = (0..3).filter(|n| gone & (1 << n) != 0).map(|n| all[n]).collect();
            let left: Vec<&str> = (0..3).filter(|n| gone & (1 << n) == 0).map(|n| all[n]).collect();
            let out = apply(text, |s, j| s.remove_members(j, &keys));
            let json = Json::parse(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
            assert_eq!(json.members().map(|m| m.key.to_owned()).collect::<Vec<_>>(), left, "{out}");
        }
        assert_eq!(apply(text, |s, j| s.remove_members(j, &["x"])), text);
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
