//! The other paths of the HTTP front: REST for people and scripts, health for balancers. Not here: `/mcp`
//! (`post`, `session`).

use super::Gateway;
use super::door::{Effect, Effects};
use super::http::{self, Caller, Facts, HeaderPairs, Request, Verb};
use super::post::{Wrong, refuse, refuse_with, respond};
use super::upstream::Status;
use crate::base::{LinkId, Now};
use crate::mcp::error::is_unknown_tool;
use crate::mcp::{Code, Method, Params};
use crate::wire::{Json, text};

impl Gateway {
    /// One HTTP exchange.
    pub(super) fn exchange(
        &mut self,
        now: Now,
        link: LinkId,
        request: Request<'_>,
        out: &mut Effects,
    ) {
        match (request.path, request.verb) {
            (http::ENDPOINT, Verb::Post) => self.post(now, link, request, out),
            (http::ENDPOINT, Verb::Get) => self.get(now, link, request, out),
            (http::ENDPOINT, Verb::Delete) => self.delete(now, link, request, out),
            (http::ENDPOINT, Verb::Other) => not_allowed(out, link, "GET, POST, DELETE"),
            (http::SSE, Verb::Get) => self.open_sse(now, link, request, out),
            (http::MESSAGE, Verb::Post) => self.post_sse(now, link, request, out),
            (http::MESSAGE, _) => not_allowed(out, link, "POST"),
            (http::TOOLS, Verb::Get) => {
                self.rest_list(now, Caller { link, principal: request.principal }, out);
            }
            (http::HEALTH, Verb::Get) => say(out, link, 200, "{\"status\":\"ok\"}"),
            (http::READY, Verb::Get) => self.ready(link, out),
            (http::SSE | http::TOOLS | http::HEALTH | http::READY, _) => {
                not_allowed(out, link, "GET");
            }
            (path, verb) if path.starts_with(TOOL) => {
                let name = path.get(TOOL.len()..).and_then(percent_decoded).unwrap_or_default();
                if verb == Verb::Post {
                    self.rest_call(now, link, &name, request, out);
                } else {
                    not_allowed(out, link, "POST");
                }
            }
            _ => {
                let message = "there is nothing here: MCP is spoken at /mcp (and /sse, /ws)";
                refuse(out, link, "null", &Wrong::new(404, Code::InvalidRequest, message));
            }
        }
    }

    /// `GET /tools`: what `tools/list` gives.
    fn rest_list(&mut self, now: Now, caller: Caller, out: &mut Effects) {
        let params = format!("{{{META}}}");
        self.rest(now, caller, Method::ToolsList, &params, out);
    }

    /// `POST /tools/NAME` with the arguments as body: what `tools/call` gives.
    fn rest_call(
        &mut self,
        now: Now,
        link: LinkId,
        name: &str,
        request: Request<'_>,
        out: &mut Effects,
    ) {
        let facts = Facts::read(request.headers);
        self.note_context(&facts);
        if !facts.is_json {
            let message = "the header Content-Type must be application/json";
            return refuse(out, link, "null", &Wrong::new(415, Code::InvalidRequest, message));
        }
        let arguments = match Json::from_bytes(request.body) {
            Ok(json) if json.is_object() => json,
            Ok(_) => {
                let message =
                    "the body must be the tool's arguments, a JSON object; {} if it has none";
                return refuse(out, link, "null", &Wrong::new(400, Code::InvalidParams, message));
            }
            Err(error) => {
                let message = format!("the body is not JSON: {} (byte {})", error.what, error.at);
                return refuse(out, link, "null", &Wrong::new(400, Code::Parse, message));
            }
        };
        let name = text::quoted(name);
        let mut params =
            format!("{{\"name\":{name},\"arguments\":{},{META}}}", arguments.text()).into_bytes();
        super::request::one_line(&mut params, 0);
        let caller = Caller { link, principal: request.principal };
        self.rest(now, caller, Method::ToolsCall, &String::from_utf8_lossy(&params), out);
    }

    /// A modern request in all but its envelope.
    fn rest(&mut self, now: Now, caller: Caller, method: Method, params: &str, out: &mut Effects) {
        let link = caller.link;
        if let Some(wrong) = self.no_room(caller) {
            return refuse(out, link, "null", &wrong);
        }
        let Ok(params) = Json::parse(params) else { return respond(out, link, 400) };
        let (client, exchange) = self.modern_client(caller);
        if let Some(exchange) = self.exchanges.get_mut(exchange) {
            exchange.is_plain = true;
        }
        let parsed = Params::read(params);
        self.request(now, client, "0", method.as_str(), params, &parsed, Some(exchange), out);
        self.wait_for(now, exchange);
    }

    /// Ready while it takes clients and each upstream has been heard of.
    fn ready(&self, link: LinkId, out: &mut Effects) {
        let starting = self.used().filter(|(_, upstream)| upstream.is_starting()).count();
        let is_down = |upstream: &super::Upstream| matches!(upstream.status, Status::Down { .. });
        let down = self.used().filter(|(_, upstream)| is_down(upstream)).count();
        let (status, word) = if self.drain.is_near() {
            (503, "draining")
        } else if starting > 0 {
            (503, "starting")
        } else {
            (200, "ready")
        };
        let count = self.routes.order().len();
        let text =
            format!("{{\"status\":\"{word}\",\"upstreams\":{count},\"upstreamsDown\":{down}}}");
        say(out, link, status, &text);
    }
}

/// What a person's request says of itself: a client that cannot be asked anything.
const META: &str = "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
                    \"io.modelcontextprotocol/clientCapabilities\":{}}";
const TOOL: &str = "/tools/";

/// Leaves of the answer that was written from `start` on the result alone, or the error; gives the status.
pub(super) fn unwrap(out: &mut Vec<u8>, start: usize) -> u16 {
    let written = out.split_off(start);
    let Ok(answer) = Json::from_bytes(&written) else { return 500 };
    if let Some(result) = answer.get("result") {
        out.extend_from_slice(result.text().as_bytes());
        return 200;
    }
    let Some(error) = answer.get("error") else { return 500 };
    out.extend_from_slice(b"{\"error\":");
    out.extend_from_slice(error.text().as_bytes());
    out.push(b'}');
    let name = error.get("data").and_then(|data| data.get("code")).and_then(Json::as_str);
    match name.as_deref() {
        Some("DENIED_BY_POLICY" | "INVALID_AGENT_ID") => 403,
        Some("SERVER_UNAVAILABLE") => 502,
        Some("TIMEOUT") => 504,
        _ if is_unknown_tool(error) => 404,
        _ if error.get("code").and_then(Json::as_i64) == Some(-32_602) => 400,
        _ => 500,
    }
}

/// RFC 3986 section 2.1; `None` if it is no UTF-8 or not encoded well.
fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

fn say(out: &mut Effects, link: LinkId, status: u16, text: &str) {
    let bytes = out.put(text.as_bytes());
    out.push(Effect::Respond { link, status, headers: HeaderPairs::new(), bytes });
}

fn not_allowed(out: &mut Effects, link: LinkId, allowed: &str) {
    let wrong = Wrong::new(405, Code::InvalidRequest, format!("only {allowed} here"));
    refuse_with(out, link, "null", &wrong, vec![("allow", allowed.to_owned())]);
}
