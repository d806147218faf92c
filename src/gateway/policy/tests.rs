//! What rules mean, from outside: order, wildcards, agents without rules, and the words of a reason.

use super::*;

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn lists(lists: &[(&str, &[&str])]) -> Lists {
    lists.iter().map(|(server, texts)| (Pattern::parse(server).unwrap(), patterns(texts))).collect()
}

/// Three upstreams (`search`, `db`, `mail`) and the agents of the examples that operators start from.
pub(super) fn policy() -> Policy {
    let agent = |name: &str, allow: Side, deny: Side| Agent { name: name.to_owned(), allow, deny };
    let rules = Rules {
        deny_on_missing_agent: false,
        agents: vec![
            agent(
                "researcher",
                Side { servers: patterns(&["search"]), ..Side::default() },
                Side::default(),
            ),
            agent(
                "backend",
                Side {
                    servers: patterns(&["db", "mail"]),
                    tools: lists(&[("db", &["query", "list_*", "*_user"])]),
                    resources: lists(&[("db", &["db://public/*"])]),
                    ..Side::default()
                },
                Side {
                    tools: lists(&[("*", &["drop_*"])]),
                    resources: lists(&[("*", &["mail://secret/*"])]),
                    ..Side::default()
                },
            ),
            agent(
                "admin",
                Side {
                    servers: patterns(&["*"]),
                    tools: lists(&[("*", &["*"])]),
                    ..Side::default()
                },
                Side { servers: patterns(&["mail"]), ..Side::default() },
            ),
            agent(
                "default",
                Side::default(),
                Side { servers: patterns(&["*"]), ..Side::default() },
            ),
        ],
    };
    Policy::compile(&rules, ["search", "db", "mail"])
}

#[track_caller]
fn decided(agent: Option<&str>, upstream: usize, kind: Kind, name: &str, wanted: bool, why: &str) {
    let policy = policy();
    let decision = policy.decide(policy.agent(agent), upstream, kind, name);
    assert_eq!(policy.text(decision.reason), why);
    assert_eq!(decision.is_allowed, wanted, "{why}");
}

#[test]
fn a_server_that_is_allowed_and_not_narrowed_is_allowed_whole() {
    let why = "agents.researcher.allow.servers: search";
    for kind in Kind::ALL {
        decided(Some("researcher"), 0, kind, "anything", true, why);
    }
    let why = "agents.researcher.allow.servers: does not name it";
    decided(Some("researcher"), 1, Kind::Tool, "query", false, why);
}

#[test]
fn of_a_server_that_a_list_mentions_only_what_is_listed_is_allowed() {
    let db = |name, wanted, why| decided(Some("backend"), 1, Kind::Tool, name, wanted, why);
    db("query", true, "agents.backend.allow.tools.db: query");
    db("list_tables", true, "agents.backend.allow.tools.db: list_*");
    db("get_user", true, "agents.backend.allow.tools.db: *_user");
    db("insert", false, "agents.backend.allow.tools.db: does not name it");
    // A list of tools does not open the prompts.
    let why = "agents.backend.allow.prompts.db: does not name it";
    decided(Some("backend"), 1, Kind::Prompt, "query", false, why);
}

#[test]
fn deny_comes_before_allow() {
    let why = "agents.backend.deny.tools.*: drop_*";
    decided(Some("backend"), 1, Kind::Tool, "drop_user", false, why);
    decided(Some("backend"), 2, Kind::Tool, "drop_all", false, why);
    decided(Some("backend"), 2, Kind::Tool, "send", true, "agents.backend.allow.servers: mail");
    let why = "agents.admin.deny.servers: mail";
    decided(Some("admin"), 2, Kind::Tool, "send", false, why);
    decided(Some("admin"), 1, Kind::Tool, "drop_all", true, "agents.admin.allow.tools.*: *");
}

#[test]
fn a_resource_is_judged_by_every_spelling_of_its_uri() {
    let why = "agents.backend.allow.resources.db: db://public/*";
    decided(Some("backend"), 1, Kind::Resource, "db://public/a", true, why);
    let why = "agents.backend.allow.resources.db: does not name it";
    for uri in ["db://public/../private/a", "db://private/a", "db://x/%2e%2e/public/a"] {
        decided(Some("backend"), 1, Kind::Resource, uri, false, why);
    }
    let why = "agents.backend.deny.resources.*: mail://secret/*";
    for uri in [
        "mail://secret/a",
        "mail://SECRET/a",
        "MAIL://secret/a",
        "mail://%73ecret/a",
        "mail://secret/../b",
        "mail://sec\tret/a",
        "mail://%73ecret/a?/../../open/b",
        "mail://%73ecret/a#/../../open/b",
    ] {
        decided(Some("backend"), 2, Kind::Resource, uri, false, why);
    }
}

#[test]
fn a_file_is_denied_however_it_is_named_and_allowed_by_its_name_only() {
    let files = |texts: &[&str]| Side {
        servers: patterns(&["*"]),
        resources: lists(&[("*", texts)]),
        ..Side::default()
    };
    let agent = |name: &str, allow: Side, deny: Side| Agent { name: name.to_owned(), allow, deny };
    let denying = Side {
        servers: Vec::new(),
        ..files(&["file:///srv/secret/*", "file:///srv/one.txt", "https://host/secret/*"])
    };
    let all = Side { servers: patterns(&["*"]), ..Side::default() };
    let agents = vec![
        agent("denied", all, denying),
        agent("allowed", files(&["file:///srv/public/*", "file:///srv/*.txt"]), Side::default()),
    ];
    let policy = Policy::compile(&Rules { deny_on_missing_agent: true, agents }, ["s"]);
    let may = |agent: &str, uri: &str| {
        policy.decide(policy.agent(Some(agent)), 0, Kind::Resource, uri).is_allowed
    };
    for uri in [
        "file:///srv/secret/x",
        "file://localhost/srv/secret/x",
        "file://other/srv/secret/x",
        "file:/srv/secret/x",
        "file:srv/secret/x",
        " file:///srv/secret/x",
        "file:///srv/se\ncret/x",
        "file:///srv/%73ecret/x?/../../public/y",
        "file:///srv/public?/../secret/x",
        "file:///srv/one.txt?",
        "file:///srv/one.txt#part",
        "https://host/../secret/x",
        "https:/host/secret/x",
        "https://me@host:443/secret/x",
    ] {
        assert!(!may("denied", uri), "{uri}");
    }
    assert!(may("denied", "file:///srv/public/secret?x=1") && may("denied", "https://host/open"));
    for uri in [
        "file:///srv/public/.\t./secret/x",
        "file:///srv/public/\n../secret/x",
        "file:///srv/key?.txt",
        "file:///srv/key#.txt",
        "file:///srv/public/a?/../../secret",
    ] {
        assert!(!may("allowed", uri), "{uri}");
    }
    for uri in ["file:///srv/public/a", "file:///srv/public/a?b=1", "file:///srv/b.txt"] {
        assert!(may("allowed", uri), "{uri}");
    }
}

#[test]
fn an_agent_without_rules_has_those_of_default_unless_that_is_denied() {
    let why = "agents.default.deny.servers: *";
    decided(Some("stranger"), 0, Kind::Tool, "x", false, why);
    decided(None, 0, Kind::Tool, "x", false, why);
    let rules = |deny_on_missing_agent, agents| Rules { deny_on_missing_agent, agents };
    let open = Agent {
        name: DEFAULT_AGENT.to_owned(),
        allow: Side { servers: patterns(&["*"]), ..Side::default() },
        deny: Side::default(),
    };
    for (rules, wanted, why) in [
        (rules(false, vec![open.clone()]), true, "agents.default.allow.servers: *"),
        (
            rules(true, vec![open]),
            false,
            "defaults.deny_on_missing_agent: there are no rules for this agent",
        ),
        (
            rules(false, Vec::new()),
            false,
            "agents: there are no rules for this agent, and none for \"default\"",
        ),
    ] {
        let policy = Policy::compile(&rules, ["s"]);
        let decision = policy.decide(policy.agent(None), 0, Kind::Tool, "x");
        assert_eq!(decision.is_allowed, wanted);
        assert_eq!(policy.text(decision.reason), why);
    }
}

#[test]
fn a_server_is_seen_by_who_may_use_anything_of_it() {
    let policy = policy();
    let sees = |name, upstream| policy.decide_server(policy.agent(Some(name)), upstream).is_allowed;
    assert!(sees("backend", 1) && sees("backend", 2) && !sees("backend", 0));
    assert!(sees("admin", 0) && !sees("admin", 2) && !sees("stranger", 0));
    assert!(!sees("admin", 3), "an upstream that there is not");
}
