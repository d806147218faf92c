//! Seeds of worlds with HTTP: visitors, a few clients on byte streams beside them, and the weather: fair
//! (nothing breaks and everybody is polite), windy (only links break) or stormy.

use std::time::Duration;

use ringgate::gateway::{Settings, Transport};

use super::Happening;
use super::visitor::{Habits, Visitor};
use crate::dice::Dice;
use crate::seed::{self, Outcome};
use crate::trace::Trace;
use crate::world::{self, Pace, World};

/// So that the worlds of one number with and without HTTP have nothing in common.
const SALT: u64 = 0x0048_5454_5000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    Windy,
    Stormy,
}

fn settings(dice: &mut Dice, weather: Weather) -> Settings {
    let mut settings = seed::settings(dice, weather != Weather::Stormy);
    let limits = &mut settings.limits;
    limits.form = limits.form.min(Duration::from_secs(30));
    limits.session_idle = Duration::from_secs(dice.between(60, 600));
    limits.sse_beat = Duration::from_millis(*dice.pick(&[500, 2_000, 15_000]));
    limits.lane_idle = Duration::from_secs(dice.between(1, 60));
    settings
}

fn habits(dice: &mut Dice, weather: Weather) -> Habits {
    if weather == Weather::Fair {
        return Habits { watches: 100, ends: 50, resumes: 100, ..Habits::default() };
    }
    Habits {
        breaks: *dice.pick(&[0, 15, 40, 70]),
        resumes: *dice.pick(&[100, 100, 100, 70, 0]),
        watches: *dice.pick(&[0, 60, 100]),
        pries: if dice.percent(30) { dice.below(40) } else { 0 },
        ends: 50,
    }
}

/// Lives through the world of a seed.
pub fn live(seed: u64, trace: Trace) -> Outcome {
    let mut dice = Dice::new(seed ^ SALT);
    let weather = *dice.pick(&[Weather::Fair, Weather::Windy, Weather::Stormy, Weather::Stormy]);
    let is_calm = weather != Weather::Stormy;
    let settings = settings(&mut dice, weather);
    let pace = Pace {
        link_max: *dice.pick(&[20, 500, 5_000, 40_000]),
        mail_max: *dice.pick(&[5, 200, 20_000]),
        dial_max: *dice.pick(&[50, 3_000, 100_000]),
        chunk_max: *dice.pick(&[300, 100_000]),
    };
    let shards = usize::from(settings.shards);
    let upstreams = settings.upstreams.len();
    let plan = dice.roll();
    let mut world = World::new(settings, Dice::new(plan), pace, trace);
    world.is_faultless = weather == Weather::Fair;
    world.http.is_windy = weather == Weather::Windy;
    for server in 0..upstreams {
        let made = seed::server(&mut dice, is_calm);
        world.servers.push(made);
        let at = dice.below(2_000_000);
        world.plan(at, world::Happening::Whim { server });
        if !is_calm {
            seed::trouble(&mut dice, &mut world, server);
        }
    }
    for visitor in 0..usize::try_from(dice.between(1, 5)).unwrap_or(1) {
        let mut client = seed::client(&mut dice, shards, is_calm);
        // On no shard, and on all.
        (client.shard, client.transport) = (usize::MAX, Transport::Http);
        client.manner.doubles_ids = 0;
        client.manner.bursts = if dice.percent(30) { 20 } else { 0 };
        client.manner.talks = *dice.pick(&[20, 60, 90]);
        if !is_calm || weather == Weather::Windy {
            client.manner.cancels = *dice.pick(&[0, 0, 10, 40]);
        }
        world.clients.push(client);
        let habits = habits(&mut dice, weather);
        world.http.visitors.push(Visitor { habits, ..Visitor::default() });
        let at = dice.below(3_000_000);
        world.plan_http(at, Happening::Enter { visitor });
        if !is_calm && dice.percent(25) {
            let at = at + dice.below(4_000_000);
            world.plan_http(at, Happening::Leave { visitor });
        }
    }
    for _ in 0..dice.below(3) {
        let client = seed::client(&mut dice, shards, is_calm);
        world.clients.push(client);
        let at = dice.below(3_000_000);
        let client = world.clients.len() - 1;
        world.plan(at, world::Happening::Connect { client });
    }
    let mut aside = dice.clone();
    if aside.percent(25) {
        seed::renewals(&mut aside, &mut world);
    }
    if !is_calm && dice.percent(20) {
        let at = dice.below(8_000_000);
        for shard in 0..shards {
            let late = dice.below(3_000);
            world.plan(at + late, world::Happening::Drain { shard });
        }
    }
    end(&mut world);
    seed::outcome(&mut world)
}

/// Lets all come to its end, and checks what must hold then.
fn end(world: &mut World) {
    seed::run_on(world);
    world.judge_missing();
    seed::check_all(world);
    for visitor in 0..world.http.visitors.len() {
        world.visitor_leaves(visitor);
    }
    for client in world.http.visitors.len()..world.clients.len() {
        let reset = world.dice.percent(50);
        world.client_leaves(client, reset);
    }
    // Sessions that nobody ended are forgotten in their time, and so are connections in waiting.
    let limits = &world.settings.limits;
    let idle = 2 * limits.session_idle + limits.lane_idle + Duration::from_secs(2);
    world.run_for_ms(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
    world.check_nothing_left();
    seed::wind_up(world);
}
