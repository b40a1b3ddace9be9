//! What a node asks of a chain, whoever keeps it: the [`Chain`] trait and everything that crosses it.
//!
//! A chain is the network's clock and its only agreement: who is registered, with what stake, who committed what at
//! which block, and who is paid. This crate holds the interface: [`Call`]s in signed [`Transaction`]s, [`Event`]s,
//! [`Refusal`]s and receipts, the [`Metagraph`], and what a chain may have besides: [`Commitments`], [`Bank`],
//! [`market::Market`], [`governance::Governance`], [`access::Access`], [`Explain`]. How a block is made is the matter of
//! an implementation, such as `templar-ledger`.
//!
//! Features: `client` (the default) brings `RpcChain`, which reaches a ledger over JSON-RPC; `server` the trait that a
//! server of the same methods implements. Without both, no network code is built.
//!
//! ```
//! use templar_base::{BlockHash, BlockNumber, Keypair, Netuid};
//! use templar_chain::{Call, Topic, Transaction};
//!
//! let alice = Keypair::from_uri("//Alice").unwrap();
//! let call = Call::Commit { netuid: Netuid(3), topic: Topic::Vote, index: 7, data: vec![1, 2, 3] };
//! let transaction = Transaction::sign(&alice, call, 0, BlockNumber(64), BlockHash::new([5; 32]));
//! assert!(transaction.is_authentic());
//! ```

pub mod access;
mod authority;
mod bank;
mod block;
mod call;
mod certificate;
mod chain;
mod commitment;
mod error;
mod event;
mod explanation;
pub mod governance;
mod heads;
mod history;
mod hyperparameters;
mod limits;
pub mod market;
mod mempool_error;
mod metagraph;
mod positions;
mod records;
mod refusal;
#[cfg(any(feature = "client", feature = "server"))]
mod rpc;
mod signed;
mod snapshot_offer;
pub mod submission;
mod trade;
mod transaction;
mod weights_hash;
mod yuma_rule;

pub use authority::{AuthorityKey, AuthoritySigner, BlsSignature, ChainKey, chain_name};
pub use bank::{Account, Bank, Totals};
pub use block::{Block, BlockHeader, Header, Included, MAX_SEEDS, early_beacon, seed_beacon, transactions_root};
pub use call::{Call, MAX_COMMITMENT_BYTES, Topic};
pub use certificate::{Certificate, CertificateError, MAX_CERTIFICATE_BYTES};
pub use chain::{Chain, NodeChain, PublicChain};
pub use commitment::{CommitmentRecord, Commitments, IndexedCommitment};
pub use error::ChainError;
pub use event::{Event, EventRecord, Receipt};
pub use explanation::{Check, Explain, Explanation, MinerTerm, Payout, SlotInput, SlotTerms, ValidatorTerm};
pub use heads::{HeadStream, Newest, is_beyond};
pub use hyperparameters::{Hyperparameters, SettingChanges};
pub use limits::{MAX_ENTRIES, MAX_EVENT_BLOCKS};
pub use mempool_error::MempoolError;
pub use metagraph::{Metagraph, Neuron};
pub use positions::{Position, check_known, positions};
pub use records::{
    KeyLeaf, Leaf, ListProof, MAX_PROVED_KEYS, MerkleList, ProofError, ProvedRecords, RecordLeaf, RecordProof,
    RecordsDigest, prove_in,
};
pub use refusal::Refusal;
#[cfg(any(feature = "client", feature = "server"))]
pub use rpc::LEDGER_ERROR_CODE;
#[cfg(feature = "server")]
pub use rpc::LedgerRpcServer;
#[cfg(feature = "client")]
pub use rpc::{LedgerRpcClient, RpcChain, RpcOptions};
pub use signed::{Authority, SignedBlock, SignedHeader};
pub use snapshot_offer::SnapshotOffer;
pub use trade::{PoolError, PriceLimit};
pub use transaction::{
    Envelope, Load, MAX_MORTALITY_BLOCKS, MAX_TRANSACTION_BYTES, Transaction, TransactionDecodeError, TransactionHead,
};
pub use weights_hash::weights_hash;
pub use yuma_rule::{BondsRule, LiquidAlpha, YumaRule};
