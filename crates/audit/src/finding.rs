//! What an audit came to, for votes and journals.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use templar_base::{Uid, Window};

/// The result of one auditor's audit of one payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct AuditFinding {
    /// The audited window.
    pub window: Window,
    /// The payload's author.
    pub uid: Uid,
    /// What was found.
    pub finding: Finding,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// All of it was done again and came out the same.
    Agrees,
    /// It was not made as it states; there is evidence.
    Differs {
        /// What differs, in words.
        fault: String,
        /// Number of the first differing transition, where a transition differs.
        transition: Option<u32>,
    },
    /// The author published no answer in time, or one that is not bound by its payloads.
    NoAnswer {
        /// Why, in words.
        reason: String,
    },
    /// The auditor could not do it; that says nothing of the author.
    Undecided {
        /// Why, in words.
        reason: String,
    },
}

impl Finding {
    /// Whether there is evidence against the author.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Differs { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agrees => f.write_str("agrees"),
            Self::Differs { fault, .. } => write!(f, "differs: {fault}"),
            Self::NoAnswer { reason } => write!(f, "no answer: {reason}"),
            Self::Undecided { reason } => write!(f, "not decided: {reason}"),
        }
    }
}
