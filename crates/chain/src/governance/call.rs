//! What a key may ask of governance, and what that brings about.

use super::{Action, Ballot, ProposalId, Status};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, PublicKey, Rao};

/// One request to governance; signed by a coldkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum GovernanceCall {
    /// Makes a proposal; costs what the genesis says, which is burned.
    Propose {
        /// For people.
        title: String,
        /// What it would do.
        action: Action,
    },
    /// Votes, or changes a vote.
    Vote {
        /// On which.
        proposal: ProposalId,
        /// How.
        ballot: Ballot,
    },
}

/// One fact of governance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GovernanceEvent {
    /// A proposal was made.
    Proposed {
        /// Its name.
        proposal: ProposalId,
        /// Whose it is.
        proposer: PublicKey,
        /// What it would do.
        action: Action,
        /// What it cost.
        burned: Rao,
    },
    /// Somebody voted.
    Voted {
        /// On which.
        proposal: ProposalId,
        /// Who.
        voter: PublicKey,
        /// How.
        ballot: Ballot,
        /// With how much.
        weight: Alpha,
    },
    /// A proposal was decided.
    Decided {
        /// Which.
        proposal: ProposalId,
        /// How.
        status: Status,
        /// What it does, if it was adopted.
        action: Action,
    },
}

impl GovernanceEvent {
    /// The keys in whose history it stands.
    pub(crate) fn accounts(&self) -> Vec<PublicKey> {
        match self {
            Self::Proposed { proposer, .. } => vec![*proposer],
            Self::Voted { voter, .. } => vec![*voter],
            Self::Decided { status: Status::Adopted, action: Action::Spend { to, hotkey, .. }, .. } => {
                vec![*to, *hotkey]
            }
            Self::Decided { .. } => Vec::new(),
        }
    }
}
