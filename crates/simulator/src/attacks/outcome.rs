//! What a run of an arena came to.

use super::ground::ArenaSizes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised with every change of a judging, an attack or the arena after which the same sizes and seed give another run, so that
/// runs of before and after never meet in one table.
pub const ARENA_VERSION: u32 = 2;

/// Windows at the end whose losses are averaged.
const LAST: usize = 4;

/// A larger share than this, or one of nothing, is shown as this: JSON has no infinity.
const MOST_SHARES: f64 = 100.0;

/// What happened to some keys, from the window on in which the attack began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KeyTally {
    /// Keys.
    pub keys: u64,
    /// Payloads that they sent.
    pub sent: u64,
    /// Payloads that were merged.
    pub merged: u64,
    /// What they were paid together, in windows' pay.
    pub paid: f64,
    /// The same, of the last quarter of these windows.
    pub paid_late: f64,
    /// How often each standing was theirs: `merged`, `admitted`, `not_admitted`, `harmful`, or a rejection's name.
    pub standings: BTreeMap<String, u64>,
}

impl KeyTally {
    /// How often they were sanctioned: found harmful, or rejected for what an honest payload never is.
    pub fn sanctions(&self) -> u64 {
        let is_sanction = |name: &str| !matches!(name, "merged" | "admitted" | "not_admitted");
        self.standings.iter().filter(|(name, _)| is_sanction(name)).map(|(_, count)| count).sum()
    }
}

/// One run: an attack under a judging with one seed, or a run without attackers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArenaRun {
    /// Version of the arena that played it: raised with every change after which the same sizes and seed give another run.
    pub version: u32,
    /// The attack's name; none where there are only honest miners.
    pub attack: Option<String>,
    /// The judging's name.
    pub judging: String,
    /// The seed.
    pub seed: u64,
    /// The sizes.
    pub sizes: ArenaSizes,
    /// Loss on held-out text after each window, in nats per token.
    pub losses: Vec<f64>,
    /// Windows in which nothing was merged.
    pub null_windows: u64,
    /// The honest miners.
    pub honest: KeyTally,
    /// The attackers without their accomplices.
    pub attackers: KeyTally,
}

impl ArenaRun {
    /// Mean loss of the last windows, in nats per token.
    pub fn final_loss(&self) -> f64 {
        let last = &self.losses[self.losses.len().saturating_sub(LAST)..];
        last.iter().sum::<f64>() / last.len().max(1) as f64
    }

    /// What an attacker's key was paid beside an honest one: 1 is as much. 100 stands for all that is more, and for pay where honest ones
    /// were paid nothing.
    pub fn paid_share(&self) -> f64 {
        share(self.attackers.paid, self.attackers.keys, self.honest.paid, self.honest.keys)
    }

    /// The same, in the last quarter of the attack's windows.
    pub fn paid_share_late(&self) -> f64 {
        share(self.attackers.paid_late, self.attackers.keys, self.honest.paid_late, self.honest.keys)
    }
}

fn share(own: f64, keys: u64, honest: f64, honest_keys: u64) -> f64 {
    let (own, honest) = (own / keys.max(1) as f64, honest / honest_keys.max(1) as f64);
    if own > 0.0 { (own / honest).min(MOST_SHARES) } else { 0.0 }
}
