//! What `scripts/instructions` counts: fixed messages through `wire` and `gateway.handle`, each
//! [`ROUNDS`] times. Measures nothing itself: run under callgrind, instructions are collected inside of
//! [`counted`] only, and a dump is written at each [`scene_ends`]. Prints a line for each scene: how many
//! rounds, and the scene's name.

mod house;
#[path = "house/rules.rs"]
mod rules;
#[path = "house/deciding.rs"]
mod deciding;

use std::hint::black_box;
use std::io::Write;

use house::{CLIENT, ECHO, House, LIST, MODERN_ECHO, MODERN_LIST, PING};
use ringgate::base::Moment;
use ringgate::base::limits::Limits;
use ringgate::gateway::breaker::Breaker;
use ringgate::gateway::policy::Cache;
use ringgate::mcp::{Era, Params};
use ringgate::wire::envelope::{self, Frame};
use ringgate::wire::{LineCutter, Message};

/// As in the program: its calls are what a message's allocations are counted by.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 1_000;
/// Rounds before the counted ones, in which tables grow to their size.
const WARM_UP: u32 = 100;

/// 121 bytes: the request that `src/README.md` compares JSON parsers with.
const PING_121: &[u8] = br#"{"jsonrpc":"2.0","id":123456,"method":"ping","params":{"_meta":{"progressToken":"abcdefghijklmnopqrstuvwxyz-012345678"}}}"#;

/// A call whose text fills it up to 512 bytes.
fn call_512() -> Vec<u8> {
    let head = r#"{"jsonrpc":"2.0","id":123456,"method":"tools/call","params":{"name":"echo","arguments":{"message":""#;
    let tail = r#""}}}"#;
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(12);
    let call = format!("{head}{}{tail}", &text[..512 - head.len() - tail.len()]);
    assert_eq!(call.len(), 512);
    call.into_bytes()
}

/// The only code whose instructions count.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    run();
}

/// Its end is where callgrind writes what was counted since the last one.
#[inline(never)]
fn scene_ends(name: &str, rounds: u32) {
    // A benchmark whose reader is gone has nobody to tell.
    let _ = writeln!(std::io::stdout(), "{rounds} {name}");
}

fn scene(name: &str, messages_a_round: u32, mut round: impl FnMut()) {
    for _ in 0..WARM_UP {
        round();
    }
    for _ in 0..ROUNDS {
        counted(&mut round);
    }
    scene_ends(name, ROUNDS * messages_a_round);
}

fn main() {
    wire();
    builtin();
    for (name, from, to) in [
        ("legacy to legacy", Era::Legacy, Era::Legacy),
        ("modern to modern", Era::Modern, Era::Modern),
        ("modern to legacy", Era::Modern, Era::Legacy),
        ("legacy to modern", Era::Legacy, Era::Modern),
    ] {
        proxied(name, from, to);
    }
    deciding();
    catalog();
    // The last: callgrind counts the calls of a set-up with those of the scene that makes the same call next,
    // and this one makes ten thousand.
    policy();
}

fn wire() {
    let call = call_512();
    for (name, frame, method) in [
        ("envelope: ping, 121 bytes", PING_121, "ping"),
        ("envelope: tools/call, 512 bytes", &call, "tools/call"),
        ("envelope: tools/call, modern", MODERN_ECHO, "tools/call"),
    ] {
        let read = envelope::read(frame);
        assert!(
            matches!(read, Ok(Frame::One(Message::Request { method: read, .. })) if read == method)
        );
        scene(name, 1, || {
            let _ = black_box(envelope::read(black_box(frame)));
        });
        // As the gateway reads what a client sends.
        scene(&format!("{name}, with params"), 1, || {
            let mut params = Params::default();
            let _ = black_box(envelope::read_to(black_box(frame), &mut params));
            black_box(params.name);
        });
    }
    let mut buffer = ECHO.to_vec();
    buffer.push(b'\n');
    let buffer = buffer.repeat(16);
    scene("lines: a line of 16", 16, || {
        let mut cutter = LineCutter::default();
        let mut lines = 0;
        while let Some(line) = cutter.next(black_box(&buffer)) {
            black_box(line);
            lines += 1;
        }
        assert_eq!(lines, 16);
    });
}

fn policy() {
    let policy = rules::policy();
    let agent = policy.agent(Some("backend"));
    let mut cache = Cache::default();
    for (name, is_allowed) in rules::CALLS {
        assert_eq!(policy.decide(agent, 1, rules::KIND, name).is_allowed, is_allowed, "{name}");
    }
    let each = u32::try_from(rules::CALLS.len()).unwrap_or_default();
    scene("policy: a decision among 10,000 rules", each, || {
        for (name, _) in rules::CALLS {
            let _ = black_box(policy.decide(agent, 1, rules::KIND, black_box(name)));
        }
    });
    scene("policy: a remembered decision", each, || {
        for (name, _) in rules::CALLS {
            let _ = black_box(cache.decide(&policy, agent, 1, rules::KIND, black_box(name)));
        }
    });
}

fn builtin() {
    for (name, era, frame) in [
        ("handle: ping, legacy", Era::Legacy, PING),
        ("handle: tools/call echo, legacy", Era::Legacy, ECHO),
        ("handle: tools/call echo, modern", Era::Modern, MODERN_ECHO),
        ("handle: tools/list, legacy", Era::Legacy, LIST),
        ("handle: tools/list, modern", Era::Modern, MODERN_LIST),
    ] {
        let mut house = House::with_builtin().with_client(era);
        scene(name, 1, || house.frame(CLIENT, black_box(frame)));
        house.check();
    }
}

fn deciding() {
    for (name, add) in deciding::ALL {
        let mut house = House::deciding(add).with_client(Era::Legacy);
        scene(&format!("handle: tools/call echo, legacy, with {name}"), 1, || {
            house.frame(CLIENT, black_box(ECHO));
        });
        house.check();
    }
    let (mut breaker, limits) = (Breaker::default(), Limits::DEFAULT);
    scene("breaker: a call let through and answered", 1, || {
        let _ = black_box(black_box(&mut breaker).admit(Moment::START));
        let _ = black_box(black_box(&mut breaker).succeeded(&limits));
    });
}

fn catalog() {
    let mut house = House::with_catalog();
    scene("handle: tools/list, kept, 4 upstreams of 50 tools", 1, || {
        house.frame(CLIENT, black_box(LIST));
    });
    house.check();
}

fn proxied(name: &str, from: Era, to: Era) {
    let mut house = House::with_server(to).with_client(from);
    let call = house::echo(from);
    let mut round = |count_call: bool, count_answer: bool| {
        let mut ask = || house.frame(CLIENT, black_box(call));
        if count_call {
            counted(&mut ask);
        } else {
            ask();
        }
        house.write_answer(to);
        let mut answer = || house.answer();
        if count_answer {
            counted(&mut answer);
        } else {
            answer();
        }
        house.check();
    };
    for (what, count_call, count_answer) in [("call", true, false), ("answer", false, true)] {
        for _ in 0..WARM_UP {
            round(false, false);
        }
        for _ in 0..ROUNDS {
            round(count_call, count_answer);
        }
        scene_ends(&format!("proxied {what}: {name}"), ROUNDS);
    }
}
