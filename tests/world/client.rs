//! Clients: they greet, ask, answer, cancel, misbehave and leave. One is either played by the dice or
//! led by a test line by line (then it only keeps what it hears).

use serde_json::{Value, json};

use crate::judge::Judge;
use crate::marks;
use crate::pipe::End;
use crate::reader::Habit;
use crate::shape::{Head, value};
use crate::world::{Happening, World};

use ringgate::gateway::principal::Principal;
use ringgate::gateway::{Event, Transport};

/// How a client behaves, in percent where a number.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    pub cancels: u64,
    pub sends_garbage: u64,
    pub doubles_ids: u64,
    pub batches: u64,
    pub never_answers: u64,
    pub answers_twice: u64,
    pub answers_partly: u64,
    pub refuses: u64,
    /// Its calls break things at the server.
    pub breaks: u64,
    /// Its calls report more progress than a ring of events holds.
    pub bursts: u64,
    /// Its calls take their time and say so.
    pub talks: u64,
    /// Longest pause between two requests, in microseconds.
    pub pause_max: u64,
}

impl Manner {
    pub const fn is_polite(&self) -> bool {
        self.sends_garbage + self.doubles_ids + self.never_answers + self.answers_twice == 0
    }
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    pub shard: usize,
    pub is_modern: bool,
    /// What it asks for in `initialize`.
    pub version: &'static str,
    pub caps: Value,
    /// The level of logs it wants.
    pub level: Option<&'static str>,
    pub manner: Manner,
    /// It reads in its own time.
    pub habit: Option<Habit>,
    pub transport: Transport,
    pub pipe: Option<usize>,
    pub is_ready: bool,
    /// Requests it will still make.
    pub left: u64,
    pub serial: u64,
    /// A test leads it.
    pub is_led: bool,
    pub heard: Vec<Value>,
    pub judge: Judge,
    pub sends_batches: bool,
    /// What it asked (modern): id, method and params, for retries.
    asked: Vec<(String, String, Value)>,
    retries: u64,
}

impl Client {
    pub fn new(shard: usize, is_modern: bool, version: &'static str, caps: Value) -> Self {
        Self {
            shard,
            is_modern,
            version,
            caps,
            level: None,
            manner: Manner::default(),
            habit: None,
            transport: Transport::Tcp,
            pipe: None,
            is_ready: false,
            left: 0,
            serial: 0,
            is_led: false,
            heard: Vec::new(),
            judge: Judge::default(),
            sends_batches: false,
            asked: Vec::new(),
            retries: 0,
        }
    }
}

impl World {
    pub fn client_connects(&mut self, client: usize) {
        let shard = self.clients[client].shard;
        let pipe = self.open_pipe(shard, End::Client(client));
        self.clients[client].pipe = Some(pipe);
        if let Some(habit) = self.clients[client].habit {
            self.reads(client, habit);
        }
        let (link, transport) = (self.pipes[pipe].link, self.clients[client].transport);
        self.trace.note(self.now, format_args!("client {client} is {link}"), b"");
        self.handle(
            shard,
            Event::ClientOpened { link, transport, principal: Principal::ANONYMOUS },
        );
        if self.clients[client].is_led {
            return;
        }
        if self.clients[client].is_modern {
            self.clients[client].is_ready = true;
        } else {
            let frame = self.hello(client);
            self.client_writes(client, &frame);
        }
        let pause = self.clients[client].manner.pause_max;
        let after = self.dice.between(1, pause);
        self.plan_in(after, Happening::Act { client });
    }

    /// The `initialize` of a client.
    pub fn hello(&self, client: usize) -> String {
        let Client { version, caps, .. } = &self.clients[client];
        json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": caps,
            "clientInfo": {"name": format!("client-{client}"), "version": "1"},
        }})
        .to_string()
    }

    pub fn client_writes(&mut self, client: usize, frame: &str) {
        if let Some(pipe) = self.clients[client].pipe {
            self.write(pipe, format!("{frame}\n").as_bytes());
        }
    }

    pub fn client_says(&mut self, client: usize, pipe: usize, frame: &str) {
        if self.clients[client].pipe == Some(pipe) {
            self.client_writes(client, frame);
        }
    }

    fn say_later(&mut self, client: usize, within: u64, frame: String) {
        let Some(pipe) = self.clients[client].pipe else { return };
        let after = self.dice.between(10, within);
        self.plan_in(after, Happening::Say { client, pipe, frame });
    }

    pub fn client_leaves(&mut self, client: usize, reset: bool) {
        self.clients[client].left = 0;
        if let Some(pipe) = self.clients[client].pipe {
            self.hang_up(pipe, reset);
        }
    }

    /// The gateway has closed the link, and the client hears of it.
    pub fn client_lost(&mut self, client: usize) {
        self.clients[client].left = 0;
        self.clients[client].pipe = None;
    }

    /// The client's next thing.
    pub fn client_acts(&mut self, client: usize) {
        if self.clients[client].left == 0 || self.clients[client].pipe.is_none() {
            return;
        }
        self.clients[client].left -= 1;
        let manner = self.clients[client].manner.clone();
        // Impatient ones do not wait for the answer to their greeting.
        if self.clients[client].is_ready || !manner.is_polite() {
            if self.dice.percent(manner.sends_garbage) {
                let frame = self.garbage(client);
                self.client_writes(client, &frame);
            } else if self.clients[client].sends_batches && self.dice.percent(manner.batches) {
                let count = self.dice.between(1, 5);
                let frames: Vec<String> = (0..count).map(|_| self.request(client)).collect();
                self.client_writes(client, &format!("[{}]", frames.join(",")));
            } else {
                let frame = self.request(client);
                self.client_writes(client, &frame);
            }
            if self.dice.percent(manner.cancels) {
                self.cancel_something(client);
            }
        }
        let after = self.dice.between(1, manner.pause_max);
        self.plan_in(after, Happening::Act { client });
    }

    fn cancel_something(&mut self, client: usize) {
        let made = self.clients[client].serial;
        let serial = made - self.dice.below(made.min(4));
        let id = self.id_of(client, serial);
        let frame = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}"
        );
        self.say_later(client, 4_000, frame);
    }

    /// Ids of all spellings; the text must come back as it was.
    pub fn id_of(&self, client: usize, serial: u64) -> String {
        let serial = if self.clients[client].manner.doubles_ids > 0 { serial / 3 } else { serial };
        match serial % 5 {
            0 => format!("{serial}"),
            1 => format!("\"r {serial}\""),
            2 => format!("-{serial}"),
            3 => format!("{}", 9_007_199_254_740_993 + serial),
            _ => format!("\"é/{serial}\""),
        }
    }

    pub fn garbage(&mut self, client: usize) -> String {
        let id = self.clients[client].serial;
        (*self.dice.pick(&[
            "not json",
            "{\"jsonrpc\":\"2.0\",\"id\":1}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}",
            "[]",
            "[1]",
            "[{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nothing\"}]",
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{}}",
            "{\"jsonrpc\":\"2.0\",\"id\":77,\"result\":{}}",
            "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}",
            "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":1,\"message\":\"m\"}}",
            "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"m\"}}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g\",\"method\":\"tools/call\",\"params\":{\"name\":7}}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g2\",\"method\":\"tools/call\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g3\",\"method\":\"no/such\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g4\",\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-03-26\",\"capabilities\":{},\"clientInfo\":{\"name\":\"x\",\"version\":\"\"}}}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g5\",\"method\":\"subscriptions/listen\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{}},\"notifications\":7}}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g6\",\"method\":\"resources/subscribe\",\"params\":{\"uri\":\"no:such\"}}",
            "{\"jsonrpc\":\"2.0\",\"id\":\"g7\",\"method\":\"sampling/createMessage\",\"params\":{}}",
        ]))
        .replace("77", &id.to_string())
    }

    /// A request, of any kind.
    pub fn request(&mut self, client: usize) -> String {
        self.clients[client].serial += 1;
        let serial = self.clients[client].serial;
        let (method, params) = self.something(client, serial);
        self.frame(client, serial, &method, params)
    }

    /// The line of a request in the client's era.
    fn frame(&mut self, client: usize, serial: u64, method: &str, mut params: Value) -> String {
        let id = self.id_of(client, serial);
        let with_progress = self.dice.percent(60);
        let found = &mut self.clients[client];
        if with_progress || found.is_modern {
            let mut meta = json!({});
            if with_progress {
                meta["progressToken"] = if serial.is_multiple_of(2) {
                    json!(serial)
                } else {
                    json!(format!("p{serial}"))
                };
            }
            if found.is_modern {
                meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
                meta["io.modelcontextprotocol/clientCapabilities"] = found.caps.clone();
                meta["io.modelcontextprotocol/clientInfo"] =
                    json!({"name": format!("client-{client}"), "version": "1"});
                if let Some(level) = found.level {
                    meta["io.modelcontextprotocol/logLevel"] = json!(level);
                }
                found.asked.push((id.clone(), method.to_owned(), params.clone()));
            }
            params["_meta"] = meta;
        }
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}")
    }

    /// A method and its params.
    fn something(&mut self, client: usize, serial: u64) -> (String, Value) {
        let is_modern = self.clients[client].is_modern;
        let upstream = self.dice.index(self.settings.upstreams.len());
        let mark = marks::token(client, serial);
        let is_builtin = matches!(
            self.settings.upstreams[upstream].target,
            ringgate::gateway::settings::Target::Builtin { .. }
        );
        let of = |method: &str, params: Value| (method.to_owned(), params);
        match self.dice.below(20) {
            0 => {
                let list =
                    *self.dice.pick(&["tools", "prompts", "resources", "resources/templates"]);
                return (format!("{list}/list"), json!({}));
            }
            1 if is_modern => return of("server/discover", json!({})),
            1 => return of("ping", json!({})),
            2 | 3 if is_modern => {
                let uri = self.watchable(upstream);
                return of(
                    "subscriptions/listen",
                    json!({"notifications": {
                        "toolsListChanged": self.dice.percent(50), "resourceSubscriptions": [uri],
                    }}),
                );
            }
            2 | 3 => {
                let uri = self.watchable(upstream);
                let method = if self.dice.percent(70) {
                    "resources/subscribe"
                } else {
                    "resources/unsubscribe"
                };
                return of(method, json!({"uri": uri}));
            }
            4 if !is_modern && self.clients[client].level.is_some() => {
                return of("logging/setLevel", json!({"level": "info"}));
            }
            _ => {}
        }
        if is_builtin {
            return self.builtin_call(upstream, &mark);
        }
        let script = self.script(client);
        match self.dice.below(8) {
            0 => {
                let uri = format!("res://do/{mark}/{}", script.replace(' ', "+"));
                of("resources/read", json!({"uri": self.called(upstream, &uri, true)}))
            }
            1 => {
                let name = self.called(upstream, "ask", false);
                of("prompts/get", json!({"name": name, "arguments": {"token": mark, "do": script}}))
            }
            2 => {
                let name = self.called(upstream, "ask", false);
                of(
                    "completion/complete",
                    json!({
                        "ref": {"type": "ref/prompt", "name": name},
                        "argument": {"name": "a", "value": mark},
                    }),
                )
            }
            _ => self.call_of(upstream, "work", &mark, json!({"token": mark, "do": script})),
        }
    }

    fn builtin_call(&mut self, upstream: usize, mark: &str) -> (String, Value) {
        let (name, arguments) = match self.dice.below(7) {
            0 => (
                "sleep",
                json!({"ms": self.dice.below(900), "steps": self.dice.between(1, 4), "for": mark}),
            ),
            1 => ("ask_name", json!({"for": mark})),
            2 => ("ask_model", json!({"prompt": mark})),
            3 => ("read_text", json!({"path": format!("a/{mark}txt")})),
            4 => {
                let uri = self.called(upstream, "ringgate://about", true);
                return ("resources/read".to_owned(), json!({"uri": uri}));
            }
            _ => ("echo", json!({"message": mark})),
        };
        self.call_of(upstream, name, mark, arguments)
    }

    /// A call by its name, or through `execute_tool` where there is one; which of the two its mark decides.
    fn call_of(&self, upstream: usize, own: &str, mark: &str, arguments: Value) -> (String, Value) {
        let is_odd = mark.bytes().fold(0, u8::wrapping_add) % 2 == 1;
        let params = if is_odd && self.settings.expose.has_tools() {
            let server = &self.settings.upstreams[upstream].name;
            let inside = json!({"server": server, "tool": own, "args": arguments});
            json!({"name": "execute_tool", "arguments": inside})
        } else {
            json!({"name": self.called(upstream, own, false), "arguments": arguments})
        };
        ("tools/call".to_owned(), params)
    }

    fn watchable(&mut self, upstream: usize) -> String {
        let own = format!("res://sub/{}", self.dice.below(3));
        self.called(upstream, &own, true)
    }

    fn script(&mut self, client: usize) -> String {
        let breaks = self.clients[client].manner.breaks;
        let steps = self.dice.below(4);
        let mut script = Vec::new();
        for _ in 0..steps {
            let from =
                if self.dice.percent(breaks) { crate::call::FAULTS } else { crate::call::STEPS };
            script.push(self.dice.pick(from).0);
        }
        let Manner { bursts, talks, .. } = self.clients[client].manner;
        if talks > 0 && self.dice.percent(talks) {
            script.extend(["p", "p", "w", "p", "w", "p"]);
        }
        if bursts > 0 && self.dice.percent(bursts) {
            let at = self.dice.index(script.len() + 1);
            script.insert(at, crate::call::BURST);
        }
        script.join(" ")
    }

    /// A client has got a frame.
    pub fn client_hears(&mut self, client: usize, pipe: usize, line: &[u8]) {
        if self.clients[client].pipe != Some(pipe) {
            return;
        }
        if self.clients[client].is_led {
            let heard = serde_json::from_slice(line).unwrap_or(Value::Null);
            self.clients[client].heard.push(heard);
            return;
        }
        if line.first() == Some(&b'[') {
            return;
        }
        let Ok(head) = Head::read(line) else { return };
        match (head.method.as_deref(), head.id) {
            (Some(method), Some(id)) => {
                let frame = self.answer_to(client, id.get(), method);
                self.answer_as_is_its_way(client, frame);
            }
            (Some(_), None) => {}
            (None, _) => {
                if head.id_text() == "\"hello\"" && head.result.is_some() {
                    self.client_writes(
                        client,
                        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}",
                    );
                    self.clients[client].is_ready = true;
                } else if let Some(result) =
                    head.result.filter(|r| r.get().contains("input_required"))
                    && let Some(frame) = self.retry(client, head.id_text(), &value(result))
                {
                    self.answer_as_is_its_way(client, frame);
                }
            }
        }
    }

    fn answer_as_is_its_way(&mut self, client: usize, frame: String) {
        let manner = self.clients[client].manner.clone();
        if self.dice.percent(manner.never_answers) {
            return;
        }
        if self.dice.percent(manner.answers_twice) {
            self.say_later(client, 40_000, frame.clone());
        }
        self.say_later(client, 40_000, frame);
    }

    pub fn answer_to(&mut self, client: usize, id: &str, method: &str) -> String {
        let refuses = self.clients[client].manner.refuses;
        if self.dice.percent(refuses) {
            return format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-1,\"message\":\"no\"}}}}"
            );
        }
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{}}}", answer(client, method))
    }

    /// A modern client is asked by an answer, and makes the call anew.
    pub fn retry(&mut self, client: usize, id: &str, result: &Value) -> Option<String> {
        let found = &mut self.clients[client];
        let at = found.asked.iter().position(|(asked, ..)| asked == id)?;
        let (_, method, mut params) = found.asked.swap_remove(at);
        found.retries += 1;
        found.serial += 1;
        let serial = found.serial;
        let manner = found.manner.clone();
        let mut answers = json!({});
        for (key, ask) in result["inputRequests"].as_object().into_iter().flatten() {
            if !self.dice.percent(manner.answers_partly) {
                answers[key] = answer(client, ask["method"].as_str().unwrap_or_default());
            }
        }
        params["inputResponses"] = answers;
        if let Some(state) = result["requestState"].as_str() {
            params["requestState"] = json!(state);
            if self.dice.percent(manner.answers_twice) {
                params["requestState"] = json!(format!("{state}0"));
            }
        }
        Some(self.frame(client, serial, &method, params))
    }
}

/// What a client answers to a question.
pub fn answer(client: usize, method: &str) -> Value {
    let who = marks::who(client);
    match method {
        "sampling/createMessage" => {
            json!({"role": "assistant", "content": {"type": "text", "text": who}, "model": "m"})
        }
        "elicitation/create" => json!({"action": "accept", "content": {"name": who}}),
        _ => json!({"roots": [{"uri": format!("file:///{who}")}]}),
    }
}
