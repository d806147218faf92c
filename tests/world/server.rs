//! Servers: the MCP servers behind the gateway, of both eras, and their connections. What a call does
//! stands in the call itself (its script), so that whoever asks knows what must come of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::call::Call;
use crate::shape::{Head, value};
use crate::world::{Happening, World};

/// What a legacy server does when it is asked `server/discover`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtDiscover {
    Refuses,
    Dies,
    Ignores,
}

/// One MCP server.
#[derive(Clone, Debug)]
pub struct Server {
    pub is_modern: bool,
    pub at_discover: AtDiscover,
    pub up: bool,
    /// Ends each connection as soon as there is one.
    pub dies_at_once: bool,
    pub pages: u64,
    pub list_changed: bool,
    pub subscribe: bool,
    /// Asks for roots as soon as it is initialized.
    pub asks_early: bool,
    /// Begins each `requestState`.
    pub state_prefix: &'static str,
    /// Never answers `resources/subscribe`, `logging/setLevel` and the like.
    pub is_deaf: bool,
    /// Says of its tool `work` that it does no harm twice.
    pub annotates: bool,
    /// What it says besides, of which others of its upstream say nothing.
    pub opinion: &'static str,
    /// Takes whatever comes and does nothing.
    pub is_frozen: bool,
    /// How often it was asked whether it is there.
    pub pings: u64,
    pub dialled_at: Vec<u64>,
    pub serial: u64,
    pub whims: u64,
}

impl Server {
    pub const fn new(is_modern: bool) -> Self {
        Self {
            is_modern,
            at_discover: AtDiscover::Refuses,
            up: true,
            dies_at_once: false,
            pages: 1,
            list_changed: true,
            subscribe: true,
            asks_early: false,
            state_prefix: "",
            is_deaf: false,
            annotates: false,
            opinion: "",
            is_frozen: false,
            pings: 0,
            dialled_at: Vec::new(),
            serial: 0,
            whims: 0,
        }
    }

    /// Whether a dial succeeds. A child can always be started; it may end at once.
    pub const fn takes(&self, is_child: bool) -> bool {
        self.up || is_child
    }

    pub fn capabilities(&self) -> Value {
        let changed = json!({"listChanged": self.list_changed});
        json!({
            "tools": changed, "prompts": changed, "completions": {}, "logging": {},
            "resources": {"listChanged": self.list_changed, "subscribe": self.subscribe},
        })
    }
}

/// One connection of a server's.
#[derive(Debug)]
pub struct Conn {
    pub server: usize,
    pub shard: usize,
    pub pipe: usize,
    /// The client whose own it is, as its greeting says.
    pub owner: Option<usize>,
    pub caps: Value,
    pub version: String,
    pub is_greeted: bool,
    pub is_initialized: bool,
    /// Gone, as far as the gateway knows.
    pub is_gone: bool,
    pub calls: BTreeMap<u64, Call>,
    pub calls_made: u64,
    /// Questions that are out: the call, and the client that must answer.
    pub questions: BTreeMap<u64, (Option<u64>, Option<usize>)>,
    pub questions_made: u64,
    pub subscriptions: BTreeSet<String>,
    /// Open listens: id and what they want.
    pub listens: Vec<(String, Value)>,
    /// Ids of requests that the gateway has sent.
    ids: BTreeSet<String>,
    /// Requests of the gateway's own that have no answer yet.
    pub errands: u64,
    /// How often it was told that nobody waits for an answer.
    pub cancelled: u64,
}

impl Conn {
    pub fn new(server: usize, shard: usize) -> Self {
        Self {
            server,
            shard,
            pipe: usize::MAX,
            owner: None,
            caps: Value::Null,
            version: String::new(),
            is_greeted: false,
            is_initialized: false,
            is_gone: false,
            calls: BTreeMap::new(),
            calls_made: 0,
            questions: BTreeMap::new(),
            questions_made: 0,
            subscriptions: BTreeSet::new(),
            listens: Vec::new(),
            ids: BTreeSet::new(),
            errands: 0,
            cancelled: 0,
        }
    }
}

impl Conn {
    /// Whether the gateway has sent a request of this id.
    pub fn was_asked(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

fn client_of(info: &Value) -> Option<usize> {
    info["name"].as_str()?.strip_prefix("client-")?.parse().ok()
}

impl World {
    pub fn conn_begins(&mut self, conn: usize) {
        let server = &mut self.servers[self.conns[conn].server];
        server.dialled_at.push(self.now);
        if server.dies_at_once || !server.up {
            let pipe = self.conns[conn].pipe;
            self.hang_up(pipe, true);
        }
    }

    pub fn conn_says(&mut self, conn: usize, message: &Value) {
        self.conn_writes(conn, format!("{message}\n").as_bytes());
    }

    pub fn conn_writes(&mut self, conn: usize, bytes: &[u8]) {
        let pipe = self.conns[conn].pipe;
        self.write(pipe, bytes);
    }

    pub fn conn_answers(&mut self, conn: usize, id: &str, result: &Value) {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n");
        self.conn_writes(conn, line.as_bytes());
    }

    pub fn conn_refuses(&mut self, conn: usize, id: &str, code: i64, why: &str) {
        let error = json!({"code": code, "message": why});
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}\n");
        self.conn_writes(conn, line.as_bytes());
    }

    /// The server ends the connection.
    pub fn conn_ends(&mut self, conn: usize, reset: bool) {
        let pipe = self.conns[conn].pipe;
        self.hang_up(pipe, reset);
    }

    /// The gateway has closed the connection, and the server hears of it.
    pub fn conn_lost(&mut self, conn: usize) {
        self.conns[conn].calls.values_mut().for_each(|call| call.is_over = true);
    }

    /// A frame for a server has been sent by the gateway: judged in the order in which it was.
    pub fn judge_asked(&mut self, conn: usize, line: &[u8]) {
        let text = String::from_utf8_lossy(line).into_owned();
        let head = match Head::read(line) {
            Ok(head) => head,
            Err(why) => return self.wrong("every frame is JSON-RPC", format!("{why}: {text}")),
        };
        let Some(method) = head.method.as_deref() else { return };
        let server = self.conns[conn].server;
        let is_modern = self.servers[server].is_modern;
        let is_child = self.is_child(server);
        let found = &mut self.conns[conn];
        let params = head.params.map_or(Value::Null, value);
        let has_version = !params["_meta"]["io.modelcontextprotocol/protocolVersion"].is_null();
        if head.id.is_none() {
            if method == "notifications/cancelled" {
                let id = params["requestId"].to_string();
                let is_remote = self.settings.shards > 1;
                let passes_by_mail = is_remote && is_child;
                if !found.ids.contains(&id) && !passes_by_mail {
                    return self.wrong("only what was sent is cancelled", text);
                }
                found.cancelled += 1;
                let listens = found.listens.len();
                found.listens.retain(|(listen, _)| *listen != id);
                found.errands -= (listens - found.listens.len()) as u64;
            }
            return;
        }
        if !found.ids.insert(head.id_text().to_owned()) {
            return self.wrong("ids to a server differ", text);
        }
        let is_guess = method == "initialize" && !self.is_faultless;
        if is_modern && !has_version && !is_guess {
            return self.wrong("a modern server gets modern requests", text);
        }
        if !is_modern && has_version && method != "server/discover" {
            return self.wrong("a legacy server gets legacy requests", text);
        }
        if !is_modern && !found.is_greeted && !matches!(method, "initialize" | "server/discover") {
            return self.wrong("a legacy server is greeted first", text);
        }
        match method {
            "initialize" => found.is_greeted = true,
            "subscriptions/listen" => {
                found.listens.push((head.id_text().to_owned(), params["notifications"].clone()));
                found.errands += 1;
            }
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => {
                found.errands += 1;
            }
            _ => {}
        }
        let first =
            crate::marks::tokens(&text).next().map(|(whose, mark)| (whose, mark.to_owned()));
        if let Some((whose, mark)) = first {
            let owner = found.owner;
            if owner.is_some_and(|owner| owner != whose && !self.may_follow(owner, whose)) {
                return self.wrong("a client's own connection carries nobody else", text);
            }
            let is_over = self.cancelled.contains(&mark)
                && self.conns[conn].shard == self.clients[whose].shard
                && self.pipes[self.conns[conn].pipe].shard == self.clients[whose].shard;
            if is_over && !is_child {
                self.wrong("what was cancelled is not sent", text);
            }
        }
    }

    /// Whether a connection that one had to itself may be another's next: a modern visitor is gone with each
    /// request, and who declares the same follows it.
    fn may_follow(&self, owner: usize, next: usize) -> bool {
        let is_visitor = owner < self.http.visitors.len();
        is_visitor
            && self.clients[owner].is_modern
            && self.clients[owner].caps == self.clients[next].caps
    }

    /// A server's line is about to be given to the gateway.
    pub fn judge_answered(&mut self, conn: usize, line: &[u8]) {
        let Ok(head) = Head::read(line) else { return };
        if head.method.is_some() {
            return;
        }
        let id = head.id_text().trim_matches('"');
        let found = &mut self.conns[conn];
        if let Some(call) = found.calls.values_mut().find(|call| call.id == id) {
            call.is_answered = true;
        }
    }

    pub fn judge_conn_gone(&mut self, conn: usize) {
        self.conns[conn].is_gone = true;
    }

    /// A server has got a frame.
    pub fn conn_hears(&mut self, conn: usize, line: &[u8]) {
        if self.servers[self.conns[conn].server].is_frozen {
            return;
        }
        let Ok(head) = Head::read(line) else { return };
        let id = head.id_text();
        let params = head.params.map_or(Value::Null, value);
        match (head.method.as_deref(), head.id.is_some()) {
            (Some(method), true) => self.conn_asked(conn, id, method, &params),
            (Some("notifications/initialized"), _) => {
                self.conns[conn].is_initialized = true;
                let can = self.conns[conn].caps["roots"].is_object();
                if self.servers[self.conns[conn].server].asks_early && can {
                    self.ask(conn, None, "roots/list", "early");
                }
            }
            (Some("notifications/cancelled"), _) => {
                let id = params["requestId"].to_string();
                if let Some(call) = self.conns[conn].calls.values_mut().find(|call| call.id == id) {
                    call.is_told = true;
                    call.is_over |= !call.is_late;
                }
            }
            (Some(_), _) => {}
            (None, _) => self.conn_was_answered(conn, &head),
        }
    }

    fn conn_asked(&mut self, conn: usize, id: &str, method: &str, params: &Value) {
        let server = self.conns[conn].server;
        let is_modern = self.servers[server].is_modern;
        let is_deaf = self.servers[server].is_deaf;
        if matches!(method, "ping" | "server/discover") {
            self.servers[server].pings += 1;
        }
        match method {
            "server/discover" if is_modern => {
                let result = json!({
                    "resultType": "complete", "supportedVersions": ["2026-07-28"],
                    "capabilities": self.servers[server].capabilities(),
                    "instructions": format!("server {server}"), "ttlMs": 0, "cacheScope": "public",
                    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": format!("server-{server}"), "version": "1"}},
                });
                self.conn_answers(conn, id, &result);
            }
            "server/discover" => match self.servers[server].at_discover {
                AtDiscover::Refuses => self.conn_refuses(conn, id, -32601, "no such method"),
                AtDiscover::Dies => self.conn_ends(conn, false),
                AtDiscover::Ignores => {}
            },
            "initialize" if !is_modern => {
                let version = params["protocolVersion"].as_str().unwrap_or_default().to_owned();
                let result = json!({
                    "protocolVersion": version,
                    "capabilities": self.servers[server].capabilities(),
                    "serverInfo": {"name": format!("server-{server}"), "version": "1"},
                });
                let found = &mut self.conns[conn];
                found.owner = client_of(&params["clientInfo"]);
                found.caps = params["capabilities"].clone();
                found.version = version;
                self.judge_lanes(conn);
                self.conn_answers(conn, id, &result);
            }
            "ping" if !is_modern => self.conn_answers(conn, id, &json!({})),
            "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
                let result = self.page(server, method, params);
                self.conn_answers(conn, id, &result);
            }
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" if !is_modern => {
                let uri = params["uri"].as_str().unwrap_or_default().to_owned();
                match method {
                    "resources/subscribe" => {
                        self.conns[conn].subscriptions.insert(uri);
                    }
                    "resources/unsubscribe" => {
                        self.conns[conn].subscriptions.remove(&uri);
                    }
                    _ => {}
                }
                if !is_deaf {
                    self.conns[conn].errands = self.conns[conn].errands.saturating_sub(1);
                    self.conn_answers(conn, id, &json!({}));
                }
            }
            "subscriptions/listen" if is_modern => {
                let wants = &params["notifications"];
                let subscription: Value = serde_json::from_str(id).unwrap_or(Value::Null);
                self.conn_says(conn, &json!({
                    "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                    "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": subscription}, "notifications": wants},
                }));
            }
            "tools/call" | "prompts/get" | "resources/read" | "completion/complete" => {
                self.call_begins(conn, id, method, params);
            }
            _ => self.conn_refuses(conn, id, -32601, "no such method"),
        }
    }

    /// No upstream has more connections of clients' own than its limit.
    fn judge_lanes(&mut self, conn: usize) {
        let Conn { server, shard, .. } = self.conns[conn];
        let own = self
            .conns
            .iter()
            .filter(|other| {
                other.server == server && other.shard == shard && other.owner.is_some() && {
                    self.pipes[other.pipe].state == crate::pipe::State::Open
                }
            })
            .count();
        // One that came in its place has as many again.
        let places = 1 + self.others.iter().filter(|&&other| other == server).count();
        if own > self.settings.limits.lanes_max * places {
            self.wrong(
                "an upstream has no more own connections than lanes_max",
                format!("server {server}: {own}"),
            );
        }
    }

    /// One page of a list; entries are numbered through.
    fn page(&self, server: usize, method: &str, params: &Value) -> Value {
        let server_number = server;
        let server = &self.servers[server];
        let page = params["cursor"].as_str().and_then(|cursor| cursor.strip_prefix("page-"));
        let page: u64 = page.and_then(|page| page.parse().ok()).unwrap_or(0);
        let (list, own) = match method {
            "tools/list" if server.annotates => {
                let annotations = json!({"idempotentHint": true});
                let schema = json!({"type": "object"});
                (
                    "tools",
                    json!({"name": "work", "inputSchema": schema, "annotations": annotations}),
                )
            }
            "tools/list" => (
                "tools",
                json!({"name": format!("work-{page}"), "inputSchema": {"type": "object"}}),
            ),
            "prompts/list" => ("prompts", json!({"name": format!("ask-{page}")})),
            "resources/list" => {
                ("resources", json!({"name": "r", "uri": format!("res://{server_number}/{page}")}))
            }
            _ => (
                "resourceTemplates",
                json!({"name": "t", "uriTemplate": format!("res://{server_number}/{page}/{{x}}")}),
            ),
        };
        let mut result = json!({list: [own]});
        if page + 1 < server.pages {
            result["nextCursor"] = json!(format!("page-{}", page + 1));
        }
        if server.is_modern {
            result["resultType"] = json!("complete");
            result["ttlMs"] = json!(1000);
            result["cacheScope"] = json!("public");
        }
        result
    }

    /// A server goes down, with all its connections, or comes up.
    pub fn server_up(&mut self, server: usize, is: bool) {
        self.trace.note(self.now, format_args!("server {server} up: {is}"), b"");
        self.servers[server].up = is;
        if !is {
            for conn in 0..self.conns.len() {
                if self.conns[conn].server == server && !self.conns[conn].is_gone {
                    self.conn_ends(conn, true);
                }
            }
        }
    }

    pub fn open_conns(&self, server: usize) -> Vec<usize> {
        (0..self.conns.len())
            .filter(|&conn| {
                self.conns[conn].server == server && !self.pipes[self.conns[conn].pipe].is_left
            })
            .collect()
    }

    /// A resource has changed: told on every connection that watches it.
    pub fn server_updates(&mut self, server: usize, uri: &str) -> u64 {
        self.servers[server].serial += 1;
        let serial = self.servers[server].serial;
        for conn in self.open_conns(server) {
            let mut params = json!({"uri": uri, "serial": serial});
            if self.servers[server].is_modern {
                let listens = self.conns[conn].listens.clone();
                for (id, wants) in listens {
                    let uris = wants["resourceSubscriptions"].as_array();
                    if uris.is_some_and(|uris| uris.iter().any(|watched| watched == uri)) {
                        let id: Value = serde_json::from_str(&id).unwrap_or(Value::Null);
                        params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": id});
                        self.conn_notes(conn, "notifications/resources/updated", &params);
                    }
                }
            } else if self.conns[conn].subscriptions.contains(uri) {
                self.conn_notes(conn, "notifications/resources/updated", &params);
            }
        }
        serial
    }

    /// A list has changed: told on every connection that would hear of it.
    pub fn server_changes(&mut self, server: usize, list: &str) {
        let method = format!("notifications/{list}/list_changed");
        for conn in self.open_conns(server) {
            if !self.servers[server].is_modern {
                if self.conns[conn].is_initialized {
                    self.conn_notes(conn, &method, &json!({}));
                }
                continue;
            }
            for (id, wants) in self.conns[conn].listens.clone() {
                if wants[format!("{list}ListChanged")] == true {
                    let id: Value = serde_json::from_str(&id).unwrap_or(Value::Null);
                    let params = json!({"_meta": {"io.modelcontextprotocol/subscriptionId": id}});
                    self.conn_notes(conn, &method, &params);
                }
            }
        }
    }

    pub fn conn_notes(&mut self, conn: usize, method: &str, params: &Value) {
        self.conn_says(conn, &json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// A server does something unasked, and plans the next time.
    pub fn server_whim(&mut self, server: usize) {
        if self.servers[server].whims == 0 {
            return;
        }
        self.servers[server].whims -= 1;
        match self.dice.below(5) {
            0 => self.server_changes(server, "tools"),
            1 => self.server_changes(server, "prompts"),
            2 => self.server_changes(server, "resources"),
            _ => self.update_expected(server),
        }
        let after = self.dice.between(1_000, 900_000);
        self.plan_in(after, Happening::Whim { server });
    }
}
