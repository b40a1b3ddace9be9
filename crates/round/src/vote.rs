//! A validator's vote on a window: small enough for the ledger, bound to the full verdict by its hash.

use crate::sealing::parse_exactly;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, MAX_SELECTED, MAX_UIDS, StepShare, Uid};

/// Highest uid that fits a vote's bitmap, so that a vote stays under the chain's 512 bytes.
const MAX_UID: u16 = MAX_UIDS - 1;

/// Whom a validator accepts and selects in one window.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Vote {
    /// Bit `uid` says whether the payload of `uid` passed all checks; no trailing zero byte.
    accepted: Vec<u8>,
    /// Whose payloads should be merged, best first.
    selected: Vec<Uid>,
    /// The part of the outer step that should be taken.
    step: StepShare,
    /// Hash of the full verdict.
    verdict: ContentHash,
}

/// Bytes on the ledger that are no vote; the validator is at fault and its vote does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoteError {
    /// The bytes do not decode.
    #[error("the vote does not decode; the validator is at fault")]
    Malformed,
    /// More uids than may be selected, one twice, or one that was not accepted.
    #[error("the vote selects too many uids, one twice, or one that it does not accept; the validator is at fault")]
    Selection,
    /// A uid that no subnet has.
    #[error("the vote names a uid over {MAX_UID}; the validator is at fault")]
    Uid,
}

impl Vote {
    /// A vote for these uids.
    pub fn new(accepted: &[Uid], selected: &[Uid], step: StepShare, verdict: ContentHash) -> Result<Self, VoteError> {
        let mut bitmap = Vec::new();
        for uid in accepted {
            if uid.0 > MAX_UID {
                return Err(VoteError::Uid);
            }
            let byte = uid.index() / 8;
            if bitmap.len() <= byte {
                bitmap.resize(byte + 1, 0);
            }
            bitmap[byte] |= 1 << (uid.index() % 8);
        }
        let vote = Self { accepted: bitmap, selected: selected.to_vec(), step, verdict };
        vote.check()?;
        Ok(vote)
    }

    /// Reads a vote from the ledger.
    pub fn from_ledger(bytes: &[u8]) -> Result<Self, VoteError> {
        let vote: Self = parse_exactly(bytes).ok_or(VoteError::Malformed)?;
        vote.check()?;
        Ok(vote)
    }

    fn check(&self) -> Result<(), VoteError> {
        if self.accepted.len() > usize::from(MAX_UID / 8) + 1 || self.accepted.last() == Some(&0) {
            return Err(VoteError::Malformed);
        }
        let distinct = self.selected.iter().enumerate().all(|(i, uid)| !self.selected[..i].contains(uid));
        if self.selected.len() > MAX_SELECTED || !distinct || !self.selected.iter().all(|uid| self.accepts(*uid)) {
            return Err(VoteError::Selection);
        }
        Ok(())
    }

    /// The part of the outer step that should be taken.
    pub fn step(&self) -> StepShare {
        self.step
    }

    /// Whether the payload of `uid` passed all checks.
    pub fn accepts(&self, uid: Uid) -> bool {
        self.accepted.get(uid.index() / 8).is_some_and(|byte| byte >> (uid.index() % 8) & 1 == 1)
    }

    /// Whose payloads should be merged, best first.
    pub fn selected(&self) -> &[Uid] {
        &self.selected
    }

    /// Hash of the full verdict.
    pub fn verdict(&self) -> ContentHash {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vote_survives_the_ledger_and_stays_under_its_limit() {
        let accepted: Vec<Uid> = (0..=MAX_UID).map(Uid).collect();
        let selected: Vec<Uid> = accepted.iter().copied().rev().take(MAX_SELECTED).collect();
        let vote = Vote::new(&accepted, &selected, StepShare::Half, ContentHash::of(b"v")).unwrap();
        let bytes = vote.encode();
        assert!(bytes.len() <= 512, "{}", bytes.len());
        assert_eq!(Vote::from_ledger(&bytes), Ok(vote));
    }

    #[test]
    fn votes_that_contradict_themselves_are_refused() {
        let hash = ContentHash::default();
        assert_eq!(Vote::new(&[Uid(1)], &[Uid(2)], StepShare::Whole, hash), Err(VoteError::Selection));
        assert_eq!(Vote::new(&[Uid(1)], &[Uid(1), Uid(1)], StepShare::Whole, hash), Err(VoteError::Selection));
        assert_eq!(Vote::new(&[Uid(1024)], &[], StepShare::Whole, hash), Err(VoteError::Uid));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_decodes_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(vote) = Vote::from_ledger(&bytes) {
                prop_assert_eq!(vote.encode(), bytes);
            }
        }
    }
}
