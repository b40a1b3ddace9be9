//! Confirmation: an update that makes the model worse is never applied.

use crate::contribution::MeasureError;
use crate::{Model, ModelError, Nats};
use serde::{Deserialize, Serialize};
use templar_base::Uid;
use templar_gradient::{Aggregate, MergeRule, Payload, outer_step};

/// What the full step of the selected payloads really brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Mean loss on the evaluation batch at the window's start.
    pub loss_before: f64,
    /// The same after the full step of the confirmed payloads; none where none was confirmed.
    pub loss_after: Option<f64>,
    /// Sum of the confirmed payloads' contributions.
    pub predicted: Nats,
    /// The payloads whose full step was confirmed, best first.
    pub confirmed: Vec<Uid>,
    /// Evaluations of the model that it took.
    pub evaluations: u32,
}

/// A payload to confirm, with its contribution.
pub(crate) type Candidate<'a> = (Uid, &'a Payload, Nats);

struct Confirmer<'a> {
    model: &'a mut dyn Model,
    params: &'a [f32],
    rule: MergeRule,
    alpha: f32,
    share: f64,
    loss_before: f64,
    evaluations: u32,
}

/// Checks that the full step of `candidates` (best rated first) lowers the loss by at least `share` of the predicted
/// decrease. If it does not, halves are tested until the culprits are out.
pub fn confirm(
    model: &mut dyn Model,
    params: &[f32],
    candidates: &[(Uid, &Payload, Nats)],
    rule: MergeRule,
    alpha: f32,
    share: f64,
) -> Result<Confirmation, MeasureError> {
    let loss_before = model.loss(params)?;
    if !loss_before.is_finite() {
        // A verdict with such a number could not be written down and read back.
        return Err(ModelError(format!("its loss at the window's start is {loss_before}")).into());
    }
    let mut confirmer = Confirmer { model, params, rule, alpha, share, loss_before, evaluations: 1 };
    let (confirmed, loss_after) = match confirmer.largest_confirmed(candidates)? {
        Some((set, loss)) => (set, Some(loss)),
        None => (Vec::new(), None),
    };
    let predicted = predicted(&confirmed);
    let confirmed = confirmed.into_iter().map(|(uid, _, _)| uid).collect();
    Ok(Confirmation { loss_before, loss_after, predicted, confirmed, evaluations: confirmer.evaluations })
}

fn predicted(candidates: &[Candidate<'_>]) -> Nats {
    Nats(candidates.iter().fold(0i64, |sum, (_, _, contribution)| sum.saturating_add(contribution.0)))
}

impl Confirmer<'_> {
    /// The loss after the full step of this set, if it keeps what it promises.
    fn test(&mut self, set: &[Candidate<'_>]) -> Result<Option<f64>, MeasureError> {
        let Some((_, first, _)) = set.first() else { return Ok(None) };
        let weighted: Vec<(&Payload, u32)> = set.iter().map(|(_, payload, _)| (*payload, 1)).collect();
        let aggregate = Aggregate::merge(first.layout(), &weighted, self.rule)?;
        let mut stepped = self.params.to_vec();
        outer_step(&mut stepped, &aggregate, self.alpha)?;
        let loss = self.model.loss(&stepped)?;
        self.evaluations += 1;
        let gain = self.loss_before - loss;
        Ok((gain > 0.0 && gain >= self.share * predicted(set).to_f64()).then_some(loss))
    }

    /// Group testing: at most about two evaluations for each candidate, one where all is well.
    fn largest_confirmed<'a>(
        &mut self,
        set: &[Candidate<'a>],
    ) -> Result<Option<(Vec<Candidate<'a>>, f64)>, MeasureError> {
        if let Some(loss) = self.test(set)? {
            return Ok(Some((set.to_vec(), loss)));
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
            Some(loss) => (union, loss),
            None => first,
        }))
    }
}
