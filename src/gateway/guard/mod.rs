//! The input guard: patterns held against the texts in a tool's arguments, before a call leaves. A net with wide
//! meshes: it finds what is written carelessly by who attacks a server behind it, and is no substitute for a
//! server that quotes its SQL. Off unless configured; by tool it is off, only written down, or the call is refused.
//!
//! Texts are looked at as their readers see them (JSON's escapes are read), keys and values, at any depth. All of
//! it takes time in proportion to the arguments' length: one walk, and regular expressions that never go back.

mod patterns;
mod texts;

use std::fmt;

use regex::{RegexSet, RegexSetBuilder};

use super::policy::{Lists, Pattern};
use crate::wire::Json;

/// What becomes of a call in which something was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is looked for.
    #[default]
    Off,
    /// It goes on, and what was found is in its audit record.
    Log,
    /// It is refused.
    Deny,
}

/// The patterns that come along.
pub const BUILT_IN: [&str; 3] = ["sql_injection", "path_traversal", "script_tag"];
/// Bytes that the compiled patterns may take, own ones included.
const COMPILED_BYTES_MAX: usize = 4 << 20;

/// What the operator wants. The edge reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Where no list says otherwise.
    pub mode: Mode,
    /// Tools by server; `deny` goes before `log` and that before `off`.
    pub deny: Lists,
    pub log: Lists,
    pub off: Lists,
    /// Of [`BUILT_IN`], those that are looked for.
    pub built_in: Vec<&'static str>,
    /// Patterns of the operator's own: a name and a regular expression.
    pub own: Vec<(String, String)>,
}

/// The guard, compiled. The same for every shard.
pub struct Guard {
    wish: Wish,
    set: RegexSet,
    /// The name of each expression; several may have one.
    names: Vec<Box<str>>,
}

/// What was found: never what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The pattern's name.
    pub pattern: Box<str>,
    /// Where: a JSON pointer (RFC 6901) from the arguments on; of a long one the beginning, and `…`.
    pub path: Box<str>,
    pub is_denied: bool,
}

impl Guard {
    /// `Err` says which of the operator's patterns cannot be used, and why.
    pub fn compile(wish: Wish) -> Result<Self, (String, String)> {
        let built_in = wish
            .built_in
            .iter()
            .flat_map(|&name| patterns::of(name).iter().map(move |expression| (name, *expression)));
        let own = wish.own.iter().map(|(name, expression)| (name.as_str(), expression.as_str()));
        let (names, expressions): (Vec<Box<str>>, Vec<&str>) =
            built_in.chain(own).map(|(name, expression)| (name.into(), expression)).unzip();
        let compile = |expressions: &[&str]| {
            RegexSetBuilder::new(expressions).size_limit(COMPILED_BYTES_MAX).build()
        };
        match compile(&expressions) {
            Ok(set) => Ok(Self { wish, set, names }),
            Err(all) => Err(wish
                .own
                .iter()
                .find_map(|(name, expression)| {
                    let wrong = compile(&[expression.as_str()]).err()?;
                    Some((name.clone(), last_line(&wrong)))
                })
                .unwrap_or_else(|| (String::new(), last_line(&all)))),
        }
    }

    /// What becomes of calls of a tool, called as its server calls it.
    pub fn mode(&self, server: &str, tool: &str) -> Mode {
        let names = |lists: &Lists| {
            lists.iter().any(|(of, tools)| {
                of.matches(server) && tools.iter().any(|pattern: &Pattern| pattern.matches(tool))
            })
        };
        let wish = &self.wish;
        if names(&wish.deny) {
            Mode::Deny
        } else if names(&wish.log) {
            Mode::Log
        } else if names(&wish.off) {
            Mode::Off
        } else {
            wish.mode
        }
    }

    /// The first thing that is found in the arguments of a call.
    pub fn inspect(&self, server: &str, tool: &str, arguments: Json<'_>) -> Option<Finding> {
        let mode = self.mode(server, tool);
        if mode == Mode::Off {
            return None;
        }
        let mut texts = texts::Texts::of(arguments);
        while let Some(text) = texts.next_text() {
            if let Some(at) = self.set.matches(&text).iter().next() {
                return Some(Finding {
                    pattern: self.names.get(at).cloned().unwrap_or_default(),
                    path: texts.path(),
                    is_denied: mode == Mode::Deny,
                });
            }
        }
        None
    }
}

/// An error of the expressions' is drawn over several lines; the last says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("wish", &self.wish).finish_non_exhaustive()
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        self.wish == other.wish
    }
}

impl Eq for Guard {}

#[cfg(test)]
mod tests;
