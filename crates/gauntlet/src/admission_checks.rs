//! Admission checks: cheap checks of one payload against what the window expects. Each rejection has a name.

use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, RunId, StateHash, Uid, Window};
use templar_gradient::Payload;

/// A payload whose kept magnitudes add up to more than this multiple of the model's recent history is out of bounds.
/// Honest drift changes by a few tens of percent from window to window; the step of a warm-up by a factor of two.
const MAGNITUDE_LIMIT: u64 = 16;

/// Why a miner's payload is not a candidate. The miner can read it in the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The commitment on the ledger is malformed.
    #[error("the commitment on the ledger is malformed")]
    Commitment,
    /// The sealed object or its key was not in the miner's bucket in time.
    #[error("the sealed payload or its key was not in the bucket in time")]
    Missing,
    /// No more than half of the electors' stake held the payload in time: for all judges it is as if it had not come.
    #[error("no more than half of the electors' stake held the payload in time")]
    NotHeld,
    /// Object, key and commitment do not fit each other.
    #[error("the sealed payload does not open: {reason}")]
    Unopened {
        /// What does not fit.
        reason: String,
    },
    /// The payload does not decode.
    #[error("the payload does not decode: {reason}")]
    Undecodable {
        /// Where it breaks the format.
        reason: String,
    },
    /// The payload is of another run.
    #[error("the payload is of another run")]
    WrongRun,
    /// The payload is of another window.
    #[error("the payload is of window {actual}")]
    WrongWindow {
        /// The window that it names.
        actual: Window,
    },
    /// The payload is another miner's.
    #[error("the payload is made for uid {actual}")]
    WrongUid {
        /// The uid that it names.
        actual: Uid,
    },
    /// The payload starts from other parameters than the agreed ones.
    #[error("the payload starts from other parameters than those agreed for the window")]
    WrongStart,
    /// The payload was computed with other numerics.
    #[error("the payload was computed with numerics `{actual}`")]
    WrongNumerics {
        /// The numerics that it names.
        actual: String,
    },
    /// No text is assigned for the steps that the payload names.
    #[error("the payload names steps for which no text is assigned, such as some before the first window")]
    NoAssignment,
    /// The numbers of steps and tokens contradict each other or the rules.
    #[error("the numbers of inner steps and tokens do not fit the rules")]
    WrongSteps,
    /// The payload was trained on other data than assigned.
    #[error("the data digest is not that of the assigned batches")]
    WrongData,
    /// An audit proved that the miner made an earlier payload otherwise than it said.
    #[error("an audit proved fraud: the key is void")]
    Void,
    /// An audit of an earlier payload was not answered, as far as this judge saw.
    #[error(
        "an audit of an earlier payload was not answered: the next payload is audited for certain, and judged once that is"
    )]
    Unanswered,
    /// Nothing is sent.
    #[error("every value of the payload is zero")]
    Empty,
    /// The values are out of all proportion.
    #[error("the payload's values add up to {times} times the recent median; at most {MAGNITUDE_LIMIT} are allowed")]
    OutOfBounds {
        /// How many times the recent median.
        times: u64,
    },
    /// Nearly equal to a payload of an earlier window.
    #[error("the payload repeats that of uid {of} in window {window}: {percent} % of its values are the same")]
    Repeat {
        /// Whose.
        of: Uid,
        /// Of which window.
        window: Window,
        /// Kept coordinates with the same sign in the segments that were drawn.
        percent: u32,
    },
    /// Nearly equal to the largest of what was merged in an earlier window.
    #[error(
        "the payload sends what was merged in window {window}: {percent} % of its values are among the largest of that"
    )]
    Merged {
        /// In which window.
        window: Window,
        /// Kept coordinates that are among the largest merged ones, with the same sign, in the segments that were drawn.
        percent: u32,
    },
    /// Nearly equal to a payload that was sealed earlier.
    #[error("the payload is a copy of that of uid {of}: {percent} % of its values are the same")]
    Copy {
        /// The earlier miner.
        of: Uid,
        /// Kept coordinates with the same sign, and nearly the same size where sizes are sent.
        percent: u32,
    },
}

/// What the payload of one miner must say about its window.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation<'a> {
    /// The run.
    pub run: RunId,
    /// The window.
    pub window: Window,
    /// The miner's slot.
    pub uid: Uid,
    /// The agreed parameters at the window's start.
    pub start_state: StateHash,
    /// The run's numerics.
    pub numerics: &'a str,
    /// Open classes that the run allows beside them.
    pub open_numerics: &'a [String],
    /// Tokens of one inner step.
    pub tokens_per_step: u64,
    /// Batches assigned to a miner in a window.
    pub batches_per_window: u32,
    /// Of those, the most that a miner takes in this window. Steps carried over from the window before go by the rules of
    /// that one, and so only by what was assigned.
    pub inner_steps: u32,
    /// Digest of the assigned batches for the steps that the payload names; none where no text is assigned for them.
    pub data_digest: Option<ContentHash>,
    /// Median of the kept magnitudes' sum in recent windows, in the units of the wire format; 0 where unknown.
    pub magnitude_history: u64,
}

/// Checks one payload by itself.
pub fn check_payload(payload: &Payload, expected: &Expectation<'_>) -> Result<(), Rejection> {
    let metadata = payload.metadata();
    if metadata.run != expected.run {
        return Err(Rejection::WrongRun);
    }
    if metadata.window != expected.window {
        return Err(Rejection::WrongWindow { actual: metadata.window });
    }
    if metadata.uid != expected.uid {
        return Err(Rejection::WrongUid { actual: metadata.uid });
    }
    if metadata.start_state != expected.start_state {
        return Err(Rejection::WrongStart);
    }
    if metadata.numerics != expected.numerics && !expected.open_numerics.contains(&metadata.numerics) {
        return Err(Rejection::WrongNumerics { actual: metadata.numerics.clone() });
    }
    let own_steps = metadata.inner_steps.checked_sub(metadata.carried_steps);
    let carried_end = metadata.carried_start.checked_add(metadata.carried_steps);
    let fits = |steps: Option<u32>, most: u32| steps.is_some_and(|steps| steps <= most);
    if metadata.inner_steps == 0
        || !fits(own_steps, expected.inner_steps)
        || !fits(carried_end, expected.batches_per_window)
        || metadata.tokens_trained != u64::from(metadata.inner_steps) * expected.tokens_per_step
    {
        return Err(Rejection::WrongSteps);
    }
    let Some(digest) = expected.data_digest else { return Err(Rejection::NoAssignment) };
    if metadata.data_digest != digest {
        return Err(Rejection::WrongData);
    }
    let magnitude = magnitude_units(payload);
    if magnitude == 0 {
        return Err(Rejection::Empty);
    }
    let limit = expected.magnitude_history.saturating_mul(MAGNITUDE_LIMIT);
    if limit > 0 && magnitude > limit {
        return Err(Rejection::OutOfBounds { times: magnitude / expected.magnitude_history });
    }
    Ok(())
}

/// Sum of a payload's kept magnitudes, in the units of the wire format.
pub(crate) fn magnitude_units(payload: &Payload) -> u64 {
    payload.magnitude()
}
