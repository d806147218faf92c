//! What the built-in upstream answers to whole requests; what a single tool computes is tested beside it.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Builtin, Call, Context, Outcome, Tool, ToolError, tools};
use crate::base::{Moment, Now};
use crate::wire::Json;

const CONTEXT: Context<'static> = Context {
    now: Now { at: Moment::START, unix_ms: 951_782_400_123 },
    step: 0,
    text: None,
    answers: None,
    capabilities: Json::EMPTY_OBJECT,
    random: 4,
};

/// Runs one step of one request; the text that was appended comes back as a tree.
fn step(method: &str, params: &str, context: &Context<'_>) -> (Outcome, Value) {
    let mut out = b"before".to_vec();
    let outcome = Builtin::new(true).serve(method, Json::parse(params).unwrap(), context, &mut out);
    let appended = out.strip_prefix(b"before").unwrap();
    assert!(!appended.contains(&b'\n'));
    let value =
        if appended.is_empty() { Value::Null } else { serde_json::from_slice(appended).unwrap() };
    assert_eq!(value != Value::Null, matches!(outcome, Outcome::Done | Outcome::Ask));
    (outcome, value)
}

fn done(method: &str, params: &str) -> Value {
    let (outcome, value) = step(method, params, &CONTEXT);
    assert_eq!(outcome, Outcome::Done, "{method} {params}");
    value
}

fn fault(method: &str, params: &str) -> (i32, String, Option<String>) {
    match step(method, params, &CONTEXT).0 {
        Outcome::Fault { code, message, data } => (code, message.into_owned(), data),
        other => panic!("{method} {params}: {other:?}"),
    }
}

fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

#[test]
fn echo_gives_every_message_back_as_it_was_written() {
    for message in ["", "hi", r"a\u00e9\ud83d\ude00\n\\\/", "ä 😀 \u{7f}"] {
        for params in [
            format!(r#"{{"name":"echo","arguments":{{"message":"{message}"}}}}"#),
            format!(
                r#"{{"_meta":{{"name":1}},"arguments":{{"x":1,"message":"{message}"}},"name":"\u0065cho"}}"#
            ),
        ] {
            let mut out = Vec::new();
            let params = Json::parse(&params).unwrap();
            let outcome = Builtin::new(false).serve("tools/call", params, &CONTEXT, &mut out);
            assert_eq!(outcome, Outcome::Done);
            let expected = format!(r#"{{"content":[{{"type":"text","text":"{message}"}}]}}"#);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

#[test]
fn wrong_parameters_are_faults_and_wrong_arguments_are_results() {
    for params in [
        "{}",
        r#"{"name":7}"#,
        r#"{"name":"echo","arguments":[]}"#,
        r#"{"name":"echo","arguments":null}"#,
        r#"{"arguments":{"message":"x"}}"#,
        r#"{"name":"nobody","arguments":{}}"#,
        r#"{"name":"ech"}"#,
    ] {
        assert_eq!(fault("tools/call", params).0, -32602, "{params}");
    }
    let (_, _, data) = fault("tools/call", r#"{"name":"no\"body"}"#);
    assert_eq!(data.as_deref(), Some(r#"{"tool":"no\"body"}"#));
    for params in [
        r#"{"name":"echo"}"#,
        r#"{"name":"echo","arguments":{"message":7}}"#,
        r#"{"name":"add","arguments":{"a":1,"b":"2"}}"#,
        r#"{"name":"random","arguments":{"min":1.5,"max":2}}"#,
        r#"{"name":"sleep","arguments":{"ms":60001}}"#,
        r#"{"name":"sleep","arguments":{"ms":1,"steps":0}}"#,
        r#"{"name":"read_text","arguments":{"path":"../x"}}"#,
        r#"{"name":"read_text","arguments":{"path":"/etc/passwd"}}"#,
        r#"{"name":"read_text","arguments":{"path":"a\u0000b"}}"#,
        r#"{"name":"ask_model","arguments":{"prompt":"x","max_tokens":0}}"#,
    ] {
        let result = done("tools/call", params);
        assert_eq!(result["isError"], true, "{params}: {result}");
        assert!(!text_of(&result).is_empty());
    }
}

#[test]
fn of_a_parameter_that_stands_twice_the_last_one_counts() {
    let echoed = done(
        "tools/call",
        r#"{"name":"add","name":"echo","arguments":{},"arguments":{"message":"x"}}"#,
    );
    assert_eq!(text_of(&echoed), "x");
    let read =
        done("resources/read", r#"{"uri":"ringgate://limits","u\u0072i":"ringgate://about"}"#);
    assert_eq!(read["contents"][0]["uri"], "ringgate://about");
}

#[test]
fn structured_results_say_the_same_in_text() {
    for (params, expected) in [
        (r#"{"name":"add","arguments":{"a":1,"b":2}}"#, json!({"sum": 3})),
        (
            r#"{"name":"clock"}"#,
            json!({"utc": "2000-02-29T00:00:00.123Z", "unix_ms": 951_782_400_123_u64}),
        ),
        (r#"{"name":"random","arguments":{"min":-3,"max":3}}"#, json!({"number": 1})),
        (r#"{"name":"random","arguments":{"min":5,"max":5}}"#, json!({"number": 5})),
    ] {
        let result = done("tools/call", params);
        assert_eq!(result["structuredContent"], expected);
        assert_eq!(serde_json::from_str::<Value>(text_of(&result)).unwrap(), expected);
    }
}

#[test]
fn sleep_waits_its_time_in_steps_and_then_is_done() {
    let params = r#"{"name":"sleep","arguments":{"ms":100,"steps":3}}"#;
    let mut slept = Duration::ZERO;
    for number in 0..3 {
        match step("tools/call", params, &Context { step: number, ..CONTEXT }).0 {
            Outcome::Wait { after, progress } => {
                slept += after;
                assert_eq!(progress, Some((f64::from(number), 3.0)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(slept, Duration::from_millis(100));
    let (outcome, result) = step("tools/call", params, &Context { step: 3, ..CONTEXT });
    assert_eq!((outcome, text_of(&result)), (Outcome::Done, "Slept 100 ms."));
    assert_eq!(
        text_of(&done("tools/call", r#"{"name":"sleep","arguments":{"ms":0}}"#)),
        "Slept 0 ms."
    );
}

#[test]
fn a_file_is_asked_for_by_its_path_and_then_told() {
    for (method, params) in [
        ("tools/call", r#"{"name":"read_text","arguments":{"path":"a\/b c.txt"}}"#),
        ("resources/read", r#"{"uri":"ringgate://text/a%2Fb%20c.txt"}"#),
    ] {
        let path = "a/b c.txt".to_owned();
        assert_eq!(step(method, params, &CONTEXT).0, Outcome::Read { path });
    }
    let read = Context { step: 1, text: Some(Ok("one\n\"two\"")), ..CONTEXT };
    let (_, result) = step("tools/call", r#"{"name":"read_text","arguments":{"path":"a"}}"#, &read);
    assert_eq!(text_of(&result), "one\n\"two\"");
    let (_, result) = step("resources/read", r#"{"uri":"ringgate://text/a"}"#, &read);
    assert_eq!(
        result["contents"][0],
        json!({"uri": "ringgate://text/a", "mimeType": "text/plain", "text": "one\n\"two\""})
    );
    let gone = Context { step: 1, text: Some(Err("no such file")), ..CONTEXT };
    let (_, result) = step("tools/call", r#"{"name":"read_text","arguments":{"path":"a"}}"#, &gone);
    assert_eq!((&result["isError"], text_of(&result)), (&json!(true), "no such file"));
    let (outcome, _) = step("resources/read", r#"{"uri":"ringgate://text/a"}"#, &gone);
    assert!(matches!(outcome, Outcome::Fault { code: -32602, .. }));
}

#[test]
fn without_a_folder_nothing_reads_files() {
    let mut builtin = Builtin::new(false);
    for (method, params) in [
        ("tools/call", r#"{"name":"read_text","arguments":{"path":"a"}}"#),
        ("resources/read", r#"{"uri":"ringgate://text/a"}"#),
    ] {
        let params = Json::parse(params).unwrap();
        let outcome = builtin.serve(method, params, &CONTEXT, &mut Vec::new());
        assert!(matches!(outcome, Outcome::Fault { code: -32602, .. }), "{method}: {outcome:?}");
    }
    for method in ["tools/list", "resources/templates/list"] {
        let mut out = Vec::new();
        builtin.serve(method, Json::EMPTY_OBJECT, &CONTEXT, &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("text/{path}"));
    }
    assert!(!builtin.instructions().contains("read_text"));
}

#[test]
fn an_unknown_resource_is_a_fault_that_names_it() {
    for uri in [
        "ringgate://nothing",
        "file:///etc/passwd",
        "ringgate://text/..%2Fx",
        "ringgate://text/%zz",
        "",
    ] {
        let (code, _, data) = fault("resources/read", &json!({"uri": uri}).to_string());
        assert_eq!((code, data), (-32602, Some(json!({"uri": uri}).to_string())));
    }
    assert_eq!(fault("resources/read", "{}").0, -32602);
    assert_eq!(fault("resources/read", r#"{"uri":7}"#).0, -32602);
}

#[test]
fn the_user_is_asked_only_where_the_client_can() {
    let params = r#"{"name":"ask_name"}"#;
    for (capabilities, can) in [
        ("{}", false),
        (r#"{"elicitation":{}}"#, true),
        (r#"{"elicitation":{"form":{}}}"#, true),
        (r#"{"elicitation":{"form":{},"url":{}}}"#, true),
        (r#"{"elicitation":{"url":{}}}"#, false),
        (r#"{"elicitation":true}"#, false),
        (r#"{"sampling":{}}"#, false),
    ] {
        let capabilities = Json::parse(capabilities).unwrap();
        let (outcome, value) = step("tools/call", params, &Context { capabilities, ..CONTEXT });
        if can {
            assert_eq!(outcome, Outcome::Ask);
            assert_eq!(value["name"]["method"], "elicitation/create");
        } else {
            assert_eq!((outcome, &value["isError"]), (Outcome::Done, &json!(true)));
            assert!(text_of(&value).contains("elicitation"));
        }
    }
}

#[test]
fn each_way_to_answer_a_form_has_its_result() {
    for (answers, error, part) in [
        (r#"{"name":{"action":"accept","content":{"name":"A\u006En"}}}"#, false, "Hello, Ann!"),
        (r#"{"name":{"action":"accept","content":{"name":""}}}"#, true, "without a name"),
        (r#"{"name":{"action":"accept","content":{"name":7}}}"#, true, "without a name"),
        (r#"{"name":{"action":"accept"}}"#, true, "without a name"),
        (r#"{"name":{"action":"decline"}}"#, false, "declined"),
        (r#"{"name":{"action":"cancel"}}"#, false, "closed"),
        (r#"{"name":{"action":"dance"}}"#, true, "no known action"),
        (r#"{"name":7}"#, true, "no known action"),
    ] {
        let answers = Some(Json::parse(answers).unwrap());
        let context = Context { step: 1, answers, ..CONTEXT };
        let (outcome, result) = step("tools/call", r#"{"name":"ask_name"}"#, &context);
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(result["isError"].as_bool().unwrap_or(false), error, "{result}");
        assert!(text_of(&result).contains(part), "{result}");
    }
}

#[test]
fn a_question_that_was_not_answered_is_asked_again() {
    let capabilities = Json::parse(r#"{"elicitation":{}}"#).unwrap();
    let answers = Some(Json::parse(r#"{"other":{"action":"accept"}}"#).unwrap());
    let context = Context { step: 1, answers, capabilities, ..CONTEXT };
    assert_eq!(step("tools/call", r#"{"name":"ask_name"}"#, &context).0, Outcome::Ask);
}

#[test]
fn the_model_is_asked_with_the_prompt_and_its_answer_is_told() {
    let params = r#"{"name":"ask_model","arguments":{"prompt":"2+2?\n\"4\"","max_tokens":9}}"#;
    let capabilities = Json::parse(r#"{"sampling":{}}"#).unwrap();
    let (outcome, asked) = step("tools/call", params, &Context { capabilities, ..CONTEXT });
    assert_eq!(outcome, Outcome::Ask);
    assert_eq!(
        asked["answer"],
        json!({"method": "sampling/createMessage", "params": {
            "messages": [{"role": "user", "content": {"type": "text", "text": "2+2?\n\"4\""}}],
            "maxTokens": 9}})
    );
    for (answers, error, text) in [
        (
            r#"{"answer":{"role":"assistant","model":"m","content":{"type":"text","text":"\u0034"}}}"#,
            false,
            "4",
        ),
        (
            r#"{"answer":{"content":[{"type":"text","text":"4"},{"type":"text","text":"!"}]}}"#,
            false,
            "4!",
        ),
        (
            r#"{"answer":{"content":{"type":"image","data":""}}}"#,
            true,
            "The model's answer holds no text.",
        ),
        (r#"{"answer":{}}"#, true, "The model's answer holds no text."),
    ] {
        let answers = Some(Json::parse(answers).unwrap());
        let (_, result) = step("tools/call", params, &Context { step: 1, answers, ..CONTEXT });
        assert_eq!(result["isError"].as_bool().unwrap_or(false), error);
        assert_eq!(text_of(&result), text);
    }
    assert!(text_of(&done("tools/call", params)).contains("sampling"));
}

#[test]
fn lists_are_one_page_and_name_what_is_there() {
    let names = |method: &str, list: &str| -> Vec<String> {
        let result = done(method, "{}");
        let items = result[list].as_array().unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        names("tools/list", "tools"),
        ["echo", "add", "clock", "sleep", "random", "ask_name", "ask_model", "read_text"]
    );
    assert_eq!(names("prompts/list", "prompts"), ["greet", "summarize"]);
    assert_eq!(names("resources/list", "resources"), ["about", "limits"]);
    assert_eq!(names("resources/templates/list", "resourceTemplates"), ["text"]);
    assert_eq!(fault("tools/list", r#"{"cursor":"2"}"#).0, -32602);
    assert_eq!(fault("logging/setLevel", "{}").0, -32601);
}

#[test]
fn what_the_list_of_resources_names_can_be_read() {
    for resource in done("resources/list", "{}")["resources"].as_array().unwrap() {
        let result = done("resources/read", &json!({"uri": resource["uri"]}).to_string());
        let content = &result["contents"][0];
        assert_eq!(content["mimeType"], resource["mimeType"]);
        assert_eq!(content["uri"], resource["uri"]);
        if content["mimeType"] == "application/json" {
            let text = content["text"].as_str().unwrap();
            assert!(serde_json::from_str::<Value>(text).unwrap()["sleep_ms_max"].is_u64());
        }
    }
}

#[test]
fn the_limits_in_the_schemas_are_those_that_hold() {
    let list = done("tools/list", "{}");
    let maximum = |tool: &str, key: &str| {
        let tool = list["tools"].as_array().unwrap().iter().find(|t| t["name"] == tool).unwrap();
        tool["inputSchema"]["properties"][key]["maximum"].as_i64().unwrap()
    };
    assert_eq!(maximum("sleep", "ms"), tools::SLEEP_MS_MAX);
    assert_eq!(maximum("sleep", "steps"), tools::SLEEP_STEPS_MAX);
    assert_eq!(maximum("ask_model", "max_tokens"), tools::TOKENS_MAX);
    assert_eq!(maximum("random", "max"), super::argument::INTEGER_MAX);
}

#[test]
fn a_prompt_takes_its_arguments_into_its_message() {
    let message = |params: &str| {
        let result = done("prompts/get", params);
        result["messages"][0]["content"]["text"].as_str().unwrap().to_owned()
    };
    assert!(message(r#"{"name":"greet","arguments":{"name":"A\"nn"}}"#).contains("A\"nn"));
    assert!(
        message(r#"{"name":"greet","arguments":{"name":"Ann","style":"pirate"}}"#)
            .contains("pirate")
    );
    assert!(message(r#"{"name":"summarize","arguments":{"text":"a\nb"}}"#).ends_with("\n\na\nb"));
    for params in [
        r#"{"name":"greet"}"#,
        r#"{"name":"greet","arguments":{"name":"Ann","style":"rude"}}"#,
        r#"{"name":"greet","arguments":{"name":"Ann","style":7}}"#,
        r#"{"name":"summarize","arguments":{}}"#,
        r#"{"name":"nothing"}"#,
        "{}",
    ] {
        assert_eq!(fault("prompts/get", params).0, -32602, "{params}");
    }
}

#[test]
fn completion_knows_the_styles_and_the_template() {
    let complete = |reference: Value, name: &str, value: &str| {
        let params = json!({"ref": reference, "argument": {"name": name, "value": value}});
        done("completion/complete", &params.to_string())["completion"].clone()
    };
    let greet = json!({"type": "ref/prompt", "name": "greet"});
    assert_eq!(
        complete(greet.clone(), "style", ""),
        json!({"values": ["plain", "formal", "pirate"], "total": 3, "hasMore": false})
    );
    assert_eq!(complete(greet.clone(), "style", "P")["values"], json!(["plain", "pirate"]));
    assert_eq!(complete(greet, "name", "x")["values"], json!([]));
    let template = json!({"type": "ref/resource", "uri": "ringgate://text/{path}"});
    assert_eq!(complete(template, "path", "x")["values"], json!([]));
    for params in [
        json!({}),
        json!({"ref": {"type": "ref/prompt", "name": "greet"}}),
        json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": ""}}),
        json!({"ref": {"type": "ref/resource", "uri": "x"}, "argument": {"name": "a", "value": ""}}),
        json!({"ref": {"type": "ref/tool"}, "argument": {"name": "a", "value": ""}}),
        json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "style", "value": 7}}),
    ] {
        assert_eq!(fault("completion/complete", &params.to_string()).0, -32602, "{params}");
    }
}

#[test]
fn each_embedded_tool_is_listed_under_the_name_it_is_found_by() {
    for (name, tool) in tools::embedded(true) {
        let descriptor: Value = serde_json::from_str(&tool.descriptor()).unwrap();
        assert_eq!(descriptor["name"], name);
        assert!(descriptor["title"].is_string() && descriptor["description"].is_string());
        assert_eq!(descriptor["inputSchema"]["type"], "object");
        assert!(!tool.descriptor().contains('\n'));
    }
    for json in [Builtin::new(true).capabilities(), Builtin::new(false).capabilities()] {
        assert!(Json::parse(json).is_ok());
    }
}

/// A tool of somebody else's.
struct Guest(&'static str);

impl Tool for Guest {
    fn descriptor(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.0)
    }

    fn call(&mut self, _: &Call<'_>, out: &mut Vec<u8>) -> Outcome {
        out.extend_from_slice(b"half an answer");
        Outcome::Wait { after: Duration::from_secs(1), progress: None }
    }
}

#[test]
fn a_tool_of_ones_own_is_listed_and_called_like_the_others() {
    let descriptor = "{\n \"name\": \"guest\",\r\n \"inputSchema\": {\"type\": \"object\"}\n}\n";
    let mut builtin = Builtin::new(false).with(Box::new(Guest(descriptor))).unwrap();
    let mut out = Vec::new();
    builtin.serve("tools/list", Json::EMPTY_OBJECT, &CONTEXT, &mut out);
    assert!(!out.contains(&b'\n') && !out.contains(&b'\r'));
    let list: Value = serde_json::from_slice(&out).unwrap();
    let tools = list["tools"].as_array().unwrap();
    assert_eq!(tools.last().unwrap()["name"], "guest");
    out.clear();
    let params = Json::parse(r#"{"name":"guest"}"#).unwrap();
    let outcome = builtin.serve("tools/call", params, &CONTEXT, &mut out);
    assert!(matches!(outcome, Outcome::Wait { .. }));
    assert!(out.is_empty(), "what a tool wrote before it waited is not part of its answer");
}

#[test]
fn a_tool_without_a_name_or_with_anothers_is_refused() {
    for descriptor in [
        "",
        "7",
        "[]",
        "{}",
        r#"{"name":7,"inputSchema":{}}"#,
        r#"{"name":"","inputSchema":{}}"#,
        r#"{"name":"x"}"#,
    ] {
        let refused = Builtin::new(false).with(Box::new(Guest(descriptor))).unwrap_err();
        assert!(matches!(refused, ToolError::Descriptor(_)), "{descriptor}");
    }
    let doubled = r#"{"name":"e\u0063ho","inputSchema":{"type":"object"}}"#;
    let refused = Builtin::new(false).with(Box::new(Guest(doubled))).unwrap_err();
    assert_eq!(refused, ToolError::Doubled("echo".to_owned()));
    assert!(refused.to_string().contains("\"echo\""));
}
