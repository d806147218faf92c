//! Reports as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

use crate::plot::{Plot, escape, put};
use crate::report::Report;
use crate::table::{count, micros};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
    h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse;width:100%}\
    td,th{padding:.3em .6em;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left;white-space:normal}\
    svg{width:100%;height:auto}svg text{font-size:12px;fill:#555}.grid{stroke:#e4e4e4}.legend span{margin-right:1.2em}\
    .legend i{display:inline-block;width:1em;height:.25em;margin-right:.4em;vertical-align:middle}.bad{color:#b00020}";

/// The page of these reports, each with its name.
pub fn page(title: &str, reports: &[(String, &Report)]) -> String {
    let title = escape(title);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    );
    page.push_str(
        "<table><tr><th>load<th>msg/s<th>p50<th>p90<th>p99<th>p99.9<th>max<th>CPU a message<th>fairness<th>faults</tr>",
    );
    for (name, report) in reports {
        let latency = &report.latency_us;
        put(
            &mut page,
            format_args!("<tr><td>{}<td>{}", escape(name), count(report.messages_per_s)),
        );
        for value in [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max] {
            put(&mut page, format_args!("<td>{}", micros(value)));
        }
        let cpu = report
            .server
            .map_or("–".to_owned(), |server| format!("{:.0} ns", server.cpu_ns_per_message));
        let faults = report.faults_sum();
        let class = if faults == 0 { "" } else { " class=\"bad\"" };
        put(
            &mut page,
            format_args!(
                "<td>{cpu}<td>{:.2}<td{class}>{faults}</tr>",
                report.fairness.slowest_to_mean
            ),
        );
    }
    page.push_str("</table><h2>Latency by percentile</h2>");
    page.push_str(&latency(reports).svg());
    page.push_str("<h2>Throughput over time, warm-up included</h2>");
    page.push_str(&throughput(reports).svg());
    for (name, report) in reports {
        put(
            &mut page,
            format_args!(
                "<h2>{}</h2><p>{}, {}: {} connections × {} outstanding, {}, {} B a request; {} right answers in {:.1} s; generator {:.0} % busy.</p>",
                escape(name),
                escape(&report.target),
                report.era,
                report.connections,
                report.outstanding,
                escape(&report.mix),
                report.request_bytes,
                report.answers,
                report.seconds,
                report.generator_busy * 100.0
            ),
        );
        for sample in &report.samples {
            put(&mut page, format_args!("<p class=\"bad\">{}</p>", escape(sample)));
        }
    }
    page.push_str("</html>\n");
    page
}

/// Nines on the x axis (0, 90, 99, 99.9, …), logarithm of microseconds on the y axis.
fn latency(reports: &[(String, &Report)]) -> Plot {
    let nines_max = 5.0;
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-9).log10() / nines_max;
    let values = || {
        reports
            .iter()
            .flat_map(|(_, report)| report.curve.iter().map(|point| point.1.max(1.0).log10()))
    };
    let low = values().fold(f64::INFINITY, f64::min).floor();
    let high = values().fold(f64::NEG_INFINITY, f64::max).ceil().max(low + 1.0);
    if !low.is_finite() {
        return Plot::default();
    }
    let height = |us: f64| (us.max(1.0).log10() - low) / (high - low);
    let mut y_ticks = Vec::new();
    let mut decade = low;
    while decade <= high {
        y_ticks.push((height(10_f64.powf(decade)), micros(10_f64.powf(decade))));
        decade += 1.0;
    }
    let lines = reports.iter().map(|(name, report)| {
        let shown = report.curve.iter().filter(|point| nines(point.0) <= 1.0);
        (name.clone(), shown.map(|point| (nines(point.0), height(point.1))).collect())
    });
    Plot {
        x_ticks: [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999]
            .map(|percentile: f64| (nines(percentile), format!("{percentile} %")))
            .to_vec(),
        y_ticks,
        lines: lines.collect(),
    }
}

/// Seconds on the x axis, answers a second on the y axis from zero.
#[expect(clippy::cast_precision_loss, reason = "a plot shows three digits")]
fn throughput(reports: &[(String, &Report)]) -> Plot {
    let slices =
        reports.iter().map(|(_, report)| report.throughput.len()).max().unwrap_or(0).max(2);
    let top = reports
        .iter()
        .flat_map(|(_, report)| &report.throughput)
        .max()
        .copied()
        .unwrap_or(0)
        .max(1) as f64;
    let slice_s = reports.first().map_or(0.1, |(_, report)| report.slice_ms as f64 / 1e3);
    let place = |slice: usize| slice as f64 / (slices - 1) as f64;
    let line = |report: &Report| {
        report
            .throughput
            .iter()
            .enumerate()
            .map(|(at, value)| (place(at), *value as f64 / top))
            .collect()
    };
    Plot {
        x_ticks: (0..=4)
            .map(|at| f64::from(at) / 4.0)
            .map(|part| (part, format!("{:.1} s", part * (slices - 1) as f64 * slice_s)))
            .collect(),
        y_ticks: (0..=4)
            .map(|at| f64::from(at) / 4.0)
            .map(|part| (part, count(part * top)))
            .collect(),
        lines: reports.iter().map(|(name, report)| (name.clone(), line(report))).collect(),
    }
}
