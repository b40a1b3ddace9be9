//! Evidence: a fault with the payload that it is about.

use crate::coding::{CodingError, Kind};
use crate::fault::Fault;
use crate::published::{DataBeacons, PublishedPayload};
use parity_scale_codec::{Decode, Encode};
use templar_base::{RunId, Uid};
use templar_gradient::{Accumulation, GradientLayout};

const EVIDENCE: Kind = Kind { what: "audit evidence", mark: *b"TAEV", version: 1 };

/// What of a run's rules an audit needs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The run.
    pub run: RunId,
    /// How pseudo-gradients are cut.
    pub layout: GradientLayout,
    /// How a drift enters the error feedback.
    pub accumulation: Accumulation,
}

/// All that is needed to see that a payload was not made as it states, besides the run's rules, its text and its ledger.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Evidence {
    /// The author's slot.
    pub uid: Uid,
    /// The payload.
    pub payload: PublishedPayload,
    /// What says which text the author had.
    pub beacons: DataBeacons,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Evidence {
    /// Longest coding of evidence about a payload of this layout: two payloads, five buffers of parameters, and hashes.
    pub fn max_bytes(layout: &GradientLayout) -> u64 {
        let payloads = 2 * (layout.max_payload_bytes() as u64 + 128);
        let buffers = 5 * (4 * layout.parameters() as u64 + 8);
        // Segment hashes of parameters and momentum of three shared states; two proofs of 64 hashes at most; the small fields.
        let hashes = 32 * (6 * (layout.segment_count() as u64 + 1) + 2 * 64);
        payloads + buffers + hashes + 4096
    }

    /// The object's bytes.
    pub fn encode(&self) -> Vec<u8> {
        EVIDENCE.encode(self)
    }

    /// Parses evidence. Total; allocates a small multiple of the bytes' length at most. What it says is still to be
    /// verified.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodingError> {
        EVIDENCE.decode(bytes)
    }
}
