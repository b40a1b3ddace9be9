//! A whole local ledger behind the traits of [`templar_chain`].
//!
//! The ledger is the network's clock and its only agreement: who is registered, with what stake, who committed what at
//! which block, and who is paid. [`apply`] is a pure function of state and block; [`Ledger`] keeps its results in one
//! crash-safe file and makes blocks; `LedgerServer` serves it; [`LocalChain`] and
//! `templar_chain::RpcChain` are the two ways to reach it, behind one trait.
//!
//! The local ledger has a single block authority and no consensus protocol: it is for one operator's network, for tests
//! and for study. It goes by rule set `s425`, Bittensor's rules at spec version 425: [`s425`] has the constants, [`yuma`]
//! the consensus, [`pool`] the market, `vectors` the check against figures that were computed elsewhere.
//!
//! # Layers
//!
//! ```text
//! arithmetic ← state (rows and tables, nobody's rules) ← rules ← modules ← transition      service above all of them
//! ```
//!
//! What has a subnet's row: the pool (reserves of TAO and alpha, weights, moving price), stake as shares (a hotkey's
//! total, and each coldkey's shares of it, per subnet; subnet 0 is the root, in TAO), slots (an epoch's results per uid),
//! weights, bonds, open weight commits. Everything else is derived and not digested.
//!
//! A module beside the chain's rules (`governance`, `access`, `market`) is
//! - a struct of tables in `state/`, a field of [`State`], whose `tables()` gives them with its numbers to
//!   `State::tables`;
//! - one variant each of [`Call`](templar_chain::Call), [`Event`](templar_chain::Event) and
//!   [`Refusal`](templar_chain::Refusal) that wraps the module's own enum; `transition.rs` hands the call to the module,
//!   which checks everything before it writes anything;
//! - where it needs it a line in `begin_block` (before the block's transactions) or `end_block` (after them, with the
//!   block's events) of `transition.rs`.
//!
//! Amounts that a module holds are in its [`Escrow`], so that conservation covers them.
//!
//! ```
//! use templar_base::{Keypair, Rao};
//! use templar_chain::{Bank, Call, Chain};
//! use templar_ledger::{LocalChain, Profile};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let (alice, bob) = (Keypair::from_uri("//Alice").unwrap(), Keypair::from_uri("//Bob").unwrap());
//! let profile = Profile::local(alice.public(), &[]);
//! let chain = LocalChain::in_memory(&profile).unwrap().with_block_on_submit();
//!
//! chain.submit(&alice, Call::Transfer { to: bob.public(), amount: Rao::from_rao(5_000) }).await.unwrap();
//! let register = Call::Register { netuid: profile.netuid, hotkey: bob.public(), max_price: None };
//! chain.submit(&alice, register).await.unwrap();
//!
//! assert_eq!(chain.account(&bob.public()).await.unwrap().balance, Rao::from_rao(5_000));
//! assert_eq!(chain.metagraph(profile.netuid, None).await.unwrap().neurons[0].hotkey, bob.public());
//! # });
//! ```

mod arithmetic;
mod modules;
mod rules;
mod service;
mod state;
mod transition;
#[cfg(feature = "vectors")]
pub mod vectors;

pub use arithmetic::fixed;
pub use modules::market::KEPT_EPOCHS;
pub use rules::commitment::COMMITMENT_OVERHEAD_BYTES;
pub use rules::conservation::{ConservationError, check_conservation};
pub use rules::emission::EMISSION_RULE;
pub use rules::explain::explain;
pub use rules::payout::PaidEpoch;
pub use rules::{curve, pool, s425, yuma};
pub use service::authority::{Ledger, ReplayError, replay};
pub use service::local::LocalChain;
pub use service::meter::{Meter, MeterError, RequestId};
pub use service::replica::{Replica, ReplicaError, SnapshotSource, fetch_snapshot};
#[cfg(feature = "server")]
pub use service::server::{
    ClientLimits, ConnectionTimeouts, LedgerHandle, LedgerMetrics, LedgerServer, ServerError, ServerOptions,
};
pub use service::snapshot::{MAX_PART_BYTES, MAX_PARTS, SNAPSHOT_BLOCKS};
pub use service::store::StoreError;
pub use state::{
    Bounds, Escrow, GovernanceRule, Holding, LoadRule, MAX_ISSUANCE_RAO, PoolRule, Profile, ProfileError, ROOT,
    RegistrationPrice, RuleSet, State, Subnet,
};
pub use transition::{Applied, BlockInput, BlockOrderError, apply};
