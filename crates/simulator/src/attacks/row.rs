//! A row of the table: one attack under one judging, over all seeds.

use super::catalogue::{Aim, Attack};
use super::outcome::{ArenaRun, KeyTally};
use serde::Serialize;
use std::collections::BTreeMap;

/// The heads of [`Row::text`].
pub const ATTACK_HEADS: &str = "attack             judging   keys  loss    without  added          merged  paid             at the end  \
                                null  sanctioned  its payloads were";

/// The most that an attack may add to the final loss, in nats.
const LOSS_GOAL: f64 = 0.025;
/// The most that a free-rider may be paid, of an honest share.
const FREE_RIDE_GOAL: f64 = 0.02;
/// The most that honest work may be paid for being loud, of an honest share.
const LOUD_GOAL: f64 = 1.1;

/// A mean over seeds, and the standard deviation between them (0 of one seed).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl Spread {
    /// The spread of these values; 0 ± 0 of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let deviation = (squares / values.len().saturating_sub(1).max(1) as f64).sqrt();
        Self { mean, deviation }
    }
}

/// One attack under one judging.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `attack`: what kind of line it is.
    pub event: &'static str,
    /// The attack.
    pub attack: String,
    /// What it does.
    pub about: String,
    /// What it is after.
    pub aim: Aim,
    /// The judging.
    pub judging: String,
    /// Seeds.
    pub seeds: u64,
    /// Windows of a run.
    pub windows: u64,
    /// Honest miners.
    pub honest: u64,
    /// Keys of the attackers, accomplices included.
    pub keys: u64,
    /// Final loss with the attackers, in nats per token.
    pub loss: Spread,
    /// Final loss of the same judging without attackers, in nats per token.
    pub loss_without: Spread,
    /// The difference seed by seed.
    pub loss_added: Spread,
    /// The part of the attackers' payloads that was merged.
    pub merged: Spread,
    /// What a key of the attackers is paid from the attack's begin on; 1 is what an honest miner is paid.
    pub paid: Spread,
    /// The same, in the last quarter of the attack.
    pub paid_at_the_end: Spread,
    /// The part of the attackers' payloads with each standing.
    pub standings: BTreeMap<String, f64>,
    /// How often an honest miner was found harmful or rejected, in all runs.
    pub honest_sanctioned: u64,
    /// The standings of the honest, in all runs.
    pub honest_standings: BTreeMap<String, u64>,
    /// Windows in which nothing was merged.
    pub null_windows: Spread,
    /// The goals that are missed, in words.
    pub missed: Vec<String>,
}

impl Row {
    /// The row of these runs, each beside the run without attackers that has the same seed.
    pub(super) fn of(attack: &Attack, pairs: &[(&ArenaRun, &ArenaRun)]) -> Option<Self> {
        let (first, _) = pairs.first()?;
        let spread =
            |value: &dyn Fn(&ArenaRun, &ArenaRun) -> f64| Spread::of(pairs.iter().map(|(run, base)| value(run, base)));
        let attackers = || pairs.iter().map(|(run, _)| &run.attackers);
        let mut row = Self {
            event: "attack",
            attack: attack.name.to_owned(),
            about: attack.about.to_owned(),
            aim: attack.aim,
            judging: first.judging.clone(),
            seeds: pairs.len() as u64,
            windows: first.sizes.windows,
            honest: u64::from(first.sizes.honest),
            keys: u64::from(attack.keys(&first.sizes)),
            loss: spread(&|run, _| run.final_loss()),
            loss_without: spread(&|_, base| base.final_loss()),
            loss_added: spread(&|run, base| run.final_loss() - base.final_loss()),
            merged: spread(&|run, _| run.attackers.merged as f64 / run.attackers.sent.max(1) as f64),
            paid: spread(&|run, _| run.paid_share()),
            paid_at_the_end: spread(&|run, _| run.paid_share_late()),
            standings: parts(attackers()),
            honest_sanctioned: pairs.iter().map(|(run, _)| run.honest.sanctions()).sum(),
            honest_standings: counts(pairs.iter().map(|(run, _)| &run.honest)),
            null_windows: spread(&|run, _| run.null_windows as f64),
            missed: Vec::new(),
        };
        row.missed = row.missed_goals(attack.accomplices as u64);
        Some(row)
    }

    fn missed_goals(&self, accomplices: u64) -> Vec<String> {
        let mut missed = Vec::new();
        // A loss that is not a number is over every goal.
        if self.loss_added.mean.is_nan() || self.loss_added.mean > LOSS_GOAL {
            missed.push(format!("adds {:.3} nats", self.loss_added.mean));
        }
        let most = match self.aim {
            Aim::FreeRide => FREE_RIDE_GOAL,
            Aim::Exaggerate => LOUD_GOAL,
            // Who wants harm and does none has worked.
            Aim::Harm => f64::INFINITY,
            // Where nobody works for the others, all keys together may have one share.
            Aim::Multiply if accomplices == 0 => 1.0 / self.keys.max(1) as f64,
            Aim::Multiply => FREE_RIDE_GOAL,
        };
        if self.paid.mean > most {
            missed.push(format!("paid {:.1} % of an honest share", 100.0 * self.paid.mean));
        }
        if self.honest_sanctioned > 0 {
            missed.push(format!("{} sanctions of honest miners", self.honest_sanctioned));
        }
        missed
    }

    /// One line for people, under [`ATTACK_HEADS`].
    pub fn text(&self) -> String {
        let standings: Vec<String> = self
            .standings
            .iter()
            .filter(|(name, _)| *name != "merged")
            .map(|(name, part)| format!("{name} {:.0} %", 100.0 * part))
            .collect();
        format!(
            "{:<18} {:<9} {:>4}  {:<7.3} {:<8.3} {:<+7.3}±{:<5.3}  {:>4.0} %  {:>6.1} % ±{:<5.1} {:>8.1} %  {:>4.1}  {:>10}  {}",
            self.attack,
            self.judging,
            format!("{:.0} %", 100.0 * self.keys as f64 / (self.keys + self.honest).max(1) as f64),
            self.loss.mean,
            self.loss_without.mean,
            self.loss_added.mean,
            self.loss_added.deviation,
            100.0 * self.merged.mean,
            100.0 * self.paid.mean,
            100.0 * self.paid.deviation,
            100.0 * self.paid_at_the_end.mean,
            self.null_windows.mean,
            self.honest_sanctioned,
            standings.join(", "),
        )
    }
}

fn counts<'a>(tallies: impl Iterator<Item = &'a KeyTally>) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (name, count) in tallies.flat_map(|tally| &tally.standings) {
        *sum.entry(name.clone()).or_default() += count;
    }
    sum
}

fn parts<'a>(tallies: impl Iterator<Item = &'a KeyTally>) -> BTreeMap<String, f64> {
    let counts = counts(tallies);
    let sum = counts.values().sum::<u64>().max(1) as f64;
    counts.into_iter().map(|(name, count)| (name, count as f64 / sum)).collect()
}
