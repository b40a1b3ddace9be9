//! Error feedback: what a miner wanted to send and did not waits for the next window.
//!
//! ```text
//! a = β·e + Δ          accumulate
//! ĝ = SignTopK(a)      compress: per chunk the k largest |a|, each as sign × the chunk's scale
//! e ← a − ĝ
//! ```

use crate::bytes::copy_little_endian;
use crate::layout::{GradientLayout, Mode, SEGMENT_CHUNKS};
use crate::magnitude::{self, TwoScales};
use crate::merkle::MerkleTree;
use crate::metadata::{Metadata, MetadataError};
use crate::payload::Payload;
use crate::rounding;
use crate::scale::Scale;
use crate::segment::{ChunkContents, MAX_EXPONENT_SPREAD, MINUS};
use crate::select::select_largest;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::ContentHash;

/// Values handled at once by a thread.
const BLOCK_VALUES: usize = 1 << 14;

/// The error feedback of one miner.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorFeedback {
    /// One value for each parameter: `e` between windows, `a` between `accumulate` and `compress`.
    pub residual: Vec<f32>,
}

/// Why nothing was accumulated or sent; the residual is as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FeedbackError {
    /// NaN or infinity: the training diverged, and nothing may be sent of it.
    #[error(
        "parameter {index}: the accumulated value is {value}; training diverged, restart from the last agreed state"
    )]
    NotFinite {
        /// The first parameter at fault.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A buffer that does not fit.
    #[error("a buffer of {actual} values where the model has {expected}; the caller is at fault")]
    Length {
        /// Values given.
        actual: usize,
        /// Values expected.
        expected: usize,
    },
    /// Bytes that are not whole values.
    #[error("{bytes} bytes of saved error feedback where the model needs {expected}; start it from zero")]
    SavedLength {
        /// Bytes given.
        bytes: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The metadata cannot be coded.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl ErrorFeedback {
    /// An empty feedback: nothing waits.
    pub fn new(layout: &GradientLayout) -> Self {
        Self { residual: vec![0.0; layout.parameters()] }
    }

    /// Adds a window's drift: `a = β·e + Δ`, each value one multiplication and one addition, never fused.
    /// On an error the residual is unchanged.
    pub fn accumulate(&mut self, drift: &[f32], beta: f32) -> Result<(), FeedbackError> {
        if drift.len() != self.residual.len() {
            return Err(FeedbackError::Length { actual: drift.len(), expected: self.residual.len() });
        }
        let sum = |e: f32, delta: f32| beta * e + delta;
        let residual = &self.residual;
        let faulty = first_faulty(drift.len(), |block| {
            let sums = residual[block.clone()].iter().zip(&drift[block]).map(|(e, delta)| sum(*e, *delta));
            first_not_finite(sums)
        });
        if let Some(index) = faulty {
            return Err(FeedbackError::NotFinite { index, value: sum(self.residual[index], drift[index]) });
        }
        self.residual.par_chunks_mut(BLOCK_VALUES).zip(drift.par_chunks(BLOCK_VALUES)).for_each(|(residual, drift)| {
            residual.iter_mut().zip(drift).for_each(|(e, delta)| *e = sum(*e, *delta));
        });
        Ok(())
    }

    /// Selects and codes what is sent of the accumulated values, and takes it out of them.
    ///
    /// Of each chunk the largest magnitudes, ties by the lower index, zeros never; the scale is the one nearest to
    /// their mean. A tensor gets [`Mode::Magnitude`] where the second scale takes more off the error than the same bits
    /// of further values would; in a layout of rounded values each is sent by its own size. A chunk whose mean is under
    /// the smallest scale, or more than 2^30 times under the tensor's largest, sends nothing and waits.
    /// `metadata.error_feedback_root` is set here, to the root of what remains. On an error the residual is unchanged.
    pub fn compress(&mut self, layout: &GradientLayout, metadata: Metadata) -> Result<Payload, FeedbackError> {
        metadata.check()?;
        if self.residual.len() != layout.parameters() {
            return Err(FeedbackError::Length { actual: self.residual.len(), expected: layout.parameters() });
        }
        let residual = &self.residual;
        let faulty = first_faulty(residual.len(), |block| first_not_finite(residual[block].iter().copied()));
        if let Some(index) = faulty {
            return Err(FeedbackError::NotFinite { index, value: self.residual[index] });
        }
        let selected: Vec<_> =
            (0..layout.segment_count()).into_par_iter().map(|segment| self.select_segment(layout, segment)).collect();
        let (mut parts, two): (Vec<ChunkContents>, Vec<Vec<TwoScales>>) = selected.into_iter().unzip();
        let two = two.concat();
        let modes = match layout.rounded_bits() {
            Some(_) => vec![Mode::Rounded; layout.tensors().len()],
            None => {
                let modes = magnitude::choose_modes(layout, &two);
                self.apply_modes(layout, &modes, &two, &mut parts);
                modes
            }
        };
        drop_faint_chunks(layout, &mut parts);
        let payload = Payload::join(layout, metadata, modes, parts);
        payload.for_each_value(|index, value| self.residual[index] -= value);
        Ok(payload.sealed(self.root(layout)))
    }

    /// Puts back what `payload` had taken out: `e ← e + ĝ`, after a window that was not applied.
    pub fn restore(&mut self, payload: &Payload) -> Result<(), FeedbackError> {
        let expected = payload.layout().parameters();
        if self.residual.len() != expected {
            return Err(FeedbackError::Length { actual: self.residual.len(), expected });
        }
        payload.for_each_value(|index, value| self.residual[index] += value);
        Ok(())
    }

    /// The Merkle root over the residual's chunks.
    pub fn root(&self, layout: &GradientLayout) -> ContentHash {
        self.tree(layout).root()
    }

    /// The Merkle tree over the residual's chunks, for proofs.
    pub fn tree(&self, layout: &GradientLayout) -> MerkleTree {
        MerkleTree::over_chunks(&self.residual, layout)
    }

    /// The residual as little-endian f32.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4 * self.residual.len()];
        copy_little_endian(&self.residual, &mut bytes);
        bytes
    }

    /// A residual saved by [`ErrorFeedback::to_bytes`] for the same layout.
    pub fn from_bytes(bytes: &[u8], layout: &GradientLayout) -> Result<Self, FeedbackError> {
        let expected = 4 * layout.parameters();
        if bytes.len() != expected {
            return Err(FeedbackError::SavedLength { bytes: bytes.len(), expected });
        }
        let values = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        let feedback = Self { residual: values.collect() };
        match feedback.residual.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(FeedbackError::NotFinite { index, value: feedback.residual[index] }),
            None => Ok(feedback),
        }
    }

    /// What is sent of a segment, each value by its sign, and what a second scale would be worth in each chunk.
    fn select_segment(&self, layout: &GradientLayout, segment: usize) -> (ChunkContents, Vec<TwoScales>) {
        let mut contents = ChunkContents::default();
        let mut two = Vec::new();
        let (mut scratch, mut kept) = (Vec::new(), Vec::new());
        for chunk in &layout.chunks()[layout.segment_chunks(segment)] {
            let values = &self.residual[chunk.range()];
            select_largest(values, usize::from(chunk.kept), &mut scratch, &mut kept);
            if let Some(bits) = layout.rounded_bits() {
                round_chunk(values, &mut kept, bits, &mut contents);
                continue;
            }
            let magnitudes = kept.iter().map(|index| values[usize::from(*index)].abs());
            let sum: f64 = magnitudes.clone().map(f64::from).sum();
            let mean = if kept.is_empty() { 0.0 } else { sum / kept.len() as f64 };
            let scale = Scale::nearest(mean);
            if scale.is_empty() {
                two.push(TwoScales::default());
                kept.clear();
            } else {
                let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
                two.push(TwoScales::of(magnitudes, mean, rice_bits));
            }
            contents.scales.push(scale);
            contents.steps.push(0);
            contents.counts.push(kept.len() as u16);
            let signed = |index: &u16| if values[usize::from(*index)] < 0.0 { index | MINUS } else { *index };
            contents.kept.extend(kept.iter().map(signed));
        }
        (contents, two)
    }

    fn apply_modes(&self, layout: &GradientLayout, modes: &[Mode], two: &[TwoScales], parts: &mut [ChunkContents]) {
        parts.par_iter_mut().enumerate().for_each(|(segment, part)| {
            let mut first = 0;
            for (position, chunk_index) in layout.segment_chunks(segment).enumerate() {
                let chunk = &layout.chunks()[chunk_index];
                if modes[chunk.tensor as usize] == Mode::Magnitude && part.counts[position] > 0 {
                    let values = &self.residual[chunk.range()];
                    magnitude::apply(part, position, first, &two[chunk_index], values);
                }
                first += usize::from(part.counts[position]);
            }
        });
    }
}

/// Rounds a chunk's selected values; those that come to nothing are left out.
fn round_chunk(values: &[f32], kept: &mut Vec<u16>, bits: u8, contents: &mut ChunkContents) {
    let magnitude = |index: &u16| values[usize::from(*index)].abs();
    let step = rounding::step_for(kept.iter().map(magnitude).fold(0.0, f32::max), bits);
    kept.retain(|index| !step.is_empty() && rounding::size_of(magnitude(index), step, bits) > 0);
    contents.scales.push(step);
    contents.steps.push(0);
    contents.counts.push(kept.len() as u16);
    contents.sizes.extend(kept.iter().map(|index| rounding::size_of(magnitude(index), step, bits)));
    let signed = |index: &u16| if values[usize::from(*index)] < 0.0 { index | MINUS } else { *index };
    contents.kept.extend(kept.iter().map(signed));
}

/// The first faulty index that `check` finds in any block of `0..len`; `check` answers with an offset in its block.
fn first_faulty(len: usize, check: impl Fn(Range<usize>) -> Option<usize> + Sync) -> Option<usize> {
    (0..len.div_ceil(BLOCK_VALUES)).into_par_iter().find_map_first(|block| {
        let start = block * BLOCK_VALUES;
        check(start..(start + BLOCK_VALUES).min(len)).map(|offset| start + offset)
    })
}

/// The place of the first NaN or infinity. A whole pass without a branch comes first: it runs several times as fast
/// as a search, and hardly ever is there anything to find.
fn first_not_finite(values: impl Iterator<Item = f32> + Clone) -> Option<usize> {
    if values.clone().fold(true, |clean, value| clean & value.is_finite()) {
        return None;
    }
    let mut values = values;
    values.position(|value| !value.is_finite())
}

/// Empties the chunks whose scale does not fit the tensor's exponent range.
fn drop_faint_chunks(layout: &GradientLayout, parts: &mut [ChunkContents]) {
    let mut largest = vec![0u8; layout.tensors().len()];
    let tensor_of =
        |segment: usize, position: usize| layout.chunks()[segment * SEGMENT_CHUNKS + position].tensor as usize;
    for (segment, part) in parts.iter().enumerate() {
        for (position, scale) in part.scales.iter().enumerate() {
            let entry = &mut largest[tensor_of(segment, position)];
            *entry = scale.exponent().max(*entry);
        }
    }
    for (segment, part) in parts.iter_mut().enumerate() {
        let too_faint = |(position, scale): (usize, &Scale)| {
            let limit = largest[tensor_of(segment, position)].saturating_sub(MAX_EXPONENT_SPREAD);
            !scale.is_empty() && scale.exponent() < limit
        };
        let faint: Vec<bool> = part.scales.iter().enumerate().map(too_faint).collect();
        if !faint.contains(&true) {
            continue;
        }
        let (mut kept, mut sizes) = (Vec::with_capacity(part.kept.len()), Vec::with_capacity(part.sizes.len()));
        let mut start = 0;
        for (position, is_faint) in faint.into_iter().enumerate() {
            let end = start + usize::from(part.counts[position]);
            if is_faint {
                part.scales[position] = Scale::EMPTY;
                part.steps[position] = 0;
                part.counts[position] = 0;
            } else {
                kept.extend_from_slice(&part.kept[start..end]);
                sizes.extend_from_slice(part.sizes.get(start..end).unwrap_or(&[]));
            }
            start = end;
        }
        (part.kept, part.sizes) = (kept, sizes);
    }
}
