//! Upstreams with several endpoints, as they are configured, and what is wrong in them.

use super::*;
use crate::gateway::policy::Pattern;
use crate::gateway::settings::{Endpoint, Pool, Rank, Select};

const SEVERAL: &str = r#"
[upstreams.db]
select = "adaptive"
idempotent = ["query", "get_*"]
trust_annotations = true
era = "legacy"
[[upstreams.db.endpoints]]
url = "tcp://127.0.0.1:9001"
weight = 3
[[upstreams.db.endpoints]]
command = "sh"
args = ["-c", "cat"]
priority = 2
[[upstreams.db.endpoints]]
url = "unix:///run/x.sock"
"#;

fn rank(priority: u32, weight: u32) -> Rank {
    Rank { priority, weight }
}

#[test]
fn endpoints_are_read_in_their_order_with_their_ranks() {
    let config = toml(SEVERAL).unwrap();
    let [upstream] = config.upstreams.as_slice() else { panic!("one upstream") };
    assert_eq!(upstream.target, Target::Tcp { address: ([127, 0, 0, 1], 9001).into() });
    assert_eq!(upstream.prefix, "", "it is one upstream all the same");
    assert_eq!(upstream.era, EraPin::Legacy);
    let spread = &upstream.spread;
    assert_eq!(spread.rank, rank(1, 3));
    let child = Target::Stdio {
        command: "sh".into(),
        args: vec!["-c".into(), "cat".into()],
        env: BTreeMap::new(),
        cwd: None,
    };
    let socket = Target::Unix { path: "/run/x.sock".into() };
    assert_eq!(
        spread.others,
        [
            Endpoint { target: child, rank: rank(2, 1) },
            Endpoint { target: socket, rank: rank(1, 1) },
        ]
    );
    assert_eq!(spread.select, Select::Adaptive);
    let patterns = ["query", "get_*"].map(|text| Pattern::parse(text).unwrap());
    assert_eq!(spread.idempotent, patterns);
    assert!(spread.trusts_annotations);
}

#[test]
fn endpoints_mean_the_same_in_yaml() {
    let yaml = r#"
upstreams:
  db:
    select: adaptive
    idempotent: [query, "get_*"]
    trust_annotations: true
    era: legacy
    endpoints:
      - { url: "tcp://127.0.0.1:9001", weight: 3 }
      - { command: sh, args: ["-c", "cat"], priority: 2 }
      - { url: "unix:///run/x.sock" }
"#;
    let (config, _) = load(&[("c.yaml", yaml)], &[]).unwrap();
    assert_eq!(config.upstreams, toml(SEVERAL).unwrap().upstreams);
}

#[test]
fn what_is_wrong_in_an_endpoint_is_told_where_it_stands() {
    let a = "[upstreams.a]\n";
    let url = "[[upstreams.a.endpoints]]\nurl = \"tcp://127.0.0.1:1\"\n";
    for (text, wanted) in [
        (
            format!("{a}url = \"tcp://127.0.0.1:1\"\n{url}"),
            "c.toml:3: upstreams.a.endpoints: url and endpoints exclude each other; an upstream is \
             reached in one way; keep one of them",
        ),
        (
            format!("{a}endpoints = []\n"),
            "c.toml:2: upstreams.a.endpoints: names no endpoint; add [[upstreams.NAME.endpoints]] \
             with a url or a command",
        ),
        (
            format!("{a}endpoints = [1]\n"),
            "c.toml:2: upstreams.a.endpoints[0]: expected a table, found the number 1",
        ),
        (
            format!("{a}{url}[[upstreams.a.endpoints]]\nweight = 1\n"),
            "c.toml:4: upstreams.a.endpoints[1]: says nowhere how the server is reached; give it \
             one of command or url",
        ),
        (
            format!("{a}{url}prioriti = 2\n"),
            "c.toml:4: upstreams.a.endpoints[0].prioriti: unknown key; did you mean \"priority\"?",
        ),
        (
            format!("{a}{url}priority = 0\n"),
            "c.toml:4: upstreams.a.endpoints[0].priority: expected a whole number from 1 to 100, \
             found the number 0",
        ),
        (
            format!("{a}{url}args = [\"x\"]\n"),
            "c.toml:4: upstreams.a.endpoints[0].args: has no meaning beside url; it goes with \
             command; remove it",
        ),
        (
            format!("{a}select = \"adaptiv\"\n{url}{url}"),
            "c.toml:2: upstreams.a.select: expected \"round_robin\" or \"least_loaded\" or \
             \"least_latency\" or \"weighted\" or \"adaptive\", found the text \"adaptiv\"; did you \
             mean \"adaptive\"?",
        ),
        (
            format!("{a}idempotent = [\"a*b*\"]\n{url}{url}"),
            "c.toml:2: upstreams.a.idempotent: \"a*b*\": a pattern has one * at most; write a tool's \
             name, or one with a *: \"get_*\"",
        ),
        (
            format!("{a}{url}[[upstreams.a.endpoints]]\nurl = \"tcp://127.0.0.1:7420\"\n"),
            "c.toml:1: upstreams.a: is the gateway's own listener: it would ask itself; give the \
             server's address, or listen elsewhere",
        ),
    ] {
        refused(&text, wanted);
    }
}

#[test]
fn what_is_sent_to_all_endpoints_must_be_idempotent() {
    let of = |keys: &str| {
        let url = "[[upstreams.a.endpoints]]\nurl = \"tcp://127.0.0.1:1\"\n";
        toml(&format!("[upstreams.a]\n{keys}\n{url}{url}"))
    };
    let pattern = |text| Pattern::parse(text).unwrap();
    for keys in [
        "idempotent = [\"query\", \"get_*\"]\nmultiplex = [\"get_user\", \"query\", \"get_u*\", \"get_*\"]",
        "idempotent = [\"*\"]\nmultiplex = [\"get_user\", \"query\", \"get_u*\", \"get_*\"]",
    ] {
        let spread = &of(keys).unwrap().upstreams[0].spread;
        assert_eq!(spread.multiplex, ["get_user", "query", "get_u*", "get_*"].map(pattern));
    }
    for (idempotent, multiplexed) in [
        ("[]", "get_user"),
        ("[\"get_*\"]", "set_user"),
        ("[\"get_*\"]", "g*"),
        ("[\"get_*_user\"]", "get_*"),
        ("[\"get_a\"]", "get_*"),
    ] {
        let keys = format!("idempotent = {idempotent}\nmultiplex = [\"{multiplexed}\"]");
        assert_eq!(
            of(&keys).unwrap_err(),
            format!(
                "c.toml:3: upstreams.a.multiplex: \"{multiplexed}\" is not among the idempotent tools, and would \
                 be done by every endpoint; add it to idempotent if doing it several times does no more than once; \
                 else leave it out here"
            )
        );
    }
    let one = "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\npool.max = 2\nidempotent = [\"q\"]\nmultiplex = [\"q\"]\n";
    let (_, warnings) = load(&[("c.toml", one)], &[]).unwrap();
    assert_eq!(
        warnings,
        "c.toml:5: upstreams.a.multiplex: has no effect: there is one endpoint; a call that goes to all of them \
         needs several [[upstreams.NAME.endpoints]]"
    );
}

#[test]
fn what_goes_with_several_endpoints_only_is_a_warning_with_one() {
    let text = "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\nselect = \"weighted\"\n";
    let (_, warnings) = load(&[("c.toml", text)], &[]).unwrap();
    assert_eq!(
        warnings,
        "c.toml:3: upstreams.a.select: has no effect: there is one endpoint, and one connection to \
         it; it goes with several [[upstreams.NAME.endpoints]], or with a pool"
    );
}

#[test]
fn a_pool_has_a_least_and_a_most() {
    let pool = |keys: &str| {
        let text = format!("[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\n{keys}");
        toml(&text).map(|config| config.upstreams[0].spread.pool)
    };
    assert_eq!(pool(""), Ok(Pool { min: 1, max: 1 }));
    assert_eq!(pool("pool = { min = 2, max = 4 }"), Ok(Pool { min: 2, max: 4 }));
    assert_eq!(pool("pool = { max = 4 }"), Ok(Pool { min: 1, max: 4 }));
    assert_eq!(pool("pool.min = 3"), Ok(Pool { min: 3, max: 3 }));
    assert_eq!(
        pool("pool = { min = 3, max = 2 }").unwrap_err(),
        "c.toml:3: upstreams.a.pool: min (3) must not be above max (2); a pool has min connections \
         always, and max when there is much to do"
    );
    assert_eq!(
        pool("pool = { max = 65 }").unwrap_err(),
        "c.toml:3: upstreams.a.pool.max: expected a whole number from 1 to 64, found the number 65"
    );
    assert_eq!(
        toml("[upstreams.a]\nbuiltin = true\npool.max = 2\n").unwrap_err(),
        "c.toml:3: upstreams.a.pool: has no meaning beside builtin; it has no connections; remove it"
    );
}
