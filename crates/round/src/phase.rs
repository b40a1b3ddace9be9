//! Which block closes which phase of a window.

use templar_base::{BlockNumber, Genesis, Window, WindowBudget, WindowClock};

/// Where stake counts by right votes, each window of this number waits for the seals of all: the others end as soon as most
/// electors have sealed, and who is slower than they, or is none of them yet, must be able to show that it judges.
const PATIENT_EVERY: u64 = 8;

/// Of the time that is left for judging, the part that candidates are waited for, a third; and the blocks that it takes at least
/// until another validator has seen that it mirrors one, and has put it into its bucket.
const MIRRORED_PART: u64 = 3;
const LEAST_MIRRORED_BLOCKS: u64 = 2;

/// The deadlines of a run's windows, as blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    clock: WindowClock,
    budget: WindowBudget,
    /// Whether some windows wait for the seals of all.
    has_patient_windows: bool,
}

/// When seals of votes on a window count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealTime {
    /// The last block in which they do.
    pub deadline: BlockNumber,
    /// Whether it ends before, once enough stake has sealed.
    pub may_end_early: bool,
}

impl Phases {
    /// The deadlines that a genesis fixes.
    pub fn of(genesis: &Genesis) -> Self {
        let has_patient_windows = genesis.electors.is_some();
        Self { clock: genesis.clock, budget: genesis.budget.clone(), has_patient_windows }
    }

    /// The window that `block` is in; none before the run's start.
    pub fn window_of(&self, block: BlockNumber) -> Option<Window> {
        self.clock.window_of(block)
    }

    /// First block of the window: its beacon decides the data.
    pub fn start(&self, window: Window) -> BlockNumber {
        self.clock.start_of(window)
    }

    /// First block after the window: commitments in it are late, and the beacon of the block after it draws the lots of the
    /// pool.
    pub fn end(&self, window: Window) -> BlockNumber {
        self.clock.end_of(window)
    }

    /// The last block in which a commitment is in time.
    pub fn last_block(&self, window: Window) -> BlockNumber {
        BlockNumber(self.end(window).0.saturating_sub(1))
    }

    /// From this block on a miner seals.
    pub fn seal(&self, window: Window) -> BlockNumber {
        self.end(window).minus(self.budget.seal_blocks)
    }

    /// From this block on a miner seals that needs `lead` blocks for it: never later than [`Phases::seal`], and not
    /// before the step of the window before is expected to be applied.
    pub fn seal_with_lead(&self, window: Window, lead: u64) -> BlockNumber {
        let early = self.end(window).minus(lead);
        early.max(self.start(window).plus(self.budget.apply_blocks)).min(self.seal(window))
    }

    /// From this block on a validator stops waiting for reveals.
    pub fn reveal(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.reveal_blocks)
    }

    /// The last block in which it counts what an elector states to hold; none where each validator judges what it has fetched.
    pub fn hold(&self, window: Window) -> Option<BlockNumber> {
        Some(self.end(window).plus(self.budget.hold_blocks?))
    }

    /// Until this block a judge that knows the candidates since `since` waits for those that it lacks: a third of the time that
    /// is left for judging.
    pub fn mirrored(&self, window: Window, since: BlockNumber) -> BlockNumber {
        let left = self.judge(window).blocks_since(since);
        since.plus((left / MIRRORED_PART).max(LEAST_MIRRORED_BLOCKS))
    }

    /// The block whose beacon draws the text of judgement and all lots of judging. A block's beacon is public once the block
    /// before it is: that one is the first after everything that is judged was fixed.
    pub fn draw(&self, window: Window) -> BlockNumber {
        self.reveal(window).plus(2)
    }

    /// The last block in which the seal of a vote counts.
    pub fn judge(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.judge_blocks)
    }

    /// When seals of votes count.
    pub fn seal_time(&self, window: Window) -> SealTime {
        let is_patient = self.has_patient_windows && window.is_multiple_of(PATIENT_EVERY);
        SealTime { deadline: self.judge(window), may_end_early: !is_patient }
    }

    /// The last block in which a vote counts.
    pub fn open(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.open_blocks)
    }

    /// From this block on a node without an agreed aggregate hash builds the aggregate itself.
    pub fn apply(&self, window: Window) -> BlockNumber {
        self.end(window).plus(self.budget.apply_blocks)
    }

    /// Whether a checkpoint is published at the start of `window`.
    pub fn is_checkpoint(&self, window: Window) -> bool {
        window > Window::ZERO && window.is_multiple_of(self.budget.checkpoint_windows.max(1))
    }

    /// The newest checkpoint at or before the start of `window`; none before the first.
    pub fn checkpoint_at_or_before(&self, window: Window) -> Option<Window> {
        let every = self.budget.checkpoint_windows.max(1);
        (window.get() >= every).then(|| window.period_start(every))
    }

    /// How many blocks a request may go without an answer before it is made again.
    pub fn answer_blocks(&self) -> u64 {
        self.budget.apply_blocks.max(1)
    }

    /// The same for a checkpoint, which may be large: after this many blocks it would be out of reach itself.
    pub fn restore_blocks(&self) -> u64 {
        self.budget.retention_windows.saturating_mul(self.clock.blocks_per_window).max(1)
    }

    /// Objects of windows before this one may be gone.
    pub fn oldest_kept(&self, current: Window) -> Window {
        current.minus(self.budget.retention_windows)
    }
}

#[cfg(test)]
impl Phases {
    /// Windows of 20 blocks from block 100 on: seal 4 before the end; reveal 2, judge 6, open 8, apply 9 after it.
    pub(crate) fn for_tests() -> Self {
        let budget = WindowBudget {
            seal_blocks: 4,
            reveal_blocks: 2,
            hold_blocks: None,
            judge_blocks: 6,
            open_blocks: 8,
            apply_blocks: 9,
            retention_windows: 8,
            checkpoint_windows: 3,
        };
        let clock = WindowClock { start_block: BlockNumber(100), blocks_per_window: 20 };
        Self { clock, budget, has_patient_windows: false }
    }

    /// The same with 10 blocks for judging, in which what electors hold is agreed on by the fifth after a window's end.
    pub(crate) fn holding() -> Self {
        let mut phases = Self::for_tests();
        let budget = &mut phases.budget;
        (budget.hold_blocks, budget.judge_blocks, budget.open_blocks, budget.apply_blocks) = (Some(5), 10, 12, 13);
        phases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadlines_of_a_window_follow_each_other_and_end_before_the_next_sealing() {
        let phases = Phases::for_tests();
        for window in (0..50).map(Window) {
            let deadlines = [
                phases.start(window),
                phases.seal(window),
                phases.end(window),
                phases.reveal(window),
                phases.draw(window),
                phases.judge(window),
                phases.open(window),
                phases.apply(window),
                phases.seal(window.next()),
            ];
            assert!(deadlines.is_sorted_by(|a, b| a < b), "{deadlines:?}");
            assert_eq!(phases.end(window), phases.start(window.next()));
            assert_eq!(phases.window_of(phases.seal(window)), Some(window));
            assert_eq!(phases.window_of(phases.end(window)), Some(window.next()));
        }
        assert_eq!(phases.window_of(BlockNumber(99)), None);
    }

    #[test]
    fn what_is_held_is_agreed_between_the_keys_and_the_judging() {
        let (phases, window) = (Phases::holding(), Window(3));
        let hold = phases.hold(window).unwrap();
        assert!(phases.draw(window) <= hold && hold < phases.judge(window));
        assert_eq!(Phases::for_tests().hold(window), None);
        let waits = |since: BlockNumber| phases.mirrored(window, since).blocks_since(since);
        assert_eq!([waits(phases.end(window)), waits(hold), waits(phases.judge(window))], [3, 2, 2]);
    }

    #[test]
    fn a_slow_miner_seals_earlier_between_the_outer_step_and_the_usual_time() {
        let phases = Phases::for_tests();
        let seal = |lead| phases.seal_with_lead(Window(2), lead).0;
        assert_eq!([0, 4, 5, 9, 11, 12, u64::MAX].map(seal), [156, 156, 155, 151, 149, 149, 149]);
    }

    #[test]
    fn where_stake_counts_by_right_votes_every_eighth_window_waits_for_all_seals() {
        let with = Phases { has_patient_windows: true, ..Phases::for_tests() };
        let patient = |phases: &Phases| -> Vec<u64> {
            (0..20).filter(|window| !phases.seal_time(Window(*window)).may_end_early).collect()
        };
        assert_eq!((patient(&with), patient(&Phases::for_tests())), (vec![0, 8, 16], vec![]));
    }

    #[test]
    fn the_first_parameters_are_no_checkpoint() {
        let phases = Phases::for_tests();
        let checkpoints: Vec<u64> = (0..10).filter(|window| phases.is_checkpoint(Window(*window))).collect();
        assert_eq!(checkpoints, [3, 6, 9]);
        let before = |window| phases.checkpoint_at_or_before(Window(window));
        assert_eq!([before(0), before(2), before(3), before(8)], [None, None, Some(Window(3)), Some(Window(6))]);
    }

    #[test]
    fn objects_are_kept_for_the_retention_and_deadlines_never_overflow() {
        let phases = Phases::for_tests();
        assert_eq!(phases.oldest_kept(Window(3)), Window(0));
        assert_eq!(phases.oldest_kept(Window(20)), Window(12));
        assert_eq!(phases.apply(Window(u64::MAX)), BlockNumber(u64::MAX));
    }
}
