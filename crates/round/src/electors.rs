//! Whose stake counts in a window.

use templar_base::{BlockNumber, PublicKey, Uid};

/// A validator whose stake counts in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elector {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its lasting stake, which is the weight of its vote.
    pub stake: u64,
}

/// Stake counts as far as it was there at the end of a window and of this number of windows before it: stake that comes for a
/// block decides nothing.
pub const LASTING_WINDOWS: u64 = 8;

/// A permit counts for those who set weights within this number of windows: who falls silent weighs as an absence for that long,
/// so that silencing the others for a while makes nobody the ruler.
pub const ACTIVE_WINDOWS: u64 = 512;

/// A holder of a permit at a window's end, as far as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its stake at the window's end, and at the ends of the [`LASTING_WINDOWS`] windows before it, as far as there were
    /// any.
    pub stakes: Vec<u64>,
    /// When it set weights last; block 0 for never.
    pub weights_at: BlockNumber,
}

/// Those of the permitted whose stake counts, with their lasting stake: who set weights since block `since`.
///
/// Pay is staked, so miners come to hold permits and judge nothing; and a validator may be gone for good. Neither may cost
/// the run its majority for ever. Where nobody has set weights (at the start) all the permitted count.
pub fn electors(permitted: &[Permitted], since: BlockNumber) -> Vec<Elector> {
    let elector = |own: &Permitted| Elector {
        uid: own.uid,
        hotkey: own.hotkey,
        stake: own.stakes.iter().copied().min().unwrap_or(0),
    };
    let is_active = |own: &&Permitted| own.weights_at > BlockNumber::ZERO && own.weights_at >= since;
    let active: Vec<Elector> = permitted.iter().filter(is_active).map(elector).collect();
    let all = || permitted.iter().map(elector).collect();
    if active.is_empty() { all() } else { active }
}

/// Those electors that have judged of late, as far as they hold more than half of the electors' stake; else all of them.
///
/// Where few have shown that they judge (at the start, or after a long night in which all was forgotten), the first to show it
/// would rule alone. With this rule nobody gains: under half of the stake can neither keep the others from judging nor be taken
/// for all, and where the judges hold half or less, everybody's stake counts as if there were no rule.
pub fn judging_electors(electors: Vec<Elector>, has_judged: impl Fn(&PublicKey) -> bool) -> Vec<Elector> {
    let judging: Vec<Elector> = electors.iter().copied().filter(|elector| has_judged(&elector.hotkey)).collect();
    let stake = |electors: &[Elector]| electors.iter().map(|elector| u128::from(elector.stake)).sum::<u128>();
    if stake(&judging) * 2 > stake(&electors) { judging } else { electors }
}
