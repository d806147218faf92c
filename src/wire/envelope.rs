//! JSON-RPC 2.0 envelopes: which kind of message a frame is, with the places of its parts. All of the
//! frame is validated on the way; nothing is copied.
//!
//! Stricter than JSON-RPC where MCP is (schema, `RequestId`): an id is a string or an integer, never
//! null, a fraction or a giant; `params` is an object or absent; a key of the envelope stands once.
#![expect(clippy::inline_always, reason = "as in `scan`: a key's result must stay in registers")]

use super::json::{Json, Kind, utf8};
use super::keys::{self, Key, NoKey, keys};
use super::scan::{self, ScanError, byte, fail, next, token};

/// Longest id taken, in bytes of its JSON text. It is kept for as long as a request is in flight.
pub const ID_BYTES_MAX: usize = 256;
/// Longest method name taken: the longest of MCP has 40 bytes.
pub const METHOD_BYTES_MAX: usize = 128;

/// A request id, as its JSON text: `7` or `"seven"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<'a>(&'a str);

impl<'a> Id<'a> {
    pub const fn text(self) -> &'a str {
        self.0
    }

    /// Takes `json` as an id if it may be one: MCP basic, "Requests".
    pub fn new(json: Json<'a>) -> Result<Self, &'static str> {
        let text = json.text();
        if text.len() > ID_BYTES_MAX {
            return Err("the id is longer than the limit id_bytes_max (256)");
        }
        match json.kind() {
            Kind::String => Ok(Self(text)),
            Kind::Number if is_i64(text) => Ok(Self(text)),
            Kind::Number => {
                Err("the id is a fraction or beyond 64 bits; use a string or an integer")
            }
            Kind::Null => {
                Err("the id is null; use a string or an integer, or none for a notification")
            }
            _ => Err("the id is neither a string nor an integer"),
        }
    }
}

/// Whether a number's text is an integer of 64 bits. Eighteen digits always are, and nearly all ids have
/// fewer: of those, only what makes a fraction must be looked for.
fn is_i64(number: &str) -> bool {
    if number.len() <= 18 {
        let sign = usize::from(number.starts_with('-'));
        scan::digits_end(number.as_bytes(), sign) == number.len()
    } else {
        number.parse::<i64>().is_ok()
    }
}

/// One message, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    Request {
        id: Id<'a>,
        method: &'a str,
        params: Json<'a>,
    },
    Notification {
        method: &'a str,
        params: Json<'a>,
    },
    Response {
        id: Id<'a>,
        result: Json<'a>,
    },
    /// An error answer. Its id may be missing or null when the peer could not read ours.
    Failure {
        id: Option<Id<'a>>,
        error: Json<'a>,
    },
}

/// Why a frame is no message, with what an answer needs. `code` is JSON-RPC's −32700 or −32600.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    pub code: i32,
    pub what: &'static str,
    /// Byte offset into the frame.
    pub at: usize,
    /// The id, where one could be read.
    pub id: Option<Id<'a>>,
    /// It is a notification all the same, if one that nobody can act on: it gets no answer
    /// (JSON-RPC 2.0 section 4.1).
    pub is_notice: bool,
}

impl<'a> Fault<'a> {
    pub const fn new(code: i32, what: &'static str, at: usize, id: Option<Id<'a>>) -> Self {
        Self { code, what, at, id, is_notice: false }
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    One(Message<'a>),
    /// A batch: JSON-RPC 2.0 section 6, MCP 2025-03-26 only. Its elements are validated as JSON, not
    /// yet as messages.
    Batch(Json<'a>),
}

/// Hears of the members of `params` in the pass that validates them, so that nobody has to walk them
/// again. It hears of them before the message is judged: only of a request or a notification that was
/// read to its end does it know anything.
pub trait Listener<'a> {
    /// The members of `params` that it wants to hear of.
    type Outer: Key;
    /// Of one of them, the members that it wants to hear of as well.
    type Inner: Key;
    /// Whether it wants to hear of any: to pass over `params` as a whole is cheaper.
    const LISTENS: bool = true;

    /// Whether this is the member whose own members are told; they are told before it.
    fn opens(key: Self::Outer) -> bool;

    fn member(&mut self, key: Self::Outer, value: Json<'a>);

    /// There is a member that it does not want to hear of.
    fn other(&mut self) {}

    fn inner(&mut self, key: Self::Inner, value: Json<'a>);
}

/// Nobody listens.
impl<'a> Listener<'a> for () {
    type Outer = NoKey;
    type Inner = NoKey;
    const LISTENS: bool = false;

    fn opens(_: NoKey) -> bool {
        false
    }

    fn member(&mut self, _: NoKey, _: Json<'a>) {}

    fn inner(&mut self, _: NoKey, _: Json<'a>) {}
}

/// Reads one frame: a message or a batch.
pub fn read(bytes: &[u8]) -> Result<Frame<'_>, Fault<'_>> {
    read_to(bytes, &mut ())
}

/// As [`read`]; `listener` hears of the members of a message's `params`.
pub fn read_to<'a>(
    bytes: &'a [u8],
    listener: &mut impl Listener<'a>,
) -> Result<Frame<'a>, Fault<'a>> {
    let text = utf8(bytes).map_err(not_json)?;
    let (at, here) = token(bytes, 0);
    if here == b'{' {
        return message(text, at, listener).map(Frame::One);
    }
    let json = Json::parse(text).map_err(not_json)?;
    if json.kind() == Kind::Array {
        Ok(Frame::Batch(json))
    } else {
        Err(Fault::new(-32600, "a message is a JSON object", 0, None))
    }
}

/// Reads one element of a batch.
pub fn read_element(json: Json<'_>) -> Result<Message<'_>, Fault<'_>> {
    read_element_to(json, &mut ())
}

/// As [`read_element`]; `listener` hears of the members of the message's `params`.
pub fn read_element_to<'a>(
    json: Json<'a>,
    listener: &mut impl Listener<'a>,
) -> Result<Message<'a>, Fault<'a>> {
    if !json.is_object() {
        return Err(Fault::new(-32600, "a message is a JSON object", 0, None));
    }
    message(json.text(), 0, listener)
}

const fn not_json<'a>(error: ScanError) -> Fault<'a> {
    Fault::new(-32700, error.what, error.at, None)
}

/// The envelope's members. The whole object is read before anything is judged, so that text that is
/// not JSON is −32700 even when an earlier key is wrong, and so that an error can carry the id.
#[derive(Default)]
struct Parts<'a> {
    version: Option<Json<'a>>,
    id: Option<Json<'a>>,
    method: Option<Json<'a>>,
    params: Option<Json<'a>>,
    result: Option<Json<'a>>,
    error: Option<Json<'a>>,
    /// The key that stands twice, and where.
    doubled: Option<(&'static str, usize)>,
}

keys! {
    /// Which of [`Parts`] a key names, those of nearly all messages first.
    enum Part {
        Id = "id",
        Method = "method",
        Params = "params",
        Result = "result",
        Version = "jsonrpc",
        Error = "error",
    }
}

impl<'a> Parts<'a> {
    #[inline]
    fn put(&mut self, part: Part, at: usize, value: Json<'a>) {
        // Each arm names its field: a reference to one of several would force all into memory.
        macro_rules! set {
            ($field:ident, $doubled:literal) => {
                if self.$field.is_some() {
                    self.doubled = Some(($doubled, at));
                } else {
                    self.$field = Some(value);
                }
            };
        }
        match part {
            Part::Version => set!(version, "the key \"jsonrpc\" stands twice"),
            Part::Id => set!(id, "the key \"id\" stands twice"),
            Part::Method => set!(method, "the key \"method\" stands twice"),
            Part::Params => set!(params, "the key \"params\" stands twice"),
            Part::Result => set!(result, "the key \"result\" stands twice"),
            Part::Error => set!(error, "the key \"error\" stands twice"),
        }
    }
}

/// How nearly all messages begin: one comparison instead of a key and a value.
const OPENING: &[u8] = br#"{"jsonrpc":"2.0","#;

fn message<'a>(
    text: &'a str,
    from: usize,
    listener: &mut impl Listener<'a>,
) -> Result<Message<'a>, Fault<'a>> {
    let mut parts = Parts::default();
    let end = members(text, from, &mut parts, listener).map_err(not_json)?;
    scan::end(text.as_bytes(), end).map_err(not_json)?;
    judge(text, &parts)
}

/// Reads the envelope's object, its opening bracket at `from`.
#[inline]
fn members<'a, L: Listener<'a>>(
    text: &'a str,
    from: usize,
    parts: &mut Parts<'a>,
    listener: &mut L,
) -> Result<usize, ScanError> {
    let bytes = text.as_bytes();
    let (mut at, mut here);
    if bytes.get(from..).is_some_and(|rest| rest.starts_with(OPENING)) {
        parts.version = Some(Json::trusted("\"2.0\""));
        (at, here) = token(bytes, from.wrapping_add(OPENING.len()));
    } else {
        (at, here) = token(bytes, next(from));
        if here == b'}' {
            return Ok(next(at));
        }
    }
    loop {
        let key_at = at;
        let mut part = None;
        let start = keys::read(text, at, here, &mut part)?;
        let end = match part {
            Some(Part::Params) if L::LISTENS && byte(bytes, start) == b'{' => {
                params(text, start, listener)?
            }
            _ => scan::value(bytes, start, 0)?,
        };
        if let Some(part) = part {
            parts.put(part, key_at, Json::trusted(text.get(start..end).unwrap_or("null")));
        }
        (at, here) = token(bytes, end);
        if here != b',' {
            break;
        }
        (at, here) = token(bytes, next(at));
    }
    if here == b'}' { Ok(next(at)) } else { fail("expected ',' or '}'", at) }
}

/// Reads `params`, an object, and tells its members.
fn params<'a, L: Listener<'a>>(
    text: &'a str,
    from: usize,
    listener: &mut L,
) -> Result<usize, ScanError> {
    let bytes = text.as_bytes();
    told(text, from, |key: Option<L::Outer>, start| {
        let Some(key) = key else {
            listener.other();
            return scan::value(bytes, start, 1);
        };
        let end = if L::opens(key) && byte(bytes, start) == b'{' {
            told(text, start, |key: Option<L::Inner>, start| {
                let end = scan::value(bytes, start, 2)?;
                if let Some(key) = key {
                    listener.inner(key, Json::trusted(text.get(start..end).unwrap_or("null")));
                }
                Ok(end)
            })?
        } else {
            scan::value(bytes, start, 1)?
        };
        listener.member(key, Json::trusted(text.get(start..end).unwrap_or("null")));
        Ok(end)
    })
}

/// Reads an object, its opening bracket at `from`. `member` is told of each key and of the place where
/// its value begins, and reads the value: up to the place behind it.
#[inline(always)]
fn told<K: Key>(
    text: &str,
    from: usize,
    mut member: impl FnMut(Option<K>, usize) -> Result<usize, ScanError>,
) -> Result<usize, ScanError> {
    let bytes = text.as_bytes();
    let (mut at, mut here) = token(bytes, next(from));
    if here == b'}' {
        return Ok(next(at));
    }
    loop {
        let mut key = None;
        let start = keys::read(text, at, here, &mut key)?;
        at = member(key, start)?;
        (at, here) = token(bytes, at);
        if here != b',' {
            break;
        }
        (at, here) = token(bytes, next(at));
    }
    if here == b'}' { Ok(next(at)) } else { fail("expected ',' or '}'", at) }
}

/// Which message the parts make. `text` is what faults count their offsets in.
#[inline]
fn judge<'a>(text: &'a str, parts: &Parts<'a>) -> Result<Message<'a>, Fault<'a>> {
    let at = |json: Json<'a>| json.range_in(text).map_or(0, |range| range.start);
    if let Some((what, at)) = parts.doubled {
        // Which of the two ids is meant cannot be known, so the answer carries neither.
        return Err(Fault::new(-32600, what, at, None));
    }
    let id = match parts.id.map(|json| (json, Id::new(json))) {
        None => None,
        Some((_, Ok(id))) => Some(id),
        Some((json, Err(_))) if parts.error.is_some() && json.kind() == Kind::Null => None,
        Some((json, Err(what))) => {
            return Err(Fault::new(-32600, what, at(json), None));
        }
    };
    let fault = |what, at| Fault::new(-32600, what, at, id);
    match parts.version {
        Some(version) if version.text() == "\"2.0\"" => {}
        Some(version) if version.as_str().as_deref() == Some("2.0") => {}
        Some(version) => return Err(fault("the key \"jsonrpc\" must be \"2.0\"", at(version))),
        None => return Err(fault("the key \"jsonrpc\": \"2.0\" is missing", 0)),
    }
    match (parts.method, parts.result, parts.error) {
        (Some(method), None, None) => {
            let Some(name) = method.text().strip_prefix('"').and_then(|m| m.strip_suffix('"'))
            else {
                return Err(fault("the method is not a string", at(method)));
            };
            if name.len() > METHOD_BYTES_MAX {
                return Err(fault(
                    "the method is longer than the limit method_bytes_max (128)",
                    at(method),
                ));
            }
            let params = match parts.params {
                None => Json::EMPTY_OBJECT,
                Some(params) if params.is_object() => params,
                Some(params) => {
                    let what = "params must be an object";
                    // JSON-RPC allows an array there, MCP does not: a wrong parameter, not a wrong
                    // request, and a notification is one with an array too.
                    let is_array = params.kind() == Kind::Array;
                    let code = if is_array { -32602 } else { -32600 };
                    let is_notice = is_array && id.is_none();
                    return Err(Fault { code, what, at: at(params), id, is_notice });
                }
            };
            Ok(match id {
                Some(id) => Message::Request { id, method: name, params },
                None => Message::Notification { method: name, params },
            })
        }
        (None, Some(result), None) => match id {
            Some(id) => Ok(Message::Response { id, result }),
            None => Err(fault("a response needs an id", 0)),
        },
        (None, None, Some(error)) if error.is_object() => Ok(Message::Failure { id, error }),
        (None, None, Some(error)) => Err(fault("the error must be an object", at(error))),
        (None, None, None) => Err(fault("neither method nor result nor error", 0)),
        _ => Err(fault("only one of method, result and error may stand in a message", 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Message<'_> {
        match read(text.as_bytes()) {
            Ok(Frame::One(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn fault(text: &str) -> (i32, &'static str, Option<String>) {
        match read(text.as_bytes()) {
            Err(fault) => (fault.code, fault.what, fault.id.map(|id| id.text().to_owned())),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn each_kind_of_message_is_told_from_its_keys_in_any_order() {
        assert!(matches!(
            one(r#"{"params":{"a":1},"method":"ping","id":"x","jsonrpc":"2.0"}"#),
            Message::Request { id: Id("\"x\""), method: "ping", params: Json { .. } }
        ));
        assert!(matches!(
            one(r#"{"jsonrpc":"2.0","method":"a/b"}"#),
            Message::Notification { method: "a/b", .. }
        ));
        assert!(matches!(
            one(r#"{"jsonrpc":"2.0","id":-1,"result":{}}"#),
            Message::Response { id: Id("-1"), .. }
        ));
        assert!(matches!(
            one(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#),
            Message::Failure { id: None, .. }
        ));
        assert!(matches!(read(b"[1]"), Ok(Frame::Batch(_))));
    }

    #[test]
    fn an_id_is_a_string_or_an_integer() {
        for (id, part) in [
            ("null", "null"),
            ("1.5", "fraction"),
            ("1e400", "fraction"),
            ("[]", "neither"),
            ("true", "neither"),
            ("123456789012345678901234567890", "beyond"),
        ] {
            let (code, what, told) =
                fault(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
            assert_eq!(code, -32600);
            assert!(what.contains(part), "{what}");
            assert_eq!(told, None);
        }
        let long = format!("\"{}\"", "x".repeat(ID_BYTES_MAX));
        assert!(
            fault(&format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"ping"}}"#))
                .1
                .contains("id_bytes_max")
        );
    }

    #[test]
    fn a_doubled_key_is_refused_however_it_is_spelled() {
        assert!(fault(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#).1.contains("\"id\""));
        assert!(
            fault(r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#)
                .1
                .contains("\"method\"")
        );
    }

    #[test]
    fn what_is_not_json_is_told_from_what_is_no_request() {
        assert_eq!(fault("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"").0, -32700);
        assert_eq!(fault("{\"jsonrpc\":1,\"id\":1,\"method\":\"a\"} x").0, -32700);
        assert_eq!(fault("\u{0}").0, -32700);
        assert_eq!(fault("7").0, -32600);
        assert_eq!(fault("{}").0, -32600);
        assert_eq!(
            fault(r#"{"jsonrpc":"1.0","id":4,"method":"a"}"#),
            (-32600, "the key \"jsonrpc\" must be \"2.0\"", Some("4".into()))
        );
        assert_eq!(fault(r#"{"jsonrpc":"2.0","id":4,"method":7}"#).0, -32600);
        assert_eq!(fault(r#"{"jsonrpc":"2.0","id":4,"method":"a","params":[1]}"#).0, -32602);
        assert_eq!(read(b"{\"a\":\"\xff\"}").unwrap_err().what, "invalid UTF-8");
    }
}
