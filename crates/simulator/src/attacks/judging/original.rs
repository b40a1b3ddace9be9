//! The judging of the dormant first templar (tplr-ai/templar, `neurons/validator.py`), as far as an arena needs it.
//!
//! Each payload is tried alone, at a fifth of the step, on the miner's own text and on text that nobody was assigned. By
//! the relative decrease on the latter the payloads of a window are ranked, which moves a skill ([`super::skill`]). An
//! indicator, +1 where a miner's own text gained more and −1 otherwise, is averaged over windows (5 % each). The score is
//! the skill's ordinal times that average where it is over zero (and times a score of how recent the miner's parameters
//! are, which is 1 here: others fail the admission checks). The 15 with the best scores before the window are merged; free
//! places go to others by lot. Payloads over the median norm are cut to it, tensor by tensor.

use super::admission::Admitted;
use super::skill::{Skill, play};
use super::{Hearing, Judge, Ruling, normalised};
use crate::attacks::attacker::values_of;
use crate::attacks::ground::{Ground, failed};
use crate::model::ModelError;
use std::collections::BTreeMap;
use templar_base::random::Stream;
use templar_base::{MergeMethod, ScaleRule, Uid, Window};
use templar_engine::{Batch, Buffer, Engine};
use templar_gradient::{Aggregate, MergeRule, Payload};
use templar_trainer::{Text, mean_loss};

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

/// What is known of a miner.
#[derive(Default, Clone, Copy)]
struct Record {
    skill: Skill,
    /// The average of the indicator, -1 to 1.
    own_better: f64,
    score: f64,
}

#[derive(Default)]
pub(super) struct Original {
    miners: BTreeMap<Uid, Record>,
}

impl Judge for Original {
    fn rule(&mut self, hearing: &Hearing<'_>, engine: &mut dyn Engine) -> Result<Ruling, ModelError> {
        let Admitted { payloads, rejected } = Admitted::of(hearing, 0, false);
        let chosen = self.choose(hearing, payloads.keys().copied().collect());
        self.evaluate(hearing, engine, &payloads)?;
        let set: Vec<(Uid, &Payload)> =
            payloads.iter().filter(|(uid, _)| chosen.contains(uid)).map(|(uid, payload)| (*uid, *payload)).collect();
        let standing = |uid: &Uid| if chosen.contains(uid) { "merged" } else { "admitted" }.to_owned();
        let standings = payloads.keys().map(|uid| (*uid, standing(uid)));
        Ok(Ruling {
            standings: rejected.into_iter().chain(standings).collect(),
            pay: self.pay(),
            forgets: Vec::new(),
            aggregate: merge(hearing.ground, &set)?,
        })
    }
}

impl Original {
    /// The best by the scores before the window; free places by lot.
    fn choose(&self, hearing: &Hearing<'_>, candidates: Vec<Uid>) -> Vec<Uid> {
        let beacon = hearing.ground.beacon(hearing.window);
        let mut lots = Stream::new(*beacon.as_bytes(), "original places", 0);
        let score = |uid: &Uid| self.miners.get(uid).map_or(0.0, |record| record.score).max(0.0);
        let mut ranked: Vec<(f64, u64, Uid)> =
            candidates.into_iter().map(|uid| (score(&uid), lots.next_u64(), uid)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.into_iter().take(PLACES).map(|(_, _, uid)| uid).collect()
    }

    fn evaluate(
        &mut self,
        hearing: &Hearing<'_>,
        engine: &mut dyn Engine,
        payloads: &BTreeMap<Uid, &Payload>,
    ) -> Result<(), ModelError> {
        let random = hearing.ground.judgement_text(hearing.window);
        let sequences: usize = random.iter().map(|batch| batch.sequences).sum();
        let mut scores = Vec::with_capacity(payloads.len());
        for (uid, payload) in payloads {
            let own = own_text(hearing.ground, hearing.window, *uid, sequences)?;
            let tried = tried_point(hearing, payload);
            let mut decreases = [0f64; 2];
            for (decrease, text) in decreases.iter_mut().zip([&own, &random]) {
                let before = loss_at(engine, &hearing.shared.outer.params, text)?;
                *decrease = (before - loss_at(engine, &tried, text)?) / before;
            }
            let record = self.miners.entry(*uid).or_default();
            let indicator = if decreases[0] > decreases[1] { 1.0 } else { -1.0 };
            record.own_better += AVERAGED * (indicator - record.own_better);
            // A loss that is no number is the worst.
            scores.push(if decreases[1].is_finite() { decreases[1] } else { f64::MIN });
        }
        let mut skills: Vec<Skill> = payloads.keys().map(|uid| self.miners[uid].skill).collect();
        play(&mut skills, &scores);
        for (uid, skill) in payloads.keys().zip(skills) {
            let Some(record) = self.miners.get_mut(uid) else { continue };
            record.skill = skill;
            record.score = skill.ordinal() * record.own_better.max(0.0);
        }
        Ok(())
    }

    fn pay(&self) -> BTreeMap<Uid, f64> {
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
        normalised(ranked.iter().map(|(_, uid)| *uid).zip(parts).collect())
    }
}

/// The beginning of a miner's assigned text.
fn own_text(ground: &Ground, window: Window, uid: Uid, sequences: usize) -> Result<Vec<Batch>, ModelError> {
    let share = ground.share(window, uid);
    let batches = sequences.div_ceil(ground.run.genesis.data.sequences_per_batch) as u32;
    (0..batches.min(share.batches())).map(|number| share.batch(number).map_err(failed)).collect()
}

fn tried_point(hearing: &Hearing<'_>, payload: &Payload) -> Vec<f32> {
    let alpha = TRIED * hearing.ground.step(hearing.window).alpha;
    let mut point = hearing.shared.outer.params.clone();
    payload.for_each_value(|index, value| point[index] -= alpha * value);
    point
}

fn loss_at(engine: &mut dyn Engine, params: &[f32], text: &[Batch]) -> Result<f64, ModelError> {
    engine.write(Buffer::Parameters, 0, params).map_err(failed)?;
    mean_loss(engine, text).map_err(failed)
}

/// The mean over the senders of each value, after payloads over the median norm of a tensor were cut to it.
fn merge(ground: &Ground, set: &[(Uid, &Payload)]) -> Result<Option<Aggregate>, ModelError> {
    if set.is_empty() {
        return Ok(None);
    }
    let mut all: Vec<Vec<f32>> = set.iter().map(|(_, payload)| values_of(payload)).collect();
    for tensor in ground.run.layout.tensors() {
        let range = tensor.start..tensor.start + tensor.len;
        let norm =
            |values: &Vec<f32>| values[range.clone()].iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let norms: Vec<f64> = all.iter().map(norm).collect();
        let mut sorted = norms.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[(sorted.len() - 1) / 2];
        for (values, norm) in all.iter_mut().zip(norms).filter(|(_, norm)| *norm > median) {
            let cut = (median / norm) as f32;
            values[range.clone()].iter_mut().for_each(|value| *value *= cut);
        }
    }
    let cut =
        |((_, payload), values): (&(Uid, &Payload), &Vec<f32>)| ground.payload(values, payload.metadata().clone());
    let cut: Vec<Payload> = set.iter().zip(&all).map(cut).collect::<Result<_, _>>()?;
    let weighted: Vec<(&Payload, u32)> = cut.iter().map(|payload| (payload, 1)).collect();
    let rule = MergeRule { method: MergeMethod::MeanOfSenders, scales: ScaleRule::Own, ..MergeRule::default() };
    Aggregate::merge(&ground.run.layout, &weighted, rule).map(Some).map_err(failed)
}
