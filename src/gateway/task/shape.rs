//! What tasks look like in each era, and how one shape becomes the other: texts to texts, nothing decided.
//!
//! A task of 2025-11-25 has `ttl` and `pollInterval`, and stands in a member `task` of the answer that makes it; one of
//! 2026-07-28 has `ttlMs` and `pollIntervalMs`, is the answer itself, and has its result or error inside.

use std::time::Duration;

use crate::mcp::meta::RELATED_TASK;
use crate::wire::{Json, Splice, text};

/// How often a task is looked at whose server does not say: as SDKs do.
const POLL: Duration = Duration::from_secs(1);
/// No more often, whatever it says, and no more seldom.
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_mins(1);

/// The task that an answer to a call is, if it is one: of the form of 2025-11-25, or of 2026-07-28.
pub fn made(result: Json<'_>, is_modern: bool) -> Option<Json<'_>> {
    let task = if is_modern {
        let kind = result.get("resultType").and_then(Json::as_str);
        Some(result).filter(|_| kind.as_deref() == Some("task"))
    } else {
        result.get("task").filter(|task| task.is_object())
    }?;
    task.get("taskId")?.as_str().map(|_| task)
}

/// Whether nothing more happens to a task that says this of itself.
pub fn has_ended(task: Json<'_>) -> bool {
    is(task, "completed") || is(task, "failed") || is(task, "cancelled")
}

/// Whether its status is this.
pub fn is(task: Json<'_>, status: &str) -> bool {
    task.get("status").and_then(Json::as_str).as_deref() == Some(status)
}

/// How long to wait before a task is looked at again.
pub fn poll_after(task: Json<'_>) -> Duration {
    let said = task.get("pollIntervalMs").or_else(|| task.get("pollInterval"));
    let said = said.and_then(Json::as_i64).and_then(|ms| u64::try_from(ms).ok());
    said.map_or(POLL, Duration::from_millis).clamp(POLL_MIN, POLL_MAX)
}

/// For how long its server keeps a task, if it says.
pub fn ttl(task: Json<'_>) -> Option<Duration> {
    let said = task.get("ttlMs").or_else(|| task.get("ttl"))?;
    u64::try_from(said.as_i64()?).ok().map(Duration::from_millis)
}

/// The members of a task of 2025-11-25 as 2026-07-28 has them, with commas between.
pub fn modern_members(task: Json<'_>, token: &str, status: Option<&str>) -> String {
    members(task, token, status, true)
}

/// A task of 2026-07-28 as 2025-11-25 has it, an object.
pub fn legacy(task: Json<'_>, token: &str, status: Option<&str>) -> String {
    format!("{{{}}}", members(task, token, status, false))
}

fn members(task: Json<'_>, token: &str, status: Option<&str>, is_to_modern: bool) -> String {
    let mut out = format!("\"taskId\":{}", text::quoted(token));
    let ttl = if is_to_modern { "ttlMs" } else { "ttl" };
    let mut has_ttl = false;
    for member in task.members() {
        let name = member.name();
        let key = match &*name {
            // What has no place in the other shape, or another.
            "taskId" | "resultType" | "requestState" => continue,
            "result" | "error" | "inputRequests" | "_meta" if !is_to_modern => continue,
            "ttl" | "ttlMs" => {
                if std::mem::replace(&mut has_ttl, true) {
                    continue;
                }
                ttl
            }
            "pollInterval" | "pollIntervalMs" if is_to_modern => "pollIntervalMs",
            "pollInterval" | "pollIntervalMs" => "pollInterval",
            _ => member.key,
        };
        let value = match status {
            Some(status) if &*name == "status" => text::quoted(status),
            _ => member.value.text().to_owned(),
        };
        out.extend([",\"", key, "\":", &value]);
    }
    if !has_ttl {
        out.extend([",\"", ttl, "\":null"]);
    }
    out
}

/// A text in which the task is called what its client calls it: the member `taskId` of `task`, a piece of `whole`.
/// `inner` is written for the member `result`, where there is one.
pub fn renamed(whole: Json<'_>, task: Json<'_>, token: &str, inner: Option<String>) -> String {
    let mut splice = Splice::of(whole.text());
    if let Some(id) = task.get("taskId") {
        splice.replace(id.text(), text::quoted(token));
    }
    if let (Some(inner), Some(result)) = (inner, task.get("result")) {
        splice.replace(result.text(), inner);
    }
    splice.into_text()
}

/// The result of a call, with the task that it belongs to in its `_meta`, as `tasks/result` gives it.
pub fn related(result: Json<'_>, token: &str) -> String {
    let said = format!("{{\"taskId\":{}}}", text::quoted(token));
    let mut splice = Splice::of(result.text());
    let meta = result.get("_meta").filter(|meta| meta.is_object());
    match (meta.and_then(|meta| meta.get(RELATED_TASK)), meta) {
        (Some(theirs), _) => splice.replace(theirs.text(), said),
        (None, Some(meta)) => splice.insert_member(meta, format!("\"{RELATED_TASK}\":{said}")),
        (None, None) if result.get("_meta").is_none() => {
            splice.insert_member(result, format!("\"_meta\":{{\"{RELATED_TASK}\":{said}}}"));
        }
        (None, None) => {}
    }
    splice.into_text()
}

/// The same without it: where the task stands beside, or nobody knows of one.
pub fn unrelated(result: Json<'_>) -> String {
    let mut splice = Splice::of(result.text());
    if let Some(meta) = result.get("_meta").filter(|meta| meta.get(RELATED_TASK).is_some()) {
        if meta.members().nth(1).is_none() {
            splice.remove_members(result, &["_meta"]);
        } else {
            splice.remove_members(meta, &[RELATED_TASK]);
        }
    }
    splice.into_text()
}

/// The task that the `_meta` of a message says it belongs to, as its sender calls it.
pub fn relation(params: Json<'_>) -> Option<Json<'_>> {
    params.get("_meta")?.get(RELATED_TASK)?.get("taskId").filter(|id| id.as_str().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text).unwrap()
    }

    fn value(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn a_task_of_one_era_becomes_one_of_the_other() {
        let old = r#"{"taskId":"t","status":"working","ttl":60000,"pollInterval":5,"x":[1]}"#;
        let new = value(&format!("{{{}}}", modern_members(json(old), "rg1.a", None)));
        assert_eq!(
            new,
            serde_json::json!({"taskId": "rg1.a", "status": "working", "ttlMs": 60000, "pollIntervalMs": 5, "x": [1]})
        );
        let back = r#"{"resultType":"complete","taskId":"t","status":"completed","ttlMs":null,"pollIntervalMs":5,"result":{"content":[]}}"#;
        assert_eq!(
            value(&legacy(json(back), "rg1.a", None)),
            serde_json::json!({"taskId": "rg1.a", "status": "completed", "ttl": null, "pollInterval": 5})
        );
        let cancelled =
            legacy(json(r#"{"taskId":"t","status":"working"}"#), "a", Some("cancelled"));
        assert_eq!(
            value(&cancelled),
            serde_json::json!({"taskId": "a", "status": "cancelled", "ttl": null})
        );
    }

    #[test]
    fn a_task_is_known_by_the_form_of_its_era() {
        assert!(made(json(r#"{"task":{"taskId":"t"}}"#), false).is_some());
        assert!(made(json(r#"{"resultType":"task","taskId":"t"}"#), true).is_some());
        for (text, is_modern) in [
            (r#"{"task":{"taskId":"t"}}"#, true),
            (r#"{"resultType":"complete","taskId":"t"}"#, true),
            (r#"{"resultType":"task","taskId":7}"#, true),
            (r#"{"task":"t"}"#, false),
            ("{}", false),
        ] {
            assert!(made(json(text), is_modern).is_none(), "{text}");
        }
    }

    #[test]
    fn a_result_names_its_task_or_does_not() {
        for text in [
            r#"{"content":[]}"#,
            r#"{"content":[],"_meta":{}}"#,
            r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#,
        ] {
            let named = related(json(text), "a");
            let related = &value(&named)["_meta"]["io.modelcontextprotocol/related-task"];
            assert_eq!(related["taskId"], "a", "{named}");
            let plain = unrelated(json(&named));
            assert!(!plain.contains("related-task"), "{plain}");
            assert_eq!(value(&plain)["content"], serde_json::json!([]));
        }
        let kept = unrelated(json(
            r#"{"_meta":{"k":1,"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#,
        ));
        assert_eq!(value(&kept)["_meta"], serde_json::json!({"k": 1}));
    }

    #[test]
    fn how_often_a_task_is_looked_at_has_bounds() {
        for (text, ms) in [
            ("{}", 1_000),
            (r#"{"pollInterval":5}"#, 100),
            (r#"{"pollIntervalMs":2000}"#, 2_000),
            (r#"{"pollIntervalMs":-1}"#, 1_000),
            (r#"{"pollInterval":86400000}"#, 60_000),
        ] {
            assert_eq!(poll_after(json(text)), Duration::from_millis(ms), "{text}");
        }
    }
}
