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
    /// What electors state that they hold counts up to this block; what more than half of their stake holds is judged. Where a
    /// document does not say, each validator judges what it has fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_blocks: Option<u64>,
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

/// Blocks between the reveal deadline and that for what electors hold, at least: whoever waited for the last key has two to be
/// in a block, and a node that is busy for a moment has two more.
const LEAST_HOLD_BLOCKS: u64 = 4;
/// Of a long window this part, since large payloads take a while to be opened and checked.
const HOLD_PART: u64 = 16;
/// Blocks from one phase with a commitment to the next: it has to be in a block, and to be seen.
const PHASE_BLOCKS: u64 = 2;

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
            hold_blocks: None,
            judge_blocks,
            open_blocks: judge_blocks + 3,
            apply_blocks: judge_blocks + 4,
            retention_windows: 30,
            checkpoint_windows: 5,
        }
    }

    /// The same where electors agree first on what they hold, in windows of this many blocks. The phase ends before its deadline
    /// where nothing to come can change the candidates, so that the deadline costs time only where an elector is away.
    pub fn with_hold(self, blocks_per_window: u64) -> Self {
        let wanted = self.reveal_blocks.saturating_add((blocks_per_window / HOLD_PART).max(LEAST_HOLD_BLOCKS));
        let latest = self.judge_blocks.saturating_sub(PHASE_BLOCKS + 1);
        Self { hold_blocks: Some(wanted.min(latest)), ..self }
    }

    /// What happens to a window's work, in the order of time.
    pub fn timeline(&self, clock: &WindowClock) -> Vec<Milestone> {
        let end = clock.blocks_per_window;
        let at = |block: u64, what| Milestone { block, what };
        let held = self.hold_blocks.map(|hold| at(end.saturating_add(hold), "it is agreed which payloads are held"));
        let judges = "reveals are complete; validators judge";
        let holds = "reveals are complete; validators state what they hold";
        let before = [
            at(0, "the data of the window is known; miners train"),
            at(end.saturating_sub(self.seal_blocks), "miners seal their payloads, upload them and commit to them"),
            at(end, "the window ends; miners reveal the keys, and the next window's training starts"),
            at(end.saturating_add(self.reveal_blocks), if held.is_some() { holds } else { judges }),
        ];
        let after = [
            at(end.saturating_add(self.judge_blocks), "votes are sealed"),
            at(end.saturating_add(self.open_blocks), "votes are open; the selection is agreed"),
            at(end.saturating_add(self.apply_blocks), "each node has applied the step and reports its state hash"),
            at(
                self.retention_windows.saturating_add(1).saturating_mul(end),
                "the window's objects may be deleted from buckets",
            ),
        ];
        before.into_iter().chain(held).chain(after).collect()
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
        if let Some(hold) = self.hold_blocks {
            checks.require(
                "hold_blocks",
                hold,
                hold >= self.reveal_blocks.saturating_add(PHASE_BLOCKS),
                format!("at least {PHASE_BLOCKS} over reveal_blocks ({})", self.reveal_blocks),
            );
            checks.require(
                "judge_blocks",
                self.judge_blocks,
                self.judge_blocks > hold.saturating_add(PHASE_BLOCKS),
                format!("over hold_blocks ({hold}) and two more"),
            );
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlockNumber;

    fn fields(budget: &WindowBudget, blocks: u64) -> Vec<String> {
        let clock = WindowClock { start_block: BlockNumber::ZERO, blocks_per_window: blocks };
        budget.problems(&clock).into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn the_default_time_to_hold_fits_windows_of_all_lengths_and_is_short() {
        for blocks in 16..400 {
            let budget = WindowBudget::for_window(blocks).with_hold(blocks);
            assert_eq!(fields(&budget, blocks), [""; 0], "{blocks} blocks");
            let hold = budget.hold_blocks.unwrap() - budget.reveal_blocks;
            assert!((2..=4.max(blocks / 16)).contains(&hold), "{blocks} blocks: {hold}");
        }
    }

    #[test]
    fn a_deadline_out_of_order_is_named() {
        let budget = WindowBudget::for_window(64);
        let with = |hold| WindowBudget { hold_blocks: Some(hold), ..budget.clone() };
        let (reveal, judge) = (budget.reveal_blocks, budget.judge_blocks);
        assert_eq!(fields(&with(reveal + 1), 64), ["budget.hold_blocks"]);
        assert_eq!(fields(&with(judge - 2), 64), ["budget.judge_blocks"]);
        assert_eq!(fields(&with(u64::MAX), 64), ["budget.judge_blocks"]);
        assert!(fields(&with(reveal + 2), 64).is_empty() && fields(&with(judge - 3), 64).is_empty());
    }

    #[test]
    fn the_timeline_has_the_deadline_where_there_is_one() {
        let clock = WindowClock { start_block: BlockNumber::ZERO, blocks_per_window: 64 };
        let blocks = |budget: &WindowBudget| -> Vec<u64> {
            budget.timeline(&clock).iter().map(|milestone| milestone.block).collect()
        };
        let budget = WindowBudget::for_window(64);
        let held = budget.clone().with_hold(64);
        assert_eq!((blocks(&budget).len(), blocks(&held).len()), (8, 9));
        assert!(blocks(&held).is_sorted());
    }
}
