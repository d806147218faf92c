//! A server's question to a person: a flat form (MCP elicitation, form mode), field by field on the
//! terminal. Not for forms with structure, which the protocol does not allow either.

use std::fmt::Write as _;
use std::io::{self, BufRead};

use serde_json::{Map, Value, json};

use crate::edge::screen;

/// Who answers.
pub(super) trait Person {
    fn tell(&mut self, text: &str);
    /// One line; `None` at the end of the input.
    fn answer(&mut self, prompt: &str) -> Option<String>;
}

/// The person at the terminal.
#[derive(Debug)]
pub(super) struct Terminal;

impl Person for Terminal {
    fn tell(&mut self, text: &str) {
        screen::err(&screen::harmless(text));
    }

    fn answer(&mut self, prompt: &str) -> Option<String> {
        self.tell(prompt);
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim().to_owned()),
        }
    }
}

/// Asks for all fields of a form; gives the `ElicitResult`: accept with content, decline, or cancel
/// when the input ends.
pub(super) fn form(person: &mut dyn Person, params: &Value) -> Value {
    let message = params.get("message").and_then(Value::as_str).unwrap_or_default();
    if params.get("mode").and_then(Value::as_str) == Some("url") {
        // Not declared, so not to be asked; a browser is not opened on a server's word.
        person.tell(&format!("The server asks you to visit a page ({message}); declined."));
        return json!({"action": "decline"});
    }
    person.tell(&format!("The server asks: {message}"));
    loop {
        match person.answer("Answer? (yes/no)").map(|answer| answer.to_lowercase()).as_deref() {
            None => return json!({"action": "cancel"}),
            Some("y" | "yes") => break,
            Some("n" | "no") => return json!({"action": "decline"}),
            Some(_) => {}
        }
    }
    let empty = Map::new();
    let schema = params.get("requestedSchema").unwrap_or(&Value::Null);
    let fields = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = schema.get("required").and_then(Value::as_array);
    let mut content = Map::new();
    for (name, field) in fields {
        let required = required.is_some_and(|names| names.iter().any(|of| of == name));
        loop {
            let Some(text) = person.answer(&prompt(name, field, required)) else {
                return json!({"action": "cancel"});
            };
            match read(field, &text, required) {
                Ok(Some(value)) => {
                    content.insert(name.clone(), value);
                    break;
                }
                Ok(None) => break,
                Err(why) => person.tell(&format!("  {why}")),
            }
        }
    }
    json!({"action": "accept", "content": content})
}

fn prompt(name: &str, field: &Value, required: bool) -> String {
    let text = |key| field.get(key).and_then(Value::as_str);
    let mut prompt = format!("  {}", text("title").unwrap_or(name));
    if let Some(description) = text("description") {
        let _infallible = write!(prompt, " ({description})");
    }
    let choices = choices(field);
    if !choices.is_empty() {
        let shown: Vec<_> = choices
            .iter()
            .map(
                |(value, title)| {
                    if value == title { value.clone() } else { format!("{value} = {title}") }
                },
            )
            .collect();
        let several = if is_list(field) { ", several with commas" } else { "" };
        let _infallible = write!(prompt, " one of: {}{several}", shown.join(", "));
    } else if field.get("type").and_then(Value::as_str) == Some("boolean") {
        prompt.push_str(" yes/no");
    }
    let default = match field.get("default") {
        Some(Value::String(default)) => format!(" [{default}]"),
        Some(default) => format!(" [{default}]"),
        None if !required => " [may be empty]".to_owned(),
        None => String::new(),
    };
    prompt.push_str(&default);
    prompt.push(':');
    prompt
}

fn is_list(field: &Value) -> bool {
    field.get("type").and_then(Value::as_str) == Some("array")
}

/// Values and titles of a choice, in each of the spellings that the revisions have.
fn choices(field: &Value) -> Vec<(String, String)> {
    let field = if is_list(field) { field.get("items").unwrap_or(&Value::Null) } else { field };
    let list = |key| field.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let titled = list("oneOf").iter().chain(list("anyOf")).filter_map(|choice| {
        let value = choice.get("const")?.as_str()?;
        let title = choice.get("title").and_then(Value::as_str).unwrap_or(value);
        Some((value.to_owned(), title.to_owned()))
    });
    let plain = list("enum").iter().enumerate().filter_map(|(index, value)| {
        let value = value.as_str()?;
        let title = list("enumNames").get(index).and_then(Value::as_str).unwrap_or(value);
        Some((value.to_owned(), title.to_owned()))
    });
    titled.chain(plain).collect()
}

/// A person's text as a field's value; `None` for a field left out. The error says what would do.
fn read(field: &Value, text: &str, required: bool) -> Result<Option<Value>, String> {
    if text.is_empty() {
        return match field.get("default") {
            Some(default) => Ok(Some(default.clone())),
            None if required => Err("this one is needed".to_owned()),
            None => Ok(None),
        };
    }
    let choices = choices(field);
    let chosen = |text: &str| {
        choices
            .iter()
            .find(|(value, title)| value == text || title == text)
            .map(|(value, _)| value.clone())
            .ok_or_else(|| format!("{text:?} is not among the choices"))
    };
    if is_list(field) {
        let values: Result<Vec<_>, _> = text.split(',').map(|part| chosen(part.trim())).collect();
        return Ok(Some(json!(values?)));
    }
    if !choices.is_empty() {
        return chosen(text).map(|value| Some(json!(value)));
    }
    let bound = |key| field.get(key).and_then(Value::as_f64);
    match field.get("type").and_then(Value::as_str) {
        Some("boolean") => match text.to_lowercase().as_str() {
            "y" | "yes" | "true" => Ok(Some(json!(true))),
            "n" | "no" | "false" => Ok(Some(json!(false))),
            _ => Err("yes or no".to_owned()),
        },
        Some(kind @ ("integer" | "number")) => {
            let number: f64 =
                text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("a number")?;
            if bound("minimum").is_some_and(|least| number < least)
                || bound("maximum").is_some_and(|most| number > most)
            {
                return Err(format!(
                    "a number from {} to {}",
                    field.get("minimum").map_or("any".to_owned(), Value::to_string),
                    field.get("maximum").map_or("any".to_owned(), Value::to_string)
                ));
            }
            if kind == "integer" {
                let whole: i64 = text.parse().map_err(|_| "a whole number")?;
                return Ok(Some(json!(whole)));
            }
            Ok(Some(json!(number)))
        }
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "no typed line has 2^52 characters")]
            let length = text.chars().count() as f64;
            if bound("minLength").is_some_and(|least| length < least)
                || bound("maxLength").is_some_and(|most| length > most)
            {
                return Err("too short or too long".to_owned());
            }
            Ok(Some(json!(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Scripted {
        answers: Vec<&'static str>,
        told: Vec<String>,
    }

    impl Person for Scripted {
        fn tell(&mut self, text: &str) {
            self.told.push(text.to_owned());
        }

        fn answer(&mut self, prompt: &str) -> Option<String> {
            self.told.push(prompt.to_owned());
            (!self.answers.is_empty()).then(|| self.answers.remove(0).to_owned())
        }
    }

    fn asked(properties: &Value, answers: &[&'static str]) -> (Value, Vec<String>) {
        let mut person = Scripted { answers: answers.to_vec(), ..Scripted::default() };
        let params = json!({"message": "m",
            "requestedSchema": {"properties": properties, "required": ["needed"]}});
        (form(&mut person, &params), person.told)
    }

    #[test]
    fn each_kind_of_field_becomes_a_value_of_its_type() {
        let fields = json!({
            "needed": {"type": "string"},
            "age": {"type": "integer"},
            "height": {"type": "number"},
            "agree": {"type": "boolean"},
            "colour": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
            "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}]},
            "many": {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}},
            "left_out": {"type": "string"},
            "preset": {"type": "string", "default": "d"},
        });
        let answers = ["yes", "x", "7", "1.5", "y", "Green", "s", "a, c", "", ""];
        assert_eq!(
            asked(&fields, &answers).0,
            json!({"action": "accept", "content": {"needed": "x", "age": 7, "height": 1.5,
                "agree": true, "colour": "g", "size": "s", "many": ["a", "c"], "preset": "d"}})
        );
    }

    #[test]
    fn what_does_not_fit_is_asked_again() {
        let fields = json!({
            "needed": {"type": "integer", "minimum": 1, "maximum": 9},
        });
        let (answer, told) = asked(&fields, &["what", "yes", "", "x", "10", "1.5", "5"]);
        assert_eq!(answer["content"], json!({"needed": 5}));
        for said in
            ["  this one is needed", "  a number", "  a number from 1 to 9", "  a whole number"]
        {
            assert!(told.iter().any(|line| line == said), "{said}: {told:?}");
        }
    }

    #[test]
    fn no_declines_and_the_end_of_input_cancels() {
        let fields = json!({"needed": {"type": "string"}});
        assert_eq!(asked(&fields, &["n"]).0, json!({"action": "decline"}));
        assert_eq!(asked(&fields, &[]).0, json!({"action": "cancel"}));
        assert_eq!(asked(&fields, &["y"]).0, json!({"action": "cancel"}));
    }
}
