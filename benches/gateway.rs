//! What one message costs in `gateway.handle`, without sockets, shards or waiting. Every round's
//! effects are checked once before it is measured.

mod house;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use house::{CLIENT, ECHO, House, LIST, MODERN_ECHO, MODERN_LIST, PING};
use ringgate::mcp::Era;

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gateway.handle");
    group.throughput(Throughput::Elements(1));
    for (name, era, frame) in [
        ("ping", Era::Legacy, PING),
        ("echo, legacy", Era::Legacy, ECHO),
        ("echo, modern", Era::Modern, MODERN_ECHO),
        ("tools/list, legacy", Era::Legacy, LIST),
        ("tools/list, modern", Era::Modern, MODERN_LIST),
    ] {
        let mut house = House::with_builtin().with_client(era);
        house.frame(CLIENT, frame);
        house.check();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                house.frame(CLIENT, black_box(frame));
                black_box(house.out.bytes.len())
            });
        });
    }
    let mut house = House::with_catalog();
    group.bench_function("tools/list, kept, 4 upstreams of 50 tools", |bencher| {
        bencher.iter(|| {
            house.frame(CLIENT, black_box(LIST));
            black_box(house.out.bytes.len())
        });
    });
    house.check();
    for (name, from, to) in [
        ("legacy to legacy and back", Era::Legacy, Era::Legacy),
        ("modern to modern and back", Era::Modern, Era::Modern),
        ("modern to legacy and back", Era::Modern, Era::Legacy),
    ] {
        let mut house = House::with_server(to).with_client(from);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                house.frame(CLIENT, black_box(house::echo(from)));
                // What the upstream would write: cheap beside what is measured, and part of it.
                house.write_answer(to);
                house.answer();
                black_box(house.out.bytes.len())
            });
        });
        house.check();
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
