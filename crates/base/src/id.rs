//! Numbers that name things: windows, blocks, subnets, slots.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Encode, Decode)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number_id! {
    /// One round of a run, counted from 0 at the run's start block.
    Window(u64)
}
number_id! {
    /// A block of the ledger, counted from 0 at the ledger's genesis.
    BlockNumber(u64)
}
number_id! {
    /// A key's slot in the subnet.
    Uid(u16)
}
number_id! {
    /// A subnet of the ledger; templar's is 3.
    Netuid(u16)
}

impl Window {
    /// The window after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The window before this one; none before window 0.
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl BlockNumber {
    /// The block that comes `blocks` later.
    pub fn plus(self, blocks: u64) -> Self {
        Self(self.0.saturating_add(blocks))
    }
}
