//! `ask_name` and `ask_model`: tools that ask back, the one the user (elicitation), the other the
//! client's model (sampling). How the question travels in each era is the gateway's business.

use std::borrow::Cow;

use crate::gateway::builtin::tool::{Call, Outcome, Tool};
use crate::gateway::builtin::{argument, reply};
use crate::wire::Json;
use crate::wire::text::unescape;

/// Most tokens that `ask_model` lets a model write: the client pays for them.
pub(crate) const TOKENS_MAX: i64 = 4_096;

pub(super) struct AskName;

impl Tool for AskName {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"ask_name","title":"Ask for a name","#,
            r#""description":"Asks the user for a name with a form, and greets. Needs a client that can show forms (elicitation).","#,
            r#""inputSchema":{"type":"object","properties":{}},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":false,"#,
            r#""openWorldHint":true}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        if let Some(answer) = answer(call, "name") {
            return greeting(answer, out);
        }
        if !can_show_forms(call.capabilities) {
            return reply::error(out, "This client cannot show forms: it declares no elicitation.");
        }
        reply::ask(
            out,
            "name",
            "elicitation/create",
            concat!(
                r#"{"message":"What is your name?","requestedSchema":{"type":"object","properties":{"#,
                r#""name":{"type":"string","title":"Name","description":"How to address you.","#,
                r#""minLength":1,"maxLength":100}},"required":["name"]}}"#
            ),
        )
    }
}

/// What comes of an `ElicitResult`. The client checked it against the schema, or did not.
fn greeting(answer: Json<'_>, out: &mut Vec<u8>) -> Outcome {
    match answer.get("action").and_then(Json::as_str).as_deref() {
        Some("accept") => {
            let name = answer.get("content").and_then(|content| content.get("name"));
            match name.and_then(argument::raw) {
                Some("") | None => reply::error(out, "The form came back without a name."),
                Some(name) => reply::raw_text(out, &format!("Hello, {name}!")),
            }
        }
        Some("decline") => reply::text(out, "The user declined to give a name."),
        Some("cancel") => reply::text(out, "The user closed the form without an answer."),
        _ => reply::error(out, "The client's answer to the form names no known action."),
    }
}

/// Elicitation without modes means forms (2025-06-18); with modes, only those that stand there.
fn can_show_forms(capabilities: Json<'_>) -> bool {
    capabilities.get("elicitation").is_some_and(|elicitation| {
        elicitation.is_object()
            && (elicitation.get("form").is_some() || elicitation.get("url").is_none())
    })
}

pub(super) struct AskModel;

impl Tool for AskModel {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"ask_model","title":"Ask the model","#,
            r#""description":"Puts a prompt to the client's own model and gives its answer back. Needs a client that lends its model (sampling).","#,
            r#""inputSchema":{"type":"object","properties":{"#,
            r#""prompt":{"type":"string","description":"What to ask."},"#,
            r#""max_tokens":{"type":"integer","minimum":1,"maximum":4096,"default":200,"#,
            r#""description":"How long the answer may be."}},"required":["prompt"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":false,"#,
            r#""openWorldHint":true}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        if let Some(answer) = answer(call, "answer") {
            return match said(answer) {
                Some(text) => reply::text(out, &text),
                None => reply::error(out, "The model's answer holds no text."),
            };
        }
        let asked = argument::string(call.arguments, "prompt").and_then(|prompt| {
            let tokens =
                argument::integer(call.arguments, "max_tokens", Some(200), &(1..=TOKENS_MAX))?;
            Ok((prompt, tokens))
        });
        let (prompt, tokens) = match asked {
            Ok(asked) => asked,
            Err(what) => return reply::error(out, &what),
        };
        if !call.capabilities.get("sampling").is_some_and(Json::is_object) {
            return reply::error(
                out,
                "This client does not lend its model: it declares no sampling.",
            );
        }
        let params = format!(
            r#"{{"messages":[{{"role":"user","content":{{"type":"text","text":"{prompt}"}}}}],"maxTokens":{tokens}}}"#
        );
        reply::ask(out, "answer", "sampling/createMessage", &params)
    }
}

/// The text of a `CreateMessageResult`: its content is one block or (since 2025-11-25) several.
fn said(answer: Json<'_>) -> Option<String> {
    let content = answer.get("content")?;
    let one = content.is_object().then_some(content);
    let mut text = None::<String>;
    for block in one.into_iter().chain(content.elements()) {
        if let Some(part) = block.get("text").and_then(argument::raw) {
            text.get_or_insert_default().push_str(&unescape(part));
        }
    }
    text
}

/// The answer to the question asked under `key`; a client that left it out is asked again.
fn answer<'a>(call: &Call<'a>, key: &str) -> Option<Json<'a>> {
    call.answers?.get(key)
}
