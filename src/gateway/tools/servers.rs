//! `list_servers`: the upstreams that a client may know of, how they are, and what they say of themselves. Not
//! how they are reached: commands and addresses are the operator's.

use super::arguments;
use crate::gateway::Gateway;
use crate::gateway::door::Effects;
use crate::gateway::inbound::Asked;
use crate::gateway::settings::{Peer, Target};
use crate::gateway::upstream::Status;
use crate::wire::{Json, text};

impl Gateway {
    pub(super) fn list_servers(&mut self, asked: &Asked<'_>, out: &mut Effects) {
        let read = arguments::read(asked.parsed.arguments, ["agent_id", "include_metadata"]);
        let (agent_id, is_long) = match read {
            Ok([agent_id, is_long]) => (agent_id, is_long.is_some_and(|it| it.text() == "true")),
            Err(what) => return self.reply_wrong(asked, &what, out),
        };
        if self.is_another_agent(asked, agent_id, out) {
            return;
        }
        let mut json = String::from("{\"servers\":[");
        for (index, _) in self.used() {
            if !self.sees(asked.client, index) {
                continue;
            }
            if !json.ends_with('[') {
                json.push(',');
            }
            self.describe(index, is_long, &mut json);
        }
        json.push_str("]}");
        self.reply_found(asked, &json, out);
    }

    fn describe(&self, index: usize, is_long: bool, json: &mut String) {
        let Some(upstream) = self.upstreams.get(index) else { return };
        let status = match upstream.status {
            Status::Starting => "starting",
            Status::Ready { .. } => "ready",
            Status::Down { .. } => "unavailable",
        };
        let transport = self.settings.upstreams.get(index).map_or("", |spec| way(&spec.target));
        json.extend(["{\"name\":", &text::quoted(&upstream.name), ",\"transport\":\"", transport]);
        json.extend(["\",\"status\":\"", status, "\""]);
        let identity = upstream.identity.as_ref().filter(|_| is_long);
        if let Some(identity) = identity {
            let info = identity.server_info.as_deref().and_then(|info| Json::parse(info).ok());
            for key in ["title", "version", "description"] {
                if let Some(said) = info.and_then(|info| info.get(key)) {
                    json.extend([",\"", key, "\":", said.text()]);
                }
            }
            if let Some(instructions) = &identity.instructions {
                json.extend([",\"instructions\":", instructions]);
            }
        }
        json.push('}');
    }
}

/// As the configuration has it: what a URL begins with, or that it is a child.
const fn way(target: &Target) -> &'static str {
    match target {
        Target::Builtin { .. } => "builtin",
        Target::Tcp { .. } | Target::Blocks { peer: Peer::Tcp(_), .. } => "tcp",
        Target::Tls { .. } => "tls",
        Target::Unix { .. } | Target::Blocks { peer: Peer::Unix(_), .. } => "unix",
        Target::Http(_) => "http",
        Target::WebSocket(_) => "websocket",
        Target::Stdio { .. } => "stdio",
    }
}
