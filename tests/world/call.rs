//! Calls at a server: each goes through the steps of its script and ends in an answer, or not. The
//! script stands in the request; `STEPS` lists what it can say.

use std::collections::BTreeMap;

use ringgate::gateway::policy::Pattern;
use serde_json::{Value, json};

use crate::marks;
use crate::server::Server;
use crate::shape::{Head, value};
use crate::world::{Happening, World};

/// What a script can say, each with what becomes of it.
pub const STEPS: &[(&str, &str)] = &[
    ("p", "reports progress, where it was asked to"),
    ("l", "logs"),
    ("as", "asks for sampling"),
    ("ae", "asks for elicitation"),
    ("ar", "asks for roots"),
    ("w", "waits half a second"),
    ("err", "ends in an error of its own"),
    ("chg", "changes a list three times"),
    ("str", "answers with its id as a string"),
];

/// Reports more progress than is kept for who resumes; only clients over HTTP say it.
pub const BURST: &str = "burst";
/// How much more.
pub const BURST_EVENTS: u64 = 120;

/// What a script can say that breaks something.
pub const FAULTS: &[(&str, &str)] = &[
    ("twice", "answers twice"),
    ("unknown", "answers an id that was never sent"),
    ("noid", "sends an error without an id"),
    ("garbage", "writes lines that are no message"),
    ("flood", "writes two hundred notifications"),
    ("lost", "reports progress under a token that nobody has"),
    ("rude", "asks for what nobody declared"),
    ("late", "does not hear a cancellation, and answers after it"),
    ("hang", "never answers"),
    ("die", "ends the connection"),
    ("over", "writes a line over every limit"),
];

/// See the module.
#[derive(Debug)]
pub struct Call {
    /// As JSON text.
    pub id: String,
    method: String,
    about: String,
    pub mark: String,
    client: Option<usize>,
    steps: Vec<String>,
    at: usize,
    token: Option<Value>,
    caps: Value,
    progress: u64,
    /// The gateway has been given its answer.
    pub is_answered: bool,
    /// It was told that nobody waits.
    pub is_told: bool,
    pub is_over: bool,
    pub is_late: bool,
    /// Gives its id back as a string.
    is_quoted: bool,
}

impl World {
    pub fn call_begins(&mut self, conn: usize, id: &str, method: &str, params: &Value) {
        let text = params.to_string();
        let first = marks::tokens(&text).next().map(|(client, mark)| (client, mark.to_owned()));
        let uri = params["uri"].as_str().unwrap_or_default();
        let script = params["arguments"]["do"].as_str().map(str::to_owned);
        // A resource's script is the end of its URI.
        let script = script.unwrap_or_else(|| match uri.rsplit_once('/') {
            Some((_, script)) if uri.starts_with("res://do/") => script.replace('+', " "),
            _ => String::new(),
        });
        let meta = &params["_meta"];
        let found = &mut self.conns[conn];
        let Server { is_modern, state_prefix, .. } = self.servers[found.server];
        let caps = if is_modern {
            meta["io.modelcontextprotocol/clientCapabilities"].clone()
        } else {
            found.caps.clone()
        };
        // `st:<steps done>:<mark>` is a state of ours.
        let state = params["requestState"].as_str().map(str::to_owned);
        let done = state.as_deref().and_then(|state| {
            state.strip_prefix(state_prefix)?.strip_prefix("st:")?.split_once(':')
        });
        let at = done.and_then(|(at, _)| at.parse().ok()).unwrap_or(0);
        let is_foreign =
            done.is_some_and(|(_, mark)| first.as_ref().is_none_or(|(_, own)| own != mark));
        let answers = &params["inputResponses"];
        found.calls_made += 1;
        let call = found.calls_made;
        let mark = first.as_ref().map(|(_, mark)| mark.clone()).unwrap_or_default();
        let client = first.map(|(client, _)| client);
        let effect = mark.clone();
        let about = params["name"].as_str().unwrap_or(uri).to_owned();
        found.calls.insert(
            call,
            Call {
                id: id.to_owned(),
                method: method.to_owned(),
                about,
                mark,
                client,
                steps: script.split_whitespace().map(str::to_owned).collect(),
                at,
                token: meta.get("progressToken").cloned(),
                caps,
                progress: 0,
                is_answered: false,
                is_told: false,
                is_over: false,
                is_late: script.contains("late"),
                is_quoted: false,
            },
        );
        if method == "tools/call" {
            let upstream = self.upstream_of(self.conns[conn].server);
            let spec = &self.settings.upstreams[upstream];
            let name = params["name"].as_str().unwrap_or_default();
            let is = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
            let is_harmless = is(&spec.spread.idempotent);
            let is_multiplexed = is(&spec.spread.multiplex);
            let places = if is_multiplexed { spec.endpoints().count() as u64 } else { 1 };
            let effect = self.effects.entry((effect, at)).or_default();
            effect.count += 1;
            (effect.is_harmless, effect.places) = (is_harmless, places);
        }
        let foreign = marks::answerers(&answers.to_string()).find(|who| Some(*who) != client);
        let is_polite = client.is_none_or(|client| self.clients[client].manner.is_polite());
        if is_polite && (is_foreign || foreign.is_some()) {
            self.wrong("an answer reaches the call that asked", text);
        }
        self.call_later(conn, call, 3_000);
    }

    fn call_later(&mut self, conn: usize, call: u64, within: u64) {
        let after = self.dice.between(20, within);
        self.plan_in(after, Happening::Step { conn, call });
    }

    /// The next step of a call.
    pub fn call_goes_on(&mut self, conn: usize, key: u64) {
        let server = self.conns[conn].server;
        let is_modern = self.servers[server].is_modern;
        let Some(call) = self.conns[conn].calls.get_mut(&key).filter(|call| !call.is_over) else {
            return;
        };
        let Some(step) = call.steps.get(call.at).cloned() else {
            return self.call_ends(conn, key);
        };
        call.at += 1;
        let (id, mark, client, token) =
            (call.id.clone(), call.mark.clone(), call.client, call.token.clone());
        let mut within = 5_000;
        match &*step {
            "p" => {
                call.progress += 1;
                let progress = call.progress;
                if let Some(token) = token {
                    let params =
                        json!({"progressToken": token, "progress": progress, "message": mark});
                    self.conn_notes(conn, "notifications/progress", &params);
                }
            }
            BURST => {
                let before = call.progress;
                call.progress += BURST_EVENTS;
                for progress in before + 1..=before + BURST_EVENTS {
                    let Some(token) = &token else { break };
                    let params = json!({"progressToken": token, "progress": progress});
                    self.conn_notes(conn, "notifications/progress", &params);
                }
            }
            "lost" => {
                let params = json!({"progressToken": "nobody's", "progress": 1});
                self.conn_notes(conn, "notifications/progress", &params);
            }
            "l" => {
                // On a connection that several share nobody could tell whose log it is.
                let data = self.conns[conn].owner.map_or("shared", |_| &*mark);
                let params = json!({"level": "error", "data": data});
                self.conn_notes(conn, "notifications/message", &params);
            }
            "as" | "ae" | "ar" => {
                let (method, cap) = question(&step);
                if call.caps[cap].is_object() {
                    if is_modern {
                        return self.input_required(conn, key, method);
                    }
                    return self.ask(conn, Some(key), method, &mark);
                }
            }
            "rude" => {
                let is_legacy = client.is_some_and(|client| !self.clients[client].is_modern);
                if !is_modern {
                    return self.ask(conn, Some(key), "elicitation/create", &mark);
                } else if is_legacy {
                    return self.input_required(conn, key, "elicitation/create");
                }
            }
            "w" => within = 500_000,
            "err" => {
                call.is_over = true;
                return self.conn_refuses(conn, &id, -32050, &format!("{mark} wanted an error"));
            }
            "chg" => (0..3).for_each(|_| self.server_changes(server, "tools")),
            "upd" => {
                self.server_updates(server, "res://sub/0");
            }
            "str" => call.is_quoted = true,
            "twice" => {
                let result = self.result(conn, key);
                self.conn_answers(conn, &id, &result);
            }
            "unknown" => {
                for id in ["1", "\"never\"", "4503599627370495", "8796093022207"] {
                    if self.conns[conn].was_asked(id) {
                        continue;
                    }
                    self.conn_answers(conn, id, &json!({"content": []}));
                }
            }
            "noid" => self.conn_writes(
                conn,
                b"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"m\"}}\n",
            ),
            "garbage" => self.conn_writes(
                conn,
                b"this is a log line\n\n{\"jsonrpc\":\"2.0\"}\n\xff\xfe\n[1,2]\n[]\n{\n",
            ),
            "flood" => {
                let line = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"x\"}}\n";
                self.conn_writes(conn, &line.repeat(200));
            }
            "hang" => return,
            "die" => return self.conn_ends(conn, mark.contains('3')),
            "over" => {
                let line = "x".repeat(self.settings.limits.frame_bytes_max + 10);
                return self.conn_writes(conn, line.as_bytes());
            }
            _ => {}
        }
        self.call_later(conn, key, within);
    }

    fn call_ends(&mut self, conn: usize, key: u64) {
        let result = self.result(conn, key);
        let Some(call) = self.conns[conn].calls.get_mut(&key) else { return };
        call.is_over = true;
        let id = if call.is_quoted { format!("\"{}\"", call.id) } else { call.id.clone() };
        self.conn_answers(conn, &id, &result);
    }

    fn result(&self, conn: usize, key: u64) -> Value {
        let server = self.conns[conn].server;
        let call = &self.conns[conn].calls[&key];
        let mark = &call.mark;
        // Servers of one upstream are one program.
        let link = format!("res://link/{}", self.upstream_of(server));
        let text = format!("{mark}{}", self.servers[server].opinion);
        let mut result = match &*call.method {
            "tools/call" => json!({"content": [
                {"type": "text", "text": text},
                {"type": "resource_link", "name": "l", "uri": link},
            ]}),
            "prompts/get" => json!({"messages": [
                {"role": "user", "content": {"type": "text", "text": mark}},
            ]}),
            "resources/read" => json!({"contents": [{"uri": call.about, "text": mark}]}),
            _ => json!({"completion": {"values": [mark]}}),
        };
        if self.servers[server].is_modern {
            result["resultType"] = json!("complete");
            if call.method == "resources/read" {
                result["ttlMs"] = json!(0);
                result["cacheScope"] = json!("private");
            }
        }
        result
    }

    /// A modern server asks: by its answer.
    fn input_required(&mut self, conn: usize, key: u64, method: &str) {
        let prefix = self.servers[self.conns[conn].server].state_prefix;
        let Some(call) = self.conns[conn].calls.get_mut(&key) else { return };
        if call.method == "completion/complete" {
            return self.call_later(conn, key, 1_000);
        }
        call.is_over = true;
        let (id, mark, at) = (call.id.clone(), call.mark.clone(), call.at);
        let mut asks = BTreeMap::from([(
            format!("k{at}"),
            json!({"method": method, "params": params(method, &mark)}),
        )]);
        if at % 2 == 0 {
            asks.insert(
                format!("second {at}"),
                json!({"method": method, "params": params(method, &mark)}),
            );
        }
        let result = json!({
            "resultType": "input_required", "inputRequests": asks, "requestState": format!("{prefix}st:{at}:{mark}"),
        });
        self.conn_answers(conn, &id, &result);
    }

    /// A legacy server asks: by a request.
    pub fn ask(&mut self, conn: usize, call: Option<u64>, method: &str, mark: &str) {
        let found = &mut self.conns[conn];
        found.questions_made += 1;
        let id = found.questions_made;
        let client = call.and_then(|call| found.calls.get(&call)?.client).or(found.owner);
        found.questions.insert(id, (call, client));
        self.conn_says(
            conn,
            &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params(method, mark)}),
        );
    }

    /// An answer to a question of a legacy server.
    pub fn conn_was_answered(&mut self, conn: usize, head: &Head<'_>) {
        let id = head.id_text();
        let found = id.parse().ok().and_then(|id: u64| self.conns[conn].questions.remove(&id));
        let Some((call, client)) = found else {
            return self.wrong("a question is answered once", format!("conn {conn}, id {id}"));
        };
        if let Some(result) = head.result {
            let text = result.get();
            let who: Vec<usize> = marks::answerers(text).collect();
            let is_polite = client.is_some_and(|client| self.clients[client].manner.is_polite());
            // A rude client may answer with anything, but nobody else may for it.
            if (is_polite && who.len() != 1) || who.iter().any(|who| Some(*who) != client) {
                self.wrong("an answer reaches who asked", format!("{client:?} was asked: {text}"));
            }
        } else if self.is_faultless {
            let why = head.error.map(value).unwrap_or_default();
            self.wrong("in a world without faults every question is answered", why.to_string());
        }
        if let Some(call) = call {
            self.call_later(conn, call, 3_000);
        }
    }
}

fn question(step: &str) -> (&'static str, &'static str) {
    match step {
        "as" => ("sampling/createMessage", "sampling"),
        "ae" => ("elicitation/create", "elicitation"),
        _ => ("roots/list", "roots"),
    }
}

fn params(method: &str, mark: &str) -> Value {
    match method {
        "sampling/createMessage" => json!({
            "messages": [{"role": "user", "content": {"type": "text", "text": mark}}], "maxTokens": 10,
        }),
        "elicitation/create" => json!({
            "message": mark, "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
        }),
        _ => json!({"_meta": {"for": mark}}),
    }
}
