//! Access: paying for the trained model and for compute with the subnet's token.
//!
//! A payer puts alpha from its stake into a prepaid account, for one key at one gateway. The gateway meters what it
//! serves and signs records of *cumulative* units; the ledger charges what a record says beyond the one before. A record
//! sent twice, or an older one, therefore charges nothing, and a lost one is made good by the next: a gateway that is
//! killed between serving and charging neither charges twice nor loses what it has written down ([`Meter`](crate::Meter)).
//!
//! ```text
//!  payer's stake ──open──▶ account (payer, gateway, key) ──settle──▶ burned · treasury · miners and validators
//!        ▲                          │
//!        └────────── close ─────────┘  what is unused; at once by the gateway, after some blocks by the payer
//! ```
//!
//! What a payer risks is its account: a dishonest gateway can charge it for what was never served, and no more. Stake is
//! a key to the door as well: who holds a tier's stake gets a number of units an epoch before anything is charged.

mod call;
mod prepaid;

pub(crate) use call::{apply, begin_block, end_epoch};
