//! The `mcp.json` that people already have: `mcpServers` of Claude and Cursor, `servers` of VS Code.
//! Its servers become sections as if they stood in `[upstreams]`. What cannot be served yet is left out
//! with a warning; keys of other tools are left alone.

use std::collections::BTreeMap;
use std::path::Path;

use super::expand::expand;
use super::fault::{Findings, Place, nearest};
use super::json;
use super::tree::{Entry, Node, Value};

/// Under which key the servers stand, by who writes it.
const HOLDERS: [&str; 3] = ["mcpServers", "servers", "context_servers"];
/// What a server's entry may say that matters here.
const KEYS: [&str; 11] = [
    "command",
    "args",
    "env",
    "cwd",
    "url",
    "headers",
    "transport",
    "type",
    "disabled",
    "era",
    "share",
];

/// Reads one file's servers.
pub(super) fn parse(
    file: &str,
    text: &str,
    variables: &BTreeMap<String, String>,
    findings: &Findings,
) -> Vec<Entry> {
    let Some(root) = json::parse(file, text, findings) else { return Vec::new() };
    let Value::Table(entries) = &root.value else {
        let what = format!("expected an object, found {}", root.value.describe());
        findings.fault(&root.place, "", what, "");
        return Vec::new();
    };
    // VS Code's settings file has the same one level down, under `mcp`.
    let inner = find(entries, "mcp").and_then(|entry| match &entry.node.value {
        Value::Table(entries) => Some(entries),
        _ => None,
    });
    let holder =
        HOLDERS.iter().find_map(|holder| find(entries, holder)).or_else(|| find(inner?, "servers"));
    let Some(holder) = holder else {
        let near = entries
            .iter()
            .find_map(|entry| Some((entry, nearest(&entry.key, HOLDERS.iter().copied())?)));
        let (place, key, remedy) = match near {
            Some((entry, meant)) => {
                (&entry.place, entry.key.as_str(), format!("did you mean {meant:?}?"))
            }
            None => {
                (&root.place, "", "write {\"mcpServers\": {\"NAME\": {\"command\": …}}}".to_owned())
            }
        };
        findings.fault(place, key, "no servers: there is no key \"mcpServers\"", remedy);
        return Vec::new();
    };
    let Value::Table(servers) = &holder.node.value else {
        let what = format!("expected an object, found {}", holder.node.value.describe());
        findings.fault(&holder.place, &holder.key, what, "");
        return Vec::new();
    };
    let workspace = workspace(file);
    let reading = Reading { variables, workspace: &workspace, findings };
    servers.iter().filter_map(|server| reading.server(&holder.key, server)).collect()
}

/// The folder an editor would have open: that of the file, or the one above its `.vscode` or `.cursor`.
fn workspace(file: &str) -> std::path::PathBuf {
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let hidden = folder.file_name().is_some_and(|name| name == ".vscode" || name == ".cursor");
    let folder = if hidden { folder.parent().unwrap_or(folder) } else { folder };
    std::path::absolute(folder)
        .or_else(|_| std::env::current_dir())
        .unwrap_or_else(|_| folder.to_owned())
}

struct Reading<'a> {
    variables: &'a BTreeMap<String, String>,
    workspace: &'a Path,
    findings: &'a Findings,
}

impl Reading<'_> {
    /// One server as a section of ours, or nothing if it is switched off or cannot be served.
    fn server(&self, holder: &str, server: &Entry) -> Option<Entry> {
        let path = format!("{holder}.{}", server.key);
        let Value::Table(keys) = &server.node.value else {
            let what = format!("expected an object, found {}", server.node.value.describe());
            self.findings.fault(&server.place, path, what, "");
            return None;
        };
        if let Some(disabled) = find(keys, "disabled") {
            match disabled.node.value {
                Value::Boolean(true) => return None,
                Value::Boolean(false) => {}
                ref other => {
                    let what = format!("expected true or false, found {}", other.describe());
                    self.findings.fault(&disabled.place, format!("{path}.disabled"), what, "");
                }
            }
        }
        if let Some((place, why)) = unserved(keys) {
            self.findings.warn(place, path, format!("ignored: {why}"), "");
            return None;
        }
        let mut section = Vec::new();
        for entry in keys {
            let path = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "disabled" => {}
                "type" => {
                    if let Value::Text(kind) = &entry.node.value
                        && kind == "sse"
                    {
                        section.push(Entry { key: "transport".to_owned(), ..entry.clone() });
                    }
                }
                "serverUrl" => {
                    let node = self.expanded(&entry.node, &path);
                    section.push(Entry { key: "url".to_owned(), node, ..entry.clone() });
                }
                key if KEYS.contains(&key) => {
                    // Null is how some editors write an empty field.
                    if entry.node.value != Value::Nothing {
                        section.push(Entry {
                            node: self.expanded(&entry.node, &path),
                            ..entry.clone()
                        });
                    }
                }
                "envFile" => self.findings.warn(
                    &entry.place,
                    path,
                    "ignored: files of variables are not read",
                    "write the variables under \"env\"",
                ),
                key => {
                    // Other tools keep their own keys here; only a likely slip is worth a word.
                    if let Some(meant) = nearest(key, KEYS) {
                        let remedy = format!("did you mean {meant:?}?");
                        self.findings.warn(&entry.place, path, "ignored: unknown key", remedy);
                    }
                }
            }
        }
        Some(Entry {
            place: server.place.clone(),
            key: server.key.clone(),
            node: Node::table(server.node.place.clone(), section),
        })
    }

    /// The same value, variables expanded in every text of it.
    fn expanded(&self, node: &Node, path: &str) -> Node {
        let value = match &node.value {
            Value::Text(text) => match expand(text, self.variables, self.workspace) {
                Ok(text) => Value::Text(text),
                Err((what, remedy)) => {
                    self.findings.fault(&node.place, path, what, remedy);
                    node.value.clone()
                }
            },
            Value::List(items) => {
                Value::List(items.iter().map(|item| self.expanded(item, path)).collect())
            }
            Value::Table(entries) => Value::Table(
                entries
                    .iter()
                    .map(|entry| Entry {
                        node: self.expanded(&entry.node, &format!("{path}.{}", entry.key)),
                        ..entry.clone()
                    })
                    .collect(),
            ),
            other => other.clone(),
        };
        Node { place: node.place.clone(), value }
    }
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Why a server cannot be served yet, if so.
fn unserved(keys: &[Entry]) -> Option<(&Place, String)> {
    let text = |key| match find(keys, key).map(|entry| (&entry.place, &entry.node.value)) {
        Some((place, Value::Text(text))) => Some((place, text)),
        _ => None,
    };
    let (place, kind) = text("type")?;
    let is_served = matches!(
        kind.as_str(),
        "stdio"
            | "local"
            | "tcp"
            | "unix"
            | "http"
            | "streamable-http"
            | "streamableHttp"
            | "sse"
            | "ws"
            | "websocket"
    );
    (!is_served).then(|| (place, format!("servers of type {kind:?} are not served yet")))
}
