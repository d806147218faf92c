//! The other paths of the HTTP front: REST for people and scripts, health for balancers. Not here: `/mcp`
//! (`post`, `session`).

use super::Gateway;
use super::door::{Effect, Effects};
use super::http::{self, HeaderPairs, Request, Verb};
use super::post::{Wrong, refuse, refuse_with};
use super::upstream::Status;
use crate::base::{LinkId, Now};
use crate::mcp::Code;

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
            (http::SSE, _) => not_allowed(out, link, "GET"),
            (http::MESSAGE, Verb::Post) => self.post_sse(now, link, request, out),
            (http::MESSAGE, _) => not_allowed(out, link, "POST"),
            (http::HEALTH, Verb::Get) => say(out, link, 200, "{\"status\":\"ok\"}"),
            (http::READY, Verb::Get) => self.ready(link, out),
            (http::HEALTH | http::READY, _) => not_allowed(out, link, "GET"),
            _ => {
                let message = "there is nothing here: MCP is spoken at /mcp (and /sse, /ws)";
                refuse(out, link, "null", &Wrong::new(404, Code::InvalidRequest, message));
            }
        }
    }

    /// Ready while it takes clients and each upstream has been heard of.
    fn ready(&self, link: LinkId, out: &mut Effects) {
        let starting = self.upstreams.iter().filter(|upstream| upstream.is_starting()).count();
        let down = |upstream: &&super::Upstream| matches!(upstream.status, Status::Down { .. });
        let down = self.upstreams.iter().filter(down).count();
        let (status, word) = if self.drain.has_begun() {
            (503, "draining")
        } else if starting > 0 {
            (503, "starting")
        } else {
            (200, "ready")
        };
        let count = self.upstreams.len();
        let text =
            format!("{{\"status\":\"{word}\",\"upstreams\":{count},\"upstreamsDown\":{down}}}");
        say(out, link, status, &text);
    }
}

fn say(out: &mut Effects, link: LinkId, status: u16, text: &str) {
    let bytes = out.put(text.as_bytes());
    out.push(Effect::Respond { link, status, headers: HeaderPairs::new(), bytes });
}

fn not_allowed(out: &mut Effects, link: LinkId, allowed: &str) {
    let wrong = Wrong::new(405, Code::InvalidRequest, format!("only {allowed} here"));
    refuse_with(out, link, "null", &wrong, vec![("allow", allowed.to_owned())]);
}
