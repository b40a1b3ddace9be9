//! Confirmation: an update that surely makes the model worse, or surely breaks its promise, is never applied.

use crate::contribution::MeasureError;
use crate::{Contribution, Model, ModelError, Nats};
use serde::{Deserialize, Serialize};
use templar_base::Uid;
use templar_gradient::{Merge, MergeRule, OuterState, OuterStep, Payload};

/// What the full step of the selected payloads really brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Mean loss on the evaluation batch at the window's start.
    pub loss_before: f64,
    /// The same after the full step of the confirmed payloads; none where none was confirmed.
    pub loss_after: Option<f64>,
    /// Sum of the confirmed payloads' contributions, and of what is carried.
    pub predicted: Nats,
    /// What the momentum of windows before was to bring.
    #[serde(default, skip_serializing_if = "Nats::is_zero")]
    pub carried: Nats,
    /// What the step brought beyond the least share of the promise.
    #[serde(default, skip_serializing_if = "Nats::is_zero")]
    pub surplus: Nats,
    /// The standard error of that, on the parts of the evaluation batch.
    #[serde(default, skip_serializing_if = "Nats::is_zero")]
    pub surplus_error: Nats,
    /// The payloads whose full step was confirmed, best first.
    pub confirmed: Vec<Uid>,
    /// Evaluations of the model that it took.
    pub evaluations: u32,
}

/// What a step has to bring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// The least share of the sum of the contributions.
    pub share: f64,
    /// What the momentum of windows before brings beside them.
    pub carried: Nats,
    /// Whether a step must be seen to keep the promise. Otherwise it is rejected only where it surely does not.
    pub is_strict: bool,
}

/// A payload to confirm, with its contribution.
pub type Candidate<'a> = (Uid, &'a Payload, &'a Contribution);

/// A step that passed.
#[derive(Clone, Copy)]
struct Passed {
    loss: f64,
    surplus: Nats,
    error: Nats,
}

struct Confirmer<'a> {
    model: &'a mut dyn Model,
    start: &'a OuterState,
    rule: MergeRule,
    step: OuterStep,
    promise: Promise,
    before: Vec<f64>,
    evaluations: u32,
}

/// Checks what the full step of `candidates` (best rated first) brings against the promise: their contributions and what is
/// carried by a momentum, sequence by sequence of the same text. If it is rejected, halves are tested until the culprits
/// are out.
pub fn confirm(
    model: &mut dyn Model,
    start: &OuterState,
    candidates: &[Candidate<'_>],
    rule: MergeRule,
    step: OuterStep,
    promise: Promise,
) -> Result<Confirmation, MeasureError> {
    model.set_point(0, &start.params)?;
    let before = model.losses()?;
    let loss_before = mean(&before);
    if !loss_before.is_finite() {
        // A verdict with such a number could not be written down and read back.
        return Err(ModelError(format!("its loss at the window's start is {loss_before}")).into());
    }
    let mut confirmer = Confirmer { model, start, rule, step, promise, before, evaluations: 1 };
    let (confirmed, passed) = match confirmer.largest_confirmed(candidates)? {
        Some((set, passed)) => (set, Some(passed)),
        None => (Vec::new(), None),
    };
    let contributions = confirmed.iter().map(|(_, _, contribution)| contribution.mean.0);
    let predicted = Nats(contributions.fold(promise.carried.0, i64::saturating_add));
    Ok(Confirmation {
        loss_before,
        loss_after: passed.map(|passed| passed.loss),
        predicted,
        carried: promise.carried,
        surplus: passed.map_or(Nats(0), |passed| passed.surplus),
        surplus_error: passed.map_or(Nats(0), |passed| passed.error),
        confirmed: confirmed.into_iter().map(|(uid, _, _)| uid).collect(),
        evaluations: confirmer.evaluations,
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Confirmer<'_> {
    /// What the full step of this set brings, if it passes.
    fn test(&mut self, set: &[Candidate<'_>]) -> Result<Option<Passed>, MeasureError> {
        let Some((_, first, _)) = set.first() else { return Ok(None) };
        let weighted: Vec<(&Payload, u32)> = set.iter().map(|(_, payload, _)| (*payload, 1)).collect();
        let merge = Merge::new(first.layout(), &weighted, self.rule)?;
        let Self { model, start, step, .. } = self;
        step.visit_stepped(start, &merge, |first, params| Ok::<_, MeasureError>(model.set_point(first, params)?))?;
        let after = self.model.losses()?;
        self.evaluations += 1;
        let gains: Vec<f64> = self.before.iter().zip(&after).map(|(before, after)| before - after).collect();
        let surpluses =
            gains.iter().enumerate().map(|(part, gain)| gain - self.promise.share * self.promised(set, part));
        let surplus = Contribution::of(surpluses.map(Nats::from_f64).collect());
        let gain = Contribution::of(gains.into_iter().map(Nats::from_f64).collect());
        let passes = match self.promise.is_strict {
            true => gain.mean.0 > 0 && surplus.mean.0 >= 0,
            false => gain.at_most().0 >= 0 && surplus.at_most().0 >= 0,
        };
        let loss = mean(&after);
        let passed = Passed { loss, surplus: surplus.mean, error: surplus.standard_error };
        // A loss that is no number is no gain, which a comparison of amounts does not see.
        Ok((passes && loss.is_finite()).then_some(passed))
    }

    /// What a set promises on one part of the evaluation batch, in nats.
    fn promised(&self, set: &[Candidate<'_>], part: usize) -> f64 {
        let own = |contribution: &Contribution| contribution.parts.get(part).copied().unwrap_or(contribution.mean);
        let sum = set.iter().map(|(_, _, contribution)| own(contribution).0);
        Nats(sum.fold(self.promise.carried.0, i64::saturating_add)).to_f64()
    }

    /// Group testing: at most about two evaluations for each candidate, one where all is well.
    fn largest_confirmed<'a>(
        &mut self,
        set: &[Candidate<'a>],
    ) -> Result<Option<(Vec<Candidate<'a>>, Passed)>, MeasureError> {
        if let Some(passed) = self.test(set)? {
            return Ok(Some((set.to_vec(), passed)));
        }
        if set.len() < 2 {
            return Ok(None);
        }
        let (better, worse) = set.split_at(set.len() / 2);
        let halves = (self.largest_confirmed(better)?, self.largest_confirmed(worse)?);
        let (first, second) = match halves {
            (Some(first), Some(second)) => (first, second),
            (Some(only), None) | (None, Some(only)) => return Ok(Some(only)),
            (None, None) => return Ok(None),
        };
        let union: Vec<Candidate<'a>> = first.0.iter().chain(&second.0).copied().collect();
        let joint = if union.len() < set.len() { self.test(&union)? } else { None };
        Ok(Some(match joint {
            Some(passed) => (union, passed),
            None => first,
        }))
    }
}
