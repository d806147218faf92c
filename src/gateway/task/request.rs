//! What clients ask about tasks, up to the point where an upstream is asked: whether they may, which task it is, and
//! what can be answered here.

use super::super::client::ClientKey;
use super::super::door::Effects;
use super::super::flight::FlightKey;
use super::super::forward::{Choice, does_not_read, unavailable};
use super::super::inbound::Asked;
use super::super::lane::{Lane, LaneKey};
use super::super::upstream::Status;
use super::super::{Gateway, answer, endpoint::Seat};
use super::chore::{Chore, Goal};
use super::create::REQUIRED;
use super::id::{Known, Place};
use super::shape;
use crate::base::{Now, ShardId};
use crate::mcp::capability::declares_tasks;
use crate::mcp::{Code, Era, Method};
use crate::wire::Json;

impl Gateway {
    /// A request about a task.
    pub(in super::super) fn task_request(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        out: &mut Effects,
    ) {
        let is_modern = asked.version.era() == Era::Modern;
        if is_modern && !asked.parsed.meta.capabilities.is_some_and(declares_tasks) {
            return self.refuse_undeclared(asked, out);
        }
        if !self.offers_tasks(asked.client) {
            let message = "none of the upstreams makes tasks";
            return self.refuse(asked, Code::MethodNotFound.number(), message, None, out);
        }
        if asked.method == Method::TasksList {
            return self.list_tasks(now, asked, out);
        }
        let invalid = Code::InvalidParams.number();
        let Some(token) = asked.parsed.task_id.and_then(Json::as_str) else {
            let message = "params.taskId must be a string";
            return self.refuse(asked, invalid, message, None, out);
        };
        if asked.method == Method::TasksUpdate
            && !asked.parsed.input_responses.is_some_and(Json::is_object)
        {
            let message = "params.inputResponses must be an object";
            return self.refuse(asked, invalid, message, None, out);
        }
        let Some(client) = self.clients.get(asked.client) else { return };
        let Some(known) = self.open_task(client.who.principal, &token) else {
            return self.refuse_task(asked, "there is no such task", out);
        };
        match known.id.place {
            Place::Own { shard, .. } | Place::Kept { shard, .. } if shard != self.shard => {
                self.carry_task(asked, shard, out);
            }
            Place::Kept { task, .. } => self.answer_kept(asked, task, out),
            Place::Own { lane, .. } if !self.is_reached(lane, &known) => {
                let message =
                    "the connection that the task lived behind has ended, and the task with it";
                self.refuse_task(asked, message, out);
            }
            _ => {
                let goal = match asked.method {
                    Method::TasksResult => Goal::Result,
                    Method::TasksCancel => Goal::Cancel,
                    Method::TasksUpdate => Goal::Update,
                    _ => Goal::Get,
                };
                let upstream = known.id.upstream;
                self.chore = Some(Box::new(Chore::new(goal, Some(known))));
                let asker = asked.asker();
                self.launch(now, asker, upstream, asked.method, asked.params, asked.parsed, out);
                self.chore = None;
            }
        }
    }

    /// 2026-07-28 extension "Protocol Errors".
    pub(in super::super) fn refuse_undeclared(&mut self, asked: &Asked<'_>, out: &mut Effects) {
        let message = "the request does not declare the extension io.modelcontextprotocol/tasks among its client's capabilities";
        let code = Code::MissingCapability.number();
        self.refuse(asked, code, message, Some(REQUIRED), out);
    }

    /// Unknown tasks and those of others are told apart by nothing.
    pub(super) fn refuse_task(&mut self, asked: &Asked<'_>, message: &str, out: &mut Effects) {
        self.refuse(asked, Code::InvalidParams.number(), message, None, out);
    }

    /// Whether any upstream that the client may know of makes tasks, or may yet turn out to.
    fn offers_tasks(&self, client: ClientKey) -> bool {
        let may = |upstream: &super::super::Upstream| {
            upstream.identity.as_ref().is_none_or(|identity| identity.tasks)
        };
        self.used().any(|(index, upstream)| may(upstream) && self.sees(client, index))
    }

    /// A task that another shard's tables know: the exchange goes on there, where there is one.
    fn carry_task(&mut self, asked: &Asked<'_>, to: ShardId, out: &mut Effects) {
        let is_here = asked.version.era() == Era::Legacy || asked.exchange.is_none();
        if is_here || to.0 >= self.settings.shards {
            let message =
                "the task belongs to another connection of the client's, and is asked about there";
            return self.refuse_task(asked, message, out);
        }
        self.carry_retry(asked, to, out);
    }

    /// Whether a client's own connection is still the one that the task was begun on.
    fn is_reached(&self, lane: LaneKey, known: &Known) -> bool {
        self.lanes.get(lane).is_some_and(|lane| {
            lane.upstream == known.id.upstream && lane.hello.is_some() && lane.is_ready()
        })
    }

    /// A task whose result is kept here.
    fn answer_kept(&mut self, asked: &Asked<'_>, key: super::table::TaskKey, out: &mut Effects) {
        let found = self.tasks.get(key);
        let Some((known, kept)) = found.and_then(|task| Some((&task.known, task.kept.as_deref()?)))
        else {
            return self.refuse_task(asked, "there is no such task any more", out);
        };
        let (task, result, token) = (kept.task.clone(), kept.result.clone(), known.token.clone());
        let text = match (asked.method, asked.version.era()) {
            (Method::TasksResult, _) => shape::related(Json::known(&result), &token),
            (Method::TasksCancel, Era::Legacy) => {
                return self.refuse_task(asked, "the task has ended", out);
            }
            (Method::TasksCancel | Method::TasksUpdate, _) => ACKNOWLEDGED.to_owned(),
            (_, Era::Legacy) => task,
            (_, Era::Modern) => {
                let members = shape::modern_members(Json::known(&task), &token, None);
                format!("{{\"resultType\":\"complete\",{members},\"result\":{result}}}")
            }
        };
        self.exchanges.reply(&self.clients, asked.client, asked.exchange, out, |out| {
            answer::open(out, asked.id);
            out.extend_from_slice(text.as_bytes());
            out.push(b'}');
        });
    }

    /// The connection that a request about a task goes out on.
    pub(in super::super) fn choose_for_task(&mut self, key: FlightKey) -> Option<Choice> {
        let flight = self.flights.get_mut(key)?;
        let chore = flight.chore.as_deref_mut()?;
        let id = &chore.known.as_ref()?.id;
        let upstream = self.upstreams.get(id.upstream)?;
        let number = upstream.endpoints.start + usize::from(id.endpoint);
        let name = &upstream.name;
        let gone = Some(Choice::Unavailable(unavailable(name)));
        if !upstream.endpoints.contains(&number) {
            return gone;
        }
        let endpoint = &self.endpoints[number];
        let lane = match id.place {
            Place::Own { lane, .. } => Some(lane),
            // Of a process that had more shards.
            Place::Seat { shard, .. } if shard.0 >= self.settings.shards => return gone,
            Place::Seat { number: seat, shard } => {
                let is_far = !endpoint.is_stdio && shard != self.shard;
                chore.relay = Some(shard).filter(|_| is_far);
                self.lane_in(Seat { endpoint: number, number: seat.into() })
            }
            Place::Anywhere | Place::Kept { .. } => self.lane_for(number),
        };
        let lane = lane.and_then(|key| Some((key, self.lanes.get(key)?)));
        Some(match (lane, &self.endpoints[number].status) {
            (Some((_, lane)), _) if lane.is_ready() && lane.blocked => {
                Choice::Unavailable(does_not_read(name))
            }
            (Some((key, lane)), _) if lane.is_ready() => Choice::Send(key),
            (_, Status::Starting) => Choice::Wait,
            _ => return gone,
        })
    }

    /// Whether a lane may be given up: tasks of modern clients live behind it while nobody is connected.
    pub(in super::super) fn has_tasks(&self, key: LaneKey) -> bool {
        !self.tasks.is_empty()
            && self.lanes.get(key).is_some_and(Lane::is_ready)
            && self.tasks.has_any_on(key)
    }
}

/// The answer to what changes a task, in the new era.
pub(super) const ACKNOWLEDGED: &str = r#"{"resultType":"complete"}"#;
