//! Which prefix stands before each upstream's names: none for an only upstream, else its own or its
//! name. Prefixes must be tool-name characters, must not begin one another, and the URI schemes made
//! of them must differ. Collisions name both places.

use std::collections::BTreeSet;

use super::read::Reader;
use super::upstreams::Draft;
use crate::gateway::route::scheme;
use crate::gateway::settings::Upstream;

/// Longest prefix: a tool's name may have 128 characters, and half of them are the server's.
const PREFIX_CHARS_MAX: usize = 64;

/// Gives each upstream its prefix. `foreign` are those of a file whose format has no prefixes: theirs
/// are made to fit, with a warning, where others' are refused.
pub(super) fn settle(
    drafts: Vec<Draft<'_>>,
    foreign: &BTreeSet<String>,
    separator: &str,
    reader: &Reader<'_>,
) -> Vec<Upstream> {
    let only = drafts.len() == 1;
    let mut upstreams = Vec::with_capacity(drafts.len());
    let mut places = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let prefix = match &draft.prefix {
            Some((prefix, field)) => {
                if let Some(what) = unfit(prefix) {
                    field
                        .fault(what, "write one of letters, digits, _ . -, starting with a letter");
                }
                prefix.clone()
            }
            None if only => String::new(),
            None if foreign.contains(&draft.name) && unfit(&draft.name).is_some() => {
                let made = fit(&draft.name);
                reader.warn_at(
                    &draft.place,
                    &draft.name,
                    format!("the name cannot stand before tool names; {made:?} does"),
                    "",
                );
                made
            }
            None => {
                if let Some(what) = unfit(&draft.name) {
                    let remedy = format!(
                        "several upstreams need prefixes; rename it, or add prefix = {:?}",
                        fit(&draft.name)
                    );
                    reader.fault_at(&draft.place, &draft.name, what, remedy);
                }
                draft.name.clone()
            }
        };
        places.push(draft.prefix.map_or(draft.place, |(_, field)| field.place));
        upstreams.push(Upstream {
            name: draft.name,
            prefix,
            target: draft.target,
            era: draft.era,
            share: draft.share,
            warm: draft.warm,
            spread: draft.spread,
        });
    }
    for (later, upstream) in upstreams.iter().enumerate() {
        for (earlier, other) in upstreams.iter().enumerate().take(later) {
            let (mine, theirs) =
                (format!("{}{separator}", upstream.prefix), format!("{}{separator}", other.prefix));
            let place = &places[later];
            let there = format!("upstream {:?} at {}", other.name, places[earlier]);
            let what = if upstream.prefix == other.prefix {
                format!("the prefix {:?} is also that of {there}", upstream.prefix)
            } else if mine.starts_with(&theirs) || theirs.starts_with(&mine) {
                format!("names starting {mine:?} cannot be told from those of {there}, {theirs:?}")
            } else if scheme(&upstream.prefix) == scheme(&other.prefix) {
                let scheme = scheme(&upstream.prefix);
                format!("the URI scheme {scheme:?} of its resources is also that of {there}")
            } else {
                continue;
            };
            reader.fault_at(place, &upstream.name, what, "give one of them another prefix");
        }
    }
    upstreams
}

/// Why a prefix cannot stand before tool names and URIs.
fn unfit(prefix: &str) -> Option<String> {
    if prefix.chars().count() > PREFIX_CHARS_MAX {
        return Some(format!("the prefix {prefix:?} is longer than {PREFIX_CHARS_MAX} characters"));
    }
    if let Some(char) = prefix.chars().find(|char| !fits(*char)) {
        return Some(format!("the prefix {prefix:?} holds {char:?}, which no tool name may"));
    }
    if !prefix.starts_with(|char: char| char.is_ascii_alphabetic()) {
        return Some(format!(
            "the prefix {prefix:?} does not start with a letter, as a URI scheme must"
        ));
    }
    None
}

const fn fits(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-')
}

/// The nearest prefix that fits.
fn fit(name: &str) -> String {
    let mut made: String = name.chars().map(|char| if fits(char) { char } else { '-' }).collect();
    if !made.starts_with(|char: char| char.is_ascii_alphabetic()) {
        made.insert_str(0, "mcp-");
    }
    made.truncate(PREFIX_CHARS_MAX);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_prefix_always_fits() {
        for name in ["My Server", "1password", "github.com/foo", "ünï", "", &"x".repeat(100)] {
            assert_eq!(unfit(&fit(name)), None, "{name}");
        }
        assert_eq!(fit("My Server"), "My-Server");
        assert_eq!(fit("1password"), "mcp-1password");
    }
}
