//! What the facts of a host mean for the gateway. Pure: facts in, findings out.

use super::facts::{Facts, Ring};
use super::{Finding, Level};

/// Files: 10,000 clients a shard by default, and as many again for what stands behind them.
const NOFILE_WANTED: u64 = 65_536;
/// Below, the gateway cannot hold its listeners, rings and a few clients.
const NOFILE_NEEDED: u64 = 1_024;
/// Connections that may wait to be accepted while a shard is busy: what the shards ask for.
const BACKLOG_WANTED: u64 = 4_096;
/// Memory that one ring of 1,024 entries is charged with where the kernel charges it (5.11 and
/// older, and again in 6.14 and later), measured 105 KiB; doubled for what else is locked.
const RING_BYTES: u64 = 210 << 10;
/// Connections to one upstream address at a time.
const PORTS_WANTED: u64 = 28_000;
/// The gateway itself is small; 10,000 busy clients are not.
const MEMORY_WANTED: u64 = 512 << 20;
const MEMORY_NEEDED: u64 = 64 << 20;

const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const ENOSYS: i32 = 38;

/// Judges everything.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![kernel(facts), ring(facts), nofile(facts), memlock(facts)];
    findings.extend(at_least(
        "net.core.somaxconn",
        facts.somaxconn,
        BACKLOG_WANTED,
        "tuning/apply, or sysctl -w net.core.somaxconn=4096",
    ));
    findings.extend(at_least(
        "net.ipv4.tcp_max_syn_backlog",
        facts.syn_backlog,
        BACKLOG_WANTED,
        "tuning/apply, or sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
    ));
    findings.extend(ports(facts));
    findings.extend(at_least(
        "fs.file-max",
        facts.file_max,
        NOFILE_WANTED * 4,
        "tuning/apply, or sysctl -w fs.file-max=1048576",
    ));
    findings.extend(at_least(
        "fs.nr_open",
        facts.nr_open,
        NOFILE_WANTED,
        "tuning/apply, or sysctl -w fs.nr_open=1048576",
    ));
    findings.extend([cores(facts), quota(facts)]);
    findings.extend(siblings(facts));
    findings.push(governor(facts));
    findings.extend([memory(facts), swap(facts), machine(facts)]);
    findings
}

fn finding(
    level: Level,
    what: &'static str,
    found: impl Into<String>,
    wanted: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    // A remedy for what is no trouble would only be noise.
    let remedy = if level == Level::Ok { String::new() } else { remedy.into() };
    Finding { level, what, found: found.into(), wanted: wanted.into(), remedy }
}

fn at_least(what: &'static str, found: Option<u64>, wanted: u64, remedy: &str) -> Option<Finding> {
    // A kernel or a namespace without this key has nothing to set.
    let found = found?;
    let level = if found >= wanted { Level::Ok } else { Level::Warn };
    Some(finding(level, what, found.to_string(), format!("≥ {wanted}"), remedy))
}

fn kernel(facts: &Facts) -> Finding {
    let Some((major, minor)) = facts.kernel else {
        return finding(Level::Warn, "kernel", "unknown", "≥ 5.19", "is this Linux?");
    };
    let (level, remedy) = match (major, minor) {
        (5, 19..) | (6.., _) => (Level::Ok, ""),
        (5, 11..) => (Level::Warn, "update the kernel: 5.19 completes without interrupts"),
        _ => (Level::Warn, "update the kernel: below 5.11 epoll takes the place of io_uring"),
    };
    finding(level, "kernel", format!("{major}.{minor}"), "≥ 5.19", remedy)
}

fn ring(facts: &Facts) -> Finding {
    let (level, found, remedy) = match facts.ring {
        Ring::Fast => (Level::Ok, "works, cooperative".to_owned(), String::new()),
        Ring::Plain => (
            Level::Warn,
            "works, interrupting".to_owned(),
            "update the kernel to 5.19: each completion interrupts the shard".to_owned(),
        ),
        Ring::Refused(ENOSYS) => (
            Level::Warn,
            "ENOSYS".to_owned(),
            "the kernel was built without it, or a seccomp profile hides it (Podman): use another \
             kernel, or a profile that allows io_uring_setup, io_uring_enter and io_uring_register"
                .to_owned(),
        ),
        Ring::Refused(EPERM) if facts.uring_disabled.is_some_and(|disabled| disabled > 0) => (
            Level::Warn,
            format!(
                "EPERM, kernel.io_uring_disabled = {}",
                facts.uring_disabled.unwrap_or_default()
            ),
            "sysctl -w kernel.io_uring_disabled=0".to_owned(),
        ),
        Ring::Refused(EPERM) => (
            Level::Warn,
            "EPERM".to_owned(),
            "a seccomp profile forbids it (Docker, containerd): run with one that allows \
             io_uring_setup, io_uring_enter and io_uring_register"
                .to_owned(),
        ),
        Ring::Refused(ENOMEM) => (
            Level::Warn,
            "ENOMEM".to_owned(),
            "raise the limit of locked memory: ulimit -l unlimited, or LimitMEMLOCK=infinity"
                .to_owned(),
        ),
        Ring::Refused(error) => (
            Level::Warn,
            format!("error {error}"),
            "epoll takes its place; see the kernel's log".to_owned(),
        ),
    };
    finding(level, "io_uring", found, "works, cooperative", remedy)
}

fn nofile(facts: &Facts) -> Finding {
    // The gateway raises its own soft limit, so only the hard one binds.
    let level = match facts.nofile_hard {
        Some(limit) if limit < NOFILE_NEEDED => Level::Fail,
        Some(limit) if limit < NOFILE_WANTED => Level::Warn,
        _ => Level::Ok,
    };
    finding(
        level,
        "open files (hard)",
        limit(facts.nofile_hard),
        format!("≥ {NOFILE_WANTED}"),
        "ulimit -Hn 65536, LimitNOFILE=65536 in a unit, or --ulimit nofile=65536 for a container",
    )
}

fn memlock(facts: &Facts) -> Finding {
    let rings = facts.cores_allowed.len().max(1) as u64;
    let wanted = rings * RING_BYTES;
    // Root is not charged.
    let enough = facts.root || facts.memlock.is_none_or(|limit| limit >= wanted);
    let found = if facts.root { "no limit for root".to_owned() } else { bytes(facts.memlock) };
    finding(
        if enough { Level::Ok } else { Level::Warn },
        "locked memory",
        found,
        format!("≥ {}", bytes(Some(wanted))),
        "ulimit -l unlimited, or LimitMEMLOCK=infinity: without it a shard may not get its ring",
    )
}

fn ports(facts: &Facts) -> Option<Finding> {
    let (first, last) = facts.ports?;
    let count = last.saturating_sub(first) + 1;
    let level = if count >= PORTS_WANTED { Level::Ok } else { Level::Warn };
    Some(finding(
        level,
        "net.ipv4.ip_local_port_range",
        format!("{first}–{last}"),
        format!("≥ {PORTS_WANTED} ports"),
        "tuning/apply, or sysctl -w net.ipv4.ip_local_port_range='15000 65000': connections to one upstream use one each",
    ))
}

fn cores(facts: &Facts) -> Finding {
    let (allowed, online) = (facts.cores_allowed.len(), facts.cores_online);
    let level = if allowed >= online { Level::Ok } else { Level::Warn };
    finding(
        level,
        "cores allowed",
        format!("{allowed} of {online}"),
        "all, or those set aside on purpose",
        "one shard runs for each allowed core; widen taskset, CPUAffinity= or the cpuset if more are meant",
    )
}

fn quota(facts: &Facts) -> Finding {
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let cores = facts.cores_allowed.len() as f64;
    let (level, found) = match facts.quota {
        Some(quota) if quota < cores => (Level::Warn, format!("{quota:.2} cores")),
        Some(quota) => (Level::Ok, format!("{quota:.2} cores")),
        None => (Level::Ok, "none".to_owned()),
    };
    finding(
        level,
        "CPU quota",
        found,
        "none, or one core a shard",
        "pinned shards stop for the rest of each period when it is used up: give whole cores (cpuset) \
         instead of a quota, or set shards.count to fit",
    )
}

fn siblings(facts: &Facts) -> Option<Finding> {
    if facts.siblings.is_empty() {
        return None;
    }
    let shared = facts
        .siblings
        .iter()
        .filter(|threads| {
            threads.iter().filter(|thread| facts.cores_allowed.contains(thread)).count() > 1
        })
        .count();
    let level = if shared == 0 { Level::Ok } else { Level::Warn };
    let found =
        if shared == 0 { "none shared".to_owned() } else { format!("{shared} share a core") };
    Some(finding(
        level,
        "hyperthreads",
        found,
        "one shard a physical core",
        "two shards on one physical core get about 1.3 cores of work done: leave one thread of each \
         pair out of the cpuset, or count them as that",
    ))
}

fn governor(facts: &Facts) -> Finding {
    let slow = facts.governors.iter().any(|governor| governor != "performance");
    let found = if facts.governors.is_empty() {
        "not visible".to_owned()
    } else {
        facts.governors.join(", ")
    };
    finding(
        if slow { Level::Warn } else { Level::Ok },
        "CPU governor",
        found,
        "performance",
        "cpupower frequency-set -g performance: a core that sleeps between requests wakes slowly",
    )
}

fn memory(facts: &Facts) -> Finding {
    let level = match facts.memory_limit {
        Some(limit) if limit < MEMORY_NEEDED => Level::Fail,
        Some(limit) if limit < MEMORY_WANTED => Level::Warn,
        _ => Level::Ok,
    };
    finding(
        level,
        "memory limit",
        bytes(facts.memory_limit),
        format!("≥ {}", bytes(Some(MEMORY_WANTED))),
        "raise the control group's memory.max, or lower limits.clients_max and frame_bytes_max",
    )
}

fn swap(facts: &Facts) -> Finding {
    let (level, found) = match facts.swap_total {
        0 => (Level::Ok, "none".to_owned()),
        total => (Level::Warn, bytes(Some(total))),
    };
    finding(
        level,
        "swap",
        found,
        "none",
        "swapoff -a, or MemorySwapMax=0 for the unit: a page that comes back from disk stops a whole shard",
    )
}

fn machine(facts: &Facts) -> Finding {
    let (level, found) =
        if facts.virtual_machine { (Level::Warn, "virtual") } else { (Level::Ok, "physical") };
    finding(
        level,
        "machine",
        found,
        "physical, or pinned vCPUs",
        "waking a core costs 25–50 µs in a virtual machine: pin its vCPUs, and try shards.spin_us = 50",
    )
}

fn limit(value: Option<u64>) -> String {
    value.map_or_else(|| "no limit".to_owned(), |value| value.to_string())
}

fn bytes(value: Option<u64>) -> String {
    match value {
        None => "no limit".to_owned(),
        Some(bytes) if bytes >= 1 << 30 => format!("{} GiB", bytes >> 30),
        Some(bytes) if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        Some(bytes) => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that lacks nothing.
    fn good() -> Facts {
        Facts {
            kernel: Some((6, 18)),
            uring_disabled: Some(0),
            ring: Ring::Fast,
            root: false,
            nofile_hard: Some(1 << 20),
            memlock: None,
            somaxconn: Some(4_096),
            syn_backlog: Some(4_096),
            ports: Some((15_000, 65_000)),
            file_max: Some(1 << 40),
            nr_open: Some(1 << 20),
            cores_online: 4,
            cores_allowed: vec![0, 1, 2, 3],
            quota: None,
            siblings: (0..4).map(|core| vec![core]).collect(),
            governors: vec!["performance".to_owned()],
            memory_limit: None,
            swap_total: 0,
            virtual_machine: false,
        }
    }

    fn of(facts: &Facts, what: &str) -> Finding {
        judge(facts).into_iter().find(|finding| finding.what == what).expect("is looked at")
    }

    #[test]
    fn a_host_that_lacks_nothing_gets_no_remedies() {
        for finding in judge(&good()) {
            assert_eq!((finding.level, finding.remedy.as_str()), (Level::Ok, ""), "{finding:?}");
        }
    }

    #[test]
    fn every_trouble_has_a_remedy() {
        let bad = Facts {
            kernel: Some((4, 19)),
            ring: Ring::Refused(ENOSYS),
            nofile_hard: Some(256),
            memlock: Some(65_536),
            somaxconn: Some(128),
            syn_backlog: Some(128),
            ports: Some((60_000, 61_000)),
            file_max: Some(1_000),
            nr_open: Some(1_000),
            cores_allowed: vec![0, 1],
            quota: Some(0.5),
            siblings: vec![vec![0, 1], vec![0, 1]],
            governors: vec!["powersave".to_owned()],
            memory_limit: Some(32 << 20),
            swap_total: 1 << 30,
            virtual_machine: true,
            ..good()
        };
        for finding in judge(&bad) {
            assert_ne!(finding.level, Level::Ok, "{finding:?}");
            assert!(!finding.remedy.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn the_reasons_for_which_a_ring_is_refused_are_told_apart() {
        let remedy = |error, disabled| {
            let facts =
                Facts { ring: Ring::Refused(error), uring_disabled: Some(disabled), ..good() };
            of(&facts, "io_uring").remedy
        };
        assert!(remedy(EPERM, 2).starts_with("sysctl -w kernel.io_uring_disabled=0"));
        assert!(remedy(EPERM, 0).starts_with("a seccomp profile forbids it"));
        assert!(remedy(ENOSYS, 0).starts_with("the kernel was built without it"));
        assert!(remedy(ENOMEM, 0).starts_with("raise the limit of locked memory"));
    }

    #[test]
    fn kernels_run_from_5_11_and_are_fast_from_5_19() {
        let level = |kernel| of(&Facts { kernel: Some(kernel), ..good() }, "kernel");
        assert_eq!(level((5, 19)).level, Level::Ok);
        assert_eq!(level((7, 0)).level, Level::Ok);
        assert_eq!(level((5, 18)).level, Level::Warn);
        assert!(level((5, 10)).remedy.contains("epoll"));
    }

    #[test]
    fn only_limits_that_refuse_clients_fail() {
        let level =
            |nofile| of(&Facts { nofile_hard: Some(nofile), ..good() }, "open files (hard)");
        assert_eq!(level(512).level, Level::Fail);
        assert_eq!(level(20_000).level, Level::Warn);
        assert_eq!(level(65_536).level, Level::Ok);
    }

    #[test]
    fn a_quota_matters_only_below_the_allowed_cores() {
        let level = |quota| of(&Facts { quota: Some(quota), ..good() }, "CPU quota").level;
        assert_eq!(level(3.9), Level::Warn);
        assert_eq!(level(4.0), Level::Ok);
    }

    #[test]
    fn siblings_count_only_when_both_are_allowed() {
        let facts = Facts {
            cores_online: 8,
            cores_allowed: vec![0, 1],
            siblings: vec![vec![0, 4], vec![1, 5]],
            ..good()
        };
        assert_eq!(of(&facts, "hyperthreads").level, Level::Ok);
        let facts = Facts { cores_allowed: vec![0, 4], siblings: vec![vec![0, 4]; 2], ..facts };
        assert_eq!(of(&facts, "hyperthreads").found, "2 share a core");
    }

    #[test]
    fn root_is_not_charged_for_locked_memory() {
        let facts = Facts { memlock: Some(65_536), root: true, ..good() };
        assert_eq!(of(&facts, "locked memory").level, Level::Ok);
    }
}
