//! The rules that a genesis can name: what goes over the wire as payloads and aggregates.

use super::{Content, Exchange, ExchangeError, Message, check_length};
use crate::aggregate::Aggregate;
use crate::feedback::{Accumulation, ErrorFeedback, FeedbackError};
use crate::layout::GradientLayout;
use crate::metadata::Metadata;
use crate::outer::OuterStep;
use crate::payload::Payload;
use crate::rule::MergeRule;
use crate::state::OuterState;
use std::ops::Range;
use templar_base::{Domain, FeedbackValues, StepRule, Uid};

/// Error feedback, the largest values of each chunk as the layout codes them, merged by a [`MergeRule`], and a step.
#[derive(Debug, Clone)]
pub struct PayloadExchange {
    /// What is kept of each tensor, and how.
    pub layout: GradientLayout,
    /// How payloads are merged.
    pub rule: MergeRule,
    /// Decay of the error feedback (β).
    pub decay: f32,
    /// How the error feedback is held.
    pub held_as: FeedbackValues,
    /// What is sent.
    pub domain: Domain,
    /// How the merged values move the parameters.
    pub step: StepRule,
}

impl PayloadExchange {
    /// This system's rule, or one that differs from it in merging only.
    pub fn new(layout: GradientLayout, rule: MergeRule, decay: f32) -> Self {
        Self {
            layout,
            rule,
            decay,
            held_as: FeedbackValues::default(),
            domain: Domain::default(),
            step: StepRule::default(),
        }
    }

    fn step(&self, alpha: f32) -> OuterStep {
        OuterStep { domain: self.domain, rule: self.step, alpha }
    }
}

impl Exchange for PayloadExchange {
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError> {
        let mut drift = drift.to_vec();
        self.step(1.0).to_domain(&self.layout, &mut drift)?;
        let rules = Accumulation { held_as: self.held_as, ..Accumulation::with_decay(self.decay) };
        let read = |range: Range<usize>, out: &mut [f32]| {
            out.copy_from_slice(&drift[range]);
            Ok::<(), FeedbackError>(())
        };
        let mut feedback = ErrorFeedback::from(std::mem::take(memory));
        let payload = feedback.prepare(&self.layout, rules, Metadata::default(), read);
        let payload = payload.and_then(|payload| feedback.commit(&payload, rules, read).map(|()| payload));
        *memory = feedback.into_values();
        let payload = payload?;
        Ok(Message { bytes: payload.encode().len(), content: Content::Payload(Box::new(payload)) })
    }

    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError> {
        let Content::Payload(payload) = &message.content else { return Err(ExchangeError::Foreign) };
        let mut feedback = ErrorFeedback::of_values(std::mem::take(memory), self.held_as);
        let restored = feedback.restore(payload);
        *memory = feedback.into_values();
        Ok(restored?)
    }

    fn apply(
        &self,
        params: &mut [f32],
        momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError> {
        check_length(params.len(), self.layout.parameters())?;
        check_length(momentum.len(), params.len())?;
        let numbered = |(uid, message): (usize, &Message)| {
            let Content::Payload(payload) = &message.content else { return Err(ExchangeError::Foreign) };
            let metadata = Metadata { uid: Uid(uid as u16), ..payload.metadata().clone() };
            // Metadata that a payload had is sound.
            payload.as_ref().clone().with_metadata(metadata).map_err(|_| ExchangeError::Foreign)
        };
        let payloads = messages.iter().enumerate().map(numbered).collect::<Result<Vec<Payload>, _>>()?;
        let set: Vec<(&Payload, u32)> = payloads.iter().map(|payload| (payload, 1)).collect();
        let aggregate = Aggregate::merge(&self.layout, &set, self.rule)?;
        let mut state = OuterState { params: params.to_vec(), momentum: momentum.to_vec() };
        self.step(alpha).apply(&mut state, &aggregate)?;
        params.copy_from_slice(&state.params);
        momentum.copy_from_slice(&state.momentum);
        Ok(aggregate.encode().len())
    }
}
