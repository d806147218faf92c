//! Reports as lines for a terminal: columns that align. Not printing: see `terminal`.

use crate::idle::IdleReport;
use crate::report::Report;

/// Rows of cells under a head, each column as wide as its widest cell; the first column stands left, others right.
pub fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One report, a line for each thing it says.
pub fn report(report: &Report) -> String {
    let latency = &report.latency_us;
    let mut rows = vec![
        row("target", format!("{}, {}", report.target, report.era)),
        row(
            "load",
            format!(
                "{} connections × {} outstanding, {}, {} B a request",
                report.connections, report.outstanding, report.mix, report.request_bytes
            ),
        ),
    ];
    if let Some(rate) = report.rate {
        rows.push(row(
            "rate",
            format!(
                "{} msg/s meant; {} requests found no slot to the end",
                count(rate),
                report.unsent
            ),
        ));
    }
    rows.push(row(
        "throughput",
        format!(
            "{} msg/s ({} right answers in {:.1} s)",
            count(report.messages_per_s),
            report.answers,
            report.seconds
        ),
    ));
    rows.push(row(
        "latency",
        format!(
            "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            micros(latency.p50),
            micros(latency.p90),
            micros(latency.p99),
            micros(latency.p99_9),
            micros(latency.max)
        ),
    ));
    let fairness = &report.fairness;
    rows.push(row(
        "fairness",
        format!(
            "slowest connection {} answers, mean {:.0}: {:.2}",
            fairness.slowest, fairness.mean, fairness.slowest_to_mean
        ),
    ));
    if let Some(server) = &report.server {
        rows.push(row(
            "server CPU",
            format!("{:.0} ns a message, {:.2} cores", server.cpu_ns_per_message, server.cores),
        ));
        let growth = server
            .rss_bytes_per_connection
            .map_or(String::new(), |bytes| format!(", {bytes:.0} B more for each connection"));
        rows.push(row("server memory", format!("{} KiB{growth}", server.rss_bytes / 1024)));
    }
    rows.push(row(
        "generator",
        format!(
            "{:.0} % busy, {} answers parsed in full",
            report.generator_busy * 100.0,
            report.parsed
        ),
    ));
    if let Some(cores) = report.foreign_cores {
        rows.push(row("others", format!("used {cores:.2} cores of this machine meanwhile")));
    }
    let faults: Vec<String> = report
        .faults
        .iter()
        .filter(|(_, count)| **count != 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    rows.push(row("faults", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }));
    rows.extend(report.samples.iter().map(|sample| row("", sample.clone())));
    let lines: Vec<String> = rows.iter().map(|row| format!("{:<14} {}", row[0], row[1])).collect();
    lines.join("\n") + "\n"
}

/// What idle connections cost, a line for each thing.
pub fn idle(report: &IdleReport) -> String {
    let mut lines = vec![
        format!(
            "{:<14} {} idle connections to {}, {}",
            "load", report.connections, report.target, report.beginning
        ),
        format!(
            "{:<14} {:.0} B for each ({} KiB before, {} KiB with them)",
            "server memory",
            report.rss_bytes_per_connection,
            report.rss_before_bytes / 1024,
            report.rss_bytes / 1024
        ),
    ];
    for (name, busy) in [("without them", &report.without), ("beside them", &report.with)] {
        if let Some(busy) = busy {
            lines.push(format!(
                "{name:<14} {} msg/s, p50 {}, p99 {}, faults {}",
                count(busy.messages_per_s),
                micros(busy.latency_us.p50),
                micros(busy.latency_us.p99),
                busy.faults_sum()
            ));
        }
    }
    lines.join("\n") + "\n"
}

/// A number of things a second, short.
pub fn count(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.2} M", value / 1e6)
    } else if value >= 1e3 {
        format!("{:.1} K", value / 1e3)
    } else {
        format!("{value:.0}")
    }
}

/// Microseconds, short.
pub fn micros(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.2} s", value / 1e6)
    } else if value >= 1e3 {
        format!("{:.2} ms", value / 1e3)
    } else {
        format!("{value:.0} µs")
    }
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_on_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "7".to_owned()]];
        assert_eq!(align(&rows), "a     10\nlong   7\n");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [count(12.0), count(285_000.0), count(3_410_000.0)],
            ["12", "285.0 K", "3.41 M"]
        );
        assert_eq!(
            [micros(41.0), micros(3486.0), micros(2_500_000.0)],
            ["41 µs", "3.49 ms", "2.50 s"]
        );
    }
}
