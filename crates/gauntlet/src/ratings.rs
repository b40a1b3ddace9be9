//! The ratings: what judges carry from window to window. They advance only by agreement.

use crate::{Rating, RightVotes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use templar_base::{AuditLots, ContentHash, OwnText, PublicKey, StepShare, Uid, Window};

/// What is known of one miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerRecord {
    /// Its key; a uid that changes hands starts anew.
    pub hotkey: PublicKey,
    /// Its rating.
    pub rating: Rating,
    /// Whether it has shown that it brings progress, and its rating still says so: it is *rated*.
    #[serde(default)]
    pub is_proven: bool,
    /// The window of its first candidate payload.
    pub since: Window,
    /// The window since which its pay rises: of its first payload, or of its last penalty.
    pub ramp_since: Window,
    /// Whether it was admitted in the last window in which something was merged, and did not fail since: it is paid.
    pub is_paid: bool,
    /// The last window in which it was measured.
    pub seen: Window,
    /// Whether fraud was proven: the key is never judged again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_void: bool,
    /// Whether it owes an answer to an audit: it is audited for certain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owes_answer: bool,
    /// What probes on its own text add up to, within bounds.
    #[serde(default, skip_serializing_if = "OwnTextSum::is_none")]
    pub own_text: OwnTextSum,
}

/// What the probes of a miner on its own text add up to, in sixteenths of a nat. It rises no further than 1, so that nobody lives
/// on old probes, and falls no further than −8, so that whoever trains again gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnTextSum(i16);

impl OwnTextSum {
    const MOST: i16 = 16;
    const LEAST: i16 = -128;
    /// Under this sum, −3, a miner is audited twice as often.
    const DOUBTED: i16 = -48;

    /// Whether nothing is known.
    pub fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// In nats.
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / 16.0
    }

    /// Whether its payloads surely do not look as if they came of its own text.
    pub fn is_doubted(self) -> bool {
        self.0 < Self::DOUBTED
    }

    pub(crate) fn add(&mut self, probe: OwnText) {
        self.0 = (self.0 + i16::from(probe.sixteenths())).clamp(Self::LEAST, Self::MOST);
    }
}

impl MinerRecord {
    /// A miner that is seen for the first time.
    pub fn new(hotkey: PublicKey, window: Window) -> Self {
        let (rating, since, ramp_since, seen) = (Rating::newcomer(), window, window, window);
        let (is_proven, is_paid, is_void, owes_answer) = (false, false, false, false);
        let own_text = OwnTextSum::default();
        Self { hotkey, rating, is_proven, since, ramp_since, is_paid, seen, is_void, owes_answer, own_text }
    }
}

/// All miners' records, and what the next window's checks need of the history.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ratings {
    /// By slot.
    pub miners: BTreeMap<Uid, MinerRecord>,
    /// Recent median of the kept magnitudes' sum of admitted payloads, in units of the wire format; 0 at the start.
    pub magnitude: u64,
    /// Whether the steps of the last windows kept their promise.
    #[serde(default, skip_serializing_if = "Doubt::is_none")]
    pub doubt: Doubt,
    /// The part of the step that was agreed last: contributions are first measured along it.
    #[serde(default, skip_serializing_if = "StepShare::is_whole")]
    pub step: StepShare,
    /// Who was merged last, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Uid>,
    /// Which validators have judged of late; nothing in a run whose genesis does not ask for it.
    #[serde(default, skip_serializing_if = "RightVotes::is_empty")]
    pub right_votes: RightVotes,
}

/// How far the steps of the last windows fell short of what they had to bring: harm of less than one window's error must
/// not pass window after window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Doubt {
    /// What was gained beyond the least share of the promise, added up over windows and fading, in nats.
    pub surplus: f64,
    /// Its variance.
    pub variance: f64,
}

/// What a window leaves of the doubt of those before it.
const DOUBT_LEFT: f64 = 0.875;

impl Doubt {
    /// Whether nothing speaks for or against the last steps.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the last steps together surely brought too little.
    pub fn is_real(&self) -> bool {
        self.surplus + 2.0 * self.variance.sqrt() < 0.0
    }

    /// A step was taken that brought this much more than it had to, with this error.
    pub(crate) fn add(&mut self, surplus: f64, error: f64) {
        self.surplus = DOUBT_LEFT * self.surplus + surplus;
        self.variance = DOUBT_LEFT * DOUBT_LEFT * self.variance + error * error;
    }

    /// No step was taken: what is known fades, and its error stays, so that doubt ends.
    pub(crate) fn fade(&mut self) {
        self.surplus *= DOUBT_LEFT;
    }
}

impl Ratings {
    /// The weight of a miner's word on what is typical: the mean of its rating where it is rated, else 0.
    pub(crate) fn weight_of(&self, uid: Uid) -> f64 {
        self.miners.get(&uid).filter(|record| record.is_proven).map_or(0.0, |record| record.rating.mean.max(0.0))
    }

    /// How a miner takes part in the next draw of audits.
    pub fn audit_lots(&self, uid: Uid) -> AuditLots {
        match self.miners.get(&uid) {
            Some(record) if record.owes_answer => AuditLots::Certain,
            Some(record) if record.own_text.is_doubted() => AuditLots::Doubled,
            _ => AuditLots::Usual,
        }
    }

    /// Forgets miners whose slot is free or somebody else's now.
    pub(crate) fn keep_registered(&mut self, registered: &BTreeMap<Uid, PublicKey>) {
        self.miners.retain(|uid, record| registered.get(uid) == Some(&record.hotkey));
    }

    /// Moves the history a quarter of the way to a window's median.
    pub(crate) fn note_magnitude(&mut self, median: u64) {
        self.magnitude = if self.magnitude == 0 { median } else { self.magnitude / 4 * 3 + median / 4 };
    }

    /// Forgets who was not measured for many windows, but for those whose key is void.
    pub(crate) fn forget_the_absent(&mut self, window: Window) {
        self.miners.retain(|_, record| record.is_void || window.windows_since(record.seen) <= REMEMBERED_WINDOWS);
    }

    /// The form in which they are published: keys are in order, and each number has one form.
    pub fn to_json(&self) -> Vec<u8> {
        // Maps by number and finite numbers always have a JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The name of these ratings, which nodes agree on: the hash of [`Self::to_json`].
    pub fn root(&self) -> ContentHash {
        ContentHash::of(&self.to_json())
    }
}

/// A miner that was not measured for this number of windows is a stranger again.
const REMEMBERED_WINDOWS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_harm_in_every_window_becomes_a_doubt_that_ends_without_steps() {
        let mut doubt = Doubt::default();
        // One error a window: never sure by itself.
        let windows = (1..50).find(|_| {
            doubt.add(-1.0, 1.0);
            doubt.is_real()
        });
        assert!(windows.is_some_and(|windows| (3..9).contains(&windows)), "{windows:?}");
        let end = (1..50).find(|_| {
            doubt.fade();
            !doubt.is_real()
        });
        assert!(end.is_some_and(|windows| windows < 9), "{end:?}");
        let mut honest = Doubt::default();
        honest.add(2.0, 1.0);
        assert!(!honest.is_real() && !honest.is_none());
    }
}
