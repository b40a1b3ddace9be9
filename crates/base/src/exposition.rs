//! Metrics as Prometheus reads them: its text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It rises and falls.
    Gauge,
    /// It rises until the process ends.
    Counter,
}

/// The media type of the text.
pub const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text of metrics. What is not known has no value: a zero would be one.
#[derive(Debug, Clone, Default)]
pub struct Exposition(String);

/// A label's value, with what would end it escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Exposition {
    /// Adds a metric with one value, where that is known.
    pub fn one(&mut self, name: &str, kind: MetricKind, help: &str, value: Option<f64>) {
        self.labelled(name, kind, help, "", value.map(|value| (String::new(), value)));
    }

    /// Adds a metric with a value for each value of a label; nothing where there is none.
    pub fn labelled(
        &mut self,
        name: &str,
        kind: MetricKind,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) {
        let of = |(own, value): (String, f64)| (vec![(label, own)], value);
        self.samples(name, kind, help, values.into_iter().map(of));
    }

    /// Adds a metric with a value for each set of labels; nothing where there is none.
    pub fn samples<'a>(
        &mut self,
        name: &str,
        kind: MetricKind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, String)>, f64)>,
    ) {
        let kind = match kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        let mut is_first = true;
        for (labels, value) in samples.into_iter().filter(|(_, value)| value.is_finite()) {
            if std::mem::take(&mut is_first) {
                self.head(name, kind, help);
            }
            let labels: Vec<String> = labels
                .iter()
                .filter(|(label, _)| !label.is_empty())
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            self.sample(name, &labels.join(","), value);
        }
    }

    /// Adds a histogram: for each bound and for what is over the last, how many values are there; and their sum.
    pub fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], (counts, sum): (&[u64], f64)) {
        self.head(name, "histogram", help);
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        for (own, bound) in counts.iter().zip(bounds.iter().copied().chain([f64::INFINITY])) {
            count += own;
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            self.sample(&bucket, &format!("le=\"{bound}\""), count as f64);
        }
        self.sample(&format!("{name}_sum"), "", sum);
        self.sample(&format!("{name}_count"), "", count as f64);
    }

    // Writing into a string cannot fail.

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// The texts of several processes as one: each sample gets a label with the name of its process, and each metric
    /// has its head once. Metrics are sorted by name; lines that are no metrics are left out.
    pub fn merged<'a>(label: &str, processes: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut metrics: BTreeMap<&str, (Vec<&str>, String)> = BTreeMap::new();
        for (process, text) in processes {
            let own = format!("{label}=\"{}\"", escaped(process));
            let (mut name, mut is_known) = ("", false);
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("# HELP ") {
                    name = rest.split(' ').next().unwrap_or_default();
                    is_known = metrics.contains_key(name);
                }
                let (heads, samples) = metrics.entry(name).or_default();
                if line.starts_with('#') {
                    heads.extend(Some(line).filter(|_| !is_known));
                } else if let Some((metric, rest)) = line.split_once('{') {
                    let _ = writeln!(samples, "{metric}{{{own},{rest}");
                } else if let Some((metric, value)) = line.split_once(' ') {
                    let _ = writeln!(samples, "{metric}{{{own}}} {value}");
                }
            }
        }
        let with_head = metrics.into_values().filter(|(heads, _)| !heads.is_empty());
        with_head.map(|(heads, samples)| format!("{}\n{samples}", heads.join("\n"))).collect()
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_its_head_once_and_nothing_where_nothing_is_known() {
        let mut all = Exposition::default();
        all.one("a_total", MetricKind::Counter, "Things.", Some(3.0));
        all.one("b", MetricKind::Gauge, "Unknown.", None);
        all.one("c", MetricKind::Gauge, "No number.", Some(f64::NAN));
        all.labelled("d", MetricKind::Gauge, "By\nname.", "name", [("x\"\n\\".to_owned(), 0.5), ("y".to_owned(), 2.0)]);
        let wanted = "# HELP a_total Things.\n# TYPE a_total counter\na_total 3\n\
                      # HELP d By\\nname.\n# TYPE d gauge\nd{name=\"x\\\"\\n\\\\\"} 0.5\nd{name=\"y\"} 2\n";
        assert_eq!(all.into_text(), wanted);
    }
    #[test]
    fn texts_of_processes_become_one_with_each_head_once() {
        let text = |value: f64| {
            let mut all = Exposition::default();
            all.one("b", MetricKind::Gauge, "Plain.", Some(value));
            all.labelled("a_total", MetricKind::Counter, "By name.", "name", [("x".to_owned(), value)]);
            all.into_text()
        };
        let (one, two) = (text(1.0), text(2.0));
        let merged = Exposition::merged("process", [("miner-0", &*one), ("miner-1", &*two), ("odd", "no metric\n")]);
        let wanted = "# HELP a_total By name.\n# TYPE a_total counter\n\
                      a_total{process=\"miner-0\",name=\"x\"} 1\na_total{process=\"miner-1\",name=\"x\"} 2\n\
                      # HELP b Plain.\n# TYPE b gauge\nb{process=\"miner-0\"} 1\nb{process=\"miner-1\"} 2\n";
        assert_eq!(merged, wanted);
        assert_eq!(Exposition::merged("process", []), "");
    }
}
