//! One window's judgement, from payloads to verdict.

use crate::admission_checks::magnitude_units;
use crate::confirmation::confirm_trial;
use crate::contribution::MeasureError;
use crate::newcomers::{Entrance, by_lot, enter};
use crate::trials::{Seen, Trial, Trials};
use crate::{
    Candidates, Confirmation, Contribution, Expectation, MeasuredAt, MinerRecord, MinerVerdict, Model, Nats, Promise,
    Rated, Ratings, Rejection, Standing, Threshold, Verdict, check_payload, find_copies, measure_candidates, select,
};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{Beacon, BlockNumber, ContentHash, Genesis, PublicKey, RunId, StateHash, StepShare, Uid, Window};
use templar_gradient::{MergeRule, OuterState, OuterStep, Payload};

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
    /// Along the step that was applied for those that were merged, else along the rated miners'.
    contribution: Option<Contribution>,
    admitted: bool,
    /// Whether it alone surely made the model worse, in the newcomers' test or at the step that was applied.
    is_harmful: bool,
    /// Whether it surely reached the threshold.
    is_sure: bool,
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
    MergeRule { method: genesis.outer.merge, scales: genesis.outer.scales, ..MergeRule::default() }
}

/// Judges one window. Pure: the same input and the same model give the same verdict on every machine.
pub fn judge(input: &WindowInput<'_>, model: &mut dyn Model) -> Result<Verdict, JudgeError> {
    let failed = |source: MeasureError| JudgeError::Measure { window: input.window, source };
    let mut ratings = input.ratings.clone();
    ratings.keep_registered(input.registered);
    let mut judgement = Judgement { input, ratings: &ratings, cases: open_cases(input, &ratings) };
    let first = judgement.first_pass(model).map_err(failed)?;
    let ranked = judgement.rank(&first.threshold);
    let confirmation = judgement.decide(model, first, &ranked).map_err(failed)?;
    let cases = judgement.cases;
    let selected = confirmation.as_ref().map_or(Vec::new(), |confirmation| confirmation.confirmed.clone());
    settle(input, &mut ratings, &cases, &ranked, confirmation.as_ref().filter(|_| !selected.is_empty()));
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

/// What the first pass came to.
struct FirstPass {
    threshold: Threshold,
    /// Whose step was measured, ascending, and what part of it; nobody's at the start.
    along: Vec<Uid>,
    part: StepShare,
    /// At the midpoint.
    losses: Vec<f64>,
    carried: Nats,
}

/// A judgement under way, with the agreed ratings from before the window.
struct Judgement<'a, 'r> {
    input: &'a WindowInput<'a>,
    ratings: &'r Ratings,
    cases: Vec<Case<'a>>,
}

impl<'a> Judgement<'a, '_> {
    fn place(&self, uid: Uid) -> Option<usize> {
        self.cases.binary_search_by_key(&uid, |case| case.entry.uid).ok()
    }

    fn payloads_of(&self, uids: &[Uid]) -> Vec<(Uid, &'a Payload)> {
        uids.iter().filter_map(|uid| Some((*uid, self.cases[self.place(*uid)?].payload()?))).collect()
    }

    fn step(&self) -> OuterStep {
        OuterStep::of(&self.input.genesis.outer, self.input.window)
    }

    /// Measures everybody along the rated miners' step, which no stranger shapes; at the start where nobody is rated.
    fn first_pass(&mut self, model: &mut dyn Model) -> Result<FirstPass, MeasureError> {
        let places: Vec<usize> = (0..self.cases.len()).filter(|place| self.cases[*place].payload().is_some()).collect();
        let weight = |place: &usize| self.ratings.weight_of(self.cases[*place].entry.uid);
        let (rated, others): (Vec<usize>, Vec<usize>) = places.iter().partition(|place| weight(place) > 0.0);
        let (merged, beside, at) = match rated.is_empty() {
            true => (others, Vec::new(), MeasuredAt::Start),
            false => (rated, others, MeasuredAt::Midpoint),
        };
        let is_doubtful = self.ratings.doubt.is_real();
        let share = self.input.genesis.judging.admission_share;
        let order: Vec<usize> = merged.iter().chain(&beside).copied().collect();
        if order.is_empty() {
            let threshold = Threshold::of(&[], share, is_doubtful);
            let part = self.ratings.step;
            return Ok(FirstPass { threshold, along: Vec::new(), part, losses: Vec::new(), carried: Nats(0) });
        }
        let payloads = |places: &[usize]| -> Vec<&'a Payload> {
            places.iter().filter_map(|place| self.cases[*place].payload()).collect()
        };
        let (merged, beside) = (payloads(&merged), payloads(&beside));
        let candidates = Candidates { merged: &merged, beside: &beside, at };
        let mut part = self.ratings.step;
        let along: Vec<Uid> = match at {
            MeasuredAt::Start => Vec::new(),
            MeasuredAt::Midpoint => merged.iter().map(|payload| payload.metadata().uid).collect(),
        };
        let (threshold, contributions, losses, carried) = loop {
            let rule = MergeRule { step: part, ..merge_rule(self.input.genesis) };
            let measured = measure_candidates(model, self.input.start, candidates, rule, self.step())?;
            let rated: Vec<Rated<'_>> = (measured.contributions.iter().zip(order.iter().map(weight)))
                .map(|(contribution, weight)| Rated { contribution, weight })
                .collect();
            let threshold = Threshold::of(&rated, share, is_doubtful);
            // Where the typical miner makes the model worse, the step overshoots, which is no miner's fault.
            if threshold.middle >= 0.0 || at == MeasuredAt::Start || part == part.halved() {
                let verdicts: Vec<bool> = rated.iter().map(|rated| threshold.admits(rated)).collect();
                let contributions: Vec<_> = measured.contributions.into_iter().zip(verdicts).collect();
                break (threshold, contributions, measured.losses, measured.carried);
            }
            part = part.halved();
        };
        for (place, (contribution, passes)) in order.into_iter().zip(contributions) {
            let case = &mut self.cases[place];
            case.admitted = passes;
            case.is_sure = contribution.sure().0 as f64 > threshold.least;
            case.contribution = Some(contribution);
        }
        Ok(FirstPass { threshold, along, part, losses, carried })
    }

    /// Who may be merged, best first.
    fn rank(&self, threshold: &Threshold) -> Vec<Uid> {
        let WindowInput { genesis, window, beacon, .. } = self.input;
        let admitted: Vec<Uid> = self.cases.iter().filter(|case| case.admitted).map(|case| case.entry.uid).collect();
        let rule = &genesis.judging;
        // While few are known, half of the places are as many as may be wrong at once.
        let places = if threshold.has_few_rated { rule.selected.div_ceil(2) } else { rule.selected };
        select(self.ratings, &admitted, places, rule, *window, *beacon)
    }

    /// Who is merged, and what part of the step is taken.
    fn decide(
        &mut self,
        model: &mut dyn Model,
        first: FirstPass,
        ranked: &[Uid],
    ) -> Result<Option<Confirmation>, MeasureError> {
        let rule = merge_rule(self.input.genesis);
        if ranked.is_empty() {
            return Ok(None);
        }
        let is_doubtful = self.ratings.doubt.is_real();
        // The midpoint of a step is the half of it.
        let half = first.part.halved();
        let is_half = !first.along.is_empty() && half != first.part;
        let trial = Trial { losses: first.losses };
        let seen = is_half.then(|| Seen { uids: first.along.clone(), part: half, trial });
        let mut trials = Trials::new(model, self.input.start, rule, self.step(), seen)?;
        let mut set = self.join(&mut trials, ranked, is_doubtful)?;
        if set.is_empty() {
            return Ok(None);
        }
        let payloads: Vec<&Payload> = set.iter().map(|(_, payload)| *payload).collect();
        let (mut part, mut trial) = trials.best_step(&payloads)?;
        if is_doubtful && part != part.halved() {
            part = part.halved();
            trial = trials.after(&payloads, part)?;
        }
        let mut uids: Vec<Uid> = set.iter().map(|(uid, _)| *uid).collect();
        uids.sort();
        let carried = if part == first.part && uids == first.along {
            // The very step that everybody was measured along.
            self.note_harm(&uids);
            first.carried
        } else {
            self.second_pass(&mut trials, &payloads, &set, part)?
        };
        let before = set.len();
        set.retain(|(uid, _)| self.brings_no_sure_loss(*uid));
        if set.is_empty() {
            return Ok(None);
        }
        if set.len() < before {
            let payloads: Vec<&Payload> = set.iter().map(|(_, payload)| *payload).collect();
            trial = trials.after(&payloads, part)?;
        }
        let judging = &self.input.genesis.judging;
        let promise = Promise {
            share: judging.confirmation_share,
            carried,
            is_strict: first.threshold.has_few_rated || is_doubtful,
        };
        let confirmed = {
            let own = |(uid, payload): &(Uid, &'a Payload)| {
                let contribution = self.cases[self.place(*uid)?].contribution.as_ref()?;
                Some((*uid, *payload, contribution))
            };
            let candidates: Vec<_> = set.iter().filter_map(own).collect();
            confirm_trial(&mut trials, &candidates, (part, trial), promise, &self.ratings.merged)?
        };
        if let Some(place) = confirmed.culprit.and_then(|uid| self.place(uid)) {
            self.cases[place].is_harmful = true;
        }
        Ok(Some(confirmed))
    }

    /// The rated of the ranked, and of the others those whose entrance does no harm. In doubt none of these enters.
    fn join(
        &mut self,
        trials: &mut Trials<'_>,
        ranked: &[Uid],
        is_doubtful: bool,
    ) -> Result<Vec<(Uid, &'a Payload)>, MeasureError> {
        let (rated, newcomers): (Vec<Uid>, Vec<Uid>) =
            ranked.iter().partition(|uid| self.ratings.weight_of(**uid) > 0.0);
        let mut set = self.payloads_of(&rated);
        if is_doubtful || newcomers.is_empty() {
            return Ok(set);
        }
        let newcomers = self.payloads_of(&by_lot(newcomers, self.input.window, self.input.beacon));
        let merged: Vec<&Payload> = set.iter().map(|(_, payload)| *payload).collect();
        for (uid, entrance) in
            enter(trials, &merged, &newcomers, self.ratings.step, self.input.genesis.judging.confirmation_share)?
        {
            let Some(place) = self.place(uid) else { continue };
            match entrance {
                Entrance::Joins => set.extend(newcomers.iter().find(|(own, _)| *own == uid)),
                Entrance::StaysOut => self.cases[place].admitted = false,
                Entrance::Harms => (self.cases[place].admitted, self.cases[place].is_harmful) = (false, true),
            }
        }
        Ok(set)
    }

    /// Measures the set along the very step that is to be applied: these contributions are paid and confirmed. Gives
    /// what a momentum carries.
    fn second_pass(
        &mut self,
        trials: &mut Trials<'_>,
        payloads: &[&Payload],
        set: &[(Uid, &Payload)],
        part: StepShare,
    ) -> Result<Nats, MeasureError> {
        let candidates = Candidates { merged: payloads, beside: &[], at: MeasuredAt::Midpoint };
        let rule = MergeRule { step: part, ..trials.rule };
        let measured = measure_candidates(trials.model, trials.start, candidates, rule, trials.step)?;
        for ((uid, _), contribution) in set.iter().zip(measured.contributions) {
            let Some(place) = self.place(*uid) else { continue };
            self.cases[place].contribution = Some(contribution);
        }
        self.note_harm(&set.iter().map(|(uid, _)| *uid).collect::<Vec<_>>());
        Ok(measured.carried)
    }

    /// Who surely makes the model worse along the step that is to be applied.
    fn note_harm(&mut self, uids: &[Uid]) {
        for uid in uids {
            let Some(place) = self.place(*uid) else { continue };
            let case = &mut self.cases[place];
            case.is_harmful = case.contribution.as_ref().is_some_and(Contribution::is_harmful);
        }
    }

    fn brings_no_sure_loss(&mut self, uid: Uid) -> bool {
        let Some(place) = self.place(uid) else { return false };
        let case = &mut self.cases[place];
        case.admitted &= case.contribution.as_ref().is_some_and(|own| !own.at_most().is_loss());
        case.admitted
    }
}

/// What the window leaves: ratings, doubt, who is paid. A window in which nothing was merged moves next to nothing, and pay
/// goes on: else a null window would be a way to stop it.
fn settle(
    input: &WindowInput<'_>,
    ratings: &mut Ratings,
    cases: &[Case<'_>],
    ranked: &[Uid],
    taken: Option<&Confirmation>,
) {
    let is_rated = |case: &Case<'_>| input.ratings.weight_of(case.entry.uid) > 0.0;
    let merged: BTreeSet<Uid> = taken.iter().flat_map(|taken| &taken.confirmed).copied().collect();
    if taken.is_some() {
        for record in ratings.miners.values_mut() {
            record.rating.predict(input.genesis.judging.rating_process_noise);
        }
        // Each with those that were measured along the same step.
        let (along, rest): (Vec<&Case<'_>>, Vec<&Case<'_>>) =
            cases.iter().partition(|case| merged.contains(&case.entry.uid));
        observe(input, ratings, &along, &along);
        // Where nobody was rated, the rest was measured at the start only, where no step is too long.
        let typical: Vec<&Case<'_>> = cases.iter().filter(|case| case.admitted && is_rated(case)).collect();
        if !typical.is_empty() {
            observe(input, ratings, &rest, &typical);
        }
    }
    for case in cases.iter().filter(|case| case.is_harmful) {
        if let Some(record) = ratings.miners.get_mut(&case.entry.uid) {
            let since = record.since;
            *record = MinerRecord { since, ..MinerRecord::new(record.hotkey, input.window) };
        }
    }
    let magnitudes = cases.iter().filter(|case| case.admitted).filter_map(Case::payload).map(magnitude_units).collect();
    ratings.note_magnitudes(magnitudes);
    let Some(taken) = taken else { return ratings.doubt.fade() };
    ratings.doubt.add(taken.surplus.to_f64(), taken.surplus_error.to_f64());
    (ratings.step, ratings.merged) = (taken.step, taken.confirmed.clone());
    for (uid, record) in &mut ratings.miners {
        let case = cases.iter().find(|case| case.entry.uid == *uid);
        let fails = |case: &Case<'_>| case.is_harmful || (ranked.contains(uid) && !merged.contains(uid));
        // A stranger is paid from its first merge on, not for what it promises.
        let is_known = |case: &Case<'_>| is_rated(case) || merged.contains(uid);
        record.is_paid = case.is_some_and(|case| case.admitted && is_known(case) && !fails(case));
    }
}

/// Observes each candidate's share of what typical ones bring: 1 and how far it is from their mean, in units of that mean
/// or, where that is not sure, of twice its error. So a window that says little moves no rating much.
fn observe(input: &WindowInput<'_>, ratings: &mut Ratings, cases: &[&Case<'_>], typical: &[&Case<'_>]) {
    let typical: Vec<&Contribution> = typical.iter().filter_map(|case| case.contribution.as_ref()).collect();
    let Some(total) = Contribution::sum(&typical) else { return };
    let count = typical.len() as f64;
    let (mean, error) = (total.mean.to_f64() / count, total.standard_error.to_f64() / count);
    let unit = mean.max(2.0 * error);
    if unit <= 0.0 {
        return;
    }
    // Half of the least share: an equal share is far above it, noise soon below.
    let least = 0.5 * input.genesis.judging.admission_share;
    for case in cases {
        let Some(contribution) = &case.contribution else { continue };
        let new = || MinerRecord::new(case.entry.hotkey, input.window);
        let record = ratings.miners.entry(case.entry.uid).or_insert_with(new);
        let share = 1.0 + (contribution.mean.to_f64() - mean) / unit;
        record.rating.observe(share, contribution.standard_error.to_f64() / unit);
        let has_shown_it = record.is_proven || case.is_sure || record.rating.value() > 0.0;
        record.is_proven = has_shown_it && record.rating.mean > least;
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
