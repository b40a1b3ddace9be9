//! Whose stake counts over many windows, by votes alone: who judges stays an elector, who guesses is none any more.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::random::Stream;
use templar_base::{
    AgreedFindings, BlockNumber, ContentHash, ElectorRule, Finding, Findings, Mark, PublicKey, Share, Uid, Window,
};
use templar_gauntlet::{Compared, OpenWindow, RightVotes};
use templar_round::{Elector, Outcome, Vote, VoteRecord, agreed_findings, judging_electors, right_voters, tally};

const DEADLINE: BlockNumber = BlockNumber(20);
const CANDIDATES: u16 = 12;
/// The sampling error of a window's text, in parts of what a typical candidate brings.
const ERROR: f64 = 0.3;

fn key(number: u8) -> PublicKey {
    PublicKey::new([number; 32])
}

/// About a standard normal number.
fn normal(stream: &mut Stream) -> f64 {
    (0..12).map(|_| f64::from(stream.unit_f32())).sum::<f64>() - 6.0
}

/// What a validator does in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Measures the window's text. Numerics classes differ by far less than the text's noise.
    Judge,
    /// The same, without the first third of the payloads.
    JudgeWhatItHas,
    /// Says of each miner what its rating is, without a look at the window.
    Guess,
    /// Says any numbers.
    Roll,
    /// Says what was right in the window before.
    Repeat,
    /// Says nothing.
    Nothing,
}

/// Validators with their stake, and the record of their right votes.
struct Town {
    rule: ElectorRule,
    stakes: BTreeMap<u8, u64>,
    record: RightVotes,
    last: Vec<VoteRecord>,
    window: u64,
}

impl Town {
    fn new(stakes: &[(u8, u64)]) -> Self {
        let rule = ElectorRule { right_votes: 3, within: 40 };
        let stakes = stakes.iter().copied().collect();
        Self { rule, stakes, record: RightVotes::default(), last: Vec::new(), window: 0 }
    }

    fn permitted(&self) -> Vec<Elector> {
        let elector = |(number, stake): (&u8, &u64)| Elector {
            uid: Uid(u16::from(*number)),
            hotkey: key(*number),
            stake: *stake,
        };
        self.stakes.iter().map(elector).collect()
    }

    fn electors(&self) -> Vec<Elector> {
        let standing = self.record.standing(&self.rule, Window(self.window));
        match standing.is_in_force {
            true => judging_electors(self.permitted(), |hotkey| standing.has_judged(hotkey)),
            false => self.permitted(),
        }
    }

    fn elector_numbers(&self) -> Vec<u8> {
        self.electors().iter().map(|elector| elector.uid.0 as u8).collect()
    }

    /// What miners really brought on the text of a window: the same noise for all who measure it.
    fn truth(window: u64) -> Vec<f64> {
        let mut text = Stream::new([7; 32], "text", window);
        (0..CANDIDATES).map(|uid| Self::rating(uid) + ERROR * normal(&mut text)).collect()
    }

    /// What is known of a miner without looking.
    fn rating(uid: u16) -> f64 {
        0.7 + 0.6 * f64::from(uid) / f64::from(CANDIDATES)
    }

    fn vote(&self, number: u8, does: Does) -> Option<VoteRecord> {
        let mut own = Stream::new([number; 32], "own", self.window);
        let truth = Self::truth(self.window);
        let share = |uid: u16| {
            let part = match does {
                Does::Nothing => return None,
                Does::JudgeWhatItHas if uid < CANDIDATES / 3 => return None,
                Does::Judge | Does::JudgeWhatItHas => truth[usize::from(uid)] + 0.01 * normal(&mut own),
                Does::Guess => Self::rating(uid),
                Does::Roll => 4.0 * f64::from(own.unit_f32()),
                Does::Repeat => Self::truth(self.window.saturating_sub(1))[usize::from(uid)],
            };
            Some(Share::new(part, ERROR))
        };
        let mut share = share;
        let finding = |uid| Finding { uid: Uid(uid), mark: Mark::Selected, is_sure: true, share: share(uid) };
        let miners: Vec<Finding> = (0..CANDIDATES).map(finding).collect();
        let vote = Vote::new(Findings { miners, ..Findings::default() }, ContentHash::of(&[number])).unwrap();
        (does != Does::Nothing).then_some(VoteRecord { hotkey: key(number), block: BlockNumber(12), vote })
    }

    /// One window; whether something was agreed of it.
    fn go(&mut self, all: &[(u8, Does)]) -> bool {
        let votes: Vec<VoteRecord> = all.iter().filter_map(|(number, does)| self.vote(*number, *does)).collect();
        let (window, electors) = (Window(self.window), self.electors());
        let outcome = tally(&electors, &votes, DEADLINE, DEADLINE, 15);
        let agreed: AgreedFindings = agreed_findings(&electors, &votes, DEADLINE, 15);
        if !agreed.miners.is_empty() {
            let right = match self.record.to_compare(window) {
                Some(open) => right_voters(&self.last, DEADLINE, &open.shares),
                None => BTreeSet::new(),
            };
            let registered = self.stakes.keys().map(|number| (Uid(u16::from(*number)), key(*number))).collect();
            let open = OpenWindow::new(window, BlockNumber(10), &agreed);
            let (rule, registered) = (&self.rule, &registered);
            self.record.fold(Compared { rule, window, right: &right, open, registered });
            self.last = votes;
        }
        self.window += 1;
        outcome != Outcome::Null
    }
}

use Does::{Guess, Judge, JudgeWhatItHas, Nothing, Repeat, Roll};

#[test]
fn who_guesses_rolls_or_repeats_loses_its_weight_and_the_others_go_on() {
    for cheat in [Guess, Roll, Repeat] {
        let mut town = Town::new(&[(1, 34), (2, 33), (3, 33)]);
        for window in 0..9 {
            assert_eq!(town.elector_numbers(), [1, 2, 3], "{cheat:?} in window {window}");
            assert!(town.go(&[(1, cheat), (2, Judge), (3, Judge)]), "{cheat:?} in window {window}");
        }
        for window in 9..60 {
            assert_eq!(town.elector_numbers(), [2, 3], "{cheat:?} in window {window}");
            assert!(town.go(&[(1, cheat), (2, Judge), (3, Judge)]), "{cheat:?} in window {window}");
        }
        // It is an elector again once it judges.
        (0..4).for_each(|_| assert!(town.go(&[(1, Judge), (2, Judge), (3, Judge)])));
        assert_eq!(town.elector_numbers(), [1, 2, 3], "{cheat:?}");
    }
}

#[test]
fn honest_judges_stay_though_they_lack_payloads_and_miss_windows() {
    let mut town = Town::new(&[(1, 40), (2, 30), (3, 30)]);
    for window in 0..100 {
        let away = |number: u64| if window % 5 == number { Nothing } else { Judge };
        let third = if window % 3 == 0 { JudgeWhatItHas } else { Judge };
        assert!(town.go(&[(1, away(1)), (2, away(2)), (3, third)]), "window {window}");
        assert_eq!(town.elector_numbers(), [1, 2, 3], "window {window}");
    }
}

#[test]
fn a_new_validator_becomes_an_elector_by_judging() {
    let mut town = Town::new(&[(1, 50), (2, 50)]);
    (0..20).for_each(|_| assert!(town.go(&[(1, Judge), (2, Judge)])));
    town.stakes.insert(3, 90);
    for window in 0..4 {
        assert_eq!(town.elector_numbers(), [1, 2], "its vote does not count in its window {window}");
        assert!(town.go(&[(1, Judge), (2, Judge), (3, Judge)]));
    }
    assert_eq!(town.elector_numbers(), [1, 2, 3]);
    assert!(town.go(&[(1, Judge), (2, Nothing), (3, Judge)]));
}

#[test]
fn who_is_away_weighs_as_an_absence_for_a_while_and_comes_back_by_judging() {
    let mut town = Town::new(&[(1, 34), (2, 33), (3, 33)]);
    (0..20).for_each(|_| assert!(town.go(&[(1, Judge), (2, Judge), (3, Judge)])));
    let mut gone_after = 0;
    while town.elector_numbers().contains(&3) {
        assert!(town.go(&[(1, Judge), (2, Judge)]));
        gone_after += 1;
    }
    assert!((38..42).contains(&gone_after), "{gone_after}");
    (0..4).for_each(|_| assert!(town.go(&[(1, Judge), (2, Judge), (3, Judge)])));
    assert_eq!(town.elector_numbers(), [1, 2, 3]);
}

/// Where nothing is known any more, the first to show that it judges must not rule alone.
#[test]
fn after_a_night_that_forgot_everything_no_small_stake_rules() {
    let mut town = Town::new(&[(1, 40), (2, 40), (3, 20)]);
    (0..20).for_each(|_| assert!(town.go(&[(1, Judge), (2, Judge), (3, Judge)])));
    (0..60).for_each(|_| assert!(!town.go(&[(3, Roll)]), "a fifth of the stake decides nothing by itself"));
    assert_eq!(town.elector_numbers(), [1, 2, 3], "nobody has right votes, so that everybody counts");
    // The small one is right in all windows, the large ones miss one or the other.
    let missing = [(Judge, Judge), (Nothing, Judge), (Judge, Nothing), (Judge, Nothing), (Nothing, Judge)];
    for (first, second) in missing {
        assert_eq!(town.elector_numbers(), [1, 2, 3]);
        town.go(&[(1, first), (2, second), (3, Judge)]);
    }
    (0..6).for_each(|_| assert!(town.go(&[(1, Judge), (2, Judge), (3, Judge)])));
    assert_eq!(town.elector_numbers(), [1, 2, 3]);
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![Just(Judge), Just(JudgeWhatItHas), Just(Guess), Just(Roll), Just(Repeat), Just(Nothing)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any history: electors hold permits, somebody is one, and the order of votes does not matter.
    #[test]
    fn electors_hold_permits_and_somebody_is_one(
        history in proptest::collection::vec(
            (proptest::collection::vec((1u8..6, does()), 0..6), proptest::collection::btree_map(1u8..6, 0u64..50, 1..5)),
            0..40,
        ),
    ) {
        let (mut town, mut other) = (Town::new(&[(1, 10), (2, 10), (3, 10)]), Town::new(&[(1, 10), (2, 10), (3, 10)]));
        for (mut all, stakes) in history {
            let mut seen = BTreeSet::new();
            all.retain(|(number, _)| seen.insert(*number));
            (town.stakes, other.stakes) = (stakes.clone(), stakes);
            town.go(&all);
            all.reverse();
            other.go(&all);
            let (electors, permitted) = (town.electors(), town.permitted());
            prop_assert!(!electors.is_empty() && electors.iter().all(|elector| permitted.contains(elector)));
            // Those that count hold more than half of all, so that under half can neither rule nor shut anybody out.
            let stake = |all: &[Elector]| all.iter().map(|elector| elector.stake).sum::<u64>();
            prop_assert!(stake(&electors) * 2 > stake(&permitted) || stake(&permitted) == 0);
            prop_assert_eq!(&town.record, &other.record);
        }
    }
}
