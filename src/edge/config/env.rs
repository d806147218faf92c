//! Environment variables over a file's tree: `RINGGATE_<SECTION>__<KEY>`, and
//! `RINGGATE_UPSTREAMS__<NAME>__<KEY>` for upstreams. They win, and what is wrong in them is reported
//! under the variable's name. Not here: variables that are no settings (no `__`).

use super::fault::{Findings, Place};
use super::tree::{Entry, Node, Value};

const PREFIX: &str = "RINGGATE_";

/// Lays the settings among `variables` over `root`. `sections` are the known ones.
pub(super) fn overlay(
    root: &mut Node,
    variables: &[(String, String)],
    sections: &[&str],
    findings: &Findings,
) {
    let mut settings: Vec<_> = variables
        .iter()
        .filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)))
        .collect();
    // The environment has no order that means anything.
    settings.sort();
    for (name, setting, value) in settings {
        let place = Place::Variable { name: name.as_str().into() };
        let Some((section, key)) = setting.split_once("__") else {
            let lower = setting.to_lowercase();
            // With one underline it would be silently without effect.
            if let Some((section, key)) = sections.iter().find_map(|section| {
                Some((section, lower.strip_prefix(section)?.strip_prefix('_')?))
            }) {
                let meant = format!("{PREFIX}{section}__{key}").to_uppercase();
                findings.fault(&place, "", "not a setting", format!("write {meant}"));
            }
            continue;
        };
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        let node = Node { place: place.clone(), value: Value::Loose(value.clone()) };
        if section == "upstreams" {
            let Some((upstream, key)) = key.rsplit_once("__") else {
                let remedy = format!("write {PREFIX}UPSTREAMS__<NAME>__<KEY>");
                findings.fault(&place, "", "names no key of an upstream", remedy);
                continue;
            };
            if let Some(upstreams) = root.table_at("upstreams", &place) {
                let name = upstreams
                    .iter()
                    .map(|entry| entry.key.clone())
                    .find(|name| as_variable(name) == upstream)
                    .unwrap_or_else(|| upstream.to_owned());
                let mut holder = Node::table(place.clone(), std::mem::take(upstreams));
                if let Some(keys) = holder.table_at(&name, &place) {
                    put(keys, key, place.clone(), node);
                }
                if let Value::Table(entries) = holder.value {
                    *upstreams = entries;
                }
            }
        } else if let Some(keys) = root.table_at(&section, &place) {
            put(keys, &key, place.clone(), node);
        }
    }
}

/// How an upstream's name is spelled in a variable: only letters, digits and `_` are portable there.
fn as_variable(name: &str) -> String {
    name.chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '_' })
        .collect()
}

fn put(keys: &mut Vec<Entry>, key: &str, place: Place, node: Node) {
    match keys.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => {
            entry.place = place;
            entry.node = node;
        }
        None => keys.push(Entry { place, key: key.to_owned(), node }),
    }
}
