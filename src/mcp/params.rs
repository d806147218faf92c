//! The members of `params` that a gateway looks at. The rest is the upstream's.
//!
//! They are found by the pass that validates the message (`wire::envelope`), which tells them to a
//! [`Params`]; [`Params::read`] is for text that was kept. A member that we read and that stands twice is
//! a fault: readers of JSON differ in which of the two counts, so what we judge by the one might be done
//! by the other.

use super::meta::{Meta, MetaKey};
use crate::wire::Json;
use crate::wire::envelope::Listener;
use crate::wire::keys::{Key, keys};

/// What stands in a request's `params`. Each is as the client wrote it, of whatever kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Params<'a> {
    pub name: Option<Json<'a>>,
    pub uri: Option<Json<'a>>,
    pub arguments: Option<Json<'a>>,
    pub cursor: Option<Json<'a>>,
    pub reference: Option<Json<'a>>,
    pub level: Option<Json<'a>>,
    pub request_id: Option<Json<'a>>,
    pub request_state: Option<Json<'a>>,
    pub input_responses: Option<Json<'a>>,
    pub progress_token: Option<Json<'a>>,
    pub notifications: Option<Json<'a>>,
    pub task_id: Option<Json<'a>>,
    /// What makes a task of a request (2025-11-25).
    pub task: Option<Json<'a>>,
    /// The `_meta` object itself; [`Params::meta`] is what it holds.
    pub meta_json: Option<Json<'a>>,
    pub meta: Meta<'a>,
    /// There are members of other names.
    pub has_others: bool,
    /// The key of a member that stands twice.
    pub doubled: Option<&'static str>,
}

keys! {
    /// What is read of `params`.
    pub enum ParamKey {
        Name = "name",
        Arguments = "arguments",
        Meta = "_meta",
        Uri = "uri",
        Cursor = "cursor",
        Reference = "ref",
        RequestId = "requestId",
        RequestState = "requestState",
        InputResponses = "inputResponses",
        ProgressToken = "progressToken",
        TaskId = "taskId",
        Task = "task",
        Level = "level",
        Notifications = "notifications",
    }
}

impl<'a> Params<'a> {
    /// Walks `json`, the `params` of a message that was taken before.
    pub fn read(json: Json<'a>) -> Self {
        let mut params = Self::default();
        for member in json.members() {
            let Some(key) = ParamKey::named(&member.name()) else {
                params.has_others = true;
                continue;
            };
            if Self::opens(key) {
                for inner in member.value.members() {
                    if let Some(key) = MetaKey::named(&inner.name()) {
                        params.inner(key, inner.value);
                    }
                }
            }
            params.member(key, member.value);
        }
        params
    }
}

impl<'a> Listener<'a> for Params<'a> {
    type Outer = ParamKey;
    type Inner = MetaKey;

    fn opens(key: ParamKey) -> bool {
        key == ParamKey::Meta
    }

    #[inline]
    fn member(&mut self, key: ParamKey, value: Json<'a>) {
        let place = match key {
            ParamKey::Name => &mut self.name,
            ParamKey::Arguments => &mut self.arguments,
            ParamKey::Meta => &mut self.meta_json,
            ParamKey::Uri => &mut self.uri,
            ParamKey::Cursor => &mut self.cursor,
            ParamKey::Reference => &mut self.reference,
            ParamKey::RequestId => &mut self.request_id,
            ParamKey::RequestState => &mut self.request_state,
            ParamKey::InputResponses => &mut self.input_responses,
            ParamKey::ProgressToken => &mut self.progress_token,
            ParamKey::TaskId => &mut self.task_id,
            ParamKey::Task => &mut self.task,
            ParamKey::Level => &mut self.level,
            ParamKey::Notifications => &mut self.notifications,
        };
        if place.replace(value).is_some() {
            self.doubled = Some(key.as_str());
        }
    }

    #[inline]
    fn other(&mut self) {
        self.has_others = true;
    }

    #[inline]
    fn inner(&mut self, key: MetaKey, value: Json<'a>) {
        if self.meta.put(key, value) {
            self.doubled = Some(key.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::envelope;

    #[test]
    fn what_the_envelope_tells_is_what_a_walk_finds() {
        for params in [
            "{}",
            r#"{"name":"a","arguments":{"name":"b","_meta":{"progressToken":1}},"x":[{"uri":1}]}"#,
            r#"{ "_meta" : { "progressToken" : "t" , "io.modelcontextprotocol/protocolVersion":"v" } , "uri" : "u" }"#,
            r#"{"_m\u0065ta":{"progress\u0054oken":7},"n\u0061me":"x"}"#,
            r#"{"_meta":7,"ref":{"name":"n"},"level":"info","taskId":"1"}"#,
        ] {
            let frame = format!(r#"{{"params":{params},"jsonrpc":"2.0","id":1,"method":"m"}}"#);
            let mut told = Params::default();
            envelope::read_to(frame.as_bytes(), &mut told).unwrap();
            let walked = Params::read(Json::parse(params).unwrap());
            assert_eq!(format!("{told:?}"), format!("{walked:?}"), "{params}");
            assert_eq!(told.doubled, None);
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_found_however_it_is_spelled() {
        for (params, key) in [
            (r#"{"name":"a","name":"b"}"#, Some("name")),
            (r#"{"name":"a","n\u0061me":"b"}"#, Some("name")),
            (r#"{"uri":"a","uri":"a"}"#, Some("uri")),
            (r#"{"arguments":{},"arguments":{}}"#, Some("arguments")),
            (r#"{"_meta":{"progressToken":1,"progressToken":2}}"#, Some("progressToken")),
            (r#"{"_meta":{},"_meta":{}}"#, Some("_meta")),
            (r#"{"x":1,"x":2,"arguments":{"a":1,"a":2},"_meta":{"k":1,"k":2}}"#, None),
        ] {
            assert_eq!(Params::read(Json::parse(params).unwrap()).doubled, key, "{params}");
        }
    }
}
