//! What a tool in process is: a function of its call. It keeps nothing between calls that a client
//! could see, so any shard can run it; what it needs from outside (time, chance, a file, an answer
//! from the user) comes in through [`Call`], and what it waits for goes out as an [`Outcome`].

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration;

use crate::base::Now;
use crate::wire::Json;

/// What stands beside the parameters of a request to the built-in upstream, or of one more step of it:
/// a tool that answered [`Outcome::Wait`], [`Outcome::Read`] or [`Outcome::Ask`] is called again with
/// the same arguments and what it waited for.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub now: Now,
    /// 0 at first, one more after each wait.
    pub step: u32,
    /// The text that [`Outcome::Read`] asked for, or why there is none.
    pub text: Option<Result<&'a str, &'a str>>,
    /// What the client answered to [`Outcome::Ask`]: its `inputResponses` object, by the asked keys.
    pub answers: Option<Json<'a>>,
    /// The capabilities the client declared; a tool asks only for what stands here.
    pub capabilities: Json<'a>,
    /// A fresh random number each step.
    pub random: u64,
}

/// One call of a tool, or one more step of it: the arguments, and as its own fields the [`Context`].
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The `arguments` object; `{}` when the client sent none.
    pub arguments: Json<'a>,
    pub context: &'a Context<'a>,
}

impl<'a> Deref for Call<'a> {
    type Target = Context<'a>;

    fn deref(&self) -> &Context<'a> {
        self.context
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The result object's text was appended, without `resultType`; the gateway knows what the
    /// client's era wants beside it.
    Done,
    /// The `inputRequests` object's text was appended: `{"key":{"method":…,"params":…}}`, MCP
    /// 2026-07-28 "Multi round-trip requests". Only for `tools/call`, `prompts/get`, `resources/read`.
    Ask,
    /// Call again after this time; `(progress, total)` goes to a client that gave a progress token.
    Wait { after: Duration, progress: Option<(f64, f64)> },
    /// Call again with the text of this file of the configured folder.
    Read { path: String },
    /// A JSON-RPC error; nothing was appended. `data` is JSON text.
    Fault { code: i32, message: Cow<'static, str>, data: Option<String> },
}

impl Outcome {
    /// −32602: the parameters are at fault, not what they ask for.
    pub const fn invalid(message: &'static str) -> Self {
        Self::Fault { code: -32602, message: Cow::Borrowed(message), data: None }
    }
}

/// A tool in process. One instance a shard.
pub trait Tool {
    /// The `Tool` object of `tools/list` as JSON text, its `name` included; read once, at the start.
    fn descriptor(&self) -> Cow<'static, str>;

    /// Runs one step and appends its text to `out`. Must not block and should take well under a
    /// millisecond: the whole shard waits. What it appends must be valid JSON without newlines, which
    /// [`super::reply`] writes.
    fn call(&mut self, call: &Call<'_>, out: &mut Vec<u8>) -> Outcome;
}
