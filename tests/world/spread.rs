//! Worlds in which upstreams have several endpoints, that die, hang and come back. What every world promises holds in
//! them as well; besides, no call reaches servers twice that may have had an effect, unless the configuration says
//! that it does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use ringgate::gateway::policy::Pattern;
use ringgate::gateway::settings::{Endpoint, Pool, Rank, Select, Settings, Spread, Target};

use crate::dice::Dice;
use crate::seed::{self, Outcome};
use crate::trace::Trace;
use crate::world::{Happening, Pace, World};

const SELECTS: [Select; 5] = [
    Select::RoundRobin,
    Select::LeastLoaded,
    Select::LeastLatency,
    Select::Weighted,
    Select::Adaptive,
];

fn rank(dice: &mut Dice) -> Rank {
    let of = |most: u64, dice: &mut Dice| u32::try_from(dice.between(1, most)).unwrap_or(1);
    Rank { priority: of(2, dice), weight: of(3, dice) }
}

fn pool(dice: &mut Dice) -> Pool {
    let min = usize::try_from(dice.between(1, 2)).unwrap_or(1);
    Pool { min, max: min + dice.index(3) }
}

/// Gives upstreams more endpoints.
fn spread(dice: &mut Dice, settings: &mut Settings) {
    for upstream in &mut settings.upstreams {
        if matches!(upstream.target, Target::Builtin { .. }) {
            continue;
        }
        let others = (0..dice.between(1, 3)).map(|_| {
            let target = if dice.percent(40) {
                Target::Stdio {
                    command: "server".to_owned(),
                    args: Vec::new(),
                    env: BTreeMap::new(),
                    cwd: None,
                }
            } else {
                Target::Tcp { address: ([127, 0, 0, 1], 1).into() }
            };
            Endpoint { target, rank: rank(dice) }
        });
        let others = others.collect();
        let idempotent = dice.percent(40).then(|| Pattern::parse("wor*").expect("a pattern"));
        let multiplex = idempotent.clone().filter(|_| dice.percent(40));
        upstream.spread = Spread {
            rank: rank(dice),
            others,
            select: *dice.pick(&SELECTS),
            idempotent: idempotent.into_iter().collect(),
            multiplex: multiplex.into_iter().collect(),
            pool: pool(dice),
            ..Spread::default()
        };
    }
    let limits = &mut settings.limits;
    // So that pools grow and shrink, and idle endpoints are asked, while somebody is there.
    limits.lane_flights = usize::try_from(dice.between(1, 4)).unwrap_or(1);
    limits.lane_idle = Duration::from_millis(dice.between(500, 5_000));
    limits.health = Duration::from_millis(dice.between(10_000, 30_000));
    limits.health_wait = Duration::from_millis(dice.between(200, 5_000));
    settings.limits.retries = u32::try_from(dice.below(3)).unwrap_or(1);
}

/// Lives through the world of a seed.
pub fn live(seed: u64, trace: Trace) -> Outcome {
    // Other worlds than those without.
    let mut dice = Dice::new(seed.wrapping_add(1 << 40));
    let is_faultless = dice.percent(20);
    let mut settings = seed::settings(&mut dice, is_faultless);
    spread(&mut dice, &mut settings);
    let pace = Pace {
        link_max: *dice.pick(&[20, 500, 5_000, 40_000]),
        mail_max: *dice.pick(&[5, 200, 20_000]),
        dial_max: *dice.pick(&[50, 3_000, 100_000]),
        chunk_max: *dice.pick(&[9, 40, 300, 100_000]),
    };
    let shards = usize::from(settings.shards);
    let endpoints: Vec<usize> = ringgate::gateway::settings::endpoints(&settings.upstreams)
        .map(|(upstream, _)| upstream)
        .collect();
    // Endpoints of one upstream are one server, started several times; but for a few that are not.
    let kinds: Vec<_> =
        settings.upstreams.iter().map(|_| seed::server(&mut dice, is_faultless)).collect();
    let plan = dice.roll();
    let mut world = World::new(settings, Dice::new(plan), pace, trace);
    world.is_faultless = is_faultless;
    for (number, &upstream) in endpoints.iter().enumerate() {
        let mut server = seed::server(&mut dice, is_faultless);
        if !dice.percent(15) {
            server.is_modern = kinds[upstream].is_modern;
            server.list_changed = kinds[upstream].list_changed;
            server.subscribe = kinds[upstream].subscribe;
        }
        world.servers.push(server);
        let at = dice.below(2_000_000);
        world.plan(at, Happening::Whim { server: number });
        if !is_faultless {
            seed::trouble(&mut dice, &mut world, number);
            for _ in 0..dice.below(2) {
                let (at, long) = (dice.below(8_000_000), dice.below(20_000_000));
                world.plan(at, Happening::Freeze { server: number, is: true });
                world.plan(at + long, Happening::Freeze { server: number, is: false });
            }
        }
    }
    for number in 0..usize::try_from(dice.between(1, 6)).unwrap_or(1) {
        world.clients.push(seed::client(&mut dice, shards, is_faultless));
        let at = dice.below(3_000_000);
        world.plan(at, Happening::Connect { client: number });
    }
    seed::end(&mut world);
    judge_effects(&mut world);
    seed::outcome(&mut world)
}

/// No call is made twice that may have had an effect; one that does no harm as often as the limit allows.
fn judge_effects(world: &mut World) {
    let mut wrongs = Vec::new();
    for ((mark, round), effect) in &world.effects {
        let client = crate::marks::tokens(mark).next().map(|(client, _)| client);
        // What a client itself asks for twice is made twice.
        let is_loose = client.is_none_or(|client| {
            let manner = &world.clients[client].manner;
            manner.doubles_ids > 0 || manner.answers_twice > 0
        });
        let again = if effect.is_harmless { u64::from(world.settings.limits.retries) } else { 0 };
        // What goes to all goes to each once.
        let most = if effect.places > 1 { effect.places } else { 1 + again };
        if effect.count > most && !is_loose {
            wrongs.push(format!("{mark}, round {round}: {} times", effect.count));
        }
    }
    for wrong in wrongs {
        world.wrong("what may have had an effect is not made twice", wrong);
    }
}
