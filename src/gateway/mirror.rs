//! Mirrored parameters: what a tool's schema wants repeated in headers (`x-mcp-header`, 2026-07-28 "Custom
//! headers from tool parameters"). Learnt from each upstream's own list; held against each call over HTTP.

use std::collections::BTreeMap;

use super::connect::gateway_itself;
use super::door::{Effect, Effects, Mail};
use super::flight::Errand;
use super::http::{PARAM_PREFIX, Request};
use super::lane::{LaneKey, Role};
use super::post::{Wrong, mismatch};
use super::retry::read_annotations;
use super::upstream::read_task_support;
use super::{Gateway, request};
use crate::mcp::{Era, Method, Params, header};
use crate::wire::{Json, text};

/// Deeper nesting of parameters than any tool has.
const DEPTH_MAX: usize = 16;

/// One parameter that stands in a header as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The members that lead to it, from `arguments` on.
    pub path: Vec<Box<str>>,
    /// What follows `Mcp-Param-`.
    pub header: Box<str>,
}

/// By tool, as the upstream calls it. Most tools have none and do not stand here.
pub type Mirrors = BTreeMap<Box<str>, Vec<Mirror>>;

/// What one page of `tools/list` says of mirrored parameters.
pub fn read_page(result: Json<'_>, mirrors: &mut Mirrors) {
    for tool in result.get("tools").into_iter().flat_map(Json::elements) {
        let (Some(name), Some(schema)) =
            (tool.get("name").and_then(Json::as_str), tool.get("inputSchema"))
        else {
            continue;
        };
        let mut found = Vec::new();
        // A list is long and the word is rare.
        if memchr::memmem::find(schema.text().as_bytes(), b"x-mcp-header").is_some() {
            read_schema(schema, &mut Vec::new(), &mut found);
        }
        if !found.is_empty() {
            mirrors.insert((&*name).into(), found);
        }
    }
}

fn read_schema(schema: Json<'_>, path: &mut Vec<Box<str>>, found: &mut Vec<Mirror>) {
    if path.len() >= DEPTH_MAX {
        return;
    }
    for property in schema.get("properties").into_iter().flat_map(Json::members) {
        path.push((&*property.name()).into());
        // What is no token is no part of a header's name (RFC 9110 section 5.1): written out it would begin
        // another header, or another request.
        if let Some(header) = property.value.get("x-mcp-header").and_then(Json::as_str)
            && is_token(&header)
        {
            found.push(Mirror { path: path.clone(), header: (&*header).into() });
        }
        read_schema(property.value, path, found);
        path.pop();
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

impl Gateway {
    /// Asks an upstream for its tools, to learn what their calls mirror.
    pub(super) fn learn_tools(&mut self, lane: LaneKey, cursor: Option<&str>, out: &mut Effects) {
        let Some(found) = self.lanes.get(lane).filter(|lane| lane.is_ready()) else { return };
        let upstream = &self.upstreams[found.upstream];
        let index = found.upstream;
        let spread = &self.settings.upstreams[index].spread;
        let is_wanted = self.settings.learns_tools
            || spread.trusts_annotations
            || upstream.identity.as_ref().is_some_and(|identity| identity.tasks);
        if !is_wanted || found.role != Role::Shared || !upstream.features().tools {
            return;
        }
        if upstream.balance.is_some() && self.watch_lane(index) != Some(lane) {
            return;
        }
        let meta = match found.era() {
            Era::Modern => {
                Some(format!("\"_meta\":{{{}}}", request::of_the_connection(&gateway_itself())))
            }
            Era::Legacy => None,
        };
        let cursor = cursor.map(|cursor| format!("\"cursor\":{cursor}"));
        let members: Vec<String> = meta.into_iter().chain(cursor).collect();
        let params = format!("{{{}}}", members.join(","));
        let learning = &mut self.upstreams[index].learning;
        if learning.on == Some(lane) {
            learning.is_stale = true;
            return;
        }
        learning.on = Some(lane);
        self.errand(lane, Errand::Tools, Method::ToolsList, &params, out);
    }

    /// The upstream has answered with a page of its tools.
    pub(super) fn tools_learnt(&mut self, lane: LaneKey, result: Json<'_>, out: &mut Effects) {
        let Some(found) = self.lanes.get(lane) else { return };
        let (index, endpoint) = (found.upstream, found.seat.endpoint);
        let pages_max = self.settings.limits.list_pages_max;
        let learning = &mut self.upstreams[index].learning;
        learning.on = None;
        read_page(result, &mut learning.mirrors);
        if self.settings.upstreams[index].spread.trusts_annotations {
            read_annotations(result, &mut learning.harmless);
        }
        if self.upstreams[index].identity.as_ref().is_some_and(|identity| identity.tasks) {
            read_task_support(result, &mut self.upstreams[index].learning.task_tools);
        }
        let learning = &mut self.upstreams[index].learning;
        learning.pages += 1;
        let cursor = result.get("nextCursor").filter(|cursor| cursor.as_str().is_some());
        if let Some(cursor) = cursor.filter(|_| learning.pages < pages_max) {
            return self.learn_tools(lane, Some(cursor.text()), out);
        }
        let learnt = std::mem::take(learning);
        if learnt.is_stale {
            return self.learn_tools(lane, None, out);
        }
        let (mirrors, harmless, task_tools) = (learnt.mirrors, learnt.harmless, learnt.task_tools);
        for shard in self.other_shards(endpoint) {
            let (mirrors, harmless) = (mirrors.clone(), harmless.clone());
            let task_tools = task_tools.clone();
            let mail = Mail::Mirrors { upstream: index, mirrors, harmless, task_tools };
            out.push(Effect::Mail { to: shard, mail });
        }
        self.upstreams[index].mirrors = mirrors;
        self.upstreams[index].harmless = harmless;
        self.upstreams[index].task_tools = task_tools;
    }

    /// Whether a call's headers say what its mirrored parameters say.
    pub(super) fn judge_params(
        &self,
        method: &str,
        parsed: &Params<'_>,
        request: Request<'_>,
    ) -> Result<(), Wrong> {
        if method != Method::ToolsCall.as_str() {
            return Ok(());
        }
        let Some((upstream, own)) = parsed
            .name
            .and_then(Json::as_str)
            .filter(|name| self.gateway_tool(Method::ToolsCall, name).is_none())
            .and_then(|name| self.routes.by_name(&name).map(|(at, own)| (at, own.to_owned())))
        else {
            return Ok(());
        };
        let Some(mirrors) = self.upstreams[upstream].mirrors.get(&*own) else { return Ok(()) };
        // Who may not call it does not learn how it is called; the refusal follows.
        if let Some(policy) = &self.settings.policy {
            let agent = self.who(super::Transport::Http, request.principal).agent;
            if !policy.decide(agent, upstream, super::policy::Kind::Tool, &own).is_allowed {
                return Ok(());
            }
        }
        for mirror in mirrors {
            let value = mirror
                .path
                .iter()
                .try_fold(parsed.arguments.unwrap_or(Json::EMPTY_OBJECT), |json, key| {
                    json.get(key)
                });
            judge_one(mirror, value, request)?;
        }
        Ok(())
    }
}

fn judge_one(mirror: &Mirror, value: Option<Json<'_>>, request: Request<'_>) -> Result<(), Wrong> {
    let name = format!("{PARAM_PREFIX}{}", mirror.header);
    let mut said: Vec<&[u8]> = Vec::new();
    request.headers.for_each(&mut |header, value| {
        if header.eq_ignore_ascii_case(&name) {
            said.push(value);
        }
    });
    let wrong = |what: &str| {
        let path = mirror.path.join(".");
        let header = text::quoted(&name);
        Err(mismatch(format!("the header {header} {what} the argument {path}")))
    };
    match (said.as_slice(), value.and_then(|value| header::of_parameter(value).map(|_| value))) {
        ([], None) => Ok(()),
        ([], Some(_)) => wrong("is missing: it must say what is said by"),
        ([_, _, ..], _) => wrong("stands twice; it must stand once for"),
        ([_], None) => wrong("stands without"),
        ([said], Some(value)) => match header::decode(said) {
            Some(said) if header::says(&said, value) => Ok(()),
            Some(_) => wrong("differs from"),
            None => wrong("cannot be decoded and so cannot say what is said by"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_found_wherever_properties_lead() {
        let page = r#"{"tools":[
            {"name":"plain","inputSchema":{"type":"object","properties":{"a":{"type":"string"}}}},
            {"name":"deep","inputSchema":{"type":"object","properties":{
                "region":{"type":"string","x-mcp-header":"Region"},
                "where":{"type":"object","properties":{"zone":{"type":"integer","x-mcp-header":"Zone"}}}}}}]}"#;
        let mut mirrors = Mirrors::new();
        read_page(Json::parse(page).unwrap(), &mut mirrors);
        assert_eq!(mirrors.len(), 1);
        let found: Vec<(String, &str)> =
            mirrors["deep"].iter().map(|m| (m.path.join("."), &*m.header)).collect();
        assert_eq!(found, [("region".to_owned(), "Region"), ("where.zone".to_owned(), "Zone")]);
    }

    #[test]
    fn what_is_no_header_is_not_learnt() {
        let page = r#"{"tools":[{"name":"t","inputSchema":{"properties":{
            "a":{"x-mcp-header":"A\r\nAuthorization: x\r\nB"},"b":{"x-mcp-header":"A B"},
            "c":{"x-mcp-header":""},"d":{"x-mcp-header":"Good-1"}}}}]}"#;
        let mut mirrors = Mirrors::new();
        read_page(Json::parse(page).unwrap(), &mut mirrors);
        let headers: Vec<&str> = mirrors["t"].iter().map(|mirror| &*mirror.header).collect();
        assert_eq!(headers, ["Good-1"]);
    }

    #[test]
    fn a_header_says_what_its_argument_says() {
        let mirror = Mirror { path: vec!["region".into()], header: "Region".into() };
        let judge = |headers: &[(&str, &str)], value: Option<&str>| {
            let owned = headers.to_vec();
            let request = Request {
                verb: crate::gateway::http::Verb::Post,
                principal: crate::gateway::principal::Principal::ANONYMOUS,
                path: "/mcp",
                query: "",
                headers: &Pairs(owned),
                body: b"",
            };
            judge_one(&mirror, value.map(|text| Json::parse(text).unwrap()), request).is_ok()
        };
        assert!(judge(&[("Mcp-Param-Region", "eu")], Some("\"eu\"")));
        assert!(judge(&[("mcp-param-region", "=?base64?ZXU=?=")], Some("\"eu\"")));
        assert!(judge(&[("mcp-param-region", "7")], Some("7.0")));
        assert!(judge(&[], None) && judge(&[], Some("null")));
        assert!(!judge(&[("mcp-param-region", "us")], Some("\"eu\"")));
        assert!(!judge(&[], Some("\"eu\"")));
        assert!(!judge(&[("mcp-param-region", "eu")], None));
        assert!(!judge(&[("mcp-param-region", "=?base64?*?=")], Some("\"eu\"")));
        let twice = [("mcp-param-region", "eu"), ("Mcp-Param-Region", "eu")];
        assert!(!judge(&twice, Some("\"eu\"")));
    }

    struct Pairs<'p>(Vec<(&'p str, &'p str)>);

    impl crate::gateway::http::Headers for Pairs<'_> {
        fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
            self.0.iter().for_each(|(name, value)| visit(name, value.as_bytes()));
        }
    }
}
