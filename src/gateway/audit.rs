//! Audit: what was decided about each use of a tool, prompt or resource, and how long the use took. Lists are
//! no use. Who writes records down, and where, is the edge's business; the domain makes them and forgets them.

use std::time::Duration;

use super::Gateway;
use super::door::{Effects, Transport};
use super::guard::Finding;
use super::inbound::Asked;
use super::policy::{AgentId, Decision, Kind};
use super::principal::Principal;
use crate::base::{Moment, Now};
use crate::mcp::Method;

/// Bytes kept of a name. A stranger's may be as long as a frame, and a queue of them would fill the memory, a
/// file of them would push out what was written before.
const NAME_BYTES_MAX: usize = 256;

/// One decision. Names are numbers of the settings', so that making one costs little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was decided, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// Of the settings whose numbers these are.
    pub generation: u32,
    begun: Moment,
    pub principal: Principal,
    pub agent: AgentId,
    pub transport: Transport,
    pub method: Method,
    /// Index of the settings' upstreams.
    pub upstream: usize,
    /// `None` for tasks.
    pub kind: Option<Kind>,
    /// What its upstream calls the thing; of a long name the beginning, and `…`.
    pub name: Box<str>,
    /// `None` where there is no policy.
    pub decision: Option<Decision>,
    /// What the guard has found in the arguments of a tool.
    pub found: Option<Box<Finding>>,
    /// From the request to its end, whichever it was; nothing for what was denied.
    pub took: Duration,
}

impl Record {
    /// Neither policy nor guard stood in the way.
    pub fn is_allowed(&self) -> bool {
        self.decision.is_none_or(|decision| decision.is_allowed)
            && self.found.as_ref().is_none_or(|found| !found.is_denied)
    }
}

impl Gateway {
    /// A request was judged. What was allowed is written down at its end: a flight that is opened for it takes
    /// the record along, else [`Gateway::end_request`] finds it.
    pub(super) fn begin_audit(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        upstream: usize,
        (kind, name): (Option<Kind>, &str),
        (decision, found): (Option<Decision>, Option<Box<Finding>>),
        out: &mut Effects,
    ) {
        let Some(client) = self.clients.get(asked.client) else { return };
        let record = Box::new(Record {
            unix_ms: now.unix_ms,
            generation: self.settings.generation,
            begun: now.at,
            principal: client.who.principal,
            agent: self.agent_of(Some(client)),
            transport: client.transport,
            method: asked.method,
            upstream,
            kind,
            name: cut(name),
            decision,
            found,
            took: Duration::ZERO,
        });
        if record.is_allowed() {
            self.audit = Some(record);
        } else {
            out.records.push(*record);
        }
    }

    /// The request that is being handled is over, or a flight is under way for it: what no flight took along is
    /// written down.
    #[inline]
    pub(super) fn end_request(&mut self, out: &mut Effects) {
        if self.audit.is_some() || self.span.is_some() || self.context.is_some() {
            self.end_request_now(out);
            self.context = None;
        }
    }

    #[cold]
    pub(super) fn end_request_now(&mut self, out: &mut Effects) {
        if let Some(record) = self.audit.take() {
            self.write_audit(*record, out);
        }
        self.end_span(out);
    }

    #[cold]
    pub(super) fn write_audit(&self, mut record: Record, out: &mut Effects) {
        record.took = self.exchanges.now.since(record.begun);
        out.records.push(record);
    }
}

fn cut(name: &str) -> Box<str> {
    match name.get(..name.floor_char_boundary(NAME_BYTES_MAX)) {
        Some(head) if head.len() < name.len() => format!("{head}…").into(),
        _ => name.into(),
    }
}
