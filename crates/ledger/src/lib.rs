//! A whole local ledger behind the traits of [`templar_chain`].
//!
//! The ledger is the network's clock and its only agreement: who is registered, with what stake, who committed what at
//! which block, and who is paid. [`apply`] is a pure function of state and block; [`Ledger`] keeps its results in one
//! crash-safe file and makes blocks; [`LedgerServer`] serves it; [`LocalChain`] and
//! [`templar_chain::RpcChain`] are the two ways to reach it, behind one trait.
//!
//! The local ledger has a single block authority and no consensus protocol: it is for one operator's network, for tests
//! and for study. It goes by rule set `s425`, Bittensor's rules at spec version 425: [`s425`] has the constants, [`yuma`]
//! the consensus, [`pool`] the market, [`vectors`] the check against figures that were computed elsewhere.
//!
//! # How the state is held, and how a module joins it
//!
//! [`State`] is a set of tables (`table.rs`: sorted, digested, journaled); `State::tables` lists them all under fixed
//! numbers, and digest, store and restart go by that list alone. What has a subnet's row: the pool (reserves of TAO and
//! alpha, weights, moving price), stake as shares (a hotkey's total, and each coldkey's shares of it, per subnet; subnet
//! 0 is the root, in TAO), slots (an epoch's results per uid), weights, bonds, open weight commits. Everything else is
//! derived and not digested.
//!
//! A module beside the chain's rules (`governance`, `access`, `market`) is one folder with
//! - a struct of tables, a field of [`State`], whose `tables()` gives them with its numbers to `State::tables`;
//! - one variant each of [`Call`](templar_chain::Call), [`Event`](templar_chain::Event) and [`Refusal`](templar_chain::Refusal) that wraps the module's own enum; `apply_transaction` hands
//!   the call to the module, which checks everything before it writes anything;
//! - where it needs it a line in `begin_block` (before the block's transactions) or `end_block` (after them, with the
//!   block's events) of `transition.rs`.
//!
//! Amounts that a module holds lie in its [`Purse`], so that conservation covers them.
//!
//! ```
//! use templar_base::{Keypair, Rao};
//! use templar_chain::{Call, Chain};
//! use templar_ledger::{LocalChain, Profile};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let (alice, bob) = (Keypair::from_uri("//Alice").unwrap(), Keypair::from_uri("//Bob").unwrap());
//! let profile = Profile::local(alice.public(), &[]);
//! let chain = LocalChain::in_memory(&profile).unwrap().with_block_on_submit();
//!
//! chain.submit(&alice, Call::Transfer { to: bob.public(), amount: Rao(5) }).await.unwrap();
//! let register = Call::Register { netuid: profile.netuid, hotkey: bob.public(), max_price: None };
//! chain.submit(&alice, register).await.unwrap();
//!
//! assert_eq!(chain.account(&bob.public()).await.unwrap().balance, Rao(5));
//! assert_eq!(chain.metagraph(profile.netuid, None).await.unwrap().neurons[0].hotkey, bob.public());
//! # });
//! ```

pub mod access;
mod commit_reveal;
mod commitment;
mod conservation;
pub mod curve;
mod desk;
mod emission;
mod explain;
pub mod fixed;
pub mod governance;
mod ledger;
mod local;
pub mod market;
mod mempool;
mod payout;
pub mod pool;
mod profile;
mod purse;
mod registration;
mod replica;
mod rule_set;
pub mod s425;
mod server;
mod share;
mod snapshot;
mod stake;
mod state;
mod store;
mod subnet;
mod table;
mod token;
mod transition;
pub mod vectors;
mod view;
mod weights;
mod wide;
pub mod yuma;

pub use commitment::COMMITMENT_OVERHEAD_BYTES;
pub use conservation::{ConservationError, check_conservation};
pub use emission::EMISSION_RULE;
pub use explain::explain;
pub use ledger::{Ledger, ReplayError, replay};
pub use local::LocalChain;
pub use payout::PaidEpoch;
pub use profile::{MAX_ISSUANCE_RAO, PoolRule, Profile, ProfileError, RegistrationPrice};
pub use purse::{Holding, Purse};
pub use replica::{Replica, ReplicaError, SnapshotSource, fetch_snapshot};
pub use rule_set::{RuleSet, RuleSetName};
pub use server::{ClientLimits, LedgerHandle, LedgerServer, ServerError, ServerOptions};
pub use share::ROOT;
pub use snapshot::{MAX_PART_BYTES, MAX_PARTS, SNAPSHOT_BLOCKS};
pub use state::State;
pub use store::StoreError;
pub use subnet::Subnet;
pub use transition::{Applied, BlockInput, BlockOrderError, apply};
