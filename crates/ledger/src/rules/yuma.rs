//! Yuma consensus: from stake, weights and bonds to the shares of miners and validators.
//!
//! [`epoch`] is a pure function. Its steps, for uids i (validators) and j (miners):
//!
//! ```text
//! S = normalise(stake)             stake under the threshold counts nothing, the owner's always counts
//! A = normalise(S)                 of those that are active and hold a permit
//! W = normalise by row(weights)    of permit holders; no self-weight but the owner's; nothing older than its target
//! C_j = stake-weighted median      of column j of W at kappa
//! W̄_ij = min(W_ij, C_j)            validator trust T_i = Σ_j W̄_ij
//! R_j = Σ_i A_i W̄_ij               incentive I = normalise(R)
//! V = W + penalty · (W̄ − W)
//! classic:  E = col-normalise(α · col-normalise(V·A) + (1 − α) · col-normalise(B)),   D_i = Σ_j E_ij I_j
//! Yuma 3:   E = α · V + (1 − α) · B,                     D_i = A_i · Σ_j col-normalise(E)_ij I_j
//! dividends = normalise(D);  emission = normalise(I + D), of which I goes to miners and D to validators
//! ```
//!
//! α is `1 − bonds_moving_average / 10^6`, or with liquid alpha a sigmoid of how far a weight is from the consensus.
//! Matrices are sparse rows of (uid, value); an entry that is there with the value zero is not the same as one that is
//! missing, as on the chain. Source: `pallets/subtensor/src/epoch/run_epoch.rs` of subtensor.

mod bonds;
mod epoch;
mod median;
mod rows;
mod terms;

pub use epoch::epoch;
pub use terms::{EpochInput, EpochRow, EpochTerms};
