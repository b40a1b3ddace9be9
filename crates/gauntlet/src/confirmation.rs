//! Confirmation: an update that makes the model worse is never applied.

use crate::contribution::MeasureError;
use crate::{Model, ModelError, Nats};
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
    /// The payloads whose full step was confirmed, best first.
    pub confirmed: Vec<Uid>,
    /// Evaluations of the model that it took.
    pub evaluations: u32,
}

/// A payload to confirm, with its contribution.
pub(crate) type Candidate<'a> = (Uid, &'a Payload, Nats);

struct Confirmer<'a> {
    model: &'a mut dyn Model,
    start: &'a OuterState,
    rule: MergeRule,
    step: OuterStep,
    share: f64,
    carried: Nats,
    loss_before: f64,
    evaluations: u32,
}

/// Checks that the full step of `candidates` (best rated first) lowers the loss by at least `share` of the predicted
/// decrease, which is their contributions and what is `carried` by a momentum. If it does not, halves are tested until
/// the culprits are out.
pub fn confirm(
    model: &mut dyn Model,
    start: &OuterState,
    candidates: &[(Uid, &Payload, Nats)],
    rule: MergeRule,
    step: OuterStep,
    share: f64,
    carried: Nats,
) -> Result<Confirmation, MeasureError> {
    model.set_point(0, &start.params)?;
    let loss_before = model.loss()?;
    if !loss_before.is_finite() {
        // A verdict with such a number could not be written down and read back.
        return Err(ModelError(format!("its loss at the window's start is {loss_before}")).into());
    }
    let mut confirmer = Confirmer { model, start, rule, step, share, carried, loss_before, evaluations: 1 };
    let (confirmed, loss_after) = match confirmer.largest_confirmed(candidates)? {
        Some((set, loss)) => (set, Some(loss)),
        None => (Vec::new(), None),
    };
    let predicted = predicted(&confirmed, carried);
    let confirmed = confirmed.into_iter().map(|(uid, _, _)| uid).collect();
    Ok(Confirmation { loss_before, loss_after, predicted, carried, confirmed, evaluations: confirmer.evaluations })
}

fn predicted(candidates: &[Candidate<'_>], carried: Nats) -> Nats {
    Nats(candidates.iter().fold(carried.0, |sum, (_, _, contribution)| sum.saturating_add(contribution.0)))
}

impl Confirmer<'_> {
    /// The loss after the full step of this set, if it keeps what it promises.
    fn test(&mut self, set: &[Candidate<'_>]) -> Result<Option<f64>, MeasureError> {
        let Some((_, first, _)) = set.first() else { return Ok(None) };
        let weighted: Vec<(&Payload, u32)> = set.iter().map(|(_, payload, _)| (*payload, 1)).collect();
        let merge = Merge::new(first.layout(), &weighted, self.rule)?;
        let Self { model, start, step, .. } = self;
        step.visit_stepped(start, &merge, |first, params| Ok::<_, MeasureError>(model.set_point(first, params)?))?;
        let loss = self.model.loss()?;
        self.evaluations += 1;
        let gain = self.loss_before - loss;
        Ok((gain > 0.0 && gain >= self.share * predicted(set, self.carried).to_f64()).then_some(loss))
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
