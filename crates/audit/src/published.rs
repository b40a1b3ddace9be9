//! A payload with what shows whose it is.

use parity_scale_codec::{Decode, Encode};
use templar_base::{Beacon, PublicKey, RunId, Window};
use templar_gradient::{GradientLayout, Payload, PayloadError};
use templar_round::{SealCommitment, SealKey, seal};

/// A payload as its author committed to it. Sealed again under the same key it gives the commitment that stands on the
/// ledger, signed by the author: so nobody can put another payload in its place.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PublishedPayload {
    /// The author's key.
    pub hotkey: PublicKey,
    /// The window.
    pub window: Window,
    /// The seal's key, which the author has revealed.
    pub key: [u8; 32],
    /// The payload's bytes.
    pub bytes: Vec<u8>,
}

/// The beacons that say what text the author had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct DataBeacons {
    /// That of the window's first block.
    pub own: Beacon,
    /// That of the first block of the window before, from which steps may be carried.
    pub previous: Option<Beacon>,
}

impl PublishedPayload {
    /// What the ledger must hold for the author and the window.
    pub fn commitment(&self, run: RunId) -> SealCommitment {
        seal(&self.bytes, &SealKey(self.key), run, self.hotkey, self.window).commitment
    }

    /// The payload.
    pub fn payload(&self, layout: &GradientLayout) -> Result<Payload, PayloadError> {
        Payload::decode(&self.bytes, layout)
    }
}
