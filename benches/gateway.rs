//! What one message costs in `gateway.handle`, without sockets, shards or waiting. Every round's
//! effects are checked once before it is measured.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::builtin::Builtin;
use ringgate::gateway::settings::{EraPin, Share, Target, Upstream};
use ringgate::gateway::{Effect, Effects, Event, Gateway, Settings, Transport};

const CLIENT: LinkId = LinkId::new(ShardId(0), 0, 0);
const SERVER: LinkId = LinkId::new(ShardId(0), 1, 0);
const NOW: Now = Now { at: Moment::from_micros(1_000_000), unix_ms: 1_780_000_000_000 };

const HELLO: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"ping"}"#;
const ECHO: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello, world, hello, world"}}}"#;
const MODERN_ECHO: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello, world, hello, world"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

struct House {
    gateway: Gateway,
    out: Effects,
}

impl House {
    fn new(target: Target, era: EraPin) -> Self {
        let upstream = Upstream {
            name: "up".to_owned(),
            prefix: String::new(),
            target,
            era,
            share: Share::Auto,
        };
        let settings = Settings {
            upstreams: vec![upstream],
            separator: "__".to_owned(),
            shards: 1,
            ..Settings::default()
        };
        let gateway = Gateway::new(Arc::new(settings), ShardId(0), Builtin::new(false));
        let mut house = Self { gateway, out: Effects::default() };
        house.event(Event::Tick);
        house
    }

    fn event(&mut self, event: Event<'_>) {
        self.out.clear();
        self.gateway.handle(NOW, event, &mut self.out);
    }

    fn frame(&mut self, link: LinkId, frame: &[u8]) {
        self.event(Event::Frame { link, frame });
    }

    fn said(&self) -> &str {
        std::str::from_utf8(&self.out.bytes).unwrap_or_default()
    }

    fn with_client(mut self, is_modern: bool) -> Self {
        self.event(Event::ClientOpened { link: CLIENT, transport: Transport::Tcp });
        if !is_modern {
            self.frame(CLIENT, HELLO);
            assert!(self.said().contains("serverInfo"), "{}", self.said());
            self.frame(CLIENT, br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        self
    }

    /// A legacy upstream that is ready.
    fn with_server() -> Self {
        let target = Target::Stdio {
            command: "server".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
        };
        let mut house = Self::new(target, EraPin::Legacy);
        let lane = house.out.list.iter().find_map(|effect| match effect {
            Effect::Dial { lane, .. } => Some(*lane),
            _ => None,
        });
        house.event(Event::Dialed { lane: lane.expect("the upstream is dialled"), link: SERVER });
        let answer = format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"s","version":"1"}}}}}}"#,
            id_of(house.said())
        );
        house.frame(SERVER, answer.as_bytes());
        house
    }
}

/// The id of a request that the gateway has written.
fn id_of(line: &str) -> &str {
    let rest = line.split_once("\"id\":").map_or("", |(_, rest)| rest);
    rest.split_once(',').map_or("", |(id, _)| id)
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gateway.handle");
    group.throughput(Throughput::Elements(1));
    let builtin = || House::new(Target::Builtin { folder: None }, EraPin::Auto);
    for (name, is_modern, frame) in
        [("ping", false, PING), ("echo, legacy", false, ECHO), ("echo, modern", true, MODERN_ECHO)]
    {
        let mut house = builtin().with_client(is_modern);
        house.frame(CLIENT, frame);
        assert!(house.said().contains("\"id\":12345,\"result\""), "{}", house.said());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                house.frame(CLIENT, black_box(frame));
                black_box(house.out.bytes.len())
            });
        });
    }
    let mut house = House::with_server().with_client(false);
    let mut answer = Vec::new();
    group.bench_function("to a legacy upstream and back", |bencher| {
        bencher.iter(|| {
            house.frame(CLIENT, black_box(ECHO));
            // What the upstream would write: cheap beside what is measured, and part of it.
            answer.clear();
            answer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
            answer.extend_from_slice(id_of(house.said()).as_bytes());
            answer.extend_from_slice(
                b",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"hello, world\"}]}}",
            );
            house.frame(SERVER, black_box(&answer));
            black_box(house.out.bytes.len())
        });
    });
    assert!(house.said().contains("\"id\":12345,\"result\""), "{}", house.said());
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
