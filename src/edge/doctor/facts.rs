//! What there is to know of this host: /proc, /sys, limits, and an attempt to set up a ring. Only
//! reading; what it means is judged in `checks`. What a host does not tell is `None`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// What became of an attempt to set up an `io_uring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// Completions wait for the thread (COOP_TASKRUN, kernel 5.19).
    Fast,
    /// Works, but each completion interrupts the thread.
    Plain,
    /// Refused with this error number.
    Refused(i32),
}

/// `None`: without limit, or not told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    /// Major and minor.
    pub(super) kernel: Option<(u32, u32)>,
    /// sysctl `kernel.io_uring_disabled`: 0 for all, 1 for a group, 2 for nobody.
    pub(super) uring_disabled: Option<u64>,
    pub(super) ring: Ring,
    pub(super) root: bool,
    pub(super) nofile_hard: Option<u64>,
    pub(super) memlock: Option<u64>,
    pub(super) somaxconn: Option<u64>,
    pub(super) syn_backlog: Option<u64>,
    pub(super) ports: Option<(u64, u64)>,
    pub(super) file_max: Option<u64>,
    pub(super) nr_open: Option<u64>,
    pub(super) cores_online: usize,
    /// Core numbers that this process may use.
    pub(super) cores_allowed: Vec<usize>,
    /// Cores' worth of time that the control group grants.
    pub(super) quota: Option<f64>,
    /// For each allowed core, all threads of its physical core.
    pub(super) siblings: Vec<Vec<usize>>,
    /// The governors of the allowed cores, each once.
    pub(super) governors: Vec<String>,
    pub(super) memory_limit: Option<u64>,
    pub(super) swap_total: u64,
    pub(super) virtual_machine: bool,
}

impl Facts {
    /// Reads the files under `root` (`/`, or a folder of a test's), asks the kernel for the rest.
    pub(super) fn collect(root: &Path) -> Self {
        let files = Files { root };
        let allowed = allowed();
        Self {
            kernel: version(&files.text("proc/sys/kernel/osrelease").unwrap_or_default()),
            uring_disabled: files.number("proc/sys/kernel/io_uring_disabled"),
            ring: ring(),
            root: rustix::process::geteuid().is_root(),
            nofile_hard: getrlimit(Resource::Nofile).maximum,
            memlock: getrlimit(Resource::Memlock).current,
            somaxconn: files.number("proc/sys/net/core/somaxconn"),
            syn_backlog: files.number("proc/sys/net/ipv4/tcp_max_syn_backlog"),
            ports: files.pair("proc/sys/net/ipv4/ip_local_port_range"),
            file_max: files.number("proc/sys/fs/file-max"),
            nr_open: files.number("proc/sys/fs/nr_open"),
            cores_online: files
                .text("sys/devices/system/cpu/online")
                .map_or(allowed.len(), |list| cores(&list).len()),
            quota: files.quota(),
            siblings: allowed.iter().filter_map(|core| files.siblings(*core)).collect(),
            governors: files.governors(&allowed),
            cores_allowed: allowed,
            memory_limit: files.memory_limit(),
            swap_total: files.meminfo("SwapTotal:").unwrap_or_default(),
            virtual_machine: files.text("proc/cpuinfo").is_some_and(|info| {
                info.lines()
                    .find(|line| line.starts_with("flags"))
                    .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
            }),
        }
    }
}

/// The cores that the affinity mask leaves, cpusets and `taskset` included.
fn allowed() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// Sets up the kind of ring that a shard has, then lesser ones. All are gone when this returns.
fn ring() -> Ring {
    let refused = |error: &io::Error| Ring::Refused(error.raw_os_error().unwrap_or_default());
    let mut coop: io_uring::Builder = io_uring::IoUring::builder();
    coop.setup_coop_taskrun();
    if coop.build(256).is_ok() {
        return Ring::Fast;
    }
    match io_uring::IoUring::new(256) {
        Ok(_works) => Ring::Plain,
        Err(error) => refused(&error),
    }
}

struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// One number; `None` too for `max`.
    fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    fn pair(&self, path: impl AsRef<Path>) -> Option<(u64, u64)> {
        let text = self.text(path)?;
        let mut numbers = text.split_whitespace();
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Bytes of one line of /proc/meminfo.
    fn meminfo(&self, key: &str) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1_024)
    }

    /// The folders of this process's control group and of all above it, for one controller: of the
    /// unified hierarchy, or of the older one of its own.
    fn groups(&self, controller: &str) -> Vec<PathBuf> {
        let text = self.text("proc/self/cgroup").unwrap_or_default();
        let mut folders = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let mount = if controllers.is_empty() {
                PathBuf::from("sys/fs/cgroup")
            } else if controllers.split(',').any(|name| name == controller) {
                Path::new("sys/fs/cgroup").join(controller)
            } else {
                continue;
            };
            let own = Path::new(path.trim_start_matches('/'));
            folders.extend(own.ancestors().map(|group| mount.join(group)));
        }
        folders
    }

    /// The smallest grant of time on the way up, in cores.
    fn quota(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a period, far below 2^52")]
        let cores = |quota: u64, period: u64| (period > 0).then(|| quota as f64 / period as f64);
        self.groups("cpu")
            .iter()
            .filter_map(|group| {
                self.pair(group.join("cpu.max"))
                    .or_else(|| {
                        // -1 stands for no limit, and is no number here.
                        let quota = self.number(group.join("cpu.cfs_quota_us"))?;
                        Some((quota, self.number(group.join("cpu.cfs_period_us"))?))
                    })
                    .and_then(|(quota, period)| cores(quota, period))
            })
            .min_by(f64::total_cmp)
    }

    fn memory_limit(&self) -> Option<u64> {
        self.groups("memory")
            .iter()
            .filter_map(|group| {
                self.number(group.join("memory.max"))
                    .or_else(|| self.number(group.join("memory.limit_in_bytes")))
            })
            // The older hierarchy writes "no limit" as a number near 2^63.
            .filter(|limit| *limit < 1 << 60)
            .min()
    }

    fn siblings(&self, core: usize) -> Option<Vec<usize>> {
        let path = format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        Some(cores(&self.text(path)?))
    }

    fn governors(&self, allowed: &[usize]) -> Vec<String> {
        let mut governors: Vec<_> = allowed
            .iter()
            .filter_map(|core| {
                self.text(format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"))
            })
            .collect();
        governors.sort();
        governors.dedup();
        governors
    }
}

/// `6.18.44-fc` → (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `0-2,5` → 0, 1, 2, 5.
fn cores(list: &str) -> Vec<usize> {
    list.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host(PathBuf);

    impl Host {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root =
                std::env::temp_dir().join(format!("ringgate-host-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _gone_already = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lists_of_cores_and_versions_are_read() {
        assert_eq!(cores("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cores(""), [0; 0]);
        assert_eq!(version("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("what"), None);
    }

    #[test]
    fn the_tightest_control_group_on_the_way_up_counts() {
        let host = Host::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "1048576\n"),
                ("proc/meminfo", "MemTotal: 5 kB\nSwapTotal:  2 kB\n"),
            ],
        );
        let files = Files { root: &host.0 };
        assert_eq!(files.quota(), Some(1.5));
        assert_eq!(files.memory_limit(), Some(1 << 20));
        assert_eq!(files.meminfo("SwapTotal:"), Some(2_048));
    }

    #[test]
    fn the_older_hierarchy_is_read_too_and_its_no_limit_is_none() {
        let host = Host::new(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/x\n1:cpu,cpuacct:/x\n"),
                ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "50000\n"),
                ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let files = Files { root: &host.0 };
        assert_eq!(files.quota(), Some(0.5));
        assert_eq!(files.memory_limit(), None);
    }
}
