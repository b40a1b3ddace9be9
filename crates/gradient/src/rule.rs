//! The rule of a merge: what counts of each payload, and of each chunk.

mod method;

pub(crate) use method::{Share, combine, shares};

use crate::layout::GradientLayout;
use crate::payload::{Payload, PayloadChunk, level};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use templar_base::{MergeMethod, ScaleRule, StepShare};

/// How payloads are merged, by the genesis, and what part of the step the judges agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRule {
    /// How what was sent of a coordinate becomes one value.
    pub method: MergeMethod,
    /// κ, the least divisor of a coordinate's sum, is 1 up to this number of contributors and 2 over it: with many of
    /// them a coordinate that only one has sent is mostly noise.
    pub kappa_threshold: u32,
    /// How far a chunk's own scale counts.
    pub scales: ScaleRule,
    /// The part of the outer step that is taken.
    pub step: StepShare,
}

impl Default for MergeRule {
    fn default() -> Self {
        Self {
            method: MergeMethod::default(),
            kappa_threshold: 30,
            scales: ScaleRule::Clipped { times: 4 },
            step: StepShare::default(),
        }
    }
}

impl MergeRule {
    /// The least divisor for this number of contributors.
    pub fn kappa(&self, contributors: usize) -> u32 {
        if contributors as u64 <= u64::from(self.kappa_threshold) { 1 } else { 2 }
    }
}

/// What each chunk of a merge makes of a payload's scale, in units. Eight bytes a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleLimits {
    rule: ScaleRule,
    medians: Vec<i64>,
}

impl ScaleLimits {
    /// The medians (the lower one of an even number) of each chunk's scales (of rounded values: of the powers of two that
    /// they stay under), over the payloads that send something of it; under [`ScaleRule::Equal`] over all payloads. The
    /// payloads are of `layout`. Where scales are clipped, payloads that send nothing do not count, so that no miner can
    /// lower a limit by sending nothing; where they are equal it takes half of all to silence a chunk.
    pub fn of(layout: &GradientLayout, payloads: &[&Payload], rule: ScaleRule) -> Self {
        let median = |chunk: usize, scales: &mut Vec<i64>| {
            scales.clear();
            let levels = payloads.iter().map(|payload| level(payload.scales()[chunk], layout.rounded_bits()));
            scales.extend(levels.filter(|level| *level > 0 || rule == ScaleRule::Equal));
            if scales.is_empty() {
                return 0;
            }
            let middle = (scales.len() - 1) / 2;
            *scales.select_nth_unstable(middle).1
        };
        let chunks = (0..layout.chunk_count()).into_par_iter();
        let medians = chunks.map_init(Vec::new, |scales, chunk| median(chunk, scales)).collect();
        Self { rule, medians }
    }

    /// What a magnitude of a chunk counts.
    pub(crate) fn counted(&self, chunk: usize) -> impl Fn(i64) -> i64 + use<> {
        let median = self.medians[chunk];
        let (least, most) = match (self.rule, median) {
            (ScaleRule::Equal, _) => (median, median),
            (ScaleRule::Own, _) | (ScaleRule::Clipped { .. }, 0) => (0, i64::MAX),
            (ScaleRule::Clipped { times }, _) => (0, median.saturating_mul(i64::from(times))),
        };
        move |units| units.clamp(least, most)
    }

    /// Whether a chunk counts at all.
    pub(crate) fn is_silent(&self, chunk: usize) -> bool {
        self.rule == ScaleRule::Equal && self.medians[chunk] == 0
    }

    /// The median of a chunk's scales.
    pub(crate) fn median(&self, chunk: usize) -> i64 {
        self.medians[chunk]
    }

    /// What a chunk's kept values count, in units: index in the chunk and value.
    pub(crate) fn contributions<'a>(
        &self,
        chunk: &PayloadChunk<'a>,
    ) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a> {
        chunk.units_by(self.counted(chunk.chunk))
    }
}
