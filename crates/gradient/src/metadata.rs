//! What a payload says about the window that made it.

use crate::frame::{FrameError, Reader};
use crate::worker_roots::{FeedbackOrigin, WorkerRoots};
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, RunId, StateHash, Uid, Window};

/// Longest numerics id in bytes.
pub const MAX_NUMERICS_BYTES: usize = 32;

/// A payload's statement about its window; all of it is covered by the payload's root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// The run.
    pub run: RunId,
    /// The window.
    pub window: Window,
    /// The miner's slot.
    pub uid: Uid,
    /// Digest of the shared parameters at the window's start.
    pub start_state: StateHash,
    /// Digest of the batches trained on.
    pub data_digest: ContentHash,
    /// Tokens trained.
    pub tokens_trained: u64,
    /// Inner steps done.
    pub inner_steps: u32,
    /// Inner steps of this window that were done before the last aggregate arrived and the parameters were rebased.
    pub steps_before_rebase: u32,
    /// First of the steps that were done on the rest of the previous window's batches.
    pub carried_start: u32,
    /// Steps done on the rest of the previous window's batches, between sealing and the new beacon.
    pub carried_steps: u32,
    /// Name of the numerics that made the steps; printable ASCII without spaces, at most 32 bytes.
    pub numerics: String,
    /// Roots of the worker's parameters and optimiser before the first step. These and the next roots are zero in a run
    /// without audits.
    pub start: WorkerRoots,
    /// Merkle root of the error feedback by chunks before this window's drift was added.
    pub start_feedback: ContentHash,
    /// What that feedback is.
    pub feedback_origin: FeedbackOrigin,
    /// Roots of the worker's parameters and optimiser after the last step: those that the drift was measured at.
    pub end: WorkerRoots,
    /// Merkle root over the leaves of the start, of the state after each inner step, and of the rebase among them.
    pub trajectory_root: ContentHash,
    /// Merkle root of the error feedback by chunks after this payload was taken out: what the next window starts with.
    pub error_feedback_root: ContentHash,
}

/// Metadata that has no coding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A numerics id that is too long or not printable ASCII.
    #[error(
        "numerics id of {bytes} bytes must be at most 32 bytes of printable ascii without spaces; its author is at fault"
    )]
    Numerics {
        /// Its length.
        bytes: usize,
    },
    /// No such origin of an error feedback.
    #[error("an error feedback cannot be of origin {found}; its author is at fault")]
    FeedbackOrigin {
        /// The byte.
        found: u8,
    },
}

impl Metadata {
    /// Longest coding in bytes.
    pub(crate) const MAX_BYTES: usize =
        32 + 8 + 2 + 32 + 32 + 8 + 4 * 4 + 1 + MAX_NUMERICS_BYTES + 2 * WorkerRoots::BYTES + 32 + 1 + 32 + 32;

    /// States that the trajectory has a leaf of: the start, one for each inner step, and one more where the worker was
    /// moved onto new shared parameters in between.
    pub fn trajectory_len(&self) -> u64 {
        u64::from(self.inner_steps) + 1 + u64::from(self.steps_before_rebase > 0)
    }

    pub(crate) fn check(&self) -> Result<(), MetadataError> {
        let fits =
            self.numerics.len() <= MAX_NUMERICS_BYTES && self.numerics.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(()) } else { Err(MetadataError::Numerics { bytes: self.numerics.len() }) }
    }

    /// Appends the coding; the metadata has passed `check`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.run.as_bytes());
        out.extend_from_slice(&self.window.0.to_le_bytes());
        out.extend_from_slice(&self.uid.0.to_le_bytes());
        out.extend_from_slice(self.start_state.as_bytes());
        out.extend_from_slice(self.data_digest.as_bytes());
        out.extend_from_slice(&self.tokens_trained.to_le_bytes());
        for count in [self.inner_steps, self.steps_before_rebase, self.carried_start, self.carried_steps] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        out.push(self.numerics.len() as u8);
        out.extend_from_slice(self.numerics.as_bytes());
        write_roots(&self.start, out);
        out.extend_from_slice(self.start_feedback.as_bytes());
        out.push(self.feedback_origin as u8);
        write_roots(&self.end, out);
        out.extend_from_slice(self.trajectory_root.as_bytes());
        out.extend_from_slice(self.error_feedback_root.as_bytes());
    }

    pub(crate) fn read<E: From<FrameError> + From<MetadataError>>(reader: &mut Reader<'_>) -> Result<Self, E> {
        let mut metadata = Self {
            run: RunId::new(reader.array()?),
            window: Window(reader.u64()?),
            uid: Uid(reader.u16()?),
            start_state: StateHash::new(reader.array()?),
            data_digest: ContentHash::new(reader.array()?),
            tokens_trained: reader.u64()?,
            inner_steps: reader.u32()?,
            steps_before_rebase: reader.u32()?,
            carried_start: reader.u32()?,
            carried_steps: reader.u32()?,
            ..Self::default()
        };
        let length = usize::from(reader.u8()?);
        if length > MAX_NUMERICS_BYTES {
            return Err(MetadataError::Numerics { bytes: length }.into());
        }
        let numerics = reader.take(length)?;
        metadata.numerics =
            std::str::from_utf8(numerics).map_err(|_| MetadataError::Numerics { bytes: length })?.to_owned();
        metadata.check()?;
        metadata.start = read_roots(reader)?;
        metadata.start_feedback = ContentHash::new(reader.array()?);
        let found = reader.u8()?;
        metadata.feedback_origin = FeedbackOrigin::from_byte(found).ok_or(MetadataError::FeedbackOrigin { found })?;
        metadata.end = read_roots(reader)?;
        metadata.trajectory_root = ContentHash::new(reader.array()?);
        metadata.error_feedback_root = ContentHash::new(reader.array()?);
        Ok(metadata)
    }
}

fn write_roots(roots: &WorkerRoots, out: &mut Vec<u8>) {
    out.extend_from_slice(roots.parameters.as_bytes());
    out.extend_from_slice(roots.optimiser.as_bytes());
}

fn read_roots(reader: &mut Reader<'_>) -> Result<WorkerRoots, FrameError> {
    Ok(WorkerRoots { parameters: StateHash::new(reader.array()?), optimiser: ContentHash::new(reader.array()?) })
}
