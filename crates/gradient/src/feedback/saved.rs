//! The error feedback as bytes: its values as little-endian f32, one after the other, streamed.

use super::{ErrorFeedback, FeedbackError, SavedFeedbackError, first_not_finite};
use crate::bytes::copy_little_endian;
use crate::layout::GradientLayout;
use std::io::{Read, Write};
use templar_base::ContentHash;

/// Values that are written or read at once.
const BLOCK_VALUES: usize = 1 << 16;

impl ErrorFeedback {
    /// Writes the residual and gives the BLAKE3 hash of what was written. Holds 256 KiB beside it.
    pub fn write_to(&self, out: &mut dyn Write) -> std::io::Result<ContentHash> {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0; 4 * self.residual.len().min(BLOCK_VALUES)];
        for block in self.residual.chunks(BLOCK_VALUES) {
            let bytes = &mut bytes[..4 * block.len()];
            copy_little_endian(block, bytes);
            hasher.update(bytes);
            out.write_all(bytes)?;
        }
        Ok(ContentHash::new(*hasher.finalize().as_bytes()))
    }

    /// Reads a residual of `layout` that [`ErrorFeedback::write_to`] wrote, and the hash of its bytes. Whatever follows
    /// it is left unread.
    pub fn read_from(input: &mut dyn Read, layout: &GradientLayout) -> Result<(Self, ContentHash), SavedFeedbackError> {
        let mut hasher = blake3::Hasher::new();
        let mut residual = vec![0f32; layout.parameters()];
        let mut bytes = vec![0; 4 * residual.len().min(BLOCK_VALUES)];
        for (number, block) in residual.chunks_mut(BLOCK_VALUES).enumerate() {
            let bytes = &mut bytes[..4 * block.len()];
            input.read_exact(bytes)?;
            hasher.update(bytes);
            block.iter_mut().zip(bytes.as_chunks::<4>().0).for_each(|(value, own)| *value = f32::from_le_bytes(*own));
            if let Some(place) = first_not_finite(block.iter().copied()) {
                let index = number * BLOCK_VALUES + place;
                return Err(FeedbackError::NotFinite { index, value: block[place] }.into());
            }
        }
        Ok((Self { residual }, ContentHash::new(*hasher.finalize().as_bytes())))
    }

    /// The residual as little-endian f32.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4 * self.residual.len()];
        copy_little_endian(&self.residual, &mut bytes);
        bytes
    }

    /// A residual saved by [`ErrorFeedback::to_bytes`] for the same layout.
    pub fn from_bytes(bytes: &[u8], layout: &GradientLayout) -> Result<Self, FeedbackError> {
        let expected = 4 * layout.parameters();
        if bytes.len() != expected {
            return Err(FeedbackError::SavedLength { bytes: bytes.len(), expected });
        }
        let values = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value));
        let feedback = Self { residual: values.collect() };
        match first_not_finite(feedback.residual.iter().copied()) {
            Some(index) => Err(FeedbackError::NotFinite { index, value: feedback.residual[index] }),
            None => Ok(feedback),
        }
    }
}
