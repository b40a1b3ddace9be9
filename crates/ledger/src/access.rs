//! Access: paying for the trained model and for compute with the subnet's token.
//!
//! A payer puts alpha from its stake into a prepaid account, for one key at one gateway. The gateway meters what it
//! serves and signs records of *cumulative* units; the ledger charges what a record says beyond the one before. A record
//! sent twice, or an older one, therefore charges nothing, and a lost one is made good by the next: a gateway that is
//! killed between serving and charging neither charges twice nor loses what it has written down ([`Meter`]).
//!
//! ```text
//!  payer's stake ──open──▶ account (payer, gateway, key) ──settle──▶ burned · treasury · miners and validators
//!        ▲                          │
//!        └────────── close ─────────┘  what is unused; at once by the gateway, after some blocks by the payer
//! ```
//!
//! What a payer risks is its account: a dishonest gateway can charge it for what was never served, and no more. Stake is
//! a key to the door as well: who holds a tier's stake gets so many units an epoch before anything is charged.

mod call;
mod meter;
mod prepaid;
mod record;
mod terms;

pub use call::{AccessCall, AccessEvent};
pub(crate) use call::{apply, begin_block, end_epoch};
pub use meter::{Meter, MeterError, RequestId};
pub(crate) use prepaid::AccessState;
pub use record::MeteringRecord;
pub use terms::{AccessTerms, Service, StakeTier, Units};

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, PublicKey};

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

/// Why access refuses a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, Encode, Decode)]
pub enum AccessRefusal {
    /// Less than an account takes.
    #[error("DepositTooLow: {amount} alpha, at least {minimum} alpha; deposit more")]
    DepositTooLow {
        /// What was given.
        amount: Alpha,
        /// The least.
        minimum: Alpha,
    },
    /// The account is another payer's.
    #[error("AccountOfAnother: {payer} pays for this key at this gateway; use another key")]
    AccountOfAnother {
        /// Who pays.
        payer: PublicKey,
    },
    /// The account stands behind another hotkey.
    #[error("AccountOfOtherHotkey: this account was paid from stake behind {hotkey}; name that hotkey")]
    AccountOfOtherHotkey {
        /// Which one.
        hotkey: PublicKey,
    },
    /// The account is about to close.
    #[error("AccountCloses: this account closes at block {at}; open a new one after it")]
    AccountCloses {
        /// When.
        at: BlockNumber,
    },
    /// There is no such account.
    #[error("NoSuchAccount: nobody prepaid for this key at this gateway; open one with `templar access open`")]
    NoSuchAccount,
    /// Neither payer nor gateway.
    #[error("NotYourAccount: only its payer and its gateway close an account; sign with one of the two")]
    NotYourAccount,
    /// Too many records at once.
    #[error("TooManyRecords: {actual} records, at most {limit}; settle in pieces")]
    TooManyRecords {
        /// Given.
        actual: u32,
        /// Allowed.
        limit: u32,
    },
    /// A record that its gateway has not signed for this ledger.
    #[error("ForgedRecord: record {position} is not signed by the gateway that it names; the sender is at fault")]
    ForgedRecord {
        /// Which of the call's records, from 0.
        position: u32,
    },
}
