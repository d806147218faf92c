//! A file that a setting names (rules, keys): TOML, YAML or JSON, by its ending.

use std::path::Path;

use super::fault::Findings;
use super::read::Field;
use super::tree::{Lines, Node};
use super::{json, toml, yaml};

/// What it says; `None` after why not was told.
pub(super) fn read(path: &Path, field: &Field<'_>, findings: &Findings) -> Option<Node> {
    findings.reads(path);
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            field.fault(format!("{name} cannot be read: {error}"), "");
            return None;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = Lines::new(&name, text);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => toml::parse(&lines, findings),
        Some("yaml" | "yml") => yaml::parse(&lines, findings),
        Some("json") => json::parse(&name, text, findings),
        _ => {
            let what = "the file's name does not say which format it is";
            field.fault(what, "name it .toml, .yaml or .json");
            None
        }
    }
}
