//! Rate limits: how many messages, calls and subscriptions a principal may send, and how many all may together,
//! by the second. A budget that is full holds one second's worth, so that a burst is not punished.
//!
//! Shards share nothing, so each budget lives on one of them, its home. The others use it by leases of some
//! milliseconds' worth, which they ask for by mail, and while an answer is under way they use their share of a
//! second's worth on credit. Credit is charged to the budget too: over time exactly what the limit allows is let
//! through, whichever shards it came to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Gateway;
use super::client::{Client, ClientKey};
use super::door::{Effect, Effects, Mail};
use super::exchange::{ExchangeKey, Limited};
use super::principal::Principal;
use crate::base::{Moment, Now, ShardId};
use crate::mcp::{Code, Era, Method};

/// How much each budget gives in a second; 0 is without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests and notifications of one principal. Those that prove to be nobody are one together.
    pub messages: u32,
    /// Of these, calls of tools.
    pub calls: u32,
    /// Of these, subscriptions.
    pub subscriptions: u32,
    /// Requests and notifications of everybody.
    pub all: u32,
    /// Connections from one address.
    pub connections: u32,
    /// Times in a minute that an address may go over a rate before it is shut out; 0 is without bound.
    pub violations: u32,
    /// For how long it is.
    pub block: Duration,
}

impl Rates {
    pub const DEFAULT: Self = Self {
        messages: 100,
        calls: 50,
        subscriptions: 20,
        all: 10_000,
        connections: 10,
        violations: 100,
        block: Duration::from_mins(5),
    };
    /// The largest: a token of it is a whole number of nanoseconds, and not a small one.
    pub const MAX: u32 = 10_000_000;
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Budget {
    Messages(Principal),
    Calls(Principal),
    Subscriptions(Principal),
    All,
    Connections(IpAddr),
}

impl Budget {
    /// The key of the configuration's `[rates]` that sets it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages(_) => "messages",
            Self::Calls(_) => "calls",
            Self::Subscriptions(_) => "subscriptions",
            Self::All => "all",
            Self::Connections(_) => "connections",
        }
    }

    /// Nanoseconds that one of it takes; 0 is without bound.
    const fn each(self, rates: &Rates) -> u64 {
        match self.per_second(rates) {
            0 => 0,
            per_second => SECOND / per_second as u64,
        }
    }

    const fn per_second(self, rates: &Rates) -> u32 {
        match self {
            Self::Messages(_) => rates.messages,
            Self::Calls(_) => rates.calls,
            Self::Subscriptions(_) => rates.subscriptions,
            Self::All => rates.all,
            Self::Connections(_) => rates.connections,
        }
    }

    /// The shard that it lives on.
    fn home(self, shards: u16) -> ShardId {
        let number = match self {
            Self::Messages(of) | Self::Calls(of) | Self::Subscriptions(of) => of.spread(),
            Self::All => 0,
            Self::Connections(from) => return home_of(from, shards),
        };
        ShardId(u16::try_from(number % u32::from(shards.max(1))).unwrap_or_default())
    }
}

/// The shard that counts for an address.
pub(super) fn home_of(address: IpAddr, shards: u16) -> ShardId {
    let bits = match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits() >> 64,
    };
    ShardId(u16::try_from(bits % u128::from(shards.max(1))).unwrap_or_default())
}

/// A budget at its home: when it will be full again, in nanoseconds (the generic cell rate algorithm).
#[derive(Debug, Default)]
struct Bucket {
    full_at: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// What it holds, at most this many; nothing if credit was charged. `each` is what one takes.
    fn holds(&self, now: u64, each: u64) -> u64 {
        SECOND.saturating_sub(self.full_at.saturating_sub(now)) / each.max(1)
    }

    /// Whether it holds one. Divides nothing, as every message asks for it.
    #[inline]
    fn holds_one(&self, now: u64, each: u64) -> bool {
        self.full_at.saturating_sub(now).saturating_add(each) <= SECOND
    }

    #[inline]
    fn take(&mut self, now: u64, each: u64, count: u32) {
        self.full_at = self.full_at.max(now).saturating_add(each * u64::from(count));
    }

    /// How long until it holds one.
    fn wait(&self, now: u64, each: u64) -> Duration {
        let missing = self.full_at.saturating_sub(now);
        // Rounded up to what the clock can tell.
        Duration::from_nanos((missing + each).saturating_sub(SECOND)).max(Duration::from_micros(1))
    }
}

/// What a shard may use of a budget that lives elsewhere.
#[derive(Debug, Default)]
struct Lease {
    tokens: u32,
    /// Used, and not told to the home yet.
    credit: u32,
    is_asked: bool,
    refused_until: Moment,
    used: Moment,
}

/// Budgets that are known before those that are full again are looked for and forgotten.
const SWEEP_FIRST: usize = 4_096;

/// All budgets, as one shard knows them. Whose budget is full is not known: there are as many as principals that
/// have asked for something in the last second, and some that were not looked at since.
#[derive(Debug)]
pub struct Governor {
    rates: Rates,
    me: ShardId,
    shards: u16,
    buckets: BTreeMap<Budget, Bucket>,
    /// That of [`Budget::All`], which every message is held to.
    all: Bucket,
    leases: BTreeMap<Budget, Lease>,
    /// How many there may be before the next sweep.
    sweep_at: usize,
}

impl Governor {
    pub const fn new(rates: Rates, me: ShardId, shards: u16) -> Self {
        Self {
            rates,
            me,
            shards,
            buckets: BTreeMap::new(),
            all: Bucket { full_at: 0 },
            leases: BTreeMap::new(),
            sweep_at: SWEEP_FIRST,
        }
    }

    /// Forgets budgets that are full, and leases that nobody has used for a second: what is left of those is
    /// lost, which is a hundredth of a second's worth.
    #[cold]
    fn sweep(&mut self, now: Moment) {
        let full = nanos(now);
        self.buckets.retain(|_, bucket| bucket.full_at > full);
        self.leases.retain(|_, lease| {
            lease.is_asked || lease.credit > 0 || now.since(lease.used) < Duration::from_secs(1)
        });
        // Each entry is looked at once for each that came since.
        self.sweep_at = SWEEP_FIRST.max(2 * (self.buckets.len() + self.leases.len()));
    }

    /// A budget that lives here.
    #[inline]
    fn bucket(&mut self, now: Moment, budget: Budget) -> &mut Bucket {
        if budget == Budget::All {
            return &mut self.all;
        }
        self.make_room(now);
        self.buckets.entry(budget).or_default()
    }

    #[inline]
    fn make_room(&mut self, now: Moment) {
        if self.buckets.len() + self.leases.len() >= self.sweep_at {
            self.sweep(now);
        }
    }

    /// The same with other rates: what was used and leased still counts.
    #[must_use]
    pub fn at(self, rates: Rates) -> Self {
        Self { rates, ..self }
    }

    /// Uses one of a budget; an error is how long until it is worth asking again.
    pub fn take(&mut self, now: Moment, budget: Budget, out: &mut Effects) -> Result<(), Duration> {
        let each = budget.each(&self.rates);
        if each == 0 {
            return Ok(());
        }
        let home = budget.home(self.shards);
        if home == self.me {
            let bucket = self.bucket(now, budget);
            let now = nanos(now);
            if !bucket.holds_one(now, each) {
                return Err(bucket.wait(now, each));
            }
            bucket.take(now, each, 1);
            return Ok(());
        }
        self.make_room(now);
        let per_second = budget.per_second(&self.rates);
        let size = lease(per_second);
        // What comes in one read, or in a batch, comes quicker than any mail. All shards together credit no
        // more than the budget holds when it is full.
        let credit_max = size.max(per_second / u32::from(self.shards.max(1)));
        let lease = self.leases.entry(budget).or_default();
        lease.used = now;
        let is_let = if lease.tokens > 0 {
            lease.tokens -= 1;
            true
        } else if now < lease.refused_until {
            return Err(lease.refused_until.since(now));
        } else if lease.credit < credit_max {
            lease.credit += 1;
            true
        } else {
            false
        };
        if lease.tokens == 0 && !lease.is_asked {
            lease.is_asked = true;
            let used = std::mem::take(&mut lease.credit);
            out.push(Effect::Mail {
                to: home,
                mail: Mail::LeaseAsked { budget, used, wanted: size },
            });
        }
        // The answer is under way.
        if is_let { Ok(()) } else { Err(Duration::from_millis(1)) }
    }

    /// Another shard has used so many on credit and wants a lease.
    pub fn asked(
        &mut self,
        now: Moment,
        from: ShardId,
        (budget, used, wanted): (Budget, u32, u32),
        out: &mut Effects,
    ) {
        let each = budget.each(&self.rates);
        let bucket = self.bucket(now, budget);
        let now = nanos(now);
        bucket.take(now, each, used);
        let tokens = u32::try_from(bucket.holds(now, each)).unwrap_or(u32::MAX).min(wanted);
        bucket.take(now, each, tokens);
        let wait = if tokens == 0 { bucket.wait(now, each) } else { Duration::ZERO };
        out.push(Effect::Mail { to: from, mail: Mail::Leased { budget, tokens, wait } });
    }

    /// The home's answer.
    pub fn leased(&mut self, now: Moment, budget: Budget, tokens: u32, wait: Duration) {
        let lease = self.leases.entry(budget).or_default();
        lease.is_asked = false;
        // What was used meanwhile comes out of it.
        let used = lease.credit.min(tokens);
        lease.credit -= used;
        lease.tokens = tokens - used;
        lease.refused_until = now.after(wait);
    }
}

/// What is leased at once: ten milliseconds' worth.
fn lease(per_second: u32) -> u32 {
    (per_second / 100).max(1)
}

const fn nanos(now: Moment) -> u64 {
    now.as_micros().saturating_mul(1_000)
}

impl Gateway {
    /// What a client has used up by a message, and for how long; `None` where it has not.
    #[inline]
    pub(super) fn is_over(
        &mut self,
        now: Now,
        client: ClientKey,
        method: Option<Method>,
        out: &mut Effects,
    ) -> Option<(Budget, Duration)> {
        let governor = self.governor.as_mut()?;
        let principal = self.clients.get(client)?.who.principal;
        let more = match method {
            Some(Method::ToolsCall) => Some(Budget::Calls(principal)),
            Some(Method::Subscribe | Method::Listen) => Some(Budget::Subscriptions(principal)),
            _ => None,
        };
        // Its own first: who is over it uses nothing of what all have together.
        let budgets = [more, Some(Budget::Messages(principal)), Some(Budget::All)];
        let over = budgets
            .into_iter()
            .flatten()
            .find_map(|budget| Some((budget, governor.take(now.at, budget, out).err()?)));
        match over {
            Some((budget, _)) => self.tally.over(budget),
            None => self.tally.within += 1,
        }
        over
    }

    /// Somebody went over a rate: it counts against where it came from.
    #[cold]
    pub(super) fn note_violation(
        &self,
        client: ClientKey,
        exchange: Option<ExchangeKey>,
        out: &mut Effects,
    ) {
        let link = match exchange {
            Some(key) => self.exchanges.get(key).and_then(|exchange| exchange.link),
            None => self.clients.get(client).and_then(Client::link),
        };
        out.list.extend(link.map(|link| Effect::Violation { link }));
    }

    /// Refuses a request for which there is no budget left: 429 over HTTP (RFC 6585 section 4).
    #[cold]
    pub(super) fn refuse_over(
        &mut self,
        client: ClientKey,
        id: &str,
        exchange: Option<ExchangeKey>,
        era: Era,
        (budget, wait): (Budget, Duration),
        out: &mut Effects,
    ) {
        self.note_violation(client, exchange, out);
        let per_second = self.settings.rates.map_or(0, |rates| budget.per_second(&rates));
        self.exchanges.note_limited(exchange, Limited { limit: budget.name(), per_second, wait });
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let name = budget.name();
        let message = format!("too many: limit {name} of rates; try again in {ms} ms");
        let data =
            format!("{{\"code\":\"RATE_LIMITED\",\"limit\":\"{name}\",\"retryAfterMs\":{ms}}}");
        let code = Code::RateLimited.number_in(era);
        self.reply_error(client, id, exchange, code, &message, Some(&data), out);
    }
}

#[cfg(test)]
mod tests;
