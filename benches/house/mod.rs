//! One shard's gateway with a client and, where wanted, an upstream, without sockets: what the
//! benchmarks of `gateway.handle` and the instruction counts drive. Plays the upstream's side itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::builtin::Builtin;
use ringgate::gateway::principal::Principal;
use ringgate::gateway::settings::{EraPin, Share, Spread, Target, Upstream};
use ringgate::gateway::{Effect, Effects, Event, Gateway, Settings, Transport};
use ringgate::mcp::Era;

pub(crate) const CLIENT: LinkId = LinkId::new(ShardId(0), 0, 0);
pub(crate) const SERVER: LinkId = LinkId::new(ShardId(0), 1, 0);
const NOW: Now = Now { at: Moment::from_micros(1_000_000), unix_ms: 1_780_000_000_000 };

const HELLO: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;

pub(crate) const PING: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"ping"}"#;
pub(crate) const LIST: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/list"}"#;
pub(crate) const MODERN_LIST: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
pub(crate) const ECHO: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello, world, hello, world"}}}"#;
pub(crate) const MODERN_ECHO: &[u8] = br#"{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello, world, hello, world"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

/// What `tools/call` of `echo` sends, as a client of this era writes it.
pub(crate) const fn echo(era: Era) -> &'static [u8] {
    match era {
        Era::Legacy => ECHO,
        Era::Modern => MODERN_ECHO,
    }
}

pub(crate) struct House {
    gateway: Gateway,
    pub(crate) out: Effects,
    answer: Vec<u8>,
}

impl House {
    /// The built-in upstream behind us.
    pub(crate) fn with_builtin() -> Self {
        Self::new(Target::Builtin { folder: None }, EraPin::Auto)
    }

    /// An upstream of this era behind us, ready.
    pub(crate) fn with_server(era: Era) -> Self {
        let target = Target::Stdio {
            command: "server".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
        };
        let (pin, result) = match era {
            Era::Legacy => (
                EraPin::Legacy,
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#,
            ),
            Era::Modern => (
                EraPin::Modern,
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#,
            ),
        };
        let mut house = Self::new(target, pin);
        let lane = house.out.list.iter().find_map(|effect| match effect {
            Effect::Dial { lane, .. } => Some(*lane),
            _ => None,
        });
        house.event(Event::Dialed { lane: lane.expect("the upstream is dialled"), link: SERVER });
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id_of(&house.out));
        house.frame(SERVER, answer.as_bytes());
        house
    }

    /// Four upstreams behind us with fifty tools each, whose lists have been asked for by the client in front.
    pub(crate) fn with_catalog() -> Self {
        let upstream = |number: u16| Upstream {
            name: format!("up{number}"),
            prefix: format!("up{number}"),
            target: Target::Tcp { address: ([127, 0, 0, 1], number).into() },
            era: EraPin::Legacy,
            share: Share::Always,
            warm: false,
            spread: Spread::default(),
        };
        let mut house = Self::behind((0..4).map(upstream).collect());
        let lanes: Vec<_> = house
            .out
            .list
            .iter()
            .filter_map(|effect| match effect {
                Effect::Dial { lane, .. } => Some(*lane),
                _ => None,
            })
            .collect();
        let link =
            |number: usize| LinkId::new(ShardId(0), u32::try_from(number).unwrap_or(0) + 1, 0);
        for (number, lane) in lanes.into_iter().enumerate() {
            house.event(Event::Dialed { lane, link: link(number) });
            let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#;
            let answer =
                format!(r#"{{"jsonrpc":"2.0","id":{},"result":{hello}}}"#, id_of(&house.out));
            house.frame(link(number), answer.as_bytes());
        }
        let mut house = house.with_client(Era::Legacy);
        house.frame(CLIENT, LIST);
        let asked: Vec<String> = house.said().lines().map(|line| id_in(line).to_owned()).collect();
        assert_eq!(asked.len(), 4, "{}", house.said());
        for (number, id) in asked.into_iter().enumerate() {
            let answer = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{}]}}}}"#,
                fifty_tools()
            );
            house.frame(link(number), answer.as_bytes());
        }
        house.check();
        house
    }

    fn new(target: Target, era: EraPin) -> Self {
        Self::behind(vec![upstream(target, era)])
    }

    fn behind(upstreams: Vec<Upstream>) -> Self {
        Self::by(upstreams, |_| ())
    }

    /// The built-in upstream behind us, and settings that decide about calls.
    #[allow(dead_code, reason = "one benchmark decides, the other does not")]
    pub(crate) fn deciding(add: fn(&mut Settings)) -> Self {
        Self::by(vec![upstream(Target::Builtin { folder: None }, EraPin::Auto)], add)
    }

    fn by(upstreams: Vec<Upstream>, add: fn(&mut Settings)) -> Self {
        let mut settings =
            Settings { upstreams, separator: "__".to_owned(), shards: 1, ..Settings::default() };
        add(&mut settings);
        let gateway = Gateway::new(Arc::new(settings), ShardId(0), Builtin::new(false));
        let mut house = Self { gateway, out: Effects::default(), answer: Vec::new() };
        house.event(Event::Tick);
        house
    }

    /// A client of this era in front of us, ready.
    pub(crate) fn with_client(mut self, era: Era) -> Self {
        self.event(Event::ClientOpened {
            link: CLIENT,
            transport: Transport::Tcp,
            principal: Principal::ANONYMOUS,
        });
        if era == Era::Legacy {
            self.frame(CLIENT, HELLO);
            assert!(self.said().contains("serverInfo"), "{}", self.said());
            self.frame(CLIENT, br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        self
    }

    fn event(&mut self, event: Event<'_>) {
        self.out.clear();
        self.gateway.handle(NOW, event, &mut self.out);
    }

    /// One frame; its effects stand in `out`.
    pub(crate) fn frame(&mut self, link: LinkId, frame: &[u8]) {
        self.event(Event::Frame { link, frame });
    }

    /// What was sent last.
    pub(crate) fn said(&self) -> &str {
        std::str::from_utf8(&self.out.bytes).unwrap_or_default()
    }

    /// What an upstream of this era answers to the call that was sent to it last.
    pub(crate) fn write_answer(&mut self, era: Era) {
        let rest: &[u8] = match era {
            Era::Legacy => br#","result":{"content":[{"type":"text","text":"hello, world"}]}}"#,
            Era::Modern => {
                br#","result":{"resultType":"complete","content":[{"type":"text","text":"hello, world"}]}}"#
            }
        };
        self.answer.clear();
        self.answer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        self.answer.extend_from_slice(id_of(&self.out).as_bytes());
        self.answer.extend_from_slice(rest);
    }

    /// The upstream sends what [`House::write_answer`] wrote.
    pub(crate) fn answer(&mut self) {
        let answer = std::mem::take(&mut self.answer);
        self.frame(SERVER, &answer);
        self.answer = answer;
    }

    /// The client has its answer, and it is a result.
    pub(crate) fn check(&self) {
        assert!(self.said().contains("\"id\":12345,\"result\""), "{}", self.said());
    }
}

fn upstream(target: Target, era: EraPin) -> Upstream {
    Upstream {
        name: "up".to_owned(),
        prefix: String::new(),
        target,
        era,
        share: Share::Auto,
        warm: false,
        spread: Spread::default(),
    }
}

/// The id of the request that the gateway has written.
fn id_of(out: &Effects) -> &str {
    id_in(std::str::from_utf8(&out.bytes).unwrap_or_default())
}

fn id_in(line: &str) -> &str {
    let rest = line.split_once("\"id\":").map_or("", |(_, rest)| rest);
    rest.split_once(',').map_or("", |(id, _)| id)
}

/// As servers describe them: some 400 bytes each.
fn fifty_tools() -> String {
    let tool = |number: u32| {
        let about =
            "Looks up what the caller wants to know of a record and gives it back as text. "
                .repeat(2);
        format!(
            r#"{{"name":"tool_{number}","description":"{about}","inputSchema":{{"type":"object","properties":{{"id":{{"type":"string","description":"Which record"}},"limit":{{"type":"integer","minimum":1}}}},"required":["id"]}}}}"#
        )
    };
    (0..50).map(tool).collect::<Vec<_>>().join(",")
}
