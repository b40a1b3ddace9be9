//! Balances: one key's, and the sums over the whole ledger.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::Rao;

/// Free balance and transaction count of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Account {
    /// Balance that is not staked.
    pub balance: Rao,
    /// Applied transactions so far, and the nonce of the next.
    pub nonce: u64,
}

/// Sums over the whole ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Totals {
    /// All TAO that was ever created.
    pub issued: Rao,
    /// TAO that was destroyed.
    pub burned: Rao,
    /// TAO in the subnet's pool, fees included.
    pub pooled: Rao,
    /// Price of a slot now.
    pub registration_price: Rao,
}
