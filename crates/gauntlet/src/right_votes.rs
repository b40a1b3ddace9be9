//! Which validators have judged of late: the windows of their last right votes, a part of the agreed record.

use crate::Ratings;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{AgreedFindings, BlockNumber, ElectorRule, LEAST_COMPARED, PublicKey, Share, Uid, Window};

/// Until the votes of this number of windows were compared nobody can have shown much, and all permit holders count.
const FIRST_WINDOWS: u64 = 8;

/// An agreed window whose votes are not compared within this number of windows is left out: by then the ledger may have dropped
/// them.
const COMPARED_WITHIN: u64 = 8;

/// The windows of validators' last right votes.
///
/// A window's outcome often stands before all votes are open, and slow judges must not lose by that. So its votes are compared
/// when the next window is agreed: then they are all on the ledger, for every reader the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RightVotes {
    /// Windows whose votes were compared, counted up to [`FIRST_WINDOWS`].
    compared: u64,
    /// By validator, ascending, as many as the run's rule asks for.
    windows: BTreeMap<PublicKey, Vec<Window>>,
    /// The newest agreed window that has something to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<OpenWindow>,
}

/// An agreed window whose votes are still to be compared with what was agreed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// The window.
    pub window: Window,
    /// The last block in which a seal of a vote on it counts.
    pub sealed_until: BlockNumber,
    /// The candidates of which share and error are agreed.
    pub shares: BTreeMap<Uid, Share>,
}

impl OpenWindow {
    /// A window of which enough is agreed to compare votes with; `sealed_until` is the last block in which a seal counted.
    pub fn new(window: Window, sealed_until: BlockNumber, agreed: &AgreedFindings) -> Option<Self> {
        let share = |(uid, finding): (&Uid, &templar_base::AgreedFinding)| Some((*uid, finding.share?));
        let shares: BTreeMap<Uid, Share> = agreed.miners.iter().filter_map(share).collect();
        (shares.len() >= LEAST_COMPARED).then_some(Self { window, sealed_until, shares })
    }
}

/// What an agreed window adds to the right votes.
#[derive(Debug, Clone)]
pub struct Compared<'a> {
    /// The run's rule.
    pub rule: &'a ElectorRule,
    /// The window that was agreed.
    pub window: Window,
    /// Whose votes on the window of [`RightVotes::to_compare`] were right; not looked at where there is none.
    pub right: &'a BTreeSet<PublicKey>,
    /// What the window itself leaves to compare with.
    pub open: Option<OpenWindow>,
    /// Who is registered at the window's end.
    pub registered: &'a BTreeMap<Uid, PublicKey>,
}

/// How many right votes validators have, as far as they count at a window's start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JudgeStanding {
    /// Whether stake counts by them yet.
    pub is_in_force: bool,
    /// By validator, counted up to what the rule asks for.
    pub right_votes: BTreeMap<PublicKey, usize>,
    /// As many make an elector.
    pub needed: usize,
}

impl JudgeStanding {
    /// How many right votes a validator has, counted up to what the rule asks for.
    pub fn count_of(&self, hotkey: &PublicKey) -> usize {
        self.right_votes.get(hotkey).copied().unwrap_or_default()
    }

    /// Whether a validator has as many right votes as make an elector.
    pub fn has_judged(&self, hotkey: &PublicKey) -> bool {
        self.count_of(hotkey) >= self.needed
    }
}

impl RightVotes {
    /// Whether nothing was ever compared, as in a run without the rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The window whose votes are to be compared once `window` is agreed.
    pub fn to_compare(&self, window: Window) -> Option<&OpenWindow> {
        self.open.as_ref().filter(|open| open.window < window && window.windows_since(open.window) <= COMPARED_WITHIN)
    }

    /// Moves on by a window of which something was agreed.
    pub fn fold(&mut self, compared: Compared<'_>) {
        let Compared { rule, window, right, open, registered } = compared;
        if let Some(judged) = self.to_compare(window).map(|open| open.window) {
            self.compared = (self.compared + 1).min(FIRST_WINDOWS);
            for hotkey in right {
                self.windows.entry(*hotkey).or_default().push(judged);
            }
        }
        self.open = open;
        let registered: BTreeSet<&PublicKey> = registered.values().collect();
        let kept = rule.right_votes as usize;
        self.windows.retain(|hotkey, windows| {
            windows.retain(|own| counts(rule, window.next(), *own));
            windows.drain(..windows.len().saturating_sub(kept));
            !windows.is_empty() && registered.contains(hotkey)
        });
    }

    /// Who has how many right votes at a window's start.
    pub fn standing(&self, rule: &ElectorRule, window: Window) -> JudgeStanding {
        let count = |windows: &[Window]| windows.iter().filter(|own| counts(rule, window, **own)).count();
        JudgeStanding {
            is_in_force: self.compared >= FIRST_WINDOWS,
            right_votes: self.windows.iter().map(|(hotkey, windows)| (*hotkey, count(windows))).collect(),
            needed: rule.right_votes as usize,
        }
    }
}

/// Whether a right vote on `own` still counts in `window`.
fn counts(rule: &ElectorRule, window: Window, own: Window) -> bool {
    window.windows_since(own) <= rule.within
}

impl Ratings {
    /// How many right votes validators have at a window's start; none in a run whose genesis does not ask for them.
    pub fn standing(&self, rule: Option<&ElectorRule>, window: Window) -> Option<JudgeStanding> {
        Some(self.right_votes.standing(rule?, window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::{AgreedFinding, Mark};

    const RULE: ElectorRule = ElectorRule { right_votes: 3, within: 20 };

    fn key(number: u8) -> PublicKey {
        PublicKey::new([number; 32])
    }

    fn agreed(shares: usize) -> AgreedFindings {
        let finding = AgreedFinding { mark: Mark::Admitted, is_sure: false, share: Some(Share::new(1.0, 0.2)) };
        let miners = (0..shares as u16).map(|uid| (Uid(uid), finding)).collect();
        AgreedFindings { miners, ..AgreedFindings::default() }
    }

    /// One agreed window, in which these keys turn out to have been right on the one before.
    fn fold(votes: &mut RightVotes, window: u64, right: &[u8], registered: &[u8]) {
        let right = right.iter().copied().map(key).collect();
        let registered = (0..).map(Uid).zip(registered.iter().copied().map(key)).collect();
        let open = OpenWindow::new(Window(window), BlockNumber(window), &agreed(2));
        let compared = Compared { rule: &RULE, window: Window(window), right: &right, open, registered: &registered };
        votes.fold(compared);
    }

    fn judges(votes: &RightVotes, window: u64) -> Vec<u8> {
        let standing = votes.standing(&RULE, Window(window));
        (0..10).filter(|number| standing.has_judged(&key(*number))).collect()
    }

    #[test]
    fn the_rule_is_in_force_after_eight_compared_windows_and_three_right_votes_make_a_judge() {
        let mut votes = RightVotes::default();
        assert!(votes.is_empty());
        for window in 0..9 {
            assert!(!votes.standing(&RULE, Window(window)).is_in_force, "{window}");
            // Key 1 is always right, 2 in windows 0, 1 and 2, 3 in 0 and 1.
            let right: &[u8] = if window <= 2 {
                &[1, 2, 3]
            } else if window <= 3 {
                &[1, 2]
            } else {
                &[1]
            };
            fold(&mut votes, window, right, &[1, 2, 3]);
        }
        assert!(votes.standing(&RULE, Window(9)).is_in_force);
        assert_eq!(judges(&votes, 9), [1, 2]);
        // A validator that comes later becomes a judge with its third right vote.
        fold(&mut votes, 9, &[1, 4], &[1, 2, 3, 4]);
        fold(&mut votes, 10, &[1, 4], &[1, 2, 3, 4]);
        assert_eq!(judges(&votes, 11), [1, 2]);
        fold(&mut votes, 11, &[1, 4], &[1, 2, 3, 4]);
        assert_eq!(judges(&votes, 12), [1, 2, 4]);
    }

    #[test]
    fn who_is_quiet_is_forgotten_after_a_time_and_comes_back_by_judging() {
        let mut votes = RightVotes::default();
        (0..10).for_each(|window| fold(&mut votes, window, &[1, 2], &[1, 2]));
        // Windows 6, 7 and 8 are the last on which 2 was right: within 20 windows of window 26.
        for window in 10..26 {
            assert_eq!(judges(&votes, window), [1, 2], "{window}");
            fold(&mut votes, window, &[1], &[1, 2]);
        }
        assert_eq!(judges(&votes, 26), [1, 2]);
        assert_eq!(judges(&votes, 27), [1]);
        (26..30).for_each(|window| fold(&mut votes, window, &[1, 2], &[1, 2]));
        assert_eq!(judges(&votes, 30), [1, 2]);
        // Who has left the subnet is gone at once, and nothing is known of it when it returns.
        fold(&mut votes, 30, &[1], &[1]);
        assert_eq!(judges(&votes, 31), [1]);
    }

    #[test]
    fn votes_are_compared_once_the_next_window_is_agreed_and_not_much_later() {
        let mut votes = RightVotes::default();
        fold(&mut votes, 3, &[], &[1]);
        assert_eq!(votes.to_compare(Window(3)), None);
        assert_eq!(votes.to_compare(Window(4)).map(|open| open.window), Some(Window(3)));
        assert!(votes.to_compare(Window(11)).is_some() && votes.to_compare(Window(12)).is_none());
        // Too late: nobody was right, and the window does not count as compared.
        fold(&mut votes, 12, &[1], &[1]);
        assert!(votes.windows.is_empty() && votes.compared == 0);
        // A window of a single share has nothing to compare.
        assert_eq!(OpenWindow::new(Window(0), BlockNumber(0), &agreed(1)), None);
        assert_eq!(OpenWindow::new(Window(0), BlockNumber(0), &AgreedFindings::default()), None);
    }

    #[test]
    fn ratings_without_right_votes_have_the_bytes_of_before() {
        let ratings = Ratings::default();
        assert!(!String::from_utf8(ratings.to_json()).unwrap().contains("right_votes"));
        let mut voted = ratings.clone();
        fold(&mut voted.right_votes, 0, &[], &[1]);
        assert_ne!(voted.root(), ratings.root());
        assert_eq!(serde_json::from_slice::<Ratings>(&voted.to_json()).unwrap(), voted);
        assert_eq!(ratings.standing(None, Window(9)), None);
        assert!(!ratings.standing(Some(&RULE), Window(9)).unwrap().is_in_force);
    }

    proptest! {
        /// Whatever happens, what is kept is bounded, ascends, and is of registered keys; and it survives its document.
        #[test]
        fn any_history_is_bounded_and_survives_its_document(
            history in proptest::collection::vec(
                (1u64..12, proptest::collection::vec(0u8..6, 0..6), proptest::collection::vec(0u8..6, 0..6)),
                0..60,
            ),
        ) {
            let (mut votes, mut window) = (RightVotes::default(), 0);
            for (gap, right, registered) in history {
                window += gap;
                fold(&mut votes, window, &right, &registered);
                prop_assert!(votes.compared <= FIRST_WINDOWS && votes.windows.len() <= registered.len());
                for (hotkey, windows) in &votes.windows {
                    prop_assert!(registered.iter().any(|number| key(*number) == *hotkey));
                    prop_assert!(windows.len() <= 3 && windows.windows(2).all(|pair| pair[0] < pair[1]));
                    prop_assert!(windows.iter().all(|own| own.0 < window && window + 1 - own.0 <= RULE.within));
                }
                let document = serde_json::to_vec(&votes).unwrap();
                prop_assert_eq!(&serde_json::from_slice::<RightVotes>(&document).unwrap(), &votes);
            }
        }
    }
}
