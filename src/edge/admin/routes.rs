//! What is asked of the admin listener, and what it answers.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use signal_hook::consts::SIGTERM;

use super::access::{Access, Admitted, Refused};
use super::gather::{Gathered, Gatherer};
use super::overview::Watch;
use super::process::Process;
use super::recent::Recent;
use super::{families, metrics};
use crate::edge::log;
use crate::gateway::census::Standing;
use crate::wire::http1::Head;

const PAGE: &str = include_str!("dashboard.html");
/// In the page, where its nonce goes.
const NONCE: &str = "NONCE";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is answered, whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) const fn new(status: u16, kind: &'static str, body: String) -> Self {
        Self { status, kind, headers: Vec::new(), body }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self::new(status, JSON, format!("{body}\n"))
    }

    pub(super) fn wrong(status: u16, what: &str) -> Self {
        Self::json(status, &json!({"error": what}))
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The signal that comes next is of the admin listener.
pub(in crate::edge) static LEAVE_ASKED: AtomicBool = AtomicBool::new(false);

/// See the module.
pub(super) struct Desk {
    access: Access,
    gatherer: Gatherer,
    recent: Recent,
    /// A drain was asked for here.
    has_drained: AtomicBool,
}

impl Desk {
    pub(super) const fn new(access: Access, gatherer: Gatherer) -> Self {
        Self { access, gatherer, recent: Recent::new(), has_drained: AtomicBool::new(false) }
    }

    /// For who wants to be told for as long as they listen.
    pub(super) const fn watch(&self) -> Watch<'_> {
        Watch::new(&self.gatherer)
    }

    /// `None`: it wants just that.
    pub(super) fn answer(&self, head: &Head<'_, '_>, body: &[u8]) -> Option<Answer> {
        let who = match self.access.judge(head) {
            Ok(who) => who,
            Err(Refused::Host) => {
                return Some(Answer::wrong(421, "this name is not served here: see admin.hosts"));
            }
            Err(Refused::Origin) => {
                return Some(Answer::wrong(403, "a page of another origin may not do this"));
            }
            Err(Refused::Key) => {
                let challenge = "Basic realm=\"ringgate admin\", Bearer realm=\"ringgate admin\"";
                let answer = Answer::wrong(401, "an admin key is needed: Authorization: Bearer …");
                return Some(answer.header("www-authenticate", challenge));
            }
        };
        let method = if head.method == "HEAD" { "GET" } else { head.method };
        Some(match (method, head.path) {
            ("GET", "/" | "/dashboard") => page(),
            ("GET", "/events") => {
                return (head.method == "HEAD")
                    .then(|| Answer::new(200, "text/event-stream", String::new()));
            }
            ("GET", "/metrics") => Answer::new(200, TEXT, families::text(&self.families())),
            ("GET", "/metrics.json") => Answer::new(200, JSON, families::json(&self.families())),
            ("GET", "/health") => health(&self.recent.get(&self.gatherer), who),
            ("GET", "/ready") => ready(&self.recent.get(&self.gatherer)),
            ("POST", "/drain") => self.drain(),
            ("GET", "/log-level") => Answer::json(200, &json!({"level": log::level()})),
            ("PUT", "/log-level") => set_level(body),
            (_, "/log-level") => not_allowed("GET, PUT"),
            (_, "/drain") => not_allowed("POST"),
            (
                _,
                "/" | "/dashboard" | "/events" | "/metrics" | "/metrics.json" | "/health"
                | "/ready",
            ) => not_allowed("GET"),
            _ => Answer::wrong(
                404,
                "there is nothing here: see /, /metrics, /health, /ready, /log-level",
            ),
        })
    }

    fn families(&self) -> Vec<families::Family> {
        metrics::families(&self.gatherer.gather(), &Process::read())
    }

    /// By the way that SIGTERM goes, so that there is one; but a signal that comes besides is not the second, which
    /// would end at once.
    fn drain(&self) -> Answer {
        if !self.has_drained.swap(true, Ordering::AcqRel) {
            tracing::warn!("a drain was asked for by the admin listener");
            LEAVE_ASKED.store(true, Ordering::Release);
            self.recent.forget();
            if let Err(error) = signal_hook::low_level::raise(SIGTERM) {
                return Answer::wrong(500, &format!("the drain cannot begin: {error}"));
            }
        }
        Answer::json(202, &json!({"status": "draining"}))
    }
}

fn page() -> Answer {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        return Answer::wrong(500, &format!("no random numbers: {error}"));
    }
    let mut nonce = String::with_capacity(32);
    for byte in random {
        // Writing to a text does not fail.
        let _ = write!(nonce, "{byte:02x}");
    }
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Answer::new(200, HTML, PAGE.replace(NONCE, &nonce)).header("content-security-policy", &policy)
}

/// Lives, and how its parts do. A server that is down is no fault of the gateway's. Names, of servers and of the version,
/// are the operator's to know.
fn health(gathered: &Gathered, who: Admitted) -> Answer {
    let missing = gathered.shards.iter().filter(|shard| shard.is_none()).count();
    let mut body = json!({"status": if missing == 0 { "ok" } else { "degraded" }});
    if who == Admitted::Operator {
        let upstreams: serde_json::Map<String, Value> = gathered
            .upstreams()
            .iter()
            .map(|whole| (whole.census.name.clone(), whole.census.standing.name().into()))
            .collect();
        body["version"] = env!("CARGO_PKG_VERSION").into();
        body["uptimeSeconds"] = (gathered.micros() / 1_000_000).into();
        body["components"] = json!({
            "shards": {"count": gathered.shards.len(), "notAnswering": missing},
            "upstreams": upstreams,
        });
    }
    Answer::json(if missing == 0 { 200 } else { 503 }, &body)
}

/// As the listener of clients says it, from what all shards say.
fn ready(gathered: &Gathered) -> Answer {
    let upstreams = gathered.upstreams();
    let are = |standing| upstreams.iter().filter(|it| it.census.standing == standing).count();
    let (status, word) = if gathered.is_draining() {
        (503, "draining")
    } else if are(Standing::Starting) > 0 || gathered.shards.iter().any(Option::is_none) {
        (503, "starting")
    } else {
        (200, "ready")
    };
    let (all, down) = (upstreams.len(), are(Standing::Down));
    Answer::json(status, &json!({"status": word, "upstreams": all, "upstreamsDown": down}))
}

/// The level as it is, or as `{"level": …}`.
fn set_level(body: &[u8]) -> Answer {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    let object: Option<Value> = serde_json::from_str(text).ok();
    let level = match &object {
        Some(Value::String(level)) => level,
        Some(object) => object["level"].as_str().unwrap_or_default(),
        None => text,
    };
    if level.is_empty() {
        return Answer::wrong(
            400,
            "write a level such as debug, or directives such as warn,ringgate=debug",
        );
    }
    match log::set(level) {
        Ok(()) => Answer::json(200, &json!({"level": log::level()})),
        Err(error) => Answer::wrong(400, &error),
    }
}

fn not_allowed(allowed: &str) -> Answer {
    Answer::wrong(405, &format!("only {allowed} here")).header("allow", allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_runs_what_is_ours_and_nothing_else() {
        let (one, other) = (page(), page());
        let policy = |answer: &Answer| answer.headers[0].1.clone();
        assert_ne!(policy(&one), policy(&other), "a nonce is used once");
        let nonce =
            policy(&one).split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert_eq!(one.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "script and style");
        assert!(!one.body.contains(NONCE));
        for outside in ["src=", "@import", "url(", "style=\"", "onclick="] {
            assert!(!one.body.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for wrong in ["", "{}", "{\"level\":3}", "ringgate=lots"] {
            assert_eq!(set_level(wrong.as_bytes()).status, 400, "{wrong}");
        }
    }

    #[test]
    fn who_shows_no_key_learns_how_it_goes_and_no_names() {
        let gathered = Gathered { shards: vec![None], meters: Vec::new(), spans: None };
        let told = health(&gathered, Admitted::Anybody);
        assert_eq!((told.status, told.body.as_str()), (503, "{\"status\":\"degraded\"}\n"));
        let told = health(&gathered, Admitted::Operator);
        assert!(told.body.contains("\"upstreams\":{}"), "{}", told.body);
    }

    #[test]
    fn a_shard_that_is_silent_is_not_ready() {
        let gathered = Gathered { shards: vec![None], meters: Vec::new(), spans: None };
        assert_eq!(ready(&gathered).status, 503);
        let gathered = Gathered { shards: Vec::new(), meters: Vec::new(), spans: None };
        assert_eq!(ready(&gathered).status, 200);
    }
}
