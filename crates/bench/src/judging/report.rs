//! What the runs come to: what judging costs, how it ranks, and how near its promise is to what a step brings.

use super::JudgingBench;
use super::subnet::Facts;
use super::trial::{Seen, Spent, Step};
use crate::Section;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::collections::BTreeSet;
use templar_simulator::Spread;

/// What a judging says of a merged payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Ours: φ of this window.
    Contribution,
    /// Ours: the mean of the rating after this window.
    Rating,
    /// The original's: how much the loss falls at a fifth of the step, for each payload alone.
    Decrease,
    /// The original's: its score after this window.
    Score,
}

impl Figure {
    const ALL: [Self; 4] = [Self::Contribution, Self::Rating, Self::Decrease, Self::Score];

    fn name(self) -> &'static str {
        match self {
            Self::Contribution => "ours: φ of the window",
            Self::Rating => "ours: rating after it",
            Self::Decrease => "original: loss at a fifth",
            Self::Score => "original: score after it",
        }
    }
}

/// What one judging costs a window with this many registered miners, over all windows and seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// Registered miners, each with a payload.
    pub registered: usize,
    /// Payloads that are judged.
    pub judged: usize,
    /// `ours` or `original`.
    pub judging: &'static str,
    /// Whether it was run and counted; else it follows from the rule.
    pub is_counted: bool,
    /// Sequence-forwards of a window; a backward pass counts as two.
    pub sequence_forwards: Spread,
    /// Those of the dearest window.
    pub most_sequence_forwards: u64,
    /// Seconds of a window on one thread, merging not included; measured, so that they differ from time to time.
    pub seconds: Option<Spread>,
    /// The most memory that judging a window added to what the process held, in bytes; measured.
    pub peak_bytes: Option<u64>,
}

/// How well a figure ranks the merged payloads, by what leaving each out shows.
#[derive(Debug, Clone, Serialize)]
pub struct RankAgreement {
    /// Registered miners.
    pub registered: usize,
    /// The figure.
    pub figure: Figure,
    /// Spearman's rank correlation, over windows and seeds.
    pub correlation: Spread,
    /// Windows in which the figure gave an order.
    pub windows: usize,
}

/// What the applied steps were to bring, and brought. Thousandths of a nat.
#[derive(Debug, Clone, Serialize)]
pub struct Gain {
    /// Registered miners.
    pub registered: usize,
    /// Windows in which something was merged.
    pub windows: usize,
    /// Σφ.
    pub promised_mnats: Spread,
    /// What the step brought on the text of judgement.
    pub judged_mnats: Spread,
    /// What it brought on held-out text.
    pub held_out_mnats: Spread,
    /// Σφ less what it brought on the text of judgement, over that.
    pub error_judged: Spread,
    /// The same on held-out text.
    pub error_held_out: Spread,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    event: &'static str,
    /// Parameters of the model.
    pub parameters: usize,
    /// Windows of each run.
    pub windows: u16,
    /// Seeds.
    pub seeds: u16,
    /// Inner steps of a window.
    pub steps: u16,
    /// Sequences that a window is judged on.
    pub judged_sequences: usize,
    /// Sequences of a miner's own text that the original tries it on.
    pub own_sequences: usize,
    /// Sequences of the held-out text.
    pub held_out_sequences: usize,
    /// What judging costs.
    pub costs: Vec<Cost>,
    /// How it ranks.
    pub ranks: Vec<RankAgreement>,
    /// How near its promises are.
    pub gains: Vec<Gain>,
}

impl Report {
    pub(super) fn of(bench: &JudgingBench, facts: Facts, seen: &[Seen]) -> Self {
        let sizes: BTreeSet<usize> = seen.iter().map(|window| window.registered).collect();
        let of = |size: usize| -> Vec<&Seen> { seen.iter().filter(|window| window.registered == size).collect() };
        Self {
            event: "judging",
            parameters: facts.parameters,
            windows: bench.windows,
            seeds: bench.seeds,
            steps: bench.steps,
            judged_sequences: facts.judged_sequences,
            own_sequences: facts.own_sequences,
            held_out_sequences: facts.held_out_sequences,
            costs: sizes.iter().flat_map(|size| costs(*size, facts, &of(*size))).collect(),
            ranks: sizes.iter().flat_map(|size| ranks(*size, &of(*size))).collect(),
            gains: sizes.iter().filter_map(|size| gain(*size, &of(*size))).collect(),
        }
    }

    /// The figures for people.
    pub fn sections(&self) -> Vec<Section> {
        vec![self.cost_section(), self.rank_section(), self.gain_section()]
    }

    fn cost_section(&self) -> Section {
        let head = ["registered", "judged", "judging", "sequence-forwards", "at most", "seconds", "memory"];
        let rows = self.costs.iter().map(|cost| {
            vec![
                cost.registered.to_string(),
                cost.judged.to_string(),
                format!("{}{}", cost.judging, if cost.is_counted { "" } else { ", by its rule" }),
                counts(cost.sequence_forwards),
                HumanCount(cost.most_sequence_forwards).to_string(),
                cost.seconds.map_or("-".to_owned(), |seconds| shown(seconds, 1.0, 2)),
                cost.peak_bytes.map_or("-".to_owned(), |bytes| DecimalBytes(bytes).to_string()),
            ]
        });
        let model = format!(
            "{} parameters, {} sequences of judgement, {} of a miner's own text; {} windows of {} steps, {} seeds; \
             mean ± deviation between windows",
            HumanCount(self.parameters as u64),
            self.judged_sequences,
            self.own_sequences,
            self.windows,
            self.steps,
            self.seeds
        );
        let mut notes =
            vec![model, "a gradient counts as three sequence-forwards; judging runs on one thread".to_owned()];
        if self.costs.iter().any(|cost| !cost.is_counted) {
            notes.push(format!(
                "by its rule: where the pool leaves payloads out the original was not run; it tries each on {} sequences \
                 of its own text, twice, and on the common {}",
                self.own_sequences, self.judged_sequences
            ));
        }
        section("What judging a window costs", &head, rows.collect(), notes)
    }

    fn rank_section(&self) -> Section {
        let head = ["registered", "figure", "rank correlation", "windows"];
        let rows = self.ranks.iter().map(|own| {
            let correlation = shown(own.correlation, 1.0, 2);
            vec![own.registered.to_string(), own.figure.name().to_owned(), correlation, own.windows.to_string()]
        });
        let notes = vec![
            "with what leaving a payload out costs on the same text, over the payloads that each judging merges"
                .to_owned(),
        ];
        section("How it ranks the merged payloads", &head, rows.collect(), notes)
    }

    fn gain_section(&self) -> Section {
        let head = ["registered", "Σφ mnat", "brought mnat", "error", "held out mnat", "error"];
        let rows = self.gains.iter().map(|own| {
            vec![
                own.registered.to_string(),
                shown(own.promised_mnats, 1.0, 1),
                shown(own.judged_mnats, 1.0, 1),
                format!("{} %", shown(own.error_judged, 100.0, 1)),
                shown(own.held_out_mnats, 1.0, 1),
                format!("{} %", shown(own.error_held_out, 100.0, 1)),
            ]
        });
        let notes = vec![format!(
            "Σφ of the merged payloads, what the step brought on the text of judgement and on {} held-out sequences",
            self.held_out_sequences
        )];
        section("What the applied steps promise and bring", &head, rows.collect(), notes)
    }
}

fn section(title: &str, head: &[&str], rows: Vec<Vec<String>>, notes: Vec<String>) -> Section {
    Section { title: title.to_owned(), head: head.iter().map(|name| (*name).to_owned()).collect(), rows, notes }
}

fn shown(spread: Spread, times: f64, digits: usize) -> String {
    format!("{:.digits$} ± {:.digits$}", times * spread.mean, times * spread.deviation)
}

fn counts(spread: Spread) -> String {
    format!("{} ± {}", HumanCount(spread.mean.round() as u64), HumanCount(spread.deviation.round() as u64))
}

/// Ours, and the original: counted where it ran, else by its rule.
fn costs(registered: usize, facts: Facts, seen: &[&Seen]) -> Vec<Cost> {
    let judged = seen.iter().map(|window| window.judged).max().unwrap_or_default();
    let ours: Vec<Spent> = seen.iter().map(|window| window.ours).collect();
    let original: Vec<Spent> = seen.iter().filter_map(|window| window.original).collect();
    let original = match original.is_empty() {
        true => by_rule(registered, facts),
        false => counted(registered, judged, "original", &original),
    };
    vec![counted(registered, judged, "ours", &ours), original]
}

fn counted(registered: usize, judged: usize, judging: &'static str, spent: &[Spent]) -> Cost {
    let forwards: Vec<u64> = spent.iter().map(|own| own.sequences.sequence_forwards()).collect();
    Cost {
        registered,
        judged,
        judging,
        is_counted: true,
        sequence_forwards: Spread::of(forwards.iter().map(|count| *count as f64)),
        most_sequence_forwards: forwards.iter().copied().max().unwrap_or_default(),
        seconds: Some(Spread::of(spent.iter().map(|own| own.effort.seconds))),
        peak_bytes: spent.iter().filter_map(|own| own.effort.peak_bytes).max(),
    }
}

/// What the original's rule comes to for this many payloads: the common text once before, then for each payload the
/// common text after it, and its own text before and after.
fn by_rule(registered: usize, facts: Facts) -> Cost {
    let each = facts.judged_sequences + 2 * facts.own_sequences;
    let forwards = (registered * each + facts.judged_sequences) as u64;
    Cost {
        registered,
        judged: registered,
        judging: "original",
        is_counted: false,
        sequence_forwards: Spread::of([forwards as f64]),
        most_sequence_forwards: forwards,
        seconds: None,
        peak_bytes: None,
    }
}

fn ranks(registered: usize, seen: &[&Seen]) -> Vec<RankAgreement> {
    let agreement = |figure: Figure| {
        let all = seen.iter().flat_map(|window| &window.correlations);
        let own: Vec<f64> = all.filter(|(other, _)| *other == figure).map(|(_, correlation)| *correlation).collect();
        let (correlation, windows) = (Spread::of(own.iter().copied()), own.len());
        (windows > 0).then_some(RankAgreement { registered, figure, correlation, windows })
    };
    Figure::ALL.into_iter().filter_map(agreement).collect()
}

fn gain(registered: usize, seen: &[&Seen]) -> Option<Gain> {
    let steps: Vec<Step> = seen.iter().filter_map(|window| window.step).collect();
    let mnats = |value: fn(&Step) -> f64| Spread::of(steps.iter().map(|step| 1e3 * value(step)));
    let error = |brought: fn(&Step) -> f64| {
        let steps = steps.iter().filter(|step| brought(step) != 0.0);
        Spread::of(steps.map(|step| (step.promised - brought(step)) / brought(step).abs()))
    };
    (!steps.is_empty()).then(|| Gain {
        registered,
        windows: steps.len(),
        promised_mnats: mnats(|step| step.promised),
        judged_mnats: mnats(|step| step.judged),
        held_out_mnats: mnats(|step| step.held_out),
        error_judged: error(|step| step.judged),
        error_held_out: error(|step| step.held_out),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judging::Sequences;
    use crate::memory::Effort;

    fn window(forwards: u64, step: Option<Step>) -> Seen {
        let effort = Effort { seconds: 1.0, peak_bytes: Some(forwards) };
        let ours = Spent { sequences: Sequences { forwards, backwards: 0 }, effort };
        Seen { registered: 100, judged: 64, ours, original: None, correlations: vec![(Figure::Rating, 0.5)], step }
    }

    #[test]
    fn windows_are_averaged_and_null_ones_bring_no_error() {
        let facts = Facts { judged_sequences: 64, own_sequences: 64, ..Facts::default() };
        let step = Step { promised: 0.011, judged: 0.010, held_out: -0.010 };
        let (one, null) = (window(100, Some(step)), window(300, None));
        let costs = costs(100, facts, &[&one, &null]);
        assert_eq!((costs[0].sequence_forwards.mean, costs[0].most_sequence_forwards), (200.0, 300));
        assert_eq!((costs[0].judged, costs[0].peak_bytes), (64, Some(300)));
        // 3 × 64 for each of a hundred payloads, and 64 once: what the design states for 24 of them is 4,672.
        assert_eq!((costs[1].is_counted, costs[1].most_sequence_forwards), (false, 100 * 192 + 64));
        assert_eq!(by_rule(24, facts).most_sequence_forwards, 4_672);
        let gain = gain(100, &[&one, &null]).unwrap();
        assert_eq!(gain.windows, 1);
        assert!((gain.error_judged.mean - 0.1).abs() < 1e-9 && (gain.error_held_out.mean - 2.1).abs() < 1e-9);
        let ranks = ranks(100, &[&one, &null]);
        assert_eq!((ranks.len(), ranks[0].windows, ranks[0].correlation.mean), (1, 2, 0.5));
    }
}
