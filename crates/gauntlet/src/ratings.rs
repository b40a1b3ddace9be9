//! The ratings: what judges carry from window to window. They advance only by agreement.

use crate::Rating;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use templar_base::{PublicKey, Uid, Window};

/// What is known of one miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerRecord {
    /// Its key; a uid that changes hands starts anew.
    pub hotkey: PublicKey,
    /// Its rating.
    pub rating: Rating,
    /// The window of its first candidate payload.
    pub since: Window,
    /// The window since which its pay rises: of its first payload, or of its last penalty.
    pub ramp_since: Window,
    /// Exponential average of max(0, φ) over windows in which it was selected, in nats; 0 counts for others.
    pub selected_average: f64,
    /// The same for windows in which it was admitted and not selected.
    pub unselected_average: f64,
}

/// All miners' records, and what the next window's checks need of the history.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ratings {
    /// By slot.
    pub miners: BTreeMap<Uid, MinerRecord>,
    /// Recent median of the kept magnitudes' sum of admitted payloads, in units of the wire format; 0 at the start.
    pub magnitude: u64,
}

impl Ratings {
    /// Forgets miners whose slot is free or somebody else's now.
    pub(crate) fn keep_registered(&mut self, registered: &BTreeMap<Uid, PublicKey>) {
        self.miners.retain(|uid, record| registered.get(uid) == Some(&record.hotkey));
    }

    /// Moves the history a quarter of the way to this window's median.
    pub(crate) fn note_magnitudes(&mut self, mut magnitudes: Vec<u64>) {
        magnitudes.sort_unstable();
        if let Some(median) = magnitudes.get(magnitudes.len() / 2) {
            self.magnitude = if self.magnitude == 0 { *median } else { self.magnitude / 4 * 3 + median / 4 };
        }
    }
}
