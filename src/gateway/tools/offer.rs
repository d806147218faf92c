//! `get_server_tools`: the tools of one upstream that a client may use, as their server describes them; those
//! that it asks for, and as many as its context has room for.

use super::{Acting, arguments};
use crate::base::Now;
use crate::gateway::Gateway;
use crate::gateway::door::Effects;
use crate::gateway::gather::Purpose;
use crate::gateway::inbound::Asked;
use crate::mcp::{Era, Method, Version};
use crate::wire::{Json, text};

/// Bytes of JSON that count as a token. English and code have about four; other scripts have fewer bytes a
/// character counted than a tokenizer would, so that the estimate is not below by much.
const BYTES_A_TOKEN: usize = 4;
/// Names told of what was left out; more would take what the budget was to save.
const OMITTED_MAX: usize = 50;
/// Longer patterns than any name is.
const PATTERN_BYTES_MAX: usize = 256;

/// What was asked for, and what has been found of it.
#[derive(Debug)]
pub struct Offer {
    pub(in crate::gateway) upstream: usize,
    pub(in crate::gateway) version: Version,
    /// By whose rules, where that is not the client's own agent.
    pub(in crate::gateway) acting: Option<Box<Acting>>,
    names: Option<Vec<String>>,
    pattern: Option<String>,
    budget: Option<u64>,
    used: u64,
    /// Entries, with commas between.
    tools: String,
    returned: usize,
    /// Those that the client may use, asked for or not.
    available: usize,
    omitted: Vec<String>,
    omitted_count: usize,
}

impl Offer {
    /// Takes a tool that the client may use, if it was asked for and has room.
    pub(in crate::gateway) fn take(&mut self, entry: Json<'_>) {
        let Some(name) = entry.get("name").and_then(Json::as_str) else { return };
        self.available += 1;
        if self.names.as_ref().is_some_and(|names| !names.iter().any(|it| **it == *name))
            || self.pattern.as_ref().is_some_and(|pattern| !matches(pattern, &name))
        {
            return;
        }
        let cost = entry.text().len().div_ceil(BYTES_A_TOKEN) as u64;
        if self.budget.is_some_and(|budget| self.used.saturating_add(cost) > budget) {
            self.omitted_count += 1;
            if self.omitted.len() < OMITTED_MAX {
                self.omitted.push(name.into_owned());
            }
            return;
        }
        self.used = self.used.saturating_add(cost);
        self.returned += 1;
        if !self.tools.is_empty() {
            self.tools.push(',');
        }
        self.tools.push_str(entry.text());
    }

    /// The result, JSON text of an object.
    pub(in crate::gateway) fn json(&self, server: &str) -> String {
        let mut json = format!(
            "{{\"server\":{},\"tools\":[{}],\"total_available\":{},\"returned\":{},\"tokens_used\":{}",
            text::quoted(server),
            self.tools,
            self.available,
            self.returned,
            self.used,
        );
        if self.omitted_count > 0 {
            let names: Vec<String> = self.omitted.iter().map(|name| text::quoted(name)).collect();
            let note = format!(
                "{} more did not fit into max_tokens, by the estimate of a token for every {BYTES_A_TOKEN} bytes; \
                 ask for them by names, or with a larger budget",
                self.omitted_count
            );
            json.extend([",\"omitted\":[", &names.join(","), "],\"note\":", &text::quoted(&note)]);
        }
        json.push('}');
        // What a server wrote on several lines stands in one here.
        json.replace(['\n', '\r'], " ")
    }
}

impl Gateway {
    pub(super) fn get_server_tools(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let known = ["agent_id", "server", "names", "pattern", "max_tokens"];
        let read = arguments::read(asked.parsed.arguments, known).and_then(
            |[agent_id, server, names, pattern, budget]| {
                let server = arguments::needed(server, "server")?;
                let names = arguments::texts(names, "names")?;
                let pattern = arguments::text(pattern, "pattern")?;
                if pattern.as_ref().is_some_and(|pattern| pattern.len() > PATTERN_BYTES_MAX) {
                    let what =
                        format!("the argument pattern may have {PATTERN_BYTES_MAX} bytes at most");
                    return Err(what);
                }
                Ok((agent_id, server, names, pattern, arguments::count(budget, "max_tokens")?))
            },
        );
        let (agent_id, server, names, pattern, budget) = match read {
            Ok(read) => read,
            Err(what) => return self.reply_wrong(asked, &what, out),
        };
        if self.is_another_agent(asked, agent_id, out) {
            return;
        }
        let Some(upstream) = self.server_named(asked, &server, out) else { return };
        if self.is_server_denied(asked, upstream, out) {
            return;
        }
        let version = asked.version;
        let offer = Offer {
            upstream,
            version,
            acting: self.acting.clone(),
            names,
            pattern,
            budget,
            used: 0,
            tools: String::new(),
            returned: 0,
            available: 0,
            omitted: Vec::new(),
            omitted_count: 0,
        };
        // What is said of the connection goes along; name and arguments are ours.
        let meta = asked.parsed.meta_json.map_or("", Json::text);
        let params = match version.era() {
            Era::Modern => format!("{{\"_meta\":{meta}}}"),
            Era::Legacy => "{}".to_owned(),
        };
        let Ok(params) = Json::parse(&params) else { return };
        let parsed = crate::mcp::Params::read(params);
        let list = Asked { method: Method::ToolsList, params, parsed: &parsed, ..*asked };
        self.gather(now, &list, Purpose::Offer(Box::new(offer)), out);
    }
}

/// Whether a name matches a pattern in which `*` stands for anything, also for nothing. Takes time in
/// proportion to both: the first place where a piece fits is as good as any later one.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|head| name.strip_prefix(head)) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(piece) = last.replace(piece) {
            let Some(at) = rest.find(piece) else { return false };
            rest = rest.get(at + piece.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |tail| rest.ends_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, does) in [
            ("get_*", "get_user", true),
            ("get_*", "forget_user", false),
            ("*_user", "get_user", true),
            ("*file*", "read_file_text", true),
            ("*file*", "read_text", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "", true),
            ("", "", true),
            ("", "x", false),
            ("x", "x", true),
            ("x", "xx", false),
        ] {
            assert_eq!(matches(pattern, name), does, "{pattern} {name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_what_fits_behind_it_is_given() {
        let mut offer = Offer {
            upstream: 0,
            version: Version::LATEST,
            acting: None,
            names: None,
            pattern: None,
            budget: Some(10),
            used: 0,
            tools: String::new(),
            returned: 0,
            available: 0,
            omitted: Vec::new(),
            omitted_count: 0,
        };
        // 12, 52 and 12 bytes: 3, 13 and 3 tokens.
        let large = format!(r#"{{"name":"b","description":"{}"}}"#, "x".repeat(24));
        for text in [r#"{"name":"a"}"#, &large, r#"{"name":"c"}"#] {
            offer.take(Json::parse(text).unwrap());
        }
        let json: serde_json::Value = serde_json::from_str(&offer.json("s")).unwrap();
        assert_eq!(json["tokens_used"], 6);
        assert_eq!(json["returned"], 2);
        assert_eq!(json["total_available"], 3);
        assert_eq!(json["tools"][1]["name"], "c");
        assert_eq!(json["omitted"], serde_json::json!(["b"]));
        assert!(json["note"].as_str().unwrap().starts_with("1 more did not fit"));
    }
}
