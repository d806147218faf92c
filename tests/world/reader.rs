//! Readers: clients that take what they are sent in their own time, and what a transport does about them. It goes by the
//! rule of `base::pressure`, as a shard does: it tells the gateway who is blocked, stops reading from him, and gives up
//! who takes next to nothing for the time of the limit `blocked`. Not here: what the gateway does then.

use ringgate::base::Moment;
use ringgate::base::pressure::{Change, Pressure, Spell};
use ringgate::gateway::Event;
use ringgate::gateway::behind::NEWS_BYTES_MAX;
use serde_json::json;

use crate::dice::Dice;
use crate::pipe::{End, Pipe, State};
use crate::server::Server;
use crate::stage;
use crate::world::{Happening, World};

/// How often a reader looks whether something has come, in microseconds.
const TICK: u64 = 20_000;
/// What may wait for a client beyond its bound: news for a while, and what it had asked for before it was stopped.
const OWED_BYTES_MAX: usize = NEWS_BYTES_MAX + (256 << 10);

/// How a client reads.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Bytes that it takes with each look.
    pub bytes: usize,
    /// From when on, and until when, it takes nothing.
    pub stops: (u64, u64),
    /// Bytes that may wait for it (`outbox_bytes_max`).
    pub bound: usize,
}

/// It never goes on.
pub const NEVER: u64 = u64::MAX;

impl Habit {
    pub fn roll(dice: &mut Dice) -> Self {
        let from = dice.below(6_000_000);
        let time = *dice.pick(&[0, 200_000, 2_000_000, 4_000_000, 30_000_000, NEVER]);
        Self {
            bytes: *dice.pick(&[40, 400, 4_000, 100_000]),
            stops: (from, from.saturating_add(time)),
            bound: *dice.pick(&[600, 4_000, 20_000]),
        }
    }
}

/// What a transport knows of such a client.
#[derive(Debug)]
pub struct Reader {
    habit: Habit,
    pressure: Pressure,
    spell: Option<Spell>,
    waiting: usize,
    /// Bytes that it has taken of the first piece under way.
    begun: usize,
    is_planned: bool,
}

/// What came of readers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readers {
    pub blocked: u64,
    pub freed: u64,
    pub given_up: u64,
    /// Sources of theirs that were held up.
    pub held_up: u64,
}

impl Readers {
    pub const fn add(&mut self, others: Self) {
        self.blocked += others.blocked;
        self.freed += others.freed;
        self.given_up += others.given_up;
        self.held_up += others.held_up;
    }
}

impl Reader {
    pub const fn new(habit: Habit) -> Self {
        let pressure = Pressure::NONE;
        Self { habit, pressure, spell: None, waiting: 0, begun: 0, is_planned: false }
    }

    pub const fn takes(&self) -> bool {
        self.pressure.takes()
    }

    pub fn spend(&mut self) {
        self.pressure.spend(1);
    }
}

impl World {
    /// A client reads like this from now on.
    pub fn reads(&mut self, client: usize, habit: Habit) {
        if let Some(pipe) = self.clients[client].pipe {
            self.pipes[pipe].reader = Some(Box::new(Reader::new(habit)));
        }
    }

    /// So many bytes more wait for a client that reads in its own time; false if there is none.
    pub fn reader_is_owed(&mut self, pipe: usize, bytes: usize) -> bool {
        let at = Moment::from_micros(self.now);
        let Some(reader) = &mut self.pipes[pipe].reader else { return false };
        reader.waiting += bytes;
        let (waiting, bound) = (reader.waiting, reader.habit.bound);
        let change = reader.pressure.filled(waiting, bound);
        if matches!(change, Change::BackedUp | Change::Blocked) {
            reader.spell.get_or_insert(Spell::new(at));
        }
        let is_planned = std::mem::replace(&mut reader.is_planned, true);
        if waiting > bound + OWED_BYTES_MAX {
            self.wrong(
                "what waits for a client is bounded",
                format!("{}: {waiting} bytes", self.pipes[pipe].name()),
            );
        }
        if change == Change::Blocked {
            self.readers.blocked += 1;
            self.plan(self.now, Happening::Pressed { pipe, is: true });
            self.reader_is_stalled(pipe);
        }
        if !is_planned {
            self.plan_in(TICK, Happening::Take { pipe });
        }
        true
    }

    /// Nothing more is read from a client that is behind: its time runs.
    pub fn reader_is_stalled(&mut self, pipe: usize) {
        let until = Moment::from_micros(self.now).after(self.settings.limits.blocked);
        let spell = self.pipes[pipe].reader.as_mut().and_then(|reader| reader.spell.as_mut());
        if spell.is_some_and(|spell| spell.begins_time(until)) {
            self.plan(until.as_micros(), Happening::Patience { pipe });
        }
    }

    /// A link that has something to say is not read. One whose actor is gone ends nevertheless, where that is found out by
    /// writing.
    pub fn is_not_read(&mut self, pipe: usize) {
        let found = &self.pipes[pipe];
        if found.reader.as_ref().is_none_or(|reader| reader.takes()) {
            return;
        }
        if found.ended && found.is_left {
            self.closed(pipe, "broken pipe");
        } else {
            self.reader_is_stalled(pipe);
        }
    }

    /// The gateway is told that a link is blocked, or free.
    pub fn blocked(&mut self, pipe: usize, is: bool) {
        let Pipe { shard, link, state, .. } = self.pipes[pipe];
        if state == State::Open {
            let event = if is { Event::Blocked { link } } else { Event::Unblocked { link } };
            self.handle(shard, event);
        }
    }

    /// A client looks whether something has come.
    pub fn reader_takes(&mut self, pipe: usize) {
        let found = &mut self.pipes[pipe];
        let (is_gone, link) = (found.is_left || found.state == State::Closed, found.link);
        let Some(reader) = &mut found.reader else { return };
        reader.is_planned = false;
        let (from, until) = reader.habit.stops;
        if is_gone || reader.waiting == 0 {
            return;
        }
        if from <= self.now && self.now < until {
            if until != NEVER {
                reader.is_planned = true;
                self.plan(until, Happening::Take { pipe });
            }
            return;
        }
        let mut most = reader.habit.bytes;
        let mut taken = 0;
        let mut pieces = Vec::new();
        for piece in &found.under_way {
            let rest = piece.len() - reader.begun;
            if rest > most {
                reader.begun += most;
                taken += most;
                break;
            }
            reader.begun = 0;
            most -= rest;
            taken += rest;
            pieces.push(piece.clone());
        }
        reader.waiting -= taken;
        let (at, bound) = (Moment::from_micros(self.now), reader.habit.bound);
        if let Some(spell) = &mut reader.spell {
            spell.take(taken);
            spell.earns_time(bound, at.after(self.settings.limits.blocked));
        }
        let change = reader.pressure.drained(reader.waiting, bound);
        if matches!(change, Change::Eased | Change::Freed)
            && let Some(spell) = reader.spell.take()
        {
            reader.pressure.adapt(&spell, at, bound);
        }
        if reader.waiting > 0 {
            reader.is_planned = true;
            self.plan_in(TICK, Happening::Take { pipe });
        }
        self.trace.note(self.now, format_args!("{link} takes {taken}"), b"");
        if change == Change::Freed {
            self.readers.freed += 1;
            self.plan(self.now, Happening::Pressed { pipe, is: false });
        }
        self.plan(self.now, Happening::Pump { pipe });
        for piece in pieces {
            self.deliver(pipe, &piece);
        }
    }

    /// The time of a client that was behind may be over.
    pub fn reader_is_looked_at(&mut self, pipe: usize) {
        let found = &self.pipes[pipe];
        let spell = found.reader.as_ref().and_then(|reader| reader.spell);
        let left = spell.and_then(|spell| spell.left(Moment::from_micros(self.now)));
        let Some(left) = left.filter(|_| found.state == State::Open) else { return };
        if !left.is_zero() {
            let left = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
            return self.plan_in(left, Happening::Patience { pipe });
        }
        self.readers.given_up += 1;
        self.closed(pipe, "blocked for longer than limits.blocked");
        self.end_of(pipe);
    }

    /// Who was behind has caught up or is gone, and nothing of his stands still.
    pub fn check_readers(&mut self) {
        for pipe in 0..self.pipes.len() {
            let found = &self.pipes[pipe];
            if found.state != State::Open {
                continue;
            }
            let name = found.name();
            if found.paused && matches!(found.end, End::Server(_)) {
                self.wrong("a source that was held up goes on", name.clone());
            }
            let found = &self.pipes[pipe];
            let Some(reader) = &found.reader else { continue };
            if reader.spell.is_some_and(|spell| spell.is_timed()) {
                self.wrong("who is behind catches up or is given up", name);
            } else if reader.habit.stops.1 < self.now && !found.is_left && reader.waiting > 0 {
                let waiting = reader.waiting;
                self.wrong("who reads gets all", format!("{name}: {waiting} bytes wait"));
            }
        }
    }
}

/// Takes what is there, or nothing at all from the beginning.
fn habit(until: u64) -> Habit {
    Habit { bytes: 10_000, stops: (0, until), bound: 1_000 }
}

#[test]
fn who_never_reads_is_given_up_in_time_and_costs_nobody_an_answer() {
    for (is_modern, server_is_modern) in stage::ERAS {
        let mut world = stage::one(Server::new(server_is_modern));
        let stuck = world.join(is_modern, json!({"sampling": {}}));
        let other = world.join(is_modern, json!({}));
        world.reads(stuck, habit(NEVER));
        for id in 1..=20 {
            world.call(stuck, id, "work", "p p p p");
            world.call(other, id, "work", "p");
        }
        world.run_for_ms(4_000);
        assert!(world.clients[stuck].pipe.is_some(), "its time is not over");
        world.run_for_ms(2_000);
        assert_eq!(world.clients[stuck].pipe, None);
        assert_eq!((world.readers.blocked, world.readers.given_up), (1, 1));
        for id in 1..=20 {
            assert!(!world.answer_of(other, id).is_null(), "{id} of who reads");
        }
        world.finish();
    }
}

#[test]
fn a_source_that_was_held_up_goes_on_where_it_stopped_once_its_reader_does() {
    for is_modern in [false, true] {
        let mut world = stage::one(Server::new(false));
        // It can be asked, so its connection to a legacy server is its own.
        let slow = world.join(is_modern, json!({"sampling": {}}));
        world.reads(slow, habit(world.now + 4_000_000));
        for id in 1..=20 {
            world.call(slow, id, "work", "p p w p p");
        }
        world.run_for_ms(3_000);
        let is_held_up = |world: &World| world.pipes.iter().any(|pipe| pipe.paused);
        assert!(is_held_up(&world) && world.readers.held_up == 1);
        world.run_for_ms(4_000);
        assert!(!is_held_up(&world));
        let asked = (1..=20).filter(|&id| !world.answer_of(slow, id).is_null()).count();
        assert_eq!(asked, 20, "all that it asked is answered");
        assert_eq!((world.readers.given_up, world.readers.freed > 0), (0, true));
        world.check_readers();
        world.finish();
    }
}
