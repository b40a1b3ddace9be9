//! A validator's full statement about a window: every term, so that anyone can recompute it.

use crate::{Confirmation, Contribution, Rating, Ratings, Rejection};
use serde::{Deserialize, Serialize};
use templar_base::{Beacon, ContentHash, PublicKey, RunId, StateHash, StepShare, Uid, Window};

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
    /// The ratings from here on, if this verdict is agreed.
    pub ratings: Ratings,
}

impl Verdict {
    /// The uids whose payloads passed all checks, ascending.
    pub fn accepted(&self) -> Vec<Uid> {
        self.miners.iter().filter(|miner| miner.standing.is_accepted()).map(|miner| miner.uid).collect()
    }

    /// What it says of one miner; none where that miner committed nothing.
    pub fn miner(&self, uid: Uid) -> Option<&MinerVerdict> {
        self.miners.iter().find(|miner| miner.uid == uid)
    }

    /// Whether a miner's error feedback is worth nothing after this verdict: its payload did harm, or no payload at all
    /// was admitted. Then the window is null and what was sent goes back into the feedback: what the judges found
    /// worthless must not be sent again, twice as large.
    pub fn voids_feedback_of(&self, uid: Uid) -> bool {
        let Some(own) = self.miner(uid) else { return false };
        own.standing == Standing::Harmful || self.selected.is_empty()
    }

    /// The part of the outer step that should be taken.
    pub fn step(&self) -> StepShare {
        self.confirmation.as_ref().map_or(StepShare::Whole, |confirmation| confirmation.step)
    }

    /// Tokens of the merged payloads, as their miners tell.
    pub fn tokens(&self) -> u64 {
        let merged = self.miners.iter().filter(|miner| miner.standing == Standing::Selected);
        merged.fold(0, |sum, miner| sum.saturating_add(miner.tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(standings: &[Standing], selected: &[u16]) -> Verdict {
        let miner = |(uid, standing): (u16, &Standing)| MinerVerdict {
            uid: Uid(uid),
            hotkey: PublicKey::new([uid as u8; 32]),
            payload: None,
            tokens: 0,
            standing: standing.clone(),
            contribution: None,
            rating_before: None,
            rating_after: None,
        };
        Verdict {
            run: RunId::default(),
            window: Window(0),
            beacon: Beacon::default(),
            start_state: StateHash::default(),
            miners: (0..).zip(standings).map(miner).collect(),
            confirmation: None,
            selected: selected.iter().copied().map(Uid).collect(),
            ratings: Ratings::default(),
        }
    }

    #[test]
    fn feedback_is_void_after_harm_and_where_no_payload_was_admitted() {
        use Standing::{Admitted, Harmful, NotAdmitted, Selected};
        let some = verdict(&[Selected, Harmful, NotAdmitted, Admitted], &[0]);
        assert_eq!([0, 1, 2, 3, 4].map(|uid| some.voids_feedback_of(Uid(uid))), [false, true, false, false, false]);
        let none = verdict(&[NotAdmitted, Harmful], &[]);
        assert_eq!([0, 1, 2].map(|uid| none.voids_feedback_of(Uid(uid))), [true, true, false]);
    }
}
