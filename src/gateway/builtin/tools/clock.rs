//! `clock`: the time in UTC, for people and for programs. Reads no clock; the time came with the call.

use std::borrow::Cow;

use crate::base::calendar;
use crate::gateway::builtin::reply;
use crate::gateway::builtin::tool::{Call, Outcome, Tool};

pub(super) struct Clock;

impl Tool for Clock {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(concat!(
            r#"{"name":"clock","title":"Clock","description":"Tells the time in UTC.","#,
            r#""inputSchema":{"type":"object","properties":{}},"#,
            r#""outputSchema":{"type":"object","properties":{"#,
            r#""utc":{"type":"string","description":"ISO 8601, to the millisecond."},"#,
            r#""unix_ms":{"type":"integer","description":"Milliseconds since 1970-01-01 UTC."}},"#,
            r#""required":["utc","unix_ms"]},"#,
            r#""annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"#,
            r#""openWorldHint":false}}"#
        ))
    }

    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        let unix_ms = call.now.unix_ms;
        let utc = calendar::iso(unix_ms);
        reply::structured(out, &format!(r#"{{"utc":"{utc}","unix_ms":{unix_ms}}}"#))
    }
}
