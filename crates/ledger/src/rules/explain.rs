//! Why a slot was paid what it was paid: every term of Yuma and of the payout, recomputed from what the epoch knew.

use crate::arithmetic::fixed::I32F32;
use crate::rules::payout::PaidEpoch;
use crate::rules::yuma::EpochTerms;
use crate::state::RuleSet;
use templar_base::{Alpha, BlockNumber, Uid};
use templar_chain::{Check, Explanation, MinerTerm, Payout, SlotInput, SlotTerms, ValidatorTerm};

/// Explains `uid`'s part of a paid epoch; none where there is no such slot.
pub fn explain(rules: RuleSet, epoch: &PaidEpoch, uid: Uid) -> Option<Explanation> {
    let terms = rules.epoch(&epoch.input);
    let place = usize::from(uid.0);
    let (row, own, payout) = (epoch.input.rows.get(place)?, terms.get(place)?, epoch.payouts.get(place)?);
    Some(Explanation {
        block: epoch.block,
        uid,
        rule: epoch.input.rule.clone(),
        emission: Alpha::from_rao(epoch.input.emission),
        owner_cut: epoch.owner_cut,
        input: SlotInput {
            stake: Alpha::from_rao(row.stake.to_int()),
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
    let check = |what: &str, recomputed: Alpha, paid: Alpha| Check { what: what.to_owned(), recomputed, paid };
    let parts = [payout.take, payout.to_alpha_stakers, payout.to_root_stakers];
    let paid = |amount: fn(&Payout) -> Alpha| Alpha::saturating_sum(epoch.payouts.iter().map(amount));
    let server = |terms: &EpochTerms| Alpha::from_rao(terms.server_emission);
    let validator = |terms: &EpochTerms| Alpha::from_rao(terms.validator_emission);
    vec![
        check("incentive", server(&terms[place]), payout.incentive),
        check("dividends", validator(&terms[place]), payout.dividends),
        check("dividends, by parts", Alpha::saturating_sum(parts), payout.dividends),
        check("all incentives", Alpha::saturating_sum(terms.iter().map(server)), paid(|payout| payout.incentive)),
        check("all dividends", Alpha::saturating_sum(terms.iter().map(validator)), paid(|payout| payout.dividends)),
    ]
}
