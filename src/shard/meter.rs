//! What a shard counts. Written by its thread, read by any: one writer, so a relaxed load and store
//! do where an atomic addition would cost ten times as much.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// One less.
    pub fn less(&self) {
        self.set(self.get().saturating_sub(1));
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! meter {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One shard's counters.
        #[derive(Debug, Default)]
        pub struct Meter {
            $($(#[$doc])* pub $name: Count,)*
        }

        impl Meter {
            /// Every counter with its name, in the order they are declared.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

meter! {
    /// Links that are open now, of clients and to upstreams.
    links_open,
    /// Connections accepted.
    accepted,
    /// Connections refused because `clients_max` were open.
    refused,
    /// Connections that are open on each listener, and those that were refused because it had `max_connections`.
    tcp_connections,
    http_connections,
    unix_connections,
    tcp_turned_away,
    http_turned_away,
    unix_turned_away,
    /// Connections refused because of where they came from (`rates.connections`, `rates.violations`).
    shut_out,
    /// TLS handshakes with clients that came to their end; and what came to nothing, see [`super::tls::Trouble`].
    tls_handshakes,
    tls_failed_handshake,
    tls_failed_certificate,
    tls_failed_late,
    tls_failed_left,
    tls_failed_protocol,
    tls_violations,
    /// Towards upstreams: handshakes that failed, and keys that are none of the pinned ones.
    tls_upstream_failures,
    tls_pin_mismatches,
    /// Failed accepts: no file descriptor left, most often.
    accept_failures,
    /// Lines that came in.
    frames_in,
    /// Blocks of lines that were read and written; their bytes, as they travel and as lines; and the messages that were
    /// written in them.
    blocks_in,
    blocks_out,
    block_bytes_in,
    block_bytes_out,
    block_lines_bytes_in,
    block_lines_bytes_out,
    block_messages_out,
    /// HTTP requests that came in whole, and what was refused as none.
    requests,
    faults,
    /// HTTP requests without a good key.
    unauthorized,
    /// Callers' tokens that others were had for, and those that none was had for.
    exchanges,
    exchanges_refused,
    bytes_in,
    bytes_out,
    /// Reads that brought something, and writes that took something: frames divided by these is the
    /// batching.
    reads,
    writes,
    /// Turns of the loop, and those over 25 ms.
    turns,
    turns_slow,
    /// Looks for work before sleeping (`shards.spin_us`).
    spins,
    /// Longest turn, in microseconds.
    turn_micros_max,
    mail_in,
    mail_out,
    /// Mail that found the ring full and waited at the sender.
    mail_waited,
    /// Bytes written to wake another shard.
    wakes,
    /// Links closed because their outbox passed its hard bound, or stayed over its bound too long.
    closed_slow,
    /// Panics caught in tasks.
    panics,
    /// Reports of the domain.
    reports,
    /// Of these, requests that ended with an error of ours. And lines of the log that were left out, because there
    /// were too many of one kind.
    calls_failed,
    log_left_out,
    /// Spans handed on, and spans that found no room in the queue.
    spans,
    spans_lost,
    /// Lines handed to the audit log, and lines that found no room in its queue.
    audited,
    audit_lost,
}

/// Whether what stands under this name can fall; all else only grows.
pub fn is_gauge(name: &str) -> bool {
    name.ends_with("_connections") || matches!(name, "links_open" | "turn_micros_max")
}

/// All counters of all shards in the text exposition format 0.0.4 of Prometheus. All else that there is to see is told
/// by the floor above, which asks for it.
pub(super) fn exposition(meters: &[std::sync::Arc<Meter>]) -> String {
    let read: Vec<_> = meters.iter().map(|meter| meter.read()).collect();
    let mut text = String::new();
    let names = read.first().into_iter().flatten().map(|(name, _)| *name);
    for (at, name) in names.enumerate() {
        let (kind, end) = if is_gauge(name) { ("gauge", "") } else { ("counter", "_total") };
        text.extend(["# TYPE ringgate_", name, end, " ", kind, "\n"]);
        for (shard, counts) in read.iter().enumerate() {
            let count = counts.get(at).map_or(0, |(_, count)| *count);
            let (shard, count) = (shard.to_string(), count.to_string());
            text.extend(["ringgate_", name, end, "{shard=\"", &shard, "\"} ", &count, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_shard_by_shard() {
        let meters: Vec<std::sync::Arc<Meter>> = vec![std::sync::Arc::default(); 1];
        meters[0].accepted.add(3);
        let text = exposition(&meters);
        assert!(text.contains(
            "# TYPE ringgate_accepted_total counter\nringgate_accepted_total{shard=\"0\"} 3\n"
        ));
        assert!(text.contains("# TYPE ringgate_links_open gauge\n"));
        assert_eq!(exposition(&[]), "");
    }
}
