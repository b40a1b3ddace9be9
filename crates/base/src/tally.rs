//! Counters for metrics that any thread raises: by label, and by size.

use crate::{Exposition, MetricKind};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Label values that a tally keeps. Callers count words of the program, of which there are fewer; where a peer could
/// invent them, memory and the metrics' text stay bounded all the same.
const MOST_LABELS: usize = 512;
/// What everything else is counted under.
const OTHER: &str = "other";

/// Counts by the values of `N` labels.
#[derive(Debug)]
pub struct Tally<const N: usize>(Mutex<BTreeMap<[Cow<'static, str>; N], u64>>);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A count is added whole or not at all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<const N: usize> Tally<N> {
    /// Adds to the count of these label values, which are words of the program.
    pub fn add<L: Into<Cow<'static, str>>>(&self, labels: [L; N], count: u64) {
        let labels = labels.map(Into::into);
        let mut counts = lock(&self.0);
        let is_kept = counts.len() < MOST_LABELS || counts.contains_key(&labels);
        let labels = if is_kept { labels } else { std::array::from_fn(|_| Cow::Borrowed(OTHER)) };
        let kept = counts.entry(labels).or_default();
        *kept = kept.saturating_add(count);
    }

    /// Writes the counts as a counter; nothing where nothing was counted.
    pub fn write(&self, all: &mut Exposition, name: &str, help: &str, labels: [&str; N]) {
        let counts = lock(&self.0).clone();
        let sample = |(values, count): ([Cow<'static, str>; N], u64)| {
            let own = labels.iter().copied().zip(values.into_iter().map(Cow::into_owned));
            (own.collect::<Vec<_>>(), count as f64)
        };
        all.samples(name, MetricKind::Counter, help, counts.into_iter().map(sample));
    }
}

/// How often a value was at most each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    /// One for each bound, and one for what is over the last.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// A histogram without values, by bounds that rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted(), "{bounds:?}");
        Self { bounds, counted: Mutex::new(Counted { counts: vec![0; bounds.len() + 1], sum: 0.0 }) }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        let mut counted = lock(&self.counted);
        if let Some(count) = counted.counts.get_mut(place) {
            *count += 1;
        }
        counted.sum += value;
    }

    /// Writes the histogram.
    pub fn write(&self, all: &mut Exposition, name: &str, help: &str) {
        let counted = lock(&self.counted);
        all.histogram(name, help, self.bounds, (&counted.counts, counted.sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_label_and_their_number_is_bounded() {
        let tally = Tally::<2>::default();
        tally.add(["get", "200"], 2);
        tally.add(["get", "404"], 1);
        tally.add(["get", "200"], 1);
        let mut all = Exposition::default();
        tally.write(&mut all, "x_total", "Things.", ["operation", "status"]);
        let wanted = "# HELP x_total Things.\n# TYPE x_total counter\nx_total{operation=\"get\",status=\"200\"} 3\n\
                      x_total{operation=\"get\",status=\"404\"} 1\n";
        assert_eq!(all.into_text(), wanted);
        let many = Tally::<1>::default();
        (0..2_000).for_each(|number: u32| many.add([number.to_string()], 1));
        let mut all = Exposition::default();
        many.write(&mut all, "y_total", "Things.", ["name"]);
        let text = all.into_text();
        assert_eq!(text.lines().count(), 2 + MOST_LABELS + 1);
        assert!(text.contains(&format!("y_total{{name=\"other\"}} {}\n", 2_000 - MOST_LABELS)), "{text}");
    }

    #[test]
    fn a_histogram_counts_what_is_at_most_each_bound() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        [0.05, 0.1, 0.5, 7.0].into_iter().for_each(|value| histogram.observe(value));
        let mut all = Exposition::default();
        histogram.write(&mut all, "wait_seconds", "Waits.");
        let wanted = "# HELP wait_seconds Waits.\n# TYPE wait_seconds histogram\nwait_seconds_bucket{le=\"0.1\"} 2\n\
                      wait_seconds_bucket{le=\"1\"} 3\nwait_seconds_bucket{le=\"+Inf\"} 4\nwait_seconds_sum 7.65\n\
                      wait_seconds_count 4\n";
        assert_eq!(all.into_text(), wanted);
    }
}
