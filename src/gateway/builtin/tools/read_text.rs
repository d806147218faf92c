//! `read_text`: a text file of the configured folder. Opens nothing; it asks the gateway for the text.

use std::borrow::Cow;

use crate::gateway::builtin::tool::{Call, Outcome, Tool};
use crate::gateway::builtin::{argument, path, reply};
use crate::wire::text::unescape;

pub(super) struct ReadText;

impl Tool for ReadText {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"read_text","title":"Read text","#,
            r#""description":"Reads a text file of the served folder.","#,
            r#""inputSchema":{"type":"object","properties":{"path":{"type":"string","minLength":1,"#,
            r#""description":"The file, relative to the folder; no \"..\"."}},"required":["path"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"#,
            r#""openWorldHint":false}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        match call.text {
            Some(Ok(text)) => return reply::text(out, text),
            Some(Err(why)) => return reply::error(out, why),
            None => {}
        }
        let path = match argument::string(call.arguments, "path") {
            Ok(content) => unescape(content),
            Err(what) => return reply::error(out, &what),
        };
        match path::check(&path) {
            Ok(()) => Outcome::Read { path: path.into_owned() },
            Err(what) => reply::error(out, what),
        }
    }
}
