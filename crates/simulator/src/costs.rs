//! What a window costs at any size: bytes from the code that makes them, times from stated speeds.
//!
//! Each constant says whether it was measured, and where. Nothing here is fitted to a wanted result.

use crate::{CostModel, WorkTimes};
use serde::Serialize;
use templar_base::{Genesis, Uid};
use templar_gradient::{Accumulation, Aggregate, GradientLayout, MergeRule, Metadata, Payload};
use templar_record::gradient_layout;
use templar_trainer::Sender;

/// Measured: kept values a second that one core compresses, selection included (docs/benchmarks.md, "Codings", the
/// largest row).
const COMPRESSED: u64 = 1_500_000;
/// Measured: kept values a second that one core decodes (the same row). Merging is taken to be as fast.
const DECODED: u64 = 127_000_000;
/// Assumed: parameters a second that one core takes through the outer step, the state root and the rebase.
const STEPPED: u64 = 60_000_000;
/// Wanted, not reached yet: sequences of judging in a window, each a forward pass, for any number of registered miners.
/// The present judging takes 4,672 for 24 miners.
pub(crate) const JUDGED_SEQUENCES: u64 = 1_300;
/// A forward pass is a third of a training step.
const FORWARDS_PER_STEP: u64 = 3;
/// Assumed of checkpoints: f32, since parameters are equal in bits.
const CHECKPOINT_BYTES_PER_PARAMETER: u64 = 4;
/// Chunks of the sample on which the size of an aggregate is measured.
const SAMPLE_CHUNKS: usize = 32;

/// Sizes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Parameters of the model.
    pub parameters: u64,
    /// Values that a payload keeps.
    pub kept: u64,
    /// Bytes of a payload.
    pub payload_bytes: u64,
    /// Bytes of an aggregate of as many payloads as are selected.
    pub aggregate_bytes: u64,
    /// Bytes of a checkpoint.
    pub checkpoint_bytes: u64,
}

/// What a node computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Machinery {
    /// Tokens a second that it trains.
    pub tokens_per_second: u64,
    /// Cores that compress, merge and apply.
    pub cores: u64,
}

impl Sizes {
    /// The sizes of a run with these rules.
    pub fn of(genesis: &Genesis) -> Result<Self, String> {
        let layout = gradient_layout(genesis).map_err(|error| error.to_string())?;
        let (parameters, kept) = (layout.parameters() as u64, layout.kept() as u64);
        Ok(Self {
            parameters,
            kept,
            payload_bytes: layout.expected_payload_bytes(),
            aggregate_bytes: aggregate_bytes(genesis, &layout, 1, genesis.judging.selected as u16)?,
            checkpoint_bytes: parameters * CHECKPOINT_BYTES_PER_PARAMETER,
        })
    }

    /// Bytes of a payload that keeps `times` as many values of each chunk, and of an aggregate of `payloads` of them.
    pub fn at(genesis: &Genesis, times: u16, payloads: u16) -> Result<(u64, u64), String> {
        let layout = gradient_layout(genesis).map_err(|error| error.to_string())?;
        let sample = sample(genesis, &layout, times)?;
        let payload =
            sample.expected_payload_bytes() as u128 * layout.parameters() as u128 / sample.parameters() as u128;
        Ok((payload as u64, aggregate_bytes(genesis, &layout, times, payloads)?))
    }

    /// The model of these sizes.
    pub fn model(&self) -> CostModel {
        CostModel {
            payload_bytes: u32::try_from(self.payload_bytes).unwrap_or(u32::MAX),
            aggregate_bytes: self.aggregate_bytes,
            checkpoint_bytes: self.checkpoint_bytes,
        }
    }

    /// How long the work takes on this machinery.
    pub fn times(&self, machinery: Machinery, sequence_length: u64) -> WorkTimes {
        let Machinery { tokens_per_second, cores } = machinery;
        let milliseconds = |work: u64, speed: u64| (work.saturating_mul(1_000) / speed.max(1)).max(1);
        let judged = JUDGED_SEQUENCES * sequence_length / FORWARDS_PER_STEP;
        WorkTimes {
            seal: milliseconds(self.kept, COMPRESSED * cores),
            judge: milliseconds(judged, tokens_per_second),
            // Decoding for the admission checks.
            judge_payload: milliseconds(self.kept, DECODED * cores),
            merge_payload: milliseconds(self.kept, DECODED * cores),
            apply: milliseconds(self.parameters, STEPPED * cores),
        }
    }
}

/// The size of an aggregate, from one that is made: payloads of independent values, which share no more positions than
/// chance gives them. Those of real training share more, so this is an upper bound.
fn aggregate_bytes(genesis: &Genesis, layout: &GradientLayout, times: u16, of: u16) -> Result<u64, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let sample = sample(genesis, layout, times)?;
    let values = sample.parameters();
    let rules = Accumulation::with_decay(1.0);
    let mut payloads: Vec<Payload> = Vec::new();
    for uid in 0..of {
        let mut random = templar_base::random::Stream::new([3; 32], "aggregate sample", u64::from(uid));
        let drift: Vec<f32> = (0..values).map(|_| (0..4).map(|_| random.unit_f32() - 0.5).sum()).collect();
        let metadata = Metadata { uid: Uid(uid), ..Metadata::default() };
        payloads.push(Sender::once(&sample, rules, &drift, metadata).map_err(|error| words(&error))?);
    }
    let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
    let aggregate = Aggregate::merge(&sample, &set, MergeRule::default()).map_err(|error| words(&error))?;
    let bytes = aggregate.bytes().len() as u128 * layout.parameters() as u128 / values as u128;
    Ok(bytes as u64)
}

/// A layout of some chunks, each of which keeps `times` as many values as a chunk of `layout` does on the mean.
fn sample(genesis: &Genesis, layout: &GradientLayout, times: u16) -> Result<GradientLayout, String> {
    let kept = layout.kept() as u64 * u64::from(times) * 4_096;
    let kept_per_chunk = kept.div_ceil(layout.parameters().max(1) as u64).clamp(1, 4_096);
    GradientLayout::new([("sample".to_owned(), SAMPLE_CHUNKS * 4_096, kept_per_chunk as u16)])
        .and_then(|sample| sample.with_values(genesis.outer.values))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::CorpusHashes;
    use templar_engine::preset;

    #[test]
    fn a_payload_has_nine_bits_a_kept_value_and_an_aggregate_is_smaller_than_its_payloads() {
        let genesis = Genesis::new(preset("1b", 32_768).unwrap(), CorpusHashes::default());
        let sizes = Sizes::of(&genesis).unwrap();
        let bits = sizes.payload_bytes as f64 * 8.0 / sizes.kept as f64;
        assert!((8.0..9.5).contains(&bits), "{bits}");
        let of_payloads = sizes.aggregate_bytes as f64 / sizes.payload_bytes as f64;
        assert!((1.0..15.0).contains(&of_payloads), "{of_payloads}");
    }
}
