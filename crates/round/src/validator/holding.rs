//! What a validator does where the run agrees first on what is held: it states what it holds, reads what others state, and takes
//! the candidates that follow.

use super::{Judging, Validator};
use crate::{Event, SkipReason, ValidatorEffect, candidates};
use templar_base::Window;

/// A judge that lacks this part of the candidates' rated weight, a quarter, does not vote: it would measure another step.
const MOST_LACKING: u64 = 4;

impl Validator {
    /// What is due while it is not agreed yet which payloads are held: to write what is held here, and to read what others wrote.
    pub(super) fn hold_due(&mut self, window: Window) -> Option<ValidatorEffect> {
        let (head, phases, position) = (self.follower.head(), self.follower.phases(), self.follower.position());
        // What is sent at the deadline would land in a block after it.
        let can_count = phases.hold(window).is_some_and(|hold| head < hold) && position.next == window;
        if self.is_held_due && can_count && head >= self.retry_at {
            self.is_held_due = false;
            return Some(ValidatorEffect::WriteHeld { window, start: position.state });
        }
        if head >= phases.judge(window) {
            self.judging = Judging::Idle;
            return Some(ValidatorEffect::Skip { window, reason: SkipReason::VoteLate });
        }
        // Read in each block from the draw on, since that says who mirrors.
        let is_readable = head >= phases.draw(window) && head > self.asked_at;
        is_readable.then(|| {
            self.asked_at = head;
            ValidatorEffect::ReadHeld { window }
        })
    }

    /// Once the candidates stand, what is missing of them has a part of the time that is left.
    pub(super) fn on_held(&mut self, window: Window, read: &Event) -> Option<ValidatorEffect> {
        let Event::HeldRead { at, beacon, pool, electors, held, .. } = read else { return None };
        let phases = self.follower.phases();
        let found = candidates(pool, (electors, held), phases.hold(window)?, *at)?;
        let until = phases.mirrored(window, self.follower.head());
        self.judging = Judging::Taking { window, until, closed: false };
        Some(ValidatorEffect::TakeCandidates { window, mirrors: found.all_mirrors(window, beacon) })
    }

    pub(super) fn on_taken(&mut self, window: Window, lacking: u64, all: u64) -> Option<ValidatorEffect> {
        match self.judging {
            Judging::Taking { window: own, .. } if own == window => {}
            _ => return None,
        }
        if all > 0 && lacking.saturating_mul(MOST_LACKING) >= all {
            self.judging = Judging::Idle;
            return Some(ValidatorEffect::Skip { window, reason: SkipReason::CandidatesMissing });
        }
        self.judging = Judging::Scoring(window);
        Some(ValidatorEffect::Judge { window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AggregateSource, Elector, FailedEffect, Follower, Held, HeldRecord, Phases, Position, SealedCommitments,
    };
    use std::collections::BTreeMap;
    use templar_base::{Beacon, BlockNumber, PublicKey, StateHash, Uid};

    const WINDOW: Window = Window(0);
    const START: StateHash = StateHash::new([1; 32]);
    const POOL: [Uid; 2] = [Uid(3), Uid(5)];

    fn block(number: u64) -> Event {
        Event::Block(BlockNumber(number))
    }

    /// A validator that has gathered what came until a block of the time for keys.
    fn gathered_at(number: u64) -> (Validator, Vec<ValidatorEffect>) {
        let position = Position { next: WINDOW, state: START };
        let follower = Follower::new(Phases::holding(), AggregateSource::Payloads, position);
        let mut validator = Validator::new(follower, 2);
        validator.step(&block(120));
        validator.step(&Event::SealedRead { window: WINDOW, sealed: SealedCommitments::default() });
        validator.step(&block(number));
        let effects = validator.step(&Event::Gathered { window: WINDOW, settled: 0, committed: 2 });
        (validator, effects)
    }

    fn key(uid: u16) -> PublicKey {
        PublicKey::new([uid as u8 + 1; 32])
    }

    /// What is read at a block, of electors of these stakes, the first of which have written these.
    fn read(at: u64, stakes: &[u64], held: &[&[u16]]) -> Event {
        let elector = |(uid, stake): (u16, &u64)| Elector { uid: Uid(uid), hotkey: key(uid), stake: *stake };
        let record = |(uid, held): (u16, &&[u16])| {
            let held = Held::of(&POOL, |uid| held.contains(&uid.0));
            HeldRecord { hotkey: key(uid), block: BlockNumber(122), held }
        };
        Event::HeldRead {
            window: WINDOW,
            at: BlockNumber(at),
            beacon: Beacon::new([7; 32]),
            pool: POOL.into(),
            electors: (0..).zip(stakes).map(elector).collect(),
            held: (0..).zip(held).map(record).collect(),
        }
    }

    fn taken(lacking: u64, all: u64) -> Event {
        Event::CandidatesTaken { window: WINDOW, lacking, all }
    }

    /// A validator that has taken its candidates in block 124.
    fn taking() -> Validator {
        let mut validator = gathered_at(122).0;
        validator.step(&block(124));
        let effects = validator.step(&read(124, &[30, 30, 30], &[&[3], &[3]]));
        let mirrors: BTreeMap<Uid, Vec<PublicKey>> = match &effects[..] {
            [ValidatorEffect::TakeCandidates { mirrors, .. }] => mirrors.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(mirrors.keys().copied().collect::<Vec<_>>(), [Uid(3)]);
        assert!(mirrors[&Uid(3)].len() == 2 && !mirrors[&Uid(3)].contains(&key(2)));
        validator
    }

    #[test]
    fn what_is_held_is_written_once_it_is_gathered_and_judged_when_it_is_agreed_on() {
        let (mut validator, effects) = gathered_at(121);
        // Also by who has little: mirrors have the rest.
        assert_eq!(effects, [ValidatorEffect::WriteHeld { window: WINDOW, start: START }]);
        assert_eq!(validator.step(&Event::HeldWritten { window: WINDOW }), []);
        assert_eq!(validator.step(&block(123)).last(), None, "who mirrors is not drawn yet");
        let reads = ValidatorEffect::ReadHeld { window: WINDOW };
        assert_eq!(validator.step(&block(124)).last(), Some(&reads));
        // Two of three differ: the third may decide.
        assert_eq!(validator.step(&read(124, &[30, 30, 30], &[&[3], &[3, 5]])), []);
        assert_eq!(validator.step(&block(125)).last(), Some(&reads));
        let effects = validator.step(&read(125, &[30, 30, 30], &[&[3], &[3, 5], &[5]]));
        assert!(matches!(&effects[..], [ValidatorEffect::TakeCandidates { mirrors, .. }] if mirrors.len() == 2));
        let judges = ValidatorEffect::Judge { window: WINDOW };
        assert_eq!(validator.step(&taken(0, 2)), [judges]);
        assert_eq!(validator.step(&taken(0, 2)), [], "once");
    }

    #[test]
    fn what_could_not_be_written_is_written_in_the_next_block_and_not_when_it_is_too_late() {
        let (mut validator, _) = gathered_at(122);
        let writes = ValidatorEffect::WriteHeld { window: WINDOW, start: START };
        let failed = Event::Failed { window: WINDOW, effect: FailedEffect::WriteHeld };
        assert_eq!(validator.step(&failed), []);
        assert_eq!(validator.step(&block(123)).last(), Some(&writes));
        validator.step(&failed);
        assert!(validator.step(&block(124)).contains(&writes));
        validator.step(&failed);
        assert!(!validator.step(&block(125)).contains(&writes), "it would be in a block after the deadline");
        let (_, late) = gathered_at(125);
        assert!(!late.contains(&writes), "{late:?}");
    }

    #[test]
    fn candidates_that_do_not_come_are_waited_for_for_a_while_and_a_quarter_is_too_many() {
        let mut validator = taking();
        let closes = ValidatorEffect::CloseTaking { window: WINDOW };
        assert!(!validator.step(&block(125)).contains(&closes));
        assert!(validator.step(&block(126)).contains(&closes), "a third of six blocks");
        assert!(!validator.step(&block(127)).contains(&closes));
        let mut poor = validator.clone();
        assert_eq!(validator.step(&taken(24, 100)), [ValidatorEffect::Judge { window: WINDOW }]);
        let skip = ValidatorEffect::Skip { window: WINDOW, reason: SkipReason::CandidatesMissing };
        assert_eq!(poor.step(&taken(25, 100)), [skip]);
    }

    #[test]
    fn a_failure_while_candidates_are_taken_starts_over_and_a_window_without_candidates_in_time_is_given_up() {
        let mut validator = taking();
        validator.step(&Event::Failed { window: WINDOW, effect: FailedEffect::Gather });
        assert!(validator.step(&block(125)).contains(&ValidatorEffect::ReadSealed { window: WINDOW }));
        let mut waiting = gathered_at(122).0;
        waiting.step(&block(129));
        let skip = ValidatorEffect::Skip { window: WINDOW, reason: SkipReason::VoteLate };
        assert_eq!(waiting.step(&block(130)).last(), Some(&skip));
    }
}
