//! The rule of a merge: what counts of each payload, and of each chunk.

mod method;

pub(crate) use method::{Share, combine, shares};

use crate::layout::GradientLayout;
use crate::payload::{Payload, PayloadChunk, level};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use templar_base::MergeMethod;

/// How payloads are merged; values of the genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRule {
    /// How what was sent of a coordinate becomes one value.
    pub method: MergeMethod,
    /// κ, the least divisor of a coordinate's sum, is 1 up to this number of contributors and 2 over it: with many of
    /// them a coordinate that only one has sent is mostly noise.
    pub kappa_threshold: u32,
    /// A chunk's scale is clipped to this multiple of the median over the merged payloads; 0 turns it off.
    pub scale_clip: u32,
}

impl Default for MergeRule {
    fn default() -> Self {
        Self { method: MergeMethod::default(), kappa_threshold: 30, scale_clip: 4 }
    }
}

impl MergeRule {
    /// The least divisor for this number of contributors.
    pub fn kappa(&self, contributors: usize) -> u32 {
        if contributors as u64 <= u64::from(self.kappa_threshold) { 1 } else { 2 }
    }
}

/// The largest contribution that each chunk of a merge lets through, in units. Sixteen bytes a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleLimits {
    limits: Vec<i64>,
    medians: Vec<i64>,
}

impl ScaleLimits {
    /// `scale_clip` times the median (the lower one of an even number) of each chunk's scales (of rounded values: of
    /// the powers of two that they stay under) over the payloads that send something of it; no limits for a
    /// `scale_clip` of 0. The payloads are of `layout`. Payloads that send nothing do not count, so that no miner can
    /// lower a limit by sending nothing.
    pub fn of(layout: &GradientLayout, payloads: &[&Payload], scale_clip: u32) -> Self {
        let median = |chunk: usize, scales: &mut Vec<i64>| {
            scales.clear();
            let levels = payloads.iter().map(|payload| level(payload.scales()[chunk], layout.rounded_bits()));
            scales.extend(levels.filter(|level| *level > 0));
            if scales.is_empty() {
                return 0;
            }
            let middle = (scales.len() - 1) / 2;
            *scales.select_nth_unstable(middle).1
        };
        let chunks = (0..layout.chunk_count()).into_par_iter();
        let medians: Vec<i64> = chunks.map_init(Vec::new, |scales, chunk| median(chunk, scales)).collect();
        let limit = |median: &i64| match (scale_clip, median) {
            (0, _) | (_, 0) => i64::MAX,
            _ => median.saturating_mul(i64::from(scale_clip)),
        };
        Self { limits: medians.iter().map(limit).collect(), medians }
    }

    /// The largest contribution of a chunk.
    pub(crate) fn limit(&self, chunk: usize) -> i64 {
        self.limits[chunk]
    }

    /// The median of a chunk's scales.
    pub(crate) fn median(&self, chunk: usize) -> i64 {
        self.medians[chunk]
    }

    /// A chunk's kept values in units after clipping: index in the chunk and value.
    pub(crate) fn contributions<'a>(
        &self,
        chunk: &PayloadChunk<'a>,
    ) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a> {
        let limit = self.limits[chunk.chunk];
        chunk.units_by(move |units| units.min(limit))
    }
}
