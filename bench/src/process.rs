//! What the kernel knows about a process: CPU time, memory, descriptors. Read from /proc; nothing is guessed.

use std::fs;

use crate::failure::Failure;

/// A process at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time of all its threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

/// Length of a tick of utime and stime: 100 a second on every Linux this runs on.
const TICK_NS: u64 = 10_000_000;

/// Looks at process `pid`.
pub fn usage(pid: u32) -> Result<Usage, Failure> {
    Ok(Usage { cpu_ns: cpu_ns(pid)?, rss_bytes: rss_bytes(pid)? })
}

/// Number of descriptors that process `pid` holds.
pub fn descriptors(pid: u32) -> Result<usize, Failure> {
    let path = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&path).map_err(Failure::io(path))?.count())
}

/// schedstat counts in nanoseconds but forgets threads that have ended; stat counts in ticks and does not.
fn cpu_ns(pid: u32) -> Result<u64, Failure> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The command's name may hold blanks and brackets: fields are counted behind its last bracket.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let ticks_ns = (field(11) + field(12)) * TICK_NS;
    let tasks = format!("/proc/{pid}/task");
    let mut threads_ns = 0;
    for task in fs::read_dir(&tasks).map_err(Failure::io(tasks.as_str()))?.flatten() {
        // A thread may end between the listing and the reading.
        let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        threads_ns += schedstat
            .split_whitespace()
            .next()
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0);
    }
    // Ticks round; only when they are clearly more has a thread ended.
    Ok(if ticks_ns > threads_ns + 50 * TICK_NS { ticks_ns } else { threads_ns })
}

/// Time in which the machine's cores worked for anybody or were stolen from it, in nanoseconds. Interrupts count: a
/// kernel without precise interrupt accounting charges them to the interrupted process, whose time is subtracted.
pub fn machine_ns() -> Result<u64, Failure> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or(0);
    Ok((field(0) + field(1) + field(2) + field(5) + field(6) + field(7)) * TICK_NS)
}

fn rss_bytes(pid: u32) -> Result<u64, Failure> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    Ok(line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024)
}

fn read(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(Failure::io(path.to_owned()))
}

/// Raises the number of descriptors that this process may hold to its hard limit.
pub fn raise_descriptors() -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| Failure::Io("raise the limit of open files".to_owned(), error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_descriptors() {
        let pid = std::process::id();
        assert!(usage(pid).unwrap().rss_bytes > 100_000);
        assert!(descriptors(pid).unwrap() >= 3);
        assert!(usage(0).is_err());
    }
}
