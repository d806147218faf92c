//! Selection: which of the endpoints that can be used a call goes to. Owns what has been measured of each; knows no
//! lane and no breaker, and throws no dice of its own, so that a world replays from its seed.
//!
//! Endpoints of one priority are used together; those of the next only while none of them can be. Among equals:
//!
//! | `select` | takes |
//! |---|---|
//! | `round_robin` | each in turn, by weight (smoothly: 2 and 1 become a b a, not a a b) |
//! | `least_loaded` | the one with the fewest calls under way for its weight; in turn where they are even |
//! | `least_latency` | the one that has been answering soonest |
//! | `weighted` | any, by a health score: 0.5 latency + 0.3 errors + 0.2 age, times weight |
//! | `adaptive` | of two that are drawn, the one with the lower peak latency × calls under way |

use std::time::Duration;

use super::settings::{ENDPOINTS_MAX, Rank, Select};
use crate::base::Moment;

/// How long a measurement is worth something: an endpoint that was slow is tried again when it has faded.
const FADES: Duration = Duration::from_secs(10);
/// How much of the mean one call is.
const SHARE: f64 = 0.2;
/// What an endpoint that has not answered yet counts as, so that it is not flooded before it does.
const UNKNOWN: f64 = 0.001;
/// A connection of this age has proved itself.
const GROWN: Duration = Duration::from_mins(1);

/// Places of one upstream, as bits.
pub type Set = u32;
const _: () = assert!(ENDPOINTS_MAX <= Set::BITS as usize);

/// An endpoint among the others of its upstream, and how it has been doing on this shard.
#[derive(Debug)]
pub struct Place {
    pub endpoint: usize,
    rank: Rank,
    /// Calls under way.
    flights: u32,
    /// Seconds to an answer: the mean of late.
    latency: f64,
    /// The same, but never below the last, until it fades.
    peak: f64,
    measured: Option<Moment>,
    /// The part of the calls of late that were lost.
    errors: f64,
    ready_since: Moment,
    /// Of the smooth round robin: what it is owed.
    credit: i64,
    /// When it was last taken, in calls.
    taken: u64,
}

/// The endpoints of one upstream.
#[derive(Debug)]
pub struct Balance {
    select: Select,
    /// By priority, and within one in the order of the configuration.
    places: Vec<Place>,
    calls: u64,
}

impl Place {
    const fn new(endpoint: usize, rank: Rank) -> Self {
        Self {
            endpoint,
            rank,
            flights: 0,
            latency: 0.0,
            peak: 0.0,
            measured: None,
            errors: 0.0,
            ready_since: Moment::START,
            credit: 0,
            taken: 0,
        }
    }

    /// How much a measurement of before still counts.
    fn faded(&self, now: Moment) -> f64 {
        let age = self.measured.map_or(Duration::MAX, |at| now.since(at));
        (-age.as_secs_f64() / FADES.as_secs_f64()).exp()
    }

    fn measure(&mut self, now: Moment, latency: Duration) {
        let latency = latency.as_secs_f64();
        if self.measured.is_none() {
            self.latency = latency;
        }
        let kept = self.faded(now);
        self.latency += (latency - self.latency) * SHARE;
        let peak = self.peak * kept + latency * (1.0 - kept);
        self.peak = peak.max(latency);
        self.errors -= self.errors * SHARE;
        self.measured = Some(now);
    }

    fn cost(&self, now: Moment) -> f64 {
        let peak = if self.measured.is_some() { self.peak * self.faded(now) } else { UNKNOWN };
        peak * f64::from(self.flights + 1) / f64::from(self.rank.weight)
    }

    /// From nothing to one; `soonest` is the latency of the quickest.
    fn score(&self, soonest: f64, now: Moment) -> f64 {
        let latency = if self.latency > soonest { soonest / self.latency } else { 1.0 };
        let age = now.since(self.ready_since).as_secs_f64() / GROWN.as_secs_f64();
        0.5 * latency + 0.3 * (1.0 - self.errors) + 0.2 * age.min(1.0)
    }
}

impl Balance {
    pub fn new(select: Select, endpoints: impl Iterator<Item = (usize, Rank)>) -> Self {
        let places = endpoints.take(ENDPOINTS_MAX);
        let mut places: Vec<Place> = places.map(|(n, rank)| Place::new(n, rank)).collect();
        places.sort_by_key(|place| place.rank.priority);
        Self { select, places, calls: 0 }
    }

    /// Its endpoints, by priority.
    pub fn endpoints(&self) -> impl Iterator<Item = usize> {
        self.places.iter().map(|place| place.endpoint)
    }

    /// Those for which `is` holds.
    pub fn those(&self, is: impl Fn(usize) -> bool) -> Set {
        let bits = self.places.iter().enumerate().filter(|(_, place)| is(place.endpoint));
        bits.fold(0, |set, (n, _)| set | 1 << n)
    }

    pub fn has(&self, set: Set, endpoint: usize) -> bool {
        self.those(|it| it == endpoint) & set != 0
    }

    /// The first of them: the one whose word counts where one must be asked.
    pub fn first(&self, set: Set) -> Option<usize> {
        self.places.get(set.trailing_zeros() as usize).map(|place| place.endpoint)
    }

    /// Which of those in `usable` takes the next call. `dice` gives random numbers.
    pub fn choose(&mut self, usable: Set, now: Moment, dice: impl FnMut() -> u64) -> Option<usize> {
        let first = self.places.get(usable.trailing_zeros() as usize)?;
        let priority = first.rank.priority;
        let tier: Set = self
            .places
            .iter()
            .enumerate()
            .filter(|(n, place)| usable & 1 << n != 0 && place.rank.priority == priority)
            .fold(0, |set, (n, _)| set | 1 << n);
        let chosen = if tier.is_power_of_two() {
            tier.trailing_zeros() as usize
        } else {
            self.among(tier, now, dice)?
        };
        self.calls += 1;
        let place = self.places.get_mut(chosen)?;
        place.taken = self.calls;
        Some(place.endpoint)
    }

    fn among(&mut self, tier: Set, now: Moment, mut dice: impl FnMut() -> u64) -> Option<usize> {
        if self.select == Select::RoundRobin {
            return self.in_turn(tier);
        }
        let of_tier = || self.places.iter().enumerate().filter(|(n, _)| tier & 1 << n != 0);
        let least = |cost: &dyn Fn(&Place) -> f64| {
            let by_cost = |a: &Place, b: &Place| {
                cost(a).total_cmp(&cost(b)).then_with(|| a.taken.cmp(&b.taken))
            };
            of_tier().min_by(|(_, a), (_, b)| by_cost(a, b)).map(|(n, _)| n)
        };
        match self.select {
            Select::RoundRobin | Select::LeastLoaded => {
                least(&|place| f64::from(place.flights + 1) / f64::from(place.rank.weight))
            }
            Select::LeastLatency => least(&|place| {
                if place.measured.is_some() { place.latency * place.faded(now) } else { 0.0 }
            }),
            Select::Weighted => {
                let known = of_tier().filter(|(_, place)| place.measured.is_some());
                let soonest = known.map(|(_, place)| place.latency).fold(f64::INFINITY, f64::min);
                let share =
                    |place: &Place| place.score(soonest, now) * f64::from(place.rank.weight);
                let all: f64 = of_tier().map(|(_, place)| share(place)).sum();
                let mut left = all * fraction(dice());
                let fits = |&(_, place): &(usize, &Place)| {
                    left -= share(place);
                    left < 0.0
                };
                of_tier().find(fits).or_else(|| of_tier().next_back()).map(|(n, _)| n)
            }
            Select::Adaptive => {
                let count = tier.count_ones() as usize;
                let one = below(dice(), count);
                // Another one: as far on as the die says, but not the whole way round.
                let two = (one + 1 + below(dice(), count - 1)) % count;
                let ((a, first), (b, second)) = (of_tier().nth(one)?, of_tier().nth(two)?);
                Some(if second.cost(now) < first.cost(now) { b } else { a })
            }
        }
    }

    fn in_turn(&mut self, tier: Set) -> Option<usize> {
        let mut all = 0;
        let mut best: Option<(usize, i64)> = None;
        for (n, place) in self.places.iter_mut().enumerate().filter(|(n, _)| tier & 1 << n != 0) {
            let weight = i64::from(place.rank.weight);
            place.credit += weight;
            all += weight;
            if best.is_none_or(|(_, most)| place.credit > most) {
                best = Some((n, place.credit));
            }
        }
        let (n, _) = best?;
        if let Some(place) = self.places.get_mut(n) {
            place.credit -= all;
        }
        Some(n)
    }

    fn place(&mut self, endpoint: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.endpoint == endpoint)
    }

    /// It is there from now on; what was known of it before is of another life.
    pub fn ready(&mut self, endpoint: usize, now: Moment) {
        if let Some(place) = self.place(endpoint) {
            let flights = place.flights;
            *place = Place { flights, ready_since: now, ..Place::new(endpoint, place.rank) };
        }
    }

    /// A call leaves for it.
    pub fn departed(&mut self, endpoint: usize) {
        if let Some(place) = self.place(endpoint) {
            place.flights += 1;
        }
    }

    /// A call has come to its end there, however it ended.
    pub fn ended(&mut self, endpoint: usize) {
        if let Some(place) = self.place(endpoint) {
            place.flights = place.flights.saturating_sub(1);
        }
    }

    /// It answered a call, so long after that left.
    pub fn answered(&mut self, endpoint: usize, now: Moment, latency: Duration) {
        if let Some(place) = self.place(endpoint) {
            place.measure(now, latency);
        }
    }

    /// It lost a call.
    pub fn lost(&mut self, endpoint: usize) {
        if let Some(place) = self.place(endpoint) {
            place.errors += (1.0 - place.errors) * SHARE;
        }
    }
}

/// From zero to one.
fn fraction(dice: u64) -> f64 {
    let high = u32::try_from(dice >> 32).unwrap_or_default();
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

/// A number below `count`, by the high bits of the die.
fn below(dice: u64, count: usize) -> usize {
    let wide = u128::from(dice) * count as u128;
    usize::try_from(wide >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::START.after(Duration::from_millis(ms))
    }

    fn rank(priority: u32, weight: u32) -> Rank {
        Rank { priority, weight }
    }

    fn balance(select: Select, ranks: &[Rank]) -> Balance {
        Balance::new(select, ranks.iter().copied().enumerate())
    }

    /// A splitmix64.
    fn dice() -> impl FnMut() -> u64 {
        let mut state = 7u64;
        move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
    }

    /// How often each is taken of `calls` calls, one each millisecond, answered after `latency` of its endpoint.
    fn shares(
        balance: &mut Balance,
        usable: Set,
        calls: u64,
        latency: impl Fn(usize) -> u64,
    ) -> Vec<u64> {
        let mut dice = dice();
        let mut shares = vec![0; balance.places.len()];
        let mut under_way: Vec<(u64, usize, u64)> = Vec::new();
        for now in 0..calls {
            under_way.retain(|&(until, endpoint, took)| {
                if until <= now {
                    balance.ended(endpoint);
                    balance.answered(endpoint, at(now), Duration::from_millis(took));
                }
                until > now
            });
            let endpoint = balance.choose(usable, at(now), &mut dice).expect("one is usable");
            shares[endpoint] += 1;
            balance.departed(endpoint);
            under_way.push((now + latency(endpoint), endpoint, latency(endpoint)));
        }
        shares
    }

    const ALL: [Select; 5] = [
        Select::RoundRobin,
        Select::LeastLoaded,
        Select::LeastLatency,
        Select::Weighted,
        Select::Adaptive,
    ];

    #[test]
    fn in_turn_each_gets_its_weight_and_none_twice_in_a_row_without_need() {
        let mut even = balance(Select::RoundRobin, &[rank(1, 1); 3]);
        assert_eq!(shares(&mut even, 0b111, 300, |_| 5), [100, 100, 100]);
        let mut uneven = balance(Select::RoundRobin, &[rank(1, 2), rank(1, 1)]);
        let taken: Vec<_> = (0..6).map(|_| uneven.choose(0b11, at(0), || 0)).collect();
        assert_eq!(taken, [0, 1, 0, 0, 1, 0].map(Some));
    }

    #[test]
    fn the_next_priority_is_used_only_while_none_of_the_higher_is_usable() {
        for select in ALL {
            let mut balance = balance(select, &[rank(2, 1), rank(1, 1), rank(1, 1)]);
            // By priority: endpoints 1 and 2, then 0.
            assert_eq!(balance.endpoints().collect::<Vec<_>>(), [1, 2, 0]);
            let shares_of_all = shares(&mut balance, 0b111, 200, |_| 2);
            assert_eq!(shares_of_all[0], 0, "{select:?}");
            assert!(shares_of_all[1] > 0 && shares_of_all[2] > 0, "{select:?} {shares_of_all:?}");
            assert_eq!(shares(&mut balance, 0b100, 10, |_| 2), [10, 0, 0], "{select:?}");
            assert_eq!(shares(&mut balance, 0b110, 10, |_| 2), [0, 0, 10], "{select:?}");
        }
    }

    #[test]
    fn one_that_cannot_be_used_gets_nothing_and_none_usable_is_said() {
        for select in ALL {
            let mut balance = balance(select, &[rank(1, 1); 4]);
            let shares = shares(&mut balance, 0b1011, 400, |_| 3);
            assert_eq!(shares[2], 0, "{select:?}");
            assert!([0, 1, 3].iter().all(|&n| shares[n] >= 50), "{select:?} {shares:?}");
            assert_eq!(balance.choose(0, at(1), || 0), None);
        }
    }

    #[test]
    fn equals_get_about_the_same() {
        for select in ALL {
            let mut balance = balance(select, &[rank(1, 1); 3]);
            let shares = shares(&mut balance, 0b111, 3_000, |_| 4);
            assert!(
                shares.iter().all(|share| (700..=1_300).contains(share)),
                "{select:?} {shares:?}"
            );
        }
    }

    #[test]
    fn one_that_slows_down_gets_less() {
        for (select, at_most) in [
            (Select::LeastLoaded, 200),
            (Select::LeastLatency, 100),
            (Select::Weighted, 850),
            (Select::Adaptive, 300),
        ] {
            let mut balance = balance(select, &[rank(1, 1), rank(1, 1)]);
            shares(&mut balance, 0b11, 500, |_| 4);
            let slow = shares(&mut balance, 0b11, 2_000, |n| if n == 0 { 60 } else { 4 });
            assert!(slow[0] <= at_most && slow[0] > 0, "{select:?} {slow:?}");
        }
    }

    #[test]
    fn one_that_was_slow_is_tried_again_when_that_is_long_ago() {
        for select in [Select::LeastLatency, Select::Adaptive] {
            let mut balance = balance(select, &[rank(1, 1), rank(1, 1)]);
            balance.answered(0, at(0), Duration::from_millis(500));
            for ms in (0..60_000).step_by(100) {
                balance.answered(1, at(ms), Duration::from_millis(5));
            }
            assert_eq!(balance.choose(0b11, at(60_000), dice()), Some(0), "{select:?}");
        }
    }

    #[test]
    fn calls_that_are_lost_and_a_young_connection_lower_the_score() {
        let mut place = Place::new(0, Rank::default());
        place.measure(at(0), Duration::from_millis(10));
        let grown = place.score(0.010, at(60_000));
        assert!((grown - 1.0).abs() < 1e-9, "{grown}");
        assert!((place.score(0.010, at(0)) - 0.8).abs() < 1e-9);
        assert!((place.score(0.005, at(60_000)) - 0.75).abs() < 1e-9);
        let mut balance = balance(Select::Weighted, &[rank(1, 1), rank(1, 1)]);
        for _ in 0..50 {
            balance.lost(0);
        }
        let mut dice = dice();
        let taken = (0..2_000).map(|_| balance.choose(0b11, at(0), &mut dice));
        let first = taken.filter(|taken| *taken == Some(0)).count();
        assert!((600..900).contains(&first), "{first}");
        balance.ready(0, at(2_000));
        assert!(balance.places[0].errors.abs() < 1e-9, "it is another life");
    }
}
