//! What was measured, for people and for programs.

use super::models::BENCH_SHAPE;
use super::turns::Times;
use super::window_cost::WindowCost;
use crate::Section;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::collections::BTreeMap;

/// A figure of the table: its name in JSON, what it is, and what is asked for: at least, and the aim.
struct Line {
    name: &'static str,
    what: &'static str,
    least: f64,
    aim: f64,
}

/// The figures that have a goal. Where the aim is the smaller number, less is better.
const LINES: [Line; 12] = [
    line("train_ratio_1_thread", "training, 1 thread, against PyTorch eager", 1.3, 1.6),
    line("evaluate_ratio_1_thread", "evaluation, 1 thread, against PyTorch eager", 1.7, 2.5),
    line("generate_ratio", "generation with a cache, against transformers", 2.0, 5.0),
    line("thread_scaling", "second thread, in training", 1.8, 1.95),
    line("train_peak_share", "share of the core's peak in training", 0.55, 0.7),
    line("memory_ratio", "peak memory in training, of PyTorch eager's", 0.25, 0.2),
    line("memory_ratio_over_idle", "the same without what a process holds idle", 0.25, 0.2),
    line("gradient_relative_error", "gradients, largest relative error of a tensor", 1e-5, 1e-5),
    line("device_train_ratio", "training, against plain PyTorch on the device", 0.97, 1.0),
    line("device_train_ratio_compiled", "the same, both compiled", 0.97, 1.0),
    line("device_evaluate_ratio", "evaluation, against plain PyTorch on the device", 0.97, 1.0),
    line("model_flops_utilisation", "share of the device's peak in training", 0.5, 0.5),
];

const fn line(name: &'static str, what: &'static str, least: f64, aim: f64) -> Line {
    Line { name, what, least, aim }
}

/// What was measured of one model.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Figures {
    /// The model's name.
    pub model: String,
    /// Its parameters.
    pub parameters: usize,
    /// Ratios and shares by name; one that was not measured is absent. Ratios over 1 mean that ours is faster.
    #[serde(flatten)]
    values: BTreeMap<&'static str, f64>,
    /// The ratios again, of each engine's best turn instead of the median over the turns.
    pub of_best_turns: BTreeMap<&'static str, f64>,
    /// Median tokens per second by engine: `templar`, `templar, 2 threads`, `PyTorch eager`, ...
    pub train_tokens_per_second: BTreeMap<String, f64>,
    /// As above, forward only.
    pub evaluate_tokens_per_second: BTreeMap<String, f64>,
    /// As above, one text with a cache of keys and values.
    pub generate_tokens_per_second: BTreeMap<String, f64>,
    /// Peak memory of the process in training.
    pub train_peak_bytes: BTreeMap<String, u64>,
    /// The engines' own words for themselves.
    pub versions: BTreeMap<String, String>,
    /// What the ends of a window cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowCost>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
}

impl Figures {
    /// Nothing yet, of the model of this name with N parameters.
    pub fn new(model: &str, parameters: usize) -> Self {
        Self { model: model.to_owned(), parameters, ..Self::default() }
    }

    /// Records a figure, if there is one.
    pub fn set(&mut self, name: &'static str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.values.insert(name, value);
        }
    }

    /// Records how many times as fast `ours` is as `theirs`, if both took their turns.
    pub fn set_ratio(&mut self, name: &'static str, times: &Times, ours: &str, theirs: &str) {
        self.set(name, times.ratio(ours, theirs));
        self.of_best_turns.extend(times.ratio_of_best(ours, theirs).map(|ratio| (name, ratio)));
    }

    fn sections(&self) -> [Section; 2] {
        let title = format!("{} ({} parameters)", self.model, HumanCount(self.parameters as u64));
        let mut rows = Vec::new();
        for (engine, version) in &self.versions {
            let rate = |rates: &BTreeMap<String, f64>| {
                rates.get(engine).map_or(String::new(), |rate| HumanCount(*rate as u64).to_string())
            };
            let memory =
                self.train_peak_bytes.get(engine).map_or(String::new(), |bytes| DecimalBytes(*bytes).to_string());
            rows.push(vec![
                engine.clone(),
                rate(&self.train_tokens_per_second),
                rate(&self.evaluate_tokens_per_second),
                rate(&self.generate_tokens_per_second),
                memory,
                version.clone(),
            ]);
        }
        let head = ["tokens/s", "training", "evaluation", "generation", "memory", "version"];
        let speeds = Section { title, head: head.map(str::to_owned).to_vec(), rows, ..Section::default() };
        let mut rows = Vec::new();
        for Line { name, what, least, aim } in &LINES {
            let Some(value) = self.values.get(name) else { continue };
            let reached = |goal: f64| if aim > least { *value >= goal } else { *value <= goal };
            let verdict = match (reached(*least), reached(*aim)) {
                (_, true) => "aim reached",
                (true, _) => "reached",
                _ => "missed",
            };
            let number = |value: f64| if value < 1e-3 { format!("{value:.1e}") } else { format!("{value:.2}") };
            let best = self.of_best_turns.get(name).map_or(String::new(), |value| number(*value));
            rows.push(vec![what.to_string(), number(*value), best, number(*least), number(*aim), verdict.to_owned()]);
        }
        let head = ["figure", "measured", "best turns", "at least", "aim", ""].map(str::to_owned).to_vec();
        let mut notes: Vec<String> = self.second_thread().into_iter().collect();
        notes.extend(self.window.iter().map(ends_of_a_window));
        notes.extend(self.missing.iter().map(|missing| format!("not measured: {missing}")));
        [speeds, Section { head, rows, notes, ..Section::default() }]
    }

    /// What a second thread could bring, beside what it brings.
    fn second_thread(&self) -> Option<String> {
        let said = [
            ("of_multiply_adds", "multiply-adds that need only a core each"),
            ("of_engines_apart", "training by two engines that share nothing"),
            ("of_pytorch", "training by PyTorch"),
        ];
        let said = said.iter().filter_map(|(name, what)| {
            let value = self.values.get(format!("thread_scaling_{name}").as_str())?;
            Some(format!("{value:.2} times as much {what}"))
        });
        match said.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => None,
            said => Some(format!("on two threads of this machine instead of one: {said}")),
        }
    }
}

fn ends_of_a_window(cost: &WindowCost) -> String {
    format!(
        "at the end of a window: {:.2} s from the last step to a sealed payload of {}; {:.2} s to judge {} payloads on {} \
         sequences, of which {} would be merged",
        cost.seal_seconds,
        DecimalBytes(cost.sealed_bytes as u64),
        cost.judge_seconds,
        cost.judged,
        cost.sequences,
        cost.selected,
    )
}

/// All models; in JSON the figures of the bench shape (or of the only model) stand at the top.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    bench_shape: Figures,
    models: Vec<Figures>,
}

impl Report {
    /// The report on these models.
    pub fn new(models: Vec<Figures>) -> Self {
        let found = models.iter().find(|figures| figures.model == BENCH_SHAPE).or(models.first());
        Self { bench_shape: found.cloned().unwrap_or_default(), models }
    }

    /// Two tables for each model.
    pub fn sections(&self) -> Vec<Section> {
        self.models.iter().flat_map(Figures::sections).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bench_shape_stands_at_the_top() {
        let figures = |model: &str, ratio| {
            let mut figures = Figures::new(model, 1);
            figures.set("train_ratio_1_thread", Some(ratio));
            figures.set("memory_ratio", Some(f64::NAN));
            figures
        };
        let whole = Report::new(vec![figures("1m", 1.0), figures(BENCH_SHAPE, 1.5)]);
        let json = serde_json::to_value(&whole).unwrap();
        assert_eq!(json["train_ratio_1_thread"], 1.5);
        assert_eq!(json["models"][0]["train_ratio_1_thread"], 1.0);
        assert!(json.get("memory_ratio").is_none());
        assert!(whole.sections()[3].rows[0].contains(&"1.50".to_owned()));
    }
}
