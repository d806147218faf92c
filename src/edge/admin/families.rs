//! Metrics as such: families of samples, and the two ways to write them down. Which there are is `metrics`' business.
//! The text is that of Prometheus (exposition format 0.0.4); JSON says the same in the same order.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value as Json, json};

use crate::base::Histogram;

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    Histogram,
    /// A sum and a count, without quantiles.
    Summary,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    /// Told in seconds.
    Times(Box<Histogram>),
    Sum {
        sum: u64,
        count: u64,
    },
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&Histogram> for Value {
    fn from(value: &Histogram) -> Self {
        Self::Times(Box::new(value.clone()))
    }
}

/// Names and values; names are ours, values may be the operator's.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A metric, and all there is of it.
#[derive(Clone, Debug)]
pub(super) struct Family {
    name: String,
    kind: Kind,
    help: &'static str,
    samples: Vec<(Labels, Value)>,
}

impl Family {
    pub(super) fn new(name: impl Into<String>, kind: Kind, help: &'static str) -> Self {
        Self { name: name.into(), kind, help, samples: Vec::new() }
    }

    pub(super) fn push(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push((labels, value.into()));
    }

    /// With one more sample.
    pub(super) fn with(mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) -> Self {
        self.push(labels, value);
        self
    }
}

/// Families that have samples, as Prometheus reads them.
pub(super) fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let Family { name, kind, help, samples } = family;
        // Writing to a text does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        for (labels, value) in samples {
            let shown = Shown { labels, more: None };
            let _ = match value {
                Value::Whole(value) => writeln!(out, "{name}{shown} {value}"),
                Value::Real(value) => writeln!(out, "{name}{shown} {value}"),
                Value::Sum { sum, count } => {
                    writeln!(out, "{name}_sum{shown} {sum}\n{name}_count{shown} {count}")
                }
                Value::Times(times) => histogram(&mut out, name, labels, times),
            };
        }
    }
    out
}

fn histogram(out: &mut String, name: &str, labels: &Labels, times: &Histogram) -> fmt::Result {
    let count = times.count();
    for (micros, so_far) in times.octaves() {
        let bound = seconds(micros).to_string();
        let shown = Shown { labels, more: Some(("le", &bound)) };
        writeln!(out, "{name}_bucket{shown} {so_far}")?;
    }
    let infinite = Shown { labels, more: Some(("le", "+Inf")) };
    let (shown, sum) = (Shown { labels, more: None }, seconds(times.micros()));
    writeln!(out, "{name}_bucket{infinite} {count}")?;
    writeln!(out, "{name}_sum{shown} {sum}\n{name}_count{shown} {count}")
}

/// The same as one JSON object: each family under its name.
pub(super) fn json(families: &[Family]) -> String {
    let mut all = Map::new();
    for Family { name, kind, help, samples } in families {
        let samples: Vec<Json> = samples
            .iter()
            .map(|(labels, value)| {
                let labels: Map<String, Json> = labels
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                    .collect();
                let mut sample = match value {
                    Value::Whole(value) => json!({"value": value}),
                    Value::Real(value) => json!({"value": value}),
                    Value::Sum { sum, count } => json!({"sum": sum, "count": count}),
                    Value::Times(times) => {
                        let buckets: Vec<_> = times
                            .octaves()
                            .map(|(micros, so_far)| json!([seconds(micros), so_far]))
                            .collect();
                        json!({"sum": seconds(times.micros()), "count": times.count(), "buckets": buckets})
                    }
                };
                sample["labels"] = labels.into();
                sample
            })
            .collect();
        all.insert(name.clone(), json!({"type": kind.name(), "help": help, "samples": samples}));
    }
    Json::Object(all).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a sum of 2^53 microseconds is 285 years")]
pub(super) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Labels as the text has them.
struct Shown<'a> {
    labels: &'a Labels,
    more: Option<(&'static str, &'a str)>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels =
            self.labels.iter().map(|(name, value)| (*name, value.as_str())).chain(self.more);
        let mut open = '{';
        for (name, value) in labels {
            write!(f, "{open}{name}=\"")?;
            for char in value.chars() {
                match char {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    char => f.write_char(char)?,
                }
            }
            f.write_char('"')?;
            open = ',';
        }
        if open == ',' { f.write_char('}') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Moment;

    #[test]
    fn a_family_is_written_as_prometheus_reads_it() {
        let mut times = Histogram::default();
        for micros in [3, 1_500_000] {
            times.record(Moment::START, Moment::from_micros(micros));
        }
        let families = [
            Family::new("a_total", Kind::Counter, "How many.")
                .with(&[("who", "a \"b\"\\\n")], 3_u64)
                .with(&[], 1_u64),
            Family::new("none", Kind::Gauge, "Nothing is told of what there is none of."),
            Family::new("t_seconds", Kind::Histogram, "How long.").with(&[("x", "y")], &times),
            Family::new("b_bytes", Kind::Summary, "How large.")
                .with(&[], Value::Sum { sum: 5, count: 2 }),
        ];
        let text = text(&families);
        assert!(
            text.starts_with(
                "# HELP a_total How many.\n# TYPE a_total counter\n\
             a_total{who=\"a \\\"b\\\"\\\\\\n\"} 3\na_total 1\n# HELP t_seconds"
            ),
            "{text}"
        );
        for line in [
            "t_seconds_bucket{x=\"y\",le=\"0.000004\"} 1",
            "t_seconds_bucket{x=\"y\",le=\"1.048576\"} 1",
            "t_seconds_bucket{x=\"y\",le=\"2.097152\"} 2",
            "t_seconds_bucket{x=\"y\",le=\"+Inf\"} 2",
            "t_seconds_sum{x=\"y\"} 1.500003",
            "t_seconds_count{x=\"y\"} 2",
            "b_bytes_sum 5",
            "b_bytes_count 2",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} is not in\n{text}");
        }
        let json: Json = serde_json::from_str(&json(&families)).expect("it is JSON");
        assert_eq!(json["a_total"]["samples"][0]["value"], 3);
        assert_eq!(json["t_seconds"]["samples"][0]["count"], 2);
        assert_eq!(json["t_seconds"]["samples"][0]["labels"]["x"], "y");
        assert_eq!(json["b_bytes"]["type"], "summary");
    }
}
