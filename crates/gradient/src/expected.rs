//! How large a payload will be, before there is one.

use crate::{CHUNK_VALUES, ErrorFeedback, GradientLayout, Metadata};
use std::collections::BTreeMap;
use templar_base::random::Stream;

/// Chunks of each kind that are compressed to measure.
const SAMPLE_CHUNKS: usize = 32;
const SEED: [u8; 32] = *b"templar expected payload bytes  ";

impl GradientLayout {
    /// About how many bytes a payload of this layout has: random values are compressed by the very code that compresses
    /// a miner's, a few chunks for each number of kept values, and the bytes counted for all chunks. Real drifts are a
    /// little less random, so a payload is rarely larger.
    pub fn expected_payload_bytes(&self) -> u64 {
        let mut chunks: BTreeMap<u16, f64> = BTreeMap::new();
        for tensor in self.tensors() {
            *chunks.entry(tensor.kept_per_chunk).or_default() += tensor.len as f64 / CHUNK_VALUES as f64;
        }
        let values =
            self.rounded_bits().map_or_else(Default::default, |bits| templar_base::ValueCoding::Rounded { bits });
        let bytes = chunks.into_iter().map(|(kept, count)| count * bytes_per_chunk(kept, values));
        bytes.sum::<f64>().ceil() as u64
    }
}

/// Bytes of a chunk with this many kept values, the frame of a payload not counted.
fn bytes_per_chunk(kept: u16, values: templar_base::ValueCoding) -> f64 {
    let encode = |chunks: usize| {
        let tensor = [("sample".to_owned(), chunks * CHUNK_VALUES, kept)];
        let layout = GradientLayout::new(tensor).ok()?.with_values(values).ok()?;
        let mut feedback = ErrorFeedback::new(&layout);
        feedback.accumulate(&drift(layout.parameters()), 0.0).ok()?;
        Some(feedback.compress(&layout, Metadata::default()).ok()?.encode().len() as f64)
    };
    // The layout is sound and the drift finite, so that none of these fails.
    let (small, large) = (encode(1).unwrap_or(0.0), encode(SAMPLE_CHUNKS + 1).unwrap_or(0.0));
    (large - small) / SAMPLE_CHUNKS as f64
}

/// Sums of uniform values, which are close to a normal distribution as drifts are.
fn drift(len: usize) -> Vec<f32> {
    let mut stream = Stream::new(SEED, "drift", 0);
    (0..len).map(|_| (0..4).map(|_| stream.unit_f32() - 0.5).sum::<f32>() * 1e-3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_close_to_a_payload_of_many_tensors() {
        let layout = GradientLayout::new([
            ("a".to_owned(), 40 * CHUNK_VALUES, 64),
            ("b".to_owned(), 25 * CHUNK_VALUES, 512),
            ("c".to_owned(), 96, 64),
        ])
        .unwrap();
        let mut feedback = ErrorFeedback::new(&layout);
        feedback.accumulate(&drift(layout.parameters()), 0.0).unwrap();
        let actual = feedback.compress(&layout, Metadata::default()).unwrap().encode().len() as f64;
        let expected = layout.expected_payload_bytes() as f64;
        assert!((expected / actual - 1.0).abs() < 0.05, "{expected} expected, {actual} counted");
    }
}
