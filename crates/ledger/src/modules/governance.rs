//! Governance: holders of the subnet's token decide on run settings, the price and revenue of access, and the treasury.
//!
//! A proposal is voted on by the least that each coldkey held over the last epochs when it was made (the snapshot), so
//! that no token votes twice and none that was borrowed votes at all; what has voted stays until the close. Votes can be changed until the proposal closes; then it is decided once and never changes. What was adopted is
//! carried out in the deciding block; a run setting holds from the first window that starts after it.
//!
//! ```text
//!  propose            vote, change the vote             block `closes_at`
//!    │  snapshot of stakes │                                  │ quorum? majority?
//!    ▼                     ▼                                  ▼
//!   Open ──────────────── Open ──────────────────▶ Adopted · Rejected · Failed (the treasury is short)
//! ```
//!
//! Quorum, majority, cost and bounds stand in the ledger's profile, whose hash every run's genesis names.

mod call;
mod rule;
mod voting;

pub(crate) use call::{apply, begin_block, check_unlocked};
