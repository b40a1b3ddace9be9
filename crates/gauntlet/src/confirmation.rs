//! Confirmation: an update that surely makes the model worse, or surely breaks its promise, is never applied.

use crate::contribution::MeasureError;
use crate::trials::{Trial, Trials};
use crate::{Contribution, Model, Nats};
use serde::{Deserialize, Serialize};
use templar_base::{StepShare, Uid};
use templar_gradient::{MergeRule, OuterState, OuterStep, Payload};

/// Steps that are tried to find culprits, at most; then the last agreed set is taken, at half the step.
const MAX_TESTS: u32 = 6;

/// What the step of the selected payloads really brings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Mean loss on the evaluation batch at the window's start.
    pub loss_before: f64,
    /// The same after the step of the confirmed payloads; none where none was confirmed.
    pub loss_after: Option<f64>,
    /// The part of the step that is taken.
    #[serde(default, skip_serializing_if = "StepShare::is_whole")]
    pub step: StepShare,
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
    /// The payloads whose step was confirmed, best first.
    pub confirmed: Vec<Uid>,
    /// Who alone makes the sure difference between a step that is confirmed and one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Uid>,
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

/// Checks what the whole step of `candidates` (best rated first) brings against the promise: their contributions and what
/// is carried by a momentum, part by part of the same text. If it is rejected, halves are tested until the culprits are
/// out; where that takes too many tests, those of `agreed_before` are taken, at half the step.
pub fn confirm(
    model: &mut dyn Model,
    start: &OuterState,
    candidates: &[Candidate<'_>],
    rule: MergeRule,
    step: OuterStep,
    promise: Promise,
    agreed_before: &[Uid],
) -> Result<Confirmation, MeasureError> {
    let mut trials = Trials::new(model, start, rule, step, None)?;
    let payloads: Vec<&Payload> = candidates.iter().map(|(_, payload, _)| *payload).collect();
    let whole = (rule.step, trials.after(&payloads, rule.step)?);
    confirm_trial(&mut trials, candidates, whole, promise, agreed_before)
}

/// As [`confirm`], of a step that was tried already: the part of it, and what came.
pub(crate) fn confirm_trial(
    trials: &mut Trials<'_>,
    candidates: &[Candidate<'_>],
    (share, whole): (StepShare, Trial),
    promise: Promise,
    agreed_before: &[Uid],
) -> Result<Confirmation, MeasureError> {
    let before = trials.before();
    let mut confirmer = Confirmer { trials, promise, share, tests_left: MAX_TESTS - 1, is_cut_short: false };
    let mut found = confirmer.largest(candidates, Some(&whole))?;
    if confirmer.is_cut_short
        && let Some(last) = confirmer.last_agreed(candidates, agreed_before)?
    {
        found = Some(last);
    }
    let evaluations = confirmer.trials.evaluations();
    let Some(found) = found else {
        return Ok(Confirmation {
            loss_before: before.loss(),
            loss_after: None,
            step: share,
            predicted: promise.carried,
            carried: promise.carried,
            surplus: Nats(0),
            surplus_error: Nats(0),
            confirmed: Vec::new(),
            culprit: None,
            evaluations,
        });
    };
    let culprit = candidates.iter().map(|(uid, _, _)| *uid).find(|uid| !found.has(*uid)).filter(|_| {
        let is_alone = found.share == share && found.set.len() + 1 == candidates.len();
        is_alone && (whole.gain_on(&found.trial).is_harmful() || !whole.loss().is_finite())
    });
    let contributions = found.set.iter().map(|(_, _, contribution)| contribution.mean.0);
    Ok(Confirmation {
        loss_before: before.loss(),
        loss_after: Some(found.trial.loss()),
        step: found.share,
        predicted: Nats(contributions.fold(promise.carried.0, i64::saturating_add)),
        carried: promise.carried,
        surplus: found.surplus.mean,
        surplus_error: found.surplus.standard_error,
        confirmed: found.set.iter().map(|(uid, _, _)| *uid).collect(),
        culprit,
        evaluations,
    })
}

/// A step that passed.
struct Found<'a> {
    set: Vec<Candidate<'a>>,
    share: StepShare,
    trial: Trial,
    surplus: Contribution,
}

impl Found<'_> {
    fn has(&self, uid: Uid) -> bool {
        self.set.iter().any(|(own, _, _)| *own == uid)
    }
}

struct Confirmer<'t, 'a> {
    trials: &'t mut Trials<'a>,
    promise: Promise,
    /// The part of the step that the contributions are of.
    share: StepShare,
    tests_left: u32,
    is_cut_short: bool,
}

impl Confirmer<'_, '_> {
    /// Whether a step that was tried passes.
    fn check<'c>(&self, set: &[Candidate<'c>], share: StepShare, trial: &Trial) -> Option<Found<'c>> {
        // A part of the step brings about that part of what the contributions say.
        let part = f64::from(share.factor() / self.share.factor()) * self.promise.share;
        let gain = trial.gain_on(&self.trials.before());
        let surpluses = gain.parts.iter().enumerate().map(|(at, gain)| gain.to_f64() - part * self.promised(set, at));
        let surplus = Contribution::of(surpluses.map(Nats::from_f64).collect());
        let passes = match self.promise.is_strict {
            true => gain.mean.0 > 0 && surplus.mean.0 >= 0,
            false => gain.at_most().0 >= 0 && surplus.at_most().0 >= 0,
        };
        // A loss that is no number is no gain, which a comparison of amounts does not see.
        let found = || Found { set: set.to_vec(), share, trial: trial.clone(), surplus };
        (passes && trial.loss().is_finite()).then(found)
    }

    /// What a set promises on one part of the evaluation batch, in nats.
    fn promised(&self, set: &[Candidate<'_>], part: usize) -> f64 {
        let own = |contribution: &Contribution| contribution.parts.get(part).copied().unwrap_or(contribution.mean);
        let sum = set.iter().map(|(_, _, contribution)| own(contribution).0);
        Nats(sum.fold(self.promise.carried.0, i64::saturating_add)).to_f64()
    }

    fn test<'c>(&mut self, set: &[Candidate<'c>], share: StepShare) -> Result<Option<Found<'c>>, MeasureError> {
        if self.tests_left == 0 {
            self.is_cut_short = true;
            return Ok(None);
        }
        self.tests_left -= 1;
        let trial = self.try_step(set, share)?;
        Ok(self.check(set, share, &trial))
    }

    fn try_step(&mut self, set: &[Candidate<'_>], share: StepShare) -> Result<Trial, MeasureError> {
        let payloads: Vec<&Payload> = set.iter().map(|(_, payload, _)| *payload).collect();
        self.trials.after(&payloads, share)
    }

    /// Group testing. Two halves that are good apart and not together overshoot: they are tried at half the step before
    /// anybody is dropped.
    fn largest<'c>(&mut self, set: &[Candidate<'c>], tried: Option<&Trial>) -> Result<Option<Found<'c>>, MeasureError> {
        let whole = match tried {
            Some(trial) => self.check(set, self.share, trial),
            None => self.test(set, self.share)?,
        };
        if whole.is_some() || set.len() < 2 {
            return Ok(whole);
        }
        let (better, worse) = set.split_at(set.len() / 2);
        let (first, second) = match (self.largest(better, None)?, self.largest(worse, None)?) {
            (Some(first), Some(second)) => (first, second),
            (only, None) | (None, only) => return Ok(only),
        };
        let union: Vec<Candidate<'c>> = first.set.iter().chain(&second.set).copied().collect();
        let share = first.share.min(second.share);
        if union.len() < set.len()
            && let Some(joint) = self.test(&union, share)?
        {
            return Ok(Some(joint));
        }
        Ok(Some(self.test(&union, share.halved())?.unwrap_or(first)))
    }

    /// Those that the window before agreed on, at half the step.
    fn last_agreed<'c>(
        &mut self,
        candidates: &[Candidate<'c>],
        agreed_before: &[Uid],
    ) -> Result<Option<Found<'c>>, MeasureError> {
        let set: Vec<Candidate<'c>> =
            candidates.iter().filter(|(uid, _, _)| agreed_before.contains(uid)).copied().collect();
        if set.is_empty() {
            return Ok(None);
        }
        let share = self.share.halved();
        let trial = self.try_step(&set, share)?;
        Ok(self.check(&set, share, &trial))
    }
}
