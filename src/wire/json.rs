//! A view of one JSON value in validated text: look at it, walk its members or elements, never copy.
//! Not a tree; each walk reads the text again, which for the two levels that a gateway looks at is
//! cheaper than building one.

use std::borrow::Cow;
use std::ops::Range;

use super::scan::{self, ScanError};
use super::{skip, text};

/// One validated JSON value, as the text it is, without surrounding white space. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl<'a> Json<'a> {
    /// `{}`: what absent parameters mean.
    pub const EMPTY_OBJECT: Json<'static> = Json("{}");

    /// Validates `text` as one JSON value.
    pub fn parse(text: &'a str) -> Result<Self, ScanError> {
        let range = scan::document(text.as_bytes())?;
        Ok(Self(text.get(range).unwrap_or("null")))
    }

    /// As [`Json::parse`], from bytes that may not be UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, ScanError> {
        Self::parse(utf8(bytes)?)
    }

    /// Takes text that a scanner has passed already.
    pub(super) const fn trusted(text: &'a str) -> Self {
        Self(text)
    }

    /// Takes a text that was a value's own, or was made of such, and is not to be validated again. Of any other
    /// text only nonsense is read.
    pub const fn known(text: &'a str) -> Self {
        Self(text)
    }

    /// The value's own text, as the peer wrote it.
    pub const fn text(self) -> &'a str {
        self.0
    }

    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// The members of an object in their order; none for anything else.
    #[inline]
    pub fn members(self) -> Members<'a> {
        let at = if self.kind() == Kind::Object { 1 } else { self.0.len() };
        Members { text: self.0, at }
    }

    /// The elements of an array in their order; none for anything else.
    pub fn elements(self) -> Elements<'a> {
        let at = if self.kind() == Kind::Array { 1 } else { self.0.len() };
        Elements { text: self.0, at }
    }

    /// The first member called `key`.
    pub fn get(self, key: &str) -> Option<Json<'a>> {
        self.members().find(|member| member.is(key)).map(|member| member.value)
    }

    /// The text of a string; `None` for anything else. Borrowed where nothing is escaped.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let content = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(text::unescape(content))
    }

    /// An integer that fits; `None` for anything else, fractions included.
    pub fn as_i64(self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// A number, as near as a double comes.
    pub fn as_f64(self) -> Option<f64> {
        if self.kind() == Kind::Number { self.0.parse().ok() } else { None }
    }

    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Where this value's text lies in `outer`, the text it was taken from; `None` if it was not.
    pub fn range_in(self, outer: &str) -> Option<Range<usize>> {
        range_in(self.0, outer)
    }
}

/// Where `part` lies in `outer`, if it is a piece of it.
pub fn range_in(part: &str, outer: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(outer.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= outer.len()).then_some(start..end)
}

/// The bytes as text, or where they stop being UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, ScanError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| {
        // The basic flavour does not say where; only the failure pays for finding out.
        let at = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
        ScanError { what: "invalid UTF-8", at }
    })
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The key's content as written, without quotes; may hold escapes.
    pub key: &'a str,
    pub escaped: bool,
    pub value: Json<'a>,
}

impl Member<'_> {
    /// Whether the key reads `key`, however it is spelled: `"n\u0061me"` is `name`.
    #[inline]
    pub fn is(&self, key: &str) -> bool {
        if self.escaped { text::unescape(self.key) == key } else { self.key == key }
    }

    /// What the key reads, however it is spelled.
    #[inline]
    pub fn name(&self) -> Cow<'_, str> {
        if self.escaped { text::unescape(self.key) } else { Cow::Borrowed(self.key) }
    }
}

/// See [`Json::members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    text: &'a str,
    /// Behind the opening bracket or the last value; behind the text when there is no more.
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        let bytes = self.text.as_bytes();
        let key_start = skip::following(bytes, self.at)?.saturating_add(1);
        let (key_end, escaped) = skip::string_end(bytes, key_start);
        let start = skip::value_start(bytes, key_end.saturating_add(1));
        let end = skip::value_end(bytes, start);
        self.at = end;
        let value = Json(self.text.get(start..end)?);
        Some(Member { key: self.text.get(key_start..key_end)?, escaped, value })
    }
}

/// See [`Json::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    text: &'a str,
    /// As in [`Members`].
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let bytes = self.text.as_bytes();
        let start = skip::following(bytes, self.at)?;
        self.at = skip::value_end(bytes, start);
        self.text.get(start..self.at).map(Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_come_in_order_with_their_own_text() {
        let json = Json::parse(r#" { "a" : [1, 2.50 ,"x"] , "b":{ } ,"c":null} "#).unwrap();
        let members: Vec<_> = json.members().map(|m| (m.key, m.value.text())).collect();
        assert_eq!(members, [("a", r#"[1, 2.50 ,"x"]"#), ("b", "{ }"), ("c", "null")]);
        let elements: Vec<_> = json.get("a").unwrap().elements().map(Json::text).collect();
        assert_eq!(elements, ["1", "2.50", "\"x\""]);
        assert_eq!(Json::parse("{}").unwrap().members().count(), 0);
        assert_eq!(Json::parse("[]").unwrap().elements().count(), 0);
        assert_eq!(Json::parse("7").unwrap().elements().count(), 0);
    }

    #[test]
    fn a_key_is_found_however_it_is_spelled() {
        let json = Json::parse(r#"{"n\u0061me":"\u0078"}"#).unwrap();
        assert_eq!(json.get("name").and_then(Json::as_str).as_deref(), Some("x"));
    }

    #[test]
    fn a_value_knows_where_it_lies() {
        let text = r#"{"id": 7}"#;
        let id = Json::parse(text).unwrap().get("id").unwrap();
        assert_eq!(id.range_in(text), Some(7..8));
        assert_eq!(id.range_in("another text"), None);
    }
}
