//! The stage: worlds that a test leads step by step, with quick links and clients that do nothing by
//! themselves. The judge watches there as it does everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::gateway::Settings;
use ringgate::gateway::settings::{EraPin, Share, Spread, Target, Upstream};
use serde_json::{Value, json};

use crate::client::Client;
use crate::dice::Dice;
use crate::server::Server;
use crate::trace::Trace;
use crate::world::{Happening, Pace, World};

/// How an upstream is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Child,
    Builtin,
}

/// Both eras of clients, and of servers.
pub const ERAS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// Settings for upstreams of these kinds.
pub fn settings(kinds: &[Kind]) -> Settings {
    let upstreams = kinds.iter().enumerate().map(|(n, kind)| Upstream {
        name: format!("up{n}"),
        prefix: if kinds.len() == 1 { String::new() } else { format!("u{n}") },
        target: match kind {
            Kind::Tcp => Target::Tcp { address: ([127, 0, 0, 1], 1).into() },
            Kind::Builtin => Target::Builtin { folder: None },
            Kind::Child => Target::Stdio {
                command: "server".to_owned(),
                args: Vec::new(),
                env: BTreeMap::new(),
                cwd: None,
            },
        },
        era: EraPin::Auto,
        share: Share::Auto,
        warm: false,
        spread: Spread::default(),
    });
    Settings {
        upstreams: upstreams.collect(),
        separator: "__".to_owned(),
        state_key: [1; 32],
        nonce_seed: [2; 12],
        shards: 1,
        // Directed scenarios count in tenths of a second.
        limits: Limits { ask_gather: Duration::from_millis(1), ..Limits::DEFAULT },
        ..Settings::default()
    }
}

/// A world with these servers, which has run until all are ready.
pub fn world(settings: Settings, servers: Vec<Server>) -> World {
    let keeps = std::env::var("RINGGATE_TRACE").is_ok_and(|trace| trace == "1");
    let mut world = World::new(settings, Dice::new(1), Pace::QUICK, Trace::new(keeps, keeps));
    world.servers = servers;
    world.run_for_ms(100);
    world
}

/// One server over TCP.
pub fn one(server: Server) -> World {
    world(settings(&[Kind::Tcp]), vec![server])
}

impl World {
    /// A client joins, and is greeted.
    pub fn join(&mut self, is_modern: bool, caps: Value) -> usize {
        self.join_as(is_modern, "2025-11-25", caps)
    }

    pub fn join_as(&mut self, is_modern: bool, version: &'static str, caps: Value) -> usize {
        self.join_with(0, is_modern, version, caps)
    }

    /// The same, at a shard.
    pub fn join_at(&mut self, shard: usize, is_modern: bool, caps: Value) -> usize {
        self.join_with(shard, is_modern, "2025-11-25", caps)
    }

    fn join_with(
        &mut self,
        shard: usize,
        is_modern: bool,
        version: &'static str,
        caps: Value,
    ) -> usize {
        let mut client = Client::new(shard, is_modern, version, caps);
        client.is_led = true;
        self.clients.push(client);
        let client = self.clients.len() - 1;
        self.plan(self.now, Happening::Connect { client });
        self.run_for_ms(5);
        if !is_modern {
            let hello = self.hello(client);
            self.client_writes(client, &hello);
            self.run_for_ms(20);
            self.client_writes(client, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            self.run_for_ms(5);
        }
        client
    }

    /// A request, with the `_meta` of the client's era.
    pub fn ask_for(&mut self, client: usize, id: u64, method: &str, mut params: Value) {
        let found = &self.clients[client];
        if found.is_modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = found.caps.clone();
            params["_meta"]["io.modelcontextprotocol/clientInfo"] =
                json!({"name": format!("client-{client}"), "version": "1"});
            if let Some(level) = found.level {
                params["_meta"]["io.modelcontextprotocol/logLevel"] = json!(level);
            }
        }
        let frame = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.client_writes(client, &frame.to_string());
    }

    /// A tool call with a script; its mark is `tok-C-ID.`, its progress token its id.
    pub fn call(&mut self, client: usize, id: u64, tool: &str, script: &str) {
        let params = self.call_params(client, id, tool, script);
        self.ask_for(client, id, "tools/call", params);
    }

    pub fn call_params(&self, client: usize, id: u64, tool: &str, script: &str) -> Value {
        json!({
            "name": tool,
            "arguments": {"token": crate::marks::token(client, id), "do": script},
            "_meta": {"progressToken": id},
        })
    }

    pub fn cancel(&mut self, client: usize, id: u64) {
        let frame = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id},
        });
        self.client_writes(client, &frame.to_string());
    }

    /// What the client was answered under this id; null if nothing.
    pub fn answer_of(&self, client: usize, id: u64) -> Value {
        let mut answers = self.clients[client]
            .heard
            .iter()
            .filter(|frame| frame["id"] == id && frame["method"].is_null());
        let answer = answers.next().cloned().unwrap_or_default();
        assert!(answers.next().is_none(), "two answers to {id}");
        answer
    }

    /// Questions and notifications of this method that the client has heard.
    pub fn heard(&self, client: usize, method: &str) -> Vec<Value> {
        let heard = self.clients[client].heard.iter();
        heard.filter(|frame| frame["method"] == method).cloned().collect()
    }

    /// A legacy client answers the question.
    pub fn reply(&mut self, client: usize, question: &Value) {
        let method = question["method"].as_str().unwrap_or_default();
        let result = crate::client::answer(client, method);
        let frame = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
        self.client_writes(client, &frame.to_string());
    }

    /// A modern client makes the call of `id` anew under `new`, with the answers it was asked for.
    pub fn call_again(&mut self, client: usize, id: u64, new: u64, mut params: Value) {
        let answer = self.answer_of(client, id);
        let result = &answer["result"];
        assert_eq!(result["resultType"], "input_required", "{answer}");
        let mut responses = json!({});
        for (key, ask) in result["inputRequests"].as_object().into_iter().flatten() {
            let method = ask["method"].as_str().unwrap_or_default();
            responses[key] = crate::client::answer(client, method);
        }
        params["inputResponses"] = responses;
        params["requestState"] = result["requestState"].clone();
        self.ask_for(client, new, "tools/call", params);
    }

    /// Everybody leaves; nothing may be left, and nothing may have been wrong.
    pub fn finish(mut self) {
        for client in 0..self.clients.len() {
            self.client_leaves(client, true);
        }
        self.run_for_ms(1_000);
        self.check_nothing_left();
        for shard in 0..self.shards.len() {
            self.plan(self.now, Happening::Drain { shard });
        }
        assert!(self.run_out(60_000_000).is_some(), "something goes on after the drain");
        for shard in &self.shards {
            assert_eq!(shard.gateway.footprint(), 0);
            assert_eq!(shard.gateway.deadline(), None);
            assert_eq!(shard.drained, 1);
        }
        assert!(self.wrongs.is_empty(), "{:#?}", self.wrongs);
    }
}
