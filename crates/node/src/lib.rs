//! Running a role: this crate feeds events to the machines of `templar-round` and carries out their effects with
//! engine, bucket and ledger. It decides no protocol question.
//!
//! [`Run`] is what a genesis and a corpus come to; [`PublicRecord`] is what anybody can read of the ledger and of the
//! buckets that it names; [`Network`] adds a node's key and its own bucket; [`run_miner`] and [`run_validator`] are the
//! two roles. A node keeps everything that it needs to go on in its [`DataFolder`], written atomically, and tells what
//! it does in a [`Journal`].

mod aggregate;
mod book_keeper;
mod checkpoint;
mod data_folder;
mod driver;
mod error;
mod gather;
mod journal;
mod judging;
mod miner;
mod miner_worker;
mod network;
mod payload;
mod published;
mod record;
mod run;
mod snapshot;
mod transfer;
mod validator;
mod validator_worker;
mod weights;
mod worker;

pub use checkpoint::{
    CheckpointFile, CheckpointManifest, MOMENTUM_FILE, agreed_state, fetch_checkpoint, fetch_latest_checkpoint,
};
pub use data_folder::{DataFolder, DataFolderError};
pub use driver::NodeOptions;
pub use error::NodeError;
pub use journal::{Journal, JournalEntry, MinerLine, NodeStatus, read_status};
pub use miner::run_miner;
pub use network::Network;
pub use published::{Offer, OfferedCheckpoint, PublishedCheckpoint, published_checkpoints};
pub use record::PublicRecord;
pub use run::{Run, gradient_layout};
pub use validator::run_validator;
