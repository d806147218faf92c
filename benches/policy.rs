//! What one decision costs among 10,000 rules: made anew, and remembered. Aims: 2 µs and 200 ns.

#[path = "house/rules.rs"]
mod rules;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringgate::gateway::policy::Cache;
use rules::{CALLS, KIND};

fn benches(criterion: &mut Criterion) {
    let policy = rules::policy();
    let agent = policy.agent(Some("backend"));
    let mut cache = Cache::default();
    let mut group = criterion.benchmark_group("policy, 10,000 rules");
    for (name, is_allowed) in CALLS {
        assert_eq!(policy.decide(agent, 1, KIND, name).is_allowed, is_allowed, "{name}");
        group.bench_function(format!("anew: {name}"), |bencher| {
            bencher.iter(|| policy.decide(agent, 1, KIND, black_box(name)));
        });
        group.bench_function(format!("remembered: {name}"), |bencher| {
            bencher.iter(|| cache.decide(&policy, agent, 1, KIND, black_box(name)));
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
