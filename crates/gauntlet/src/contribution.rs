//! Contribution: one gradient, halfway along the step, measures everybody.
//!
//! With G the merged update, α the outer step and g the gradient at `Θ − ½αG`,
//! ```text
//! φ_i = α ⟨g, share of i in G⟩
//! ```
//! (where the run's step is another: half of that step, and its [`OuterStep::share_factor`] for α; where the merge is
//! no mean: times [`linear_factor`]) is the Aumann–Shapley share of the loss decrease (its one-point quadrature):
//! additive, so that splitting into sybils gains nothing, and `Σ φ_i` is what G really brings, within the error of the
//! midpoint rule.

use crate::{Model, ModelError};
use serde::{Deserialize, Serialize};
use templar_base::Nats;
use templar_gradient::{Merge, MergeError, MergeRule, OuterState, OuterStep, Payload, Shares, linear_factor};

/// One miner's measured contribution to the decrease of the loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Mean over the parts of the evaluation batch (φ).
    pub mean: Nats,
    /// Standard error of the mean.
    pub standard_error: Nats,
    /// φ on each part; their exact sum gives the mean.
    pub parts: Vec<Nats>,
}

impl Contribution {
    /// The contribution with these values on the parts.
    pub(crate) fn of(parts: Vec<Nats>) -> Self {
        let count = parts.len().max(1) as f64;
        let mean = parts.iter().map(|part| i128::from(part.0)).sum::<i128>() as f64 / count;
        let squares: f64 = parts.iter().map(|part| (part.0 as f64 - mean) * (part.0 as f64 - mean)).sum();
        let variance = squares / (count - 1.0).max(1.0);
        let error = (variance / count).sqrt();
        Self { mean: Nats(mean.round() as i64), standard_error: Nats(error.round() as i64), parts }
    }

    /// The sum of several, part by part; none of none. Its error is that of the sum: parts that are easy for one are
    /// easy for all.
    pub(crate) fn sum(all: &[&Self]) -> Option<Self> {
        let parts = all.iter().map(|own| own.parts.len()).min()?;
        let part = |part: usize| Nats(all.iter().fold(0, |sum, own| own.parts[part].0.saturating_add(sum)));
        Some(Self::of((0..parts).map(part).collect()))
    }

    /// φ minus two standard errors: what the miner surely brought.
    pub fn sure(&self) -> Nats {
        Nats(self.mean.0.saturating_sub(self.standard_error.0.saturating_mul(2)))
    }

    /// φ plus two standard errors: what the miner surely did not exceed.
    pub fn at_most(&self) -> Nats {
        Nats(self.mean.0.saturating_add(self.standard_error.0.saturating_mul(2)))
    }

    /// Whether the payload makes the model worse, beyond the doubt that a sanction allows: by four standard errors. With
    /// two, an honest miner whose contribution is lost in the noise would be sanctioned every fortieth window.
    pub fn is_harmful(&self) -> bool {
        self.mean.0.saturating_add(self.standard_error.0.saturating_mul(4)) < 0
    }
}

/// The contributions of one set of payloads.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Loss of each part at the point of the gradient.
    pub losses: Vec<f64>,
    /// What the momentum of windows before brings, on top of all contributions; nothing where there is none.
    pub carried: Nats,
    /// One for each payload, in the order given.
    pub contributions: Vec<Contribution>,
}

/// A measurement that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The model could not be evaluated.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The payloads could not be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Parameters of another length.
    #[error(transparent)]
    Length(#[from] templar_gradient::LengthMismatch),
}

/// Where the gradient is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasuredAt {
    /// At the window's start: nobody shapes that point.
    Start,
    /// Halfway along the step of the merged payloads.
    Midpoint,
}

/// What is measured together.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// The payloads of the merge.
    pub merged: &'a [&'a Payload],
    /// Others, each as if it alone joined the merge: they shape nothing.
    pub beside: &'a [&'a Payload],
    /// Where.
    pub at: MeasuredAt,
}

/// Measures payloads halfway along the step that all of them together make.
pub fn measure(
    model: &mut dyn Model,
    start: &OuterState,
    payloads: &[&Payload],
    rule: MergeRule,
    step: OuterStep,
) -> Result<Measurement, MeasureError> {
    measure_candidates(model, start, Candidates { merged: payloads, beside: &[], at: MeasuredAt::Midpoint }, rule, step)
}

/// Measures all candidates with one gradient of each part of the evaluation batch. Contributions come in their order,
/// those of the merge first. Errors: no payload in the merge, payloads that do not belong together, or the model's.
pub fn measure_candidates(
    model: &mut dyn Model,
    start: &OuterState,
    candidates: Candidates<'_>,
    rule: MergeRule,
    step: OuterStep,
) -> Result<Measurement, MeasureError> {
    let Candidates { merged: payloads, beside, at } = candidates;
    let weighted: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (*payload, 1)).collect();
    let layout = payloads.first().ok_or(MergeError::NoContributors)?.layout();
    // Merged each time that it is read, and never coded: that takes less than a part's gradient, and no memory.
    let merge = Merge::new(layout, &weighted, rule)?;
    match at {
        MeasuredAt::Start => model.set_point(0, &start.params)?,
        MeasuredAt::Midpoint => {
            let half = OuterStep { alpha: 0.5 * step.alpha, ..step };
            half.visit_stepped(start, &merge, |first, params| Ok::<_, MeasureError>(model.set_point(first, params)?))?;
        }
    }
    let factor = step.share_factor(&merge) * linear_factor(&merge, payloads)?;
    let shares = Shares::with_others(&merge, payloads, beside)?;
    let mut parts = vec![Vec::with_capacity(model.parts()); payloads.len() + beside.len()];
    let (mut losses, mut carried) = (Vec::with_capacity(model.parts()), 0f64);
    for part in 0..model.parts() {
        losses.push(model.gradient(part)?);
        let dots = shares.dot(|segment, gradient| -> Result<(), MeasureError> {
            let range = layout.segment_range(segment);
            model.read_gradient(range.start, gradient)?;
            carried += step.carried(start.momentum.get(range).unwrap_or_default(), gradient);
            Ok(step.to_domain_segment(layout, segment, gradient)?)
        })?;
        for (own, dot) in parts.iter_mut().zip(dots) {
            own.push(Nats::from_f64(factor * dot));
        }
    }
    let count = model.parts().max(1) as f64;
    let contributions = parts.into_iter().map(Contribution::of).collect();
    let carried = Nats::from_f64(carried * f64::from(rule.step.factor()) / count);
    Ok(Measurement { losses, carried, contributions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        let nats = |values: &[f64]| values.iter().map(|value| Nats::from_f64(*value)).collect::<Vec<_>>();
        let contribution = Contribution::of(nats(&[1.0, 2.0, 3.0, 4.0]));
        assert_eq!(contribution.mean.to_f64(), 2.5);
        // Sample variance 5/3, so the mean's standard error is sqrt(5/12).
        assert!((contribution.standard_error.to_f64() - (5.0f64 / 12.0).sqrt()).abs() < 1e-9);
        assert!(!contribution.is_harmful());
        assert!(Contribution::of(nats(&[-1.0, -1.1])).is_harmful());
    }

    #[test]
    fn what_is_no_number_counts_as_nothing() {
        assert_eq!(Nats::from_f64(f64::NAN), Nats(0));
        assert_eq!(Nats::from_f64(f64::INFINITY), Nats(i64::MAX));
    }
}
