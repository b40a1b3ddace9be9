//! What transactions cost and how much of them a block holds; part of the ledger's genesis.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::Rao;
use templar_chain::Load;

/// Fees, the existential deposit, and the budgets that keep one sender's load from everybody else.
///
/// Commitments and weights of registered hotkeys are free: they have a lane of each block for themselves, and each
/// hotkey a number of bytes a tempo. Everything else pays by bytes and signatures, also where its call is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct LoadRule {
    /// Fee for each encoded byte of a transaction, in rao.
    pub rao_per_byte: u64,
    /// Fee for each signature to check: the transaction's own, and each within its call.
    pub rao_per_signature: u64,
    /// A transfer leaves sender and receiver with this at least, or the sender with nothing.
    pub existential_deposit: Rao,
    /// Bytes of a block's transactions at most.
    pub block_bytes: u32,
    /// Signatures of a block's transactions at most.
    pub block_signatures: u32,
    /// Part of both that is kept for the lane, in thousandths.
    pub lane_per_mille: u16,
    /// Bytes of transactions that a registered hotkey sends through the lane in a tempo.
    pub lane_bytes_per_tempo: u32,
    /// Commitments of one topic that are kept for one hotkey.
    pub commitments_per_topic: u32,
}

impl Default for LoadRule {
    fn default() -> Self {
        Self {
            // A transfer of 193 bytes costs 0.0000293 TAO, a full block between 0.1 and 0.15 TAO.
            rao_per_byte: 100,
            rao_per_signature: 10_000,
            // The chain's own.
            existential_deposit: Rao::from_rao(500),
            // A second's work of one core, and as many bytes as its largest transactions then have on average.
            block_bytes: 1 << 20,
            block_signatures: 4_096,
            lane_per_mille: 500,
            // Two transactions of the largest size: a tempo's weights and its commitments.
            lane_bytes_per_tempo: 2 * templar_chain::MAX_TRANSACTION_BYTES as u32,
            // Twenty times as many windows as a run retains by default.
            commitments_per_topic: 640,
        }
    }
}

impl LoadRule {
    /// No fees and no deposit, for figures of the other rules alone. The budgets stay.
    pub fn without_fees() -> Self {
        Self { rao_per_byte: 0, rao_per_signature: 0, existential_deposit: Rao::ZERO, ..Self::default() }
    }

    /// The fee of a transaction outside of the lane. Saturating: no balance covers the largest amount.
    pub fn fee(&self, load: Load) -> Rao {
        let bytes = self.rao_per_byte.saturating_mul(load.bytes);
        Rao::from_rao(bytes.saturating_add(self.rao_per_signature.saturating_mul(load.signatures)))
    }

    /// What a block holds.
    pub fn block(&self) -> Load {
        Load { bytes: self.block_bytes.into(), signatures: self.block_signatures.into() }
    }

    /// The part of a block that is kept for the lane.
    pub fn lane(&self) -> Load {
        let part = |whole: u32| u64::from(whole) * u64::from(self.lane_per_mille) / 1_000;
        Load { bytes: part(self.block_bytes), signatures: part(self.block_signatures) }
    }

    /// What the profile's check asks of the fields: name, value, least, most, and the bounds in words.
    pub(crate) fn bounds_of_profile(&self) -> [(&'static str, u64, u64, u64, &'static str); 6] {
        [
            ("load.rao_per_byte", self.rao_per_byte, 0, 1_000_000_000, "1000000000 at most"),
            ("load.rao_per_signature", self.rao_per_signature, 0, 1_000_000_000, "1000000000 at most"),
            // The largest transaction fits in both parts, and so does one with the most metering records.
            ("load.block_bytes", self.block_bytes.into(), 1 << 17, 1 << 26, "131072 to 67108864"),
            ("load.block_signatures", self.block_signatures.into(), 512, 1 << 20, "512 to 1048576"),
            ("load.lane_per_mille", self.lane_per_mille.into(), 250, 750, "250 to 750"),
            ("load.commitments_per_topic", self.commitments_per_topic.into(), 1, 1 << 20, "1 to 1048576"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_by_bytes_and_signatures_and_never_overflows() {
        let rule = LoadRule::default();
        assert_eq!(rule.fee(Load { bytes: 193, signatures: 1 }), Rao::from_rao(29_300));
        assert_eq!(rule.fee(Load { bytes: 193, signatures: 65 }), Rao::from_rao(669_300));
        assert_eq!(rule.fee(Load { bytes: u64::MAX, signatures: 1 }), Rao::from_rao(u64::MAX));
        assert_eq!(LoadRule::without_fees().fee(Load { bytes: 9, signatures: 9 }), Rao::ZERO);
    }
}
