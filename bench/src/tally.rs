//! What a load thread has counted: answers, latencies, faults. Not how they are shown: see `report`.

use hdrhistogram::Histogram;

use crate::clock::Window;
use crate::failure::Failure;
use crate::fault::Fault;

/// Width of a slice of the throughput curve, in nanoseconds.
pub const SLICE_NS: u64 = 100_000_000;
/// Longest latency that is told apart from longer ones: one minute, in nanoseconds.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// Faults that are kept with their line.
const SAMPLES_MAX: usize = 5;
/// Bytes of such a line that are kept.
const SAMPLE_BYTES_MAX: usize = 300;

/// The counts of one thread, or of all after `add`.
#[derive(Debug)]
pub struct Tally {
    window: Window,
    /// With a rate: a latency belongs to the window by the time its request was meant to be sent, not by its answer's.
    by_intent: bool,
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// Right answers inside the window.
    pub answers: u64,
    /// Right answers in all, warm-up and grace included.
    pub answers_ever: u64,
    /// Right answers in each `SLICE_NS` since the epoch.
    pub slices: Vec<u64>,
    /// Faults by their number.
    pub faults: [u64; Fault::ALL.len()],
    /// The first faults with what was received.
    pub samples: Vec<String>,
    /// Notifications received; they are no fault.
    pub notifications: u64,
    /// Requests that fell due but were never sent, because all slots of their connection stayed in use.
    pub unsent: u64,
    /// Answers inside the window, by connection.
    pub by_connection: Vec<u64>,
    /// Answers that were parsed because they equalled no known shape.
    pub parsed: u64,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(window: Window, by_intent: bool) -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3)
            .map_err(|error| Failure::Usage(format!("histogram: {error}")))?;
        Ok(Self {
            window,
            by_intent,
            latency,
            answers: 0,
            answers_ever: 0,
            slices: Vec::new(),
            faults: [0; Fault::ALL.len()],
            samples: Vec::new(),
            notifications: 0,
            unsent: 0,
            by_connection: Vec::new(),
            parsed: 0,
        })
    }

    /// Counts a right answer at `now_ns` to a request of `at_ns`; true when it lies in the window.
    pub fn answer(&mut self, at_ns: u64, now_ns: u64) -> bool {
        self.answers_ever += 1;
        let measured = self.window.holds(now_ns);
        self.answers += u64::from(measured);
        if if self.by_intent { self.window.holds(at_ns) } else { measured } {
            self.latency.saturating_record(now_ns.saturating_sub(at_ns));
        }
        measured
    }

    /// Counts `count` right answers that came at `now_ns` into the throughput curve.
    pub fn slice(&mut self, count: u64, now_ns: u64) {
        let slice = usize::try_from(now_ns / SLICE_NS).unwrap_or(usize::MAX);
        if slice >= self.slices.len() {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += count;
    }

    /// Counts a request that never got its slot; its wait is a latency, or a stall would hide itself.
    pub fn unsent(&mut self, at_ns: u64, now_ns: u64) {
        self.unsent += 1;
        if self.window.holds(at_ns) {
            self.latency.saturating_record(now_ns.saturating_sub(at_ns));
        }
    }

    /// Counts a fault of `connection`, shown by `line`.
    pub fn fault(&mut self, fault: Fault, connection: u32, line: &[u8]) {
        self.faults[fault as usize] += 1;
        if self.samples.len() < SAMPLES_MAX {
            let shown = String::from_utf8_lossy(&line[..line.len().min(SAMPLE_BYTES_MAX)]);
            self.samples.push(format!(
                "{} on connection {connection}: {}",
                fault.name(),
                shown.trim_end()
            ));
        }
    }

    /// All faults together.
    pub fn faults_sum(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.latency
            .add(&other.latency)
            .map_err(|error| Failure::Usage(format!("histogram: {error:?}")))?;
        self.answers += other.answers;
        self.answers_ever += other.answers_ever;
        self.slices.resize(self.slices.len().max(other.slices.len()), 0);
        for (slice, count) in self.slices.iter_mut().zip(&other.slices) {
            *slice += count;
        }
        for (fault, count) in self.faults.iter_mut().zip(other.faults) {
            *fault += count;
        }
        let room = SAMPLES_MAX.saturating_sub(self.samples.len());
        self.samples.extend(other.samples.iter().take(room).cloned());
        self.notifications += other.notifications;
        self.unsent += other.unsent;
        self.by_connection.extend(&other.by_connection);
        self.parsed += other.parsed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_counts_latency_by_intended_time_and_throughput_by_answer() {
        let window = Window::new(
            Duration::from_nanos(100),
            Duration::from_nanos(100),
            Duration::from_nanos(100),
        );
        let mut open = Tally::new(window, true).unwrap();
        open.answer(50, 150);
        open.answer(150, 250);
        assert_eq!((open.answers, open.latency.len(), open.latency.max()), (1, 1, 100));
        open.unsent(120, 300);
        assert_eq!(
            (open.unsent, open.latency.max()),
            (1, 180),
            "a request that waits for ever is not left out"
        );
        let mut closed = Tally::new(window, false).unwrap();
        closed.answer(50, 150);
        closed.answer(150, 250);
        assert_eq!((closed.answers, closed.latency.len(), closed.latency.max()), (1, 1, 100));
    }
}
