//! What a worker has not sent yet, and the act of sending a part of it.

use std::ops::Range;
use templar_base::ContentHash;
use templar_gradient::{
    Accumulation, ErrorFeedback, FeedbackError, FeedbackOrigin, GradientLayout, LengthMismatch, Metadata, Payload,
    drift,
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
    origin: FeedbackOrigin,
}

impl Sender {
    /// Nothing waits to be sent.
    pub fn new(layout: GradientLayout, rules: Accumulation) -> Self {
        Self { feedback: ErrorFeedback::empty(&layout, rules.held_as), layout, rules, origin: FeedbackOrigin::First }
    }

    /// What the feedback at hand is.
    pub fn origin(&self) -> FeedbackOrigin {
        self.origin
    }

    /// The Merkle root of what waits to be sent.
    pub fn root(&self) -> ContentHash {
        self.feedback.root(&self.layout)
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
    pub fn resume(&mut self, feedback: ErrorFeedback, origin: FeedbackOrigin) -> Result<(), FeedbackError> {
        let (actual, expected) = (feedback.len(), self.layout.parameters());
        if actual != expected {
            return Err(LengthMismatch { actual, expected }.into());
        }
        (self.feedback, self.origin) = (feedback.held_as(self.rules.held_as), origin);
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
        match committed {
            Ok(()) => self.origin = FeedbackOrigin::Kept,
            Err(_) => self.clear(FeedbackOrigin::Voided),
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
        self.feedback.restore(payload)?;
        self.origin = FeedbackOrigin::TakenBack;
        Ok(())
    }

    /// Drops what waits to be sent.
    pub fn clear(&mut self, why: FeedbackOrigin) {
        self.feedback.clear();
        self.origin = why;
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
