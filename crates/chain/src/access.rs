//! Access as its users see it: prepaid accounts, metering records, and why a call is refused.

mod call;
mod record;
mod refusal;
mod terms;

pub use call::{AccessCall, AccessEvent};
pub use record::MeteringRecord;
pub use refusal::AccessRefusal;
pub use terms::{AccessTerms, Service, StakeTier, Units};

use crate::ChainError;
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey};

/// Records that one transaction settles at most: each is a signature to check.
pub const MAX_RECORDS: usize = 64;

/// Names an account: who serves, and which key is served.
pub type AccountKey = (PublicKey, PublicKey);

/// A prepaid account as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct AccessAccount {
    /// Coldkey that paid, and gets back what is unused.
    pub payer: PublicKey,
    /// Hotkey behind which the stake lay, and will lie again.
    pub hotkey: PublicKey,
    /// Which of all accounts it is, from 0: records of an earlier account of the same name are none of this one.
    pub serial: u64,
    /// What is left.
    pub balance: Alpha,
    /// What was charged so far.
    pub charged: Alpha,
    /// Units of all records so far.
    pub settled: Units,
    /// What a charge rounded off, in thousandths of the token's smallest unit; the next one takes it up.
    pub remainder: u16,
    /// The block at which it closes, if its payer has asked for that.
    pub closes_at: Option<BlockNumber>,
}

/// An account and its name, as the outside sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessAccountView {
    /// Who serves.
    pub gateway: PublicKey,
    /// Which key is served.
    pub key: PublicKey,
    /// The account.
    pub account: AccessAccount,
    /// Units that the payer's stake gives until the epoch's end, before anything is charged.
    pub allowance: Units,
}

/// The money side of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct AccessTotals {
    /// Accounts that were ever opened.
    pub opened: u64,
    /// In all accounts together.
    pub prepaid: Alpha,
    /// Waits for the epoch's end, to go to miners and validators.
    pub rewards: Alpha,
    /// Charged since genesis.
    pub revenue: Alpha,
    /// Of that, burned.
    pub burned: Alpha,
    /// Of that, put into the treasury.
    pub treasury: Alpha,
}

/// What settling one record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Charge {
    /// Units beyond the record before.
    pub units: Units,
    /// Of those, covered by the payer's stake.
    pub allowed: Units,
    /// Taken from the account.
    pub charged: Alpha,
    /// What the account could not pay: the gateway served beyond it.
    pub unpaid: Alpha,
    /// Part of what was charged that is burned.
    pub burned: Alpha,
    /// Part that goes to the treasury.
    pub treasury: Alpha,
    /// Part that goes to miners and validators.
    pub rewards: Alpha,
}

/// Access as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessOverview {
    /// The terms in force.
    pub terms: AccessTerms,
    /// The money side.
    pub totals: AccessTotals,
    /// What the treasury holds.
    pub treasury: Alpha,
}

/// A chain with prepaid accounts for the use of the trained model.
#[async_trait]
pub trait Access: Send + Sync {
    /// Terms and sums.
    async fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ChainError>;

    /// The prepaid account of `key` at `gateway`; none where nobody prepaid.
    async fn access_account(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        key: &PublicKey,
    ) -> Result<Option<AccessAccountView>, ChainError>;

    /// The accounts at a gateway by key, those after `after`; at most [`MAX_ENTRIES`](crate::MAX_ENTRIES).
    async fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ChainError>;
}
