//! `echo`: gives a text back. What the gateway's own cost is measured with, so it does nothing else.

use std::borrow::Cow;

use crate::gateway::builtin::tool::{Call, Outcome, Tool};
use crate::gateway::builtin::{argument, reply};

pub(super) struct Echo;

impl Tool for Echo {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"echo","title":"Echo","description":"Gives the message back unchanged.","#,
            r#""inputSchema":{"type":"object","properties":{"message":{"type":"string","#,
            r#""description":"What to give back."}},"required":["message"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"#,
            r#""openWorldHint":false}}"#
        ))
    }

    #[inline]
    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        match argument::string(call.arguments, "message") {
            Ok(message) => reply::raw_text(out, message),
            Err(what) => reply::error(out, &what),
        }
    }
}
