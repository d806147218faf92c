//! Who may what, as it is configured: rules in each format, keys from each place, and what is wrong in them.

use super::*;
use crate::gateway::policy::Kind;

const AGENTS_JSON: &str = r#"{
  "agents": {
    "researcher": {"allow": {"servers": ["search"], "tools": {"search": ["*"]}}},
    "backend": {
      "allow": {"servers": ["db"], "tools": {"db": ["query", "list_*"]}, "resources": {"db": ["db://public/*"]}},
      "deny": {"tools": {"db": ["drop_*"]}, "prompts": {"*": ["admin_*"]}}
    },
    "default": {"deny": {"servers": ["*"]}}
  },
  "defaults": {"deny_on_missing_agent": false}
}"#;

const UPSTREAMS: &str = "[upstreams.search]\nbuiltin = true\n[upstreams.db]\nbuiltin = true\n";

#[test]
fn a_policy_means_the_same_in_json_toml_and_yaml() {
    let with_file = |name: &str, text: &str| {
        let folder = Folder::new();
        folder.write(name, text);
        let config = format!("{UPSTREAMS}[policy]\nfile = \"{name}\"\n");
        let config = Some(folder.write("c.toml", &config));
        let config = Config::load(&Sources { config, ..Sources::default() });
        config.map_err(|faults| folder.short(&faults)).unwrap()
    };
    let inline = toml(&format!(
        r#"{UPSTREAMS}
[policy.defaults]
deny_on_missing_agent = false
[policy.agents.researcher.allow]
servers = ["search"]
tools = {{ search = ["*"] }}
[policy.agents.backend.allow]
servers = ["db"]
tools = {{ db = ["query", "list_*"] }}
resources = {{ db = ["db://public/*"] }}
[policy.agents.backend.deny]
tools.db = ["drop_*"]
prompts."*" = ["admin_*"]
[policy.agents.default.deny]
servers = ["*"]
"#
    ))
    .unwrap();
    let rules = inline.policy.expect("there are rules");
    assert_eq!(rules.agents.len(), 3);
    assert!(!rules.deny_on_missing_agent);
    let json = with_file("rules.json", AGENTS_JSON);
    assert_eq!(json.warnings, []);
    assert_eq!(json.policy.as_ref(), Some(&rules));
    // JSON is YAML.
    assert_eq!(with_file("rules.yaml", AGENTS_JSON).policy, Some(rules));
    let policy = json.settings(1).unwrap().policy.expect("it is compiled");
    let agent = policy.agent(Some("backend"));
    assert!(policy.decide(agent, 1, Kind::Tool, "query").is_allowed);
    assert!(!policy.decide(agent, 1, Kind::Tool, "drop_x").is_allowed);
}

#[test]
fn without_rules_there_is_no_policy_and_with_any_strangers_are_denied() {
    assert_eq!(toml("").unwrap().policy, None);
    let some = toml("[policy.agents.a.allow]\nservers = [\"*\"]\n").unwrap().policy;
    assert!(some.expect("there are rules").deny_on_missing_agent);
}

#[test]
fn what_is_wrong_in_rules_is_told_with_its_place() {
    refused(
        "[policy.agents.a.allow]\nserver = [\"x\"]\n",
        "c.toml:2: policy.agents.a.allow.server: unknown key; did you mean \"servers\"?",
    );
    refused(
        "[policy.agents.a.allow]\nservers = [\"*a*\"]\n",
        "c.toml:2: policy.agents.a.allow.servers: the pattern \"*a*\": a pattern has one * at most; \
         the only wildcard is one *, as in \"get_*\", \"*_user\", \"get_*_user\" or \"*\"",
    );
    refused(
        "[policy.agents.a.deny]\ntools = { builtin = [\"get_[ab]\"] }\n",
        "c.toml:2: policy.agents.a.deny.tools.builtin: the pattern \"get_[ab]\": '[' stands in no name; \
         the only wildcard is one *, as in \"get_*\", \"*_user\", \"get_*_user\" or \"*\"",
    );
    refused(
        "[policy.agents.a.deny]\ntools = [\"drop\"]\n",
        "c.toml:2: policy.agents.a.deny.tools: expected a table from servers to lists, found a list of \
         tools; write { SERVER = [\"…\"] }; for all servers { \"*\" = [\"…\"] }",
    );
    refused(
        "[policy]\nfile = \"absent.json\"\n[policy.agents.a]\n",
        "c.toml:3: policy.agents: there are rules here and in policy.file; keep them in one of the two\n\
         c.toml:2: policy.file: absent.json cannot be read: No such file or directory (os error 2)",
    );
    let folder = Folder::new();
    folder.write(
        "r.json",
        "{\"agents\": {\n\"a\": {\"allow\": {\"servers\": 7}}},\n\"default\": {}}",
    );
    let config = Some(folder.write("c.toml", "[policy]\nfile = \"r.json\"\n"));
    let faults = Config::load(&Sources { config, ..Sources::default() }).unwrap_err();
    assert_eq!(
        folder.short(&faults),
        "r.json:3: default: unknown section; did you mean \"defaults\"?\n\
         r.json:2: agents.a.allow.servers: expected a list of texts such as [\"a\", \"b\"], found the number 7"
    );
}

#[test]
fn rules_for_what_there_is_not_are_kept_with_a_warning() {
    let (config, warnings) = load(
        &[(
            "c.toml",
            "[policy.agents.a.allow]\nservers = [\"biultin\"]\ntools = { builtin = [\"x\"] }\n",
        )],
        &[],
    )
    .unwrap();
    assert!(config.policy.is_some());
    assert_eq!(
        warnings,
        "c.toml:2: policy.agents.a.allow.servers: there is no upstream \"biultin\"; did you mean \"builtin\"?\n\
         c.toml:3: policy.agents.a.allow.tools.builtin: opens nothing: allow.servers does not name builtin; \
         add \"builtin\" to allow.servers"
    );
}

#[test]
fn keys_come_from_a_table_a_file_or_the_environment() {
    let key = crate::gateway::keys::key(&[7; 32]);
    let digest = Digest::of(key.as_bytes());
    let wanted = Some(vec![("alice".to_owned(), digest)]);
    assert_eq!(toml("").unwrap().keys, None);
    let table = format!("[auth.keys]\nalice = [\"{digest}\"]\n");
    assert_eq!(toml(&table).unwrap().keys, wanted);
    for value in [format!("{{ alice = \"{digest}\" }}"), format!("{{ alice = [\"{key}\"] }}")] {
        let (config, _) = load(&[], &[("RINGGATE_AUTH__KEYS", &value)]).unwrap();
        assert_eq!(config.keys, wanted, "a key itself may stand in the environment");
    }
    let folder = Folder::new();
    folder.write("keys.toml", &format!("alice = \"{digest}\"\n"));
    let config = Some(folder.write("c.toml", "[auth]\nkeys = \"keys.toml\"\n"));
    let config = Config::load(&Sources { config, ..Sources::default() }).unwrap();
    assert_eq!(config.keys, wanted);
    let keys = config.front(&Principals::default()).unwrap().keys.expect("they are asked for");
    let principal = keys.find(key.as_bytes()).expect("it is known");
    assert_eq!(config.settings(1).unwrap().principals.agent(principal), Some("alice"));
}

#[test]
fn what_is_wrong_with_keys_is_told_without_showing_them() {
    let key = crate::gateway::keys::key(&[7; 32]);
    let digest = Digest::of(key.as_bytes());
    refused(
        "[auth.keys]\nalice = \"secret\"\n",
        "c.toml:2: auth.keys.alice: expected the digest of a key, sha256: and 64 hexadecimal digits; \
         make a key and its digest with: ringgate keys new NAME",
    );
    refused(
        &format!("[auth.keys]\nalice = \"{key}\"\n"),
        "c.toml:2: auth.keys.alice: a key itself does not belong in a file: whoever reads the file has it; \
         write its digest: ringgate keys hash",
    );
    refused(
        &format!("[auth.keys]\nalice = \"{digest}\"\nbob = \"{digest}\"\n"),
        "c.toml:3: auth.keys.bob: this is also a key of alice; a key has one agent",
    );
    let rules = "[policy.agents.alice.allow]\nservers = [\"*\"]\n";
    let (_, warnings) =
        load(&[("c.toml", &format!("{rules}[auth.keys]\nalice2 = \"{digest}\"\n"))], &[]).unwrap();
    assert_eq!(
        warnings,
        "c.toml:4: auth.keys.alice2: there are no rules for \"alice2\"; did you mean \"alice\"?"
    );
}

#[test]
fn a_listener_has_the_agent_that_it_is_given() {
    let config =
        toml("[tcp]\nagent = \"a\"\n[stdio]\nagent = \"b\"\n[http]\nagent = \"a\"\n").unwrap();
    let settings = config.settings(1).unwrap();
    let agent = |principal| settings.principals.agent(principal);
    let entrances = settings.entrances;
    assert_eq!((agent(entrances.tcp), agent(entrances.http)), (Some("a"), Some("a")));
    assert_eq!((agent(entrances.stdio), agent(entrances.unix)), (Some("b"), None));
}

#[test]
fn the_audit_log_goes_where_it_is_told() {
    assert_eq!(toml("").unwrap().audit, None);
    assert_eq!(toml("[audit]\nto = \"off\"\n").unwrap().audit, None);
    let audit = toml("[audit]\nto = \"stdout\"\n").unwrap().audit;
    assert_eq!(audit, Some(Audit { to: AuditTo::Stdout, bytes_max: 100 << 20, keep: 5 }));
    let text = "[audit]\nto = \"/a/b\"\nfile_bytes_max = \"1MiB\"\nkeep = 0\n";
    let audit = toml(text).unwrap().audit;
    assert_eq!(
        audit,
        Some(Audit { to: AuditTo::File("/a/b".into()), bytes_max: 1 << 20, keep: 0 })
    );
}

#[test]
fn rates_are_limited_where_others_can_ask_or_where_it_is_said() {
    assert_eq!(toml("").unwrap().rates, None);
    let open = "[tcp]\nlisten = \"0.0.0.0:1\"\ni_understand_there_is_no_authentication = true\n";
    assert_eq!(toml(open).unwrap().rates, Some(Rates::DEFAULT));
    assert_eq!(toml(&format!("{open}[rates]\nenabled = false\n")).unwrap().rates, None);
    let rates = toml("[rates]\ncalls = 7\nall = 0\n").unwrap().rates;
    assert_eq!(rates, Some(Rates { calls: 7, all: 0, ..Rates::DEFAULT }));
    let text = "[rates]\nconnections = 3\nviolations = 0\nblock = \"1m\"\ntrusted = [\"10.0.0.0/8\", \"::1\"]\n";
    let config = toml(text).unwrap();
    let rates = config.rates.expect("it is said");
    assert_eq!((rates.connections, rates.violations), (3, 0));
    assert_eq!((rates.block, config.trusted.len()), (Duration::from_mins(1), 2));
    refused(
        "[rates]\ntrusted = [\"10.0.0.0/40\"]\n",
        "c.toml:2: rates.trusted: \"10.0.0.0/40\" is no network; write an address, or a network such as \
         \"10.0.0.0/8\" or \"fd00::/8\"",
    );
    refused("[rates]\ncall = 7\n", "c.toml:2: rates.call: unknown key; did you mean \"calls\"?");
}
