//! What the kernel says of this process, from `/proc`. What cannot be read is left out.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) fds_max: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
    /// Seconds since 1970-01-01 UTC.
    pub(super) started: Option<f64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let page = rustix::param::page_size() as u64;
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: Vec<u64> =
            statm.split(' ').filter_map(|field| field.trim().parse().ok()).collect();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (cpu, threads, since_boot) = stat_fields(&stat);
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
        Self {
            resident_bytes: pages.get(1).map(|pages| pages * page),
            virtual_bytes: pages.first().map(|pages| pages * page),
            // Less the one that lists them.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|all| (all.count() as u64).saturating_sub(1)),
            fds_max: getrlimit(Resource::Nofile).current,
            threads,
            cpu_seconds: cpu,
            started: boot.zip(since_boot).map(|(boot, since)| boot + since),
        }
    }
}

/// Processor time, threads, and the start in seconds since the host's (`proc_pid_stat(5)`, fields 14, 15, 20, 22). The
/// name before them may hold anything but ends with the last bracket.
fn stat_fields(stat: &str) -> (Option<f64>, Option<u64>, Option<f64>) {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    // The first of these is field 3.
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let seconds =
        |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000) / per_second).as_secs_f64();
    let cpu = number(14).zip(number(15)).map(|(user, system)| seconds(user) + seconds(system));
    (cpu, number(20), number(22).map(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.open_fds.is_some_and(|fds| fds >= 3), "{process:?}");
        assert!(process.threads.is_some_and(|threads| threads >= 1), "{process:?}");
        assert!(process.cpu_seconds.is_some() && process.started.is_some_and(|at| at > 1.6e9));
    }

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let stat = "1 (a) b) c) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 7 0 1200 0 0";
        let (cpu, threads, since) = stat_fields(stat);
        assert_eq!((cpu, threads, since), (Some(2.0), Some(7), Some(12.0)));
    }
}
