//! This system's rule, and those that differ from it in merging only.

use super::{Content, Exchange, ExchangeError, Message, check_length};
use crate::aggregate::Aggregate;
use crate::feedback::ErrorFeedback;
use crate::layout::GradientLayout;
use crate::merge::MergeRule;
use crate::metadata::Metadata;
use crate::outer::outer_step;
use crate::payload::Payload;
use templar_base::Uid;

/// Error feedback, the largest values of each chunk by sign and scale, merged by a [`MergeRule`].
#[derive(Debug, Clone)]
pub struct SparseSign {
    /// What is kept of each tensor.
    pub layout: GradientLayout,
    /// How payloads are merged.
    pub rule: MergeRule,
    /// Decay of the error feedback (β).
    pub decay: f32,
}

impl Exchange for SparseSign {
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError> {
        let mut feedback = ErrorFeedback { residual: std::mem::take(memory) };
        let payload =
            feedback.accumulate(drift, self.decay).and_then(|()| feedback.compress(&self.layout, Metadata::default()));
        *memory = feedback.residual;
        let payload = payload?;
        Ok(Message { bytes: payload.encode().len(), content: Content::Payload(Box::new(payload)) })
    }

    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError> {
        let Content::Payload(payload) = &message.content else { return Err(ExchangeError::Foreign) };
        let mut feedback = ErrorFeedback { residual: std::mem::take(memory) };
        let restored = feedback.restore(payload);
        *memory = feedback.residual;
        Ok(restored?)
    }

    fn apply(
        &self,
        params: &mut [f32],
        _momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError> {
        check_length(params.len(), self.layout.parameters())?;
        let numbered = |(uid, message): (usize, &Message)| {
            let Content::Payload(payload) = &message.content else { return Err(ExchangeError::Foreign) };
            let metadata = Metadata { uid: Uid(uid as u16), ..payload.metadata().clone() };
            // Metadata that a payload had is sound.
            payload.as_ref().clone().with_metadata(metadata).map_err(|_| ExchangeError::Foreign)
        };
        let payloads = messages.iter().enumerate().map(numbered).collect::<Result<Vec<Payload>, _>>()?;
        let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
        let aggregate = Aggregate::merge(&self.layout, &set, self.rule)?;
        outer_step(params, &aggregate, alpha)?;
        Ok(aggregate.encode().len())
    }
}
