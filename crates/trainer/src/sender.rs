//! What a worker has not sent yet, and the act of sending a part of it.

use std::ops::Range;
use templar_gradient::{
    Accumulation, ErrorFeedback, FeedbackError, GradientLayout, LengthMismatch, Metadata, Payload, drift,
};

/// The error feedback of one worker under one rule.
///
/// A payload is first prepared, which changes nothing, and then committed, which takes it out of the feedback. Between the
/// two it can be kept where it survives a kill.
#[derive(Debug, Clone)]
pub struct Sender {
    layout: GradientLayout,
    rules: Accumulation,
    feedback: ErrorFeedback,
}

impl Sender {
    /// Nothing waits to be sent.
    pub fn new(layout: GradientLayout, rules: Accumulation) -> Self {
        Self { feedback: ErrorFeedback::new(&layout), layout, rules }
    }

    /// What waits to be sent.
    pub fn feedback(&self) -> &ErrorFeedback {
        &self.feedback
    }

    /// The layout of what is sent.
    pub fn layout(&self) -> &GradientLayout {
        &self.layout
    }

    /// Replaces what waits to be sent by what was kept of it.
    pub fn resume(&mut self, feedback: ErrorFeedback) -> Result<(), FeedbackError> {
        let (actual, expected) = (feedback.residual.len(), self.layout.parameters());
        if actual != expected {
            return Err(LengthMismatch { actual, expected }.into());
        }
        self.feedback = feedback;
        Ok(())
    }

    /// The payload of a window's drift and what waited before. `drift` writes a range of the drift (start minus end) to a
    /// buffer, and gives the same each time.
    pub fn prepare<E: From<FeedbackError>>(
        &self,
        metadata: Metadata,
        drift: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<Payload, E> {
        self.feedback.prepare(&self.layout, self.rules, metadata, drift)
    }

    /// What will wait to be sent of a segment of the layout once `payload`, prepared from this drift, is committed.
    pub fn remaining<E: From<FeedbackError>>(
        &self,
        payload: &Payload,
        segment: usize,
        out: &mut [f32],
        drift: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.feedback.remaining(payload, self.rules, segment, out, drift)
    }

    /// Takes a payload that was prepared from this drift out of what waits. Where `drift` fails, nothing waits any more:
    /// a feedback that is half of before and half of after must not be sent.
    pub fn commit<E: From<FeedbackError>>(
        &mut self,
        payload: &Payload,
        drift: impl FnMut(Range<usize>, &mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let committed = self.feedback.commit(payload, self.rules, drift);
        if committed.is_err() {
            self.clear();
        }
        committed
    }

    /// Prepares and commits the payload of a whole drift. After an error the feedback is as it was.
    pub fn send(&mut self, drift: &[f32], metadata: Metadata) -> Result<Payload, FeedbackError> {
        let (actual, expected) = (drift.len(), self.layout.parameters());
        if actual != expected {
            return Err(LengthMismatch { actual, expected }.into());
        }
        let read = |range: Range<usize>, out: &mut [f32]| {
            out.copy_from_slice(&drift[range]);
            Ok::<(), FeedbackError>(())
        };
        let payload = self.prepare(metadata, read)?;
        self.commit(&payload, read)?;
        Ok(payload)
    }

    /// Puts back what a payload took out.
    pub fn take_back(&mut self, payload: &Payload) -> Result<(), FeedbackError> {
        self.feedback.restore(payload)
    }

    /// Drops what waits to be sent.
    pub fn clear(&mut self) {
        self.feedback.residual.fill(0.0);
    }

    /// The payload of one drift by a worker that keeps nothing back for later.
    pub fn once(
        layout: &GradientLayout,
        rules: Accumulation,
        drift: &[f32],
        metadata: Metadata,
    ) -> Result<Payload, FeedbackError> {
        Self::new(layout.clone(), Accumulation { decay: 0.0, ..rules }).send(drift, metadata)
    }
}

/// The drift from `start` to `end`: what a payload is made of.
pub fn drift_between(start: &[f32], end: &[f32]) -> Result<Vec<f32>, LengthMismatch> {
    let mut out = vec![0f32; start.len()];
    drift(start, end, &mut out)?;
    Ok(out)
}
