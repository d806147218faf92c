//! The program from outside, where no gateway runs: exit codes, what is printed where, and that every
//! error says what to do.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs the program without a terminal and without settings from the environment of whoever tests.
fn ringgate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringgate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGGATE_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file in this test binary's own folder.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("can write");
    path
}

#[test]
fn a_right_configuration_is_summed_up() {
    let path = file(
        "right.toml",
        "[tcp]\nlisten = \"off\"\n[upstreams.one]\nurl = \"tcp://127.0.0.1:1\"\n[upstreams.two]\nbuiltin = true\n",
    );
    let done = ringgate(&["check", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(
        text(&done.stdout),
        "the configuration is right\ntcp off, unix off\nupstream one: names one__…\nupstream two: names two__…\n"
    );
    assert_eq!(text(&done.stderr), "");
}

#[test]
fn a_wrong_one_is_told_on_stderr_and_neither_checked_nor_served() {
    let path = file("wrong.toml", "[tcp]\nlisen = 1\n\n[limits]\nrequest = true\n");
    let path = path.to_str().unwrap();
    for command in ["check", "serve"] {
        let done = ringgate(&[command, "--config", path], &[]);
        assert_eq!(done.status.code(), Some(2), "{command}");
        assert_eq!(text(&done.stdout), "");
        assert_eq!(
            text(&done.stderr),
            format!(
                "{path}:2: tcp.lisen: unknown key; did you mean \"listen\"?\n\
                 {path}:5: limits.request: expected a time such as \"30s\", \"500ms\" or a number of \
                 milliseconds, found the boolean true\n"
            )
        );
    }
}

#[test]
fn variables_win_and_are_named_when_they_are_wrong() {
    let path = file("variables.toml", "[tcp]\nlisten = \"127.0.0.1:5\"\n");
    let arguments = ["check", "--config", path.to_str().unwrap()];
    let done = ringgate(&arguments, &[("RINGGATE_TCP__LISTEN", "127.0.0.1:6")]);
    assert!(text(&done.stdout).contains("tcp 127.0.0.1:6,"), "{done:?}");
    let done = ringgate(&arguments, &[("RINGGATE_SHARDS__COUNT", "many")]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).starts_with("RINGGATE_SHARDS__COUNT: shards.count: "), "{done:?}");
}

#[test]
fn warnings_are_told_and_do_not_fail() {
    let path = file(
        "mcp.json",
        "{\"mcpServers\": {\"web\": {\"type\": \"grpc\", \"url\": \"https://x.example/mcp\"}}}",
    );
    let done = ringgate(&["check", "--mcp-json", path.to_str().unwrap()], &[]);
    assert_eq!(done.status.code(), Some(0));
    let stderr = text(&done.stderr);
    assert!(
        stderr.starts_with("warning: ") && stderr.contains("mcpServers.web: ignored"),
        "{stderr}"
    );
}

#[test]
fn wrong_arguments_end_with_2_and_say_what_is_right() {
    for (arguments, says) in [
        (&["tools", "ftp://localhost/mcp"][..], "write tcp://HOST:PORT"),
        (&["call", "tcp://127.0.0.1:1", "add", "1"], "JSON object"),
        (&["serv"], "serve"),
        (&["tools"], "<URL>"),
    ] {
        let done = ringgate(arguments, &[]);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(text(&done.stderr).contains(says), "{arguments:?}: {}", text(&done.stderr));
    }
}

#[test]
fn help_documents_the_exit_codes_and_the_variables() {
    let help = text(&ringgate(&["--help"], &[]).stdout);
    for said in
        ["Exit codes: 0 done; 1 failed", "RINGGATE_<SECTION>__<KEY>", "doctor", "--mcp-json"]
    {
        assert!(help.contains(said), "{said}: {help}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_an_error_with_a_remedy() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for arguments in [
        vec!["tools".to_owned(), format!("tcp://{address}")],
        vec!["call".to_owned(), format!("tcp://{address}"), "add".to_owned()],
        vec!["connect".to_owned(), format!("tcp://{address}")],
        vec!["tools".to_owned(), "unix:///no/such/socket".to_owned()],
    ] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let done = ringgate(&arguments, &[]);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        let stderr = text(&done.stderr);
        assert!(stderr.starts_with("ringgate: cannot connect to "), "{stderr}");
        assert!(stderr.trim_end().ends_with("start it with: ringgate serve"), "{stderr}");
    }
}

#[test]
fn a_server_that_closes_at_once_is_told_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            // Read, so that the close is an end and no reset.
            let _first = stream.read(&mut [0; 4_096]).unwrap();
        });
        let done = ringgate(&["tools", &url], &[]);
        assert_eq!(done.status.code(), Some(1));
        assert_eq!(text(&done.stderr), "ringgate: the server closed the connection\n");
    });
}

#[test]
fn doctor_looks_at_this_host_in_a_table_and_in_json() {
    let table = ringgate(&["doctor"], &[]);
    assert!(matches!(table.status.code(), Some(0 | 1)), "{table:?}");
    let table = text(&table.stdout);
    assert!(table.lines().next().unwrap().contains("what"), "{table}");
    for what in ["kernel", "io_uring", "open files", "CPU quota"] {
        assert!(table.contains(what), "{what}: {table}");
    }
    let json = ringgate(&["doctor", "--json"], &[]);
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(findings.len(), table.lines().count() - 1);
    assert!(findings.iter().all(|finding| finding["level"].is_string()));
}

#[test]
fn a_new_key_comes_with_the_line_that_lets_it_in() {
    let made = ringgate(&["keys", "new", "team.backend"], &[]);
    assert_eq!(made.status.code(), Some(0));
    let out = text(&made.stdout);
    let (key, line) = out.trim_end().split_once('\n').expect("two lines");
    assert!(key.starts_with("rgk_") && key.len() == 47, "{key}");
    let again = ringgate(&["keys", "new", "team.backend"], &[]);
    assert_ne!(text(&again.stdout).lines().next(), Some(key), "each is another");
    let path = file("keys.toml", &format!("[auth.keys]\n{line}\n"));
    let done = ringgate(&["check", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    // The digest that it was printed with is the one that hash gives.
    let mut hash = Command::new(env!("CARGO_BIN_EXE_ringgate"));
    let stdin = fs::File::open(file("key", &format!("{key}\n"))).expect("can read");
    let done = hash.args(["keys", "hash"]).stdin(stdin).output().expect("the program runs");
    assert_eq!(line, format!("\"team.backend\" = [\"{}\"]", text(&done.stdout).trim_end()));
    let mut hash = Command::new(env!("CARGO_BIN_EXE_ringgate"));
    let stdin = fs::File::open(file("password", "hunter2\n")).expect("can read");
    let done = hash.args(["keys", "hash"]).stdin(stdin).output().expect("the program runs");
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("line 1 is no key"), "{}", text(&done.stderr));
}
