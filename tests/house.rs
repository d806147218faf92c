//! The house tests itself: rooms use only the rooms below them, the thinking part knows no socket and
//! no clock, files say what they are and stay small, and nothing committed names somebody's machine.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first.
const FLOORS: [&str; 7] = ["base", "wire", "mcp", "gateway", "shard", "transport", "edge"];
/// The line: these rooms run on a clock and links that a test owns.
const BELOW_THE_LINE: [&str; 4] = ["base", "wire", "mcp", "gateway"];
const WORDS_ABOVE_THE_LINE: [&str; 11] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "Instant",
    "SystemTime",
    "monoio",
    "async",
    "await",
    "tracing",
];
const PATHS_ABOVE_THE_LINE: [&str; 4] = ["std::thread", "std::fs", "std::process", "std::io::std"];
const FILE_LINES_MAX: usize = 800;
/// What is built, downloaded or found, not written.
const NOT_OURS: [&str; 8] =
    ["target", ".git", ".cache", "node_modules", "__pycache__", "corpus", "artifacts", "out"];

/// Every file under a folder of the repository, with its text; binary ones left out.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // In a work tree of its own `.git` is a file.
            if NOT_OURS.contains(&entry.file_name().to_string_lossy().as_ref()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.strip_prefix(root).expect("is inside").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// The lines of a source that are code, numbered, without comments and the insides of texts.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().map(|(index, line)| {
        let line = line.replace("\\\"", "");
        let outside = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
        (index + 1, outside.split("//").next().unwrap_or_default().to_owned())
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_alphanumeric() && char != '_')
}

/// The rooms that a piece of code names: behind `crate::`, in `crate::{…}`, or behind as many `super::`
/// as lead out of a module `depth` deep.
fn rooms_named(code: &str, depth: usize) -> Vec<&'static str> {
    let room = |word: &str| FLOORS.into_iter().find(|room| *room == word);
    let first = |rest: &str| words(rest).next().and_then(room);
    let mut named = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for rest in code.split(&root).skip(1) {
            match rest.strip_prefix('{') {
                // Every word of the group: a false alarm is cheaper than a hole.
                Some(group) => {
                    named.extend(words(group.split(';').next().unwrap_or(group)).filter_map(room));
                }
                None => named.extend(first(rest)),
            }
        }
    }
    named
}

#[track_caller]
fn none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn a_room_names_no_room_above_it() {
    let mut faults = Vec::new();
    for (floor, room) in FLOORS.iter().enumerate() {
        for (path, text) in files(&format!("src/{room}")) {
            let inside = path.components().count() - 2;
            let depth = if path.ends_with("mod.rs") { inside } else { inside + 1 };
            // Whole, because a group of imports spans lines.
            let code: String = code(&text).map(|(_, line)| line + "\n").collect();
            for named in rooms_named(&code, depth) {
                if FLOORS.iter().position(|room| *room == named) > Some(floor) {
                    faults.push(format!("{} names {named}", path.display()));
                }
            }
        }
    }
    none("rooms that reach upwards", &faults);
}

#[test]
fn below_the_line_there_is_no_socket_clock_task_or_file() {
    let mut faults = Vec::new();
    for room in BELOW_THE_LINE {
        for (path, text) in files(&format!("src/{room}")) {
            for (line, code) in
                code(&text).filter(|_| path.extension().is_some_and(|ending| ending == "rs"))
            {
                let word = words(&code).find(|word| WORDS_ABOVE_THE_LINE.contains(word));
                let path_named =
                    PATHS_ABOVE_THE_LINE.into_iter().find(|named| code.contains(named));
                if let Some(found) = word.or(path_named) {
                    faults.push(format!("{}:{line} mentions {found}", path.display()));
                }
            }
        }
    }
    none("the thinking part knows too much", &faults);
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    let mut faults = Vec::new();
    for folder in ["src", "bench", "tests", "fuzz", "examples"] {
        for (path, text) in files(folder) {
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let shown = path.display();
            // The crate's own first line is its map: `include_str!("README.md")`.
            if !text.starts_with("//!") && path != Path::new("src/lib.rs") {
                faults.push(format!("{shown} does not begin with //!"));
            }
            let lines = text.lines().count();
            if lines > FILE_LINES_MAX {
                faults.push(format!("{shown} has {lines} lines, over {FILE_LINES_MAX}"));
            }
        }
    }
    none("files that do not say what they are, or say too much", &faults);
}

#[test]
fn the_map_names_every_room_and_every_room_has_a_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = fs::read_to_string(src.join("README.md")).expect("src/README.md is the map");
    let mut faults = Vec::new();
    for entry in
        fs::read_dir(src).expect("src is there").flatten().filter(|entry| entry.path().is_dir())
    {
        let room = entry.file_name().to_string_lossy().into_owned();
        if !FLOORS.contains(&room.as_str()) {
            faults.push(format!("src/{room} has no floor in tests/house.rs"));
        }
        if !words(&map).any(|word| word == room) {
            faults.push(format!("src/README.md does not name {room}"));
        }
    }
    none("the map and the house differ", &faults);
}

#[test]
fn nothing_committed_names_a_folder_of_somebodys_machine() {
    // Put together here, so that this file does not name them.
    let machine = ["work", "root"].map(|folder| format!("/{folder}/"));
    let mut faults = Vec::new();
    for (path, text) in files("").into_iter().filter(|(path, _)| !path.ends_with("README.md")) {
        for (index, line) in text.lines().enumerate() {
            if machine.iter().any(|folder| line.contains(folder)) {
                faults.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    none("machine paths", &faults);
}

#[test]
fn the_test_sees_what_it_looks_for() {
    assert_eq!(rooms_named("use crate::edge::log;", 9), ["edge"]);
    assert_eq!(rooms_named("use crate::{base::Slab, shard::rt};\nfn x() {}", 9), ["base", "shard"]);
    assert_eq!(rooms_named("super::super::transport::x()", 2), ["transport"]);
    assert_eq!(rooms_named("super::edge::x()", 2), [""; 0]);
    let seen: Vec<_> =
        code("a // b\nlet x = \"async \\\" await\"; y").map(|(_, line)| line).collect();
    assert_eq!(seen, ["a ", "let x = \"\"; y"]);
}
