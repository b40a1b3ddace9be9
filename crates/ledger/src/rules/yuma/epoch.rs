//! The steps of an epoch, in order.

use super::rows::Row;
use super::terms::{EpochInput, EpochRow, EpochTerms};
use super::{bonds, median, rows};
use crate::arithmetic::fixed::{I32F32, StakeWeight, normalise, normalise_by, normalise_stakes};

/// Computes an epoch; one entry for each row of the input.
pub fn epoch(input: &EpochInput) -> Vec<EpochTerms> {
    let stakes = Stakes::of(input);
    let weights = counting_weights(input, &stakes.permits);
    let consensus = median::consensus(&stakes.active, &weights, I32F32::from_proportion(input.rule.kappa));
    let clipped = rows::clip_columns(&weights, &consensus);
    let ranks = rows::weighted_column_sums(&clipped, &stakes.active);
    let mut incentive = ranks.clone();
    normalise(&mut incentive);
    let bonds = bonds::settle(input, &weights, &clipped, &stakes.active, &consensus, &incentive);
    let pay = Pay::of(input.emission, &incentive, &bonds.dividends, &stakes);

    let mut terms = vec![EpochTerms::default(); input.rows.len()];
    for (uid, (term, row)) in terms.iter_mut().zip(&input.rows).enumerate() {
        *term = EpochTerms {
            active: is_active(input, row),
            stake: stakes.all[uid],
            active_stake: stakes.active[uid],
            validator_trust: clipped[uid].iter().map(|(_, value)| *value).sum(),
            weights: weights[uid].clone(),
            clipped_weights: clipped[uid].clone(),
            consensus: consensus[uid],
            rank: ranks[uid],
            incentive: incentive[uid],
            bonds: bonds.kept[uid].clone(),
            bond_shares: bonds.shares[uid].clone(),
            dividends: bonds.dividends[uid],
            permit: stakes.new_permits[uid],
            kept_bonds: kept_bonds(stakes.new_permits[uid], stakes.permits[uid], &bonds.kept[uid]),
            server_emission: pay.servers[uid],
            validator_emission: pay.validators[uid],
            emission: pay.combined[uid],
        };
    }
    terms
}

/// Bonds are kept by permit holders; who loses the permit loses them.
fn kept_bonds(permit: bool, former_permit: bool, bonds: &[(u16, I32F32)]) -> Option<Vec<(u16, u16)>> {
    match (permit, former_permit) {
        (true, _) => Some(bonds.iter().map(|(uid, value)| (*uid, value.to_proportion())).collect()),
        (false, true) => Some(Vec::new()),
        (false, false) => None,
    }
}

fn is_active(input: &EpochInput, row: &EpochRow) -> bool {
    row.last_update.saturating_add(input.rule.activity_cutoff_blocks) >= input.block
}

/// Stake and permits of an epoch.
struct Stakes {
    /// S.
    all: Vec<I32F32>,
    /// A.
    active: Vec<I32F32>,
    /// Who holds a permit now; the owner always.
    permits: Vec<bool>,
    /// Who holds one from now on.
    new_permits: Vec<bool>,
}

impl Stakes {
    fn of(input: &EpochInput) -> Self {
        let is_owner = |uid: usize| input.owner.is_some_and(|owner| usize::from(owner) == uid);
        let counted: Vec<StakeWeight> = (input.rows.iter().enumerate())
            .map(|(uid, row)| {
                let counts = is_owner(uid) || row.stake.to_int() >= input.stake_threshold;
                if counts { row.stake } else { StakeWeight::default() }
            })
            .collect();
        let all = normalise_stakes(&counted);
        let permits: Vec<bool> = input.rows.iter().enumerate().map(|(uid, row)| row.permit || is_owner(uid)).collect();
        let mut active: Vec<I32F32> = (input.rows.iter().zip(&permits).zip(&all))
            .map(|((row, permit), stake)| if *permit && is_active(input, row) { *stake } else { I32F32::ZERO })
            .collect();
        normalise(&mut active);
        let mut new_permits = top_stakes(&all, usize::from(input.rule.max_validators));
        for (uid, permit) in new_permits.iter_mut().enumerate() {
            *permit |= is_owner(uid);
        }
        Self { all, active, permits, new_permits }
    }
}

/// Who is among the `count` largest and has any; of equals the higher uid.
fn top_stakes(stakes: &[I32F32], count: usize) -> Vec<bool> {
    let mut is_top: Vec<bool> = stakes.iter().map(|stake| *stake != I32F32::ZERO).collect();
    let mut order: Vec<usize> = (0..stakes.len()).collect();
    order.sort_by_key(|uid| stakes[*uid]);
    for uid in order.into_iter().take(stakes.len().saturating_sub(count)) {
        is_top[uid] = false;
    }
    is_top
}

/// W: the weights that count, each row adding up to one.
fn counting_weights(input: &EpochInput, permits: &[bool]) -> Vec<Row> {
    let counts = |uid: u16, row: &EpochRow, target: u16| {
        let Some(registered_at) = input.rows.get(usize::from(target)).map(|target| target.registered_at) else {
            return false;
        };
        let is_self = uid == target && input.owner != Some(uid);
        let is_outdated = row.last_update <= registered_at;
        // Who committed before the target's registration may have meant its predecessor.
        let is_committed_before = row.oldest_commit.is_some_and(|commit| commit < registered_at);
        !(is_self || is_outdated || is_committed_before)
    };
    let mut weights: Vec<Row> = Vec::with_capacity(input.rows.len());
    for (uid, row) in input.rows.iter().enumerate() {
        let uid = uid as u16;
        let entries = row.weights.iter().filter(|(target, _)| permits[usize::from(uid)] && counts(uid, row, *target));
        let mut counted: Row = entries.map(|(target, value)| (*target, I32F32::from_int((*value).into()))).collect();
        rows::normalise_row(&mut counted);
        weights.push(counted);
    }
    weights
}

/// The shares in the smallest unit.
struct Pay {
    servers: Vec<u64>,
    validators: Vec<u64>,
    combined: Vec<u64>,
}

impl Pay {
    /// Half to incentive and half to dividends, since both add up to one; without either, everything goes by stake.
    fn of(emission: u64, incentive: &[I32F32], dividends: &[I32F32], stakes: &Stakes) -> Self {
        let mut combined: Vec<I32F32> = incentive
            .iter()
            .zip(dividends)
            .map(|(incentive, dividends)| incentive.saturating_add(*dividends))
            .collect();
        let total: I32F32 = combined.iter().copied().sum();
        let (mut servers, mut validators) = (incentive.to_vec(), dividends.to_vec());
        normalise_by(&mut servers, total);
        normalise_by(&mut validators, total);
        normalise_by(&mut combined, total);
        if total == I32F32::ZERO {
            let is_nobody_active = stakes.active.iter().copied().sum::<I32F32>() == I32F32::ZERO;
            validators = if is_nobody_active { stakes.all.clone() } else { stakes.active.clone() };
            combined.clone_from(&validators);
        }
        let amounts = |shares: &[I32F32]| shares.iter().map(|share| share_of(emission, *share)).collect();
        Self { servers: amounts(&servers), validators: amounts(&validators), combined: amounts(&combined) }
    }
}

/// `floor(emission · share)`.
pub(crate) fn share_of(emission: u64, share: I32F32) -> u64 {
    let bits = u128::from(share.to_bits().max(0).unsigned_abs());
    ((bits * u128::from(emission)) >> 32).min(u64::MAX.into()) as u64
}
