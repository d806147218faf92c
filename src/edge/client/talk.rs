//! One conversation with a server over a byte stream: finds the era, sends a request, takes what comes
//! before its answer (progress, logs, questions), gives the answer. Generic over the stream, so that
//! tests script the other side.
//!
//! ```text
//! open ── server/discover ──► names 2026-07-28 ──► modern
//!                        └──► error, silence ────► initialize ──► legacy
//! ```

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ask::{self, Person};
use crate::edge::screen;

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";
/// How long a server may be silent before it counts as one that does not know `server/discover`.
const PROBE: Duration = Duration::from_secs(5);
/// How long the handshake and a list may take. A call may take as long as its person likes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest message taken, so that a server that never ends its line does not fill the memory.
const LINE_BYTES_MAX: u64 = 256 << 20;
/// How often one call may ask back.
const ROUNDS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    Modern,
    Legacy,
}

/// Why there is no result.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// The server answered with an error.
    Answer { code: i64, message: String, data: Value },
    /// The conversation ended or made no sense.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { code, message, data } => {
                write!(f, "{message} (error {code})")?;
                if !data.is_null() {
                    write!(f, ": {data}")?;
                }
                // MissingRequiredClientCapability: what a terminal would let us declare.
                if *code == -32021 && data.pointer("/requiredCapabilities/elicitation").is_some() {
                    f.write_str("; run this in a terminal, so that the server can ask you")?;
                }
                Ok(())
            }
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Self::Broken(format!("no answer within {} s", PATIENCE.as_secs()))
            }
            _ => Self::Broken(format!("the connection broke: {error}")),
        }
    }
}

/// Sets how long a read of a stream may wait.
pub(super) type Patience<S> = fn(&S, Option<Duration>) -> io::Result<()>;

pub(super) struct Talk<S> {
    reader: BufReader<S>,
    writer: S,
    patience: Patience<S>,
    pub(super) era: Era,
    person: Option<Box<dyn Person>>,
    last_id: u64,
    /// What of a line has come; kept when a read times out in its middle.
    line: Vec<u8>,
}

impl<S: Read + Write> Talk<S> {
    /// Finds out which era the server is of. Without a person nothing can be asked of us, and the
    /// server is told so.
    pub(super) fn open(
        reader: S,
        writer: S,
        person: Option<Box<dyn Person>>,
        patience: Patience<S>,
    ) -> Result<Self, Failure> {
        let mut talk = Self {
            reader: BufReader::new(reader),
            writer,
            patience,
            era: Era::Modern,
            person,
            last_id: 0,
            line: Vec::new(),
        };
        talk.wait(Some(PROBE))?;
        if let Some(result) = talk.discover()? {
            let versions = result.get("supportedVersions").and_then(Value::as_array);
            if versions.is_some_and(|versions| versions.iter().any(|version| version == MODERN)) {
                talk.wait(Some(PATIENCE))?;
                return Ok(talk);
            }
        }
        talk.era = Era::Legacy;
        talk.wait(Some(PATIENCE))?;
        let mut params = Map::new();
        params.insert("protocolVersion".to_owned(), json!(LEGACY));
        params.insert("capabilities".to_owned(), talk.capabilities());
        params.insert("clientInfo".to_owned(), info());
        talk.request("initialize", params)?;
        talk.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(talk)
    }

    /// The server's answer to `server/discover`; `None` from one that does not know it. What a
    /// server of the legacy era does with it is not defined: any error, or nothing.
    fn discover(&mut self) -> Result<Option<Value>, Failure> {
        let id = self.start("server/discover", Map::new())?;
        match self.answer(id) {
            Ok(result) => Ok(Some(result)),
            Err(Wait::Failed(Failure::Answer { .. }) | Wait::TimedOut) => Ok(None),
            Err(Wait::Failed(failure)) => Err(failure),
        }
    }

    /// One request and its result.
    pub(super) fn request(
        &mut self,
        method: &str,
        params: Map<String, Value>,
    ) -> Result<Value, Failure> {
        let id = self.start(method, params)?;
        self.answer(id).map_err(|wait| match wait {
            Wait::Failed(failure) => failure,
            Wait::TimedOut => io::Error::from(io::ErrorKind::TimedOut).into(),
        })
    }

    /// A request that may take long and ask back. Modern servers ask in their result, and the same
    /// request is sent again with the answers.
    pub(super) fn answered(
        &mut self,
        method: &str,
        params: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        self.wait(None)?;
        let mut answers = Map::new();
        for _round in 0..ROUNDS_MAX {
            let mut again = params.clone();
            again.append(&mut answers);
            let mut result = self.request(method, again)?;
            if result.get("resultType").and_then(Value::as_str) != Some("input_required") {
                return Ok(result);
            }
            let mut responses = Map::new();
            if let Some(Value::Object(asked)) = result.get_mut("inputRequests").map(Value::take) {
                for (key, request) in asked {
                    responses.insert(key, self.input(&request)?);
                }
                answers.insert("inputResponses".to_owned(), Value::Object(responses));
            }
            if let Some(state) = result.get_mut("requestState").map(Value::take) {
                answers.insert("requestState".to_owned(), state);
            }
        }
        Err(Failure::Broken(format!("the server asked back more than {ROUNDS_MAX} times")))
    }

    /// Answers one of the `inputRequests` of a modern server.
    fn input(&mut self, request: &Value) -> Result<Value, Failure> {
        let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
        let params = request.get("params").unwrap_or(&Value::Null);
        if method != "elicitation/create" {
            return Err(Failure::Broken(format!(
                "the server asks for {method:?}, which this client cannot give"
            )));
        }
        match &mut self.person {
            Some(person) => Ok(ask::form(person.as_mut(), params)),
            None => Err(Failure::Broken(unasked(params))),
        }
    }

    fn wait(&self, patience: Option<Duration>) -> Result<(), Failure> {
        Ok((self.patience)(self.reader.get_ref(), patience)?)
    }

    fn capabilities(&self) -> Value {
        if self.person.is_some() { json!({"elicitation": {"form": {}}}) } else { json!({}) }
    }

    /// Sends a request and gives its id.
    fn start(&mut self, method: &str, mut params: Map<String, Value>) -> Result<u64, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let mut meta = Map::new();
        if self.era == Era::Modern {
            meta.insert("io.modelcontextprotocol/protocolVersion".to_owned(), json!(MODERN));
            meta.insert("io.modelcontextprotocol/clientInfo".to_owned(), info());
            let capabilities = self.capabilities();
            meta.insert("io.modelcontextprotocol/clientCapabilities".to_owned(), capabilities);
        }
        if method == "tools/call" {
            meta.insert("progressToken".to_owned(), json!(id));
        }
        if !meta.is_empty() {
            params.insert("_meta".to_owned(), Value::Object(meta));
        }
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        let mut line = message.to_string();
        line.push('\n');
        Ok(self.writer.write_all(line.as_bytes())?)
    }

    /// Reads until the answer to `id`, taking what comes before it.
    fn answer(&mut self, id: u64) -> Result<Value, Wait> {
        loop {
            let mut message = self.next()?;
            let method = message.get("method").and_then(Value::as_str).map(str::to_owned);
            let of = message.get("id").filter(|id| !id.is_null()).cloned();
            match (method, of) {
                (Some(method), Some(of)) => self.asked(&method, &of, &message)?,
                (Some(method), None) => heard(&method, &message),
                // An error about no request in particular can only be about the one under way.
                (None, of) if of.as_ref().is_none_or(|of| *of == json!(id)) => {
                    if let Some(error) = message.get_mut("error").map(Value::take) {
                        return Err(Wait::Failed(Failure::Answer {
                            code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                            message: error
                                .get("message")
                                .and_then(Value::as_str)
                                .unwrap_or("an error without a message")
                                .to_owned(),
                            data: error.get("data").cloned().unwrap_or_default(),
                        }));
                    }
                    if let Some(result) = message.get_mut("result").map(Value::take)
                        && of.is_some()
                    {
                        return Ok(result);
                    }
                }
                // An answer that came too late, such as to the probe.
                (None, _) => {}
            }
        }
    }

    /// A legacy server's request to us.
    fn asked(&mut self, method: &str, id: &Value, message: &Value) -> Result<(), Failure> {
        let params = message.get("params").unwrap_or(&Value::Null);
        let answer = match (method, &mut self.person) {
            ("ping", _) => json!({"jsonrpc": "2.0", "id": id, "result": {}}),
            ("elicitation/create", Some(person)) => {
                json!({"jsonrpc": "2.0", "id": id, "result": ask::form(person.as_mut(), params)})
            }
            _ => {
                if method == "elicitation/create" {
                    screen::err(&screen::harmless(&unasked(params)));
                }
                let error = json!({"code": -32601, "message": format!("{method}: not supported")});
                json!({"jsonrpc": "2.0", "id": id, "error": error})
            }
        };
        self.send(&answer)
    }

    fn next(&mut self) -> Result<Value, Wait> {
        loop {
            let left = LINE_BYTES_MAX.saturating_sub(self.line.len() as u64);
            match (&mut self.reader).take(left).read_until(b'\n', &mut self.line) {
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(Wait::TimedOut);
                }
                Err(error) => return Err(Wait::Failed(error.into())),
            }
            if self.line.last() != Some(&b'\n') {
                let why = if self.line.len() as u64 >= LINE_BYTES_MAX {
                    format!("the server sent a message over {LINE_BYTES_MAX} bytes")
                } else {
                    "the server closed the connection".to_owned()
                };
                return Err(Wait::Failed(Failure::Broken(why)));
            }
            let line = std::mem::take(&mut self.line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            return match serde_json::from_slice(&line) {
                Ok(message) => Ok(message),
                Err(error) => Err(Wait::Failed(Failure::Broken(format!(
                    "the server sent what is no JSON: {error}"
                )))),
            };
        }
    }
}

enum Wait {
    TimedOut,
    Failed(Failure),
}

impl From<Failure> for Wait {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn info() -> Value {
    json!({"name": "ringgate", "version": env!("CARGO_PKG_VERSION")})
}

fn unasked(params: &Value) -> String {
    let message = params.get("message").and_then(Value::as_str).unwrap_or_default();
    format!("the server asks {message:?}; run this in a terminal to answer")
}

/// A notification: progress and logs go to the person, on stderr.
fn heard(method: &str, message: &Value) {
    let params = message.get("params").unwrap_or(&Value::Null);
    let line = match method {
        "notifications/progress" => super::show::progress(params),
        "notifications/message" => super::show::log(params),
        _ => return,
    };
    screen::err(&screen::harmless(&line));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other side: what it will say, and what was said to it.
    #[derive(Default)]
    struct Script {
        says: io::Cursor<Vec<u8>>,
        heard: std::rc::Rc<std::cell::RefCell<Vec<u8>>>,
    }

    impl Read for Script {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.says.read(buf)
        }
    }

    impl Write for Script {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.heard.borrow_mut().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scripted(Vec<&'static str>);

    impl Person for Scripted {
        fn tell(&mut self, _text: &str) {}

        fn answer(&mut self, _prompt: &str) -> Option<String> {
            if self.0.is_empty() { None } else { Some(self.0.remove(0).to_owned()) }
        }
    }

    type Heard = std::rc::Rc<std::cell::RefCell<Vec<u8>>>;

    fn talk(
        says: &str,
        person: Option<Vec<&'static str>>,
    ) -> (Result<Talk<Script>, Failure>, Heard) {
        let heard = Heard::default();
        let reader =
            Script { says: io::Cursor::new(says.as_bytes().to_vec()), ..Script::default() };
        let writer = Script { heard: heard.clone(), ..Script::default() };
        let person = person.map(|answers| Box::new(Scripted(answers)) as Box<dyn Person>);
        (Talk::open(reader, writer, person, |_, _| Ok(())), heard)
    }

    fn messages(heard: &Heard) -> Vec<Value> {
        let bytes = heard.borrow();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    const DISCOVERED: &str =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"supportedVersions\":[\"2026-07-28\"]}}\n";
    const UNKNOWN: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"no\"}}\n\
         {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"protocolVersion\":\"2025-11-25\"}}\n";

    #[test]
    fn a_server_that_knows_discover_is_modern() {
        let (talk, heard) = talk(DISCOVERED, None);
        assert_eq!(talk.map(|talk| talk.era).unwrap(), Era::Modern);
        let sent = messages(&heard);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0]["method"], "server/discover");
        let meta = &sent[0]["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    }

    #[test]
    fn a_server_that_does_not_is_initialized_on_the_same_connection() {
        let (talk, heard) = talk(UNKNOWN, None);
        assert_eq!(talk.map(|talk| talk.era).unwrap(), Era::Legacy);
        let sent = messages(&heard);
        let methods: Vec<_> = sent.iter().map(|sent| sent["method"].as_str().unwrap()).collect();
        assert_eq!(methods, ["server/discover", "initialize", "notifications/initialized"]);
        assert_eq!(sent[1]["params"]["protocolVersion"], "2025-11-25");
    }

    #[test]
    fn discover_without_a_version_we_speak_falls_back_too() {
        let says = "{\"id\":1,\"result\":{\"supportedVersions\":[\"2099-01-01\"]}}\n{\"id\":2,\"result\":{}}\n";
        assert_eq!(talk(says, None).0.map(|talk| talk.era).unwrap(), Era::Legacy);
    }

    #[test]
    fn a_modern_server_that_asks_gets_the_form_and_its_state_back() {
        let says = format!(
            "{DISCOVERED}{}\n{}\n",
            json!({"id": 2, "result": {"resultType": "input_required", "requestState": "s1",
                "inputRequests": {"k": {"method": "elicitation/create", "params": {
                    "message": "who?", "requestedSchema": {"properties": {"name": {"type": "string"}}}}}}}}),
            json!({"id": 3, "result": {"resultType": "complete", "content": []}}),
        );
        let (talk, heard) = talk(&says, Some(vec!["yes", "Ada"]));
        let mut params = Map::new();
        params.insert("name".to_owned(), json!("greet"));
        let result =
            talk.unwrap_or_else(|failure| panic!("{failure}")).answered("tools/call", &params);
        assert_eq!(result.unwrap()["resultType"], "complete");
        let again = messages(&heard).pop().unwrap();
        assert_eq!(again["id"], 3);
        assert_eq!(again["params"]["name"], "greet");
        assert_eq!(again["params"]["requestState"], "s1");
        assert_eq!(
            again["params"]["inputResponses"],
            json!({"k": {"action": "accept", "content": {"name": "Ada"}}})
        );
    }

    #[test]
    fn a_legacy_server_that_asks_is_answered_in_the_middle_of_the_call() {
        let says = format!(
            "{UNKNOWN}{}\n{}\n{}\n",
            json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": 0, "method": "elicitation/create", "params": {
                "message": "sure?", "requestedSchema": {"properties": {}}}}),
            json!({"id": 3, "result": {"content": []}}),
        );
        let (talk, heard) = talk(&says, Some(vec!["no"]));
        talk.unwrap_or_else(|failure| panic!("{failure}"))
            .answered("tools/call", &Map::new())
            .unwrap();
        let sent = messages(&heard);
        assert_eq!(sent[4], json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
        assert_eq!(sent[5], json!({"jsonrpc": "2.0", "id": 0, "result": {"action": "decline"}}));
    }

    #[test]
    fn with_nobody_to_ask_the_error_says_what_was_asked() {
        let says = format!(
            "{DISCOVERED}{}\n",
            json!({"id": 2, "result": {"resultType": "input_required",
                "inputRequests": {"k": {"method": "elicitation/create", "params": {"message": "who?"}}}}}),
        );
        let failure = talk(&says, None)
            .0
            .unwrap_or_else(|failure| panic!("{failure}"))
            .answered("tools/call", &Map::new())
            .unwrap_err();
        assert_eq!(
            failure.to_string(),
            "the server asks \"who?\"; run this in a terminal to answer"
        );
    }

    #[test]
    fn errors_answers_and_ends_are_told_apart() {
        for (says, wanted) in [
            (
                "{\"id\":2,\"error\":{\"code\":-32602,\"message\":\"bad\",\"data\":{\"a\":1}}}\n",
                "bad (error -32602): {\"a\":1}",
            ),
            (
                "{\"id\":null,\"error\":{\"code\":-32700,\"message\":\"parse\"}}\n",
                "parse (error -32700)",
            ),
            ("{\"id\":1,\"result\":{}}\n", "the server closed the connection"),
            ("rubbish\n", "the server sent what is no JSON: expected value at line 1 column 1"),
        ] {
            let (talk, _) = talk(&format!("{DISCOVERED}{says}"), None);
            let failure = talk
                .unwrap_or_else(|failure| panic!("{failure}"))
                .request("tools/list", Map::new())
                .unwrap_err();
            assert_eq!(failure.to_string(), wanted);
        }
    }
}
