//! The judging of the dormant first templar (tplr-ai/templar, `neurons/validator.py`), as far as a window without a
//! network needs it: the baseline of the attack suite and of comparisons.
//!
//! Each payload is tried alone, at a fifth of the step, on the miner's own text and on text that no miner was
//! assigned. By the relative decrease on the latter the payloads of a window are ranked, which moves a skill
//! ([`skill`]). An indicator, +1 where a miner's own text gained more and −1 otherwise, is averaged over windows (5 %
//! each). The score is the skill's ordinal times that average where it is over zero (and times a score of how recent
//! the miner's parameters are, which is 1 here: others fail the admission checks). The 15 with the best scores before
//! the window are merged; free places go to others by lot. Payloads over the median norm are cut to it, tensor by
//! tensor. docs/attacks.md says what is simplified.

mod skill;

use crate::model::ModelError;
use skill::{Skill, play};
use std::collections::BTreeMap;
use templar_base::random::Stream;
use templar_base::{Beacon, MergeMethod, OuterRule, ScaleRule, Uid, Window};
use templar_gradient::{Accumulation, Aggregate, GradientLayout, MergeRule, OuterStep, Payload};
use templar_trainer::Sender;

/// The part of the step at which a payload is tried.
const TRIED: f32 = 0.2;
/// What a window counts in the average of the indicator.
const AVERAGED: f64 = 0.05;
/// Payloads that are merged.
const PLACES: usize = 15;
/// Those who follow are paid too.
const RESERVES: usize = 10;
/// The part of the pay that goes to the merged; the best of them gets twice what the last gets.
const PAID_TO_MERGED: f64 = 0.75;
/// What a reserve gets of what the one before it gets.
const RESERVE_DECAY: f64 = 0.75;

/// Text that a payload is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriedOn {
    /// The beginning of what this miner was assigned.
    Own(Uid),
    /// Text that no miner was assigned.
    Common,
}

/// The model as this judging sees it.
pub trait TrialModel {
    /// Mean loss in nats per token at these parameters.
    fn loss(&mut self, params: &[f32], text: TriedOn) -> Result<f64, ModelError>;
}

/// A window before this judging.
#[derive(Debug, Clone, Copy)]
pub struct OriginalWindow<'a> {
    /// How the payloads are cut.
    pub layout: &'a GradientLayout,
    /// The outer step, and what payloads are made by.
    pub outer: &'a OuterRule,
    /// The window.
    pub window: Window,
    /// The parameters at its start.
    pub start: &'a [f32],
    /// Gives free places by lot.
    pub beacon: Beacon,
    /// The payloads that passed the admission checks.
    pub payloads: &'a BTreeMap<Uid, &'a Payload>,
}

/// What this judging comes to in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginalRuling {
    /// Who is merged, best first.
    pub merged: Vec<Uid>,
    /// By how much of itself the loss on the common text falls, for each payload alone at a fifth of the step.
    pub decreases: BTreeMap<Uid, f64>,
}

/// What is known of a miner.
#[derive(Debug, Default, Clone, Copy)]
struct Record {
    skill: Skill,
    /// The average of the indicator, -1 to 1.
    own_better: f64,
    score: f64,
}

/// The judging, with what it carries from window to window.
#[derive(Debug, Default)]
pub struct Original {
    miners: BTreeMap<Uid, Record>,
}

impl Original {
    /// Judges one window: who is merged by the scores before it, then the new scores.
    pub fn judge(
        &mut self,
        window: &OriginalWindow<'_>,
        model: &mut dyn TrialModel,
    ) -> Result<OriginalRuling, ModelError> {
        let merged = self.choose(window);
        let decreases = self.evaluate(window, model)?;
        Ok(OriginalRuling { merged, decreases })
    }

    /// A miner's score after the last window; 0 of a stranger.
    pub fn score(&self, uid: Uid) -> f64 {
        self.miners.get(&uid).map_or(0.0, |record| record.score)
    }

    /// The best by the scores before the window; free places by lot.
    fn choose(&self, window: &OriginalWindow<'_>) -> Vec<Uid> {
        let mut lots = Stream::new(*window.beacon.as_bytes(), "original places", 0);
        let mut ranked: Vec<(f64, u64, Uid)> =
            window.payloads.keys().map(|uid| (self.score(*uid).max(0.0), lots.next_u64(), *uid)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.into_iter().take(PLACES).map(|(_, _, uid)| uid).collect()
    }

    fn evaluate(
        &mut self,
        window: &OriginalWindow<'_>,
        model: &mut dyn TrialModel,
    ) -> Result<BTreeMap<Uid, f64>, ModelError> {
        let mut decreases = BTreeMap::new();
        if window.payloads.is_empty() {
            return Ok(decreases);
        }
        let common = model.loss(window.start, TriedOn::Common)?;
        for (uid, payload) in window.payloads {
            let tried = window.tried_point(payload);
            let own = model.loss(window.start, TriedOn::Own(*uid))?;
            let own = (own - model.loss(&tried, TriedOn::Own(*uid))?) / own;
            let decrease = (common - model.loss(&tried, TriedOn::Common)?) / common;
            let record = self.miners.entry(*uid).or_default();
            let indicator = if own > decrease { 1.0 } else { -1.0 };
            record.own_better += AVERAGED * (indicator - record.own_better);
            decreases.insert(*uid, decrease);
        }
        self.note(&decreases);
        Ok(decreases)
    }

    /// Ranks the payloads of a window, and gives the new scores.
    fn note(&mut self, decreases: &BTreeMap<Uid, f64>) {
        // A loss that is no number is the worst.
        let worth = |decrease: &f64| if decrease.is_finite() { *decrease } else { f64::MIN };
        let mut skills: Vec<Skill> = decreases.keys().map(|uid| self.miners[uid].skill).collect();
        play(&mut skills, &decreases.values().map(worth).collect::<Vec<_>>());
        for (uid, skill) in decreases.keys().zip(skills) {
            let Some(record) = self.miners.get_mut(uid) else { continue };
            record.skill = skill;
            record.score = skill.ordinal() * record.own_better.max(0.0);
        }
    }

    /// Parts of the pay after the last window; they add up to 1 where enough miners are paid.
    pub fn pay(&self) -> BTreeMap<Uid, f64> {
        let mut ranked: Vec<(f64, Uid)> =
            self.miners.iter().map(|(uid, record)| (record.score, *uid)).filter(|(score, _)| *score > 0.0).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (first, rest) = ranked.split_at(ranked.len().min(PLACES));
        let last = first.len().saturating_sub(1).max(1) as f64;
        let ramp: Vec<f64> = (0..first.len()).map(|place| 2.0 - place as f64 / last).collect();
        let reserves: Vec<f64> = (0..rest.len().min(RESERVES)).map(|place| RESERVE_DECAY.powi(place as i32)).collect();
        let of = |parts: &[f64], share: f64| -> Vec<f64> {
            let sum: f64 = parts.iter().sum();
            parts.iter().map(|part| share * part / sum).collect()
        };
        let parts = of(&ramp, PAID_TO_MERGED).into_iter().chain(of(&reserves, 1.0 - PAID_TO_MERGED));
        ranked.iter().map(|(_, uid)| *uid).zip(parts).collect()
    }
}

impl OriginalWindow<'_> {
    fn tried_point(&self, payload: &Payload) -> Vec<f32> {
        let alpha = TRIED * OuterStep::of(self.outer, self.window).alpha;
        let mut point = self.start.to_vec();
        payload.for_each_value(|index, value| point[index] -= alpha * value);
        point
    }

    /// The mean over the senders of each value, after payloads over the median norm of a tensor were cut to it; none
    /// where none of these uids sent a payload.
    pub fn merge(&self, uids: &[Uid]) -> Result<Option<Aggregate>, ModelError> {
        let set: Vec<&Payload> =
            self.payloads.iter().filter(|(uid, _)| uids.contains(uid)).map(|(_, payload)| *payload).collect();
        if set.is_empty() {
            return Ok(None);
        }
        let mut all: Vec<Vec<f32>> = set.iter().map(|payload| values_of(payload)).collect();
        for tensor in self.layout.tensors() {
            let range = tensor.start..tensor.start + tensor.len;
            let norm = |values: &Vec<f32>| {
                values[range.clone()].iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
            };
            let norms: Vec<f64> = all.iter().map(norm).collect();
            let mut sorted = norms.clone();
            sorted.sort_by(f64::total_cmp);
            let median = sorted[(sorted.len() - 1) / 2];
            for (values, norm) in all.iter_mut().zip(norms).filter(|(_, norm)| *norm > median) {
                let cut = (median / norm) as f32;
                values[range.clone()].iter_mut().for_each(|value| *value *= cut);
            }
        }
        let rules = Accumulation::of(self.outer);
        let failed = |error: templar_gradient::FeedbackError| ModelError(error.to_string());
        let cut = |(payload, values): (&&Payload, &Vec<f32>)| {
            Sender::once(self.layout, rules, values, payload.metadata().clone()).map_err(failed)
        };
        let cut: Vec<Payload> = set.iter().zip(&all).map(cut).collect::<Result<_, _>>()?;
        let weighted: Vec<(&Payload, u32)> = cut.iter().map(|payload| (payload, 1)).collect();
        let rule = MergeRule { method: MergeMethod::MeanOfSenders, scales: ScaleRule::Own, ..MergeRule::default() };
        Aggregate::merge(self.layout, &weighted, rule).map(Some).map_err(|error| ModelError(error.to_string()))
    }
}

/// All values of a payload, zero where it sends none.
pub(crate) fn values_of(payload: &Payload) -> Vec<f32> {
    let mut values = vec![0f32; payload.layout().parameters()];
    payload.for_each_value(|index, value| values[index] = value);
    values
}
