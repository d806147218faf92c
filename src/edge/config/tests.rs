//! The configuration from outside: what each kind of mistake says, what wins over what, and that TOML
//! and YAML mean the same.

mod access;
mod compression;
mod guard;
mod seeing;
mod spread;
mod tls;
mod tokens;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

/// A folder of its own for one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("ringgate-config-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A text that names files of this folder, shortened to their names.
    fn short(&self, text: &impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

fn load(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<(Config, String), String> {
    let folder = Folder::new();
    let mut sources = Sources::default();
    for (name, text) in files {
        let path = folder.write(name, text);
        if name.ends_with("mcp.json") {
            sources.mcp_json = Some(path);
        } else {
            sources.config = Some(path);
        }
    }
    sources.variables =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    // Programs of tests are found there whatever the machine; `sh` is everywhere.
    sources.variables.push(("PATH".into(), "/usr/bin:/bin".into()));
    let config = Config::load(&sources).map_err(|faults| folder.short(&faults))?;
    let mut warnings = String::new();
    for warning in &config.warnings {
        writeln!(warnings, "{}", folder.short(warning)).unwrap();
    }
    Ok((config, warnings.trim_end().to_owned()))
}

fn toml(text: &str) -> Result<Config, String> {
    load(&[("c.toml", text)], &[]).map(|(config, _)| config)
}

#[track_caller]
fn refused(text: &str, wanted: &str) {
    assert_eq!(toml(text).expect_err("is refused"), wanted);
}

#[test]
fn an_agent_id_is_believed_where_that_is_said_and_there_are_tools_that_take_one() {
    let trusts = |text: &str| toml(text).map(|config| config.trusts_agent_id);
    assert_eq!(trusts("[gateway]\nexpose = \"gateway-tools\"\n"), Ok(false));
    assert_eq!(trusts("[gateway]\nexpose = \"gateway-tools\"\ntrust_agent_id = true\n"), Ok(true));
}

#[test]
fn what_of_the_tools_is_exposed_is_one_of_three_words() {
    let expose = |text: &str| toml(text).map(|config| config.expose);
    assert_eq!(expose(""), Ok(Expose::Names));
    for (word, wanted) in
        [("names", Expose::Names), ("gateway-tools", Expose::GatewayTools), ("both", Expose::Both)]
    {
        assert_eq!(expose(&format!("[gateway]\nexpose = \"{word}\"\n")), Ok(wanted));
    }
    refused(
        "[gateway]\nexpose = \"gateway_tools\"\n",
        "c.toml:2: gateway.expose: expected \"names\" or \"gateway-tools\" or \"both\", found the text \"gateway_tools\"; did you mean \"gateway-tools\"?",
    );
}

#[test]
fn with_nothing_said_the_defaults_hold() {
    let (config, warnings) = load(&[], &[]).unwrap();
    assert_eq!(warnings, "");
    assert_eq!(config.tcp, Some("127.0.0.1:7420".parse().unwrap()));
    assert_eq!(config.unix, None);
    assert_eq!(config.limits, Limits::DEFAULT);
    assert_eq!(config.separator, "__");
    assert_eq!(config.shards, Shards::default());
    assert_eq!(config.log, Log::default());
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].name, "builtin");
    assert_eq!(config.upstreams[0].prefix, "");
    assert_eq!(config.upstreams[0].target, Target::Builtin { folder: None });
}

const EVERYTHING_TOML: &str = r#"
[tcp]
listen = "[::1]:9000"
[unix]
listen = "sock"
mode = "0660"
[shards]
count = 2
driver = "epoll"
ring_entries = 256
spin_us = 50
[gateway]
separator = "."
state_key = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
[limits]
frame_bytes_max = "1MiB"
outbox_bytes_max = 65536
request = "90s"
probe = 250
ask_rounds_max = 3
[upstreams.zeta]
command = "sh"
args = ["-c", "cat"]
env = { A = "1", B = "x" }
share = "always"
[upstreams.alpha]
url = "tcp://127.0.0.1:9001"
era = "legacy"
prefix = "first"
[upstreams.sock]
url = "unix:///run/x.sock"
era = "modern"
[upstreams.own]
builtin = true
folder = "."
[log]
level = "warn,ringgate=debug"
format = "json"
"#;

const EVERYTHING_YAML: &str = r#"
tcp:
  listen: "[::1]:9000"
unix: { listen: sock, mode: "0660" }
shards:
  count: 2
  driver: epoll
  ring_entries: 256
  spin_us: 50
gateway:
  separator: .
  state_key: 000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F
limits:
  frame_bytes_max: 1MiB
  outbox_bytes_max: 65536
  request: 90s
  probe: 250
  ask_rounds_max: 3
upstreams:
  zeta:
    command: sh
    args: [-c, cat]
    env: { A: 1, B: x }
    share: always
  alpha: { url: "tcp://127.0.0.1:9001", era: legacy, prefix: first }
  sock: { url: "unix:///run/x.sock", era: modern }
  own:
    builtin: true
    folder: .
log: { level: "warn,ringgate=debug", format: json }
"#;

#[test]
fn every_key_is_read_and_upstreams_keep_the_order_of_the_file() {
    let config = toml(EVERYTHING_TOML).unwrap();
    assert_eq!(config.tcp, Some("[::1]:9000".parse().unwrap()));
    let unix = config.unix.unwrap();
    assert!(unix.path.is_absolute() && unix.path.ends_with("sock"), "{:?}", unix.path);
    assert_eq!(unix.mode, 0o660);
    assert_eq!(
        config.shards,
        Shards { count: Count::Fixed(2), driver: Driver::Epoll, ring_entries: 256, spin_us: 50 }
    );
    assert_eq!(config.separator, ".");
    assert_eq!(config.state_key.unwrap(), std::array::from_fn(|at| u8::try_from(at).unwrap()));
    assert_eq!(config.limits.frame_bytes_max, 1 << 20);
    assert_eq!(config.limits.outbox_bytes_max, 65_536);
    assert_eq!(config.limits.request, Duration::from_secs(90));
    assert_eq!(config.limits.probe, Duration::from_millis(250));
    assert_eq!(config.limits.ask_rounds_max, 3);
    let names: Vec<_> =
        config.upstreams.iter().map(|up| (up.name.as_str(), up.prefix.as_str())).collect();
    assert_eq!(names, [("zeta", "zeta"), ("alpha", "first"), ("sock", "sock"), ("own", "own")]);
    assert_eq!(config.upstreams[0].share, Share::Always);
    assert_eq!(
        config.upstreams[0].target,
        Target::Stdio {
            command: "sh".into(),
            args: vec!["-c".into(), "cat".into()],
            env: [("A".into(), "1".into()), ("B".into(), "x".into())].into(),
            cwd: None,
        }
    );
    assert_eq!(config.upstreams[1].target, Target::Tcp { address: ([127, 0, 0, 1], 9001).into() });
    assert_eq!(config.upstreams[1].era, EraPin::Legacy);
    assert_eq!(config.upstreams[2].target, Target::Unix { path: "/run/x.sock".into() });
    assert_eq!(config.log, Log { level: "warn,ringgate=debug".into(), format: Format::Json });
}

#[test]
fn yaml_means_the_same_as_toml() {
    // One folder for both, since relative paths start there.
    let folder = Folder::new();
    let load = |name: &str, text: &str| {
        let config = Some(folder.write(name, text));
        Config::load(&Sources { config, ..Sources::default() }).map_or_else(
            |faults| panic!("{faults}"),
            |config| Config {
                places: ListenPlaces::default(),
                warnings: Vec::new(),
                files: Vec::new(),
                ..config
            },
        )
    };
    assert_eq!(load("c.toml", EVERYTHING_TOML), load("c.yaml", EVERYTHING_YAML));
}

#[test]
fn off_is_a_word_in_yaml_too() {
    let (config, _) = load(&[("c.yml", "tcp:\n  listen: off\n")], &[]).unwrap();
    assert_eq!(config.tcp, None);
    assert_eq!(toml("tcp.listen = \"off\"").unwrap().tcp, None);
}

#[test]
fn empty_files_and_empty_sections_are_no_error() {
    for (name, text) in [
        ("c.toml", ""),
        ("c.yaml", ""),
        ("c.yaml", "# only a comment\n"),
        ("c.yaml", "limits:\nupstreams:\n"),
    ] {
        assert!(load(&[(name, text)], &[]).is_ok(), "{name}: {text:?}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    refused(
        "[tcp]\nlisen = \"off\"\n",
        "c.toml:2: tcp.lisen: unknown key; did you mean \"listen\"?",
    );
    refused(
        "[limits]\n\nframe_byte_max = 1\n",
        "c.toml:3: limits.frame_byte_max: unknown key; did you mean \"frame_bytes_max\"?",
    );
    refused(
        "[upstreams.a]\ncomand = \"sh\"\nurl = \"tcp://127.0.0.1:1\"\n",
        "c.toml:2: upstreams.a.comand: unknown key; did you mean \"command\"?",
    );
    refused("[limit]\nrequest = 1\n", "c.toml:1: limit: unknown section; did you mean \"limits\"?");
}

#[test]
fn a_key_that_is_like_no_other_is_told_what_is_known() {
    refused(
        "[log]\nelephant = 1\n",
        "c.toml:2: log.elephant: unknown key; known here: level, format",
    );
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    refused(
        "[shards]\nspin_us = \"fast\"\n",
        "c.toml:2: shards.spin_us: expected a whole number from 0 to 10000, found the text \"fast\"",
    );
    refused(
        "[limits]\nrequest = \"soon\"\n",
        "c.toml:2: limits.request: expected a time such as \"30s\", \"500ms\" or a number of \
         milliseconds, found the text \"soon\"",
    );
    refused(
        "[limits]\nframe_bytes_max = [1]\n",
        "c.toml:2: limits.frame_bytes_max: expected a size such as \"4MiB\", \"100KiB\" or a number \
         of bytes, found a list",
    );
    refused("tcp = 5\n", "c.toml:1: tcp: expected a table, found the number 5");
    refused(
        "[upstreams.a]\ncommand = \"sh\"\nargs = \"-c\"\n",
        "c.toml:3: upstreams.a.args: expected a list of texts such as [\"a\", \"b\"], found the text \
         \"-c\"",
    );
    refused(
        "[upstreams.a]\ncommand = \"sh\"\nenv = { A = [1] }\n",
        "c.toml:3: upstreams.a.env.A: expected a text, found a list",
    );
}

#[test]
fn what_no_header_can_be_is_refused_without_being_shown() {
    let with = |header: &str| {
        format!("[upstreams.a]\nurl = \"http://127.0.0.1:1/mcp\"\nheaders = {{ {header} }}\n")
    };
    refused(
        &with(r#""x: y\r\nz" = "1""#),
        "c.toml:3: upstreams.a.headers: \"x: y\\r\\nz\" is no header's name",
    );
    refused(
        &with(r#"authorization = "Bearer secret\n""#),
        "c.toml:3: upstreams.a.headers: the value of authorization has a character that no header \
         can have; a line break at its end, most likely",
    );
    refused(
        &with(r#"Transfer-Encoding = "chunked""#),
        "c.toml:3: upstreams.a.headers: Transfer-Encoding is written by the gateway itself; remove it",
    );
}

#[test]
fn a_value_out_of_range_says_the_range() {
    refused(
        "[limits]\nframe_bytes_max = \"1B\"\n",
        "c.toml:2: limits.frame_bytes_max: expected a size from 1KiB to 4GiB, found the text \"1B\"",
    );
    refused(
        "[limits]\nrequest = 0\n",
        "c.toml:2: limits.request: expected a time from 1ms to 604800s, found the number 0",
    );
    assert_eq!(toml("[limits]\nlist_ttl = 0\n").unwrap().limits.list_ttl, Duration::ZERO);
    refused(
        "[limits]\nlist_ttl = 172800000\n",
        "c.toml:2: limits.list_ttl: expected a time from 0ns to 86400s, found the number 172800000",
    );
    refused(
        "[shards]\ncount = 0\n",
        "c.toml:2: shards.count: expected a whole number from 1 to 1024, found the number 0",
    );
    refused(
        "[shards]\nring_entries = 1000\n",
        "c.toml:2: shards.ring_entries: a ring's size is a power of two; 1000 is none; write 1024",
    );
    refused(
        "[unix]\nlisten = \"s\"\nmode = 600\n",
        "c.toml:3: unix.mode: expected permissions in octal such as \"0660\"; write them as a text",
    );
}

#[test]
fn a_word_that_is_no_choice_names_the_choices() {
    refused(
        "[shards]\ndriver = \"iouring\"\n",
        "c.toml:2: shards.driver: expected \"auto\" or \"io_uring\" or \"epoll\", found the text \
         \"iouring\"; did you mean \"io_uring\"?",
    );
    refused(
        "[log]\nformat = \"xml\"\n",
        "c.toml:2: log.format: expected \"text\" or \"json\", found the text \"xml\"",
    );
}

#[test]
fn limits_that_contradict_each_other_are_refused_where_one_was_written() {
    refused(
        "[limits]\nframe_bytes_max = \"16MiB\"\n",
        "c.toml:2: limits.frame_bytes_max: outbox_bytes_hard_max (16MiB) must hold two frames of \
         frame_bytes_max (16MiB); set limits.outbox_bytes_hard_max to \"32MiB\" or more",
    );
    refused(
        "[limits]\nconnect = \"2s\"\n",
        "c.toml:2: limits.connect: probe (10s) must be below connect (2s); after a probe that fails \
         there must be time for the initialize",
    );
}

#[test]
fn each_listener_has_a_max_of_connections() {
    let text = "[tcp]\nmax_connections = 5\n[http]\nmax_connections = 6\n[unix]\nmax_connections = 7\n\
                [limits]\nclients_max = 8\n";
    let limits = toml(text).unwrap().limits;
    let of = |limits: &Limits| {
        [limits.tcp_connections_max, limits.http_connections_max, limits.unix_connections_max]
    };
    assert_eq!((of(&limits), limits.clients_max), ([5, 6, 7], 8));
    assert_eq!(of(&toml("").unwrap().limits), [10_000; 3]);
    refused(
        "[tcp]\nmax_connections = 0\n",
        "c.toml:2: tcp.max_connections: expected a whole number from 1 to 10000000, found the number 0",
    );
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_sections() {
    refused(
        "[tcp]\nlisten = 1\n[limits]\nrequest = \"x\"\nwhat = 1\n[nonsense]\n",
        "c.toml:2: tcp.listen: expected an address such as \"127.0.0.1:7420\", or \"off\", found the \
         number 1\n\
         c.toml:4: limits.request: expected a time such as \"30s\", \"500ms\" or a number of \
         milliseconds, found the text \"x\"\n\
         c.toml:5: limits.what: unknown key; known here: frame_bytes_max, outbox_bytes_max, \
         outbox_bytes_hard_max, upstream_outbox_bytes_max, flights_per_link_max, flights_max, \
         clients_max, lanes_max, batch_messages_max, compress_bytes_min, subscriptions_max, subscription_bytes_max, uri_bytes_max, \
         session_bytes_max, list_pages_max, list_bytes_max, lists_bytes_max, list_ttl, ask_rounds_max, tokens_max, exchanged_max, tasks_max, task_bytes_max, tls_handshake, connect, probe, \
         request, task, form, ask_gather, verdict, \
         breaker_failures, breaker_open, breaker_successes, health, health_wait, lane_flights, retries, attempt, blocked, closing, notice, drain, \
         lane_idle, session_idle, sse_beat, head, body, keep_alive, \
         ws_ping, ws_idle, ws_fragments\n\
         c.toml:6: nonsense: unknown section; known here: tcp, http, unix, stdio, tls, shards, gateway, limits, \
         upstreams, policy, auth, guard, audit, rates, admin, traces, log",
    );
}

#[test]
fn broken_syntax_names_its_line_in_both_formats() {
    let error = toml("[tcp]\nlisten = \n[log]\nlevel = 'x\n").unwrap_err();
    let lines: Vec<_> = error.lines().collect();
    assert!(lines[0].starts_with("c.toml:2: not TOML: "), "{error}");
    assert!(lines.iter().any(|line| line.starts_with("c.toml:4: not TOML: ")), "{error}");
    refused("a = 1\na = 2\n", "c.toml:2: not TOML: duplicate key");
    let error = load(&[("c.yaml", "tcp:\n  listen: [\n")], &[]).unwrap_err();
    assert!(error.starts_with("c.yaml:") && error.contains("not YAML: "), "{error}");
    let error = load(&[("c.yaml", "tcp:\n  listen: off\n  listen: off\n")], &[]).unwrap_err();
    assert!(error.starts_with("c.yaml:3: not YAML: duplicate"), "{error}");
}

#[test]
fn yaml_faults_name_their_lines() {
    let error = load(&[("c.yaml", "tcp:\n  lisen: off\nlimits:\n  request: soon\n")], &[]);
    assert_eq!(
        error.unwrap_err(),
        "c.yaml:2: tcp.lisen: unknown key; did you mean \"listen\"?\n\
         c.yaml:4: limits.request: expected a time such as \"30s\", \"500ms\" or a number of \
         milliseconds, found the text \"soon\""
    );
    let error = load(&[("c.yaml", "- a\n- b\n")], &[]).unwrap_err();
    assert_eq!(error, "c.yaml:1: expected sections, found a list");
}

#[test]
fn a_file_of_no_known_format_says_how_to_name_it() {
    let error = load(&[("c.conf", "")], &[]).unwrap_err();
    assert_eq!(
        error,
        "c.conf:1: the name does not say which format it is; name it .toml, .yaml or .yml"
    );
    let error = load(&[("c.json", "{}")], &[]).unwrap_err();
    assert!(error.contains("goes to --mcp-json"), "{error}");
    let config = Some(Path::new("not-there.toml").into());
    let error = Config::load(&Sources { config, ..Sources::default() }).unwrap_err().to_string();
    assert!(error.starts_with("not-there.toml:1: cannot be read: No such file"), "{error}");
}

#[test]
fn a_listener_that_others_can_reach_needs_the_operators_word() {
    refused(
        "[tcp]\nlisten = \"0.0.0.0:7420\"\n",
        "c.toml:2: tcp.listen: 0.0.0.0:7420 can be reached from other machines, and there is no \
         authentication: whoever connects may call every tool; listen on 127.0.0.1; or set tcp.tls = true and \
         tls.client_auth = \"required\"; or set tcp.i_understand_there_is_no_authentication = true",
    );
    let config =
        toml("[tcp]\nlisten = \"0.0.0.0:7420\"\ni_understand_there_is_no_authentication = true\n");
    assert_eq!(config.unwrap().tcp, Some("0.0.0.0:7420".parse().unwrap()));
}

#[test]
fn variables_win_over_the_file_and_make_what_is_missing() {
    let file = "[tcp]\nlisten = \"127.0.0.1:1\"\n[limits]\nrequest = \"1s\"\n\
                [upstreams.my-server]\nurl = \"tcp://127.0.0.1:2\"\n";
    let (config, _) = load(
        &[("c.toml", file)],
        &[
            ("RINGGATE_TCP__LISTEN", "127.0.0.1:99"),
            ("RINGGATE_LIMITS__REQUEST", "2500"),
            ("RINGGATE_LIMITS__FRAME_BYTES_MAX", "2MiB"),
            ("RINGGATE_UPSTREAMS__MY_SERVER__ERA", "modern"),
            ("RINGGATE_UPSTREAMS__OTHER__COMMAND", "sh"),
            ("RINGGATE_UPSTREAMS__OTHER__ARGS", "[\"-c\", \"cat\"]"),
            ("RINGGATE_UPSTREAMS__OTHER__ENV", "{ A = \"b\" }"),
            ("RINGGATE_CACHE", "is not ours"),
            ("OTHER__THING", "neither"),
        ],
    )
    .unwrap();
    assert_eq!(config.tcp, Some("127.0.0.1:99".parse().unwrap()));
    assert_eq!(config.limits.request, Duration::from_millis(2_500));
    assert_eq!(config.limits.frame_bytes_max, 2 << 20);
    assert_eq!(config.upstreams[0].name, "my-server");
    assert_eq!(config.upstreams[0].era, EraPin::Modern);
    assert_eq!(config.upstreams[1].name, "other");
    assert_eq!(
        config.upstreams[1].target,
        Target::Stdio {
            command: "sh".into(),
            args: vec!["-c".into(), "cat".into()],
            env: [("A".into(), "b".into())].into(),
            cwd: None
        }
    );
}

#[test]
fn what_is_wrong_in_a_variable_is_told_under_its_name() {
    let told = |name: &str, value: &str| load(&[], &[(name, value)]).unwrap_err();
    assert_eq!(
        told("RINGGATE_TCP__LISEN", "off"),
        "RINGGATE_TCP__LISEN: tcp.lisen: unknown key; did you mean \"listen\"?"
    );
    assert_eq!(
        told("RINGGATE_TPC__LISTEN", "off"),
        "RINGGATE_TPC__LISTEN: tpc: unknown section; did you mean \"tcp\"?"
    );
    assert_eq!(
        told("RINGGATE_TCP_LISTEN", "off"),
        "RINGGATE_TCP_LISTEN: not a setting; write RINGGATE_TCP__LISTEN"
    );
    assert_eq!(
        told("RINGGATE_SHARDS__SPIN_US", "x"),
        "RINGGATE_SHARDS__SPIN_US: shards.spin_us: expected a whole number from 0 to 10000, found \
         the text \"x\""
    );
    assert_eq!(
        told("RINGGATE_UPSTREAMS__X", "x"),
        "RINGGATE_UPSTREAMS__X: names no key of an upstream; write RINGGATE_UPSTREAMS__<NAME>__<KEY>"
    );
}

#[test]
fn an_upstream_is_reached_in_exactly_one_way() {
    refused(
        "[upstreams.a]\nera = \"auto\"\n",
        "c.toml:1: upstreams.a: says nowhere how the server is reached; give it one of command, url \
         or builtin = true",
    );
    refused(
        "[upstreams.a]\ncommand = \"sh\"\nurl = \"tcp://127.0.0.1:1\"\n",
        "c.toml:3: upstreams.a.url: command and url exclude each other; an upstream is reached in \
         one way; keep one of them",
    );
    refused(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\nargs = []\n",
        "c.toml:3: upstreams.a.args: has no meaning beside url; it goes with command; remove it",
    );
    refused(
        "[upstreams.a]\nurl = \"http://127.0.0.1/mcp\"\ntls = {}\n",
        "c.toml:3: upstreams.a.tls: has no meaning here; it goes with https://, wss:// or tls://",
    );
    refused(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\nhttp2 = true\n",
        "c.toml:3: upstreams.a.http2: has no meaning here; HTTP/2 goes with an http:// URL; remove it",
    );
    refused(
        "[upstreams.a]\nbuiltin = true\nfolder = \"gone\"\n",
        "c.toml:3: upstreams.a.folder: there is no folder gone; create it, or mend the path",
    );
    refused(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:7420\"\n",
        "c.toml:1: upstreams.a: is the gateway's own listener: it would ask itself; give the \
         server's address, or listen elsewhere",
    );
}

#[test]
fn names_that_collide_are_refused_with_both_places() {
    refused(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\n\n[upstreams.b]\nurl = \"tcp://127.0.0.1:2\"\n\
         prefix = \"a\"\n",
        "c.toml:6: upstreams.b: the prefix \"a\" is also that of upstream \"a\" at c.toml:1; give \
         one of them another prefix",
    );
    refused(
        "[upstreams.a_b]\nurl = \"tcp://127.0.0.1:1\"\n[upstreams.a-b]\nurl = \"tcp://127.0.0.1:2\"\n",
        "c.toml:3: upstreams.a-b: the URI scheme \"a-b\" of its resources is also that of upstream \
         \"a_b\" at c.toml:1; give one of them another prefix",
    );
    refused(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\n[upstreams.a__b]\nurl = \"tcp://127.0.0.1:2\"\n",
        "c.toml:3: upstreams.a__b: names starting \"a__b__\" cannot be told from those of upstream \
         \"a\" at c.toml:1, \"a__\"; give one of them another prefix",
    );
}

#[test]
fn a_name_that_cannot_be_a_prefix_matters_only_among_several() {
    let one = "[upstreams.\"my server\"]\nurl = \"tcp://127.0.0.1:1\"\n";
    assert_eq!(toml(one).unwrap().upstreams[0].prefix, "");
    refused(
        &format!("{one}[upstreams.b]\nurl = \"tcp://127.0.0.1:2\"\n"),
        "c.toml:1: upstreams.my server: the prefix \"my server\" holds ' ', which no tool name may; \
         several upstreams need prefixes; rename it, or add prefix = \"my-server\"",
    );
    refused(
        "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\nprefix = \"9\"\n",
        "c.toml:3: upstreams.a.prefix: the prefix \"9\" does not start with a letter, as a URI \
         scheme must; write one of letters, digits, _ . -, starting with a letter",
    );
}

#[test]
fn a_state_key_comes_from_a_file_too_and_is_never_shown() {
    let folder = Folder::new();
    folder.write("key", &format!("{}\n", "ab".repeat(32)));
    let config = folder.write("c.toml", "[gateway]\nstate_key = \"file:key\"\n");
    let sources = Sources { config: Some(config), ..Sources::default() };
    assert_eq!(Config::load(&sources).unwrap().state_key, Some([0xab; 32]));
    refused(
        "[gateway]\nstate_key = \"secret\"\n",
        "c.toml:2: gateway.state_key: expected 64 hexadecimal digits, or \"file:PATH\" of a file \
         that holds them; make one with: openssl rand -hex 32",
    );
}

#[test]
fn a_program_that_is_not_there_is_only_a_warning() {
    let file = "[upstreams.a]\ncommand = \"no-such-program-here\"\n";
    let (config, warnings) = load(&[("c.toml", file)], &[]).unwrap();
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(
        warnings,
        "c.toml:2: upstreams.a.command: no program \"no-such-program-here\" in PATH; install it, or \
         write its whole path"
    );
}

#[test]
fn an_mcp_json_of_each_editor_is_read() {
    for text in [
        r#"{"mcpServers": {"time": {"command": "sh", "args": ["-c", "${CMD}"], "env": {"T": "${T:-x}"}}}}"#,
        r#"{"inputs": [], "servers": {"time": {"type": "stdio", "command": "sh", "args": ["-c", "${env:CMD}"], "env": {"T": "x"}}}}"#,
        r#"{"mcp": {"servers": {"time": {"command": "sh", "args": ["-c", "${CMD}"], "env": {"T": "x"}, "autoApprove": []}}}} // code"#,
        r#"{"mcpServers": {"time": {"command": "sh", "args": ["-c", "cat",], "env": {"T": "x"}, "cwd": null}, "off": {"command": "gone", "args": ["${GONE}"], "disabled": true}}}"#,
    ] {
        let (config, warnings) = load(&[("mcp.json", text)], &[("CMD", "cat")]).unwrap();
        assert_eq!(warnings, "", "{text}");
        assert_eq!(config.upstreams.len(), 1, "{text}");
        assert_eq!(config.upstreams[0].name, "time");
        assert_eq!(
            config.upstreams[0].target,
            Target::Stdio {
                command: "sh".into(),
                args: vec!["-c".into(), "cat".into()],
                env: [("T".into(), "x".into())].into(),
                cwd: None,
            },
            "{text}"
        );
    }
}

#[test]
fn what_an_mcp_json_holds_that_cannot_be_served_is_left_out_with_a_warning() {
    let text = "{\"mcpServers\": {\n\
                \"web\": {\"type\": \"grpc\", \"url\": \"https://x/mcp\"},\n\
                \"sse\": {\"type\": \"sse\", \"url\": \"http://127.0.0.1:9/sse\"},\n\
                \"My Tools\": {\"command\": \"sh\", \"agrs\": []},\n\
                \"near\": {\"url\": \"tcp://127.0.0.1:5\"}\n}}";
    let (config, warnings) = load(&[("mcp.json", text)], &[]).unwrap();
    assert_eq!(
        warnings,
        "mcp.json:2: mcpServers.web: ignored: servers of type \"grpc\" are not served yet\n\
         mcp.json:4: mcpServers.My Tools.agrs: ignored: unknown key; did you mean \"args\"?\n\
         mcp.json:4: upstreams.My Tools: the name cannot stand before tool names; \"My-Tools\" does"
    );
    let prefixes: Vec<_> = config.upstreams.iter().map(|up| up.prefix.as_str()).collect();
    assert_eq!(prefixes, ["sse", "My-Tools", "near"]);
    let Target::Http(sse) = &config.upstreams[0].target else { panic!("an HTTP server") };
    assert_eq!((sse.speaks, sse.path.as_str()), (crate::gateway::settings::Speaks::Sse, "/sse"));
}

#[test]
fn an_mcp_json_joins_the_configuration_and_collides_with_both_places() {
    let file = "[upstreams.a]\nurl = \"tcp://127.0.0.1:1\"\n";
    let other = r#"{"mcpServers": {"b": {"command": "sh"}}}"#;
    let (config, _) = load(&[("c.toml", file), ("mcp.json", other)], &[]).unwrap();
    let names: Vec<_> = config.upstreams.iter().map(|up| up.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let same = "{\"mcpServers\": {\n\"a\": {\"command\": \"sh\"}}}";
    assert_eq!(
        load(&[("c.toml", file), ("mcp.json", same)], &[]).unwrap_err(),
        "mcp.json:2: upstreams.a: there is another upstream of this name at c.toml:1; rename one of \
         them"
    );
}

#[test]
fn a_broken_mcp_json_says_where_and_what() {
    for (text, wanted) in [
        ("{\n", "mcp.json:2: not JSON: EOF while parsing an object"),
        ("[]", "mcp.json:1: expected an object, found a list"),
        (
            "{\n\"mcpServer\": {}}",
            "mcp.json:2: mcpServer: no servers: there is no key \"mcpServers\"; did you mean \
             \"mcpServers\"?",
        ),
        (
            "{\"mcpServers\":{\n\"a\": {\"command\": \"sh\", \n\"args\": [\"${NO}\"]}}}",
            "mcp.json:3: mcpServers.a.args: ${NO}: the variable NO is not set; set NO, or write \
             ${NO:-default}",
        ),
        (
            "{\"mcpServers\":{\"a\": {}}}",
            "mcp.json:1: upstreams.a: says nowhere how the server is reached; give it one of \
             command, url or builtin = true",
        ),
        (
            "{\"mcpServers\":{\"a\": {\"command\": \"sh\"},\n\"a\": {\"command\": \"sh\"}}}",
            "mcp.json:2: a: written twice; first at mcp.json:1; keep one of them",
        ),
        (
            "{\"mcpServers\":{\"a\": 5}}",
            "mcp.json:1: mcpServers.a: expected an object, found the number 5",
        ),
    ] {
        assert_eq!(load(&[("mcp.json", text)], &[]).unwrap_err(), wanted, "{text}");
    }
}

#[test]
fn settings_carry_what_the_domain_needs_and_draw_the_keys_that_nobody_chose() {
    let config = toml("[gateway]\nseparator = \"-\"\n").unwrap();
    let (one, other) = (config.settings(2).unwrap(), config.settings(2).unwrap());
    assert_eq!(one.shards, 2);
    assert_eq!(one.separator, "-");
    assert_eq!(one.upstreams, config.upstreams);
    assert_ne!(one.state_key, other.state_key);
    assert_ne!(one.nonce_seed, other.nonce_seed);
    let key = format!("[gateway]\nstate_key = \"{}\"\n", "07".repeat(32));
    let config = toml(&key).unwrap();
    assert_eq!(config.settings(1).unwrap().state_key, [7; 32]);
}
