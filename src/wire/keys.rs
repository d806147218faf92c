//! Keys of objects that somebody looks for while the object is validated: closed enums, so that what
//! is found needs no text to be named by.
#![expect(clippy::inline_always, reason = "as in `scan`: what is found must stay in registers")]

use super::scan::{self, ScanError, StringToken, token};
use super::text::unescape;

/// A key of a closed set; made by the macro `keys`.
pub trait Key: Copy {
    /// The key at the front of `rest` if it is written as nearly everybody writes it, and the length of
    /// that: quotes and colon included, nothing between them. Cheaper than to find where a key ends.
    fn spelled(rest: &[u8]) -> Option<(Self, usize)>;

    /// The key that reads `name`, if it is of the set.
    fn named(name: &str) -> Option<Self>;
}

/// No key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {}

impl Key for NoKey {
    fn spelled(_: &[u8]) -> Option<(Self, usize)> {
        None
    }

    fn named(_: &str) -> Option<Self> {
        None
    }
}

/// An enum of keys with their texts, compared in this order: the frequent ones first.
macro_rules! keys {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($variant,)* }

        impl $name {
            #[allow(dead_code, reason = "not every set is told of")]
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl $crate::wire::keys::Key for $name {
            #[inline(always)]
            fn spelled(rest: &[u8]) -> Option<(Self, usize)> {
                $(
                    let written = concat!("\"", $text, "\":").as_bytes();
                    if $crate::wire::keys::begins(rest, written) {
                        return Some((Self::$variant, written.len()));
                    }
                )*
                None
            }

            fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

pub(crate) use keys;

/// Whether `rest` begins with `written`, a constant. A long one is compared by halves, each short enough
/// for a few loads where all of it would be a call; the back first, because it is there that keys differ.
#[inline(always)]
pub(crate) fn begins(rest: &[u8], written: &'static [u8]) -> bool {
    if written.len() <= 16 {
        return rest.starts_with(written);
    }
    let half = written.len() / 2;
    let (Some(rest), Some((front, back))) =
        (rest.get(..written.len()), written.split_at_checked(half))
    else {
        return false;
    };
    rest.split_at_checked(half).is_some_and(|(head, tail)| tail == back && head == front)
}

/// Reads a key and its colon, up to the first byte of the value; `here` is the byte at `at`.
#[inline(always)]
pub(super) fn read<K: Key>(
    text: &str,
    at: usize,
    here: u8,
    found: &mut Option<K>,
) -> Result<usize, ScanError> {
    let bytes = text.as_bytes();
    if let Some((key, length)) = bytes.get(at..).and_then(K::spelled) {
        *found = Some(key);
        return Ok(token(bytes, at.wrapping_add(length)).0);
    }
    other(text, at, here, found)
}

/// A key that is not looked for, or is spelled in another way.
#[inline(never)]
fn other<K: Key>(
    text: &str,
    at: usize,
    here: u8,
    found: &mut Option<K>,
) -> Result<usize, ScanError> {
    let mut token = StringToken::default();
    let start = scan::key(text.as_bytes(), at, here, &mut token)?;
    let content = text.get(token.start..token.end).unwrap_or_default();
    *found = if token.escaped { K::named(&unescape(content)) } else { K::named(content) };
    Ok(start)
}
