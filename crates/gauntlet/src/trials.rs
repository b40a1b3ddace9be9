//! Trials: what a step would bring, measured on the same text as the start, part by part.

use crate::contribution::MeasureError;
use crate::{Contribution, Model, ModelError, Nats};
use templar_base::{StepShare, Uid};
use templar_gradient::{Merge, MergeRule, OuterState, OuterStep, Payload};

/// The loss at a window's start, and after steps from there.
pub(crate) struct Trials<'a> {
    pub model: &'a mut dyn Model,
    pub start: &'a OuterState,
    /// How the run merges; the part of the step is given for each trial.
    pub rule: MergeRule,
    pub step: OuterStep,
    before: Vec<f64>,
    evaluations: u32,
    /// What was seen on the way: the midpoint of a measurement is the half of its step.
    seen: Option<Seen>,
}

/// A step that was passed when contributions were measured: whose, what part, and the losses there.
pub(crate) struct Seen {
    /// Ascending.
    pub uids: Vec<Uid>,
    pub part: StepShare,
    pub trial: Trial,
}

/// The loss of each part after a step of some payloads, or at the start after none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trial {
    pub losses: Vec<f64>,
}

impl Trial {
    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }

    /// How much lower its losses are than those of another trial: paired, so that both have the noise of the same text. A
    /// loss that is no number is no gain.
    pub fn gain_on(&self, other: &Self) -> Contribution {
        let gains = other.losses.iter().zip(&self.losses).map(|(other, own)| other - own);
        Contribution::of(gains.map(Nats::from_f64).collect())
    }
}

impl<'a> Trials<'a> {
    /// Measures the start.
    pub fn new(
        model: &'a mut dyn Model,
        start: &'a OuterState,
        rule: MergeRule,
        step: OuterStep,
        seen: Option<Seen>,
    ) -> Result<Self, MeasureError> {
        model.set_point(0, &start.params)?;
        let before = model.losses()?;
        let trials = Self { model, start, rule, step, before, evaluations: 1, seen };
        let loss = trials.before().loss();
        if loss.is_finite() {
            return Ok(trials);
        }
        // A verdict with such a number could not be written down and read back.
        Err(ModelError(format!("its loss at the window's start is {loss}")).into())
    }

    /// The start.
    pub fn before(&self) -> Trial {
        Trial { losses: self.before.clone() }
    }

    /// How often the model was evaluated.
    pub fn evaluations(&self) -> u32 {
        self.evaluations
    }

    /// The losses after this part of the step of these payloads.
    pub fn after(&mut self, payloads: &[&Payload], share: StepShare) -> Result<Trial, MeasureError> {
        let Some(first) = payloads.first() else { return Ok(self.before()) };
        if let Some(seen) = self.seen_step(payloads, share) {
            return Ok(seen);
        }
        let weighted: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (*payload, 1)).collect();
        let merge = Merge::new(first.layout(), &weighted, MergeRule { step: share, ..self.rule })?;
        let Self { model, start, step, .. } = self;
        step.visit_stepped(start, &merge, |first, params| Ok::<_, MeasureError>(model.set_point(first, params)?))?;
        self.evaluations += 1;
        Ok(Trial { losses: self.model.losses()? })
    }

    fn seen_step(&self, payloads: &[&Payload], part: StepShare) -> Option<Trial> {
        let seen = self.seen.as_ref().filter(|seen| seen.part == part)?;
        let mut uids: Vec<Uid> = payloads.iter().map(|payload| payload.metadata().uid).collect();
        uids.sort();
        (uids == seen.uids).then(|| seen.trial.clone())
    }

    /// The part of the step that brings most, and what it comes to. The quarter is tried where the half brings at least
    /// what the whole does.
    pub fn best_step(&mut self, payloads: &[&Payload]) -> Result<(StepShare, Trial), MeasureError> {
        let mut best = (StepShare::Whole, self.after(payloads, StepShare::Whole)?);
        for share in [StepShare::Half, StepShare::Quarter] {
            let smaller = self.after(payloads, share)?;
            if !brings_as_much(&smaller, &best.1) {
                break;
            }
            best = (share, smaller);
        }
        Ok(best)
    }
}

fn brings_as_much(smaller: &Trial, larger: &Trial) -> bool {
    !larger.loss().is_finite() || smaller.loss() <= larger.loss()
}
