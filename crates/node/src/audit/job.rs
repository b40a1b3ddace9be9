//! An audit on the validator's computing thread: a step at a time, while there is nothing else to do.

use crate::NodeError;
use crate::worker::Reply;
use templar_audit::{Case, Evidence, Examination, NotProven, Outcome, Proof, Rules};
use templar_engine::Engine;
use templar_trainer::{TrainerError, WindowData};

/// Evidence of another auditor, and what it is verified with.
pub(crate) struct EvidenceRequest {
    pub rules: Rules,
    pub evidence: Evidence,
    /// What the author was to train on in the window, and in the one before.
    pub data: WindowData,
    pub previous: Option<WindowData>,
}

/// Work for the engine that each judgement may interrupt. One job is done before the next begins: both use the moments.
pub(crate) enum AuditJob {
    /// An audit under way.
    Examine(Box<Examination>, Reply<Outcome>),
    /// Evidence to be verified, which takes one step.
    Verify(Box<EvidenceRequest>, Reply<Result<Proof, NotProven>>),
}

impl AuditJob {
    /// Begins an audit; none where its outcome is known without a step.
    pub(crate) fn begin(rules: Rules, case: Case, reply: Reply<Outcome>) -> Option<Self> {
        match Examination::new(rules, case) {
            Ok(examination) => Some(Self::Examine(Box::new(examination), reply)),
            Err(outcome) => {
                // A reply that nobody waits for any more is of no use to anybody.
                let _ = reply.send(Ok(*outcome));
                None
            }
        }
    }

    /// Does one step; none once the outcome is known.
    pub(crate) fn advance(self, engine: &mut dyn Engine) -> Option<Self> {
        match self {
            Self::Examine(mut examination, reply) => {
                let result = match examination.advance(engine) {
                    Ok(None) => return Some(Self::Examine(examination, reply)),
                    Ok(Some(outcome)) => Ok(outcome),
                    // The batches of its counts were checked: what fails now fails here.
                    Err(error) => Err(NodeError::Replay(error)),
                };
                let _ = reply.send(result);
            }
            Self::Verify(request, reply) => {
                let EvidenceRequest { rules, evidence, data, previous } = *request;
                let _ = reply.send(Ok(templar_audit::verify(&evidence, &rules, engine, &data, previous.as_ref())));
            }
        }
        None
    }

    /// Makes room for other work on the engine.
    pub(crate) fn pause(&mut self, engine: &mut dyn Engine) -> Result<(), TrainerError> {
        match self {
            Self::Examine(examination, _) => examination.pause(engine),
            Self::Verify(..) => Ok(()),
        }
    }
}
