//! The prompts that are part of the program, and what completes their arguments.

use super::argument::raw;
use super::tool::Outcome;
use crate::wire::Json;
use crate::wire::text::unescape;

/// The result of `prompts/list`.
pub(super) const LIST: &str = concat!(
    r#"{"prompts":["#,
    r#"{"name":"greet","title":"Greet","description":"Greets somebody, in a style.","arguments":["#,
    r#"{"name":"name","title":"Name","description":"Whom to greet.","required":true},"#,
    r#"{"name":"style","title":"Style","description":"plain, formal or pirate; plain if left out."}]},"#,
    r#"{"name":"summarize","title":"Summarize","description":"Sums a text up in three sentences.","arguments":["#,
    r#"{"name":"text","title":"Text","description":"The text to sum up.","required":true}]}"#,
    r#"]}"#
);

/// The styles of `greet`, each with how it asks.
const STYLES: [(&str, &str); 3] = [
    ("plain", "Greet {name} in one friendly sentence."),
    ("formal", "Greet {name} in one sentence, with all due formality."),
    ("pirate", "Greet {name} in one sentence, as a pirate captain would."),
];

/// `prompts/get` of a prompt by its name; wrong arguments are faults here, as the specification has it.
pub(super) fn get(name: &str, arguments: Json<'_>, out: &mut Vec<u8>) -> Outcome {
    match name {
        "greet" => greet(arguments, out),
        "summarize" => summarize(arguments, out),
        _ => Outcome::invalid("there is no prompt of this name"),
    }
}

fn greet(arguments: Json<'_>, out: &mut Vec<u8>) -> Outcome {
    let Some(name) = arguments.get("name").and_then(raw) else {
        return Outcome::invalid("the prompt \"greet\" needs the argument \"name\", a string");
    };
    let style = arguments.get("style").map(|style| style.as_str().unwrap_or_default());
    let style = style.as_deref().unwrap_or("plain");
    let Some((_, sentence)) = STYLES.iter().find(|(name, _)| *name == style) else {
        return Outcome::invalid("the argument \"style\" must be plain, formal or pirate");
    };
    write(out, "Greets somebody, in a style.", &sentence.replace("{name}", name))
}

fn summarize(arguments: Json<'_>, out: &mut Vec<u8>) -> Outcome {
    let Some(text) = arguments.get("text").and_then(raw) else {
        return Outcome::invalid("the prompt \"summarize\" needs the argument \"text\", a string");
    };
    let message = format!(r"Sum up the following text in three sentences.\n\n{text}");
    write(out, "Sums a text up in three sentences.", &message)
}

/// One message of the user's; both texts are content of a JSON string already.
fn write(out: &mut Vec<u8>, description: &str, message: &str) -> Outcome {
    for part in [
        r#"{"description":""#,
        description,
        r#"","messages":[{"role":"user","content":{"type":"text","text":""#,
        message,
        r#""}}]}"#,
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    Outcome::Done
}

/// What may stand for an argument of a prompt that begins with `typed` (a string's content as
/// written). `None` if there is no such prompt.
pub(super) fn completions(prompt: &str, argument: &str, typed: &str) -> Option<Vec<&'static str>> {
    match (prompt, argument) {
        ("greet", "style") => {
            let typed = unescape(typed).to_lowercase();
            Some(
                STYLES
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| name.starts_with(&typed))
                    .collect(),
            )
        }
        ("greet" | "summarize", _) => Some(Vec::new()),
        _ => None,
    }
}
