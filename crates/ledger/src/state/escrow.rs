//! Money that belongs to no key: what a module holds for others.
//!
//! A module never keeps an amount of its own: it moves what it holds into its escrow and out of it again, so that the
//! law of conservation covers it without knowing the module.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, Rao};

/// Whose escrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Escrow {
    /// The subnet's treasury, spent by vote.
    Treasury,
    /// Prepaid balances for the use of the trained model.
    Access,
}

/// What a escrow holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Holding {
    /// In TAO.
    pub tao: Rao,
    /// In the subnet's token.
    pub alpha: Alpha,
}
