//! Gateways of several shards with HTTP exchanges and scripted upstreams, without sockets or time of its
//! own: mail is delivered at once, and what each exchange was answered is kept.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::base::{LinkId, Moment, Now, ShardId};
use ringgate::gateway::audit::Record;
use ringgate::gateway::builtin::Builtin;
use ringgate::gateway::census::Census;
use ringgate::gateway::http::{Headers, Request, Verb};
use ringgate::gateway::lane::LaneKey;
use ringgate::gateway::principal::Principal;
use ringgate::gateway::settings::{EraPin, Share, Spread, Target, Upstream};
use ringgate::gateway::trace::Span;
use ringgate::gateway::{Effect, Effects, Event, Gateway, Mail, Report, Settings};

/// What an exchange was answered, as far as it has been.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) is_stream: bool,
    pub(crate) is_closed: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| *is == name).map(|(_, value)| value.as_str())
    }

    /// The ids and the data of the stream's events; those without data have an empty one.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let mut events = Vec::new();
        for block in self.body.split("\n\n").filter(|block| !block.is_empty()) {
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap_or("")
                    .trim()
                    .to_owned()
            };
            if !block.starts_with(':') {
                events.push((field("id:"), field("data:")));
            }
        }
        events
    }

    pub(crate) fn data(&self) -> Vec<String> {
        self.events().into_iter().map(|(_, data)| data).filter(|data| !data.is_empty()).collect()
    }
}

/// Headers of a test.
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Headers for Pairs {
    fn for_each<'a>(&'a self, visit: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.0.iter().for_each(|(name, value)| visit(name, value.as_bytes()));
    }
}

/// See the module.
pub(crate) struct House {
    gateways: Vec<Gateway>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) now: Now,
    answers: BTreeMap<LinkId, Answer>,
    next: u32,
    /// What was sent to each upstream link, line by line.
    pub(crate) lanes: BTreeMap<LinkId, Vec<String>>,
    dials: Vec<(usize, LaneKey)>,
    pub(crate) closed: Vec<LinkId>,
    /// Links that are not read for now.
    pub(crate) held_up: Vec<LinkId>,
    /// What was written down, collected and reported.
    pub(crate) audit: Vec<Record>,
    pub(crate) spans: Vec<Span>,
    pub(crate) reports: Vec<Report>,
    /// Who asks from now on.
    pub(crate) principal: Principal,
    /// And with which token, where that is kept.
    pub(crate) token: Option<String>,
    /// Whose tokens each upstream link was told to bear, one after the other.
    pub(crate) borne: BTreeMap<LinkId, Vec<String>>,
    /// And where from.
    pub(crate) address: Option<IpAddr>,
    addresses: BTreeMap<LinkId, IpAddr>,
    /// What each shard was told to close.
    pub(crate) expelled: Vec<(usize, IpAddr)>,
}

pub(crate) fn upstream(name: &str, prefix: &str, target: Target, era: EraPin) -> Upstream {
    let (name, prefix) = (name.to_owned(), prefix.to_owned());
    Upstream {
        name,
        prefix,
        target,
        era,
        share: Share::Auto,
        warm: false,
        spread: Spread::default(),
    }
}

pub(crate) const CAPS: &str = r#"{"elicitation":{},"sampling":{},"roots":{}}"#;

impl House {
    pub(crate) fn builtin(shards: u16) -> Self {
        Self::new(shards, Target::Builtin { folder: None }, EraPin::Auto, Limits::DEFAULT)
    }

    /// One upstream that the test plays, in a pinned era.
    pub(crate) fn scripted(shards: u16, era: EraPin) -> Self {
        let target = Target::Tcp { address: ([127, 0, 0, 1], 1).into() };
        Self::new(shards, target, era, Limits::DEFAULT)
    }

    /// A legacy one, with other limits.
    pub(crate) fn limited(limits: Limits) -> Self {
        let target = Target::Tcp { address: ([127, 0, 0, 1], 1).into() };
        Self::new(1, target, EraPin::Legacy, limits)
    }

    /// The same, as a child of the gateway's.
    pub(crate) fn stdio(shards: u16, era: EraPin) -> Self {
        let (command, args) = ("server".to_owned(), Vec::new());
        Self::new(
            shards,
            Target::Stdio { command, args, env: BTreeMap::new(), cwd: None },
            era,
            Limits::DEFAULT,
        )
    }

    fn new(shards: u16, target: Target, era: EraPin, limits: Limits) -> Self {
        let upstreams = vec![upstream("up", "", target, era)];
        Self::with(shards, Settings { upstreams, limits, ..Settings::default() })
    }

    /// Upstreams and what else the settings say.
    pub(crate) fn with(shards: u16, settings: Settings) -> Self {
        let limits = Limits {
            // Scripted servers answer nothing by themselves.
            health: Duration::from_hours(24),
            ..settings.limits
        };
        let settings = Arc::new(Settings {
            limits,
            separator: "__".to_owned(),
            state_key: [7; 32],
            shards,
            learns_tools: true,
            ..settings
        });
        let gateways = (0..shards)
            .map(|shard| Gateway::new(Arc::clone(&settings), ShardId(shard), Builtin::new(false)))
            .collect();
        let mut house = Self {
            gateways,
            settings,
            now: Now { at: Moment::from_micros(1_000_000), unix_ms: 1_780_000_000_000 },
            answers: BTreeMap::new(),
            next: 0,
            lanes: BTreeMap::new(),
            dials: Vec::new(),
            closed: Vec::new(),
            held_up: Vec::new(),
            audit: Vec::new(),
            spans: Vec::new(),
            reports: Vec::new(),
            principal: Principal::ANONYMOUS,
            token: None,
            borne: BTreeMap::new(),
            address: None,
            addresses: BTreeMap::new(),
            expelled: Vec::new(),
        };
        for shard in 0..usize::from(shards) {
            house.event(shard, Event::Tick);
        }
        house
    }

    /// Has all shards go by other settings, as the edge does: first all learn what there is more.
    pub(crate) fn renew(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut next = Settings::clone(&self.settings);
        next.generation += 1;
        change(&mut next);
        let grown = Settings {
            upstreams: next.upstreams.clone(),
            tenures: next.tenures.clone(),
            order: Some(self.settings.order().into()),
            principals: next.principals.clone(),
            ..Settings::clone(&self.settings)
        };
        self.settings = Arc::new(next);
        for settings in [Arc::new(grown), Arc::clone(&self.settings)] {
            for shard in 0..self.gateways.len() {
                self.event(shard, Event::Settings(Arc::clone(&settings)));
            }
        }
    }

    pub(crate) fn event(&mut self, shard: usize, event: Event<'_>) {
        let mut out = Effects::default();
        self.gateways[shard].handle(self.now, event, &mut out);
        self.settle(shard, out);
    }

    fn settle(&mut self, shard: usize, out: Effects) {
        let mut mails = VecDeque::new();
        self.execute(shard, out, &mut mails);
        while let Some((from, to, mail)) = mails.pop_front() {
            let mut out = Effects::default();
            self.gateways[to].handle(self.now, Event::Mail { from, mail }, &mut out);
            self.execute(to, out, &mut mails);
        }
    }

    fn execute(
        &mut self,
        shard: usize,
        out: Effects,
        mails: &mut VecDeque<(ShardId, usize, Mail)>,
    ) {
        let me = ShardId(u16::try_from(shard).expect("few shards"));
        self.audit.extend(out.records);
        for effect in out.list {
            let bytes = |range: std::ops::Range<usize>| -> Box<[u8]> { out.bytes[range].into() };
            let (to, mail) = match effect {
                Effect::Mail { to, mail } => (to, mail),
                Effect::Send { link, bytes: range } if link.shard() != me => {
                    (link.shard(), Mail::Send { link, bytes: bytes(range) })
                }
                Effect::Respond { link, status, headers, bytes: range } if link.shard() != me => {
                    (link.shard(), Mail::Respond { link, status, headers, bytes: bytes(range) })
                }
                Effect::Stream { link, headers } if link.shard() != me => {
                    (link.shard(), Mail::Stream { link, headers })
                }
                Effect::Close { link, why } if link.shard() != me => {
                    (link.shard(), Mail::Close { link, why })
                }
                Effect::Violation { link } if link.shard() != me => {
                    (link.shard(), Mail::Violation { link })
                }
                local => {
                    self.execute_local(shard, local, &out.bytes);
                    continue;
                }
            };
            mails.push_back((me, usize::from(to.0), mail));
        }
    }

    fn execute_local(&mut self, shard: usize, effect: Effect, bytes: &[u8]) {
        match effect {
            Effect::Send { link, bytes: range } => {
                let text = std::str::from_utf8(&bytes[range]).expect("UTF-8 was sent");
                if let Some(lane) = self.lanes.get_mut(&link) {
                    lane.extend(text.lines().map(str::to_owned));
                } else {
                    let answer = self.answers.get_mut(&link).expect("a link that is known");
                    assert!(answer.is_stream && !answer.is_closed, "sent where nothing is heard");
                    answer.body.push_str(text);
                }
            }
            Effect::Respond { link, status, headers, bytes: range } => {
                let answer = self.answers.get_mut(&link).expect("a link that is known");
                assert!(answer.status.is_none(), "answered twice: {answer:?}");
                let body = String::from_utf8(bytes[range].to_vec()).expect("UTF-8 was sent");
                *answer = Answer { status: Some(status), headers, body, ..Answer::default() };
            }
            Effect::Stream { link, headers } => {
                let answer = self.answers.get_mut(&link).expect("a link that is known");
                assert!(answer.status.is_none(), "answered twice: {answer:?}");
                *answer =
                    Answer { status: Some(200), headers, is_stream: true, ..Answer::default() };
            }
            Effect::Close { link, .. } => {
                if let Some(answer) = self.answers.get_mut(&link) {
                    answer.is_closed = true;
                }
                self.closed.push(link);
            }
            Effect::Dial { lane, .. } => self.dials.push((shard, lane)),
            Effect::Bear { link, subject } => {
                assert!(self.lanes.contains_key(&link), "a token is borne to nobody");
                self.borne.entry(link).or_default().push(subject.text().to_owned());
            }
            Effect::Span(span) => self.spans.push(*span),
            Effect::Report(report) => self.reports.push(report),
            Effect::Violation { link } => {
                if let Some(address) = self.addresses.get(&link).copied() {
                    self.event(shard, Event::Violated { address });
                }
            }
            Effect::Pause { link } => self.held_up.push(link),
            Effect::Resume { link } => self.held_up.retain(|held| *held != link),
            Effect::Expel { address } => self.expelled.push((shard, address)),
            _ => {}
        }
    }

    /// Sends a request on a shard; its link names it from then on.
    pub(crate) fn send(
        &mut self,
        shard: usize,
        verb: Verb,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> LinkId {
        self.next += 1;
        let link = LinkId::new(ShardId(u16::try_from(shard).expect("few shards")), self.next, 0);
        self.answers.insert(link, Answer::default());
        self.addresses.extend(self.address.map(|address| (link, address)));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let shown =
            self.token.iter().map(|it| ("Authorization".to_owned(), format!("Bearer {it}")));
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let pairs = Pairs(headers.chain(shown).collect());
        let request = Request {
            verb,
            path,
            query,
            headers: &pairs,
            body: body.as_bytes(),
            principal: self.principal,
        };
        self.event(shard, Event::Exchange { link, request });
        link
    }

    /// Whether a shard lets a connection from an address in.
    pub(crate) fn admit(&mut self, shard: usize, address: IpAddr) -> Result<(), Duration> {
        let mut out = Effects::default();
        let is_let_in = self.gateways[shard].admit(self.now, address, &mut out);
        self.settle(shard, out);
        is_let_in
    }

    /// A POST to `/mcp` with the headers that every client sends, and these.
    pub(crate) fn post(&mut self, shard: usize, headers: &[(&str, &str)], body: &str) -> LinkId {
        let mut all = vec![
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        all.extend_from_slice(headers);
        self.send(shard, Verb::Post, "/mcp", &all, body)
    }

    /// A modern request with its headers.
    pub(crate) fn modern(
        &mut self,
        shard: usize,
        id: u32,
        method: &str,
        params: &str,
        caps: &str,
    ) -> LinkId {
        let name = params.split_once("\"name\":\"").and_then(|(_, rest)| rest.split_once('"'));
        let inner = params.trim_start_matches('{').trim_end_matches('}');
        let comma = if inner.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{caps}}}{comma}{}}}}}"#,
            params.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or("")
        );
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        if let Some((name, _)) = name {
            headers.push(("mcp-name", name));
        }
        self.post(shard, &headers, &body)
    }

    /// A legacy session, initialized; its id.
    pub(crate) fn session(&mut self, shard: usize, version: &str, caps: &str) -> String {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{caps},"clientInfo":{{"name":"t","version":"1"}}}}}}"#
        );
        let link = self.post(shard, &[], &body);
        let answer = self.answer(link);
        assert_eq!(answer.status, Some(200), "{answer:?}");
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        let link = self.in_session(
            shard,
            &session,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        );
        assert_eq!(self.answer(link).status, Some(202));
        session
    }

    pub(crate) fn in_session(&mut self, shard: usize, session: &str, body: &str) -> LinkId {
        self.post(shard, &[("mcp-session-id", session)], body)
    }

    /// `GET /mcp` of a session.
    pub(crate) fn get(&mut self, shard: usize, session: &str, last: Option<&str>) -> LinkId {
        let mut headers = vec![("accept", "text/event-stream"), ("mcp-session-id", session)];
        headers.extend(last.map(|last| ("last-event-id", last)));
        self.send(shard, Verb::Get, "/mcp", &headers, "")
    }

    pub(crate) fn answer(&self, link: LinkId) -> &Answer {
        &self.answers[&link]
    }

    /// The peer of an exchange goes.
    pub(crate) fn leave(&mut self, link: LinkId) {
        let shard = usize::from(link.shard().0);
        self.event(shard, Event::Closed { link, why: "gone" });
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now.at = self.now.at.after(time);
        for shard in 0..self.gateways.len() {
            self.event(shard, Event::Tick);
        }
    }

    /// Time for the hearts of all streams to beat.
    pub(crate) fn beat(&mut self) {
        self.wait(Duration::from_secs(15));
    }

    /// Connects the oldest dial; the link of its lane.
    pub(crate) fn connect(&mut self) -> LinkId {
        let (shard, lane) = self.dials.remove(0);
        self.next += 1;
        let link = LinkId::new(ShardId(u16::try_from(shard).expect("few")), self.next, 0);
        self.lanes.insert(link, Vec::new());
        self.event(shard, Event::Dialed { lane, link });
        link
    }

    /// How many dials wait.
    pub(crate) fn dials(&self) -> usize {
        self.dials.len()
    }

    /// The upstream says something.
    pub(crate) fn says(&mut self, lane: LinkId, frame: &str) {
        self.event(
            usize::from(lane.shard().0),
            Event::Frame { link: lane, frame: frame.as_bytes() },
        );
    }

    /// The last line that a lane got with this method, and its id.
    pub(crate) fn heard(&self, lane: LinkId, method: &str) -> Option<(String, String)> {
        let wanted = format!("\"method\":\"{method}\"");
        let line = self.lanes[&lane].iter().rev().find(|line| line.contains(&wanted))?;
        let id = line.split_once("\"id\":").map_or("", |(_, rest)| rest);
        let id = id.split_once([',', '}']).map_or("", |(id, _)| id);
        Some((id.to_owned(), line.clone()))
    }

    /// Connects the upstream and shakes hands with it, as a legacy server with tools would.
    pub(crate) fn greet_legacy(&mut self) -> LinkId {
        self.greet_with(r#""tools":{"listChanged":true}"#)
    }

    /// The same, with resources that can be watched and with logs.
    pub(crate) fn greet_watched(&mut self) -> LinkId {
        self.greet_with(r#""resources":{"subscribe":true},"logging":{}"#)
    }

    pub(crate) fn greet_with(&mut self, capabilities: &str) -> LinkId {
        let lane = self.connect();
        let (id, _) = self.heard(lane, "initialize").expect("it is initialized");
        self.says(
            lane,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{{capabilities}}},"serverInfo":{{"name":"s","version":"1"}}}}}}"#
            ),
        );
        lane
    }

    /// As above, as a modern server.
    pub(crate) fn greet_modern(&mut self) -> LinkId {
        self.greet_modern_with(r#""tools":{}"#)
    }

    pub(crate) fn greet_modern_with(&mut self, capabilities: &str) -> LinkId {
        let lane = self.connect();
        let (id, _) = self.heard(lane, "server/discover").expect("it is asked who it is");
        self.says(
            lane,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{{{capabilities}}},"ttlMs":0,"cacheScope":"private"}}}}"#
            ),
        );
        lane
    }

    /// What a shard says of itself.
    /// Places for upstreams and endpoints on the first shard.
    pub(crate) fn places(&self) -> (usize, usize) {
        self.gateways[0].places()
    }

    pub(crate) fn census(&self, shard: usize) -> Census {
        self.gateways[shard].census(self.now.at)
    }

    /// Entries in the tables of all shards.
    pub(crate) fn footprint(&self) -> usize {
        self.gateways.iter().map(Gateway::footprint).sum()
    }
}
