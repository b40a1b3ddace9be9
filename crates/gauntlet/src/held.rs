//! Whether a judge holds a payload: it is here, and passes the checks that need no other payload and no model.

use crate::case::expectation;
use crate::{Entry, Ratings, Rejection, Submission, check_payload};
use templar_base::{Genesis, RunId, StateHash, Window};

/// What a payload is checked against by itself.
#[derive(Debug, Clone, Copy)]
pub struct LoneChecks<'a> {
    /// The run's rules as they hold in the window.
    pub genesis: &'a Genesis,
    /// The most inner steps on the window's own batches.
    pub inner_steps: u32,
    /// The run.
    pub run: RunId,
    /// The window.
    pub window: Window,
    /// Hash of the agreed parameters at the window's start.
    pub start_state: StateHash,
    /// The agreed ratings before the window.
    pub ratings: &'a Ratings,
}

impl LoneChecks<'_> {
    /// Checks one payload; what did not reach the checks of its content fails for its own reason.
    pub fn check(&self, entry: &Entry) -> Result<(), Rejection> {
        let known = self.ratings.miners.get(&entry.uid).filter(|known| known.hotkey == entry.hotkey);
        if known.is_some_and(|known| known.is_void) {
            return Err(Rejection::Void);
        }
        match &entry.submission {
            Submission::Rejected(failure) => Err(failure.clone()),
            Submission::Payload { payload, data_digest, .. } => {
                check_payload(payload, &expectation(self, entry.uid, *data_digest))
            }
        }
    }

    /// An entry as it is judged where the payload is nobody's candidate: it counts as if it had not come, unless it has a fault of
    /// its own, which its miner should hear of.
    pub fn without_holders(&self, entry: &Entry) -> Entry {
        let failure = self.check(entry).err().unwrap_or(Rejection::NotHeld);
        Entry { submission: Submission::Rejected(failure), ..*entry }
    }
}
