//! Seeds: a whole world from one number. Who lives in it, how they behave and when it ends are dice;
//! what must hold at the end stands here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringgate::base::limits::Limits;
use ringgate::gateway::Settings;
use ringgate::gateway::policy::{Agent, DEFAULT_AGENT, Pattern, Policy, Rules, Side};
use ringgate::gateway::settings::{EraPin, Share, Spread, Target, Upstream};
use ringgate::gateway::tools::Expose;
use ringgate::gateway::trace::Tracing;
use serde_json::{Value, json};

use crate::client::{Client, Manner};
use crate::dice::Dice;
use crate::pipe::State;
use crate::reader::{Habit, Readers};
use crate::server::{AtDiscover, Server};
use crate::trace::Trace;
use crate::world::{Happening, Pace, World};

/// How a world ended.
pub struct Outcome {
    pub hash: u64,
    pub wrongs: Vec<(&'static str, String)>,
    pub trace: Trace,
    pub events: u64,
    pub answered: u64,
    pub succeeded: u64,
    pub cancelled: u64,
    /// Calls that were made more than once.
    pub repeated: u64,
    /// Streams that were gone on with, and those of them that were not kept any more.
    pub resumed: u64,
    pub forgotten: u64,
    pub readers: Readers,
}

const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "1999-01-01"];

/// Everything that a world is made of.
pub fn settings(dice: &mut Dice, is_faultless: bool) -> Settings {
    let count = dice.between(1, 4);
    let shards = dice.between(1, 3);
    let only_builtin = count == 1 && dice.percent(30);
    let upstreams: Vec<Upstream> = (0..count)
        .map(|n| {
            let target = match dice.below(if only_builtin { 1 } else { 6 }) {
                0 => Target::Builtin { folder: Some(PathBuf::from("files")) },
                1 | 2 => Target::Stdio {
                    command: "server".to_owned(),
                    args: Vec::new(),
                    env: std::collections::BTreeMap::new(),
                    cwd: None,
                },
                3 => Target::Unix { path: PathBuf::from("socket") },
                _ => Target::Tcp { address: ([127, 0, 0, 1], 1).into() },
            };
            Upstream {
                name: format!("up{n}"),
                prefix: if count == 1 { String::new() } else { format!("u{n}") },
                target,
                era: EraPin::Auto,
                share: if dice.percent(15) { Share::Always } else { Share::Auto },
                warm: dice.percent(15),
                spread: Spread::default(),
            }
        })
        .collect();
    let mut limits = Limits::default();
    if is_faultless {
        // So that every upstream is ready long before an update is counted on.
        limits.probe = Duration::from_millis(500);
    } else {
        limits.request = Duration::from_millis(dice.between(2_000, 30_000));
        limits.form = Duration::from_millis(dice.between(3_000, 20_000));
        limits.probe = Duration::from_millis(dice.between(500, 5_000));
        limits.drain = Duration::from_millis(dice.between(1_000, 30_000));
        limits.frame_bytes_max = 20_000;
        if dice.percent(30) {
            limits.flights_per_link_max = usize::try_from(dice.between(1, 6)).unwrap_or(1);
        }
        if dice.percent(20) {
            limits.lanes_max = usize::try_from(dice.between(1, 3)).unwrap_or(1);
        }
        if dice.percent(20) {
            limits.subscriptions_max = usize::try_from(dice.between(2, 4)).unwrap_or(1);
        }
        if dice.percent(20) {
            limits.clients_max = usize::try_from(dice.between(1, 3)).unwrap_or(1);
        }
        if dice.percent(10) {
            limits.flights_max = usize::try_from(dice.between(2, 12)).unwrap_or(1);
        }
        if dice.percent(20) {
            limits.ask_rounds_max = 2;
        }
    }
    let learns_tools = dice.percent(30);
    // Rules that allow everything, and audit: nothing that anybody sees may change by them.
    // Thrown aside, so that each seed is the world that it was without them.
    let mut aside = dice.clone();
    let policy = aside.percent(30).then(|| open_policy(&upstreams));
    // And the gateway's own tools, through which some of the calls go then.
    let expose = if aside.percent(40) { Expose::Both } else { Expose::Names };
    // And traces, which servers see and clients do not.
    let traces = aside.percent(25).then(|| Tracing::of(0.5));
    Settings {
        upstreams,
        separator: "__".to_owned(),
        expose,
        limits,
        state_key: [7; 32],
        nonce_seed: [9; 12],
        shards: u16::try_from(shards).unwrap_or(1),
        trusts_agent_id: false,
        learns_tools,
        audits: policy.is_some(),
        traces,
        policy,
        ..Settings::default()
    }
}

/// Rules that allow everything.
fn open_policy(upstreams: &[Upstream]) -> Arc<Policy> {
    let star = || Pattern::parse("*").expect("a pattern");
    let all = || vec![(star(), vec![star()])];
    let allow = Side { servers: vec![star()], tools: all(), prompts: all(), resources: all() };
    let agent = Agent { name: DEFAULT_AGENT.to_owned(), allow, deny: Side::default() };
    let rules = Rules { deny_on_missing_agent: false, agents: vec![agent] };
    let names = upstreams.iter().map(|upstream| upstream.name.as_str());
    Arc::new(Policy::compile(&rules, names))
}

/// Some upstreams are replaced by others that lead to the same servers, which nobody may notice but by being
/// told that lists have changed.
pub fn renewals(dice: &mut Dice, world: &mut World) {
    let mut before = Settings::clone(&world.settings);
    let mut at = 0;
    for _ in 0..dice.between(1, 4) {
        let mut order = before.order();
        let place = dice.index(order.len());
        let old = &before.upstreams[order[place]];
        if matches!(old.target, Target::Builtin { .. }) {
            continue;
        }
        let mut next = before.clone();
        next.upstreams.push(old.clone());
        order[place] = before.upstreams.len();
        next.order = Some(order.into());
        next.generation += 1;
        next.policy = before.policy.is_some().then(|| open_policy(&next.upstreams));
        let grown = Settings {
            upstreams: next.upstreams.clone(),
            order: Some(before.order().into()),
            ..before
        };
        // The servers are numbered as the upstreams were at first, and places are in that order still.
        world.others.push(place);
        at += dice.below(5_000_000);
        world.renewals.push(at);
        for settings in [Arc::new(grown), Arc::new(next.clone())] {
            let late = dice.below(4_000);
            for shard in 0..world.shards.len() {
                let at = at + dice.below(late + 1);
                world.plan(at, Happening::Renew { shard, settings: Arc::clone(&settings) });
            }
            at += late;
        }
        before = next;
    }
}

pub fn server(dice: &mut Dice, is_faultless: bool) -> Server {
    let mut server = Server::new(dice.percent(45));
    server.pages = dice.between(1, 3);
    server.at_discover = match dice.below(4) {
        0 => AtDiscover::Dies,
        1 => AtDiscover::Ignores,
        _ => AtDiscover::Refuses,
    };
    server.list_changed = dice.percent(80);
    server.subscribe = dice.percent(80);
    server.asks_early = dice.percent(30);
    server.whims = dice.below(12);
    server.is_deaf = !is_faultless && dice.percent(10);
    server
}

fn caps(dice: &mut Dice) -> Value {
    let mut caps = json!({});
    for cap in ["sampling", "elicitation", "roots"] {
        if dice.percent(35) {
            caps[cap] = json!({});
        }
    }
    caps
}

pub fn client(dice: &mut Dice, shards: usize, is_faultless: bool) -> Client {
    let is_modern = dice.percent(45);
    let version = VERSIONS[dice.index(VERSIONS.len())];
    let caps = caps(dice);
    let mut client = Client::new(dice.index(shards), is_modern, version, caps);
    client.level = dice.percent(30).then_some("info");
    client.left = dice.between(1, 25);
    client.manner.pause_max = *dice.pick(&[50, 2_000, 100_000, 600_000]);
    client.sends_batches = version == "2025-03-26" && !is_modern && dice.percent(50);
    client.manner.batches = 40;
    if is_faultless {
        if !is_modern && matches!(version, "2024-11-05" | "2025-03-26") {
            // Those revisions have no elicitation, and a polite client knows it.
            client.caps.as_object_mut().map(|caps| caps.remove("elicitation"));
        }
        return client;
    }
    let mut some = |chance: u64| if dice.percent(30) { dice.below(chance) } else { 0 };
    client.manner = Manner {
        cancels: some(60),
        sends_garbage: some(40),
        doubles_ids: some(2),
        never_answers: some(80),
        answers_twice: some(60),
        answers_partly: some(40),
        refuses: some(40),
        breaks: some(60),
        ..client.manner
    };
    client
}

/// Lives through the world of a seed.
pub fn live(seed: u64, trace: Trace) -> Outcome {
    let mut dice = Dice::new(seed);
    let is_faultless = dice.percent(30);
    let settings = settings(&mut dice, is_faultless);
    let pace = Pace {
        link_max: *dice.pick(&[20, 500, 5_000, 40_000]),
        mail_max: *dice.pick(&[5, 200, 20_000]),
        dial_max: *dice.pick(&[50, 3_000, 100_000]),
        chunk_max: *dice.pick(&[40, 300, 100_000]),
    };
    let shards = usize::from(settings.shards);
    let upstreams = settings.upstreams.len();
    let plan = dice.roll();
    let mut world = World::new(settings, Dice::new(plan), pace, trace);
    world.is_faultless = is_faultless;
    for number in 0..upstreams {
        let server = server(&mut dice, is_faultless);
        world.servers.push(server);
        let at = dice.below(2_000_000);
        world.plan(at, Happening::Whim { server: number });
        if !is_faultless {
            trouble(&mut dice, &mut world, number);
        }
    }
    let clients = dice.between(1, 6);
    for number in 0..usize::try_from(clients).unwrap_or(1) {
        world.clients.push(client(&mut dice, shards, is_faultless));
        let at = dice.below(3_000_000);
        world.plan(at, Happening::Connect { client: number });
        if !is_faultless && dice.percent(25) {
            let at = at + dice.below(4_000_000);
            let reset = dice.percent(50);
            world.plan(at, Happening::Leave { client: number, reset });
        }
    }
    let mut aside = dice.clone();
    if aside.percent(25) {
        renewals(&mut aside, &mut world);
    }
    // Who reads slowly does not hear of every change, and some are given up.
    if !is_faultless && aside.percent(40) {
        for client in &mut world.clients {
            client.habit = aside.percent(50).then(|| Habit::roll(&mut aside));
        }
    }
    if !is_faultless && dice.percent(20) {
        let at = dice.below(8_000_000);
        for shard in 0..shards {
            let late = dice.below(3_000);
            world.plan(at + late, Happening::Drain { shard });
        }
    }
    end(&mut world);
    outcome(&mut world)
}

/// What a world has been, once it has ended.
pub fn outcome(world: &mut World) -> Outcome {
    let sum = |count: fn(&crate::judge::Judge) -> u64| {
        world.clients.iter().map(|client| count(&client.judge)).sum()
    };
    Outcome {
        hash: world.trace.hash(),
        answered: sum(|judge| judge.answered),
        succeeded: sum(|judge| judge.succeeded),
        cancelled: sum(|judge| judge.cancelled),
        repeated: world.effects.values().map(|effect| effect.count - 1).sum(),
        resumed: world.http.visitors.iter().map(|visitor| visitor.resumed).sum(),
        forgotten: world.http.visitors.iter().map(|visitor| visitor.forgotten).sum(),
        readers: world.readers,
        wrongs: std::mem::take(&mut world.wrongs),
        events: world.events,
        trace: std::mem::replace(&mut world.trace, Trace::new(false, false)),
    }
}

/// What goes wrong with a server by itself.
pub fn trouble(dice: &mut Dice, world: &mut World, server: usize) {
    if dice.percent(20) {
        world.servers[server].up = false;
        let at = dice.below(4_000_000);
        world.plan(at, Happening::Up { server, is: true });
    }
    for _ in 0..dice.below(3) {
        let at = dice.below(8_000_000);
        let long = dice.below(2_000_000);
        world.plan(at, Happening::Up { server, is: false });
        world.plan(at + long, Happening::Up { server, is: true });
    }
    for _ in 0..dice.below(3) {
        // Whichever pipe has that number by then.
        let pipe = dice.index(12);
        let at = dice.below(8_000_000);
        let long = dice.below(2_000_000);
        world.plan(at, Happening::Blocked { pipe, is: true });
        world.plan(at + long, Happening::Blocked { pipe, is: false });
    }
}

/// Lets all come to its end, and checks what must hold then.
pub fn end(world: &mut World) {
    run_on(world);
    check_all(world);
    for client in 0..world.clients.len() {
        let reset = world.dice.percent(50);
        world.client_leaves(client, reset);
    }
    world.run_for_ms(2_000);
    world.check_nothing_left();
    wind_up(world);
}

/// Runs until whatever was begun must have ended.
pub fn run_on(world: &mut World) {
    // Whatever the clients want to do, they have begun it by then.
    world.run_until(20_000_000);
    let limits = world.settings.limits.clone();
    // A call may be asked back round for round, each with a form that nobody fills in.
    let rounds = u64::from(limits.ask_rounds_max.min(6)) + 2;
    let longest = (limits.form + limits.request).as_micros();
    let longest = u64::try_from(longest).unwrap_or(u64::MAX) * rounds;
    world.run_until(world.now + longest);
}

/// What must hold when whatever was begun has ended.
pub fn check_all(world: &mut World) {
    for client in 0..world.clients.len() {
        let missing = world.clients[client].judge.missing();
        if !missing.is_empty() {
            world.wrong("every request is answered", format!("client {client}: {missing:?}"));
        }
    }
    world.check_updates();
    world.check_cancelled();
    world.check_readers();
}

/// Drains a world that everybody has left: nothing goes on and nothing stays.
pub fn wind_up(world: &mut World) {
    for shard in 0..world.shards.len() {
        world.plan(world.now, Happening::Drain { shard });
    }
    let ended = world.run_out(400_000_000);
    if ended.is_none() {
        world.wrong("the world ends after a drain", "something goes on for ever".to_owned());
    }
    for shard in 0..world.shards.len() {
        let found = &world.shards[shard];
        let (footprint, drained) = (found.gateway.footprint(), found.drained);
        let deadline = found.gateway.deadline();
        if footprint != 0 || drained != 1 || deadline.is_some() {
            world.wrong(
                "nothing is left after a drain",
                format!("shard {shard}: {footprint} entries, drained {drained} times, deadline {deadline:?}"),
            );
        }
    }
    let open =
        world.pipes.iter().filter(|pipe| pipe.state == State::Open).map(super::pipe::Pipe::name);
    let open: Vec<String> = open.collect();
    if !open.is_empty() {
        world.wrong("no link is open after a drain", format!("{open:?}"));
    }
}
