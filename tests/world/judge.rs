//! The judge of a client's link: sees what the gateway is given and what it sends, in the order in
//! which the gateway does, and says what is wrong. Knows nothing of how the gateway works inside.

use serde_json::Value;

use crate::marks;
use crate::shape::{self, Head, value};
use crate::world::World;

/// What a client may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub sampling: bool,
    pub elicitation: bool,
    pub roots: bool,
}

impl Caps {
    pub fn read(json: &Value) -> Self {
        Self {
            sampling: json["sampling"].is_object(),
            elicitation: json["elicitation"].is_object(),
            roots: json["roots"].is_object(),
        }
    }

    pub fn allows(self, method: &str) -> bool {
        match method {
            "sampling/createMessage" => self.sampling,
            "elicitation/create" => self.elicitation,
            "roots/list" => self.roots,
            _ => false,
        }
    }
}

/// A request that the gateway has been given and not answered yet.
#[derive(Clone, Debug)]
pub struct Open {
    pub id: String,
    pub method: String,
    /// The name or URI of what it is about.
    pub about: String,
    pub is_modern: bool,
    pub mark: Option<String>,
    pub progress: Option<String>,
    pub caps: Caps,
    pub wants_logs: bool,
    /// It may fail, whatever the world is like.
    pub may_fail: bool,
    /// A cancellation named it or another of the same id.
    pub is_doubtful: bool,
    /// Its answer may lie in the batch already when it is cancelled.
    pub is_batched: bool,
}

impl Open {
    /// A request of a client with these capabilities, if it has a session.
    pub fn read(head: &Head<'_>, session: Caps) -> Self {
        let params = head.params.map_or(Value::Null, value);
        let meta = &params["_meta"];
        let is_modern = !meta["io.modelcontextprotocol/protocolVersion"].is_null();
        let text = head.params.map_or("", |params| params.get());
        let progress =
            (!meta["progressToken"].is_null()).then(|| meta["progressToken"].to_string());
        let inside = params["arguments"]["tool"].as_str();
        let about = inside.or_else(|| ["name", "uri"].iter().find_map(|key| params[key].as_str()));
        let about =
            about.or_else(|| ["name", "uri"].iter().find_map(|key| params["ref"][key].as_str()));
        let arguments = &params["arguments"];
        let script = format!("{} {} {}", arguments["do"], arguments["args"]["do"], params["uri"]);
        let mark = marks::tokens(text).next().map(|(_, mark)| mark.to_owned());
        Self {
            id: head.id_text().to_owned(),
            method: head.method.as_deref().unwrap_or_default().to_owned(),
            about: about.unwrap_or_default().to_owned(),
            is_modern,
            may_fail: mark.is_none() || script.contains("err"),
            mark,
            progress,
            caps: if is_modern {
                Caps::read(&meta["io.modelcontextprotocol/clientCapabilities"])
            } else {
                session
            },
            wants_logs: !meta["io.modelcontextprotocol/logLevel"].is_null(),
            is_doubtful: false,
            is_batched: false,
        }
    }
}

/// A `subscriptions/listen` that was acknowledged.
#[derive(Debug)]
struct Listen {
    id: String,
    wants: Value,
    since: u64,
}

impl Listen {
    fn watches(&self, uri: &str) -> bool {
        let uris = self.wants["resourceSubscriptions"].as_array();
        uris.is_some_and(|uris| uris.iter().any(|watched| watched == uri))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Judge {
    pub opens: Vec<Open>,
    version: Option<String>,
    caps: Caps,
    is_initialized: bool,
    questions: Vec<String>,
    /// What is read just now stands in a batch.
    reads_batch: bool,
    /// Each with the moment since when.
    subscriptions: Vec<(String, u64)>,
    listens: Vec<Listen>,
    /// Frames given that were no message: each may be answered under the id null.
    garbage: u64,
    nulls: u64,
    pub answered: u64,
    pub cancelled: u64,
    pub succeeded: u64,
    /// Serials of updates that were told, with their URIs.
    pub updates: Vec<(String, u64)>,
}

impl Judge {
    pub fn subscribe(&mut self, uri: &str, now: u64) {
        self.unsubscribe(uri);
        self.subscriptions.push((uri.to_owned(), now));
    }

    pub fn unsubscribe(&mut self, uri: &str) {
        self.subscriptions.retain(|(watched, _)| watched != uri);
    }

    pub fn unsubscribe_all(&mut self) {
        self.subscriptions.clear();
    }

    pub fn listen(&mut self, id: &str, wants: &Value, since: u64) {
        self.listens.push(Listen { id: id.to_owned(), wants: wants.clone(), since });
    }

    pub fn unlisten(&mut self, id: &str) {
        self.listens.retain(|listen| listen.id != id);
    }

    /// Whether the listen of this id wants what `is` says.
    pub fn listens_to(&self, id: &str, is: impl Fn(&Value) -> bool) -> bool {
        self.listens.iter().any(|listen| listen.id == id && is(&listen.wants))
    }

    /// Whether a URI has been watched since `since`, by whatever means.
    pub fn watches_since(&self, uri: &str, since: u64) -> bool {
        self.subscriptions.iter().any(|(watched, at)| watched == uri && *at <= since)
            || self.listens.iter().any(|listen| listen.since <= since && listen.watches(uri))
    }

    /// In how many ways a URI is watched: each is told of an update.
    pub fn ways_to_watch(&self, uri: &str) -> usize {
        self.subscriptions.iter().filter(|(watched, _)| watched == uri).count()
            + self.listens.iter().filter(|listen| listen.watches(uri)).count()
    }

    fn open(&mut self, head: &Head<'_>) {
        let open = Open::read(head, self.caps);
        self.opens.push(Open { is_batched: self.reads_batch, ..open });
    }

    /// Marks of all that is under way, for when the client is gone.
    pub fn marks(&self) -> Vec<String> {
        self.opens.iter().filter_map(|open| open.mark.clone()).collect()
    }

    /// What has not been answered and should have been.
    pub fn missing(&self) -> Vec<String> {
        self.opens
            .iter()
            .filter(|open| open.method != "subscriptions/listen" && !open.is_doubtful)
            .map(|open| format!("{} {} {}", open.id, open.method, open.about))
            .collect()
    }
}

impl World {
    /// A client's line is about to be given to the gateway.
    pub fn judge_said(&mut self, client: usize, line: &[u8]) {
        if let Ok(elements) = serde_json::from_slice::<Vec<&serde_json::value::RawValue>>(line) {
            // Whether it may be a batch is the gateway's to say; an error under the id null is the no.
            let is_legal = self.clients[client].judge.version.as_deref() == Some("2025-03-26");
            if is_legal
                && !elements.is_empty()
                && elements.len() <= self.settings.limits.batch_messages_max
            {
                self.clients[client].judge.reads_batch = true;
                for element in elements {
                    self.judge_said_one(client, element.get().as_bytes());
                }
                self.clients[client].judge.reads_batch = false;
            } else {
                self.clients[client].judge.garbage += 1;
            }
            return;
        }
        self.judge_said_one(client, line);
    }

    fn judge_said_one(&mut self, client: usize, line: &[u8]) {
        let now = self.now;
        let head = Head::read(line).ok().filter(|head| {
            let id = head.id_text();
            let is_null = String::from_utf8_lossy(line).contains("\"id\":null");
            !is_null && (head.id.is_none() || id.starts_with('"') || id.parse::<i64>().is_ok())
        });
        let Some(head) = head else {
            self.clients[client].judge.garbage += 1;
            return;
        };
        let judge = &mut self.clients[client].judge;
        let params = || head.params.map_or(Value::Null, value);
        match head.method.as_deref() {
            Some(method) if head.id.is_some() => {
                match method {
                    "initialize" if judge.version.is_none() => {
                        let params = params();
                        let asked = params["protocolVersion"].as_str().unwrap_or_default();
                        let known = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
                        let version = known.iter().find(|known| **known == asked);
                        judge.version = Some((*version.unwrap_or(&"2025-11-25")).to_owned());
                        judge.caps = Caps::read(&params["capabilities"]);
                    }
                    "resources/subscribe" => {
                        let uri = params()["uri"].as_str().unwrap_or_default().to_owned();
                        if !judge.subscriptions.iter().any(|(watched, _)| *watched == uri) {
                            judge.subscriptions.push((uri, now));
                        }
                    }
                    "resources/unsubscribe" => {
                        let uri = params()["uri"].as_str().unwrap_or_default().to_owned();
                        judge.subscriptions.retain(|(watched, _)| *watched != uri);
                    }
                    _ => {}
                }
                judge.open(&head);
            }
            Some("notifications/initialized") => judge.is_initialized = true,
            Some("notifications/cancelled") => {
                let id = params()["requestId"].to_string();
                self.judge_cancelled(client, &id);
            }
            Some(_) => {}
            None => {
                let id = head.id_text();
                judge.questions.retain(|asked| asked != id);
            }
        }
    }

    fn judge_cancelled(&mut self, client: usize, id: &str) {
        // Of two requests with one id nobody can tell which the gateway takes it for.
        let is_loose = self.clients[client].manner.doubles_ids > 0;
        let judge = &mut self.clients[client].judge;
        if !is_loose {
            judge.listens.retain(|listen| listen.id != id);
        }
        let of_id = |open: &Open| {
            // Ids are compared as values here and as text by the gateway: only plain ones are cancelled.
            open.id == id && !matches!(&*open.method, "initialize" | "server/discover")
        };
        match judge.opens.iter().filter(|open| of_id(open)).count() {
            0 => {}
            1 if !is_loose && judge.opens.iter().any(|open| of_id(open) && !open.is_batched) => {
                judge.cancelled += 1;
                let at = judge.opens.iter().position(of_id).unwrap_or_default();
                let open = judge.opens.remove(at);
                self.note_cancelled(open.mark);
            }
            _ => judge.opens.iter_mut().filter(|open| of_id(open)).for_each(|open| {
                open.is_doubtful = true;
            }),
        }
    }

    /// The line has been dealt with.
    pub fn judge_settled(&mut self, client: usize) {
        let judge = &self.clients[client].judge;
        let max = self.settings.limits.flights_per_link_max;
        let flights = judge
            .opens
            .iter()
            .filter(|open| !open.is_doubtful)
            .filter(|open| {
                !matches!(&*open.method, "subscriptions/listen" | "initialize" | "server/discover")
            })
            .count();
        // Of who doubles ids nobody can tell which of its requests are answered.
        let is_loose = self.clients[client].manner.doubles_ids > 0;
        if flights > max + 1 && !self.clients[client].sends_batches && !is_loose {
            self.wrong(
                "a link has no more flights than its limit",
                format!("client {client}: {flights}"),
            );
        }
    }

    /// A frame for a client has been sent by the gateway.
    pub fn judge_told(&mut self, client: usize, line: &[u8]) {
        if line.first() == Some(&b'[') {
            let elements: Result<Vec<&serde_json::value::RawValue>, _> =
                serde_json::from_slice(line);
            let is_legal = self.clients[client].judge.version.as_deref() == Some("2025-03-26");
            match elements {
                Ok(elements) if is_legal && !elements.is_empty() => {
                    for element in elements {
                        self.judge_told_one(client, element.get().as_bytes());
                    }
                }
                _ => self.wrong("only a session of 2025-03-26 gets batches", lossy(line)),
            }
            return;
        }
        self.judge_told_one(client, line);
    }

    fn judge_told_one(&mut self, client: usize, line: &[u8]) {
        let head = match Head::read(line) {
            Ok(head) => head,
            Err(why) => {
                return self.wrong("every frame is JSON-RPC", format!("{why}: {}", lossy(line)));
            }
        };
        let text = std::str::from_utf8(line).unwrap_or_default();
        if let Some((other, mark)) = marks::tokens(text).find(|(whose, _)| *whose != client) {
            self.wrong(
                "nothing reaches another client",
                format!("client {client} got {mark} of client {other}: {text}"),
            );
        }
        match (&head.method, head.id) {
            (None, _) => self.judge_answer(client, &head, text),
            (Some(method), Some(_)) => self.judge_question(client, method, head.id_text(), text),
            (Some(method), None) => {
                let params = head.params.map_or(Value::Null, value);
                self.judge_notification(client, method, &params, text);
            }
        }
    }

    fn judge_answer(&mut self, client: usize, head: &Head<'_>, text: &str) {
        let id = head.id_text();
        // Of two requests with one id nobody can tell which an answer is for.
        let is_loose = self.clients[client].manner.doubles_ids > 0;
        let judge = &mut self.clients[client].judge;
        if id == "null" {
            judge.nulls += 1;
            let is_refusal = judge.opens.is_empty() && judge.nulls == 1;
            if head.error.is_none()
                || (judge.nulls > judge.garbage && !is_refusal && !text.contains("limit"))
            {
                self.wrong("an error without an id answers garbage", text.to_owned());
            }
            return;
        }
        // A stream's end says whose it is; another request may have its id.
        let is_end = |listen: &Listen| listen.id == id && text.contains("subscriptionId");
        if let Some(at) = judge.listens.iter().position(is_end) {
            judge.listens.swap_remove(at);
            return;
        }
        let with_mark = judge.opens.iter().position(|open| {
            open.id == id && open.mark.as_ref().is_some_and(|mark| text.contains(&**mark))
        });
        // Of several with one id: the greeting knows its own answers, and what was not cancelled is
        // likelier to be answered than what may have been.
        let is_greeting = text.contains("supportedVersions") && head.error.is_none();
        let of_id = |open: &Open| open.id == id;
        let greeted = judge
            .opens
            .iter()
            .position(|open| is_greeting && of_id(open) && open.method == "server/discover");
        let plain = judge.opens.iter().position(|open| of_id(open) && !open.is_doubtful);
        let any = || judge.opens.iter().position(of_id);
        let Some(at) = with_mark.or(greeted).or(plain).or_else(any) else {
            // Frames that are no message may still have had an id.
            if head.error.is_some() && judge.garbage > judge.nulls {
                judge.nulls += 1;
                return;
            }
            return self.wrong("no request is answered twice or unasked", text.to_owned());
        };
        let open = judge.opens.swap_remove(at);
        judge.answered += 1;
        if !is_loose {
            self.judge_content(client, &open, head, text);
        }
    }

    /// What an answer says, once it is known which request it is for.
    pub fn judge_content(&mut self, client: usize, open: &Open, head: &Head<'_>, text: &str) {
        let is_faultless = self.is_faultless;
        let judge = &mut self.clients[client].judge;
        // A legacy server's question does not say for which of the client's calls it is.
        let is_held = text.contains("\"requestState\":\"rg1.");
        let other = marks::tokens(text).find(|(_, mark)| open.mark.as_deref() != Some(*mark));
        if let Some((_, mark)) = other.filter(|_| !is_held) {
            let what = format!("{mark} in the answer to {open:?}: {text}");
            return self.wrong("no answer reaches another request", what);
        }
        let Some(result) = head.result else {
            if open.method == "resources/subscribe" {
                judge.subscriptions.retain(|(watched, _)| *watched != open.about);
            }
            if is_faultless && !open.may_fail {
                self.wrong(
                    "in a world without faults every call succeeds",
                    format!("{open:?}: {text}"),
                );
            }
            return;
        };
        let result = value(result);
        if let Err(why) = shape::result(&open.method, open.is_modern, &result) {
            self.wrong("a result has the shape of its era", why);
        }
        if result["resultType"] == "input_required" {
            let is_ours = result["requestState"].as_str().is_some_and(|s| s.starts_with("rg1."));
            let asks = result["inputRequests"].as_object().into_iter().flatten();
            for (_, ask) in asks {
                if is_ours && !open.caps.allows(ask["method"].as_str().unwrap_or_default()) {
                    self.wrong("a question goes only to who declared it", text.to_owned());
                }
            }
            return;
        }
        self.clients[client].judge.succeeded += 1;
        let echoes = ["work", "echo", "ask", "read_text", "do/"]
            .iter()
            .any(|name| open.about.ends_with(name) || open.about.contains("//do/"));
        if let Some(mark) = open.mark.as_ref().filter(|mark| echoes && !text.contains(&***mark)) {
            self.wrong("an answer is that of its request", format!("no {mark} in {text}"));
        }
        self.judge_names(open, &result);
    }

    /// Names and URIs come back with the prefix of their upstream exactly when there are several.
    fn judge_names(&mut self, open: &Open, result: &Value) {
        let several = self.settings.upstreams.len() > 1;
        let lists = [
            ("tools", "name"),
            ("prompts", "name"),
            ("resources", "uri"),
            ("resourceTemplates", "uriTemplate"),
        ];
        for (list, key) in lists {
            for entry in result[list].as_array().into_iter().flatten() {
                let name = entry[key].as_str().unwrap_or_default();
                let own = ["list_servers", "get_server_tools", "execute_tool"];
                if self.settings.expose.has_tools() && own.contains(&name) {
                    continue;
                }
                let owners = (0..self.settings.upstreams.len())
                    .filter(|&upstream| {
                        let prefix = self.called(upstream, "", key != "name");
                        !prefix.is_empty() && name.starts_with(&prefix)
                    })
                    .count();
                if owners != usize::from(several) {
                    self.wrong("names are prefixed when there are several", name.to_owned());
                }
            }
        }
        let is_uri = open.method == "resources/read";
        let Some(upstream) = (0..self.settings.upstreams.len())
            .find(|&upstream| open.about.starts_with(&self.called(upstream, "", is_uri)))
        else {
            return;
        };
        let blocks = result["content"].as_array().into_iter().flatten();
        for block in blocks.chain(result["contents"].as_array().into_iter().flatten()) {
            let Some(uri) = block["uri"].as_str() else { continue };
            if !uri.starts_with(&self.called(upstream, "", true)) {
                self.wrong("URIs are prefixed when there are several", uri.to_owned());
            }
        }
    }

    fn judge_question(&mut self, client: usize, method: &str, id: &str, text: &str) {
        let judge = &mut self.clients[client].judge;
        let Some(version) = judge.version.as_deref() else {
            return self.wrong("a modern client gets no request", text.to_owned());
        };
        let may = judge.caps.allows(method)
            && (method != "elicitation/create" || version >= "2025-06-18");
        if judge.questions.iter().any(|asked| asked == id) {
            self.wrong("ids of questions differ", text.to_owned());
        } else {
            judge.questions.push(id.to_owned());
        }
        if !may {
            self.wrong("a question goes only to who declared it", text.to_owned());
        }
    }

    fn judge_notification(&mut self, client: usize, method: &str, params: &Value, text: &str) {
        let now = self.now;
        let is_loose = self.clients[client].manner.doubles_ids > 0;
        let judge = &mut self.clients[client].judge;
        let subscription = &params["_meta"]["io.modelcontextprotocol/subscriptionId"];
        // Links may carry both eras; what names a subscription is modern.
        let is_modern = judge.version.is_none() || !subscription.is_null();
        let uri = params["uri"].as_str().unwrap_or_default();
        let listen = judge.listens.iter().find(|listen| listen.id == subscription.to_string());
        let (check, holds) = match method {
            "notifications/progress" => {
                let token = params["progressToken"].to_string();
                let is_live =
                    judge.opens.iter().any(|open| open.progress.as_deref() == Some(&*token));
                ("progress is for a live request, under its own token", is_live)
            }
            "notifications/message" => {
                let hears = if judge.version.is_some() {
                    judge.is_initialized
                } else {
                    judge.opens.iter().any(|open| open.wants_logs)
                };
                ("logs go to who wants them", hears)
            }
            "notifications/cancelled" => {
                let id = params["requestId"].to_string();
                let before = judge.questions.len();
                judge.questions.retain(|asked| *asked != id);
                ("only a question that is out is withdrawn", judge.questions.len() < before)
            }
            "notifications/subscriptions/acknowledged" => {
                let id = subscription.to_string();
                let at = judge
                    .opens
                    .iter()
                    .position(|open| open.id == id && open.method == "subscriptions/listen");
                if let Some(at) = at {
                    judge.opens.swap_remove(at);
                }
                judge.listens.push(Listen {
                    id,
                    wants: params["notifications"].clone(),
                    since: now,
                });
                ("only a listen is acknowledged", at.is_some())
            }
            "notifications/resources/updated" => {
                let watches = if is_modern {
                    listen.is_some_and(|listen| listen.watches(uri))
                } else {
                    judge.is_initialized && judge.watches_since(uri, u64::MAX)
                };
                if let Some(serial) = params["serial"].as_u64() {
                    judge.updates.push((uri.to_owned(), serial));
                }
                ("updates go to subscribers only", watches)
            }
            _ => {
                let key = match method {
                    "notifications/tools/list_changed" => "toolsListChanged",
                    "notifications/prompts/list_changed" => "promptsListChanged",
                    _ => "resourcesListChanged",
                };
                let hears = if is_modern {
                    listen.is_some_and(|listen| listen.wants[key] == true)
                } else {
                    judge.is_initialized
                };
                ("changes of lists go to who wants them", hears)
            }
        };
        if !holds && !is_loose {
            self.wrong(check, format!("client {client}: {text}"));
        }
        if let Err(why) = shape::notification(method, is_modern, params) {
            self.wrong("a notification has the shape of its era", why);
        }
    }

    /// The gateway closes a client's link.
    pub fn judge_close(&mut self, pipe: usize, why: &str) {
        let crate::pipe::End::Client(client) = self.pipes[pipe].end else { return };
        let shard = self.pipes[pipe].shard;
        let max = u64::try_from(self.settings.limits.drain.as_micros()).unwrap_or(u64::MAX);
        let is_early = self.shards[shard].drain_began.is_some_and(|began| self.now < began + max);
        let missing = self.clients[client].judge.missing();
        if why.contains("draining") && is_early && !missing.is_empty() {
            self.wrong("a drain lets flights finish", format!("client {client}: {missing:?}"));
        }
    }

    /// A client's link is gone: nobody waits any more.
    pub fn judge_gone(&mut self, client: usize) {
        for mark in self.clients[client].judge.marks() {
            self.note_cancelled(Some(mark));
        }
        let judge = &mut self.clients[client].judge;
        judge.opens.clear();
        judge.listens.clear();
        judge.subscriptions.clear();
        judge.questions.clear();
    }
}

fn lossy(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
