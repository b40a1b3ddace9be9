//! The public record of a run in one file: written while ledger and buckets answer, read without either.
//!
//! [`pack`] reads what a page needs to show the run and what is needed to recompute its claims: the genesis document, the
//! ledger's answers (blocks, slots, commitments, market, votes), and of the buckets the verdicts, the manifests of
//! checkpoints and what auditors published. [`PackedRecord`] is the file's content; [`PackedRecord::record`] gives it as a
//! ledger and buckets, so that whatever reads a run reads a file in the same way: nothing in the file is a conclusion.
//!
//! The file is what its maker read. It is not signed: verdicts, manifests and reveals bear their authors' signatures, the
//! ledger's answers were checked by whoever packed them. Two files can be compared by [`PackedRecord::root`].

mod chain;
mod content;
mod entries;
mod error;
mod objects;
mod packing;
mod recompute;
mod store;

pub use chain::RecordedChain;
pub use content::{Gap, PackedFacts, PackedRecord};
pub use error::PackedError;
pub use packing::{PackOptions, PackStage, pack};
pub use recompute::{RecomputedWindow, recompute};
