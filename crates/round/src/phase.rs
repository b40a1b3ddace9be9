//! Which block closes which phase of a window.

use templar_base::{BlockNumber, Genesis, Window, WindowBudget, WindowClock};

/// The deadlines of a run's windows, as blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    clock: WindowClock,
    budget: WindowBudget,
}

impl Phases {
    /// The deadlines that a genesis fixes.
    pub fn of(genesis: &Genesis) -> Self {
        Self { clock: genesis.clock, budget: genesis.budget.clone() }
    }

    /// The window that `block` lies in; none before the run's start.
    pub fn window_of(&self, block: BlockNumber) -> Option<Window> {
        self.clock.window_of(block)
    }

    /// First block of the window: its beacon decides the data.
    pub fn start(&self, window: Window) -> BlockNumber {
        self.clock.start_of(window)
    }

    /// First block after the window: commitments in it are late, and its beacon decides the judging.
    pub fn end(&self, window: Window) -> BlockNumber {
        self.clock.end_of(window)
    }

    /// From this block on a miner seals.
    pub fn seal(&self, window: Window) -> BlockNumber {
        BlockNumber(self.end(window).0.saturating_sub(self.budget.seal_blocks))
    }

    /// From this block on a validator stops waiting for reveals.
    pub fn reveal(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.reveal_blocks)
    }

    /// The last block in which a vote counts.
    pub fn judge(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.judge_blocks)
    }

    /// From this block on a node without an agreed aggregate hash builds the aggregate itself.
    pub fn apply(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.apply_blocks)
    }

    /// Whether a checkpoint is published at the start of `window`.
    pub fn is_checkpoint(&self, window: Window) -> bool {
        window.0 > 0 && window.0.is_multiple_of(self.budget.checkpoint_windows.max(1))
    }

    /// The newest checkpoint at or before the start of `window`; none before the first.
    pub fn checkpoint_at_or_before(&self, window: Window) -> Option<Window> {
        let every = self.budget.checkpoint_windows.max(1);
        (window.0 >= every).then(|| Window(window.0 - window.0 % every))
    }

    /// Objects of windows before this one may be gone.
    pub fn oldest_kept(&self, current: Window) -> Window {
        Window(current.0.saturating_sub(self.budget.retention_windows))
    }
}
