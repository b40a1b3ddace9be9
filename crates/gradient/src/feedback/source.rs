//! Where the compression takes accumulated values from, segment by segment.

use super::{BLOCK_VALUES, FeedbackError, sum};
use crate::frequencies;
use crate::layout::GradientLayout;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::{Domain, OuterRule};

/// How a drift enters the feedback; values of the genesis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accumulation {
    /// Decay of the error feedback (β).
    pub decay: f32,
    /// What is sent: the drift, or its frequencies.
    pub domain: Domain,
}

impl Accumulation {
    /// As the rules of a genesis have it.
    pub fn of(outer: &OuterRule) -> Self {
        Self { decay: outer.error_feedback_decay, domain: outer.domain }
    }

    /// Reads a segment's drift and brings it into the domain that is sent.
    pub(super) fn read<E>(
        &self,
        layout: &GradientLayout,
        segment: usize,
        out: &mut [f32],
        drift: &mut impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        drift(layout.segment_range(segment), out)?;
        if self.domain == Domain::Frequencies {
            frequencies::forwards_segment(layout, segment, out);
        }
        Ok(())
    }
}

/// Accumulated values by segments. Each time a segment is asked for it is the same, but for what was taken out of it.
pub(super) trait SegmentSource<E> {
    /// Calls `work` with a segment's values; whether what it changes is kept is the source's matter.
    fn with_segment<R>(&mut self, segment: usize, work: impl FnOnce(&mut [f32]) -> R) -> Result<R, E>;
}

/// A residual that has accumulated already; changes are kept.
pub(super) struct InPlace<'a> {
    pub layout: &'a GradientLayout,
    pub residual: &'a mut [f32],
}

impl SegmentSource<FeedbackError> for InPlace<'_> {
    fn with_segment<R>(&mut self, segment: usize, work: impl FnOnce(&mut [f32]) -> R) -> Result<R, FeedbackError> {
        Ok(work(&mut self.residual[self.layout.segment_range(segment)]))
    }
}

/// A residual and a drift that is read when it is needed; changes are dropped.
pub(super) struct Accumulated<'a, F> {
    layout: &'a GradientLayout,
    rules: Accumulation,
    residual: &'a [f32],
    drift: F,
    buffer: Vec<f32>,
}

impl<'a, F> Accumulated<'a, F> {
    pub fn new(layout: &'a GradientLayout, rules: Accumulation, residual: &'a [f32], drift: F) -> Self {
        Self { layout, rules, residual, drift, buffer: vec![0.0; layout.longest_segment()] }
    }
}

impl<E, F: FnMut(Range<usize>, &mut [f32]) -> Result<(), E>> SegmentSource<E> for Accumulated<'_, F> {
    fn with_segment<R>(&mut self, segment: usize, work: impl FnOnce(&mut [f32]) -> R) -> Result<R, E> {
        let range = self.layout.segment_range(segment);
        let values = &mut self.buffer[..range.len()];
        self.rules.read(self.layout, segment, values, &mut self.drift)?;
        let (decay, residual) = (self.rules.decay, &self.residual[range]);
        values.par_chunks_mut(BLOCK_VALUES).zip(residual.par_chunks(BLOCK_VALUES)).for_each(|(values, residual)| {
            values.iter_mut().zip(residual).for_each(|(value, e)| *value = sum(decay, *e, *value));
        });
        Ok(work(values))
    }
}
