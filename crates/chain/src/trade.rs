//! Trades with the pool: how far one may move the price, and why the pool rejects one.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::Rao;

/// A swap that the pool cannot do; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, Encode, Decode)]
#[non_exhaustive]
pub enum PoolError {
    /// The reserves would fall under the least.
    #[error("InsufficientLiquidity: the pool's reserves do not cover it; trade less")]
    InsufficientLiquidity,
    /// More would be traded than the limit price allows.
    #[error("SlippageTooHigh: the limit price is reached before the whole amount is traded; trade less or give way")]
    SlippageTooHigh,
}

/// How far a swap may move the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct PriceLimit {
    /// What a whole alpha may cost at the end: at most this for a buyer, at least this for a seller.
    pub rao_per_alpha: Rao,
    /// Trade as much as the limit allows; otherwise all or nothing.
    pub allow_partial: bool,
}
