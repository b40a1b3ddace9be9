//! Bonds: what a validator holds of each miner, and the dividends that follow.

use super::rows::{self, Row};
use super::terms::EpochInput;
use crate::arithmetic::fixed::{I32F32, normalise};
use templar_chain::{BondsRule, LiquidAlpha};

/// Bonds and dividends of an epoch.
pub(super) struct Bonds {
    /// In the scale in which they are kept.
    pub kept: Vec<Row>,
    /// With each column adding up to one.
    pub shares: Vec<Row>,
    /// Each validator's share of the validators' half.
    pub dividends: Vec<I32F32>,
}

/// Moves the bonds by one epoch and shares out the dividends.
pub(super) fn settle(
    input: &EpochInput,
    weights: &[Row],
    clipped: &[Row],
    active_stake: &[I32F32],
    consensus: &[I32F32],
    incentive: &[I32F32],
) -> Bonds {
    let penalty = I32F32::from_proportion(input.rule.bonds_penalty);
    let bought = interpolate(weights, clipped, penalty);
    match input.rule.bonds {
        BondsRule::Classic => classic(input, &bought, active_stake, incentive),
        BondsRule::Yuma3 => yuma3(input, &bought, active_stake, consensus, incentive),
    }
}

fn classic(input: &EpochInput, bought: &[Row], active_stake: &[I32F32], incentive: &[I32F32]) -> Bonds {
    let mut bonds = former_bonds(input, |bond| I32F32::from_int(bond.into()));
    rows::normalise_columns(&mut bonds);
    let mut added = rows::scale_rows(bought, active_stake);
    rows::normalise_columns(&mut added);
    let mut shares = moving_average(&added, &bonds, movement(input));
    rows::normalise_columns(&mut shares);
    let mut dividends = rows::weighted_row_sums(&shares, incentive);
    normalise(&mut dividends);
    let mut kept = shares.clone();
    rows::upscale_columns(&mut kept);
    Bonds { kept, shares, dividends }
}

fn yuma3(
    input: &EpochInput,
    bought: &[Row],
    active_stake: &[I32F32],
    consensus: &[I32F32],
    incentive: &[I32F32],
) -> Bonds {
    let bonds = former_bonds(input, I32F32::from_proportion);
    let has_consensus = consensus.iter().any(|value| *value != I32F32::ZERO);
    let kept = match input.rule.liquid_alpha.filter(|_| has_consensus) {
        Some(liquid) => liquid_average(bought, &bonds, consensus, &liquid),
        None => moving_average(bought, &bonds, movement(input)),
    };
    let mut shares = kept.clone();
    rows::normalise_columns(&mut shares);
    let held = rows::weighted_row_sums(&shares, incentive);
    let mut dividends: Vec<I32F32> =
        held.iter().zip(active_stake).map(|(held, stake)| held.checked_mul(*stake).unwrap_or_default()).collect();
    normalise(&mut dividends);
    Bonds { kept, shares, dividends }
}

/// The bonds before this epoch, without those to uids that registered since the last one.
fn former_bonds(input: &EpochInput, read: impl Fn(u16) -> I32F32) -> Vec<Row> {
    let counts = |target: u16| {
        let target = input.rows.get(usize::from(target));
        target.is_some_and(|target| input.last_tempo.is_none_or(|last_tempo| last_tempo > target.registered_at))
    };
    let row = |bonds: &[(u16, u16)]| -> Row {
        bonds.iter().filter(|(target, _)| counts(*target)).map(|(target, bond)| (*target, read(*bond))).collect()
    };
    input.rows.iter().map(|uid| row(&uid.bonds)).collect()
}

/// α: one less the share of a bond that stays.
fn movement(input: &EpochInput) -> I32F32 {
    // Cut to 64 and then to 32 bits after the point, as the chain does; the second cut alone matters.
    let stays = (u128::from(input.rule.bonds_moving_average) << 32) / 1_000_000;
    I32F32::ONE.saturating_sub(I32F32::from_bits(stays.min(i64::MAX as u128) as i64))
}

/// `a + ratio · (b − a)`. At the ends the matrix itself, with its zero entries; between them only what is over zero.
fn interpolate(a: &[Row], b: &[Row], ratio: I32F32) -> Vec<Row> {
    if ratio == I32F32::ZERO {
        return a.to_vec();
    }
    if ratio == I32F32::ONE {
        return b.to_vec();
    }
    let mix = |(a, b): (&Row, &Row), width: usize| {
        let between = |(a, b): (I32F32, I32F32)| a.saturating_add(ratio.saturating_mul(b.saturating_sub(a)));
        let values = rows::dense(a, width).into_iter().zip(rows::dense(b, width)).map(between);
        rows::positive_entries(&values.collect::<Vec<_>>())
    };
    a.iter().zip(b).map(|pair| mix(pair, a.len())).collect()
}

/// `α · new + (1 − α) · old`, the entries over zero.
fn moving_average(new: &[Row], old: &[Row], alpha: I32F32) -> Vec<Row> {
    let rest = I32F32::ONE.saturating_sub(alpha);
    let mut averages = Vec::with_capacity(new.len());
    for (new_row, old_row) in new.iter().zip(old) {
        let mut values = vec![I32F32::ZERO; new.len()];
        for (row, factor) in [(new_row, alpha), (old_row, rest)] {
            for (column, value) in row {
                let cell = &mut values[usize::from(*column)];
                *cell = cell.saturating_add(factor.saturating_mul(*value));
            }
        }
        averages.push(rows::positive_entries(&values));
    }
    averages
}

/// The moving average with an α of its own for each pair, held to one. Only what the validator weighs now is kept: a
/// bond to a miner that it no longer names is gone.
fn liquid_average(new: &[Row], old: &[Row], consensus: &[I32F32], liquid: &LiquidAlpha) -> Vec<Row> {
    let width = new.len();
    let average = |(new_row, old_row): (&Row, &Row)| -> Row {
        let weights = rows::dense_ascending(new_row, width);
        let bonds = rows::dense_ascending(old_row, width);
        let former = rows::dense(old_row, width);
        let entry = |(column, value): &(u16, I32F32)| {
            let at = usize::from(*column);
            let alpha = liquid_alpha(consensus[at], weights[at], bonds[at], liquid);
            let stays = I32F32::ONE.saturating_sub(alpha).saturating_mul(former[at]);
            let bond = stays.saturating_add(alpha.saturating_mul(*value).max(I32F32::ZERO)).min(I32F32::ONE);
            (bond > I32F32::ZERO).then_some((*column, bond))
        };
        new_row.iter().filter_map(entry).collect()
    };
    new.iter().zip(old).map(average).collect()
}

/// `low + (high − low) / (1 + exp(−steepness · (d − 1/2)))`, d being how far a buyer goes over the consensus, or how
/// far a seller goes under its bond.
fn liquid_alpha(consensus: I32F32, weight: I32F32, bond: I32F32, liquid: &LiquidAlpha) -> I32F32 {
    let (low, high) = (I32F32::from_proportion(liquid.low), I32F32::from_proportion(liquid.high));
    let distance = if weight >= bond { weight.saturating_sub(consensus) } else { bond.saturating_sub(weight) };
    let distance = distance.clamp(I32F32::ZERO, I32F32::ONE);
    let half = I32F32::from_bits(I32F32::ONE.to_bits() / 2);
    let slope = I32F32::from_int(liquid.steepness.into()).safe_div(I32F32::from_int(-100));
    let exponent = slope.saturating_mul(distance.saturating_sub(half));
    let sigmoid = I32F32::ONE.safe_div(I32F32::ONE.saturating_add(exponent.safe_exp()));
    let alpha = low.saturating_add(sigmoid.saturating_mul(high.saturating_sub(low)));
    // The chain's clamp, which is defined where the bounds are the wrong way round as well.
    alpha.min(high).max(low)
}
