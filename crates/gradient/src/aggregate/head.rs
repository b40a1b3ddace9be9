//! The head of an aggregate's bytes: whose payloads, of which window, merged how.

use super::AggregateError;
use crate::frame::Reader;
use crate::layout::GradientLayout;
use crate::merge::MAX_TOTAL_WEIGHT;
use crate::merged::{Contributor, MergeHead};
use crate::rule::MergeRule;
use templar_base::{ContentHash, MergeMethod, RunId, ScaleRule, StateHash, StepShare, Uid, Window};

const RULE_BYTES: usize = 1 + 2 + 2 + 1 + 4 + 4 + 4 + 1;
const CONTRIBUTOR_BYTES: usize = 2 + 2 + 32;

/// Length of a head of this many contributors in bytes.
pub(super) fn head_bytes(contributors: usize) -> usize {
    32 + 8 + 32 + RULE_BYTES + 2 + contributors * CONTRIBUTOR_BYTES + 8 + 8
}

/// Appends the head to the mark of the format.
pub(super) fn write(out: &mut Vec<u8>, head: &MergeHead) {
    out.extend_from_slice(head.run.as_bytes());
    out.extend_from_slice(&head.window.0.to_le_bytes());
    out.extend_from_slice(head.start_state.as_bytes());
    write_rule(out, head.rule, head.floor);
    out.extend_from_slice(&(head.contributors.len() as u16).to_le_bytes());
    for contributor in &head.contributors {
        out.extend_from_slice(&contributor.uid.0.to_le_bytes());
        // The merge bounds the sum of weights by MAX_TOTAL_WEIGHT, so each fits.
        out.extend_from_slice(&(contributor.weight as u16).to_le_bytes());
        out.extend_from_slice(contributor.payload_root.as_bytes());
    }
    out.extend_from_slice(&(head.layout.parameters() as u64).to_le_bytes());
    out.extend_from_slice(&(head.layout.chunk_count() as u64).to_le_bytes());
}

/// Reads a head up to the contributors.
pub(super) fn read(reader: &mut Reader<'_>, layout: &GradientLayout) -> Result<MergeHead, AggregateError> {
    let run = RunId::new(reader.array()?);
    let window = Window(reader.u64()?);
    let start_state = StateHash::new(reader.array()?);
    let (rule, floor) = read_rule(reader)?;
    let contributors = read_contributors(reader)?;
    Ok(MergeHead { layout: layout.clone(), run, window, start_state, rule, floor, contributors })
}

/// Reads the end of a head: the model that it is for.
pub(super) fn read_model(reader: &mut Reader<'_>, layout: &GradientLayout) -> Result<(), AggregateError> {
    let (parameters, chunks) = (reader.u64()?, reader.u64()?);
    if parameters == layout.parameters() as u64 && chunks == layout.chunk_count() as u64 {
        Ok(())
    } else {
        Err(AggregateError::WrongModel { parameters, chunks })
    }
}

fn write_rule(out: &mut Vec<u8>, rule: MergeRule, floor: u32) {
    let (method, first, second) = match rule.method {
        MergeMethod::MeanOfSenders => (0, 0, 0),
        MergeMethod::MeanOfAll => (1, 0, 0),
        MergeMethod::CentredClipping { radius_percent, iterations } => (2, radius_percent, iterations),
        MergeMethod::TrimmedMean { trimmed } => (3, trimmed, 0),
        MergeMethod::Krum { faulty, chosen } => (4, faulty, chosen),
        MergeMethod::SignVote => (5, 0, 0),
    };
    out.push(method);
    for parameter in [first, second] {
        out.extend_from_slice(&parameter.to_le_bytes());
    }
    let (scales, times) = match rule.scales {
        ScaleRule::Own => (0, 0),
        ScaleRule::Clipped { times } => (1, times),
        ScaleRule::Equal => (2, 0),
    };
    out.push(scales);
    for value in [times, rule.kappa_threshold, floor] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.push(rule.step.code());
}

fn read_rule(reader: &mut Reader<'_>) -> Result<(MergeRule, u32), AggregateError> {
    let (number, first, second) = (reader.u8()?, reader.u16()?, reader.u16()?);
    let (scales, times) = (reader.u8()?, reader.u32()?);
    let (kappa_threshold, floor) = (reader.u32()?, reader.u32()?);
    let step = reader.u8()?;
    let method = match (number, first, second) {
        (0, 0, 0) => Some(MergeMethod::MeanOfSenders),
        (1, 0, 0) => Some(MergeMethod::MeanOfAll),
        (2, radius_percent, iterations) => Some(MergeMethod::CentredClipping { radius_percent, iterations }),
        (3, trimmed, 0) => Some(MergeMethod::TrimmedMean { trimmed }),
        (4, faulty, chosen) => Some(MergeMethod::Krum { faulty, chosen }),
        (5, 0, 0) => Some(MergeMethod::SignVote),
        _ => None,
    };
    let is_divisor = (1..=MAX_TOTAL_WEIGHT).contains(&floor);
    let method = method.filter(|_| is_divisor).ok_or(AggregateError::Rule { method: number, floor })?;
    let scales = match (scales, times) {
        (0, 0) => Some(ScaleRule::Own),
        (1, 1..) => Some(ScaleRule::Clipped { times }),
        (2, 0) => Some(ScaleRule::Equal),
        _ => None,
    };
    let step = StepShare::from_code(step);
    let (Some(scales), Some(step)) = (scales, step) else { return Err(AggregateError::Scales) };
    Ok((MergeRule { method, kappa_threshold, scales, step }, floor))
}

fn read_contributors(reader: &mut Reader<'_>) -> Result<Vec<Contributor>, AggregateError> {
    let count = reader.u16()?;
    let mut rows = Reader::new(reader.take(usize::from(count) * CONTRIBUTOR_BYTES)?);
    let mut contributors: Vec<Contributor> = Vec::with_capacity(usize::from(count));
    let mut total_weight = 0;
    for _ in 0..count {
        let uid = Uid(rows.u16()?);
        let weight = u32::from(rows.u16()?);
        let payload_root = ContentHash::new(rows.array()?);
        total_weight += weight;
        if weight == 0 || contributors.last().is_some_and(|before| before.uid >= uid) {
            return Err(AggregateError::Contributors { count });
        }
        contributors.push(Contributor { uid, weight, payload_root });
    }
    if count == 0 || total_weight > MAX_TOTAL_WEIGHT {
        return Err(AggregateError::Contributors { count });
    }
    Ok(contributors)
}
