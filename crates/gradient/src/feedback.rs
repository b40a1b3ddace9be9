//! Error feedback: what a miner wanted to send and did not waits for the next window.
//!
//! ```text
//! a = β·e + Δ          accumulate
//! ĝ = SignTopK(a)      compress: per chunk the k largest |a|, each as sign × the chunk's scale
//! e ← a − ĝ
//! ```
//! A miner takes the streamed way: [`ErrorFeedback::prepare`] makes the payload and leaves the feedback as it is, and
//! [`ErrorFeedback::commit`] takes out what was sent once the payload is safe. Both read the drift segment by segment, so
//! that beside the feedback there is one segment in memory. [`ErrorFeedback::accumulate`] and
//! [`ErrorFeedback::compress`] do the same with a whole drift in memory, to the same bytes.
//!
//! What remains of a window may be held in two bytes a parameter ([`FeedbackValues::Bf16`]): each `a − ĝ` is rounded to
//! the nearest bfloat16, ties to the even one, and it is these values that the root is over and that the next window
//! begins with. Nothing else is rounded.

mod compress;
mod error;
mod held;
mod select;
mod source;
mod two_scales;

pub use error::FeedbackError;
pub use source::Accumulation;

use crate::layout::GradientLayout;
use crate::length::same_length;
use crate::merkle::{self, MerkleTree};
use crate::metadata::Metadata;
use crate::payload::Payload;
use crate::scale::UNIT;
use held::Held;
use rayon::prelude::*;
#[cfg(any(test, feature = "exchange"))]
pub(crate) use select::{Scratch, select_largest};
use source::{Accumulated, InPlace};
use std::ops::Range;
use templar_base::{ContentHash, FeedbackValues};

/// Values handled at once by a thread.
const BLOCK_VALUES: usize = 1 << 14;

/// The error feedback of one miner.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorFeedback {
    /// One value for each parameter: `e` between windows, `a` between `accumulate` and `compress`.
    held: Held,
}

impl ErrorFeedback {
    /// An empty feedback: nothing waits. Its values are held as f32.
    pub fn new(layout: &GradientLayout) -> Self {
        Self::empty(layout, FeedbackValues::F32)
    }

    /// An empty feedback whose values are held in this way.
    pub fn empty(layout: &GradientLayout, held_as: FeedbackValues) -> Self {
        Self { held: Held::zeros(layout.parameters(), held_as) }
    }

    /// What waits, one value for each parameter; rounded if values are held so.
    pub fn of_values(values: Vec<f32>, held_as: FeedbackValues) -> Self {
        Self { held: Held::of(values, held_as) }
    }

    /// The same, held in another way.
    pub fn held_as(self, held_as: FeedbackValues) -> Self {
        if self.held.values() == held_as { self } else { Self::of_values(self.into_values(), held_as) }
    }

    /// Values, one for each parameter.
    #[expect(clippy::len_without_is_empty, reason = "no model is without parameters")]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// A copy of all values.
    pub fn values(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.held.read(0..self.len(), &mut values);
        values
    }

    /// All values.
    pub fn into_values(self) -> Vec<f32> {
        match self.held {
            Held::Singles(values) => values,
            Held::Halves(_) => self.values(),
        }
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        self.held = Held::zeros(self.len(), self.held.values());
    }

    /// All values in place, as f32.
    fn singles(&mut self) -> &mut Vec<f32> {
        if let Held::Halves(_) = &self.held {
            self.held = Held::Singles(self.values());
        }
        match &mut self.held {
            Held::Singles(values) => values,
            Held::Halves(_) => unreachable!("they were replaced"),
        }
    }

    /// Adds a window's drift: `a = β·e + Δ`, each value one multiplication and one addition, never fused; values are
    /// held as f32 from here on. On an error no value is changed.
    pub fn accumulate(&mut self, drift: &[f32], beta: f32) -> Result<(), FeedbackError> {
        same_length(drift.len(), self.len())?;
        let residual = self.singles();
        let faulty = first_faulty(drift.len(), |block| {
            let sums = residual[block.clone()].iter().zip(&drift[block]).map(|(e, delta)| sum(beta, *e, *delta));
            first_not_finite(sums)
        });
        if let Some(index) = faulty {
            let value = sum(beta, residual[index], drift[index]);
            return Err(FeedbackError::NotFinite { index, value });
        }
        residual.par_chunks_mut(BLOCK_VALUES).zip(drift.par_chunks(BLOCK_VALUES)).for_each(|(residual, drift)| {
            residual.iter_mut().zip(drift).for_each(|(e, delta)| *e = sum(beta, *e, *delta));
        });
        Ok(())
    }

    /// Selects and codes what is sent of the accumulated values, and takes it out of them.
    ///
    /// Of each chunk the largest magnitudes, ties by the lower index, zeros never; the scale is the one nearest to
    /// their mean. A tensor gets [`crate::Mode::Magnitude`] where the second scale takes more off the error than the same
    /// bits of further values would; in a layout of rounded values each is sent by its own size. A chunk whose mean is
    /// under the smallest scale, or more than 2^30 times under the tensor's largest, sends nothing and waits.
    /// `metadata.error_feedback_root` is set here, to the root of what remains, which is not rounded. On an error no
    /// value is changed.
    pub fn compress(&mut self, layout: &GradientLayout, metadata: Metadata) -> Result<Payload, FeedbackError> {
        same_length(self.len(), layout.parameters())?;
        let mut source = InPlace { layout, residual: self.singles() };
        compress::compress(layout, metadata, FeedbackValues::F32, &mut source)
    }

    /// The payload that accumulating a window's drift and compressing gives, without changing what waits. Its metadata
    /// name the root of what will remain, rounded if the rules have it so.
    ///
    /// `drift` writes the drift of a range of the parameters to a buffer of the range's length. It is asked for each
    /// segment of the layout twice, in ascending order, and has to give the same values each time. An error of it is
    /// passed on.
    pub fn prepare<E: From<FeedbackError>>(
        &self,
        layout: &GradientLayout,
        rules: Accumulation,
        metadata: Metadata,
        drift: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<Payload, E> {
        same_length(self.len(), layout.parameters()).map_err(FeedbackError::from)?;
        compress::compress(layout, metadata, rules.held_as, &mut Accumulated::new(layout, rules, &self.held, drift))
    }

    /// Accumulates the drift that a payload was [prepared](Self::prepare) from and takes out what it sends; the residual
    /// is then the one that the payload's metadata names. `drift` is asked for each segment once.
    ///
    /// Where `drift` fails, the segments before are done and those after are not: the feedback has to be reloaded.
    pub fn commit<E: From<FeedbackError>>(
        &mut self,
        payload: &Payload,
        rules: Accumulation,
        mut drift: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let layout = payload.layout();
        let mut buffer = vec![0f32; layout.longest_segment()];
        for segment in 0..layout.segment_count() {
            let range = layout.segment_range(segment);
            let after = &mut buffer[..range.len()];
            self.remaining(payload, rules, segment, after, &mut drift)?;
            self.held.write(range.start, after);
        }
        Ok(())
    }

    /// What [`Self::commit`] leaves of a segment, without changing what waits. `out` has the segment's length, and
    /// `drift` is asked for the segment once.
    pub fn remaining<E: From<FeedbackError>>(
        &self,
        payload: &Payload,
        rules: Accumulation,
        segment: usize,
        out: &mut [f32],
        mut drift: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let layout = payload.layout();
        same_length(self.len(), layout.parameters()).map_err(FeedbackError::from)?;
        let range = layout.segment_range(segment);
        same_length(out.len(), range.len()).map_err(FeedbackError::from)?;
        rules.read(layout, segment, out, &mut drift)?;
        self.held.combine(range.clone(), out, |e, delta| sum(rules.decay, e, delta));
        let mut chunks = payload.segment(segment);
        while let Some(chunk) = chunks.next_chunk() {
            let out = &mut out[chunk.start - range.start..];
            chunk.units().for_each(|(index, units)| out[index] -= units as f32 * UNIT);
        }
        held::round(out, rules.held_as);
        Ok(())
    }

    /// What [`Self::restore`] leaves of a segment, without changing what waits. `out` has the segment's length.
    pub fn restored(&self, payload: &Payload, segment: usize, out: &mut [f32]) -> Result<(), FeedbackError> {
        let layout = payload.layout();
        same_length(self.len(), layout.parameters())?;
        let range = layout.segment_range(segment);
        same_length(out.len(), range.len())?;
        self.held.read(range.clone(), out);
        let mut chunks = payload.segment(segment);
        while let Some(chunk) = chunks.next_chunk() {
            let out = &mut out[chunk.start - range.start..];
            chunk.units().for_each(|(index, units)| out[index] += units as f32 * UNIT);
        }
        held::round(out, self.held.values());
        Ok(())
    }

    /// Puts back what `payload` had taken out: `e ← e + ĝ`, rounded as values are held, after a window that was not
    /// applied.
    pub fn restore(&mut self, payload: &Payload) -> Result<(), FeedbackError> {
        same_length(self.len(), payload.layout().parameters())?;
        payload.for_each_value(|index, value| self.held.set(index, self.held.get(index) + value));
        Ok(())
    }

    /// The Merkle root over the chunks of what waits.
    pub fn root(&self, layout: &GradientLayout) -> ContentHash {
        self.tree(layout).root()
    }

    /// The Merkle tree over the chunks of what waits, for proofs.
    pub fn tree(&self, layout: &GradientLayout) -> MerkleTree {
        if let Held::Singles(values) = &self.held {
            return MerkleTree::over_chunks(values, layout);
        }
        let mut buffer = vec![0f32; layout.longest_segment()];
        let mut leaves = Vec::with_capacity(layout.chunk_count());
        for segment in 0..layout.segment_count() {
            let range = layout.segment_range(segment);
            self.held.read(range.clone(), &mut buffer[..range.len()]);
            let chunks = layout.chunks()[layout.segment_chunks(segment)].par_iter();
            let own: Vec<[u8; 32]> = chunks
                .map(|chunk| merkle::leaf(&buffer[chunk.start - range.start..][..usize::from(chunk.len)]))
                .collect();
            leaves.extend(own);
        }
        MerkleTree::of_leaves(leaves)
    }
}

impl From<Vec<f32>> for ErrorFeedback {
    /// What waits, held as it is.
    fn from(values: Vec<f32>) -> Self {
        Self { held: Held::Singles(values) }
    }
}

/// One accumulated value.
fn sum(beta: f32, e: f32, delta: f32) -> f32 {
    beta * e + delta
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
    // An exponent of all ones, and no other, carries into the place of the sign when one is added to it.
    const WITHOUT_SIGN: u32 = 0x7fff_ffff;
    const ONE_IN_EXPONENT: u32 = 0x0080_0000;
    let carry = |value: f32| (value.to_bits() & WITHOUT_SIGN) + ONE_IN_EXPONENT;
    if values.clone().fold(0, |carries, value| carries | carry(value)) <= WITHOUT_SIGN {
        return None;
    }
    let mut values = values;
    values.position(|value| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nan_and_infinity_are_not_finite() {
        let highest = f32::from_bits(u32::MAX);
        for fault in [f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), highest, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 5, 63] {
                let mut values = [1f32; 64];
                values[place] = fault;
                assert_eq!(first_not_finite(values.into_iter()), Some(place));
            }
        }
        let finite = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), -f32::from_bits(1), 0.0, -0.0];
        assert_eq!(first_not_finite(finite.into_iter()), None);
    }
}
