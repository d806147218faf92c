//! What a shard runs, and what reaches upstreams for it: the two doors that a shard knows. The
//! gateway is the domain; tests put smaller ones in its place. The floor above is the dialer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::post::Post;
use crate::base::{LinkId, Moment, Now, ShardId};
use crate::gateway::audit::Record;
use crate::gateway::census::Census;
use crate::gateway::keys::Digest;
use crate::gateway::principal::Principal;
use crate::gateway::settings::Settings;
use crate::gateway::token::SubjectToken;
use crate::gateway::trace::Span;
use crate::gateway::{Effects, Event, Gateway};

/// A machine without sockets and clock: an event in, effects out, at once.
pub trait Domain: 'static {
    /// Runs one event to its end.
    fn handle(&mut self, now: Now, event: Event<'_>, out: &mut Effects);

    /// When [`Event::Tick`] is wanted next.
    fn deadline(&self) -> Option<Moment>;

    /// Whether [`Domain::admit`] wants to be asked.
    fn counts_addresses(&self) -> bool {
        false
    }

    /// Whether one more connection from this address is let in; if not, how long until it is worth trying.
    fn admit(&mut self, _now: Now, _address: IpAddr, _out: &mut Effects) -> Result<(), Duration> {
        Ok(())
    }

    /// Whether answers are still under way to a client that has said that it sends no more. Such a
    /// link stays open for them; it is asked again after each send to it, and now and then.
    fn owes(&self, _link: LinkId) -> bool {
        false
    }

    /// What it says of itself, where it does.
    fn census(&self, _now: Now) -> Option<Box<Census>> {
        None
    }
}

impl Domain for Gateway {
    fn handle(&mut self, now: Now, event: Event<'_>, out: &mut Effects) {
        Self::handle(self, now, event, out);
    }

    fn deadline(&self) -> Option<Moment> {
        Self::deadline(self)
    }

    fn counts_addresses(&self) -> bool {
        Self::counts_addresses(self)
    }

    fn admit(&mut self, now: Now, address: IpAddr, out: &mut Effects) -> Result<(), Duration> {
        Self::admit(self, now, address, out)
    }

    fn owes(&self, link: LinkId) -> bool {
        Self::owes(self, link)
    }

    fn census(&self, now: Now) -> Option<Box<Census>> {
        Some(Box::new(Self::census(self, now.at)))
    }
}

/// Takes records of the audit log without ever waiting: what it cannot take is lost. The floor above writes
/// them down.
#[derive(Clone)]
pub struct AuditSink(Arc<TakeRecords>);

type TakeRecords = dyn Fn(ShardId, &mut Vec<Record>) -> bool + Send + Sync;

impl AuditSink {
    /// `take` empties the records of a turn of a shard, and says whether they were taken: all of them, or none.
    pub fn new(take: impl Fn(ShardId, &mut Vec<Record>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn take(&self, shard: ShardId, records: &mut Vec<Record>) -> bool {
        (self.0)(shard, records)
    }
}

impl fmt::Debug for AuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuditSink").finish_non_exhaustive()
    }
}

/// Takes spans without ever waiting: what it cannot take is lost. The floor above has them collected.
#[derive(Clone)]
pub struct TraceSink(Arc<dyn Fn(Box<Span>) -> bool + Send + Sync>);

impl TraceSink {
    /// `take` says whether the span was taken.
    pub fn new(take: impl Fn(Box<Span>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn take(&self, span: Box<Span>) -> bool {
        (self.0)(span)
    }
}

impl fmt::Debug for TraceSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TraceSink").finish_non_exhaustive()
    }
}

/// What a shard finds out about who asks, for the floor above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A token is signed by a key that is not known: newer keys are wanted.
    KeyUnknown,
    /// A token was verified for the first time: what its issuer calls its subject.
    Subject { principal: Principal, name: Box<str> },
    /// A server has refused the token that we showed it.
    TokenRefused { upstream: usize, token: Arc<str> },
    /// A token is wanted in exchange for a caller's, and another than one that its server has refused. Answered by
    /// [`Post::exchanged`] to this shard, exactly once.
    Exchange {
        shard: ShardId,
        upstream: usize,
        subject: Arc<SubjectToken>,
        refused: Option<AccessToken>,
    },
}

/// A token as `Authorization` has it, which stays out of every log.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(pub Arc<str>);

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// What came of a caller's token.
#[derive(Clone, Debug)]
pub struct Exchanged {
    pub upstream: usize,
    /// Of the caller's token.
    pub subject: Digest,
    /// Or why there is none; the caller is told.
    pub outcome: Result<AccessToken, Arc<str>>,
    /// How long that holds.
    pub lasts: Duration,
}

/// Takes notices without ever waiting: what it cannot take is lost.
#[derive(Clone)]
pub struct IdentitySink(Arc<dyn Fn(Notice) + Send + Sync>);

impl IdentitySink {
    pub fn new(take: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub fn tell(&self, notice: Notice) {
        (self.0)(notice);
    }
}

impl fmt::Debug for IdentitySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentitySink").finish_non_exhaustive()
    }
}

/// Reaches upstreams: the floor above connects and spawns.
pub trait Dialer: 'static {
    /// Begins to reach the endpoint of this number (`settings::endpoints`), and answers with
    /// [`Post::dialed`] under the same ticket, exactly once, from any thread. Called on the shard's
    /// thread, with its runtime running: must not block.
    fn dial(&mut self, endpoint: usize, ticket: u64, post: &Post);

    /// What may be dialled, and how, has changed; places of upstreams stay.
    fn renew(&mut self, _settings: &Settings) {}

    /// A token was granted for requests to this upstream, as `Authorization` has it. On the shard's thread.
    fn granted(&mut self, _upstream: usize, _token: Arc<str>) {}

    /// What came of [`Notice::Exchange`]. On the shard's thread.
    fn exchanged(&mut self, _now: Moment, _exchanged: Exchanged) {}

    /// The link of this ticket is gone, or came too late: what was started for it may end.
    fn released(&mut self, _ticket: u64) {}
}

/// Reaches nothing: for domains without upstreams.
#[derive(Debug)]
pub struct NoDialer;

impl Dialer for NoDialer {
    fn dial(&mut self, _endpoint: usize, ticket: u64, post: &Post) {
        post.dialed(ticket, Err("nothing is dialled here".to_owned()));
    }
}
