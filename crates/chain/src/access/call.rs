//! What a key may ask of access, and what that brings about.

use super::{Charge, MeteringRecord};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, PublicKey};

/// One request to access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum AccessCall {
    /// Prepays for a key at a gateway from stake, or adds to what is there; signed by the coldkey that pays.
    Open {
        /// Who serves.
        gateway: PublicKey,
        /// Which key is served.
        key: PublicKey,
        /// Hotkey behind which the stake lies.
        hotkey: PublicKey,
        /// How much.
        amount: Alpha,
    },
    /// Charges what gateways have served; signed by anybody, since the records are.
    Settle {
        /// Signed by their gateways.
        records: Vec<MeteringRecord>,
    },
    /// Closes an account; signed by its gateway (at once) or its payer (after the closing time).
    Close {
        /// Who serves.
        gateway: PublicKey,
        /// Which key is served.
        key: PublicKey,
    },
}

/// One fact of access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccessEvent {
    /// An account was opened, or added to.
    Opened {
        /// Who serves.
        gateway: PublicKey,
        /// Which key is served.
        key: PublicKey,
        /// Who pays.
        payer: PublicKey,
        /// How much.
        amount: Alpha,
    },
    /// What was served was charged.
    Settled {
        /// Who served.
        gateway: PublicKey,
        /// Which key was served.
        key: PublicKey,
        /// Who pays.
        payer: PublicKey,
        /// How much, and where it went.
        charge: Charge,
    },
    /// A payer wants its account closed.
    Closing {
        /// Who serves.
        gateway: PublicKey,
        /// Which key is served.
        key: PublicKey,
        /// When it closes.
        at: BlockNumber,
    },
    /// An account was closed and what was unused given back.
    Closed {
        /// Who served.
        gateway: PublicKey,
        /// Which key was served.
        key: PublicKey,
        /// Who paid.
        payer: PublicKey,
        /// What was given back.
        refunded: Alpha,
    },
    /// An epoch's revenue went to its miners and validators.
    Shared {
        /// How much.
        amount: Alpha,
    },
}

impl AccessEvent {
    /// The keys in whose history it stands.
    pub(crate) fn accounts(&self) -> Vec<PublicKey> {
        match self {
            Self::Opened { gateway, key, payer, .. }
            | Self::Settled { gateway, key, payer, .. }
            | Self::Closed { gateway, key, payer, .. } => vec![*gateway, *key, *payer],
            Self::Closing { gateway, key, .. } => vec![*gateway, *key],
            Self::Shared { .. } => Vec::new(),
        }
    }
}
