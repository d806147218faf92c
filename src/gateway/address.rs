//! Addresses: how often each was refused lately, and which are shut out for it. What they may open in a second is
//! a budget like any other (`rate`). Counted at one shard, an address's home; told to all when it is too much.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::Gateway;
use super::door::{Effect, Effects, Mail};
use super::rate::{Budget, Rates};
use super::report::Report;
use crate::base::{Moment, Now, ShardId};

/// Addresses that one shard counts or shuts out. Beyond, new ones are let be until old ones are forgotten: who has
/// that many is stopped by `rates.all` and `clients_max`, and nobody else should be.
const ADDRESSES_MAX: usize = 65_536;
/// In which violations are counted.
const WINDOW: Duration = Duration::from_mins(1);
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Some addresses: a network in CIDR notation (RFC 4632, RFC 4291 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `10.0.0.0/8`, `fd00::/8`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |bits: &&str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            Some(bits) => Some(bits).filter(is_number)?.parse().ok().filter(|&bits| bits <= all)?,
            None => all,
        };
        Some(Self { address, bits })
    }

    pub fn has(&self, address: IpAddr) -> bool {
        let first = |whole: u128, width: u32| {
            whole.checked_shr(width - u32::from(self.bits)).unwrap_or_default()
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                first(own.to_bits().into(), 32) == first(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                first(own.to_bits(), 128) == first(other.to_bits(), 128)
            }
            _ => false,
        }
    }
}

/// What counts as one address: of an IPv6 address its network of 64 bits, all of which a host may use at will.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits((address.to_bits() >> 64) << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Moment,
    violations: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Those whose home is here.
    counts: BTreeMap<IpAddr, Count>,
    /// Those that are shut out, on every shard, and until when.
    blocked: BTreeMap<IpAddr, Moment>,
    /// When the old were forgotten last. Looked for once a second at most, since all are looked at.
    swept: Moment,
}

impl Addresses {
    /// One more violation; true where it is one too many.
    fn count(&mut self, now: Moment, address: IpAddr, violations_max: u32) -> bool {
        self.sweep(now);
        if self.counts.len() >= ADDRESSES_MAX && !self.counts.contains_key(&address) {
            return false;
        }
        let count = self.counts.entry(address).or_insert(Count { since: now, violations: 0 });
        if now.since(count.since) >= WINDOW {
            *count = Count { since: now, violations: 0 };
        }
        count.violations += 1;
        let is_over = count.violations >= violations_max;
        if is_over {
            self.counts.remove(&address);
        }
        is_over
    }

    fn block(&mut self, now: Moment, address: IpAddr, time: Duration) {
        self.sweep(now);
        if self.blocked.len() < ADDRESSES_MAX {
            self.blocked.insert(address, now.after(time));
        }
    }

    fn sweep(&mut self, now: Moment) {
        let is_full = self.counts.len().max(self.blocked.len()) >= ADDRESSES_MAX;
        if is_full && now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.counts.retain(|_, count| now.since(count.since) < WINDOW);
            self.blocked.retain(|_, until| now < *until);
        }
    }

    /// How long an address is shut out yet.
    fn left(&mut self, now: Moment, address: IpAddr) -> Option<Duration> {
        let until = *self.blocked.get(&address)?;
        if now < until {
            return Some(until.since(now));
        }
        self.blocked.remove(&address);
        None
    }
}

impl Gateway {
    /// Whether connections are counted by where they come from.
    pub const fn counts_addresses(&self) -> bool {
        self.governor.is_some()
    }

    /// Whether one more connection from an address is let in; an error is how long until it is worth trying again.
    pub fn admit(&mut self, now: Now, address: IpAddr, out: &mut Effects) -> Result<(), Duration> {
        let Some(governor) = &mut self.governor else { return Ok(()) };
        if self.settings.trusted.iter().any(|network| network.has(address.to_canonical())) {
            return Ok(());
        }
        let address = counted(address);
        if let Some(left) = self.addresses.left(now.at, address) {
            return Err(left);
        }
        let taken = governor.take(now.at, Budget::Connections(address), out);
        if taken.is_err() {
            self.violated(now, address, out);
        }
        taken
    }

    /// Somebody at this address was refused for going over a rate.
    pub(super) fn violated(&mut self, now: Now, address: IpAddr, out: &mut Effects) {
        let Some(Rates { violations, .. }) = self.settings.rates else { return };
        if violations == 0
            || self.settings.trusted.iter().any(|network| network.has(address.to_canonical()))
        {
            return;
        }
        let address = counted(address);
        let home = super::rate::home_of(address, self.settings.shards);
        if home == self.shard {
            self.violated_here(now, address, out);
        } else {
            out.push(Effect::Mail { to: home, mail: Mail::Violated { address } });
        }
    }

    /// As [`Gateway::violated`], at the address's home.
    pub(super) fn violated_here(&mut self, now: Now, address: IpAddr, out: &mut Effects) {
        let Some(Rates { violations, block, .. }) = self.settings.rates else { return };
        if self.addresses.left(now.at, address).is_some()
            || !self.addresses.count(now.at, address, violations)
        {
            return;
        }
        out.report(Report::AddressBlocked { address, time: block });
        for shard in (0..self.settings.shards).map(ShardId).filter(|shard| *shard != self.shard) {
            out.push(Effect::Mail { to: shard, mail: Mail::ShutOut { address, time: block } });
        }
        self.shut_out(now, address, block, out);
    }

    /// Nothing is taken from an address any more, for a while.
    pub(super) fn shut_out(
        &mut self,
        now: Now,
        address: IpAddr,
        time: Duration,
        out: &mut Effects,
    ) {
        self.addresses.block(now.at, address, time);
        out.push(Effect::Expel { address });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_have_the_addresses_that_begin_like_them() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.1.128/25", "192.168.1.129", "192.168.1.127"),
            ("fd00::/8", "fd12::1", "fe00::1"),
            ("::1", "::1", "::2"),
        ] {
            let of = Network::parse(network).unwrap();
            assert!(of.has(address(inside)), "{network} {inside}");
            assert!(!of.has(address(outside)), "{network} {outside}");
        }
        let all = Network::parse("0.0.0.0/0").unwrap();
        assert!(all.has(address("1.2.3.4")) && !all.has(address("::1")));
        assert!(Network::parse("::/0").unwrap().has(address("ff::")));
        for wrong in
            ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "::/129", "10/8"]
        {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_network_of_64_bits_is_one_address_and_an_old_address_in_a_new_one_is_itself() {
        assert_eq!(counted(address("2001:db8:1:2:a::1")), address("2001:db8:1:2::"));
        assert_eq!(counted(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn violations_are_counted_by_the_minute_and_tables_stay_bounded() {
        let mut addresses = Addresses::default();
        let mut now = Moment::from_micros(1);
        let one = address("10.0.0.1");
        assert!((1..100).all(|_| !addresses.count(now, one, 100)));
        now = now.after(WINDOW);
        assert!((1..100).all(|_| !addresses.count(now, one, 100)), "a new minute");
        assert!(addresses.count(now, one, 100));
        for n in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            addresses.count(now, IpAddr::V4(n.into()), 100);
            addresses.block(now, IpAddr::V4(n.into()), WINDOW);
        }
        assert_eq!(
            (addresses.counts.len(), addresses.blocked.len()),
            (ADDRESSES_MAX, ADDRESSES_MAX)
        );
        now = now.after(WINDOW);
        assert!(addresses.left(now, IpAddr::V4(0.into())).is_none());
        addresses.count(now, one, 100);
        addresses.block(now, one, WINDOW);
        assert_eq!(
            (addresses.counts.len(), addresses.blocked.len()),
            (1, 1),
            "the old are forgotten"
        );
        assert_eq!(addresses.left(now, one), Some(WINDOW));
    }
}
