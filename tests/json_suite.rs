//! What `wire` calls JSON: the judgement of JSONTestSuite (github.com/nst/JSONTestSuite), the same
//! verdict however the bytes arrive, and agreement with serde_json on text made and broken at random.
//!
//! The suite is not part of this repository: its folder is `RINGGATE_JSON_SUITE`, or
//! `shared/reference/json-test-suite` beside the checkout. Without it those tests say so and pass.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says why it is skipped, and helpers of tests fail by panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use ringgate::wire::envelope::{self, Frame};
use ringgate::wire::scan::DEPTH_MAX;
use ringgate::wire::{Json, LineCutter, Message};
use serde_json::Value;

/// What RFC 8259 leaves open and we take: numbers of any size, for they pass through as text. All other
/// `i_` files are refused: lone surrogates and broken UTF-8, which no strict reader behind us would take,
/// byte order marks, UTF-16, and brackets deeper than the limit.
const OPEN_AND_TAKEN: [&str; 10] = [
    "i_number_double_huge_neg_exp.json",
    "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",
    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",
    "i_number_real_pos_overflow.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
];

fn suite_folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("RINGGATE_JSON_SUITE") {
        return Some(folder.into());
    }
    let beside = ["shared", "reference", "json-test-suite"].iter().collect::<PathBuf>();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|parent| parent.join(&beside)).find(|folder| folder.is_dir())
}

/// The files' names and bytes, in the order of their names; none, with the reason said, without a suite.
fn suite() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = suite_folder() else {
        println!("skipped: no JSONTestSuite; set RINGGATE_JSON_SUITE to its test_parsing folder");
        return Vec::new();
    };
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() > 300, "{}: only {} files", folder.display(), files.len());
    files
}

#[test]
fn what_the_suite_accepts_is_accepted_and_what_it_refuses_is_refused() {
    for (name, bytes) in suite() {
        let verdict = Json::from_bytes(&bytes);
        let taken = match name.as_bytes()[0] {
            b'y' => true,
            b'n' => false,
            b'i' => OPEN_AND_TAKEN.contains(&name.as_str()),
            _ => panic!("{name} says nothing"),
        };
        assert_eq!(verdict.is_ok(), taken, "{name}: {verdict:?}");
        if let Err(error) = verdict {
            assert!(error.at <= bytes.len(), "{name}: {error}");
        }
    }
}

#[test]
fn what_is_open_is_refused_for_the_reason_we_give() {
    for (name, bytes) in suite() {
        let Err(error) = Json::from_bytes(&bytes) else { continue };
        let what = error.what;
        if name == "i_structure_500_nested_arrays.json" || name.contains("100000_opening") {
            assert!(what.contains("depth_max"), "{name}: {error}");
        } else if name.starts_with("i_") && std::str::from_utf8(&bytes).is_err() {
            assert_eq!(what, "invalid UTF-8", "{name}");
        } else if name.starts_with("i_") && name.contains("surrogate") {
            assert_eq!(what, "lone surrogate in a string", "{name}");
        }
    }
}

/// A frame as a client would send it, with a suite file as a parameter.
fn enveloped(bytes: &[u8]) -> Vec<u8> {
    let head = br#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":"#;
    [head.as_slice(), bytes, b"}}"].concat()
}

#[test]
fn the_envelope_judges_a_parameter_as_the_validator_does() {
    for (name, bytes) in suite() {
        let frame = enveloped(&bytes);
        let verdict = envelope::read(&frame);
        if Json::from_bytes(&bytes).is_ok() {
            assert!(
                matches!(verdict, Ok(Frame::One(Message::Request { .. }))),
                "{name}: {verdict:?}"
            );
        } else if verdict.is_ok() {
            // The pieces may make a whole: `1}` and `}}` do not, `1,"y":2` would.
            assert!(serde_json::from_slice::<Value>(&frame).is_ok(), "{name}: {verdict:?}");
        } else {
            assert_eq!(verdict.unwrap_err().code, -32700, "{name}");
        }
    }
}

fn lines(stream: &[u8], chunk: usize) -> Vec<Vec<u8>> {
    let mut cutter = LineCutter::default();
    let mut buffer = Vec::new();
    let mut lines = Vec::new();
    for bytes in stream.chunks(chunk) {
        buffer.extend_from_slice(bytes);
        while let Some(line) = cutter.next(&buffer) {
            lines.push(line.to_vec());
        }
        buffer.drain(..cutter.consumed());
        cutter.shifted();
    }
    assert!(buffer.is_empty(), "what follows the last newline is no line");
    lines
}

#[test]
fn every_split_of_the_bytes_gives_the_same_lines_and_verdicts() {
    for (name, bytes) in suite() {
        let stream = [bytes.clone(), enveloped(&bytes), Vec::new()].join(&b'\n');
        let whole: Vec<&[u8]> = stream
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.is_empty())
            .collect();
        let verdicts: Vec<_> = whole.iter().map(|line| envelope::read(line)).collect();
        // Every size for what is small; for the two files of 100 KB, a few that fall differently.
        let sizes: Vec<usize> =
            if stream.len() < 2_000 { (1..=stream.len()).collect() } else { vec![1, 7, 4_096] };
        for size in sizes {
            let cut = lines(&stream, size);
            assert_eq!(cut, whole, "{name} in chunks of {size}");
            let again: Vec<_> = cut.iter().map(|line| envelope::read(line)).collect();
            assert_eq!(again, verdicts, "{name} in chunks of {size}");
        }
    }
}

/// A sequence of numbers from a seed; the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) ^ (self.0 << 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

fn value(dice: &mut Dice, depth: usize, text: &mut String) {
    let space = [" ", "\t", "\r\n", "", "", "", "", ""];
    text.push_str(dice.pick(&space));
    match dice.below(if depth > 5 { 5 } else { 8 }) {
        0 => text.push_str(dice.pick(&["true", "false", "null"])),
        1 | 2 => number(dice, text),
        3 | 4 => string(dice, text),
        5 => {
            text.push('[');
            for index in 0..dice.below(5) {
                if index > 0 {
                    text.push(',');
                }
                value(dice, depth + 1, text);
            }
            text.push(']');
        }
        _ => {
            text.push('{');
            for index in 0..dice.below(5) {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(dice.pick(&space));
                string(dice, text);
                text.push_str(dice.pick(&space));
                text.push(':');
                value(dice, depth + 1, text);
            }
            text.push('}');
        }
    }
    text.push_str(dice.pick(&space));
}

fn number(dice: &mut Dice, text: &mut String) {
    text.push_str(dice.pick(&["", "-"]));
    text.push_str(dice.pick(&["0", "7", "10", "123456789", "18446744073709551616"]));
    text.push_str(dice.pick(&["", "", ".5", ".000"]));
    text.push_str(dice.pick(&["", "", "e5", "E+10", "e-3", "e999"]));
}

fn string(dice: &mut Dice, text: &mut String) {
    let pieces = [
        "a",
        "plain text",
        "é",
        "😀",
        "\u{7f}",
        "\u{2028}",
        r"\n",
        r"\\",
        r#"\""#,
        r"\/",
        r"\u00e9",
        r"\ud83d\ude00",
        r"\u0000",
        "{}[],:",
        "01234567",
        "x",
        "jsonrpc",
    ];
    text.push('"');
    for _ in 0..dice.below(6) {
        text.push_str(dice.pick(&pieces));
    }
    text.push('"');
}

/// One byte or a few taken out, put in, changed or doubled: near misses, where validators differ.
fn broken(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        let telling = br#"{}[]",:\u0d8ecE+-.tn 1"#;
        match dice.below(6) {
            0 => {
                bytes.remove(at);
            }
            1 => bytes.insert(at, telling[dice.below(telling.len())]),
            2 => bytes[at] = telling[dice.below(telling.len())],
            3 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            4 => bytes.truncate(at),
            _ => {
                let piece = bytes[at..bytes.len().min(at + 8)].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// The tree that a walk over our views makes.
fn tree(json: Json<'_>) -> Value {
    match json.text().as_bytes()[0] {
        b'{' => json.members().map(|m| (m.name().into_owned(), tree(m.value))).collect(),
        b'[' => Value::Array(json.elements().map(tree).collect()),
        b'"' => Value::String(json.as_str().unwrap().into_owned()),
        b't' | b'f' => Value::Bool(json.as_bool().unwrap()),
        b'n' => Value::Null,
        _ => json.text().parse().map(Value::Number).unwrap(),
    }
}

/// The same verdict as serde_json's, and the same value; whether it was accepted.
fn agree(bytes: &[u8]) -> bool {
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    match (Json::from_bytes(bytes), serde_json::from_slice::<Value>(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(tree(ours), theirs, "{}", shown());
            true
        }
        (Err(_), Err(_)) => false,
        (Ok(_), Err(error)) => {
            // Two differences we want: a number of any size is passed on as text, and brackets may
            // nest to DEPTH_MAX where serde_json stops one short of it.
            let why = error.to_string();
            assert!(
                why.starts_with("number out of range") || why.starts_with("recursion limit"),
                "we take what serde_json refuses, {why}: {}",
                shown()
            );
            true
        }
        (Err(error), Ok(_)) => panic!("we refuse what serde_json takes, {error}: {}", shown()),
    }
}

#[test]
fn made_text_is_read_as_serde_json_reads_it() {
    let mut dice = Dice(1);
    for _ in 0..10_000 {
        let mut text = String::new();
        value(&mut dice, 0, &mut text);
        assert!(agree(text.as_bytes()), "{text}");
    }
}

#[test]
fn broken_text_is_refused_where_serde_json_refuses_it() {
    let mut dice = Dice(2);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..40_000 {
        let mut text = String::new();
        value(&mut dice, 2, &mut text);
        if agree(&broken(&mut dice, text.into_bytes())) {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    // Both verdicts must come up often, or the test tests nothing.
    assert!(taken > 2_000 && refused > 10_000, "{taken} taken, {refused} refused");
}

#[test]
fn broken_files_of_the_suite_are_judged_as_serde_json_judges_them() {
    let mut dice = Dice(3);
    for (name, bytes) in suite() {
        if bytes.len() > 2_000 {
            println!("{name} is left out: its fate is the depth limit's");
            continue;
        }
        for _ in 0..50 {
            agree(&broken(&mut dice, bytes.clone()));
        }
    }
}

#[test]
fn brackets_nest_one_deeper_than_serde_json_lets_them() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let limit = usize::try_from(DEPTH_MAX).unwrap();
    for (depth, ours, theirs) in
        [(limit - 1, true, true), (limit, true, false), (limit + 1, false, false)]
    {
        let text = nested(depth);
        assert_eq!(Json::parse(&text).is_ok(), ours, "{depth}");
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), theirs, "{depth}");
    }
}
