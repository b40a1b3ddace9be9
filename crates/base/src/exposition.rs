//! Metrics as Prometheus reads them: its text format, version 0.0.4.

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
            // Writing into a string cannot fail.
            if std::mem::take(&mut is_first) {
                let help = help.replace('\\', "\\\\").replace('\n', "\\n");
                let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            }
            let labels: Vec<String> = labels
                .iter()
                .filter(|(label, _)| !label.is_empty())
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
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
}
