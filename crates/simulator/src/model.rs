//! What is trained: sizes and times alone, or a small real model. The world asks both the same things.

mod cost;
mod language;
mod real;

pub use cost::CostModel;
pub(crate) use language::{Language, Share};
pub use real::RealModel;
pub(crate) use real::{Evaluation, Worker, open_engine, small_genesis};

use crate::Moment;
use serde::Serialize;
use templar_base::{AgreedFindings, ContentHash, Findings, StateHash, StepShare, Uid, Window};
use templar_round::{SealCommitment, SealedRecord};

/// A model that failed, in the words of the crate that it failed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model failed: {0}")]
pub struct ModelError(pub String);

/// A judgement: what a validator votes for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The numbers.
    pub findings: Findings,
    /// Hash of the verdict.
    pub verdict: ContentHash,
}

/// A window's judging.
#[derive(Debug, Clone, Copy)]
pub struct Judging<'a> {
    /// The window.
    pub window: Window,
    /// The parameters at its start, as the judge knows them.
    pub start: Option<StateHash>,
    /// What the judge has fetched and opened.
    pub payloads: &'a [SealedRecord],
    /// The most that are merged.
    pub limit: usize,
}

/// An outer step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Whose outcome is applied.
    pub window: Window,
    /// The parameters before it.
    pub before: StateHash,
    /// What is merged; none in a null window.
    pub aggregate: Option<ContentHash>,
    /// The bits of alpha, by the rules of the window.
    pub alpha: u32,
}

/// What the nodes train, judge, merge and apply. Pure but for what it remembers: equal questions get equal answers, in
/// whichever order they are asked.
pub trait Model {
    /// The parameters at the run's start.
    fn first_state(&self) -> StateHash;

    /// A node starts from the parameters at the start of window `next`: at its first start, after a crash, and after they were replaced. What it had
    /// not sent is lost.
    fn start(&mut self, node: usize, next: Window, state: StateHash) -> Result<(), ModelError>;

    /// A miner trains on this window's data from now on.
    fn begin(&mut self, node: usize, window: Window, now: Moment) -> Result<(), ModelError>;

    /// A miner's payload of a window; none where it has nothing to send from there.
    fn seal(&mut self, node: usize, order: SealOrder, now: Moment) -> Result<Option<SealCommitment>, ModelError>;

    /// A miner takes what it sealed back.
    fn unsend(&mut self, _node: usize, _window: Window) {}

    /// The judgement of a window. It depends on nothing but its argument and what was agreed before.
    fn judge(&mut self, judging: Judging<'_>) -> Result<Judgement, ModelError>;

    /// This was agreed of a window. It comes before the window's outcome is applied, and may come again.
    fn settle(&mut self, _window: Window, _agreed: &AgreedFindings) {}

    /// The root of what is agreed of the miners after a window was settled.
    fn record(&self, _window: Window) -> ContentHash {
        ContentHash::default()
    }

    /// Merges payloads, in the order of their uids, for this part of the outer step.
    fn merge(&mut self, window: Window, payloads: &[SealedRecord], step: StepShare) -> Result<ContentHash, ModelError>;

    /// An outer step of a node, and the parameters after it.
    fn apply(&mut self, node: usize, step: Step, now: Moment) -> Result<StateHash, ModelError>;

    /// The loss of these parameters on held-out text; none of a model that has no loss.
    fn loss(&mut self, _state: StateHash) -> Result<Option<f64>, ModelError> {
        Ok(None)
    }

    /// The miners of a window that was settled: what they trained on and are paid; none of a model that trains nobody.
    fn miners(&self, _window: Window) -> Vec<MinerWindow> {
        Vec::new()
    }

    /// Bytes of this merged payload.
    fn aggregate_bytes(&self, hash: ContentHash) -> u64;

    /// Bytes of a checkpoint.
    fn checkpoint_bytes(&self) -> u64;
}

/// A miner in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MinerWindow {
    /// Its slot.
    pub uid: Uid,
    /// Tokens that its payload says it was trained on.
    pub tokens: u64,
    /// Its weight on the ledger after the window, the largest 65535: what it is paid by.
    pub weight: u16,
    /// Whether its payload was merged.
    pub is_merged: bool,
}

/// What a miner seals.
#[derive(Debug, Clone, Copy)]
pub struct SealOrder {
    /// The window.
    pub window: Window,
    /// The miner.
    pub uid: Uid,
    /// The parameters that it trained from.
    pub start: StateHash,
}
