//! Running a role: this crate feeds events to the machines of `templar-round` and carries out their effects with
//! engine, bucket and ledger. It decides no protocol question. Work that would hold up the async threads runs on others, a
//! bounded number at a time; a task or thread that panics ends the node with its reason.
//!
//! [`templar_record::Rules`] are what follows from a genesis, [`Data`] is what follows from a corpus; [`Network`] is the
//! public record with a node's key and its own bucket; [`run_miner`] and [`run_validator`] are the two roles. A node keeps
//! everything that it needs to resume in its [`DataFolder`], written atomically, and reports what it does in a
//! [`Journal`]; its numbers are [`NodeMetrics`].

mod aggregate;
mod anchor;
mod audit;
mod block_clock;
mod candidates;
mod checkpoint;
mod context;
mod data;
mod data_folder;
pub mod doctor;
mod downloads;
mod driver;
mod earlier;
mod engine;
mod error;
mod evaluating;
mod follow;
mod gather;
mod heavy;
mod holders;
mod journal;
mod judging;
mod lanes;
mod metrics;
mod miner;
mod miner_worker;
mod network;
mod payload;
mod ratings_store;
mod restoring;
mod settling;
mod snapshot;
mod validator;
mod validator_worker;
mod weights;
mod window_work;
mod worker;

pub use audit::{AuditStore, EvidenceError, verify_evidence};
pub use context::NodeOptions;
pub use data::Data;
pub use data_folder::{DataFolder, DataFolderError};
pub use engine::{check_numerics, open_engine};
pub use error::NodeError;
pub use journal::{Journal, JournalEntry, MinerLine, NodeStatus, TaskLine, read_status};
pub use judging::{AssignedTexts, EvaluationModel, evaluation_parts};
pub use metrics::{Balances, NodeMetrics};
pub use miner::run_miner;
pub use network::{Network, bucket_options};
pub use templar_audit::{AuditFinding, Finding as AuditResult, Proof};
pub use validator::run_validator;
