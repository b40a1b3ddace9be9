//! An epoch as a file states it.

use super::document::Node;
use super::report::VectorError;
use crate::arithmetic::fixed::StakeWeight;
use crate::rules::s425;
use crate::rules::yuma::{EpochInput, EpochRow};
use templar_chain::{BondsRule, LiquidAlpha, YumaRule};

/// No subnet is larger.
const MAX_NEURONS: u64 = 4_096;

/// A sparse row: (uid, value).
type Row = Vec<(u16, u16)>;

/// Reads an epoch's inputs. What a case leaves out has the chain's default, except for stake, permits and weights.
pub(super) fn read(case: &Node<'_>, default_bonds: BondsRule) -> Result<EpochInput, VectorError> {
    let stakes = case.need("stake_rao")?;
    let count = match case.get("n") {
        Some(count) => count.whole(MAX_NEURONS)? as usize,
        None => stakes.list()?.len(),
    };
    if count as u64 > MAX_NEURONS {
        return Err(stakes.malformed("a list of 4096 at most"));
    }
    let block = number(case, "block", 0)?;
    let permits = booleans(&case.need("validator_permit")?, count)?;
    let last_updates = numbers_or(case, "last_update", count, block)?;
    let registrations = numbers_or(case, "block_at_registration", count, 0)?;
    let weights = matrix(&case.need("weights")?, count)?;
    let bonds = match case.get("bonds") {
        Some(bonds) => matrix(&bonds, count)?,
        None => vec![Row::new(); count],
    };
    let mut rows = Vec::with_capacity(count);
    for (uid, (stake, (weights, bonds))) in
        stakes.list_of(count)?.iter().zip(weights.into_iter().zip(bonds)).enumerate()
    {
        rows.push(EpochRow {
            stake: StakeWeight::from_int(stake.u64()?),
            permit: permits[uid],
            last_update: last_updates[uid],
            registered_at: registrations[uid],
            oldest_commit: None,
            weights,
            bonds,
        });
    }
    Ok(EpochInput {
        block,
        last_tempo: last_tempo(case, block)?,
        rule: rule(case, default_bonds)?,
        stake_threshold: number(case, "stake_threshold", 0)?,
        owner: case.get("owner_uid").map(|owner| owner.u16()).transpose()?,
        emission: number(case, "emission_rao", 0)?,
        rows,
    })
}

fn last_tempo(case: &Node<'_>, block: u64) -> Result<Option<u64>, VectorError> {
    if let Some(last_tempo) = case.get("last_tempo") {
        return last_tempo.u64().map(Some);
    }
    let tempo = case.get("tempo").map(|tempo| tempo.u64()).transpose()?;
    Ok(tempo.map(|tempo| block.saturating_sub(tempo)))
}

fn rule(case: &Node<'_>, default_bonds: BondsRule) -> Result<YumaRule, VectorError> {
    let bonds = match case.get("yuma3") {
        Some(yuma3) if yuma3.bool()? => BondsRule::Yuma3,
        Some(_) => BondsRule::Classic,
        None => default_bonds,
    };
    let is_liquid = case.get("liquid_alpha").map(|liquid| liquid.bool()).transpose()?.unwrap_or(false);
    let defaults = s425::LIQUID_ALPHA;
    let (low, high) = match case.get("alpha_low_high") {
        Some(pair) => {
            let (low, high) = pair.pair()?;
            (low.u16()?, high.u16()?)
        }
        None => (defaults.low, defaults.high),
    };
    let steepness = case.get("alpha_sigmoid_steepness").map(|steepness| steepness.i16()).transpose()?;
    let liquid = LiquidAlpha { low, high, steepness: steepness.unwrap_or(defaults.steepness) };
    Ok(YumaRule {
        activity_cutoff_blocks: number(case, "activity_cutoff", s425::ACTIVITY_CUTOFF_BLOCKS)?,
        kappa: short(case, "kappa", s425::KAPPA)?,
        bonds_moving_average: number(case, "bonds_moving_average", s425::BONDS_MOVING_AVERAGE)?,
        bonds_penalty: short(case, "bonds_penalty", s425::BONDS_PENALTY)?,
        bonds,
        liquid_alpha: is_liquid.then_some(liquid),
        max_validators: short(case, "max_validators", s425::MAX_VALIDATORS)?,
    })
}

fn number(case: &Node<'_>, key: &str, default: u64) -> Result<u64, VectorError> {
    case.get(key).map_or(Ok(default), |node| node.u64())
}

fn short(case: &Node<'_>, key: &str, default: u16) -> Result<u16, VectorError> {
    case.get(key).map_or(Ok(default), |node| node.u16())
}

fn numbers_or(case: &Node<'_>, key: &str, count: usize, default: u64) -> Result<Vec<u64>, VectorError> {
    match case.get(key) {
        Some(list) => list.list_of(count)?.iter().map(Node::u64).collect(),
        None => Ok(vec![default; count]),
    }
}

/// A list of `count` flags.
pub(super) fn booleans(list: &Node<'_>, count: usize) -> Result<Vec<bool>, VectorError> {
    list.list_of(count)?.iter().map(Node::bool).collect()
}

/// `count` sparse rows.
pub(super) fn matrix(rows: &Node<'_>, count: usize) -> Result<Vec<Row>, VectorError> {
    let entry = |entry: &Node<'_>| {
        let (uid, value) = entry.pair()?;
        let uid_number = uid.u16()?;
        if usize::from(uid_number) < count {
            return Ok((uid_number, value.u16()?));
        }
        Err(uid.malformed(&format!("an uid under {count}")))
    };
    rows.list_of(count)?.iter().map(|row| row.list()?.iter().map(entry).collect()).collect()
}
