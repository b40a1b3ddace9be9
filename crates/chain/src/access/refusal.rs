//! Why access refuses a call.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, PublicKey};

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
