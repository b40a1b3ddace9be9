//! The chain's rules over the state: rule set `s425`, Bittensor's at spec version 425.

pub(crate) mod commit_reveal;
pub(crate) mod commitment;
pub(crate) mod conservation;
pub mod curve;
pub(crate) mod emission;
pub(crate) mod explain;
pub(crate) mod lasting;
pub(crate) mod payout;
pub mod pool;
mod presets;
pub(crate) mod registration;
mod rule_set;
pub mod s425;
mod share;
pub(crate) mod stake;
mod token_transfers;
pub(crate) mod weights;
pub mod yuma;
