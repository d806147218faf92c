//! `execute_tool`: a call of an upstream's tool in the arguments of another. What is inside becomes the request
//! itself, as if its client had named the tool: judged, counted, written down, sent, asked back, cancelled and
//! answered as any other. Only the name is the upstream's own, and the time is the caller's.

use std::time::Duration;

use super::arguments;
use crate::base::{Moment, Now};
use crate::gateway::Gateway;
use crate::gateway::door::Effects;
use crate::gateway::inbound::Asked;
use crate::mcp::Params;
use crate::wire::{Json, text};

/// What a flight is that `execute_tool` opened.
#[derive(Clone, Debug)]
pub struct Execution {
    /// As its upstream calls it.
    pub tool: Box<str>,
    /// How long it may take, where the caller said less than the limit `request`.
    pub timeout: Option<Duration>,
    /// When that is over; set anew when the call goes on after a question.
    pub deadline: Option<Moment>,
}

impl Execution {
    /// The time begins.
    pub(in crate::gateway) fn begin(&mut self, now: Moment) {
        self.deadline = self.timeout.map(|timeout| now.after(timeout));
    }
}

impl Gateway {
    pub(super) fn execute_tool(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let known = ["agent_id", "server", "tool", "args", "timeout_ms"];
        let read = arguments::read(asked.parsed.arguments, known).and_then(
            |[agent_id, server, tool, args, timeout]| {
                let server = arguments::needed(server, "server")?;
                let tool = arguments::needed(tool, "tool")?;
                if args.is_some_and(|args| !args.is_object()) {
                    return Err("the argument args must be an object".to_owned());
                }
                let timeout = arguments::count(timeout, "timeout_ms")?;
                Ok((agent_id, server, tool, args, timeout.map(Duration::from_millis)))
            },
        );
        let (agent_id, server, tool, args, timeout) = match read {
            Ok(read) => read,
            Err(what) => return self.reply_wrong(asked, &what, out),
        };
        if self.is_another_agent(asked, agent_id, out) {
            return;
        }
        let Some(upstream) = self.server_named(asked, &server, out) else { return };
        let inner = inner_params(asked.parsed, &tool, args);
        let Ok(params) = Json::parse(&inner) else { return };
        let parsed = Params::read(params);
        let timeout = timeout.filter(|timeout| *timeout < self.settings.limits.request);
        let execution = Execution { tool: (&*tool).into(), timeout, deadline: None };
        self.execution = Some(Box::new(execution));
        let outer = asked.outer.or(Some(asked.params));
        let inner = Asked { params, parsed: &parsed, outer, ..*asked };
        self.pass_on(now, &inner, upstream, &tool, out);
        // Refused, or answered at once.
        self.execution = None;
    }
}

/// The `params` of the call inside: name and arguments of their own, and what else the outer ones said.
fn inner_params(outer: &Params<'_>, tool: &str, args: Option<Json<'_>>) -> String {
    let mut params = format!("{{\"name\":{}", text::quoted(tool));
    params.extend([",\"arguments\":", args.map_or("{}", Json::text)]);
    let kept = [
        ("_meta", outer.meta_json),
        ("inputResponses", outer.input_responses),
        ("requestState", outer.request_state),
    ];
    for (key, value) in kept {
        if let Some(value) = value {
            params.extend([",\"", key, "\":", value.text()]);
        }
    }
    params.push('}');
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_inside_keeps_what_the_outer_one_said_of_itself() {
        let outer = r#"{"name":"execute_tool","arguments":{},"_meta":{"progressToken":"p"},"requestState":"s","inputResponses":{"k":{}}}"#;
        let outer = Params::read(Json::parse(outer).unwrap());
        let args = Json::parse(r#"{"x": 1.50}"#).unwrap();
        assert_eq!(
            inner_params(&outer, "a\"b", Some(args)),
            r#"{"name":"a\"b","arguments":{"x": 1.50},"_meta":{"progressToken":"p"},"inputResponses":{"k":{}},"requestState":"s"}"#
        );
        assert_eq!(inner_params(&Params::default(), "t", None), r#"{"name":"t","arguments":{}}"#);
    }
}
