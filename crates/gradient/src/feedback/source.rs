//! Where the compression takes accumulated values from, segment by segment.

use super::held::Held;
use super::{FeedbackError, sum};
use crate::frequencies;
use crate::layout::GradientLayout;
use std::ops::Range;
use templar_base::{Domain, FeedbackValues, OuterRule};

/// How a drift enters the feedback and what remains of it is held; values of the genesis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accumulation {
    /// Decay of the error feedback (β).
    pub decay: f32,
    /// What is sent: the drift, or its frequencies.
    pub domain: Domain,
    /// How what remains is held until the next window.
    pub held_as: FeedbackValues,
}

impl Accumulation {
    /// Drifts as they are, and what remains as it is, with this decay.
    pub fn with_decay(decay: f32) -> Self {
        Self { decay, domain: Domain::Parameters, held_as: FeedbackValues::F32 }
    }

    /// As the rules of a genesis have it.
    pub fn of(outer: &OuterRule) -> Self {
        Self { decay: outer.error_feedback_decay, domain: outer.domain, held_as: outer.error_feedback_values }
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

/// What waits, and a drift that is read when it is needed; changes are dropped.
pub(super) struct Accumulated<'a, F> {
    layout: &'a GradientLayout,
    rules: Accumulation,
    waits: &'a Held,
    drift: F,
    buffer: Vec<f32>,
}

impl<'a, F> Accumulated<'a, F> {
    pub fn new(layout: &'a GradientLayout, rules: Accumulation, waits: &'a Held, drift: F) -> Self {
        Self { layout, rules, waits, drift, buffer: vec![0.0; layout.longest_segment()] }
    }
}

impl<E, F: FnMut(Range<usize>, &mut [f32]) -> Result<(), E>> SegmentSource<E> for Accumulated<'_, F> {
    fn with_segment<R>(&mut self, segment: usize, work: impl FnOnce(&mut [f32]) -> R) -> Result<R, E> {
        let range = self.layout.segment_range(segment);
        let values = &mut self.buffer[..range.len()];
        self.rules.read(self.layout, segment, values, &mut self.drift)?;
        let decay = self.rules.decay;
        self.waits.combine(range, values, |e, delta| sum(decay, e, delta));
        Ok(work(values))
    }
}
