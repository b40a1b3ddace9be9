//! A model of sizes: parameters are a hash chain, and nothing is computed.

use super::{Judgement, Judging, Model, ModelError, SealOrder, Step};
use crate::Moment;
use parity_scale_codec::Encode;
use serde::Serialize;
use std::collections::BTreeSet;
use templar_base::{ContentHash, Finding, Findings, MAX_CANDIDATES, Mark, Share, StateHash, StepShare, Uid, Window};
use templar_round::{SealCommitment, SealedRecord};

/// Sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CostModel {
    /// Bytes of a sealed payload.
    pub payload_bytes: u32,
    /// Bytes of a merged payload.
    pub aggregate_bytes: u64,
    /// Bytes of a checkpoint.
    pub checkpoint_bytes: u64,
}

impl CostModel {
    /// Next to nothing to send: what is left is the protocol.
    pub const FREE: Self = Self { payload_bytes: 99, aggregate_bytes: 99, checkpoint_bytes: 99 };
}

fn state(bytes: &[u8]) -> StateHash {
    StateHash::new(*ContentHash::of(bytes).as_bytes())
}

impl Model for CostModel {
    fn first_state(&self) -> StateHash {
        StateHash::new([7; 32])
    }

    fn start(&mut self, _: usize, _: Window, _: StateHash) -> Result<(), ModelError> {
        Ok(())
    }

    fn begin(&mut self, _: usize, _: Window, _: Moment) -> Result<(), ModelError> {
        Ok(())
    }

    fn seal(
        &mut self,
        _: usize,
        SealOrder { window, uid, start }: SealOrder,
        _: Moment,
    ) -> Result<Option<SealCommitment>, ModelError> {
        let digest = ContentHash::of(&(window, uid, start).encode());
        Ok(Some(SealCommitment { digest, bytes: self.payload_bytes }))
    }

    /// All payloads are good; the lowest uids are merged.
    fn judge(&mut self, judging: Judging<'_>) -> Result<Judgement, ModelError> {
        let Judging { window, start, payloads, limit } = judging;
        let accepted: BTreeSet<Uid> = payloads.iter().map(|record| record.uid).collect();
        let verdict = ContentHash::of(&(window, start, &accepted).encode());
        let share = Some(Share::new(1.0, 0.1));
        let finding = |(place, uid): (usize, Uid)| {
            let mark = if place < limit { Mark::Selected } else { Mark::Admitted };
            Finding { uid, mark, is_sure: true, share }
        };
        let miners = accepted.into_iter().take(MAX_CANDIDATES).enumerate().map(finding).collect();
        Ok(Judgement { findings: Findings { miners, ..Findings::default() }, verdict })
    }

    fn merge(&mut self, window: Window, payloads: &[SealedRecord], step: StepShare) -> Result<ContentHash, ModelError> {
        let uids: Vec<Uid> = payloads.iter().map(|record| record.uid).collect();
        Ok(ContentHash::of(&(window, uids, step).encode()))
    }

    fn apply(&mut self, _: usize, step: Step, _: Moment) -> Result<StateHash, ModelError> {
        Ok(match step.aggregate {
            Some(aggregate) => state(&(step.before, aggregate, step.alpha).encode()),
            None => step.before,
        })
    }

    fn aggregate_bytes(&self, _: ContentHash) -> u64 {
        self.aggregate_bytes
    }

    fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint_bytes
    }
}
