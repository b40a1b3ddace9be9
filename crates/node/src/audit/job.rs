//! An audit on the validator's computing thread: a step at a time, while there is nothing else to do.

use crate::NodeError;
use crate::worker::Reply;
use templar_audit::{Case, Examination, Outcome, Rules};
use templar_engine::Engine;
use templar_trainer::TrainerError;

/// An audit under way.
pub(crate) struct AuditJob {
    examination: Examination,
    reply: Reply<Outcome>,
}

impl AuditJob {
    /// Begins an audit; none where its outcome is known without a step.
    pub(crate) fn begin(rules: Rules, case: Case, reply: Reply<Outcome>) -> Option<Self> {
        match Examination::new(rules, case) {
            Ok(examination) => Some(Self { examination, reply }),
            Err(outcome) => {
                // A reply that nobody waits for any more is of no use to anybody.
                let _ = reply.send(Ok(*outcome));
                None
            }
        }
    }

    /// Does one step; none once the outcome is known.
    pub(crate) fn advance(mut self, engine: &mut dyn Engine) -> Option<Self> {
        let result = match self.examination.advance(engine) {
            Ok(None) => return Some(self),
            Ok(Some(outcome)) => Ok(outcome),
            // The batches of its counts were checked: what fails now fails here.
            Err(error) => Err(NodeError::Replay(error)),
        };
        let _ = self.reply.send(result);
        None
    }

    /// Makes room for other work on the engine.
    pub(crate) fn pause(&mut self, engine: &mut dyn Engine) -> Result<(), TrainerError> {
        self.examination.pause(engine)
    }
}
