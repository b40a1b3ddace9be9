//! Whose history an event belongs to.

use crate::Event;
use templar_base::PublicKey;

impl Event {
    /// The keys in whose history the event stands, each once.
    pub fn accounts(&self) -> Vec<PublicKey> {
        let mut keys = match self {
            Self::Transferred { from, to, .. } => vec![*from, *to],
            Self::Registered { hotkey, coldkey, replaced, .. } => {
                let mut keys = vec![*hotkey, *coldkey];
                keys.extend(replaced);
                keys
            }
            Self::StakeAdded { hotkey, coldkey, .. }
            | Self::StakeRemoved { hotkey, coldkey, .. }
            | Self::RootStakeAdded { hotkey, coldkey, .. }
            | Self::RootStakeRemoved { hotkey, coldkey, .. } => vec![*hotkey, *coldkey],
            Self::StakeMoved { from, to, coldkey, .. } => vec![*from, *to, *coldkey],
            Self::TakeSet { hotkey, .. } | Self::Emitted { hotkey, .. } => vec![*hotkey],
            Self::Governance(event) => event.accounts(),
            Self::Access(event) => event.accounts(),
            // Commitments and weights come with every window and move no money; pool and epochs are everybody's.
            Self::WeightsSet { .. }
            | Self::WeightsCommitted { .. }
            | Self::Committed { .. }
            | Self::Bought { .. }
            | Self::Sold { .. }
            | Self::EpochEnded { .. } => Vec::new(),
        };
        keys.sort();
        keys.dedup();
        keys
    }
}
