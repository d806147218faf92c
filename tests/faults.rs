//! What is wrong with a client's message, and what it is told: by the gateway alone, without sockets.
//! Proves that no key that the gateway judges by may stand twice, and that a notification gets no answer.

use std::sync::Arc;

use ringgate::base::{LinkId, Now, ShardId};
use ringgate::gateway::builtin::Builtin;
use ringgate::gateway::principal::Principal;
use ringgate::gateway::settings::{EraPin, Share, Spread, Target, Upstream};
use ringgate::gateway::{Effects, Event, Gateway, Settings, Transport};
use serde_json::Value;

const CLIENT: LinkId = LinkId::new(ShardId(0), 0, 0);
const MODERN: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

struct House {
    gateway: Gateway,
    out: Effects,
}

impl House {
    /// A gateway with the built-in upstream and a client that has said `initialize` in this version.
    fn new(version: &str) -> Self {
        let upstream = Upstream {
            name: "up".to_owned(),
            prefix: String::new(),
            target: Target::Builtin { folder: None },
            era: EraPin::Auto,
            share: Share::Auto,
            warm: false,
            spread: Spread::default(),
        };
        let settings = Settings { upstreams: vec![upstream], shards: 1, ..Settings::default() };
        let gateway = Gateway::new(Arc::new(settings), ShardId(0), Builtin::new(false));
        let mut house = Self { gateway, out: Effects::default() };
        house.event(Event::ClientOpened {
            link: CLIENT,
            transport: Transport::Tcp,
            principal: Principal::ANONYMOUS,
        });
        house.say(&format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"t","version":"1"}}}}}}"#
        ));
        house
    }

    fn event(&mut self, event: Event<'_>) {
        self.out.clear();
        self.gateway.handle(Now::default(), event, &mut self.out);
    }

    /// What the client is answered, null if nothing.
    fn say(&mut self, frame: &str) -> Value {
        self.event(Event::Frame { link: CLIENT, frame: frame.as_bytes() });
        if self.out.bytes.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.out.bytes).expect("one line of JSON")
    }

    fn ask(&mut self, method: &str, params: &str) -> Value {
        self.say(&format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#))
    }
}

#[test]
fn a_key_that_is_judged_by_must_not_stand_twice() {
    let mut house = House::new("2025-11-25");
    for (method, params, key) in [
        ("tools/call", r#"{"name":"echo","name":"add","arguments":{"message":"m"}}"#, "name"),
        ("tools/call", r#"{"name":"echo","n\u0061me":"echo","arguments":{"message":"m"}}"#, "me"),
        (
            "tools/call",
            r#"{"name":"echo","arguments":{"message":"m"},"arguments":{}}"#,
            "arguments",
        ),
        ("prompts/get", r#"{"name":"a","name":"a"}"#, "name"),
        ("resources/read", r#"{"uri":"a://b","uri":"a://c"}"#, "uri"),
        ("completion/complete", r#"{"ref":{},"ref":{"name":"x"},"argument":{}}"#, "ref"),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"a","name":"b"},"argument":{"name":"x","value":""}}"#,
            "ref",
        ),
        ("tools/list", r#"{"cursor":"a","cursor":"b"}"#, "cursor"),
        (
            "tools/call",
            r#"{"name":"echo","_meta":{"progressToken":1,"progressToken":2}}"#,
            "progressToken",
        ),
    ] {
        let answer = house.ask(method, params);
        assert_eq!(answer["error"]["code"], -32602, "{params}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("twice") && message.contains(key), "{message}");
        assert_eq!(answer["id"], 7);
    }
    // A modern client's name counts no other way.
    let params =
        format!(r#"{{"name":"echo","name":"add","arguments":{{"message":"m"}},{MODERN}}}"#);
    assert_eq!(house.ask("tools/call", &params)["error"]["code"], -32602);
    // What is not judged by is the upstream's business.
    let params = r#"{"name":"echo","arguments":{"message":"m"},"x":1,"x":2,"_meta":{"y":1,"y":2}}"#;
    assert_eq!(house.ask("tools/call", params)["result"]["content"][0]["text"], "m");
}

#[test]
fn a_notification_with_positional_parameters_gets_no_answer() {
    let mut house = House::new("2025-03-26");
    let frame = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":[7]}"#;
    assert_eq!(house.say(frame), Value::Null);
    // A request with them gets one, under its own id.
    let answer = house.ask("ping", "[7]");
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&(-32602).into(), &7.into()));
    // In a batch, too: and the batch's other answers do not wait for one that will not come.
    let ping = r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#;
    let answers = house.say(&format!("[{frame},{ping}]"));
    assert_eq!(answers.as_array().map(Vec::len), Some(1), "{answers}");
    assert_eq!(answers[0]["id"], 8);
    assert_eq!(house.say(&format!("[{frame}]")), Value::Null);
}

#[test]
fn a_tool_is_found_by_what_its_name_reads_and_by_nothing_else() {
    let mut house = House::new("2025-11-25");
    let echoed =
        house.ask("tools/call", r#"{"n\u0061me":"\u0065cho","arguments":{"message":"m"}}"#);
    assert_eq!(echoed["result"]["content"][0]["text"], "m");
    // Unescaped once it reads `\u0065cho`, which is no tool.
    let answer = house.ask("tools/call", r#"{"name":"\\u0065cho","arguments":{"message":"m"}}"#);
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(answer["error"]["data"]["tool"], "\\u0065cho");
}
