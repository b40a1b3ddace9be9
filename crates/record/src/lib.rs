//! The public record of a run: what anyone can read of its ledger and of the buckets that the ledger names, without a
//! key, a bucket or the training text.
//!
//! [`Rules`] are what follows from a genesis document alone: the run's id, its deadlines, how its pseudo-gradients are
//! cut. [`PublicRecord`] reads the ledger, and finds the buckets. Over the two stand the objects: [`fetch_payload`],
//! [`fetch_aggregate`], [`fetch_verdict`], [`fetch_evaluations`], and checkpoints ([`published_checkpoints`], [`fetch_checkpoint`],
//! [`agreed_state`]), each checked against what the ledger says before it is handed out. [`pack`] puts all of it into one file, a [`PackedRecord`],
//! which gives the same record without ledger or buckets. Nothing here can sign, or write to either.
//!
//! ```
//! # async fn example(json: &[u8], chain: templar_ledger::LocalChain) -> Result<(), templar_record::RecordError> {
//! use std::sync::Arc;
//! use templar_record::{PublicRecord, Rules, published_checkpoints};
//!
//! let run = Rules::new(templar_base::Genesis::from_json(json)?)?;
//! let record = PublicRecord::new(Arc::new(chain), run.genesis.netuid);
//! for checkpoint in published_checkpoints(&run, &record, 3).await? {
//!     println!("window {}: {} offers", checkpoint.window, checkpoint.offers.len());
//! }
//! # Ok(())
//! # }
//! ```

mod aggregate;
mod checkpoint;
mod electors;
mod error;
mod evaluation;
mod explain;
mod held;
mod last_agreed;
mod model_files;
mod outlook;
mod packed;
mod payload;
mod published;
mod ratings;
mod record;
mod rules;
mod transfer;
mod verdict;
mod window_record;

pub use aggregate::fetch_aggregate;
pub use checkpoint::{
    CHECKPOINT_PURPOSE, Checkpoint, CheckpointFile, CheckpointManifest, RunState, agreed_report, agreed_state,
    fetch_checkpoint, fetch_latest_checkpoint, fetch_latest_state, fetch_manifest,
};
pub use error::RecordError;
pub use evaluation::{
    EVALUATION_PURPOSE, EvaluationResult, EvaluationStanding, EvaluationView, Evaluations, Figure, KEPT_EVALUATIONS,
    TaskResult, fetch_evaluations,
};
pub use explain::{Ballot, Explanation, HeldFact, PayFact, Recomputed, SealedFact, VerdictFact};
pub use held::{HeldReading, KnownCandidates};
pub use model_files::{MOMENTUM_FILE, ModelFile, TOKENIZER_FILE, state_of_folder, write_model_files};
pub use outlook::{MemoryOutlook, Moment, Outlook, PayloadOutlook, ledger_problems};
pub use packed::{
    Gap, PackOptions, PackStage, PackedError, PackedFacts, PackedRecord, RecomputedWindow, RecordedChain, pack,
    recompute,
};
pub use payload::{FetchedPayload, SealedObject, fetch_mirrored, fetch_payload, fetch_sealed, open_payload};
pub use published::{
    NotAWindow, Offer, OfferedCheckpoint, PublishedCheckpoint, WantedCheckpoint, published_checkpoints,
};
pub use ratings::write_ratings;
pub use record::PublicRecord;
pub use rules::{Rules, gradient_layout};
pub use transfer::{Fetched, KnownComplaints, PeerComplaint, is_lie};
pub use verdict::{VERDICT_PURPOSE, fetch_verdict, other_run};
pub use window_record::{
    AgreedView, ElectorView, Measured, MinerView, SealedView, Stage, VerdictView, WindowMoment, WindowRecord,
    finished_at, is_gone, read_window,
};
