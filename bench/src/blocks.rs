//! What blocks cost and save: ordinary tool traffic on a gateway's byte stream, plain or compressed. The messages are
//! windows of this project's own files (documents, sources, a record in JSON), one after the other, so that no block
//! holds the same text twice; one request in twenty asks for the list of tools. Every answer is checked. A thread a
//! connection, all on one core.

#![allow(
    clippy::disallowed_types,
    reason = "a few blocking connections: each thread writes all that its last read made room for"
)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;
use ringgate::base::limits::{BLOCK_BYTES_MAX, Limits};
use ringgate::wire::block::{self, Codec, Coder};
use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{Clock, Window, seconds};
use crate::failure::Failure;
use crate::{process, ring};

/// What the messages say.
const DOCUMENTS: [&str; 6] = [
    include_str!("../../README.md"),
    include_str!("../../src/gateway/forward.rs"),
    include_str!("../record/2026-11-21-790bedb512.json"),
    include_str!("../../tests/e2e/trouble.py"),
    include_str!("../../src/README.md"),
    include_str!("../../tuning/README.md"),
];
/// One request in so many asks for the list of tools.
const LIST_EVERY: u64 = 20;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Blocks {
    /// The gateway's TCP listener.
    pub target: SocketAddr,
    /// None: lines.
    pub codec: Option<Codec>,
    /// Connections.
    pub connections: u32,
    /// Requests outstanding on each.
    pub outstanding: u32,
    /// Bytes of text in a message, on average; from half to one and a half of that.
    pub text_bytes: usize,
    /// Time measured.
    pub duration: Duration,
    /// Time before measuring.
    pub warmup: Duration,
    /// Core to load from.
    pub core: Option<usize>,
    /// Processes whose CPU to measure.
    pub server_pids: Vec<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Answers a second.
    pub messages_per_s: f64,
    /// Bytes of lines over bytes that travelled, both ways together.
    pub ratio: f64,
    /// Bytes of lines, request and answer together.
    pub bytes_per_message: f64,
    /// Megabits a second that were received.
    pub received_mbit_per_s: f64,
    /// Of each server, in microseconds.
    pub cpu_us_per_message: Vec<f64>,
    /// From a request to its answer.
    pub p50_us: f64,
    /// The same.
    pub p99_us: f64,
}

/// What one connection has counted within the window.
#[derive(Debug, Default)]
struct Counts {
    latencies_ns: Vec<u64>,
    lines_bytes: u64,
    wire_in: u64,
    wire_out: u64,
}

/// One request, and what its answer must hold.
struct Exchange {
    rest: String,
    /// Made once: it takes longer to make than to use.
    holds: memmem::Finder<'static>,
    /// The text itself, for an answer that spells it in another way.
    text: String,
}

/// Measures.
pub fn run(plan: &Blocks) -> Result<Measured, Failure> {
    let clock = Clock::start();
    let window = Window::new(plan.warmup, plan.duration, Duration::ZERO);
    let mut threads = Vec::new();
    for n in 0..plan.connections {
        let plan = plan.clone();
        let thread = std::thread::Builder::new()
            .spawn(move || connection(&plan, n, clock, window))
            .map_err(Failure::io("start a thread"))?;
        threads.push(thread);
    }
    let cpu = || -> Result<Vec<u64>, Failure> {
        plan.server_pids.iter().map(|pid| Ok(process::usage(*pid)?.cpu_ns)).collect()
    };
    clock.wait_until(window.open_ns);
    let before = cpu()?;
    clock.wait_until(window.close_ns);
    let after = cpu()?;
    let mut all = Counts::default();
    for thread in threads {
        let ended = thread.join();
        let counts =
            ended.map_err(|_| Failure::Server("a connection's thread panicked".to_owned()))??;
        all.latencies_ns.extend(counts.latencies_ns);
        all.lines_bytes += counts.lines_bytes;
        all.wire_in += counts.wire_in;
        all.wire_out += counts.wire_out;
    }
    all.latencies_ns.sort_unstable();
    let answers = all.latencies_ns.len();
    let at = |part: usize| all.latencies_ns.get(answers * part / 100).copied().unwrap_or(0);
    if answers == 0 {
        return Err(Failure::Server("there was no answer in the time measured".to_owned()));
    }
    let per = |whole: u64, parts: u64| seconds(whole) / seconds(parts.max(1));
    let answers = u64::try_from(answers).unwrap_or(u64::MAX);
    Ok(Measured {
        messages_per_s: per(answers, 1) / window.seconds(),
        ratio: per(all.lines_bytes, all.wire_in + all.wire_out),
        bytes_per_message: per(all.lines_bytes, answers),
        received_mbit_per_s: per(all.wire_in * 8, 1_000_000) / window.seconds(),
        cpu_us_per_message: before
            .iter()
            .zip(&after)
            .map(|(before, after)| per(after - before, answers * 1_000))
            .collect(),
        p50_us: per(at(50), 1_000),
        p99_us: per(at(99), 1_000),
    })
}

/// The windows, from `start` on.
fn exchanges(text_bytes: usize, start: usize) -> Vec<Exchange> {
    let documents = DOCUMENTS.concat();
    let chars: Vec<char> = documents.chars().collect();
    let mut all = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let size = text_bytes / 2 + text_bytes * (all.len() % 5) / 4;
        let text: String = chars.iter().skip(at).take(size.max(1)).collect();
        at += size.max(1);
        let message = json!(text).to_string();
        let rest = format!(
            ",\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{\"message\":{message}}}}}}}\n"
        );
        let holds = memmem::Finder::new(&message).into_owned();
        all.push(Exchange { rest, holds, text });
    }
    // Connections say different things at a time.
    let middle = start % all.len().max(1);
    all.rotate_left(middle);
    all
}

fn connection(plan: &Blocks, n: u32, clock: Clock, window: Window) -> Result<Counts, Failure> {
    if let Some(core) = plan.core {
        ring::pin(core)?;
    }
    let start = usize::try_from(n).unwrap_or(0) * 7;
    let exchanges = exchanges(plan.text_bytes, start);
    let list = ",\"method\":\"tools/list\"}\n";
    let mut wire = Wire::open(plan.target, plan.codec)?;
    wire.begin()?;
    let mut counts = Counts::default();
    let mut waiting = BTreeMap::new();
    let mut out = String::new();
    let mut next_id = 1_u64;
    let mut room = plan.outstanding;
    loop {
        let now_ns = clock.now_ns();
        if now_ns >= window.close_ns {
            return Ok(counts);
        }
        out.clear();
        for _ in 0..std::mem::take(&mut room) {
            let rest = if next_id.is_multiple_of(LIST_EVERY) {
                list
            } else {
                exchange(&exchanges, next_id)?.rest.as_str()
            };
            out.extend(["{\"jsonrpc\":\"2.0\",\"id\":", &next_id.to_string(), rest]);
            waiting.insert(next_id, now_ns);
            next_id += 1;
        }
        let sent = wire.write(out.as_bytes())?;
        let (came, lines) = wire.read()?;
        let now_ns = clock.now_ns();
        let is_measured = window.holds(now_ns);
        if is_measured {
            counts.lines_bytes += bytes(out.len());
            counts.wire_out += bytes(sent);
            counts.wire_in += bytes(came);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let id = id_of(line).ok_or_else(|| wrong("an answer without an id", line))?;
            let since = waiting.remove(&id).ok_or_else(|| wrong("an answer to nothing", line))?;
            let is_right = if id.is_multiple_of(LIST_EVERY) {
                memmem::find(line, b"\"tools\":[").is_some()
            } else {
                answers(exchange(&exchanges, id)?, line)
            };
            if !is_right {
                return Err(wrong("a wrong answer", line));
            }
            room += 1;
            if is_measured {
                counts.lines_bytes += bytes(line.len());
                counts.latencies_ns.push(now_ns - since);
            }
        }
        wire.taken();
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn exchange(exchanges: &[Exchange], id: u64) -> Result<&Exchange, Failure> {
    let at = usize::try_from(id).unwrap_or(0) % exchanges.len().max(1);
    exchanges.get(at).ok_or_else(|| Failure::Usage("there is no text to send".to_owned()))
}

fn answers(exchange: &Exchange, line: &[u8]) -> bool {
    if exchange.holds.find(line).is_some() {
        return true;
    }
    let answer: Value = serde_json::from_slice(line).unwrap_or_default();
    answer.pointer("/result/content/0/text").and_then(Value::as_str) == Some(&exchange.text)
}

fn id_of(line: &[u8]) -> Option<u64> {
    let key = b"\"id\":";
    let rest = line.get(memmem::find(line, key)? + key.len()..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

fn wrong(what: &str, line: &[u8]) -> Failure {
    let shown: String = String::from_utf8_lossy(line).chars().take(200).collect();
    Failure::Server(format!("{what}: {shown}"))
}

/// A connection, plain or in blocks.
struct Wire {
    stream: TcpStream,
    blocks: Option<(Codec, Coder)>,
    packed: Vec<u8>,
    came: Vec<u8>,
    lines: Vec<u8>,
    /// Bytes of `lines` that were given.
    given: usize,
}

impl Wire {
    fn open(target: SocketAddr, codec: Option<Codec>) -> Result<Self, Failure> {
        let doing = || Failure::io(format!("connect to {target}"));
        let mut stream = TcpStream::connect(target).map_err(doing())?;
        stream.set_nodelay(true).map_err(doing())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(doing())?;
        if let Some(codec) = codec {
            stream.write_all(block::offer(codec).as_bytes()).map_err(doing())?;
            let mut line = Vec::new();
            let mut byte = [0];
            while byte != *b"\n" && line.len() < block::HELLO_BYTES_MAX {
                stream.read_exact(&mut byte).map_err(doing())?;
                line.extend_from_slice(&byte);
            }
            block::read_answer(line.trim_ascii_end(), codec).map_err(Failure::Server)?;
        }
        let blocks = codec.map(|codec| (codec, Coder::default()));
        let (packed, came, lines) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { stream, blocks, packed, came, lines, given: 0 })
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let info = json!({"name": "ringgate-bench", "version": "1"});
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        self.write(format!("{hello}\n").as_bytes())?;
        let mut is_answered = false;
        while !is_answered {
            let (_, lines) = self.read()?;
            is_answered = !lines.is_empty();
            self.taken();
        }
        self.write(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")?;
        Ok(())
    }

    /// Writes lines; gives how many bytes travelled.
    fn write(&mut self, lines: &[u8]) -> Result<usize, Failure> {
        let Some((codec, coder)) = &mut self.blocks else {
            self.stream.write_all(lines).map_err(Failure::io("write"))?;
            return Ok(lines.len());
        };
        self.packed.clear();
        let mut done = 0;
        while let Some(rest) = lines.get(done..).filter(|rest| !rest.is_empty()) {
            let bytes_min = Limits::DEFAULT.compress_bytes_min;
            done += coder.pack(*codec, bytes_min, rest, &mut self.packed).lines;
        }
        self.stream.write_all(&self.packed).map_err(Failure::io("write"))?;
        Ok(self.packed.len())
    }

    /// Reads once; gives how many bytes came, and the whole lines that are there.
    fn read(&mut self) -> Result<(usize, &[u8]), Failure> {
        let into = if self.blocks.is_some() { &mut self.came } else { &mut self.lines };
        let held = into.len();
        into.resize(held + 2 * BLOCK_BYTES_MAX, 0);
        let came = self.stream.read(into.get_mut(held..).unwrap_or_default());
        into.truncate(held + *came.as_ref().unwrap_or(&0));
        let came = came.map_err(Failure::io("read"))?;
        if came == 0 {
            return Err(Failure::Server("the gateway closed a connection".to_owned()));
        }
        if let Some((codec, coder)) = &mut self.blocks {
            let mut done = 0;
            while let Some(block) = coder
                .unpack(*codec, self.came.get(done..).unwrap_or_default(), &mut self.lines)
                .map_err(|fault| Failure::Server(fault.to_string()))?
            {
                done += block.bytes;
            }
            self.came.drain(..done);
        }
        self.given = memchr::memrchr(b'\n', &self.lines).map_or(0, |at| at + 1);
        Ok((came, self.lines.get(..self.given).unwrap_or_default()))
    }

    /// The lines that were given are done with.
    fn taken(&mut self) {
        self.lines.drain(..std::mem::take(&mut self.given));
    }
}
