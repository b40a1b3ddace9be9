//! What a judgement leaves for the next: ratings, doubt, who is paid.

use crate::admission_checks::magnitude_units;
use crate::case::Case;
use crate::judge::WindowInput;
use crate::{Confirmation, Contribution, MinerRecord, Ratings};
use std::collections::BTreeSet;
use templar_base::Uid;

/// What the window leaves: ratings, doubt, who is paid. A window in which nothing was merged moves next to nothing, and pay
/// goes on: else a null window would be a way to stop it.
pub(crate) fn settle(
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
        observe(input, ratings, &along, &along, |case| case.contribution());
        // Where nobody was rated, the rest was measured at the start only, where no step is too long.
        let typical: Vec<&Case<'_>> = cases.iter().filter(|case| case.admitted && is_rated(case)).collect();
        if !typical.is_empty() {
            observe(input, ratings, &rest, &typical, |case| case.first.as_ref());
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

/// Observes each candidate's share of what typical ones bring in the same pass (`measured`): 1 and how far it is from their mean, in units of that mean
/// or, where that is not sure, of twice its error. So a window that says little moves no rating much.
fn observe(
    input: &WindowInput<'_>,
    ratings: &mut Ratings,
    cases: &[&Case<'_>],
    typical: &[&Case<'_>],
    measured: impl for<'c> Fn(&'c Case<'_>) -> Option<&'c Contribution>,
) {
    let typical: Vec<&Contribution> = typical.iter().filter_map(|case| measured(case)).collect();
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
        let Some(contribution) = measured(case) else { continue };
        let new = || MinerRecord::new(case.entry.hotkey, input.window);
        let record = ratings.miners.entry(case.entry.uid).or_insert_with(new);
        let share = 1.0 + (contribution.mean.to_f64() - mean) / unit;
        record.rating.observe(share, contribution.standard_error.to_f64() / unit);
        let has_shown_it = record.is_proven || case.is_sure || record.rating.value() > 0.0;
        record.is_proven = has_shown_it && record.rating.mean > least;
    }
}
