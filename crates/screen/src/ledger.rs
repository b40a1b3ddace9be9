//! A ledger that was opened and serves.

use crate::Paint;
use serde_json::{Value, json};
use std::path::PathBuf;
use templar_base::{BlockHash, BlockNumber, Rao};
use templar_ledger::Profile;

/// What a ledger that serves says of itself.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Where it answers.
    pub url: String,
    /// Hash of its block 0.
    pub genesis: BlockHash,
    /// Its rules.
    pub profile: Profile,
    /// Its newest block.
    pub head: BlockNumber,
    /// Where it is kept.
    pub folder: PathBuf,
}

impl Opened {
    /// For programs.
    pub fn facts(&self) -> Value {
        let Self { url, genesis, profile, head, folder } = self;
        json!({
            "event": "listening",
            "url": url,
            "genesis": genesis,
            "profile": profile.name,
            "netuid": profile.netuid,
            "owner": profile.owner,
            "block": head,
            "block_time_ms": profile.block_time_ms,
            "folder": folder,
        })
    }

    /// For people.
    pub fn text(&self, paint: Paint) -> String {
        let Self { url, genesis, profile, head, folder } = self;
        let funded = Rao::saturating_sum(profile.initial_balances.iter().map(|(_, balance)| *balance));
        let (name, every, tempo) = (&profile.name, profile.block_time_ms, profile.tempo);
        let lines = [
            ("ledger", paint.bold(url)),
            ("genesis", genesis.to_string()),
            ("profile", format!("{name}: a block every {every} ms, tempo {tempo}")),
            ("subnet", format!("{} owned by {}", profile.netuid, profile.owner)),
            ("funds", format!("{funded} TAO at genesis in {} accounts", profile.initial_balances.len())),
            ("folder", folder.display().to_string()),
            ("block", head.to_string()),
        ];
        let lines = lines.map(|(name, value)| format!("{name:<8} {value}\n"));
        let note = "This process alone makes the blocks: a single block authority, no consensus protocol.";
        format!("{}\n{}", lines.concat(), paint.dim(&format!("{note} Ctrl-C stops it.")))
    }
}
