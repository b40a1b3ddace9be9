//! A validator's full statement about a window: every term, so that anyone can recompute it.

use crate::{Confirmation, Contribution, Rating, Ratings, Rejection};
use serde::{Deserialize, Serialize};
use templar_base::{
    AgreedFindings, Beacon, ContentHash, Findings, PublicKey, RunId, StateHash, StepShare, Uid, Window,
};

/// Where a miner stands in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not a candidate.
    Rejected(Rejection),
    /// A candidate whose contribution surely makes the model worse.
    Harmful,
    /// A candidate whose contribution is too small or too unsure.
    NotAdmitted,
    /// Admitted, without a place among the selected.
    Admitted,
    /// Admitted, and left out: the step without it keeps its promise, the step with it doesn't.
    Dropped,
    /// Merged into the model.
    Selected,
}

impl Standing {
    /// Whether the payload passed all admission checks.
    pub fn is_accepted(&self) -> bool {
        !matches!(self, Self::Rejected(_))
    }

    /// One word or sentence for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Rejected(failure) => format!("refused: {failure}"),
            Self::Harmful => "harmful: it makes the model worse".to_owned(),
            Self::NotAdmitted => "not admitted: its contribution is too small or too unsure".to_owned(),
            Self::Admitted => "admitted, not selected".to_owned(),
            Self::Dropped => "left out: the step brings what it should without it, not with it".to_owned(),
            Self::Selected => "selected".to_owned(),
        }
    }
}

/// What a verdict says of one miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerVerdict {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Hash of its payload, if it opened.
    pub payload: Option<ContentHash>,
    /// Tokens that it says to have trained.
    pub tokens: u64,
    /// Where it stands.
    pub standing: Standing,
    /// Its contribution, if it was measured.
    pub contribution: Option<Contribution>,
    /// Its rating before this window.
    pub rating_before: Option<Rating>,
    /// Its rating after this window.
    pub rating_after: Option<Rating>,
}

/// The statement; equal for all honest judges that saw the same payloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The run.
    pub run: RunId,
    /// The window.
    pub window: Window,
    /// What drew the evaluation data and the lots.
    pub beacon: Beacon,
    /// The parameters at the window's start.
    pub start_state: StateHash,
    /// One entry for each miner that committed a payload, by uid.
    pub miners: Vec<MinerVerdict>,
    /// What the full step brings; none where nobody was admitted.
    pub confirmation: Option<Confirmation>,
    /// Whose payloads should be merged, best first.
    pub selected: Vec<Uid>,
    /// The numbers that the vote carries.
    pub findings: Findings,
    /// The ratings from here on, if these numbers are agreed.
    pub ratings: Ratings,
}

impl Verdict {
    /// What it says of one miner; none where that miner committed nothing.
    pub fn miner(&self, uid: Uid) -> Option<&MinerVerdict> {
        self.miners.iter().find(|miner| miner.uid == uid)
    }

    /// The part of the outer step that should be taken.
    pub fn step(&self) -> StepShare {
        self.findings.step
    }

    /// What is agreed where this judge decides alone.
    pub fn alone(&self) -> AgreedFindings {
        AgreedFindings::of_one(&self.findings)
    }

    /// Tokens of the merged payloads, as their miners tell.
    pub fn tokens(&self) -> u64 {
        let merged = self.miners.iter().filter(|miner| miner.standing == Standing::Selected);
        merged.fold(0, |sum, miner| sum.saturating_add(miner.tokens))
    }
}
