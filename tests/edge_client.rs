//! A person in front of a running gateway: `serve` with its built-in server, `tools`, `call` and
//! `connect` over TCP and a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringgate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// A gateway on a TCP port and a Unix socket of its own, ended with the test.
struct Gateway {
    child: Child,
    tcp: String,
    unix: String,
    socket: PathBuf,
}

impl Gateway {
    fn start(name: &str) -> Self {
        let socket = std::env::temp_dir().join(format!("ringgate-{}-{name}", std::process::id()));
        let mut child = program(&["serve"])
            .env("RINGGATE_TCP__LISTEN", "127.0.0.1:0")
            .env("RINGGATE_HTTP__LISTEN", "off")
            .env("RINGGATE_ADMIN__LISTEN", "off")
            .env("RINGGATE_UNIX__LISTEN", &socket)
            .env("RINGGATE_SHARDS__COUNT", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let mut tcp = None;
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("is piped"));
        // It says so when it serves.
        while !said.contains(" serving") {
            said.clear();
            assert!(stderr.read_line(&mut said).expect("text") > 0, "the gateway ended early");
            if let Some((_, at)) = said.split_once("127.0.0.1:") {
                let port: String = at.chars().take_while(char::is_ascii_digit).collect();
                tcp = Some(format!("tcp://127.0.0.1:{port}"));
            }
        }
        // Read on, or the gateway would stop at a full pipe.
        std::thread::Builder::new()
            .spawn(move || stderr.lines().for_each(drop))
            .expect("a thread starts");
        let unix = format!("unix://{}", socket.display());
        Self { child, tcp: tcp.expect("a TCP listener was told"), unix, socket }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
        let _gone = std::fs::remove_file(&self.socket);
    }
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        program(arguments).stdin(Stdio::null()).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("is text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn tools_are_listed_over_tcp_and_unix_alike() {
    let gateway = Gateway::start("tools");
    let (code, table, stderr) = run(&["tools", &gateway.tcp]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(table.lines().any(|line| line.starts_with("add ")), "{table}");
    assert_eq!(run(&["tools", &gateway.unix]).1, table);
    let (_, json, _) = run(&["tools", &gateway.tcp, "--json"]);
    let tools: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(tools.len(), table.lines().count());
}

#[test]
fn a_call_prints_what_the_tool_says_and_fails_when_it_does() {
    let gateway = Gateway::start("call");
    let done = run(&["call", &gateway.unix, "add", "{\"a\": 2, \"b\": 40}"]);
    assert_eq!((done.0, done.1.trim()), (Some(0), "{\"sum\":42}"), "{done:?}");
    let done = run(&["call", &gateway.tcp, "echo", "{\"message\": \"ünï\"}", "--json"]);
    let result: serde_json::Value = serde_json::from_str(&done.1).unwrap();
    assert_eq!(result["content"][0]["text"], "ünï");
    let (code, stdout, stderr) = run(&["call", &gateway.tcp, "no-such-tool"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.starts_with("ringgate: ") && stderr.contains("no-such-tool"), "{stderr}");
    let (code, _, stderr) = run(&["call", &gateway.tcp, "add", "{\"a\": \"x\"}"]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("ringgate: "), "{stderr}");
}

#[test]
fn progress_goes_to_stderr_while_the_answer_goes_to_stdout() {
    let gateway = Gateway::start("progress");
    let (code, stdout, stderr) =
        run(&["call", &gateway.tcp, "sleep", "{\"ms\": 30, \"steps\": 3}"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stdout.is_empty());
    assert!(!stderr.is_empty(), "no progress was told");
}

#[test]
fn a_question_that_nobody_is_there_to_answer_is_a_clear_error() {
    let gateway = Gateway::start("ask");
    let (code, stdout, stderr) = run(&["call", &gateway.tcp, "ask_name"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("elicitation") || stderr.contains("terminal"), "{stderr}");
}

#[test]
fn connect_is_the_gateway_on_stdio_and_ends_with_its_client() {
    let gateway = Gateway::start("connect");
    for url in [&gateway.tcp, &gateway.unix] {
        let mut child = program(&["connect", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(
            stdin,
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\
             \"2025-11-25\",\"capabilities\":{{}},\"clientInfo\":{{\"name\":\"t\",\"version\":\"0\"}}}}}}"
        )
        .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{line}");
        // The answer to the last request arrives although stdin has ended.
        writeln!(stdin, "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}}")
            .unwrap();
        writeln!(stdin, "{{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}}").unwrap();
        drop(stdin);
        let rest: Vec<_> = stdout.lines().map(Result::unwrap).collect();
        assert!(rest.iter().any(|line| line.contains("\"id\":2")), "{rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn connect_says_when_the_gateway_ends_first() {
    let mut gateway = Gateway::start("ends");
    let mut child = program(&["connect", &gateway.unix])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One answer, so that the connection is known to stand.
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}}").unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    gateway.child.kill().unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(stderr.starts_with("ringgate: "), "{stderr}");
    drop(stdin);
}

#[test]
fn one_client_on_stdio_is_served_and_the_gateway_ends_with_it() {
    let mut child = program(&["serve", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(
        stdin,
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server/discover\",\"params\":{{\"_meta\":{{\
         \"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}"
    )
    .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("2026-07-28"), "{line}");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
