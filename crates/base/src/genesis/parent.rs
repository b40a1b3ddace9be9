//! The run that a run continues: a new release goes on under new rules from a point that was agreed on.

use crate::{ContentHash, RunId, StateHash, Window};
use serde::{Deserialize, Serialize};

/// An agreed point of another run. Its parameters are the first ones of this run. Its ratings are not taken over: they were
/// measured by other rules, and pay begins with the ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The other run.
    pub run: RunId,
    /// The window whose start it is.
    pub window: Window,
    /// State hash of the parameters, and of the momentum where the other run had one, as most of the stake reported it.
    pub state: StateHash,
    /// Root of its ratings, as most of the stake reported it.
    pub record: ContentHash,
}
