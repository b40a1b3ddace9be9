//! Yuma consensus: from stake, weights and bonds to the shares of miners and validators.
//!
//! [`epoch`] is a pure function. Its steps, for uids i (validators) and j (miners):
//!
//! ```text
//! S = normalise(stake)             stake under the threshold counts nothing, the owner's always counts
//! A = normalise(S)                 of those that are active and hold a permit
//! W = normalise by row(weights)    of permit holders; no self-weight but the owner's; nothing older than its target
//! C_j = stake-weighted median      of column j of W at kappa
//! W̄_ij = min(W_ij, C_j)            validator trust T_i = Σ_j W̄_ij
//! R_j = Σ_i A_i W̄_ij               incentive I = normalise(R)
//! V = W + penalty · (W̄ − W)
//! classic:  E = col-normalise(α · col-normalise(V·A) + (1 − α) · col-normalise(B)),   D_i = Σ_j E_ij I_j
//! Yuma 3:   E = α · V + (1 − α) · B,                     D_i = A_i · Σ_j col-normalise(E)_ij I_j
//! dividends = normalise(D);  emission = normalise(I + D), of which I goes to miners and D to validators
//! ```
//!
//! α is `1 − bonds_moving_average / 10^6`, or with liquid alpha a sigmoid of how far a weight is from the consensus.
//! Matrices are sparse rows of (uid, value); an entry that is there with the value zero is not the same as one that is
//! missing, as on the chain. Source: `pallets/subtensor/src/epoch/run_epoch.rs` of subtensor.

mod bonds;
mod median;
mod rows;

use crate::fixed::{I32F32, StakeWeight, normalise, normalise_by, normalise_stakes};
use parity_scale_codec::{Decode, Encode};
use rows::Row;
use templar_chain::{BondsRule, LiquidAlpha, YumaRule};

/// What an epoch knows of one uid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct EpochRow {
    /// What its stake counts for, in the smallest unit.
    pub stake: StakeWeight,
    /// Whether it holds a permit.
    pub permit: bool,
    /// Block of its last weights.
    pub last_update: u64,
    /// Block of its registration.
    pub registered_at: u64,
    /// Block of the oldest weight commit that still waits for its reveal.
    pub oldest_commit: Option<u64>,
    /// Its weights, in 1/65535 of its largest.
    pub weights: Vec<(u16, u16)>,
    /// Its bonds, in 1/65535.
    pub bonds: Vec<(u16, u16)>,
}

/// Everything that an epoch depends on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EpochInput {
    /// The block at which it ends.
    pub block: u64,
    /// Bonds to uids registered at this block or later are dropped; none drops nothing.
    pub last_tempo: Option<u64>,
    /// The parameters.
    pub rule: YumaRule,
    /// Stake under this counts nothing, in the smallest unit.
    pub stake_threshold: u64,
    /// The owner's uid.
    pub owner: Option<u16>,
    /// What is shared out, in the smallest unit.
    pub emission: u64,
    /// One row for each uid, from 0 without gaps.
    pub rows: Vec<EpochRow>,
}

/// What an epoch found for one uid: every term of the formulas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochTerms {
    /// Whether it set weights lately.
    pub active: bool,
    /// S, its share of all stake.
    pub stake: I32F32,
    /// A, its share of the stake that counts.
    pub active_stake: I32F32,
    /// W, its weights, adding up to one.
    pub weights: Vec<(u16, I32F32)>,
    /// W̄, its weights clipped at the consensus.
    pub clipped_weights: Vec<(u16, I32F32)>,
    /// C, the weight that the majority gives it.
    pub consensus: I32F32,
    /// T, the part of its weights within the consensus.
    pub validator_trust: I32F32,
    /// R, its rank before normalisation.
    pub rank: I32F32,
    /// I, its share of the miners' half.
    pub incentive: I32F32,
    /// E, its bonds after this epoch, in the scale in which they are kept.
    pub bonds: Vec<(u16, I32F32)>,
    /// E with each column adding up to one: its share of each miner's dividends.
    pub bond_shares: Vec<(u16, I32F32)>,
    /// Its share of the validators' half.
    pub dividends: I32F32,
    /// Whether it holds a permit from now on.
    pub permit: bool,
    /// Its bonds as they are kept; none where they are left as they were.
    pub kept_bonds: Option<Vec<(u16, u16)>>,
    /// Its pay as a miner, in the smallest unit.
    pub server_emission: u64,
    /// Its pay as a validator, in the smallest unit.
    pub validator_emission: u64,
    /// Both, as the chain rounds the sum.
    pub emission: u64,
}

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
