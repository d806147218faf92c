//! What strangers write into arguments, at random and from seeds: nothing of it panics, everything of it gets
//! exactly one answer, and nothing stays.

use std::sync::Arc;

use ringgate::gateway::Settings;
use ringgate::gateway::guard::{BUILT_IN, Guard, Mode, Wish};
use ringgate::gateway::settings::{EraPin, Target};
use ringgate::gateway::tools::Expose;
use ringgate::wire::Json;
use serde_json::{Map, Value, json};

use crate::house::{House, upstream};

/// A splitmix64: the same values for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 24] = [
            "up",
            "own",
            "echo",
            "add",
            "sleep",
            "reader",
            "*",
            "a*b",
            ",",
            "'",
            "' or '1'='1",
            "../",
            "..\\",
            "<script>",
            "%2e%2e",
            "\u{0}",
            "\"",
            "\\",
            "é😀",
            "\u{202e}",
            "-- ",
            "1 union select null",
            "\u{7f}",
            " ",
        ];
        (0..self.roll(4)).map(|_| self.pick(&PIECES)).collect()
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.roll(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(self.roll(u64::MAX)),
            3 => json!(-1.5e300 * f64::from(u32::try_from(self.roll(9)).unwrap())),
            4 | 5 => json!(self.text()),
            6 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object(self.object(depth - 1)),
        }
    }

    fn object(&mut self, depth: u64) -> Map<String, Value> {
        (0..self.roll(4)).map(|_| (self.text(), self.value(depth))).collect()
    }

    /// Arguments that are often nearly right.
    fn arguments(&mut self) -> Value {
        let mut arguments = self.object(1);
        for (key, good) in [
            ("agent_id", json!("reader")),
            ("server", json!(["own", "up", "nowhere"][usize::try_from(self.roll(3)).unwrap()])),
            (
                "tool",
                json!(["echo", "add", "ask_name", "x"][usize::try_from(self.roll(4)).unwrap()]),
            ),
            ("args", json!({"message": self.text(), "a": 1, "b": 2})),
            ("timeout_ms", json!(self.roll(100_000))),
            ("names", json!(["echo"])),
            ("pattern", json!("e*")),
            ("max_tokens", json!(self.roll(500))),
            ("include_metadata", json!(true)),
        ] {
            match self.roll(8) {
                0..=2 => {}
                3 => {
                    arguments.insert(key.to_owned(), self.value(3));
                }
                _ => {
                    arguments.insert(key.to_owned(), good);
                }
            }
        }
        // Unknown keys are refused at once; most of the time there shall be none.
        if self.roll(4) > 0 {
            let known = ["agent_id", "server", "tool", "args", "timeout_ms"];
            arguments.retain(|key, _| known.contains(&key.as_str()));
        }
        Value::Object(arguments)
    }
}

fn guard(mode: Mode) -> Guard {
    let own = vec![("own".to_owned(), "(?i)^[a-z]+$".to_owned())];
    Guard::compile(Wish { mode, built_in: BUILT_IN.to_vec(), own, ..Wish::default() }).unwrap()
}

#[test]
fn any_arguments_of_the_gateway_tools_get_one_answer_and_leave_nothing() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let upstreams = vec![
            upstream(
                "up",
                "up",
                Target::Tcp { address: ([127, 0, 0, 1], 1).into() },
                EraPin::Legacy,
            ),
            upstream("own", "own", Target::Builtin { folder: None }, EraPin::Auto),
        ];
        let guard = (seed % 2 == 0).then(|| Arc::new(guard(Mode::Deny)));
        let expose = [Expose::GatewayTools, Expose::Both][usize::try_from(seed % 2).unwrap()];
        let settings = Settings { upstreams, expose, guard, audits: true, ..Settings::default() };
        let mut house = House::with(1, settings);
        let lane = house.greet_legacy();
        let before = house.footprint();
        let session = house.session(0, "2025-06-18", r#"{"elicitation":{}}"#);
        let mut links = Vec::new();
        for _ in 0..150 {
            let tool =
                dice.pick(&["list_servers", "get_server_tools", "execute_tool", "execute_tool"]);
            let arguments = dice.arguments();
            if dice.roll(2) == 0 {
                let params = format!("{{\"name\":\"{tool}\",\"arguments\":{arguments}}}");
                links.push(house.modern(0, 1, "tools/call", &params, "{}"));
            } else {
                let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                                  "params": {"name": tool, "arguments": arguments}});
                links.push(house.in_session(0, &session, &call.to_string()));
            }
            // The upstream answers what it is asked, with as much sense.
            if let Some((id, _)) = house.heard(lane, "tools/call") {
                let outcome = dice.pick(&["result", "error"]);
                let said = dice.value(3);
                house.says(lane, &format!(r#"{{"jsonrpc":"2.0","id":{id},"{outcome}":{said}}}"#));
            }
        }
        house.wait(std::time::Duration::from_secs(31));
        house.wait(std::time::Duration::from_secs(601));
        for link in links {
            let answer = house.answer(link);
            assert!(
                answer.status.is_some() && (!answer.is_stream || answer.is_closed),
                "{answer:?}"
            );
        }
        let end = [("mcp-session-id", &*session)];
        let end = house.send(0, ringgate::gateway::http::Verb::Delete, "/mcp", &end, "");
        assert_eq!(house.answer(end).status, Some(200));
        assert_eq!(house.footprint(), before);
    }
}

#[test]
fn the_guard_reads_any_json_and_finds_the_same_in_every_spelling() {
    let guard = guard(Mode::Log);
    let mut dice = Dice(7);
    let mut found = 0;
    for _ in 0..5_000 {
        let value = dice.value(6);
        let plain = value.to_string();
        let escaped: String = plain
            .chars()
            .map(|c| match c {
                '<' | '>' | '\'' | '.' | '%' => format!("\\u{:04x}", u32::from(c)),
                c => c.to_string(),
            })
            .collect();
        // What stands outside of texts has no escapes.
        let Ok(escaped) = Json::parse(&escaped) else { continue };
        let one = guard.inspect("s", "t", Json::parse(&plain).unwrap());
        let other = guard.inspect("s", "t", escaped);
        assert_eq!(
            one.as_ref().map(|it| &it.pattern),
            other.as_ref().map(|it| &it.pattern),
            "{plain}"
        );
        found += u32::from(one.is_some());
    }
    assert!(found > 500, "{found}");
}
