//! From what was measured to the numbers that a vote carries.

use crate::admission_checks::magnitude_units;
use crate::case::Case;
use crate::{Confirmation, Contribution, Ratings, Rejection};
use std::collections::BTreeMap;
use templar_base::{Finding, Findings, MAX_CANDIDATES, Mark, Nats, Probe, Share, StepShare, Uid};

/// What the judge of these cases found. `ranked` were to be merged before confirmation; `taken` is the step that was
/// confirmed, of one payload at least.
pub(crate) fn findings(
    cases: &[Case<'_>],
    ratings: &Ratings,
    ranked: &[Uid],
    taken: Option<&Confirmation>,
    probes: Vec<Probe>,
) -> Findings {
    let merged = taken.map_or(&[][..], |taken| &taken.confirmed);
    let shares = shares(cases, ratings, merged);
    let finding = |case: &Case<'_>| {
        let uid = case.entry.uid;
        let mark = mark(case, ranked, merged)?;
        Some(Finding { uid, mark, is_sure: case.is_sure, share: shares.get(&uid).copied() })
    };
    let magnitudes = cases.iter().filter(|case| case.admitted).filter_map(Case::payload).map(magnitude_units).collect();
    Findings {
        // Never more: the pool has as many places.
        miners: cases.iter().filter_map(finding).take(MAX_CANDIDATES).collect(),
        step: taken.map_or(StepShare::Whole, |taken| taken.step),
        magnitude: median(magnitudes),
        surplus: taken.map_or(Nats(0), |taken| taken.surplus),
        surplus_error: taken.map_or(Nats(0), |taken| taken.surplus_error),
        probes,
    }
}

fn median(mut magnitudes: Vec<u64>) -> u64 {
    magnitudes.sort_unstable();
    magnitudes.get(magnitudes.len() / 2).copied().unwrap_or(0)
}

/// Where a case stands; none of one that is no candidate, no copy, and owes no answer.
fn mark(case: &Case<'_>, ranked: &[Uid], merged: &[Uid]) -> Option<Mark> {
    let uid = case.entry.uid;
    Some(match &case.failure {
        Some(Rejection::Copy { .. } | Rejection::Repeat { .. } | Rejection::Merged { .. }) => Mark::Copy,
        Some(Rejection::Unanswered) => Mark::Silent,
        Some(_) => return None,
        None if case.is_harmful => Mark::Harmful,
        None if merged.contains(&uid) => Mark::Selected,
        None if !case.admitted => Mark::NotAdmitted,
        None if ranked.contains(&uid) => Mark::Dropped,
        None => Mark::Admitted,
    })
}

/// Each candidate's part of what typical ones bring in the same pass: the merged along the step that is applied, the rest
/// along the step of the first pass.
fn shares(cases: &[Case<'_>], ratings: &Ratings, merged: &[Uid]) -> BTreeMap<Uid, Share> {
    let (along, rest): (Vec<&Case<'_>>, Vec<&Case<'_>>) =
        cases.iter().partition(|case| merged.contains(&case.entry.uid));
    let mut shares = shares_of(&along, &along, |case| case.contribution());
    // Where nobody was rated, the rest was measured at the start only, where no step is too long.
    let is_typical = |case: &&Case<'_>| case.admitted && ratings.weight_of(case.entry.uid) > 0.0;
    let typical: Vec<&Case<'_>> = cases.iter().filter(is_typical).collect();
    shares.extend(shares_of(&rest, &typical, |case| case.first.as_ref()));
    shares
}

/// A share is 1 and how far what is `measured` is from the mean of typical ones, in units of that mean or, where that is not
/// sure, of twice its error. So a window that says little moves no rating much.
fn shares_of(
    cases: &[&Case<'_>],
    typical: &[&Case<'_>],
    measured: impl for<'c> Fn(&'c Case<'_>) -> Option<&'c Contribution>,
) -> BTreeMap<Uid, Share> {
    let typical: Vec<&Contribution> = typical.iter().filter_map(|case| measured(case)).collect();
    let Some(total) = Contribution::sum(&typical) else { return BTreeMap::new() };
    let count = typical.len() as f64;
    let (mean, error) = (total.mean.to_f64() / count, total.standard_error.to_f64() / count);
    let unit = mean.max(2.0 * error);
    if unit <= 0.0 {
        return BTreeMap::new();
    }
    let share = |contribution: &Contribution| {
        let part = 1.0 + (contribution.mean.to_f64() - mean) / unit;
        Share::new(part, contribution.standard_error.to_f64() / unit)
    };
    cases.iter().filter_map(|case| Some((case.entry.uid, share(measured(case)?)))).collect()
}
