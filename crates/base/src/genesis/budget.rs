//! The deadlines within a window.

use super::problem::{Checks, Problem};
use crate::WindowClock;
use serde::{Deserialize, Serialize};

/// Deadlines in blocks. Those after a window's end count from its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowBudget {
    /// A miner seals this many blocks before the end of its window, so that its commitment is in time; at least 2.
    pub seal_blocks: u64,
    /// Reveals later than this are not gathered.
    pub reveal_blocks: u64,
    /// Seals of votes in later blocks do not count. Votes are opened before if nearly all the permitted stake has sealed.
    pub judge_blocks: u64,
    /// Votes in later blocks do not count. Agreement is reached before if no vote to come could change it.
    pub open_blocks: u64,
    /// By then each node has applied the step and reports it on the ledger; one that has not builds the aggregate itself.
    pub apply_blocks: u64,
    /// Objects of windows older than this many windows are deleted; at least two checkpoint intervals.
    pub retention_windows: u64,
    /// A checkpoint is published every N windows.
    pub checkpoint_windows: u64,
}

/// A point on a window's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Milestone {
    /// Blocks since the window's first block.
    pub block: u64,
    /// What happens then.
    pub what: &'static str,
}

impl WindowBudget {
    /// The default deadlines of windows of this many blocks: votes are sealed by nine sixteenths of the window, or as late as a
    /// short one allows. They are open three blocks later, which is time to see that they may be and to be in a block; the
    /// step is applied after one more.
    pub fn for_window(blocks_per_window: u64) -> Self {
        // Time for the step at hand, the upload and the commitment, on a machine that is busy for a moment.
        let seal_blocks = (blocks_per_window / 12).clamp(4, 6);
        let judge_blocks =
            (blocks_per_window.saturating_mul(9) / 16).min(blocks_per_window.saturating_sub(seal_blocks + 5));
        Self {
            seal_blocks,
            reveal_blocks: (blocks_per_window / 6).max(1),
            judge_blocks,
            open_blocks: judge_blocks + 3,
            apply_blocks: judge_blocks + 4,
            retention_windows: 30,
            checkpoint_windows: 5,
        }
    }

    /// What happens to a window's work, in the order of time.
    pub fn timeline(&self, clock: &WindowClock) -> [Milestone; 8] {
        let end = clock.blocks_per_window;
        let at = |block: u64, what| Milestone { block, what };
        [
            at(0, "the data of the window is known; miners train"),
            at(end.saturating_sub(self.seal_blocks), "miners seal their payloads, upload them and commit to them"),
            at(end, "the window ends; miners reveal the keys, and the next window's training starts"),
            at(end.saturating_add(self.reveal_blocks), "reveals are complete; validators judge"),
            at(end.saturating_add(self.judge_blocks), "votes are sealed"),
            at(end.saturating_add(self.open_blocks), "votes are open; the selection is agreed"),
            at(end.saturating_add(self.apply_blocks), "each node has applied the step and reports its state hash"),
            at(
                self.retention_windows.saturating_add(1).saturating_mul(end),
                "the window's objects may be deleted from buckets",
            ),
        ]
    }

    /// What cannot be used, in windows of `clock`.
    pub fn problems(&self, clock: &WindowClock) -> Vec<Problem> {
        let mut checks = Checks::of("budget");
        let blocks = clock.blocks_per_window;
        checks.range("seal_blocks", self.seal_blocks, 2..=blocks.saturating_sub(1).max(2));
        checks.at_least("reveal_blocks", self.reveal_blocks, 1);
        checks.require(
            "judge_blocks",
            self.judge_blocks,
            self.judge_blocks > self.reveal_blocks.saturating_add(2),
            format!("over reveal_blocks ({}) and the two until the text is drawn", self.reveal_blocks),
        );
        checks.require(
            "open_blocks",
            self.open_blocks,
            self.open_blocks > self.judge_blocks,
            format!("over judge_blocks ({})", self.judge_blocks),
        );
        checks.require(
            "apply_blocks",
            self.apply_blocks,
            self.apply_blocks > self.open_blocks,
            format!("over open_blocks ({})", self.open_blocks),
        );
        checks.require(
            "apply_blocks",
            self.apply_blocks,
            self.apply_blocks.saturating_add(self.seal_blocks) < blocks,
            format!("under a window's {blocks} blocks together with seal_blocks ({})", self.seal_blocks),
        );
        checks.at_least("checkpoint_windows", self.checkpoint_windows, 1);
        let two_checkpoints = self.checkpoint_windows.saturating_mul(2);
        checks.require(
            "retention_windows",
            self.retention_windows,
            self.retention_windows >= two_checkpoints,
            format!("at least {two_checkpoints}, two checkpoint intervals"),
        );
        checks.into_problems()
    }
}
