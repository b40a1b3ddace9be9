//! One window's judgement, from payloads to verdict.

use crate::admission_checks::magnitude_units;
use crate::contribution::MeasureError;
use crate::{
    Confirmation, Contribution, Expectation, MinerRecord, MinerVerdict, Model, Nats, Promise, Rated, Rating, Ratings,
    Rejection, Standing, Threshold, Verdict, check_payload, confirm, find_copies, measure, select,
};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{Beacon, BlockNumber, ContentHash, Genesis, PublicKey, RunId, StateHash, Uid, Window};
use templar_gradient::{MergeRule, OuterState, OuterStep, Payload};

/// Contributions are measured again when the admitted set changes, at most this often in all.
const MAX_MEASUREMENTS: usize = 3;

/// A judgement that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The payloads could not be measured; the judge's own fault.
    #[error("cannot judge window {window}: {source}")]
    Measure {
        /// The window.
        window: Window,
        /// What went wrong.
        source: MeasureError,
    },
}

/// What came of one miner's committed payload.
#[derive(Debug, Clone)]
pub enum Submission {
    /// It did not reach the checks of its content.
    Rejected(Rejection),
    /// It opened and decoded.
    Payload {
        /// The payload.
        payload: Box<Payload>,
        /// Hash of its bytes.
        hash: ContentHash,
        /// Digest of the batches assigned for the steps that it names; none where the uid has no data.
        data_digest: Option<ContentHash>,
    },
}

/// One miner that committed a payload in time.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// The block of its commitment.
    pub block: BlockNumber,
    /// What came of it.
    pub submission: Submission,
}

/// Everything that a judgement depends on, besides the model.
#[derive(Debug)]
pub struct WindowInput<'a> {
    /// The run's rules as they hold in the window.
    pub genesis: &'a Genesis,
    /// The most inner steps on the window's own batches.
    pub inner_steps: u32,
    /// The run.
    pub run: RunId,
    /// The window.
    pub window: Window,
    /// Drawn after sealing.
    pub beacon: Beacon,
    /// The agreed parameters at the window's start, and the momentum where the run has one.
    pub start: &'a OuterState,
    /// Its hash.
    pub start_state: StateHash,
    /// Who is registered at the window's end.
    pub registered: &'a BTreeMap<Uid, PublicKey>,
    /// Who committed a payload in time, in any order.
    pub entries: &'a [Entry],
    /// The agreed ratings before this window.
    pub ratings: &'a Ratings,
}

/// What is known of one entry while the judgement goes on.
struct Case<'a> {
    entry: &'a Entry,
    failure: Option<Rejection>,
    contribution: Option<Contribution>,
    admitted: bool,
    /// Whether it alone is surely at fault for making the model worse.
    is_harmful: bool,
    /// Whether an unrated miner surely reached the threshold.
    is_sure: bool,
}

/// What the measurements come to, beside what they say of each case.
#[derive(Default)]
struct Measured {
    /// What the momentum of windows before brings.
    carried: Nats,
    /// Whether a step must be seen to keep its promise.
    is_strict: bool,
}

impl<'a> Case<'a> {
    fn payload(&self) -> Option<&'a Payload> {
        match (&self.failure, &self.entry.submission) {
            (None, Submission::Payload { payload, .. }) => Some(payload),
            _ => None,
        }
    }
}

/// How the run merges payloads.
pub fn merge_rule(genesis: &Genesis) -> MergeRule {
    MergeRule { method: genesis.outer.merge, scale_clip: genesis.outer.scale_clip, ..MergeRule::default() }
}

/// Judges one window. Pure: the same input and the same model give the same verdict on every machine.
pub fn judge(input: &WindowInput<'_>, model: &mut dyn Model) -> Result<Verdict, JudgeError> {
    let failed = |source: MeasureError| JudgeError::Measure { window: input.window, source };
    let mut ratings = input.ratings.clone();
    ratings.keep_registered(input.registered);
    let mut cases = open_cases(input, &ratings);
    let measured = measure_cases(input, model, &mut cases, &ratings).map_err(failed)?;
    rate(input, &mut ratings, &cases);
    let admitted: Vec<Uid> = cases.iter().filter(|case| case.admitted).map(|case| case.entry.uid).collect();
    let ranked = select(&ratings, &admitted, &input.genesis.judging, input.window, input.beacon);
    let confirmation = confirm_ranked(input, model, &cases, &ranked, &measured).map_err(failed)?;
    let selected = confirmation.as_ref().map_or(Vec::new(), |confirmation| confirmation.confirmed.clone());
    match confirmation.as_ref().filter(|_| !selected.is_empty()) {
        Some(taken) => {
            ratings.doubt.add(taken.surplus.to_f64(), taken.surplus_error.to_f64());
            pay(input, &mut ratings, &cases, &ranked, &selected);
        }
        // Nobody is paid less for a window in which nothing was merged: else a null window would be a way to stop pay.
        None => ratings.doubt.fade(),
    }
    let miners = cases.iter().map(|case| miner_verdict(case, input.ratings, &ratings, &selected)).collect();
    Ok(Verdict {
        run: input.run,
        window: input.window,
        beacon: input.beacon,
        start_state: input.start_state,
        miners,
        confirmation,
        selected,
        ratings,
    })
}

/// The admission checks: all that needs no model. Cases come by uid.
fn open_cases<'a>(input: &WindowInput<'a>, ratings: &Ratings) -> Vec<Case<'a>> {
    let mut cases: Vec<Case<'a>> = input
        .entries
        .iter()
        .map(|entry| {
            let failure = match &entry.submission {
                Submission::Rejected(failure) => Some(failure.clone()),
                Submission::Payload { payload, data_digest, .. } => {
                    check_payload(payload, &expectation(input, entry.uid, *data_digest, ratings)).err()
                }
            };
            Case { entry, failure, contribution: None, admitted: false, is_harmful: false, is_sure: false }
        })
        .collect();
    cases.sort_by_key(|case| (case.entry.block, case.entry.uid));
    reject_copies(&mut cases, input.genesis.judging.copy_agreement);
    cases.sort_by_key(|case| case.entry.uid);
    cases
}

fn expectation<'a>(
    input: &WindowInput<'a>,
    uid: Uid,
    data_digest: Option<ContentHash>,
    ratings: &Ratings,
) -> Expectation<'a> {
    let data = &input.genesis.data;
    Expectation {
        run: input.run,
        window: input.window,
        uid,
        start_state: input.start_state,
        numerics: &input.genesis.numerics,
        tokens_per_step: (data.sequences_per_batch * data.sequence_length) as u64,
        batches_per_window: data.batches_per_window as u32,
        inner_steps: input.inner_steps,
        data_digest,
        magnitude_history: ratings.magnitude,
    }
}

/// `cases` are in the order of their commitments.
fn reject_copies(cases: &mut [Case<'_>], limit: f64) {
    let places: Vec<usize> = (0..cases.len()).filter(|place| cases[*place].payload().is_some()).collect();
    let payloads: Vec<&Payload> = places.iter().filter_map(|place| cases[*place].payload()).collect();
    for (copy, found) in find_copies(&payloads, limit).into_iter().enumerate() {
        if let Some((original, agreement)) = found {
            let of = cases[places[original]].entry.uid;
            cases[places[copy]].failure = Some(Rejection::Copy { of, percent: (agreement * 100.0) as u32 });
        }
    }
}

/// Measures the candidates, and again without those that are not admitted, until the set is stable. Unrated ones that
/// fail go first, alone: a rated miner is judged at a midpoint that they do not shape.
fn measure_cases(
    input: &WindowInput<'_>,
    model: &mut dyn Model,
    cases: &mut [Case<'_>],
    ratings: &Ratings,
) -> Result<Measured, MeasureError> {
    let mut places: Vec<usize> = (0..cases.len()).filter(|place| cases[*place].payload().is_some()).collect();
    let step = OuterStep::of(&input.genesis.outer, input.window);
    let mut result = Measured::default();
    for _ in 0..MAX_MEASUREMENTS {
        let payloads: Vec<&Payload> = places.iter().filter_map(|place| cases[*place].payload()).collect();
        if payloads.is_empty() {
            break;
        }
        let measured = measure(model, input.start, &payloads, merge_rule(input.genesis), step)?;
        let weight = |place: &usize| ratings.weight_of(cases[*place].entry.uid);
        let rated: Vec<Rated<'_>> = measured
            .contributions
            .iter()
            .zip(places.iter().map(weight))
            .map(|(contribution, weight)| Rated { contribution, weight })
            .collect();
        let threshold = Threshold::of(&rated, input.genesis.judging.admission_share, ratings.doubt.is_real());
        result = Measured { carried: measured.carried, is_strict: threshold.is_strict };
        let verdicts: Vec<(bool, bool)> =
            rated.iter().map(|rated| (threshold.admits(rated), rated.weight > 0.0)).collect();
        let is_unrated_out = verdicts.iter().any(|(passes, is_rated)| !passes && !is_rated);
        for ((place, contribution), (passes, _)) in places.iter().zip(&measured.contributions).zip(&verdicts) {
            let case = &mut cases[*place];
            case.admitted = *passes;
            case.is_sure = contribution.sure().0 as f64 > threshold.least;
            // Where the typical miner makes the model worse, the step overshoots, which is no miner's fault.
            case.is_harmful = contribution.is_harmful() && threshold.middle > 0.0;
            case.contribution = Some(contribution.clone());
        }
        let before = places.len();
        let stays = |(passes, is_rated): &(bool, bool)| *passes || (*is_rated && is_unrated_out);
        places =
            places.into_iter().zip(&verdicts).filter(|(_, verdict)| stays(verdict)).map(|(place, _)| place).collect();
        if places.len() == before {
            break;
        }
    }
    Ok(result)
}

/// Moves the ratings: a share is observed, an absence or a failure makes less sure, harm starts over.
fn rate(input: &WindowInput<'_>, ratings: &mut Ratings, cases: &[Case<'_>]) {
    for record in ratings.miners.values_mut() {
        record.rating.predict(input.genesis.judging.rating_process_noise);
    }
    observe(input, ratings, cases);
    for case in cases.iter().filter(|case| is_penalised(case)) {
        if let Some(record) = ratings.miners.get_mut(&case.entry.uid) {
            (record.rating, record.is_proven, record.ramp_since) = (Rating::newcomer(), false, input.window);
        }
    }
    let magnitudes = cases.iter().filter(|case| case.admitted).filter_map(Case::payload).map(magnitude_units).collect();
    ratings.note_magnitudes(magnitudes);
}

/// Observes each candidate's share of what the admitted bring: 1 and how far it is from their mean, in units of that mean
/// or, where that is not sure, of twice its error. So a window that says little moves no rating much, and one in which
/// the whole step was too long moves none down.
fn observe(input: &WindowInput<'_>, ratings: &mut Ratings, cases: &[Case<'_>]) {
    let admitted = cases.iter().filter(|case| case.admitted).filter_map(|case| case.contribution.as_ref());
    let admitted: Vec<&Contribution> = admitted.collect();
    let Some(total) = Contribution::sum(&admitted) else { return };
    let count = admitted.len() as f64;
    let (mean, error) = (total.mean.to_f64() / count, total.standard_error.to_f64() / count);
    let unit = mean.max(2.0 * error);
    if unit <= 0.0 {
        return;
    }
    // Half of the least share: an equal share is far above it, noise soon below.
    let least = 0.5 * input.genesis.judging.admission_share;
    for case in cases.iter().filter(|case| case.contribution.is_some()) {
        let Some(contribution) = &case.contribution else { continue };
        let record = ratings.miners.entry(case.entry.uid).or_insert_with(|| MinerRecord {
            hotkey: case.entry.hotkey,
            rating: Rating::newcomer(),
            is_proven: false,
            since: input.window,
            ramp_since: input.window,
            selected_average: 0.0,
            unselected_average: 0.0,
        });
        let share = 1.0 + (contribution.mean.to_f64() - mean) / unit;
        record.rating.observe(share, contribution.standard_error.to_f64() / unit);
        let has_shown_it = record.is_proven || case.is_sure || record.rating.value() > 0.0;
        record.is_proven = has_shown_it && record.rating.mean > least;
    }
}

/// Harm and copying cost the rating and the ramp; honest mistakes and lateness only the window.
fn is_penalised(case: &Case<'_>) -> bool {
    case.is_harmful || matches!(case.failure, Some(Rejection::Copy { .. }))
}

fn confirm_ranked(
    input: &WindowInput<'_>,
    model: &mut dyn Model,
    cases: &[Case<'_>],
    ranked: &[Uid],
    measured: &Measured,
) -> Result<Option<Confirmation>, MeasureError> {
    if ranked.is_empty() {
        return Ok(None);
    }
    let by_uid: BTreeMap<Uid, &Case<'_>> = cases.iter().map(|case| (case.entry.uid, case)).collect();
    let candidates: Vec<_> = ranked
        .iter()
        .filter_map(|uid| {
            let case = by_uid.get(uid)?;
            Some((*uid, case.payload()?, case.contribution.as_ref()?))
        })
        .collect();
    let rule = merge_rule(input.genesis);
    let step = OuterStep::of(&input.genesis.outer, input.window);
    let Measured { carried, is_strict } = *measured;
    let promise = Promise { share: input.genesis.judging.confirmation_share, carried, is_strict };
    confirm(model, input.start, &candidates, rule, step, promise).map(Some)
}

/// Moves the averages that the weights come from. Who was ranked and failed the confirmation earns nothing.
fn pay(input: &WindowInput<'_>, ratings: &mut Ratings, cases: &[Case<'_>], ranked: &[Uid], selected: &[Uid]) {
    let earned: BTreeMap<Uid, f64> = cases
        .iter()
        .filter(|case| case.admitted && (selected.contains(&case.entry.uid) || !ranked.contains(&case.entry.uid)))
        .filter_map(|case| Some((case.entry.uid, case.contribution.as_ref()?.mean.to_f64().max(0.0))))
        .collect();
    let selected: BTreeSet<Uid> = selected.iter().copied().collect();
    let step = 1.0 / input.genesis.economics.averaged_windows as f64;
    for (uid, record) in &mut ratings.miners {
        let own = earned.get(uid).copied().unwrap_or(0.0);
        let (as_selected, as_unselected) = if selected.contains(uid) { (own, 0.0) } else { (0.0, own) };
        record.selected_average += step * (as_selected - record.selected_average);
        record.unselected_average += step * (as_unselected - record.unselected_average);
    }
}

fn miner_verdict(case: &Case<'_>, before: &Ratings, after: &Ratings, selected: &[Uid]) -> MinerVerdict {
    let uid = case.entry.uid;
    let standing = match &case.failure {
        Some(failure) => Standing::Rejected(failure.clone()),
        _ if case.is_harmful => Standing::Harmful,
        _ if selected.contains(&uid) => Standing::Selected,
        _ if case.admitted => Standing::Admitted,
        _ => Standing::NotAdmitted,
    };
    let (payload, tokens) = match &case.entry.submission {
        Submission::Payload { payload, hash, .. } => (Some(*hash), payload.metadata().tokens_trained),
        Submission::Rejected(_) => (None, 0),
    };
    let rating = |ratings: &Ratings| ratings.miners.get(&uid).map(|record| record.rating);
    MinerVerdict {
        uid,
        hotkey: case.entry.hotkey,
        payload,
        tokens,
        standing,
        contribution: case.contribution.clone(),
        rating_before: rating(before),
        rating_after: rating(after),
    }
}
