//! One window's judgement, from payloads to verdict.

use crate::case::{miner_verdict, open_cases};
use crate::contribution::MeasureError;
use crate::findings::findings;
use crate::judgement::Judgement;
use crate::{Confirmation, EarlierPayloads, Model, Ratings, Rejection, Settlement, Verdict};
use std::collections::BTreeMap;
use templar_base::{
    AgreedFindings, Beacon, BlockNumber, ContentHash, Genesis, PublicKey, RunId, StateHash, Uid, Window,
};
use templar_gradient::{MergeRule, OuterState, Payload};

/// A judgement that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The payloads could not be measured; the judge's own fault.
    #[error("cannot judge window {window}: {source}")]
    Measure {
        /// The window.
        window: Window,
        /// What went wrong.
        source: MeasureError,
    },
}

/// What came of one miner's committed payload.
#[derive(Debug, Clone)]
pub enum Submission {
    /// It did not reach the checks of its content.
    Rejected(Rejection),
    /// It opened and decoded.
    Payload {
        /// The payload.
        payload: Box<Payload>,
        /// Hash of its bytes.
        hash: ContentHash,
        /// Digest of the batches assigned for the steps that it names; none where the uid has no data.
        data_digest: Option<ContentHash>,
    },
}

/// One miner that committed a payload in time.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// The block of its commitment.
    pub block: BlockNumber,
    /// What came of it.
    pub submission: Submission,
}

impl Entry {
    /// Tokens that the payload says it was trained on; 0 where there is none. A payload that says more than its window
    /// allows, or other text than its batches, is rejected.
    pub fn tokens(&self) -> u64 {
        match &self.submission {
            Submission::Payload { payload, .. } => payload.metadata().tokens_trained,
            Submission::Rejected(_) => 0,
        }
    }
}

/// Everything that a judgement depends on, besides the model.
#[derive(Debug)]
pub struct WindowInput<'a> {
    /// The run's rules as they hold in the window.
    pub genesis: &'a Genesis,
    /// The most inner steps on the window's own batches.
    pub inner_steps: u32,
    /// The run.
    pub run: RunId,
    /// The window.
    pub window: Window,
    /// Drawn after sealing.
    pub beacon: Beacon,
    /// The agreed parameters at the window's start, and the momentum where the run has one.
    pub start: &'a OuterState,
    /// Its hash.
    pub start_state: StateHash,
    /// Who is registered at the window's end.
    pub registered: &'a BTreeMap<Uid, PublicKey>,
    /// Who committed a payload in time, in any order.
    pub entries: &'a [Entry],
    /// The payloads of the last windows, as far as this judge has them.
    pub earlier: &'a dyn EarlierPayloads,
    /// The agreed ratings before this window.
    pub ratings: &'a Ratings,
}

/// How the run merges payloads.
pub fn merge_rule(genesis: &Genesis) -> MergeRule {
    MergeRule { method: genesis.outer.merge, scales: genesis.outer.scales, ..MergeRule::default() }
}

/// How often the rest of a window of strangers is judged again, at most, after the harmful were left out.
const ROUNDS: usize = 4;

/// Judges one window. Pure: the same input and the same model give the same verdict on every machine.
pub fn judge(input: &WindowInput<'_>, model: &mut dyn Model) -> Result<Verdict, JudgeError> {
    let failed = |source: MeasureError| JudgeError::Measure { window: input.window, source };
    let mut ratings = input.ratings.clone();
    ratings.keep_registered(input.registered);
    let mut judgement = Judgement { input, ratings: &ratings, cases: open_cases(input, &ratings) };
    let (mut ranked, mut confirmation) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        let harmful = judgement.strangers_that_harm();
        let first = judgement.first_pass(model).map_err(failed)?;
        ranked = judgement.rank(&first.threshold);
        confirmation = judgement.decide(model, &first, &ranked).map_err(failed)?;
        let is_null = confirmation.as_ref().is_none_or(|own: &Confirmation| own.confirmed.is_empty());
        // Where nobody is rated, a majority that overshoots looks best at the start and sets the threshold. Who was found out
        // is left out, and the rest is judged again.
        if !is_null || judgement.strangers_that_harm() == harmful {
            break;
        }
    }
    // Their sum doubles the lots of an audit and does nothing else, and they cost as much as the first pass.
    let is_audited = input.genesis.audit.is_on();
    let probes = if is_audited { judgement.probe(model).map_err(failed)? } else { Vec::new() };
    let cases = judgement.cases;
    let selected = confirmation.as_ref().map_or(Vec::new(), |confirmation| confirmation.confirmed.clone());
    let taken = confirmation.as_ref().filter(|_| !selected.is_empty());
    let findings = findings(&cases, &ratings, &ranked, taken, probes);
    let settlement = Settlement { rule: &input.genesis.judging, window: input.window, registered: input.registered };
    let mut after = ratings.clone();
    after.fold(&AgreedFindings::of_one(&findings), settlement);
    let verdict = |case| miner_verdict(case, input.ratings, &after, &findings);
    let miners = cases.iter().map(verdict).collect();
    Ok(Verdict {
        run: input.run,
        window: input.window,
        beacon: input.beacon,
        start_state: input.start_state,
        miners,
        confirmation,
        selected,
        findings,
        ratings: after,
    })
}
