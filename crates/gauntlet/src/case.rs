//! One entry of a window under judgement, from the admission checks to what the verdict says of it.

use crate::judge::{Entry, Submission, WindowInput};
use crate::{
    Contribution, Expectation, LoneChecks, MinerVerdict, Ratings, Rejection, Standing, find_copies,
    repeats::find_repeats,
};
use templar_base::{ContentHash, Findings, Mark, Uid};
use templar_gradient::Payload;

/// What is known of one entry while the judgement goes on.
pub(crate) struct Case<'a> {
    pub entry: &'a Entry,
    pub failure: Option<Rejection>,
    /// What it brings along the rated miners' step.
    pub first: Option<Contribution>,
    /// What it brings along the step that is applied, where that is another one and it has a part in it.
    pub second: Option<Contribution>,
    pub admitted: bool,
    /// Whether it alone surely made the model worse, in the newcomers' test or at the step that was applied.
    pub is_harmful: bool,
    /// Whether it surely reached the threshold.
    pub is_sure: bool,
}

impl<'a> Case<'a> {
    /// The payload, if it passed the admission checks.
    pub fn payload(&self) -> Option<&'a Payload> {
        match (&self.failure, &self.entry.submission) {
            (None, Submission::Payload { payload, .. }) => Some(payload),
            _ => None,
        }
    }

    /// What it is paid and confirmed by.
    pub fn contribution(&self) -> Option<&Contribution> {
        self.second.as_ref().or(self.first.as_ref())
    }
}

/// The admission checks: all that needs no model. Cases come by uid.
pub(crate) fn open_cases<'a>(input: &WindowInput<'a>, ratings: &Ratings) -> Vec<Case<'a>> {
    let lone = LoneChecks {
        genesis: input.genesis,
        inner_steps: input.inner_steps,
        run: input.run,
        window: input.window,
        start_state: input.start_state,
        ratings,
    };
    let mut cases: Vec<Case<'a>> = input
        .entries
        .iter()
        .map(|entry| {
            let failure = lone.check(entry).err();
            Case { entry, failure, first: None, second: None, admitted: false, is_harmful: false, is_sure: false }
        })
        .collect();
    cases.sort_by_key(|case| (case.entry.block, case.entry.uid));
    reject_copies(&mut cases, input.genesis.judging.copy_agreement);
    reject_repeats(&mut cases, input);
    cases.sort_by_key(|case| case.entry.uid);
    cases
}

pub(crate) fn expectation<'a>(lone: &LoneChecks<'a>, uid: Uid, data_digest: Option<ContentHash>) -> Expectation<'a> {
    let data = &lone.genesis.data;
    Expectation {
        run: lone.run,
        window: lone.window,
        uid,
        start_state: lone.start_state,
        numerics: &lone.genesis.numerics,
        open_numerics: &lone.genesis.open_numerics,
        tokens_per_step: (data.sequences_per_batch * data.sequence_length) as u64,
        batches_per_window: data.batches_per_window as u32,
        inner_steps: lone.inner_steps,
        data_digest,
        magnitude_history: lone.ratings.magnitude,
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

fn reject_repeats(cases: &mut [Case<'_>], input: &WindowInput<'_>) {
    let places: Vec<usize> = (0..cases.len()).filter(|place| cases[*place].payload().is_some()).collect();
    let payloads: Vec<(Uid, &Payload)> =
        places.iter().filter_map(|place| Some((cases[*place].entry.uid, cases[*place].payload()?))).collect();
    let found =
        find_repeats(&payloads, input.earlier, input.genesis.judging.copy_agreement, input.window, input.beacon);
    for (place, repeat) in places.into_iter().zip(found) {
        if let Some(repeat) = repeat {
            cases[place].failure = Some(repeat);
        }
    }
}

/// What the verdict says of one entry.
pub(crate) fn miner_verdict(case: &Case<'_>, before: &Ratings, after: &Ratings, findings: &Findings) -> MinerVerdict {
    let uid = case.entry.uid;
    let mark = findings.miners.iter().find(|finding| finding.uid == uid).map(|finding| finding.mark);
    let standing = match (&case.failure, mark) {
        (Some(failure), _) => Standing::Rejected(failure.clone()),
        (None, Some(Mark::Harmful)) => Standing::Harmful,
        (None, Some(Mark::Selected)) => Standing::Selected,
        (None, Some(Mark::Admitted)) => Standing::Admitted,
        (None, Some(Mark::Dropped)) => Standing::Dropped,
        (None, _) => Standing::NotAdmitted,
    };
    let payload = match &case.entry.submission {
        Submission::Payload { hash, .. } => Some(*hash),
        Submission::Rejected(_) => None,
    };
    let rating = |ratings: &Ratings| ratings.miners.get(&uid).map(|record| record.rating);
    MinerVerdict {
        uid,
        hotkey: case.entry.hotkey,
        payload,
        tokens: case.entry.tokens(),
        standing,
        contribution: case.contribution().cloned(),
        rating_before: rating(before),
        rating_after: rating(after),
    }
}
