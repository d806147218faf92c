//! Tasks that this shard remembers: what a client may list, whom news of one concern, what a legacy server has asked
//! about one, and results of tasks that had ended before they began. Nothing here is needed to find a task: one that
//! is forgotten is still there by its id.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Gateway;
use super::super::client::ClientKey;
use super::super::flight::{FlightKey, HeldAsk};
use super::super::lane::LaneKey;
use super::super::principal::Principal;
use super::super::timer::{Alarm, AlarmKey};
use super::id::Known;
use crate::base::{Key, Slab};
use crate::mcp::Era;

pub type TaskKey = Key<Task>;

/// Questions about one task that wait for answers: as many as a connection may have without one.
pub const ASKS_MAX: usize = super::super::lane::PENDING_ASKS_MAX;

/// One task.
#[derive(Debug)]
pub struct Task {
    pub known: Known,
    /// Who began it, and the era that it speaks.
    pub client: ClientKey,
    pub principal: Principal,
    pub era: Era,
    /// The connection that it was begun on.
    pub lane: LaneKey,
    /// Its place in lists: those that began later have higher ones.
    pub number: u64,
    /// What its server has asked, and the client has not answered.
    pub asks: Vec<HeldAsk>,
    /// The gateway's own `tasks/result`, while which the server asks.
    pub collector: Option<FlightKey>,
    /// The flight that the call had upstream, and the client's own progress token.
    pub progress: Option<(FlightKey, Box<str>)>,
    /// The task as its server told of it last, while the gateway fetches its result for those who listen.
    pub seen: Option<Box<str>>,
    /// Where there is none upstream.
    pub kept: Option<Box<Kept>>,
    pub alarm: Option<AlarmKey>,
}

impl Task {
    fn bytes(&self) -> usize {
        self.kept.as_deref().map_or(0, |kept| kept.result.len())
    }
}

/// A task that had ended before it began, in texts of 2025-11-25.
#[derive(Debug)]
pub struct Kept {
    pub task: String,
    pub result: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tasks {
    slab: Slab<Task>,
    /// By the connection and what the server calls them there.
    by_lane: BTreeMap<(u64, Box<str>), TaskKey>,
    /// By the flights of their calls, for progress.
    by_flight: BTreeMap<u64, TaskKey>,
    /// By age.
    by_number: BTreeMap<u64, TaskKey>,
    /// Those with results, by age.
    with_results: BTreeSet<u64>,
    made: u64,
    kept_bytes: usize,
}

impl Tasks {
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub fn get(&self, key: TaskKey) -> Option<&Task> {
        self.slab.get(key)
    }

    pub fn get_mut(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.slab.get_mut(key)
    }

    /// The task that a lane's server calls so.
    pub fn find(&self, lane: LaneKey, own: &str) -> Option<TaskKey> {
        if self.slab.is_empty() {
            return None;
        }
        self.by_lane.get(&(lane.to_bits(), own.into())).copied()
    }

    /// The task whose call was this flight.
    pub fn of_flight(&self, flight: FlightKey) -> Option<TaskKey> {
        self.by_flight.get(&flight.to_bits()).copied()
    }

    /// Those of one lane.
    pub fn on(&self, lane: LaneKey) -> Vec<TaskKey> {
        let from = (lane.to_bits(), Box::default());
        let of_lane = self.by_lane.range(from..).take_while(|((of, _), _)| *of == lane.to_bits());
        of_lane.map(|(_, &key)| key).collect()
    }

    pub fn has_any_on(&self, lane: LaneKey) -> bool {
        let mut from = self.by_lane.range((lane.to_bits(), Box::default())..);
        from.next().is_some_and(|((of, _), _)| *of == lane.to_bits())
    }

    /// Those that began after the one of this number, in that order.
    pub fn after(&self, number: u64) -> impl Iterator<Item = (TaskKey, &Task)> {
        let later = self.by_number.range(number.saturating_add(1)..);
        later.filter_map(|(_, &key)| Some((key, self.slab.get(key)?)))
    }

    fn insert(&mut self, task: impl FnOnce(TaskKey, u64) -> Task) -> TaskKey {
        self.made += 1;
        let number = self.made;
        let key = self.slab.insert_with(|key| task(key, number));
        let Some(task) = self.slab.get(key) else { return key };
        if task.kept.is_none() {
            self.by_lane.insert((task.lane.to_bits(), task.known.id.own.clone()), key);
        } else {
            self.with_results.insert(number);
            self.kept_bytes += task.bytes();
        }
        if let Some((flight, _)) = &task.progress {
            self.by_flight.insert(flight.to_bits(), key);
        }
        self.by_number.insert(number, key);
        key
    }

    fn remove(&mut self, key: TaskKey) -> Option<Task> {
        let task = self.slab.remove(key)?;
        let place = (task.lane.to_bits(), task.known.id.own.clone());
        if self.by_lane.get(&place) == Some(&key) {
            self.by_lane.remove(&place);
        }
        if let Some((flight, _)) = &task.progress {
            self.by_flight.remove(&flight.to_bits());
        }
        self.by_number.remove(&task.number);
        self.with_results.remove(&task.number);
        self.kept_bytes -= task.bytes();
        Some(task)
    }
}

impl Gateway {
    /// Remembers a task until its time is over. The oldest makes room.
    pub(super) fn remember_task(&mut self, task: impl FnOnce(TaskKey, u64) -> Task) -> TaskKey {
        while self.tasks.len() >= self.settings.limits.tasks_max.max(1) {
            let Some((_, &oldest)) = self.tasks.by_number.first_key_value() else { break };
            self.forget_task(oldest);
        }
        let key = self.tasks.insert(task);
        while self.tasks.kept_bytes > self.settings.limits.task_bytes_max
            && self.tasks.with_results.len() > 1
        {
            let oldest = self.tasks.with_results.first();
            let Some(&oldest) = oldest.and_then(|oldest| self.tasks.by_number.get(oldest)) else {
                break;
            };
            self.forget_task(oldest);
        }
        key
    }

    /// Forgets a task when it has been there so long: as long as its server keeps it, at most the limit `task`.
    pub(super) fn age_task(&mut self, key: TaskKey, ttl: Option<std::time::Duration>) {
        let most = self.settings.limits.task;
        let alarm = self.wheel.set(
            self.exchanges.now,
            ttl.map_or(most, |ttl| ttl.min(most)),
            Alarm::Task(key),
        );
        if let Some(task) = self.tasks.get_mut(key) {
            task.alarm = Some(alarm);
        }
    }

    /// Its time is over, or there is no such task any more.
    pub(in super::super) fn forget_task(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.remove(key) else { return };
        if let Some(alarm) = task.alarm {
            self.wheel.cancel(alarm);
        }
        // Its answer finds nobody, which is nobody's fault.
        if let Some(collector) = task.collector.filter(|&flight| self.flights.contains(flight)) {
            self.flights.remove(collector);
        }
    }

    /// A connection is gone, and what lived behind it.
    pub(in super::super) fn forget_tasks_of(&mut self, lane: LaneKey) {
        if self.tasks.is_empty() {
            return;
        }
        for key in self.tasks.on(lane) {
            self.forget_task(key);
        }
    }
}
