//! The state of a ledger: rows and tables, and nobody's rules.
//!
//! [`State`] is a set of tables (`table.rs`: sorted, digested, journaled); `State::tables` lists them all under fixed
//! numbers, and digest, store and restart go by that list alone. Nothing here knows why a row changes.

mod access;
mod balances;
mod escrow;
mod governance;
mod governance_rule;
mod load_rule;
mod market;
mod moving_price;
mod price;
mod profile;
mod records;
mod rows;
mod table;
mod weighted_pool;
mod whole;

pub(crate) use access::AccessState;
pub use escrow::{Escrow, Holding};
pub(crate) use governance::GovernanceState;
pub use governance_rule::{Bounds, GovernanceRule};
pub use load_rule::LoadRule;
pub(crate) use market::MarketState;
pub use moving_price::MovingPrice;
pub use price::Price;
pub use profile::{MAX_ISSUANCE_RAO, PoolRule, Profile, ProfileError, RegistrationPrice, RuleSet};
pub(crate) use rows::{Commitment, CommitmentKey, Slot, StakeTotal, WeightCommit};
pub use rows::{ROOT, Subnet};
pub(crate) use table::{Change, StateChanges};
pub use weighted_pool::{WEIGHT_ONE, WeightedPool};
pub use whole::{LAST_REPORTS, State};
