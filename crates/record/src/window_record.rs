//! What the public record says of one window: who sealed, who voted what, what was agreed, applied and reported.

mod reading;

pub use reading::{finished_at, is_gone, read_window};

use crate::evaluation::{EvaluationStanding, EvaluationView};
use serde::Serialize;
use templar_base::{Alpha, BlockNumber, ContentHash, Mark, PublicKey, StateHash, StepShare, Uid, Window};
use templar_gauntlet::Rating;

/// How far a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its blocks are being made: miners train and seal.
    Training,
    /// Its blocks are over: it is judged and applied.
    Judging,
    /// Nothing of it changes any more.
    Finished,
}

/// A point on a window's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowMoment {
    /// What happens.
    pub what: &'static str,
    /// In which block.
    pub block: BlockNumber,
    /// When that block was made, in milliseconds since 1970 by the block authority's clock; none before it.
    pub time_ms: Option<u64>,
}

/// A validator whose stake counts in the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ElectorView {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its lasting stake, the weight of its vote, in rao.
    pub stake_rao: Alpha,
    /// The block of its vote; none where it has no vote that counts.
    pub voted_at: Option<BlockNumber>,
    /// Whose payloads it would merge.
    pub selected: Vec<Uid>,
    /// The part of the outer step that it would take.
    pub step: Option<StepShare>,
    /// The verdict that explains its vote.
    pub verdict: Option<ContentHash>,
    /// The state of the parameters that it reported after the window.
    pub state: Option<StateHash>,
    /// The aggregate that it reported.
    pub aggregate: Option<ContentHash>,
    /// The ratings that it reported.
    pub ratings: Option<ContentHash>,
    /// How many right votes it had at the window's start, counted up to what the run asks for; none where it does not ask, or
    /// where that is not known.
    pub right_votes: Option<usize>,
}

/// What more than half of the stake reported after the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgreedView {
    /// The state root of the parameters.
    pub state: StateHash,
    /// The merged payload; none in a null window.
    pub aggregate: Option<ContentHash>,
    /// The root of the ratings.
    pub ratings: ContentHash,
    /// Validators that reported exactly this.
    pub validators: usize,
    /// Where the aggregate can be fetched, by one of them.
    pub url: Option<String>,
}

/// The verdict with the most stake behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictView {
    /// Its hash.
    pub hash: ContentHash,
    /// Whose bucket should have it.
    pub holders: Vec<PublicKey>,
    /// Why it could not be read; none where it was.
    pub missing: Option<String>,
    /// Where it can be fetched, by one of them.
    pub url: Option<String>,
}

/// What a miner committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealedView {
    /// The block that holds it.
    pub block: BlockNumber,
    /// Hash of the sealed object.
    pub digest: ContentHash,
    /// Its size.
    pub bytes: u32,
    /// Where it can be fetched, as long as the miner keeps it.
    pub url: Option<String>,
}

/// A number with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// The number.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
}

/// What is known of one miner in the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MinerView {
    /// Its slot.
    pub uid: Uid,
    /// Who held the slot at the window's end.
    pub hotkey: Option<PublicKey>,
    /// What it committed in time.
    pub sealed: Option<SealedView>,
    /// Whether it committed something malformed.
    pub is_malformed: bool,
    /// Where it stands, as more than half of the stake says; none where it is no candidate.
    pub mark: Option<Mark>,
    /// Whether it surely reached the threshold, as agreed.
    pub is_sure: bool,
    /// What it brought as a part of what a typical payload brought (1 is an equal part), as agreed.
    pub share: Option<Measured>,
    /// Where it stands, in words, as the verdict says; a refusal has its reason.
    pub standing: Option<String>,
    /// Whether the admission checks rejected it.
    pub is_refused: bool,
    /// Hash of its payload, if it opened.
    pub payload: Option<ContentHash>,
    /// Tokens that the payload states.
    pub tokens: Option<u64>,
    /// What it brought (φ), in nats.
    pub contribution: Option<Measured>,
    /// Its rating before the window.
    pub rating_before: Option<Measured>,
    /// Its rating after the window, if the verdict's numbers were agreed.
    pub rating_after: Option<Measured>,
}

impl MinerView {
    pub(crate) fn new(uid: Uid) -> Self {
        Self {
            uid,
            hotkey: None,
            sealed: None,
            is_malformed: false,
            mark: None,
            is_sure: false,
            share: None,
            standing: None,
            is_refused: false,
            payload: None,
            tokens: None,
            contribution: None,
            rating_before: None,
            rating_after: None,
        }
    }
}

/// A rating as a number with an error.
pub(crate) fn measured(rating: Rating) -> Measured {
    Measured { mean: rating.mean, error: rating.variance.sqrt() }
}

/// What the public record says of one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowRecord {
    /// The window.
    pub window: Window,
    /// How far it is.
    pub stage: Stage,
    /// Its deadlines, in the order of time.
    pub timeline: Vec<WindowMoment>,
    /// From its first block to the first one after it; none while that is not known.
    pub seconds: Option<f64>,
    /// Whether nothing was merged.
    pub is_null: bool,
    /// Why nothing was merged.
    pub null_reason: Option<String>,
    /// Whose payloads were merged, as agreed.
    pub selected: Vec<Uid>,
    /// The part of the outer step that was taken; none in a null window.
    pub step: Option<StepShare>,
    /// Tokens that the merged payloads state, by the verdict.
    pub tokens: Option<u64>,
    /// Loss on the window's text of judgement at its start, in nats per token, by the verdict.
    pub loss_before: Option<f64>,
    /// The same after the step.
    pub loss_after: Option<f64>,
    /// Size of all sealed payloads.
    pub sealed_bytes: u64,
    /// Whose stake counts.
    pub electors: Vec<ElectorView>,
    /// Whether all permit holders are counted, although the run asks for right votes: the ratings of that time could not be read.
    pub counts_all_permits: bool,
    /// What more than half of the stake reported; none where there is no such majority.
    pub agreed: Option<AgreedView>,
    /// The verdict with the most stake behind it; none where nobody voted.
    pub verdict: Option<VerdictView>,
    /// Everybody that committed something, or is named in a vote, by uid.
    pub miners: Vec<MinerView>,
    /// What electors found when they put the tasks of the genesis to the model at the window's start, by uid.
    pub evaluations: Vec<EvaluationView>,
}

impl WindowRecord {
    /// Whether its outcome stands.
    pub fn is_decided(&self) -> bool {
        self.is_null || !self.selected.is_empty()
    }

    /// Merged tokens a second, of a window with a length.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.seconds.filter(|seconds| *seconds > 0.0)?;
        Some(self.tokens? as f64 / seconds)
    }

    /// Electors that reported the agreed state, and those that reported any. Miners that earned stake may be electors and
    /// report nothing.
    pub fn in_sync(&self) -> (usize, usize) {
        let state = self.agreed.as_ref().map(|agreed| agreed.state);
        let same = self.electors.iter().filter(|elector| state.is_some() && elector.state == state).count();
        (same, self.electors.iter().filter(|elector| elector.state.is_some()).count())
    }

    /// What was found of the model at the window's start: the result with the most stake behind it.
    pub fn evaluation(&self) -> Option<&EvaluationView> {
        self.evaluations.iter().find(|view| view.standing == EvaluationStanding::Leading)
    }

    /// What is known of a miner.
    pub fn miner(&self, uid: Uid) -> Option<&MinerView> {
        self.miners.iter().find(|miner| miner.uid == uid)
    }
}
