//! `tasks/list` (2025-11-25): the tasks that a client has begun on this shard, each as its upstream has it now. What
//! upstreams list themselves is no answer: many principals share a connection.

use super::super::door::Effects;
use super::super::flight::{Asker, FlightKey};
use super::super::inbound::Asked;
use super::super::lane::Lane;
use super::super::principal::Principal;
use super::super::tally::End;
use super::super::{Gateway, answer};
use super::chore::{Chore, Goal, Listing};
use super::shape;
use super::table::{Task, TaskKey};
use crate::base::Now;
use crate::mcp::{Code, Era, Method};
use crate::wire::Json;

/// Tasks on one page: each is a request upstream.
const PAGE: usize = 20;

impl Gateway {
    pub(super) fn list_tasks(&mut self, now: Now, asked: &Asked<'_>, out: &mut Effects) {
        let cursor = asked.parsed.cursor.map(|cursor| cursor.as_str()?.parse::<u64>().ok());
        let Some(after) = cursor.unwrap_or(Some(0)) else {
            let message = "params.cursor is not one of ours";
            return self.refuse(asked, Code::InvalidParams.number(), message, None, out);
        };
        if let Some(why) = self.too_many(asked.client) {
            return self.refuse(asked, Code::Internal.number(), why, None, out);
        }
        let Some(client) = self.clients.get(asked.client) else { return };
        let principal = client.who.principal;
        // Nobody proved to be the anonymous one: what it has begun is known to be its by the connection alone.
        let is_its = |task: &Task| {
            task.era == Era::Legacy
                && task.principal == principal
                && (task.client == asked.client || principal != Principal::ANONYMOUS)
        };
        let mut page: Vec<(TaskKey, u64)> = self
            .tasks
            .after(after)
            .filter(|(_, task)| is_its(task))
            .map(|(key, task)| (key, task.number))
            .take(PAGE + 1)
            .collect();
        let mut listing = Listing::default();
        if page.len() > PAGE {
            page.truncate(PAGE);
            listing.next = page.last().map(|(_, number)| *number);
        }
        listing.left = page.iter().rev().map(|(key, _)| *key).collect();
        let key = self.open_list(now, asked, listing);
        self.list_on(now, key, out);
    }

    fn open_list(&mut self, now: Now, asked: &Asked<'_>, listing: Listing) -> FlightKey {
        self.chore = Some(Box::new(Chore::new(Goal::List(listing), None)));
        let upstream = self.routes.order().first().copied().unwrap_or_default();
        self.open(now, asked.asker(), asked.client, upstream, asked.method, asked.parsed)
    }

    /// Asks about the next one that needs to be asked about; answers, when there is none.
    fn list_on(&mut self, now: Now, key: FlightKey, out: &mut Effects) {
        loop {
            let Some(chore) = self.flights.get_mut(key).and_then(|it| it.chore.as_deref_mut())
            else {
                return;
            };
            let Goal::List(listing) = &mut chore.goal else { return };
            let Some(next) = listing.left.pop() else { break };
            let Some(task) = self.tasks.get(next) else { continue };
            if let Some(kept) = &task.kept {
                push(&mut listing.found, &kept.task);
                continue;
            }
            let (known, lane) = (task.known.clone(), task.lane);
            if !self.lanes.get(lane).is_some_and(Lane::is_ready) {
                continue;
            }
            let upstream = known.id.upstream;
            chore.known = Some(known);
            if let Some(flight) = self.flights.get_mut(key) {
                flight.upstream = upstream;
                flight.lane = Some(lane);
            }
            return self.next_step(now, key, Method::TasksGet, "", out);
        }
        let Some(mut flight) = self.close(key, out) else { return };
        self.settle_flight(&mut flight, End::Answered, out);
        let (Some(chore), Asker::Client { client, id, exchange, .. }) =
            (flight.chore, flight.asker)
        else {
            return;
        };
        let Goal::List(Listing { found, next, .. }) = chore.goal else { return };
        let next = next.map_or_else(String::new, |next| format!(",\"nextCursor\":\"{next}\""));
        self.exchanges.reply(&self.clients, client, exchange, out, |out| {
            answer::open(out, &id);
            out.extend_from_slice(format!("{{\"tasks\":[{found}]{next}}}}}").as_bytes());
        });
    }

    /// One of them, as it is now. One that its upstream does not know any more is left out, and forgotten.
    pub(super) fn listed(
        &mut self,
        now: Now,
        key: FlightKey,
        from: Era,
        answer: Result<Json<'_>, Json<'_>>,
        out: &mut Effects,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let lane = flight.lane;
        let Some(chore) = flight.chore.as_deref_mut() else { return };
        let (Some(known), Goal::List(listing)) = (chore.known.take(), &mut chore.goal) else {
            return;
        };
        match answer {
            Ok(task) => {
                let shown = match from {
                    Era::Legacy => shape::renamed(task, task, &known.token, None),
                    Era::Modern => shape::legacy(task, &known.token, None),
                };
                push(&mut listing.found, &shown);
            }
            // Another refusal says nothing of the task.
            Err(error) => {
                let code = error.get("code").and_then(Json::as_i64);
                if code == Some(Code::InvalidParams.number().into())
                    && let Some(gone) = lane.and_then(|lane| self.tasks.find(lane, &known.id.own))
                {
                    self.forget_task(gone);
                }
            }
        }
        self.list_on(now, key, out);
    }
}

fn push(found: &mut String, task: &str) {
    if !found.is_empty() {
        found.push(',');
    }
    found.push_str(task);
}
