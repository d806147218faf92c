//! The members of `params` that a gateway looks at, found in one walk. The rest is the upstream's.

use super::meta::Meta;
use crate::wire::Json;

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
    /// The `_meta` object itself; [`Params::meta`] is what it holds.
    pub meta_json: Option<Json<'a>>,
    pub meta: Meta<'a>,
}

impl<'a> Params<'a> {
    pub fn read(json: Json<'a>) -> Self {
        let mut params = Self::default();
        for member in json.members() {
            let place = match &*member.name() {
                "_meta" => {
                    params.meta = Meta::read(member.value);
                    &mut params.meta_json
                }
                "name" => &mut params.name,
                "arguments" => &mut params.arguments,
                "uri" => &mut params.uri,
                "cursor" => &mut params.cursor,
                "ref" => &mut params.reference,
                "level" => &mut params.level,
                "requestId" => &mut params.request_id,
                "requestState" => &mut params.request_state,
                "inputResponses" => &mut params.input_responses,
                "progressToken" => &mut params.progress_token,
                "notifications" => &mut params.notifications,
                "taskId" => &mut params.task_id,
                _ => continue,
            };
            *place = Some(member.value);
        }
        params
    }
}
