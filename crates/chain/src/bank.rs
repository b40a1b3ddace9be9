//! Balances, stakes and what happened to them.

use crate::{ChainError, EventRecord};
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey, Rao};

/// Free balance and transaction count of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Account {
    /// Balance that is not staked.
    pub balance: Rao,
    /// Included transactions so far, and the nonce of the next.
    pub nonce: u64,
}

/// Sums over the whole ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Totals {
    /// All TAO that was ever created, less what was recycled.
    pub issued: Rao,
    /// TAO that was destroyed.
    pub burned: Rao,
    /// Fees that were taken out of what is issued, to be issued again by the curve.
    #[serde(default)]
    pub recycled: Rao,
    /// TAO in the subnet's pool, fees included.
    pub pooled: Rao,
    /// Price of a slot now.
    pub registration_price: Rao,
}

/// A chain whose balances and events can be read.
#[async_trait]
pub trait Bank: Send + Sync {
    /// Balance and nonce; zeros for an unknown key.
    async fn account(&self, key: &PublicKey) -> Result<Account, ChainError>;

    /// What `coldkey` has staked behind `hotkey`, in the subnet's token.
    async fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Result<Alpha, ChainError>;

    /// Price of a slot now.
    async fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ChainError>;

    /// Events of the blocks `from..=to`, at most [`MAX_EVENT_BLOCKS`](crate::MAX_EVENT_BLOCKS) of them.
    async fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ChainError>;

    /// Events that concern `key` in kept blocks before `before` (or all), the newest first; at most `limit` and
    /// [`MAX_ENTRIES`](crate::MAX_ENTRIES).
    async fn history(
        &self,
        key: &PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ChainError>;

    /// The ledger's sums.
    async fn totals(&self) -> Result<Totals, ChainError>;
}
