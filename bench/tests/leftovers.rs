//! Proves that a load leaves nothing behind in its process: one suite runs hundreds of loads. Alone in its file, because
//! descriptors belong to the process and another test would hold some.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may panic, and its server is a plain thread"
)]

use std::thread;
use std::time::Duration;

use ringgate_bench::args::{RawMode, plain};
use ringgate_bench::plan::Plan;
use ringgate_bench::process::descriptors;
use ringgate_bench::target::Target;
use ringgate_bench::{load, raw};

#[test]
fn a_load_closes_what_it_has_opened() {
    let directory = std::env::temp_dir().join(format!("ringgate-leftovers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let target = Target::Unix(directory.join("raw"));
    let bound = raw::bind(&target).unwrap();
    thread::spawn(move || raw::serve(vec![bound], None, RawMode::Echo, None));
    let short = Duration::from_millis(20);
    for rate in [None, Some(1000.0)] {
        let plan = Plan {
            connections: 200,
            raw: true,
            rate,
            warmup: short,
            duration: short,
            ..plain(target.clone(), 16)
        };
        let mut held = Vec::new();
        for _ in 0..6 {
            assert_eq!(load::run(&plan, &mut |_| ()).unwrap().faults_sum(), 0);
            held.push(descriptors(std::process::id()).unwrap());
        }
        // The server's ends are of this process too, and close when it gets to them: a leak of ours would add up.
        assert!(held.iter().max().unwrap() < &600, "{held:?}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
