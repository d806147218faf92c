//! Limits hold to a few percent however the messages are spread over shards, and who stays below them is never
//! refused. On a virtual clock, with mail that takes its time.

use std::collections::VecDeque;

use super::super::principal::{Principals, Subject};
use super::*;

/// Shards that mail each other; mail takes a millisecond.
struct Fleet {
    now: Moment,
    governors: Vec<Governor>,
    mail: VecDeque<(Moment, usize, ShardId, Mail)>,
}

const MAIL: Duration = Duration::from_millis(1);

impl Fleet {
    fn new(shards: u16, rates: Rates) -> Self {
        let governors = (0..shards).map(|me| Governor::new(rates, ShardId(me), shards)).collect();
        Self { now: Moment::from_micros(1), governors, mail: VecDeque::new() }
    }

    fn post(&mut self, from: usize, out: Effects) {
        for effect in out.list {
            let Effect::Mail { to, mail } = effect else { panic!("only mail is sent") };
            let from = ShardId(u16::try_from(from).unwrap());
            self.mail.push_back((self.now.after(MAIL), usize::from(to.0), from, mail));
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        while let Some((at, to, from, mail)) = self.mail.pop_front_if(|(at, ..)| *at <= until) {
            self.now = at;
            let mut out = Effects::default();
            match mail {
                Mail::LeaseAsked { budget, used, wanted } => {
                    self.governors[to].asked(at, from, (budget, used, wanted), &mut out);
                }
                Mail::Leased { budget, tokens, wait } => {
                    self.governors[to].leased(at, budget, tokens, wait);
                }
                other => panic!("{other:?}"),
            }
            self.post(to, out);
        }
        self.now = until;
    }

    fn take(&mut self, shard: usize, budget: Budget) -> bool {
        let mut out = Effects::default();
        let is_let = self.governors[shard].take(self.now, budget, &mut out).is_ok();
        self.post(shard, out);
        is_let
    }

    /// How many were let through, of so many a second for so many seconds, spread by these weights.
    fn run(
        &mut self,
        budget: Budget,
        per_second: u64,
        seconds: u64,
        weights: &[u64],
    ) -> (u64, u64) {
        let (mut let_through, mut asked, mut turn) = (0, 0, 0);
        let total: u64 = weights.iter().sum();
        for _ in 0..per_second * seconds {
            turn = (turn + 7) % total;
            let mut rest = turn;
            let shard = weights.iter().position(|weight| {
                let is_it = rest < *weight;
                rest = rest.saturating_sub(*weight);
                is_it
            });
            asked += 1;
            let_through += u64::from(self.take(shard.unwrap(), budget));
            self.pass(Duration::from_micros(1_000_000 / per_second));
        }
        (let_through, asked)
    }
}

fn principal(number: usize) -> Principal {
    let mut all = Principals::default();
    for agent in 0..number {
        all.acting_as(&agent.to_string());
    }
    all.iter().last().unwrap()
}

#[test]
fn a_limit_is_exact_to_five_percent_however_its_messages_are_spread() {
    let rates = Rates::DEFAULT;
    for shards in [1, 2, 3, 8_u16] {
        let spreads: [Vec<u64>; 3] = [
            vec![1; shards.into()],
            (0..u64::from(shards)).map(|at| at * at * 5 + 1).collect(),
            (0..shards).map(|at| u64::from(at + 1 == shards)).collect(),
        ];
        for weights in spreads {
            for of in 0..4 {
                let of = principal(of);
                for budget in [
                    Budget::Messages(of),
                    Budget::Calls(of),
                    Budget::Subscriptions(of),
                    Budget::All,
                ] {
                    let limit = u64::from(budget.per_second(&rates));
                    for over in [2, 10] {
                        let mut fleet = Fleet::new(shards, rates);
                        // The second that a full budget holds is let through at once; then the limit holds.
                        fleet.run(budget, limit * over, 3, &weights);
                        let seconds = if limit > 1_000 { 2 } else { 20 };
                        let (through, _) = fleet.run(budget, limit * over, seconds, &weights);
                        let wanted = limit * seconds;
                        assert!(
                            through.abs_diff(wanted) * 20 <= wanted,
                            "{budget:?}, {shards} shards {weights:?}, {over} times the limit: {through} of {wanted}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn who_stays_below_a_limit_is_never_refused() {
    for shards in [1, 2, 5_u16] {
        let weights: Vec<u64> = (1..=u64::from(shards)).collect();
        for percent in [10, 50, 90] {
            let mut fleet = Fleet::new(shards, Rates::DEFAULT);
            let budget = Budget::Messages(principal(3));
            let (through, asked) = fleet.run(budget, percent, 20, &weights);
            assert_eq!(through, asked, "{shards} shards, {percent} % of the limit");
        }
    }
}

#[test]
fn a_burst_of_a_second_is_let_through_and_the_wait_is_what_it_takes() {
    let mut governor = Governor::new(Rates::DEFAULT, ShardId(0), 1);
    let budget = Budget::Calls(principal(1));
    let mut out = Effects::default();
    let mut now = Moment::from_micros(5);
    for _ in 0..50 {
        assert_eq!(governor.take(now, budget, &mut out), Ok(()));
    }
    let wait = governor.take(now, budget, &mut out).unwrap_err();
    assert_eq!(wait, Duration::from_millis(20), "one in 20 ms is 50 a second");
    now = now.after(wait);
    assert_eq!(governor.take(now, budget, &mut out), Ok(()));
    assert!(governor.take(now, budget, &mut out).is_err());
    assert!(out.is_empty(), "at home no mail is sent");
    let mut free = Governor::new(Rates { calls: 0, ..Rates::DEFAULT }, ShardId(0), 1);
    for _ in 0..10_000 {
        assert_eq!(free.take(now, budget, &mut out), Ok(()), "0 is without bound");
    }
}

#[test]
fn a_burst_that_comes_at_once_to_one_shard_is_let_through_wherever_its_budget_lives() {
    for shards in [2, 3, 4_u16] {
        let budget = Budget::Calls(principal(1));
        for shard in 0..shards {
            let mut fleet = Fleet::new(shards, Rates::DEFAULT);
            for round in 0..3 {
                // A batch: no mail comes between its messages.
                let through = (0..12).filter(|_| fleet.take(shard.into(), budget)).count();
                assert_eq!(through, 12, "shard {shard} of {shards}, round {round}");
                fleet.pass(Duration::from_millis(500));
            }
        }
    }
}

#[test]
fn one_principals_messages_cost_another_nothing() {
    let mut fleet = Fleet::new(2, Rates::DEFAULT);
    let (greedy, modest) = (Budget::Messages(principal(1)), Budget::Messages(principal(2)));
    for _ in 0..1_000 {
        fleet.take(0, greedy);
        fleet.pass(Duration::from_millis(1));
    }
    assert!(fleet.take(0, modest) && fleet.take(1, modest));
}

#[test]
fn who_has_asked_for_nothing_lately_is_forgotten() {
    let subject =
        |n: u32| Principal::ANONYMOUS.with(Subject::of("https://as.test", &n.to_string()));
    let mut here = Governor::new(Rates::DEFAULT, ShardId(0), 1);
    let mut there = Governor::new(Rates { all: 0, ..Rates::DEFAULT }, ShardId(1), 2);
    let mut out = Effects::default();
    let mut now = Moment::from_micros(5);
    for n in 0..100_000 {
        let budget = Budget::Calls(subject(n));
        assert_eq!(here.take(now, budget, &mut out), Ok(()));
        let _ = there.take(now, budget, &mut out);
        there.leased(now, budget, 1, Duration::ZERO);
        out.clear();
        now = now.after(Duration::from_micros(500));
        for governor in [&here, &there] {
            let known = governor.buckets.len() + governor.leases.len();
            assert!(known <= 2 * SWEEP_FIRST, "{known} of {n}");
        }
    }
    // Who has used its budget up is remembered for as long as that matters.
    let greedy = Budget::Calls(subject(7));
    while here.take(now, greedy, &mut out).is_ok() {}
    for n in 100_000..120_000 {
        let _ = here.take(now, Budget::Calls(subject(n)), &mut out);
    }
    assert!(here.take(now, greedy, &mut out).is_err());
}
