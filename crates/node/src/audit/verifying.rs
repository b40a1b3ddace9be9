//! Verifying an auditor's evidence with nothing but the run's document and its text.

use crate::engine::open_engine;
use crate::{Data, NodeError};
use std::sync::Arc;
use templar_audit::{CodingError, Evidence, NotProven, Proof};
use templar_base::{Beacon, Window};
use templar_engine::EngineSource;
use templar_gradient::Accumulation;
use templar_record::Rules;
use templar_trainer::{AssignedText, WindowData};

/// Evidence that is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The bytes are not evidence.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// It proves nothing.
    #[error(transparent)]
    NotProven(#[from] NotProven),
    /// This node cannot verify it.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// What of a run's rules an audit needs.
pub(crate) fn audit_rules(run: &Rules) -> templar_audit::Rules {
    let accumulation = Accumulation::of(&run.genesis.outer);
    templar_audit::Rules { run: run.id, layout: run.layout.clone(), accumulation }
}

/// Verifies evidence by the rules of the genesis: does the one step, compression or comparison that it is about. Settings
/// that the token's holders changed later are not known here.
pub fn verify_evidence(bytes: &[u8], run: &Rules, data: &Data, threads: usize) -> Result<Proof, EvidenceError> {
    let evidence = Evidence::decode(bytes)?;
    let text = |window: Window, beacon: &Beacon| -> Result<WindowData, NodeError> {
        let assignment = data.assignments.assignment(window, &evidence.payload.hotkey, beacon);
        let text = Arc::new(AssignedText { assignment, rule: data.batch_rule });
        let inner_steps = u32::try_from(run.genesis.data.batches_per_window).unwrap_or(u32::MAX);
        Ok(WindowData { window, text, inner_steps, learning_rate: run.genesis.inner.schedule.learning_rate(window) })
    };
    let window = evidence.payload.window;
    let own = text(window, &evidence.beacons.own)?;
    let previous = match (window.previous(), &evidence.beacons.previous) {
        (Some(window), Some(beacon)) => Some(text(window, beacon)?),
        _ => None,
    };
    let mut engine = open_engine(run, &EngineSource::default(), threads)?;
    Ok(templar_audit::verify(&evidence, &audit_rules(run), engine.as_mut(), &own, previous.as_ref())?)
}
