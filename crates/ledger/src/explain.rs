//! Why a slot was paid what it was paid: every term of Yuma and of the payout, recomputed from what the epoch was told.

use crate::fixed::I32F32;
use crate::payout::{PaidEpoch, Payout};
use crate::rule_set::RuleSet;
use crate::yuma::{EpochTerms, YumaRule};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, Uid};

/// An epoch and one slot's part in it. Shares are decimal numbers from 0 to 1, cut after nine decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The block that ended the epoch.
    pub block: BlockNumber,
    /// The slot.
    pub uid: Uid,
    /// The rules of the epoch.
    pub rule: YumaRule,
    /// What was shared out among all slots.
    pub emission: Alpha,
    /// The owner's part, taken before.
    pub owner_cut: Alpha,
    /// What the epoch was told about the slot.
    pub input: SlotInput,
    /// What it found for the slot.
    pub terms: SlotTerms,
    /// What each validator gave the slot: R is the sum of the products.
    pub as_miner: Vec<MinerTerm>,
    /// What the slot holds of each miner: D before normalisation is the sum of the products, in Yuma 3 times A.
    pub as_validator: Vec<ValidatorTerm>,
    /// What was paid.
    pub payout: Payout,
    /// Amounts that were recomputed, beside those that were paid.
    pub checks: Vec<Check>,
}

/// What an epoch was told about a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInput {
    /// What its stake counts for.
    pub stake: Alpha,
    /// Whether it held a permit.
    pub permit: bool,
    /// Block of its last weights.
    pub last_update: BlockNumber,
    /// Block of its registration.
    pub registered_at: BlockNumber,
    /// Its weights, in 1/65535 of its largest.
    pub weights: Vec<(u16, u16)>,
    /// Its bonds before the epoch, in 1/65535.
    pub bonds: Vec<(u16, u16)>,
}

/// What an epoch found for a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTerms {
    /// Whether it set weights lately.
    pub active: bool,
    /// S.
    pub stake_share: String,
    /// A.
    pub active_stake: String,
    /// C.
    pub consensus: String,
    /// T.
    pub validator_trust: String,
    /// R.
    pub rank: String,
    /// I.
    pub incentive: String,
    /// D, normalised.
    pub dividends: String,
    /// Whether it holds a permit from then on.
    pub permit: bool,
}

/// What one validator gave a miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinerTerm {
    /// The validator.
    pub validator: Uid,
    /// A of the validator.
    pub active_stake: String,
    /// W, what it said.
    pub weight: String,
    /// W̄, what the consensus left of it.
    pub clipped: String,
    /// A · W̄.
    pub product: String,
}

/// What a validator gets by one miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorTerm {
    /// The miner.
    pub miner: Uid,
    /// The validator's share of all bonds to it.
    pub bond_share: String,
    /// I of the miner.
    pub incentive: String,
    /// The product of the two.
    pub product: String,
}

/// An amount, recomputed and as paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub what: String,
    /// By the terms above.
    pub recomputed: Alpha,
    /// By the ledger's record.
    pub paid: Alpha,
}

impl Explanation {
    /// Whether every recomputed amount is what was paid, to the rao.
    pub fn agrees(&self) -> bool {
        self.checks.iter().all(|check| check.recomputed == check.paid)
    }
}

/// Explains `uid`'s part of a paid epoch; none where there is no such slot.
pub fn explain(rules: &dyn RuleSet, epoch: &PaidEpoch, uid: Uid) -> Option<Explanation> {
    let terms = rules.epoch(&epoch.input);
    let place = usize::from(uid.0);
    let (row, own, payout) = (epoch.input.rows.get(place)?, terms.get(place)?, epoch.payouts.get(place)?);
    Some(Explanation {
        block: epoch.block,
        uid,
        rule: epoch.input.rule.clone(),
        emission: Alpha(epoch.input.emission),
        owner_cut: epoch.owner_cut,
        input: SlotInput {
            stake: Alpha(row.stake.to_int()),
            permit: row.permit,
            last_update: BlockNumber(row.last_update),
            registered_at: BlockNumber(row.registered_at),
            weights: row.weights.clone(),
            bonds: row.bonds.clone(),
        },
        terms: slot_terms(own),
        as_miner: miner_terms(&terms, uid),
        as_validator: validator_terms(&terms, own),
        payout: payout.clone(),
        checks: checks(epoch, &terms, place),
    })
}

fn slot_terms(own: &EpochTerms) -> SlotTerms {
    SlotTerms {
        active: own.active,
        stake_share: own.stake.to_decimal(),
        active_stake: own.active_stake.to_decimal(),
        consensus: own.consensus.to_decimal(),
        validator_trust: own.validator_trust.to_decimal(),
        rank: own.rank.to_decimal(),
        incentive: own.incentive.to_decimal(),
        dividends: own.dividends.to_decimal(),
        permit: own.permit,
    }
}

fn miner_terms(terms: &[EpochTerms], uid: Uid) -> Vec<MinerTerm> {
    let value_for = |row: &[(u16, I32F32)]| row.iter().find(|(target, _)| *target == uid.0).map(|(_, value)| *value);
    let term = |(validator, judge): (usize, &EpochTerms)| {
        let weight = value_for(&judge.weights)?;
        let clipped = value_for(&judge.clipped_weights).unwrap_or_default();
        Some(MinerTerm {
            validator: Uid(validator as u16),
            active_stake: judge.active_stake.to_decimal(),
            weight: weight.to_decimal(),
            clipped: clipped.to_decimal(),
            product: judge.active_stake.saturating_mul(clipped).to_decimal(),
        })
    };
    terms.iter().enumerate().filter_map(term).collect()
}

fn validator_terms(terms: &[EpochTerms], own: &EpochTerms) -> Vec<ValidatorTerm> {
    let term = |(miner, share): &(u16, I32F32)| {
        let incentive = terms.get(usize::from(*miner)).map(|miner| miner.incentive).unwrap_or_default();
        ValidatorTerm {
            miner: Uid(*miner),
            bond_share: share.to_decimal(),
            incentive: incentive.to_decimal(),
            product: share.saturating_mul(incentive).to_decimal(),
        }
    };
    own.bond_shares.iter().map(term).collect()
}

/// The slot's two amounts, the sums of its parts, and the sums over all slots.
fn checks(epoch: &PaidEpoch, terms: &[EpochTerms], place: usize) -> Vec<Check> {
    let payout = &epoch.payouts[place];
    let check = |what: &str, recomputed: u64, paid: u64| Check {
        what: what.to_owned(),
        recomputed: Alpha(recomputed),
        paid: Alpha(paid),
    };
    let parts = [payout.take, payout.to_alpha_stakers, payout.to_root_stakers];
    let paid = |amount: fn(&Payout) -> Alpha| epoch.payouts.iter().map(|payout| amount(payout).0).sum();
    vec![
        check("incentive", terms[place].server_emission, payout.incentive.0),
        check("dividends", terms[place].validator_emission, payout.dividends.0),
        check("dividends, by parts", parts.iter().map(|part| part.0).sum(), payout.dividends.0),
        check("all incentives", terms.iter().map(|terms| terms.server_emission).sum(), paid(|payout| payout.incentive)),
        check(
            "all dividends",
            terms.iter().map(|terms| terms.validator_emission).sum(),
            paid(|payout| payout.dividends),
        ),
    ]
}
